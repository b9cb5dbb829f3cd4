/* fill_normal, q_sample and dropout on every variant: the bits of core/philox.h, in any slot. */
#include "ops/op_testing.h"

typedef struct shape {
    int64_t n, h, w, c;
} shape;

static const shape table[] = {{1, 1, 1, 1}, {3, 1, 1, 3}, {3, 5, 7, 3}, {3, 17, 15, 1}, {2, 8, 8, 4}, {2, 32, 32, 3}};
enum { CASES = sizeof table / sizeof *table, MAX_N = 3 };

static dg_random stream_of(int64_t image) {
    return (dg_random){.seed = 0x123456789abcdefu + (uint64_t)image % 2,
                       .image = (uint64_t)image << 31 | 5u,
                       .purpose = DG_PURPOSE_NOISE,
                       .step = 1000u + (uint32_t)image};
}

/* Every element's normal, image after image, from the core. */
static float *normals(dg_op_env *env, const dg_random *random, int64_t n, int64_t one) {
    float *z = dg_op_floats(env, n * one);
    for (int64_t i = 0; i < n; i++)
        dg_random_normal(&random[i], 0, one, z + i * one);
    return z;
}

/* The same as the variant's activations hold them. */
static float *rounded(dg_op_env *env, const float *z, int64_t count) {
    float *out = dg_op_floats(env, count);
    for (int64_t i = 0; i < count; i++)
        out[i] = dg_op_rounded(env, z[i]);
    return out;
}

static void check_fill_normal(dg_op_env *env, const void *item) {
    const shape *s = item;
    const int64_t one = s->h * s->w * s->c, count = s->n * one;
    dg_random *random = dg_op_bytes(env, MAX_N * sizeof *random);
    for (int i = 0; i < s->n; i++)
        random[i] = stream_of(i);
    float *z = normals(env, random, s->n, one), *want = rounded(env, z, count), *x = dg_op_floats(env, count);
    float *in_float = dg_op_floats(env, count);
    const dg_tensor tx = dg_op_tensor(x, s->n, s->h, s->w, s->c);
    const dg_tensor fx = dg_op_float_tensor(in_float, s->n, s->h, s->w, s->c);
    DG_OP(env, fill_normal(&env->exec, random, &tx));
    dg_op_expect_same(env, "normals", x, want, (size_t)count * sizeof(float));
    const dg_tensor last = dg_op_tensor(x, 1, s->h, s->w, s->c); /* the last image alone, in slot 0 */
    DG_OP(env, fill_normal(&env->exec, &random[s->n - 1], &last));
    dg_op_expect_same(env, "normals", x, want + count - one, (size_t)one * sizeof(float));
    DG_OP(env, fill_normal(&env->exec, random, &fx));
    dg_op_expect_same(env, "normals in float", in_float, z, (size_t)count * sizeof(float));
}

START_TEST(test_fill_normal) {
    dg_op_on_every_variant(check_fill_normal, &table[_i]);
}
END_TEST

/* Images and targets: the variant's activations, or (mixed) floats while xt is an activation. */
static void check_q_sample_of(dg_op_env *env, const shape *s, bool mixed) {
    const int64_t one = s->h * s->w * s->c, count = s->n * one;
    dg_tensor (*const image)(void *data, int64_t n, int64_t h, int64_t w, int64_t c) =
        mixed ? dg_op_float_tensor : dg_op_tensor;
    dg_noise_desc *noise = dg_op_bytes(env, MAX_N * sizeof *noise);
    dg_random random[MAX_N];
    for (int i = 0; i < s->n; i++) {
        random[i] = stream_of(i);
        noise[i] = (dg_noise_desc){random[i], 0.8f - 0.2f * (float)i, 0.6f + 0.1f * (float)i, 0, 0};
    }
    float *eps = normals(env, random, s->n, one), *x0 = dg_op_random(env, count, 1.0), *xt = dg_op_floats(env, count);
    float *target = dg_op_floats(env, count), *alone = dg_op_floats(env, one), *alone_target = dg_op_floats(env, one);
    const float *kept_eps = mixed ? eps : rounded(env, eps, count);
    const dg_tensor t0 = image(x0, s->n, s->h, s->w, s->c), tt = dg_op_tensor(xt, s->n, s->h, s->w, s->c);
    const dg_tensor tg = image(target, s->n, s->h, s->w, s->c);
    double *want = dg_op_to_double(x0, count), *mixture = dg_op_to_double(x0, count);
    enum { EPSILON, SAMPLE, MIXTURE, TARGETS };
    for (int p = EPSILON; p < TARGETS; p++) {
        for (int i = 0; i < s->n; i++) {
            noise[i].target_x0 = p == EPSILON ? 0 : p == SAMPLE ? 1 : -0.7f + 0.3f * (float)i;
            noise[i].target_eps = p == EPSILON ? 1 : p == SAMPLE ? 0 : 1.3f - 0.4f * (float)i;
        }
        for (int64_t i = 0; i < count; i++) {
            const dg_noise_desc *d = &noise[i / one];
            want[i] = (double)d->signal * (double)x0[i] + (double)d->noise * (double)eps[i];
            mixture[i] = (double)d->target_x0 * (double)x0[i] + (double)d->target_eps * (double)eps[i];
        }
        DG_OP(env, q_sample(&env->exec, noise, &t0, &tt, &tg));
        dg_op_expect_close(env, "xt", xt, want, count, DG_TOL_ELEMENTWISE);
        if (p == MIXTURE)
            dg_op_expect_close(env, "target", target, mixture, count, DG_TOL_ELEMENTWISE);
        else
            dg_op_expect_same(env, "target", target, p == EPSILON ? kept_eps : x0, (size_t)count * sizeof(float));
        const dg_tensor last = image(x0 + count - one, 1, s->h, s->w, s->c);
        const dg_tensor to = dg_op_tensor(alone, 1, s->h, s->w, s->c);
        const dg_tensor target_to = image(alone_target, 1, s->h, s->w, s->c);
        DG_OP(env, q_sample(&env->exec, &noise[s->n - 1], &last, &to, &target_to));
        dg_op_expect_same(env, "xt alone", alone, xt + count - one, (size_t)one * sizeof(float));
        dg_op_expect_same(env, "target alone", alone_target, target + count - one, (size_t)one * sizeof(float));
    }
    free(want);
    free(mixture);
}

