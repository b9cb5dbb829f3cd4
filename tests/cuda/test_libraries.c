/* cuDNN and cuBLASLt beside our kernels: the table of what is faster and its file, what happens where they are missing
 * or fail, and the comparison that bench prints. That their results are right is for tests/ops/test_conv2d.c. */
#include "bench/bench_internal.h"
#include "core/fs.h"
#include "core/json.h"
#include "io/model_folder.h"
#include "kernels/cuda/conv2d_library_internal.h"
#include "support/test_main.h"
#include "train/preset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dg_conv2d_desc desc_3x3 = {.n = 2,
                                        .h = 6,
                                        .w = 6,
                                        .in_c = 16,
                                        .out_c = 8,
                                        .kernel = 3,
                                        .stride = 1,
                                        .pad_begin = 1,
                                        .pad_end = 1,
                                        .bias = true,
                                        .training = true,
                                        .precision = DG_PRECISION_BF16};
static const dg_conv2d_desc desc_1x1 = {.n = 2,
                                        .h = 3,
                                        .w = 3,
                                        .in_c = 8,
                                        .out_c = 24,
                                        .kernel = 1,
                                        .stride = 1,
                                        .bias = true,
                                        .training = true,
                                        .precision = DG_PRECISION_BF16};

typedef struct fixture {
    dg_ctx *ctx;
    const dg_backend *cuda;
    char folder[160]; /* of the table */
} fixture;

/* Before the simulator reads its environment, which it does once: each test is a process. */
static void set_up(fixture *f) {
    static int tests; /* of this process: Check may run all of them in one */
    char cache[96];
    f->ctx = dg_test_context();
    snprintf(cache, sizeof cache, "%s/%d", dg_test_dir(), tests++);
    DG_CK(f->ctx, dg_fs_mkdirs(f->ctx, cache));
    setenv("XDG_CACHE_HOME", cache, 1);
    snprintf(f->folder, sizeof f->folder, "%s/diffgen", cache);
    DG_CK(f->ctx, dg_backend_cuda(f->ctx, 0, &f->cuda));
}

static void tear_down(fixture *f) {
    dg_ctx_free(f->ctx);
}

/* What runs a convolution planned with libraries opened anew. */
static const char *implementation(fixture *f, dg_library_use use, const dg_conv2d_desc *desc) {
    dg_libraries *libraries = NULL;
    dg_plan *plan = NULL;
    dg_exec exec = {.ctx = f->ctx};
    dg_conv2d_desc d = *desc;
    DG_CK(f->ctx, f->cuda->libraries_open(f->ctx, use, &libraries));
    d.libraries = libraries;
    DG_CK(f->ctx, f->cuda->ops->conv2d_plan(&exec, &d, &plan));
    const char *name = plan->implementation;
    dg_plan_free(plan);
    f->cuda->libraries_close(libraries);
    return name;
}

static void expect_library(fixture *f, const dg_conv2d_desc *desc, dg_library_use use, const char *library) {
    const char *name = implementation(f, use, desc);
    ck_assert_msg((strstr(name, "cu") != NULL) == (library != NULL) && (!library || strstr(name, library)),
                  "%s runs, not %s", name, library ? library : "ours");
}

/* ---- the table's file ---- */

/* The path of the one file; malloc'ed. */
static char *table_path(fixture *f) {
    char **names = NULL;
    size_t count = 0;
    DG_CK(f->ctx, dg_fs_list(f->ctx, f->folder, &names, &count));
    ck_assert_uint_eq(count, 1);
    char *path = dg_fs_join(f->folder, names[0]);
    dg_fs_free_list(names, count);
    return path;
}

static json_t *read_table(fixture *f, const char *path) {
    json_t *table = NULL;
    DG_CK(f->ctx, dg_json_load(f->ctx, path, DG_JSON_STRICT, &table));
    return table;
}

/* Says of every pass in the table that the library's is faster, or not. */
static void rewrite_table(fixture *f, const char *path, bool faster) {
    json_t *table = read_table(f, path), *timing = NULL;
    const char *key = NULL;
    json_object_foreach(json_object_get(table, "timings"), key, timing)
        ck_assert_int_eq(json_object_set_new(timing, "faster", json_boolean(faster)), 0);
    DG_CK(f->ctx, dg_json_save(f->ctx, path, table));
    json_decref(table);
}

