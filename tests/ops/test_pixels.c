/* normalise and to_pixels on every variant. */
#include "ops/op_testing.h"

typedef struct shape {
    int64_t n, h, w, c;
} shape;

static const shape table[] = {{1, 1, 1, 1}, {3, 5, 7, 3}, {3, 3, 33, 1}, {2, 28, 28, 1}, {3, 9, 4, 5}, {1, 64, 64, 3}};
enum { CASES = sizeof table / sizeof *table };

static uint32_t pixel_at(const void *pixels, dg_dtype dtype, int64_t i) {
    return dtype == DG_U8 ? ((const uint8_t *)pixels)[i] : ((const uint16_t *)pixels)[i];
}

/* Random pixels and back: the same pixels. Images 0 and 2 are mirrored. */
static void check_round_trip(dg_op_env *env, const shape *s, dg_dtype dtype) {
    const int64_t one = s->h * s->w * s->c, count = s->n * one;
    const double max = dtype == DG_U8 ? 255.0 : 65535.0;
    const size_t bytes = (size_t)count * dg_dtype_bytes(dtype);
    static const uint8_t first_and_last[3] = {1, 0, 1}, no_image[3] = {0};
    const uint8_t *flip = dg_op_put(env, first_and_last, 3), *none = dg_op_put(env, no_image, 3);
    /* correctly rounded; to BF16 through float */
    const double unit = env->precision == DG_PRECISION_BF16 ? 0x1.01p-9 : 0x1p-24;
    unsigned char *pixels = dg_op_bytes(env, bytes), *back = dg_op_bytes(env, bytes);
    float *x = dg_op_floats(env, count);
    const dg_tensor tx = dg_op_tensor(x, s->n, s->h, s->w, s->c);
    dg_tensor tp = tx, tb = tx;
    tp.data = pixels, tp.dtype = dtype, tb.data = back, tb.dtype = dtype;
    for (size_t i = 0; i < bytes; i++) {
        env->seed = env->seed * 6364136223846793005u + 1442695040888963407u;
        pixels[i] = (unsigned char)(env->seed >> 40);
    }
    DG_OP(env, normalise(&env->exec, &tp, flip, &tx));
    for (int64_t n = 0; n < s->n; n++)
        for (int64_t iy = 0; iy < s->h; iy++)
            for (int64_t ix = 0; ix < s->w; ix++)
                for (int64_t j = 0; j < s->c; j++) {
                    const int64_t from = (n * s->h + iy) * s->w + (flip[n] ? s->w - 1 - ix : ix);
                    const double want = (double)pixel_at(pixels, dtype, from * s->c + j) * 2.0 / max - 1.0;
                    const float got = x[((n * s->h + iy) * s->w + ix) * s->c + j];
                    ck_assert(fabs((double)got - want) <= unit);
                }
    DG_OP(env, normalise(&env->exec, &tp, none, &tx));
    DG_OP(env, to_pixels(&env->exec, &tx, &tb));
    if (dtype == DG_U8 || env->precision != DG_PRECISION_BF16) /* 8 bits of mantissa hold a byte, not a word */
        dg_op_expect_same(env, "pixels", back, pixels, bytes);
}

static void check_bytes(dg_op_env *env, const void *item) {
    check_round_trip(env, item, DG_U8);
}

static void check_words(dg_op_env *env, const void *item) {
    check_round_trip(env, item, DG_U16);
}

START_TEST(test_round_trip) {
    dg_op_on_every_variant(check_bytes, &table[_i]);
    dg_op_on_every_variant(check_words, &table[_i]);
}
END_TEST