static void check_q_sample(dg_op_env *env, const void *item) {
    check_q_sample_of(env, item, false);
    check_q_sample_of(env, item, true);
}

START_TEST(test_q_sample) {
    dg_op_on_every_variant(check_q_sample, &table[_i]);
}
END_TEST

enum { LAYER = 77 };

/* The mask is that of dg_random_uniform: element e from lane e%4 of block e/4. */
static void check_dropout(dg_op_env *env, const void *item) {
    const shape *s = item;
    const int64_t one = s->h * s->w * s->c, count = s->n * one;
    dg_random random[MAX_N];
    for (int i = 0; i < s->n; i++)
        random[i] = stream_of(i);
    dg_random *own = dg_op_put(env, random, sizeof random); /* whatever its purpose and step, the op sets them */
    for (int i = 0; i < s->n; i++) {
        random[i].purpose = DG_PURPOSE_DROPOUT;
        random[i].step = LAYER;
    }
    /* the last rate is the first element's own number, which is kept */
    const float rates[] = {0.0f, 0.1f, 0.5f, 1.0f, dg_random_uniform(&random[0], 0, 0)};
    float *x = dg_op_random(env, count, 1.0), *y = dg_op_floats(env, count);
    const dg_tensor tx = dg_op_tensor(x, s->n, s->h, s->w, s->c), ty = dg_op_tensor(y, s->n, s->h, s->w, s->c);
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        const float p = rates[r];
        int64_t kept = 0;
        DG_OP(env, dropout(&env->exec, p, LAYER, own, &tx, &ty));
        for (int64_t i = 0; i < count; i++) {
            const int64_t e = i % one;
            const bool keep = dg_random_uniform(&random[i / one], (uint32_t)(e / 4), (int)(e % 4)) >= p;
            const double want = keep ? (double)x[i] / (1.0 - (double)p) : 0.0;
            kept += keep;
            dg_op_expect_close_double(env, "y", (double)y[i], want, DG_TOL_ELEMENTWISE);
        }
        const double expected = (double)count * (1.0 - (double)p), deviation = sqrt(expected * (double)p);
        ck_assert(fabs((double)kept - expected) <= 4.0 * deviation + 1.0);
        DG_OP(env, dropout(&env->exec, 0.0f, LAYER, own, &tx, &ty));
        dg_op_expect_same(env, "y without dropout", y, x, (size_t)count * sizeof(float));
    }
    DG_OP(env, dropout(&env->exec, 0.5f, LAYER, own, &tx, &ty));
    DG_OP(env, dropout(&env->exec, 0.5f, LAYER, own, &tx, &tx));
    dg_op_expect_same(env, "y in x", x, y, (size_t)count * sizeof(float));
}

START_TEST(test_dropout) {
    dg_op_on_every_variant(check_dropout, &table[_i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("noise");
    TCase *tests = tcase_create("noise");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_fill_normal, 0, CASES);
    tcase_add_loop_test(tests, test_q_sample, 0, CASES);
    tcase_add_loop_test(tests, test_dropout, 0, CASES);
    suite_add_tcase(suite, tests);
    return suite;
}