START_TEST(test_table_decides) {
    fixture f;
    set_up(&f);
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_3x3);
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_1x1);
    char *path = table_path(&f);
    json_t *table = read_table(&f, path), *timings = json_object_get(table, "timings");
    /* cuDNN's parameter gradient is not among them: it would be in bf16 */
    ck_assert_uint_eq(json_object_size(timings), 2 + 3);
    ck_assert_ptr_nonnull(json_object_get(timings, "conv2d 2x6x6 16->8 3x3 /1 pad 1,1 bias forward"));
    ck_assert_ptr_nonnull(json_object_get(timings, "conv2d 2x3x3 8->24 1x1 /1 pad 0,0 bias parameter gradient"));
    json_decref(table);
    rewrite_table(&f, path, true);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_AUTO, "cuDNN");
    expect_library(&f, &desc_1x1, DG_LIBRARIES_AUTO, "cuBLASLt");
    rewrite_table(&f, path, false);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_AUTO, NULL);
    expect_library(&f, &desc_1x1, DG_LIBRARIES_AUTO, NULL);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_ALWAYS, "cuDNN"); /* whatever the table says */
    free(path);
    tear_down(&f);
}
END_TEST

START_TEST(test_damaged_table) {
    static const char *const texts[] = {
        "", "{", "[]", "{\"made_for\": {}, \"timings\": {}}", "{\"timings\": 3}", "\xff\xfe\0x"};
    fixture f;
    set_up(&f);
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_3x3);
    char *path = table_path(&f);
    json_t *whole = read_table(&f, path);
    DG_CK(f.ctx, dg_fs_write_atomic(f.ctx, path, texts[_i], strlen(texts[_i])));
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_3x3);
    ck_assert_str_eq(dg_last_error(f.ctx), "");
    json_t *again = read_table(&f, path);
    ck_assert(json_equal(json_object_get(again, "made_for"), json_object_get(whole, "made_for")));
    ck_assert_uint_eq(json_object_size(json_object_get(again, "timings")), 2);
    json_decref(whole);
    json_decref(again);
    free(path);
    tear_down(&f);
}
END_TEST

/* An entry that makes no sense is timed again; others stay. */
START_TEST(test_damaged_entry) {
    static const char key[] = "conv2d 2x6x6 16->8 3x3 /1 pad 1,1 bias forward";
    fixture f;
    set_up(&f);
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_3x3);
    char *path = table_path(&f);
    rewrite_table(&f, path, true);
    json_t *table = read_table(&f, path);
    ck_assert_int_eq(
        json_object_set_new(json_object_get(table, "timings"), key,
                            json_pack("{s:s, s:i, s:b}", "library", "cuDNN", "candidate", -7, "faster", true)),
        0);
    DG_CK(f.ctx, dg_json_save(f.ctx, path, table));
    json_decref(table);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_AUTO, "cuDNN"); /* for the data gradient at least */
    table = read_table(&f, path);
    json_t *timing = json_object_get(json_object_get(table, "timings"), key);
    ck_assert_int_ge(json_integer_value(json_object_get(timing, "candidate")), 0);
    ck_assert(json_is_number(json_object_get(timing, "own_ms")));
    json_decref(table);
    free(path);
    tear_down(&f);
}
END_TEST

START_TEST(test_nowhere_to_keep_it) {
    fixture f;
    set_up(&f);
    if (_i == 0) {
        unsetenv("XDG_CACHE_HOME");
        unsetenv("HOME");
    } else { /* a file where the folder should be */
        DG_CK(f.ctx, dg_fs_write_atomic(f.ctx, f.folder, "x", 1));
    }
    (void)implementation(&f, DG_LIBRARIES_AUTO, &desc_3x3);
    ck_assert_str_eq(dg_last_error(f.ctx), "");
    tear_down(&f);
}
END_TEST

/* ---- passes that are left to us ---- */

