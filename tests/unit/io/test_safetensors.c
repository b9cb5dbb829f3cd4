/* The safetensors reader and writer: the format's test vector, files of the Python library byte for byte, and hostile
 * files. */
#include "core/fs.h"
#include "io/safetensors.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE DG_SOURCE_DIR "/tests/fixtures/io/mixed.safetensors"

static dg_ctx *ctx;

static void setup(void) {
    ctx = dg_test_context();
}

static void teardown(void) {
    dg_ctx_free(ctx);
}

static char *in_test_dir(const char *name) {
    char *path = dg_fs_join(dg_test_dir(), name);
    ck_assert_ptr_nonnull(path);
    return path;
}

/* Writes length, header and `data_bytes` zero bytes, and opens the result. length < 0: the header's own. */
static dg_status open_made(const char *header, long long length, size_t data_bytes, dg_safetensors **st) {
    char *path = in_test_dir("made.safetensors");
    const uint64_t n = length < 0 ? strlen(header) : (uint64_t)length;
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fwrite(&n, 8, 1, f);
    fwrite(header, strlen(header), 1, f);
    for (size_t i = 0; i < data_bytes; i++)
        fputc(0, f);
    fclose(f);
    const dg_status status = dg_safetensors_open(ctx, path, st);
    free(path);
    return status;
}

START_TEST(test_format_vector) {
    static const char header[] = "{\"attn.0\":{\"dtype\":\"F32\",\"shape\":[1,2,3],\"data_offsets\":[0,24]}}";
    const float values[6] = {0, 1, 2, 3, 4, 5};
    const dg_st_tensor tensor = {.name = "attn.0", .dtype = DG_ST_F32, .rank = 3, .dims = {1, 2, 3}, .data = values};
    char *path = in_test_dir("vector.safetensors"), *data = NULL;
    size_t size = 0;
    DG_CK(ctx, dg_safetensors_write(ctx, path, &tensor, 1, NULL, 0));
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 20, &data, &size));
    ck_assert_uint_eq(size, 8 + 64 + 24);
    ck_assert_mem_eq(data, "\x40\0\0\0\0\0\0\0", 8);
    ck_assert_uint_eq(strlen(header), 64);
    ck_assert_mem_eq(data + 8, header, 64);
    ck_assert_mem_eq(data + 72, values, 24);
    free(data);
    free(path);
}
END_TEST

static void check_values(const dg_safetensors *st, const char *name, int64_t n, double scale, double shift) {
    float values[16];
    ck_assert_int_eq(dg_safetensors_find(st, name)->count, n);
    DG_CK(ctx, dg_safetensors_read_f32(ctx, st, name, -1, NULL, values));
    for (int64_t i = 0; i < n; i++)
        ck_assert_float_eq(values[i], (float)((double)i * scale + shift));
}

START_TEST(test_reads_python_file) {
    dg_safetensors *st = NULL;
    float value = 0;
    const int64_t wrong[3] = {1, 3, 2}, right[3] = {1, 2, 3};
    float values[6];
    DG_CK(ctx, dg_safetensors_open(ctx, FIXTURE, &st));
    ck_assert_int_eq(dg_safetensors_count(st), 11);
    ck_assert_str_eq(dg_safetensors_at(st, 0)->name, "attn.0");
    ck_assert_str_eq(dg_safetensors_metadata(st, "format"), "pt");
    ck_assert_ptr_null(dg_safetensors_metadata(st, "other"));
    check_values(st, "attn.0", 6, 1, 0);
    check_values(st, "half", 6, 0.25, -1);
    check_values(st, "brain", 6, 3, -7);
    check_values(st, "wide", 6, 0.125, 0);
    check_values(st, "empty", 0, 0, 0);
    check_values(st, "größe", 1, 0, -1);
    check_values(st, "quote\"back\\slash", 1, 0, 1);
    DG_CK(ctx, dg_safetensors_read_f32(ctx, st, "scalar", 0, NULL, &value));
    ck_assert_float_eq(value, 2.5f);
    DG_CK(ctx, dg_safetensors_read_f32(ctx, st, "attn.0", 3, right, values));
    ck_assert_int_eq(dg_safetensors_read_f32(ctx, st, "attn.0", 3, wrong, values), DG_EDATA);
    ck_assert_int_eq(dg_safetensors_read_f32(ctx, st, "attn.0", 2, right, values), DG_EDATA);
    ck_assert_int_eq(dg_safetensors_read_f32(ctx, st, "integers", -1, NULL, values), DG_EDATA);
    ck_assert_int_eq(dg_safetensors_read_f32(ctx, st, "none", -1, NULL, values), DG_EDATA);
    ck_assert_ptr_null(dg_safetensors_find(st, "__metadata__"));
    dg_safetensors_close(st);
}
END_TEST