/* All 16-bit values, there and back; the ends are exact. */
static void check_all_values(dg_op_env *env, const void *item) {
    (void)item;
    enum { VALUES = 65536 };
    uint16_t *pixels = dg_op_bytes(env, VALUES * sizeof(uint16_t)), *back = dg_op_bytes(env, VALUES * sizeof(uint16_t));
    float *x = dg_op_floats(env, VALUES);
    const uint8_t *flip = dg_op_put(env, &(uint8_t){0}, 1);
    const dg_tensor tx = dg_op_tensor(x, 1, 256, 256, 1);
    dg_tensor tp = tx, tb = tx;
    tp.data = pixels, tp.dtype = DG_U16, tb.data = back, tb.dtype = DG_U16;
    for (int i = 0; i < VALUES; i++)
        pixels[i] = (uint16_t)i;
    DG_OP(env, normalise(&env->exec, &tp, flip, &tx));
    DG_OP(env, to_pixels(&env->exec, &tx, &tb));
    if (env->precision != DG_PRECISION_BF16)
        dg_op_expect_same(env, "pixels", back, pixels, VALUES * sizeof(uint16_t));
    for (int i = 0; i < VALUES; i++)
        if (abs(back[i] - pixels[i]) > VALUES >> 10) /* half an ulp of BF16 below 1 is 2^-9, of x/2 + 1/2 2^-10 */
            ck_abort_msg("%s: pixel %d came back as %d", env->variant, i, back[i]);
    ck_assert_float_eq(x[0], -1.0f);
    ck_assert_float_eq(x[VALUES - 1], 1.0f);
}

START_TEST(test_all_values) {
    dg_op_on_every_variant(check_all_values, NULL);
}
END_TEST

/* Rounding, clamping and what is not a number, at every place of a vector. */
static void check_to_pixels(dg_op_env *env, const void *item) {
    (void)item;
    enum { COUNT = 4099, SPECIALS = 8 };
    static const float specials[SPECIALS] = {NAN, INFINITY, -INFINITY, 1.5f, -1.5f, 0.0f, 1.0f, -1.0f};
    static const uint8_t bytes_of[SPECIALS] = {0, 255, 0, 255, 0, 128, 255, 0}; /* 127.5 goes to the even 128 */
    static const uint16_t words_of[SPECIALS] = {0, 65535, 0, 65535, 0, 32768, 65535, 0};
    float *x = dg_op_random(env, COUNT, 1.25);
    for (int i = 0; i < COUNT; i += 11)
        x[i] = specials[i / 11 % SPECIALS];
    uint8_t *bytes = dg_op_bytes(env, COUNT);
    uint16_t *words = dg_op_bytes(env, COUNT * sizeof(uint16_t));
    const dg_tensor tx = dg_op_tensor(x, 1, 1, COUNT, 1);
    dg_tensor tb = tx, tw = tx;
    tb.data = bytes, tb.dtype = DG_U8, tw.data = words, tw.dtype = DG_U16;
    DG_OP(env, to_pixels(&env->exec, &tx, &tb));
    DG_OP(env, to_pixels(&env->exec, &tx, &tw));
    for (int i = 0; i < COUNT; i++) {
        if (i % 11 == 0) {
            ck_assert_int_eq(bytes[i], bytes_of[i / 11 % SPECIALS]);
            ck_assert_int_eq(words[i], words_of[i / 11 % SPECIALS]);
            continue;
        }
        volatile float half = x[i] * 0.5f + 0.5f; /* volatile: one rounding each, as numpy does it */
        half = half < 0.0f ? 0.0f : half > 1.0f ? 1.0f : half;
        volatile float byte = half * 255.0f, word = half * 65535.0f;
        ck_assert_int_eq(bytes[i], (int)rintf(byte));
        ck_assert_int_eq(words[i], (int)rintf(word));
    }
}

START_TEST(test_to_pixels) {
    dg_op_on_every_variant(check_to_pixels, NULL);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("pixels");
    TCase *tests = tcase_create("pixels");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_round_trip, 0, CASES);
    tcase_add_test(tests, test_all_values);
    tcase_add_test(tests, test_to_pixels);
    suite_add_tcase(suite, tests);
    return suite;
}
