/* Attention on every CPU variant against tests/ref, which is itself held against central differences; and dg_expf. */
#define DG_CPU_VARIANT baseline
#include "kernels/cpu/cpu.h"
#include "ops/op_testing.h"
#include "ref/attention_ref.h"

#include <float.h>

/* Images, tokens, heads, channels of a head. Of the latter every width that the GPU pads to, whole and in part, and
 * more than it has tiles for; of the tokens one tile, several, and a last one in part. Large shapes are for the CPU:
 * the simulated GPU takes 10 ns per product. */
static const dg_attention_desc table[] = {
    {1, 1, 1, 1},    {3, 3, 2, 5},    {3, 49, 2, 8},    {1, 130, 2, 8},   {1, 49, 1, 80},
    {3, 63, 2, 16},  {1, 65, 3, 7},   {2, 24, 2, 4},    {1, 80, 1, 40},   {1, 130, 1, 32},
    {1, 130, 1, 64}, {1, 40, 1, 128}, {2, 40, 1, 200},  {1, 40, 1, 512},  {1, 9, 1, 521},
#ifndef DG_CUDASIM
    {3, 49, 10, 8},  {1, 196, 2, 64}, {1, 256, 1, 512}, {1, 1024, 2, 32},
#endif
};
enum { CASES = sizeof table / sizeof *table };

typedef struct problem {
    dg_attention_desc desc;
    int64_t count, rows;
    float *q, *k, *v, *o, *d_o, *dq, *dk, *dv, *lse;
} problem;

static problem problem_make(dg_op_env *env, const dg_attention_desc *desc, double scale) {
    problem p = {.desc = *desc};
    p.count = desc->n * desc->tokens * desc->heads * desc->head_dim;
    p.rows = desc->n * desc->heads * desc->tokens;
    dg_op_workspace(env, env->backend->ops->attention_workspace_bytes(desc));
    p.q = dg_op_random(env, p.count, scale);
    p.k = dg_op_random(env, p.count, scale);
    p.v = dg_op_random(env, p.count, 1.0);
    p.d_o = dg_op_random(env, p.count, 1.0);
    p.o = dg_op_floats(env, p.count);
    p.dq = dg_op_floats(env, p.count);
    p.dk = dg_op_floats(env, p.count);
    p.dv = dg_op_floats(env, p.count);
    p.lse = dg_op_floats(env, p.rows);
    return p;
}

static dg_tensor tensor(const problem *p, float *data) {
    return dg_op_tensor(data, p->desc.n, 1, p->desc.tokens, p->desc.heads * p->desc.head_dim);
}

static void run(dg_op_env *env, problem *p) {
    const dg_tensor q = tensor(p, p->q), k = tensor(p, p->k), v = tensor(p, p->v), o = tensor(p, p->o);
    const dg_tensor d_o = tensor(p, p->d_o), dq = tensor(p, p->dq), dk = tensor(p, p->dk), dv = tensor(p, p->dv);
    DG_OP(env, attention_fwd(&env->exec, &p->desc, &q, &k, &v, &o, p->lse));
    DG_OP(env, attention_bwd_data(&env->exec, &p->desc, &q, &k, &v, &o, p->lse, &d_o, &dq, &dk, &dv));
}

