/* audit.html and roc.svg out of the report. Internal to the audit room. */
#ifndef DG_AUDIT_AUDIT_PAGE_H
#define DG_AUDIT_AUDIT_PAGE_H

#include "core/json.h"

/* err DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_audit_write_page(dg_ctx *ctx, const json_t *report, const char *html_path,
                                            const char *svg_path);

#endif
