/* Evaluating with Inception, and the statistics that `evaluate ref` keeps: the distance to the statistics of the real
 * images is the distance to the real images. */
#include "core/fs.h"
#include "evaluate/evaluate.h"
#include "formats/npz.h"
#include "support/inception_weights.h"

static dg_ctx *ctx;

static char *in_dir(const char *name) {
    return dg_fs_join(dg_test_dir(), name);
}

/* Images first..first+n-1 of two classes of the samples, in <name>/<class>/. */
static void copy_images(const char *name, size_t first, size_t n) {
    static const char *const classes[] = {"bag", "sneaker"};
    for (int c = 0; c < 2; c++) {
        char from[512], to[512], **files;
        size_t count;
        snprintf(from, sizeof from, "%s/samples/fashion/%s", DG_SOURCE_DIR, classes[c]);
        snprintf(to, sizeof to, "%s/%s/%s", dg_test_dir(), name, classes[c]);
        DG_CK(ctx, dg_fs_mkdirs(ctx, to));
        DG_CK(ctx, dg_fs_list(ctx, from, &files, &count));
        ck_assert(first + n <= count);
        for (size_t i = first; i < first + n; i++) {
            char *bytes, *source = dg_fs_join(from, files[i]), *target = dg_fs_join(to, files[i]);
            size_t size;
            DG_CK(ctx, dg_fs_read_file(ctx, source, 1 << 20, &bytes, &size));
            DG_CK(ctx, dg_fs_write_atomic(ctx, target, bytes, size));
            free(bytes);
            free(source);
            free(target);
        }
        dg_fs_free_list(files, count);
    }
}

static double metric(const json_t *report, const char *key) {
    double value = NAN;
    dg_json_number(json_object_get(json_object_get(json_object_get(report, "fidelity"), key), "value"), &value);
    return value;
}

/* A file of statistics is judged before the images are so much as looked for. */
START_TEST(statistics_that_are_none) {
    dg_evaluate_options options;
    dg_evaluate_result result;
    enum { D = DG_INCEPTION_FEATURES };
    ctx = dg_test_context();
    double *mu = calloc(D, sizeof *mu), *sigma = calloc((size_t)D * D, sizeof *sigma);
    char mu_name[] = "mu", sigma_name[] = "sigma";
    DG_CK(ctx, dg_options_init(ctx, &dg_evaluate_option_table, &options));
    options.real = in_dir("nowhere");
    options.synthetic = in_dir("nowhere");
    options.extractor = in_dir("nothing.safetensors");
    free(options.out);
    options.out = in_dir("no-report");
    options.reference = in_dir("bad.npz");
    for (int i = 0; i < 2; i++) {
        mu[7] = i ? 0 : NAN;
        const dg_npz_array arrays[] = {
            {.name = mu_name, .rank = 1, .dims = {D}, .count = D, .data = mu},
            {.name = sigma_name, .rank = 2, .dims = {D, D - i}, .count = (int64_t)D * (D - i), .data = sigma}};
        DG_CK(ctx, dg_npz_write(ctx, options.reference, arrays, 2));
        ck_assert_int_eq(dg_evaluate(ctx, &options, NULL, &result), DG_EDATA);
        dg_evaluate_result_free(&result);
        ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), options.reference));
        ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), i ? "needs arrays mu [2048]" : "element 7 of the mean"));
        dg_ctx_clear_error(ctx);
    }
    ck_assert(!dg_fs_exists(options.out));
    dg_options_free(&dg_evaluate_option_table, &options);
    free(mu);
    free(sigma);
}
END_TEST

START_TEST(distance_to_kept_statistics) {
    dg_reference_options reference;
    dg_evaluate_options options;
    dg_evaluate_result result;
    dg_npz npz;
    json_t *kept = NULL;
    ctx = dg_test_context();
    char *weights = in_dir("inception.safetensors");
    write_weights(ctx, weights);
    copy_images("real", 0, 12);
    copy_images("synthetic", 20, 11);
    DG_CK(ctx, dg_options_init(ctx, &dg_reference_option_table, &reference));
    reference.images = in_dir("real");
    reference.extractor = strdup(weights);
    reference.out = in_dir("real.npz");
    DG_CK(ctx, dg_evaluate_reference(ctx, &reference, NULL, &kept));
    ck_assert_int_eq(json_integer_value(json_object_get(kept, "images")), 24);
    DG_CK(ctx, dg_npz_read(ctx, reference.out, &npz));
    ck_assert_int_eq(dg_npz_find(&npz, "mu")->count, DG_INCEPTION_FEATURES);
    ck_assert_int_eq(dg_npz_find(&npz, "sigma")->rank, 2);
    dg_npz_free(&npz);

    DG_CK(ctx, dg_options_init(ctx, &dg_evaluate_option_table, &options));
    options.real = in_dir("real");
    options.synthetic = in_dir("synthetic");
    options.extractor = strdup(weights);
    free(options.out);
    options.out = in_dir("report");
    options.reference = in_dir("nothing.npz");
    ck_assert_int_eq(dg_evaluate(ctx, &options, NULL, &result), DG_ENOINPUT);
    dg_evaluate_result_free(&result);
    dg_ctx_clear_error(ctx);
    free(options.reference);
    options.reference = strdup(reference.out);
    DG_CK(ctx, dg_evaluate(ctx, &options, NULL, &result));
    const double direct = metric(result.report, "fd"), by_file = metric(result.report, "fd_reference");
    ck_assert_msg(direct > 0 && fabs(direct - by_file) < 1e-4 * direct, "%g, by the file %g", direct, by_file);
    dg_evaluate_result_free(&result);
    dg_options_free(&dg_evaluate_option_table, &options);
    dg_options_free(&dg_reference_option_table, &reference);
    json_decref(kept);
    free(weights);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("reference");
    TCase *tc = tcase_create("reference");
    tcase_set_timeout(tc, 550);
    tcase_add_test(tc, statistics_that_are_none);
    tcase_add_test(tc, distance_to_kept_statistics);
    suite_add_tcase(suite, tc);
    return suite;
}
