/* The evidence for a synthetic data set: how true, useful and safe it is, as one JSON object, one HTML page and one
 * verdict. Order: dg_options_init/parse on dg_evaluate_option_table -> dg_evaluate -> dg_evaluate_verdict ->
 * dg_evaluate_result_free.
 *
 * Everything but the folder it writes is a function of the images, the options and the seed. */
#ifndef DG_EVALUATE_EVALUATE_H
#define DG_EVALUATE_EVALUATE_H

#include "core/options.h"
#include "data/reading_options.h"
#include "inception/inception.h"

typedef struct dg_evaluate_options {
    char *real, *holdout, *synthetic, *out, *gate;
    char *group_column;
    dg_reading_options reading;
    char *extractor; /* Inception-2015 as safetensors; NULL = native-cnn-v1 */
    char *reference; /* .npz with mu and sigma of that extractor's features of the real images */
    dg_inception_input extractor_input;
    bool unconditional, utility;
    int64_t resolution; /* 0: that of the real images */
    int64_t seed, threads;
    bool json, quiet;
} dg_evaluate_options;

extern const dg_option_table dg_evaluate_option_table;

/* Parts of the work as they go on; total 0 = unknown. On the calling thread. */
typedef struct dg_evaluate_events {
    void *user;
    void (*on_progress)(void *user, const char *part, int64_t done, int64_t total);
} dg_evaluate_events;

typedef struct dg_evaluate_result {
    json_t *report;              /* what report.json holds */
    char *json_path, *html_path; /* malloc'ed */
} dg_evaluate_result;

/* Measures, and writes <out>/report.json, report.html and pairs.png (the most suspicious pairs).
 * err   DG_ENOINPUT, DG_EDATA (too few images, no class in common, ...), DG_ECREATE, DG_EIO, DG_EINTERRUPTED,
 * DG_ENOMEM; before anything is measured DG_EUSAGE <out> lies in a set's folder, DG_ECONFIG, DG_ENOINPUT the gate's
 * policy cannot be read, DG_EDATA the reference is no mean and covariance */
DG_MUST_CHECK dg_status dg_evaluate(dg_ctx *ctx, const dg_evaluate_options *options, const dg_evaluate_events *events,
                                    dg_evaluate_result *result);
void dg_evaluate_result_free(dg_evaluate_result *result);

/* Whether the report's gates (report.gates.checks) all passed. err DG_EGATE: the text lists what failed */
DG_MUST_CHECK dg_status dg_evaluate_verdict(dg_ctx *ctx, const json_t *report);

/* ---- diffgen evaluate ref ---- */

typedef struct dg_reference_options {
    char *images, *extractor, *out;
    dg_inception_input extractor_input;
    int64_t resolution, threads;
    bool json, quiet;
} dg_reference_options;
extern const dg_option_table dg_reference_option_table;

/* Writes mean and covariance of the images' features as .npz with "mu" and "sigma", as pytorch-fid --save-stats does.
 * out   *result what was done, for --json
 * err   DG_ENOINPUT, DG_EDATA, DG_ECREATE, DG_EIO, DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_evaluate_reference(dg_ctx *ctx, const dg_reference_options *options,
                                              const dg_evaluate_events *events, json_t **result);

#endif
