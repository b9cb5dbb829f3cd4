/* The sections of report.html. Internal to the evaluate room's page*.c. */
#ifndef DG_EVALUATE_PAGE_PARTS_H
#define DG_EVALUATE_PAGE_PARTS_H

#include "evaluate/evaluation.h"

void dg_page_fidelity(dg_str *out, const json_t *fidelity);
void dg_page_utility(dg_str *out, const json_t *utility);
DG_MUST_CHECK dg_status dg_page_memorisation(dg_str *out, const dg_evaluation *e);
void dg_page_balance(dg_str *out, const json_t *balance);

/* A member's text ("" if there is none) or number (NaN). */
const char *dg_page_text(const json_t *object, const char *key);
double dg_page_number(const json_t *object, const char *key);
/* true if the section was not measured: it has then said why. */
bool dg_page_skipped(dg_str *out, const json_t *section);
/* The table of those metrics of a section that are there. */
void dg_page_metrics(dg_str *out, const json_t *section, const char *const *keys, int count);

#endif