static void check_against_reference(dg_op_env *env, problem *p) {
    double *q = dg_op_to_double(p->q, p->count), *k = dg_op_to_double(p->k, p->count);
    double *v = dg_op_to_double(p->v, p->count), *d_o = dg_op_to_double(p->d_o, p->count);
    double *out[4], *lse = malloc((size_t)p->rows * sizeof *lse);
    for (int i = 0; i < 4; i++)
        out[i] = malloc((size_t)p->count * sizeof *out[i]);
    dg_ref_attention_fwd(&p->desc, q, k, v, out[0], lse);
    dg_ref_attention_bwd_data(&p->desc, q, k, v, d_o, out[1], out[2], out[3]);
    dg_op_expect_close(env, "o", p->o, out[0], p->count, DG_TOL_MATMUL);
    dg_op_expect_close(env, "lse", p->lse, lse, p->rows, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dq", p->dq, out[1], p->count, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dk", p->dk, out[2], p->count, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dv", p->dv, out[3], p->count, DG_TOL_MATMUL);
    for (int i = 0; i < 4; i++)
        free(out[i]);
    free(q), free(k), free(v), free(d_o), free(lse);
}

static void check(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, 1.0);
    run(env, &p);
    check_against_reference(env, &p);
    problem again = p;
    again.o = dg_op_floats(env, p.count);
    again.dq = dg_op_floats(env, p.count);
    again.dk = dg_op_floats(env, p.count);
    again.dv = dg_op_floats(env, p.count);
    run(env, &again);
    const size_t bytes = (size_t)p.count * sizeof(float);
    dg_op_expect_same(env, "o of a second run", p.o, again.o, bytes);
    dg_op_expect_same(env, "dq of a second run", p.dq, again.dq, bytes);
    dg_op_expect_same(env, "dk of a second run", p.dk, again.dk, bytes);
    dg_op_expect_same(env, "dv of a second run", p.dv, again.dv, bytes);
}

START_TEST(test_shapes) {
    dg_op_on_every_variant(check, &table[_i]);
}
END_TEST

/* Scores of several hundred: without the maximum exp would overflow. One key wins each row. */
static void check_large_scores(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, 1.0);
    for (int64_t i = 0; i < p.count; i++) {
        p.q[i] *= 64.0f;
        p.k[i] = rintf(p.k[i] * 8.0f);
        p.q[i] = rintf(p.q[i]);
    }
    const dg_tensor q = tensor(&p, p.q), k = tensor(&p, p.k), v = tensor(&p, p.v), o = tensor(&p, p.o);
    DG_OP(env, attention_fwd(&env->exec, &p.desc, &q, &k, &v, &o, p.lse));
    double *qd = dg_op_to_double(p.q, p.count), *kd = dg_op_to_double(p.k, p.count);
    double *vd = dg_op_to_double(p.v, p.count), *od = malloc((size_t)p.count * sizeof *od);
    double *lse = malloc((size_t)p.rows * sizeof *lse), most = 0.0;
    dg_ref_attention_fwd(&p.desc, qd, kd, vd, od, lse);
    for (int64_t i = 0; i < p.rows; i++)
        most = fmax(most, lse[i]);
    ck_assert_double_gt(most, 100.0);
    dg_op_expect_close(env, "o", p.o, od, p.count, DG_TOL_MATMUL);
    dg_op_expect_close(env, "lse", p.lse, lse, p.rows, DG_TOL_MATMUL);
    free(qd), free(kd), free(vd), free(od), free(lse);
}

START_TEST(test_large_scores) {
    /* head_dim 16: the scale 1/4 is exact, and so are the integer scores */
    static const dg_attention_desc desc = {2, 49, 2, 16};
    dg_op_on_every_variant(check_large_scores, &desc);
}
END_TEST

/* The same image in every slot, and alone, gives the same bits; a NaN stays in its image and is not lost. */
static void check_slots(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, 1.0);
    const int64_t image = p.count / p.desc.n;
    float *inputs[] = {p.q, p.k, p.v, p.d_o};
    for (int i = 0; i < 4; i++)
        for (int64_t n = 1; n < p.desc.n; n++)
            memcpy(inputs[i] + n * image, inputs[i], (size_t)image * sizeof(float));
    run(env, &p);
    problem one = p;
    one.desc.n = 1;
    one.o = dg_op_floats(env, image);
    one.dq = dg_op_floats(env, image);
    one.dk = dg_op_floats(env, image);
    one.dv = dg_op_floats(env, image);
    run(env, &one);
    const struct {
        const float *batch, *alone;
    } outputs[] = {{p.o, one.o}, {p.dq, one.dq}, {p.dk, one.dk}, {p.dv, one.dv}};
    for (int i = 0; i < 4; i++)
        for (int64_t n = 0; n < p.desc.n; n++)
            dg_op_expect_same(env, "an image alone and in a slot", outputs[i].batch + n * image, outputs[i].alone,
                              (size_t)image * sizeof(float));
    p.k[0] = NAN;
    run(env, &p);
    ck_assert(isnan(p.o[0]) && isnan(p.dq[0]) && isnan(p.lse[0]));
    dg_op_expect_same(env, "the image beside a NaN", p.o + image, one.o, (size_t)image * sizeof(float));
}

