#include "nn/compute.h"
#include "nn/lanes.h"
#include "support/test_main.h"

#include <string.h>

static dg_ctx *ctx;
static dg_compute compute;

static void set_up(void) {
    ctx = dg_test_context();
}

static void tear_down(void) {
    dg_ctx_free(ctx);
}

static void refused(dg_device_choice device, dg_precision_choice precision, const char *part) {
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_compute_open(ctx, device, precision, 0, &compute), DG_EDEVICE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

START_TEST(the_cpu_computes_in_fp32_on_threads) {
    DG_CK(ctx, dg_compute_open(ctx, DG_DEVICE_CPU, DG_PRECISION_CHOICE_AUTO, 3, &compute));
    ck_assert_ptr_eq(compute.backend, dg_backend_cpu());
    ck_assert_int_eq(compute.precision, DG_PRECISION_FP32);
    ck_assert_int_eq(compute.lanes, 3);
    ck_assert_int_eq(compute.threads, 3);
    DG_CK(ctx, dg_compute_open(ctx, DG_DEVICE_CPU, DG_PRECISION_CHOICE_FP32, 0, &compute));
    ck_assert_int_eq(compute.lanes, dg_lanes_default(0));
    refused(DG_DEVICE_CPU, DG_PRECISION_CHOICE_BF16, "--precision bf16");
    refused(DG_DEVICE_CPU, DG_PRECISION_CHOICE_TF32, "--precision tf32");
}
END_TEST

START_TEST(auto_takes_a_gpu_where_there_is_one) {
    char why[160] = "";
    const int gpus = dg_cuda_devices(why, sizeof why);
    DG_CK(ctx, dg_compute_open(ctx, DG_DEVICE_AUTO, DG_PRECISION_CHOICE_AUTO, 0, &compute));
    ck_assert_str_eq(dg_last_error(ctx), "");
    if (gpus > 0) {
        ck_assert_str_eq(compute.backend->name, "cuda");
        ck_assert_int_eq(compute.precision, DG_PRECISION_BF16);
        ck_assert_int_eq(compute.lanes, 1);
        return;
    }
    ck_assert_str_ne(why, "");
    ck_assert_ptr_eq(compute.backend, dg_backend_cpu());
    refused(DG_DEVICE_CUDA, DG_PRECISION_CHOICE_AUTO, "--device cpu");
}
END_TEST

START_TEST(libraries_are_for_bf16_on_a_gpu) {
    DG_CK(ctx, dg_compute_open(ctx, DG_DEVICE_CPU, DG_PRECISION_CHOICE_AUTO, 1, &compute));
    ck_assert_int_eq(compute.libraries, DG_LIBRARIES_OFF);
    DG_CK(ctx, dg_compute_use_libraries(ctx, DG_LIBRARIES_AUTO, &compute));
    ck_assert_int_eq(compute.libraries, DG_LIBRARIES_OFF);
    ck_assert_int_eq(dg_compute_use_libraries(ctx, DG_LIBRARIES_ALWAYS, &compute), DG_EDEVICE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--libraries always"));
    json_t *libraries = dg_compute_libraries();
    size_t i = 0;
    json_t *library = NULL;
    json_array_foreach(libraries, i, library) /* found, or a reason */
        ck_assert(json_is_null(json_object_get(library, "version")) !=
                  json_is_null(json_object_get(library, "why_not")));
    json_decref(libraries);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("compute");
    TCase *tcase = tcase_create("compute");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_cpu_computes_in_fp32_on_threads);
    tcase_add_test(tcase, auto_takes_a_gpu_where_there_is_one);
    tcase_add_test(tcase, libraries_are_for_bf16_on_a_gpu);
    suite_add_tcase(suite, tcase);
    return suite;
}