/* The same tensors, given in another order, must become the very file Python wrote. */
START_TEST(test_writes_python_bytes) {
    static const float attn[6] = {0, 1, 2, 3, 4, 5}, one = 1, minus_one = -1, scalar = 2.5f;
    static const double wide[6] = {0, 0.125, 0.25, 0.375, 0.5, 0.625};
    static const uint16_t half[6] = {0xbc00, 0xba00, 0xb800, 0xb400, 0x0000, 0x3400};
    static const uint16_t brain[6] = {0xc0e0, 0xc080, 0xbf80, 0x4000, 0x40a0, 0x4100};
    static const int64_t integers[4] = {-2, -1, 0, 1};
    static const uint8_t bytes[5] = {0, 1, 2, 3, 4}, flags[3] = {1, 0, 1};
    const dg_st_tensor tensors[] = {
        {.name = "flags", .dtype = DG_ST_BOOL, .rank = 1, .dims = {3}, .data = flags},
        {.name = "scalar", .dtype = DG_ST_F32, .rank = 0, .data = &scalar},
        {.name = "größe", .dtype = DG_ST_F32, .rank = 1, .dims = {1}, .data = &minus_one},
        {.name = "wide", .dtype = DG_ST_F64, .rank = 1, .dims = {6}, .data = wide},
        {.name = "half", .dtype = DG_ST_F16, .rank = 2, .dims = {3, 2}, .data = half},
        {.name = "brain", .dtype = DG_ST_BF16, .rank = 1, .dims = {6}, .data = brain},
        {.name = "empty", .dtype = DG_ST_F32, .rank = 2, .dims = {0, 4}, .data = NULL},
        {.name = "quote\"back\\slash", .dtype = DG_ST_F32, .rank = 1, .dims = {1}, .data = &one},
        {.name = "integers", .dtype = DG_ST_I64, .rank = 1, .dims = {4}, .data = integers},
        {.name = "attn.0", .dtype = DG_ST_F32, .rank = 3, .dims = {1, 2, 3}, .data = attn},
        {.name = "bytes", .dtype = DG_ST_U8, .rank = 1, .dims = {5}, .data = bytes},
    };
    const dg_st_pair metadata = {"format", "pt"};
    char *path = in_test_dir("mixed.safetensors"), *ours = NULL, *theirs = NULL;
    size_t our_size = 0, their_size = 0;
    DG_CK(ctx, dg_safetensors_write(ctx, path, tensors, 11, &metadata, 1));
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 20, &ours, &our_size));
    DG_CK(ctx, dg_fs_read_file(ctx, FIXTURE, 1 << 20, &theirs, &their_size));
    ck_assert_uint_eq(our_size, their_size);
    ck_assert_mem_eq(ours, theirs, their_size);
    free(ours);
    free(theirs);
    free(path);
}
END_TEST

START_TEST(test_writer_refuses) {
    const float x = 1;
    const dg_st_tensor twice[2] = {{.name = "a", .dtype = DG_ST_F32, .data = &x},
                                   {.name = "a", .dtype = DG_ST_U8, .data = &x}};
    const dg_st_tensor control = {.name = "a\nb", .dtype = DG_ST_F32, .data = &x};
    const dg_st_tensor reserved = {.name = "__metadata__", .dtype = DG_ST_F32, .data = &x};
    const dg_st_tensor huge = {.name = "h", .dtype = DG_ST_F32, .rank = 2, .dims = {INT64_MAX, INT64_MAX}, .data = &x};
    const dg_st_tensor bits = {.name = "h", .dtype = DG_ST_F4, .rank = 1, .dims = {3}, .data = &x};
    char *path = in_test_dir("refused.safetensors");
    ck_assert_int_eq(dg_safetensors_write(ctx, path, twice, 2, NULL, 0), DG_EINVAL);
    ck_assert_int_eq(dg_safetensors_write(ctx, path, &control, 1, NULL, 0), DG_EINVAL);
    ck_assert_int_eq(dg_safetensors_write(ctx, path, &reserved, 1, NULL, 0), DG_EINVAL);
    ck_assert_int_eq(dg_safetensors_write(ctx, path, &huge, 1, NULL, 0), DG_EINVAL);
    ck_assert_int_eq(dg_safetensors_write(ctx, path, &bits, 1, NULL, 0), DG_EINVAL);
    ck_assert(!dg_fs_exists(path));
    ck_assert_int_eq(dg_safetensors_write(ctx, "/proc/none/x.safetensors", twice, 1, NULL, 0), DG_ECREATE);
    free(path);
}
END_TEST

