/* Statistics of Inception's features in a file: diffgen evaluate ref writes them, --reference reads them. */
#include "evaluate/evaluation.h"
#include "formats/npz.h"
#include "nn/lanes.h"

#include <stdlib.h>

static dg_status write_statistics(dg_ctx *ctx, const char *path, const dg_vectors *x) {
    dg_status status = DG_OK;
    char mu_name[] = "mu", sigma_name[] = "sigma";
    dg_moments moments = {0};
    double *mean = NULL, *covariance = NULL;
    DG_TRY(dg_alloc(ctx, &mean, (size_t)x->d, sizeof *mean, "statistics"));
    DG_TRY(dg_alloc(ctx, &covariance, (size_t)(x->d * x->d), sizeof *covariance, "statistics"));
    DG_TRY(dg_moments_create(ctx, x->d, NULL, &moments));
    DG_TRY(dg_moments_add(ctx, &moments, x));
    dg_moments_statistics(&moments, mean, covariance);
    const dg_npz_array arrays[] = {
        {.name = mu_name, .rank = 1, .dims = {x->d}, .count = x->d, .data = mean},
        {.name = sigma_name, .rank = 2, .dims = {x->d, x->d}, .count = x->d * x->d, .data = covariance}};
    DG_TRY(dg_npz_write(ctx, path, arrays, 2));
done:
    dg_moments_free(&moments);
    free(mean);
    free(covariance);
    return status;
}

/* Events by way of what Inception reports. */
typedef struct reporter {
    const dg_evaluate_events *events;
} reporter;

static void on_progress(void *user, int64_t done, int64_t total) {
    const reporter *r = user;
    if (r->events && r->events->on_progress)
        r->events->on_progress(r->events->user, "features of Inception", done, total);
}

dg_status dg_evaluate_reference(dg_ctx *ctx, const dg_reference_options *options, const dg_evaluate_events *events,
                                json_t **result) {
    dg_status status = DG_OK;
    dg_dataset *dataset = NULL;
    dg_image_set images = {0};
    dg_inception *net = NULL;
    float *features = NULL;
    reporter r = {events};
    const int lanes = dg_lanes_default((int)options->threads);
    dg_dataset_options open = dg_dataset_options_default();
    open.path = options->images;
    open.resolution = (int)options->resolution;
    open.unconditional = true;
    open.threads = lanes;
    DG_TRY(dg_options_check(ctx, &dg_reference_option_table, options));
    DG_TRY(dg_inception_open(ctx, options->extractor, lanes, &net));
    DG_TRY(dg_dataset_open(ctx, &open, &dataset));
    DG_TRY(dg_image_set_load(ctx, dataset, lanes, &images));
    if (images.n < 2)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: one image; a covariance needs at least two", options->images));
    DG_TRY(dg_alloc(ctx, &features, (size_t)(images.n * DG_INCEPTION_FEATURES), sizeof *features, "features"));
    DG_TRY(dg_inception_features(net, &images, options->extractor_input, on_progress, &r, features));
    const dg_vectors x = {features, images.n, DG_INCEPTION_FEATURES, NULL};
    DG_TRY(write_statistics(ctx, options->out, &x));
    *result = json_pack("{s:s, s:s, s:I, s:I, s:b}", "kind", "reference", "path", options->out, "images",
                        (json_int_t)images.n, "dimensions", (json_int_t)DG_INCEPTION_FEATURES, "dp_covered", 0);
    if (!*result)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "no memory for the result"));
done:
    free(features);
    dg_inception_close(net);
    dg_image_set_free(&images);
    dg_dataset_free(dataset);
    return status;
}

dg_status dg_evaluation_read_reference(dg_evaluation *e) {
    dg_status status = DG_OK;
    dg_npz npz = {0};
    const char *path = e->options->reference;
    const int64_t d = DG_INCEPTION_FEATURES;
    DG_TRY(dg_npz_read(e->ctx, path, &npz));
    const dg_npz_array *mu = dg_npz_find(&npz, "mu"), *sigma = dg_npz_find(&npz, "sigma");
    if (!mu || !sigma || mu->count != d || sigma->rank != 2 || sigma->dims[0] != d || sigma->dims[1] != d)
        DG_TRY(dg_fail(e->ctx, DG_EDATA, "--reference %s: needs arrays mu [%lld] and sigma [%lld, %lld] of floats%s%s",
                       path, (long long)d, (long long)d, (long long)d, npz.passed_over ? "; passed over: " : "",
                       npz.passed_over ? npz.passed_over : ""));
    status = dg_gaussian_from_statistics(e->ctx, d, mu->data, sigma->data, &e->reference);
    if (status == DG_EDATA)
        status = dg_evaluation_blame(e, status, "--reference", path);
    DG_TRY(status);
done:
    dg_npz_free(&npz);
    return status;
}