START_TEST(test_slots) {
    static const dg_attention_desc desc[] = {{3, 49, 2, 12}, {3, 70, 2, 16}};
    dg_op_on_every_variant(check_slots, &desc[_i]);
}
END_TEST

START_TEST(test_reference) {
    const dg_attention_desc d = {2, 4, 2, 3};
    enum { COUNT = 2 * 4 * 2 * 3 };
    double in[3][COUNT], d_o[COUNT], gradient[3][COUNT], o[COUNT];
    for (int i = 0; i < COUNT; i++) {
        in[0][i] = sin(i * 1.7 + 0.3);
        in[1][i] = cos(i * 2.3);
        in[2][i] = sin(i * 0.7 - 0.2);
        d_o[i] = sin(i * 0.9 + 1.0);
    }
    dg_ref_attention_bwd_data(&d, in[0], in[1], in[2], d_o, gradient[0], gradient[1], gradient[2]);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < COUNT; i++) {
            const double keep = in[k][i], step = 1e-5;
            double difference = 0.0;
            for (int side = -1; side <= 1; side += 2) {
                in[k][i] = keep + side * step;
                dg_ref_attention_fwd(&d, in[0], in[1], in[2], o, NULL);
                for (int j = 0; j < COUNT; j++)
                    difference += side * d_o[j] * o[j];
            }
            in[k][i] = keep;
            ck_assert_double_eq_tol(difference / (2.0 * step), gradient[k][i], 1e-8);
        }
}
END_TEST

START_TEST(test_exp) {
    for (double x = -87.3; x < 88.7; x += 0.00137) {
        const double want = exp((double)(float)x);
        ck_assert_double_le(fabs((double)dg_expf((float)x) - want), 1.1 * ldexp(1.0, ilogb(want) - 23));
    }
    for (double x = -103.9; x < -87.3; x += 0.01) /* no normal numbers: in units of the smallest */
        ck_assert_double_le(fabs((double)dg_expf((float)x) - exp((double)(float)x)), ldexp(1.0, -149));
    ck_assert(dg_expf(0.0f) == 1.0f && dg_expf(-0.0f) == 1.0f);
    ck_assert(dg_expf(-INFINITY) == 0.0f && dg_expf(-1e30f) == 0.0f && dg_expf(-105.0f) == 0.0f);
    ck_assert(isinf(dg_expf(INFINITY)) && isinf(dg_expf(1e30f)) && isinf(dg_expf(88.73f)));
    ck_assert(isnan(dg_expf(NAN)) && isnan(dg_sigmoidf(NAN)));
    ck_assert(dg_sigmoidf(0.0f) == 0.5f && dg_sigmoidf(200.0f) == 1.0f && dg_sigmoidf(-200.0f) == 0.0f);
    ck_assert_double_eq_tol(dg_sigmoidf(-3.0f), 1.0 / (1.0 + exp(3.0)), FLT_EPSILON / 8.0);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("attention");
    TCase *tests = tcase_create("attention");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_exp);
    tcase_add_test(tests, test_reference);
    tcase_add_loop_test(tests, test_shapes, 0, CASES);
    tcase_add_test(tests, test_large_scores);
    tcase_add_loop_test(tests, test_slots, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}