/* Good ones, so that the bad ones below fail for the reason they are meant to. */
static const struct {
    const char *header;
    size_t data;
    int64_t tensors;
} good[] = {
    {"{}", 0, 0},
    {"{}      ", 0, 0},
    {"{\"__metadata__\":{}}", 0, 0},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 1},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"extra\":null}}", 4, 1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[0,1]}}",
     1, 2},
    {"{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[0,1]}}",
     2, 2},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[0,2]}}", 2, 1},
    {"{\"\\u0061b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, 1},
};

START_TEST(test_accepts) {
    dg_safetensors *st = NULL;
    DG_CK(ctx, open_made(good[_i].header, -1, good[_i].data, &st));
    ck_assert_int_eq(dg_safetensors_count(st), good[_i].tensors);
    dg_safetensors_close(st);
}
END_TEST

static const struct {
    const char *header;
    size_t data;
    long long length; /* -1: the header's own */
} hostile[] = {
    {"", 0, 0},                                                                    /* no header */
    {"{}", 0, 3},                                                                  /* header past the end */
    {"{}", 0, 0x7fffffffffffffffLL},                                               /* far past the end */
    {"{}", 0, 100000001},                                                          /* beyond the limit */
    {" {}", 0, -1},                                                                /* leading space */
    {"{}x", 0, -1},                                                                /* text after the value */
    {"[]", 0, -1},                                                                 /* not an object */
    {"{}", 1, -1},                                                                 /* trailing data */
    {"{\"a\":1}", 0, -1},                                                          /* not a tensor */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, -1},   /* cut short */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, -1},   /* unused bytes at the end */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, -1},   /* shape disagrees */
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, -1},   /* unknown dtype */
    {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, -1},                     /* no dtype */
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, -1},                 /* no shape */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, -1},                          /* no offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, -1}, /* fraction */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, -1},  /* negative */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, -1}, /* three offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, -1},   /* end before begin */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, -1},  /* negative offset */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, -1}, /* hole at the start */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0,
     -1}, /* count wraps to 0 */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, -1}, /* bits wrap to 0 */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,9223372036854775807,0],\"data_offsets\":[0,0]}}", 0, -1},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0, -1},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, -1},                 /* not whole bytes */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, -1}, /* rank 9 */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_"
     "offsets\":[1,3]}}",
     3, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[2,3]}}",
     3, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[0,1]}}",
     1, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_"
     "offsets\":[1,2]}}",
     2, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[0],"
     "\"data_offsets\":[0,0]}}",
     0, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, -1},
    {"{\"__metadata__\":{\"a\":1}}", 0, -1},
    {"{\"__metadata__\":[]}", 0, -1},
    {"{\"\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"a\\nb\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"\\ud800\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[NaN],\"data_offsets\":[0,1]}}", 1, -1},
};

START_TEST(test_refuses) {
    dg_safetensors *st = NULL;
    ck_assert_int_eq(open_made(hostile[_i].header, hostile[_i].length, hostile[_i].data, &st), DG_EDATA);
    ck_assert_ptr_null(st);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "made.safetensors"));
}
END_TEST

START_TEST(test_refuses_tiny_and_special_files) {
    dg_safetensors *st = NULL;
    char *path = in_test_dir("seven"), *fifo = in_test_dir("fifo"), *none = in_test_dir("none");
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, "1234567", 7));
    ck_assert_int_eq(dg_safetensors_open(ctx, path, &st), DG_EDATA);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    ck_assert_int_eq(dg_safetensors_open(ctx, fifo, &st), DG_ENOINPUT);
    ck_assert_int_eq(dg_safetensors_open(ctx, none, &st), DG_ENOINPUT);
    ck_assert_int_eq(dg_safetensors_open(ctx, dg_test_dir(), &st), DG_ENOINPUT);
    free(path);
    free(fifo);
    free(none);
}
END_TEST

/* Every cut of a valid file is refused: no length is read past its end. */
START_TEST(test_refuses_every_truncation) {
    char *path = in_test_dir("cut.safetensors"), *data = NULL;
    size_t size = 0;
    dg_safetensors *st = NULL;
    DG_CK(ctx, dg_fs_read_file(ctx, FIXTURE, 1 << 20, &data, &size));
    for (size_t n = 0; n < size; n++) {
        FILE *f = fopen(path, "wb");
        fwrite(data, 1, n, f);
        fclose(f);
        dg_ctx_clear_error(ctx);
        ck_assert_int_eq(dg_safetensors_open(ctx, path, &st), DG_EDATA);
    }
    free(data);
    free(path);
}
END_TEST

