/* Membership inference on a model: can somebody who has it tell the images it was trained on from others?
 * Order: dg_options_init/parse on dg_audit_option_table -> dg_audit_run -> dg_audit_result_free. */
#ifndef DG_AUDIT_AUDIT_H
#define DG_AUDIT_AUDIT_H

#include "core/json.h"
#include "core/options.h"
#include "data/reading_options.h"
#include "nn/compute.h"

typedef struct dg_audit_options {
    char *model, *reference_model, *members, *non_members, *out;
    dg_reading_options reading;
    bool unconditional;
    int64_t images; /* of each kind, at most */
    int64_t noises;
    int64_t seed, threads;
    dg_device_choice device;
    bool json, quiet;
} dg_audit_options;

extern const dg_option_table dg_audit_option_table;

typedef struct dg_audit_events {
    void *user;
    void (*on_progress)(void *user, int64_t done, int64_t total); /* images; on the calling thread */
} dg_audit_events;

typedef struct dg_audit_result {
    json_t *report; /* what audit.json holds */
    char *json_path, *html_path;
} dg_audit_result;

/* Attacks the model, and writes <out>/audit.json, audit.html and roc.svg.
 * err   DG_ENOINPUT, DG_EDATA (a class that a model does not know, too few images, non-members that all are members),
 *       DG_EUSAGE (out inside the images), DG_EDEVICE, DG_ECREATE, DG_EIO, DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_audit_run(dg_ctx *ctx, const dg_audit_options *options, const dg_audit_events *events,
                                     dg_audit_result *result);
void dg_audit_result_free(dg_audit_result *result);
/* From a report: the share of its training images that no attack on the model can recognise more of at `fpr` false
 * alarms (0.001, 0.01 or 0.1), by the accountant of its private training; NaN = it was not private. */
double dg_audit_ceiling(const json_t *report, double fpr);

#endif
