/* The sums of central images: what one image can do to them, that they are means, and the noise. */
#include "privacy/secure_random.h"
#include "support/test_main.h"
#include "train/central_sum.h"
#include "unit/privacy/fixed_key.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, CLASSES = 3, PIXELS = SIZE * SIZE * 3 };

typedef struct shape {
    int64_t factor, channels;
    int bits;
    bool exact;
} shape;

static const shape shapes[] = {
    {2, 1, 8, false}, {4, 3, 8, false}, {2, 3, 16, false}, {1, 1, 8, true}, {2, 3, 16, true}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static dg_central_sum open_sum(dg_ctx *ctx, const shape *of, double noise) {
    const double side = (double)(SIZE / of->factor);
    dg_central_sum s = {.classes = CLASSES,
                        .size = SIZE,
                        .factor = of->factor,
                        .channels = of->channels,
                        .bits = of->bits,
                        .max_norm = sqrt(side * side * (double)of->channels) / 2,
                        .noise_multiplier = noise,
                        .exact = of->exact};
    DG_CK(ctx, dg_central_sum_open(ctx, &s));
    dg_central_sum_clear(&s);
    return s;
}

/* Pixels of an image: black, white, both in turn, or anything. */
static void fill(int kind, uint16_t *wide, uint8_t *narrow) {
    for (int i = 0; i < PIXELS; i++) {
        const unsigned v = kind == 0   ? 0
                           : kind == 1 ? 65535
                           : kind == 2 ? (i / 3 % 2) * 65535u
                                       : (unsigned)i * 40503u % 65536u;
        wide[i] = (uint16_t)v;
        narrow[i] = (uint8_t)(v >> 8);
    }
}

static double value_at(const dg_central_sum *s, int64_t i) {
    return s->grid_sum ? ldexp((double)s->grid_sum[i], -s->grid.bits) * s->grid.max_norm : s->sum[i];
}

/* Whatever the image and whatever is there already: the vector of all sums moves by max_norm and no more, in its own
 * class alone. White and black images do move it by that. */
START_TEST(sensitivity) {
    const shape *of = &shapes[_i];
    dg_ctx *ctx = dg_test_context();
    dg_central_sum s = open_sum(ctx, of, 5);
    uint16_t wide[PIXELS];
    uint8_t narrow[PIXELS];
    double *before = malloc((size_t)(CLASSES * s.values) * sizeof *before);
    for (int round = 0; round < 8; round++) {
        const int kind = round % 4, label = round % CLASSES;
        double squares = 0;
        for (int64_t i = 0; i < CLASSES * s.values; i++)
            before[i] = value_at(&s, i);
        fill(kind, wide, narrow);
        dg_central_sum_add(&s, of->bits == 16 ? (const void *)wide : narrow, label);
        for (int64_t i = 0; i < CLASSES * s.values; i++) {
            const double moved = value_at(&s, i) - before[i];
            ck_assert(i / s.values == label || moved == 0);
            squares += moved * moved;
        }
        ck_assert_msg(sqrt(squares) <= s.max_norm * (1 + 1e-12), "image %d moves the sums by %.9g, more than %.9g",
                      kind, sqrt(squares), s.max_norm);
        if (kind < 2)
            ck_assert_double_eq_tol(sqrt(squares), s.max_norm, 1e-5);
    }
    free(before);
    dg_central_sum_close(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* With next to no noise: the mean of factor x factor pixels, averaged over the images of the class, if as many came as
 * were expected; with fewer it fades to grey. */
START_TEST(means) {
    const shape of = {2, 1, 8, false};
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = NULL;
    dg_central_sum s = open_sum(ctx, &of, 1e-9);
    uint8_t image[SIZE * SIZE];
    float out[CLASSES * 16];
    DG_CK(ctx, dg_secure_random_create(ctx, &random));
    dg_secure_random_advance(random);
    for (int i = 0; i < SIZE * SIZE; i++)
        image[i] = (uint8_t)(3 * i);
    dg_central_sum_add(&s, image, 1);
    dg_central_sum_add(&s, image, 1);
    dg_central_sum_add(&s, image, 2);
    dg_central_sum_release(&s, random, 2, out);
    for (int i = 0; i < 16; i++) {
        const int at = i / 4 * 2 * SIZE + i % 4 * 2;
        const double mean = (image[at] + image[at + 1] + image[at + SIZE] + image[at + SIZE + 1]) / 4.0 / 255;
        ck_assert_double_eq_tol((double)out[i], 0.5, 1e-6);
        ck_assert_double_eq_tol((double)out[16 + i], mean, 1e-5);
        ck_assert_double_eq_tol((double)out[32 + i], (mean + 0.5) / 2, 1e-5);
    }
    dg_secure_random_free(random);
    dg_central_sum_close(&s);
    dg_ctx_free(ctx);
}
END_TEST

/* Of noise_multiplier times max_norm on every sum, and fresh at each position. */
START_TEST(noise) {
    const shape *of = &shapes[_i];
    dg_ctx *ctx = dg_test_context();
    dg_secure_random *random = NULL;
    dg_central_sum s = open_sum(ctx, of, 3);
    const int64_t total = CLASSES * s.values;
    float *out = malloc(2 * (size_t)total * sizeof *out);
    double squares = 0;
    int64_t count = 0;
    random = fixed_key(ctx, 5);
    while (count < 20000) {
        for (int k = 0; k < 2; k++) {
            dg_central_sum_clear(&s);
            dg_secure_random_advance(random);
            dg_central_sum_release(&s, random, 4, out + k * total);
        }
        ck_assert(memcmp(out, out + total, (size_t)total * sizeof *out) != 0);
        for (int64_t i = 0; i < total; i++, count++) {
            const double z = 4 * ((double)out[i] - 0.5) / (3 * s.max_norm);
            squares += z * z;
        }
    }
    ck_assert_double_eq_tol(squares / (double)count, 1, 6 * sqrt(2.0 / (double)count));
    free(out);
    dg_secure_random_free(random);
    dg_central_sum_close(&s);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("central");
    TCase *tcase = tcase_create("central");
    tcase_add_loop_test(tcase, sensitivity, 0, SHAPES);
    tcase_add_test(tcase, means);
    tcase_add_loop_test(tcase, noise, 0, SHAPES);
    suite_add_tcase(suite, tcase);
    return suite;
}
