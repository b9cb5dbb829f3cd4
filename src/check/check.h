/* A look at a data set before anything is trained on it: duplicates, leakage, damaged files, doubtful labels, outliers,
 * planted triggers, balance. Order: dg_options_init/parse on dg_check_option_table -> dg_check -> dg_check_result_free.
 */
#ifndef DG_CHECK_CHECK_H
#define DG_CHECK_CHECK_H

#include "core/options.h"
#include "data/reading_options.h"

typedef struct dg_check_options {
    char *images, *holdout, *out;
    dg_reading_options reading;
    bool unconditional;
    int64_t resolution; /* 0: that of the images, at most 64 */
    int64_t seed, threads;
    bool json, quiet;
} dg_check_options;

extern const dg_option_table dg_check_option_table;

typedef struct dg_check_events {
    void *user;
    void (*on_progress)(void *user, const char *part, int64_t done, int64_t total); /* on the calling thread */
} dg_check_events;

typedef struct dg_check_result {
    json_t *report; /* what inspection.json holds */
    char *json_path, *html_path;
} dg_check_result;

/* Writes <out>/inspection.json and inspection.html. Findings are no failure.
 * err   DG_ENOINPUT, DG_EDATA (no readable image, too few), DG_ECREATE, DG_EIO, DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_check(dg_ctx *ctx, const dg_check_options *options, const dg_check_events *events,
                                 dg_check_result *result);
void dg_check_result_free(dg_check_result *result);

#endif