START_TEST(test_not_fit) {
    fixture f;
    dg_conv2d_desc d = desc_3x3;
    set_up(&f);
    d.in_c = 12;
    expect_library(&f, &d, DG_LIBRARIES_ALWAYS, NULL);
    d = desc_3x3;
    d.upsample = true;
    expect_library(&f, &d, DG_LIBRARIES_ALWAYS, NULL);
    d = desc_3x3;
    d.precision = DG_PRECISION_TF32;
    expect_library(&f, &d, DG_LIBRARIES_ALWAYS, NULL);
    d = desc_3x3;
    d.bias = false;
    d.residual = true;
    d.training = false;
    expect_library(&f, &d, DG_LIBRARIES_ALWAYS, NULL);
    tear_down(&f);
}
END_TEST

/* A tensor at an address that the library was not told of: ours runs instead, with the same result as in a plan of
 * ours.
 */
START_TEST(test_misaligned) {
    enum { COUNT = 2 * 6 * 6 * 16, OUT = 2 * 6 * 6 * 8, WEIGHTS = 8 * 16 * 9 };
    fixture f;
    dg_libraries *libraries = NULL;
    dg_exec exec = {0};
    dg_plan *plan[2] = {NULL};
    void *packed[2], *y[2], *x, *weight, *bias;
    set_up(&f);
    DG_CK(f.ctx, f.cuda->libraries_open(f.ctx, DG_LIBRARIES_ALWAYS, &libraries));
    DG_CK(f.ctx, f.cuda->exec_create(f.ctx, 1 << 20, &exec));
    DG_CK(f.ctx, f.cuda->alloc_shared(f.ctx, COUNT * 2 + 16, "x", &x));
    DG_CK(f.ctx, f.cuda->alloc_shared(f.ctx, WEIGHTS * sizeof(float), "weights", &weight));
    DG_CK(f.ctx, f.cuda->alloc_shared(f.ctx, 8 * sizeof(float), "bias", &bias));
    for (int i = 0; i < COUNT; i++)
        ((uint16_t *)x)[i + 1] = (uint16_t)(0x3f00 + i % 100);
    for (int i = 0; i < WEIGHTS; i++)
        ((float *)weight)[i] = (float)(i % 7) - 3.0f;
    for (int k = 0; k < 2; k++) {
        dg_conv2d_desc d = desc_3x3;
        d.libraries = k ? libraries : NULL;
        DG_CK(f.ctx, f.cuda->ops->conv2d_plan(&exec, &d, &plan[k]));
        ck_assert_uint_le(plan[k]->workspace_bytes, exec.workspace_bytes);
        DG_CK(f.ctx, f.cuda->alloc_shared(f.ctx, plan[k]->packed_bytes, "weights", &packed[k]));
        DG_CK(f.ctx, f.cuda->alloc_shared(f.ctx, OUT * 2, "y", &y[k]));
        DG_CK(f.ctx, f.cuda->ops->conv2d_pack(&exec, plan[k], weight, packed[k]));
        const dg_tensor xt = {.data = (uint16_t *)x + 1, .dtype = DG_BF16, .dims = {2, 6, 6, 16}},
                        yt = {.data = y[k], .dtype = DG_BF16, .dims = {2, 6, 6, 8}};
        DG_CK(f.ctx, f.cuda->ops->conv2d_fwd(&exec, plan[k], &xt, packed[k], bias, NULL, &yt));
        DG_CK(f.ctx, f.cuda->synchronise(&exec));
    }
    ck_assert_mem_eq(y[0], y[1], OUT * 2);
    for (int k = 0; k < 2; k++) {
        dg_plan_free(plan[k]);
        f.cuda->free_shared(packed[k]);
        f.cuda->free_shared(y[k]);
    }
    f.cuda->free_shared(x), f.cuda->free_shared(weight), f.cuda->free_shared(bias);
    f.cuda->exec_free(&exec);
    f.cuda->libraries_close(libraries);
    tear_down(&f);
}
END_TEST

#ifdef DG_CUDASIM
/* ---- libraries that are not there, or fail ---- */

START_TEST(test_missing) {
    fixture f;
    dg_libraries *libraries = NULL;
    setenv("CUDASIM_LIBRARIES", "none", 1);
    set_up(&f);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_AUTO, NULL);
    expect_library(&f, &desc_1x1, DG_LIBRARIES_AUTO, NULL);
    ck_assert_int_eq(f.cuda->libraries_open(f.ctx, DG_LIBRARIES_ALWAYS, &libraries), DG_EDEVICE);
    ck_assert_ptr_null(libraries);
    ck_assert_ptr_nonnull(strstr(dg_last_error(f.ctx), "cuDNN: cannot open"));
    ck_assert_ptr_nonnull(strstr(dg_last_error(f.ctx), "cuBLASLt: cannot open"));
    tear_down(&f);
}
END_TEST