static dg_status read_one(dg_st_dtype dtype, const void *value, float *out) {
    const dg_st_tensor tensor = {.name = "x", .dtype = dtype, .rank = 0, .data = value};
    char *path = in_test_dir("one.safetensors");
    dg_safetensors *st = NULL;
    DG_CK(ctx, dg_safetensors_write(ctx, path, &tensor, 1, NULL, 0));
    DG_CK(ctx, dg_safetensors_open(ctx, path, &st));
    const dg_status status = dg_safetensors_read_f32(ctx, st, "x", 0, NULL, out);
    dg_safetensors_close(st);
    free(path);
    return status;
}

START_TEST(test_refuses_values_that_are_not_finite) {
    const float nan_value = NAN, infinite = INFINITY;
    const double too_large = 1e39;
    const uint16_t half_infinite = 0x7c00, half_nan = 0x7e01, brain_nan = 0x7fc0;
    float out = 0;
    ck_assert_int_eq(read_one(DG_ST_F32, &nan_value, &out), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "NaN at element 0"));
    ck_assert_int_eq(read_one(DG_ST_F32, &infinite, &out), DG_EDATA);
    ck_assert_int_eq(read_one(DG_ST_F64, &too_large, &out), DG_EDATA);
    ck_assert_int_eq(read_one(DG_ST_F16, &half_infinite, &out), DG_EDATA);
    ck_assert_int_eq(read_one(DG_ST_F16, &half_nan, &out), DG_EDATA);
    ck_assert_int_eq(read_one(DG_ST_BF16, &brain_nan, &out), DG_EDATA);
}
END_TEST

START_TEST(test_half_precision_edges) {
    static const struct {
        uint16_t bits;
        float value;
    } halves[] = {{0x0001, 0x1p-24f},  {0x03ff, 1023 * 0x1p-24f}, {0x0400, 0x1p-14f}, {0x7bff, 65504.0f},
                  {0x8001, -0x1p-24f}, {0x3555, 0.333251953125f}, {0x8000, -0.0f},    {0xfbff, -65504.0f}};
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
        float out = NAN;
        DG_CK(ctx, read_one(DG_ST_F16, &halves[i].bits, &out));
        ck_assert_mem_eq(&out, &halves[i].value, sizeof out);
    }
}
END_TEST

/* More elements than one chunk, so that chunk borders are crossed for each dtype. */
START_TEST(test_long_tensors) {
    enum { N = 50001 };
    double *wide = malloc(N * sizeof *wide);
    float *out = malloc(N * sizeof *out);
    uint16_t *brain = malloc(N * sizeof *brain);
    char *path = in_test_dir("long.safetensors");
    dg_safetensors *st = NULL;
    for (int i = 0; i < N; i++) {
        wide[i] = i * 0.5 - 7;
        brain[i] = (uint16_t)(0x3f80 + i % 128);
    }
    const dg_st_tensor tensors[2] = {{.name = "w", .dtype = DG_ST_F64, .rank = 1, .dims = {N}, .data = wide},
                                     {.name = "b", .dtype = DG_ST_BF16, .rank = 1, .dims = {N}, .data = brain}};
    DG_CK(ctx, dg_safetensors_write(ctx, path, tensors, 2, NULL, 0));
    DG_CK(ctx, dg_safetensors_open(ctx, path, &st));
    DG_CK(ctx, dg_safetensors_read_f32(ctx, st, "w", -1, NULL, out));
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(out[i], (float)(i * 0.5 - 7));
    DG_CK(ctx, dg_safetensors_read_f32(ctx, st, "b", -1, NULL, out));
    for (int i = 0; i < N; i++)
        ck_assert_float_eq(out[i], 1 + (float)(i % 128) / 128);
    /* Cut short after it was opened: an error, not a crash. */
    ck_assert_int_eq(truncate(path, 1000), 0);
    ck_assert_int_eq(dg_safetensors_read_f32(ctx, st, "w", -1, NULL, out), DG_EIO);
    dg_safetensors_close(st);
    free(wide);
    free(out);
    free(brain);
    free(path);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("safetensors");
    TCase *tcase = tcase_create("safetensors");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_format_vector);
    tcase_add_test(tcase, test_reads_python_file);
    tcase_add_test(tcase, test_writes_python_bytes);
    tcase_add_test(tcase, test_writer_refuses);
    tcase_add_loop_test(tcase, test_accepts, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(tcase, test_refuses, 0, sizeof hostile / sizeof *hostile);
    tcase_add_test(tcase, test_refuses_tiny_and_special_files);
    tcase_add_test(tcase, test_refuses_every_truncation);
    tcase_add_test(tcase, test_refuses_values_that_are_not_finite);
    tcase_add_test(tcase, test_half_precision_edges);
    tcase_add_test(tcase, test_long_tensors);
    suite_add_tcase(suite, tcase);
    return suite;
}