START_TEST(test_one_of_two) {
    fixture f;
    dg_library_info info[DG_CUDA_LIBRARIES];
    setenv("CUDASIM_LIBRARIES", "cublaslt", 1);
    set_up(&f);
    ck_assert_int_eq(dg_cuda_libraries(info), 2);
    ck_assert_str_eq(info[0].name, "cuDNN");
    ck_assert_str_eq(info[0].version, "");
    ck_assert_str_ne(info[0].why_not, "");
    ck_assert_str_eq(info[1].name, "cuBLASLt");
    ck_assert_str_ne(info[1].version, "");
    ck_assert_str_eq(info[1].why_not, "");
    expect_library(&f, &desc_3x3, DG_LIBRARIES_ALWAYS, NULL);
    expect_library(&f, &desc_1x1, DG_LIBRARIES_ALWAYS, "cuBLASLt");
    tear_down(&f);
}
END_TEST

START_TEST(test_failing) {
    fixture f;
    dg_libraries *libraries = NULL;
    dg_library_timing timing[DG_CONV2D_PASSES];
    setenv("CUDASIM_LIBRARIES_FAIL", "1", 1);
    set_up(&f);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_AUTO, NULL);
    expect_library(&f, &desc_3x3, DG_LIBRARIES_ALWAYS, NULL);
    expect_library(&f, &desc_1x1, DG_LIBRARIES_ALWAYS, NULL);
    DG_CK(f.ctx, f.cuda->libraries_open(f.ctx, DG_LIBRARIES_AUTO, &libraries));
    DG_CK(f.ctx, f.cuda->libraries_compare(libraries, &desc_3x3, timing));
    for (int pass = 0; pass < DG_CONV2D_PASSES; pass++) {
        ck_assert(timing[pass].own_ms > 0 && timing[pass].library_ms == 0 && !timing[pass].faster);
        ck_assert_msg(strstr(timing[pass].note, "running a plan"), "%s", timing[pass].note);
    }
    f.cuda->libraries_close(libraries);
    tear_down(&f);
}
END_TEST

/* ---- what the simulator's libraries refuse ---- */

START_TEST(test_operands) {
    enum { BYTES = 1 << 14 };
    fixture f;
    dg_exec exec = {0};
    dg_libraries *libraries = NULL;
    conv2d_library l;
    char why[DG_LIBRARY_WHY], *memory;
    void *device = NULL;
    static char host[BYTES];
    set_up(&f);
    DG_CK(f.ctx, f.cuda->exec_create(f.ctx, 1 << 20, &exec));
    DG_CK(f.ctx, f.cuda->alloc(f.ctx, 4 * BYTES, "operands", &device));
    memory = device;
    DG_CK(f.ctx, f.cuda->libraries_open(f.ctx, DG_LIBRARIES_ALWAYS, &libraries));
    for (int k = 0; k < 2; k++) {
        dg_conv2d_library_describe(&l, libraries, k ? &desc_1x1 : &desc_3x3);
        ck_assert(dg_conv2d_library_find(&l, DG_ROLE_BWD_DATA));
        const dg_library_engine *engine = l.engine[DG_ROLE_BWD_DATA];
        const dg_library_call good = {.stream = exec.queue,
                                      .x = memory,
                                      .y = memory + BYTES,
                                      .weight = memory + 2 * BYTES,
                                      .workspace = exec.workspace};
        dg_library_call call = good;
        ck_assert_int_eq(engine->candidates, 2);
        ck_assert(engine->run(engine, 1, &call, why));
        call.y = host; /* the host's */
        ck_assert(!engine->run(engine, 1, &call, why));
        call = good, call.weight = memory + 4 * BYTES - 16; /* not all there */
        ck_assert(!engine->run(engine, 1, &call, why));
        call = good, call.x = memory + 2; /* not aligned */
        ck_assert(!engine->run(engine, 1, &call, why));
        call = good, call.workspace = memory + 4 * BYTES - 16; /* too small */
        ck_assert(!engine->run(engine, 1, &call, why));
        dg_conv2d_library_drop(&l, DG_ROLE_BWD_DATA);
    }
    f.cuda->libraries_close(libraries);
    f.cuda->free(device);
    f.cuda->exec_free(&exec);
    tear_down(&f);
}
END_TEST
#endif

/* ---- bench ---- */

static const json_t *row_named(const json_t *rows, const char *shape) {
    size_t i = 0;
    json_t *row = NULL;
    json_array_foreach((json_t *)rows, i,
                       row) if (strcmp(json_string_value(json_object_get(row, "shape")), shape) == 0) return row;
    ck_abort_msg("no row %s", shape);
}

static const char *text_of(const json_t *row, const char *key) {
    const char *text = json_string_value(json_object_get(row, key));
    return text ? text : "";
}

START_TEST(test_bench) {
    fixture f;
    dg_preset preset = {0};
    json_t *section = NULL;
    const dg_bench_options options = {.op = (char *)"conv2d"};
    set_up(&f);
    DG_CK(f.ctx, dg_preset_load(f.ctx, "tiny", &preset));
    preset.unet.levels = 2;
    preset.unet.channels[0] = 8;
    preset.unet.channels[1] = 16;
    preset.unet.norm_num_groups = 4;
    preset.unet.up[0] = preset.unet.down[1] = DG_BLOCK_ATTN;
    preset.unet.up[1] = preset.unet.down[0] = DG_BLOCK_PLAIN;
    preset.unet.attention_head_dim = 8;
    DG_CK(f.ctx, dg_preset_fit(f.ctx, &preset, 8, 8, 1, 3, true));
    dg_bench b = {
        .ctx = f.ctx, .options = &options, .backend = f.cuda, .config = preset.unet, .h = 8, .w = 8, .batch = 2};
    ck_assert(dg_bench_wants_conv2d(&b));
    DG_CK(f.ctx, dg_bench_conv2d(&b, &section));
    const json_t *forward = json_object_get(section, "forward"),
                 *params = json_object_get(section, "parameter_gradient");
    const json_t *first = row_named(forward, "3x3 1->8 8x8"), *inner = row_named(forward, "3x3 8->8 8x8");
    ck_assert_str_eq(text_of(first, "library"), "");
    ck_assert_str_eq(text_of(first, "auto"), "ours");
    ck_assert_str_ne(text_of(first, "note"), "");
    ck_assert_str_eq(text_of(inner, "library"), "cuDNN");
    ck_assert_str_eq(text_of(inner, "note"), "");
    ck_assert(json_number_value(json_object_get(inner, "library_ms")) > 0);
    ck_assert(json_number_value(json_object_get(inner, "ratio")) > 0);
    inner = row_named(params, "3x3 8->8 8x8");
    ck_assert_str_eq(text_of(inner, "auto"), "ours");
    ck_assert_ptr_nonnull(strstr(text_of(inner, "note"), "rounded to bf16"));
    ck_assert_uint_eq(json_array_size(json_object_get(section, "step")), DG_CONV2D_PASSES);
    /* nobody wants the gradients of the image and of the timestep's sinusoids */
    ck_assert_uint_eq(json_array_size(json_object_get(section, "data_gradient")) + 2, json_array_size(forward));
    json_decref(section);
    dg_preset_free(&preset);
    tear_down(&f);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("libraries");
    TCase *tests = tcase_create("libraries");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, test_table_decides);
    tcase_add_loop_test(tests, test_damaged_table, 0, 6);
    tcase_add_test(tests, test_damaged_entry);
    tcase_add_loop_test(tests, test_nowhere_to_keep_it, 0, 2);
    tcase_add_test(tests, test_not_fit);
    tcase_add_test(tests, test_misaligned);
#ifdef DG_CUDASIM
    tcase_add_test(tests, test_missing);
    tcase_add_test(tests, test_one_of_two);
    tcase_add_test(tests, test_failing);
    tcase_add_test(tests, test_operands);
#endif
    tcase_add_test(tests, test_bench);
    suite_add_tcase(suite, tests);
    return suite;
}
