/* conv2d on every CPU variant against tests/ref, which is itself held against central differences; on a GPU also as
 * cuDNN and cuBLASLt compute it. */
#define DG_OP_LIBRARIES
#include "ops/op_testing.h"
#include "ref/conv2d_ref.h"

#include <pthread.h>

/* 3x3 with padding 1; 3x3 with stride 2; 1x1. Further members after the sizes. */
#define K3(batch, rows, columns, in, out, ...)                                                                         \
    {                                                                                                                  \
        .n = batch, .h = rows, .w = columns, .in_c = in, .out_c = out, .kernel = 3, .stride = 1, .pad_begin = 1,       \
        .pad_end = 1, __VA_ARGS__                                                                                      \
    }
#define S2(batch, rows, columns, in, out, begin)                                                                       \
    {                                                                                                                  \
        .n = batch, .h = rows, .w = columns, .in_c = in, .out_c = out, .kernel = 3, .stride = 2, .pad_begin = begin,   \
        .pad_end = 1, .bias = true                                                                                     \
    }
#define K1(batch, rows, columns, in, out, ...)                                                                         \
    { .n = batch, .h = rows, .w = columns, .in_c = in, .out_c = out, .kernel = 1, .stride = 1, __VA_ARGS__ }

/* clang-format off */
static const dg_conv2d_desc table[] = {
    K3(1, 5, 7, 16, 16, .bias = true),
    K3(3, 9, 6, 20, 36, .bias = true),
    K3(3, 8, 8, 32, 48, .bias = true, .residual = true),
    K3(3, 7, 5, 10, 7, .residual = true),
    K3(3, 11, 9, 1, 32, .bias = true),
    K3(3, 11, 9, 3, 32, .bias = true),
    K3(3, 11, 9, 32, 1, .bias = true),
    K3(1, 4, 13, 48, 3, .bias = true, .residual = true),
    K3(3, 6, 2, 16, 4, .bias = false),
    K3(3, 1, 1, 16, 2, .bias = true),
    S2(3, 9, 11, 32, 2, 0),
    S2(3, 10, 8, 32, 32, 1),
    S2(3, 9, 7, 24, 40, 1),
    S2(3, 10, 8, 32, 32, 0),
    K3(3, 7, 4, 32, 16, .bias = true, .upsample = true),
    K3(1, 3, 5, 9, 5, .residual = true, .upsample = true),
    K3(3, 1, 1, 16, 3, .bias = true, .upsample = true),
    K3(2, 5, 4, 3, 8, .bias = true, .upsample = true),
    S2(3, 9, 7, 3, 5, 0),
    K3(2, 7, 9, 5, 72, .bias = true, .residual = true),
    K3(2, 7, 9, 72, 5, .bias = true, .residual = true),
    K1(2, 4, 3, 3, 5, .bias = true, .residual = true),
    K1(3, 7, 7, 80, 64, .bias = true, .residual = true),
    K1(3, 5, 3, 17, 33, .bias = true),
    K1(1, 1, 1, 32, 128, .bias = true),
    K1(3, 1, 1, 128, 50, .bias = true),
    K1(5, 1, 1, 13, 48, .bias = false),
    K1(16, 1, 1, 128, 160, .bias = true),
#ifdef DG_CUDASIM
    K3(2, 12, 20, 80, 72, .bias = true), /* several of the largest tiles; the simulator takes its time */
#else
    K3(2, 32, 32, 64, 64, .bias = true), /* large */
#endif
};
/* clang-format on */
enum { CASES = sizeof table / sizeof *table };

/* One convolution with its data, on the lane of env. */
typedef struct problem {
    dg_conv2d_desc desc;
    dg_plan *plan;
    int64_t out_h, out_w, in, out, weights; /* in, out: elements of one image */
    float *x, *weight, *bias, *residual, *y, *dy;
    void *packed;
} problem;

static int64_t in_all(const problem *p) {
    return p->desc.n * p->in;
}
static int64_t out_all(const problem *p) {
    return p->desc.n * p->out;
}
static dg_tensor x_tensor(const problem *p, float *data) {
    return dg_op_tensor(data, p->desc.n, p->desc.h, p->desc.w, p->desc.in_c);
}
static dg_tensor y_tensor(const problem *p, float *data) {
    return dg_op_tensor(data, p->desc.n, p->out_h, p->out_w, p->desc.out_c);
}

static problem problem_make(dg_op_env *env, const dg_conv2d_desc *desc, bool training) {
    problem p = {.desc = *desc};
    p.desc.training = training;
    p.desc.precision = env->precision;
    p.desc.libraries = env->libraries;
    p.out_h = dg_ref_conv2d_out(desc, desc->h);
    p.out_w = dg_ref_conv2d_out(desc, desc->w);
    p.in = desc->h * desc->w * desc->in_c;
    p.out = p.out_h * p.out_w * desc->out_c;
    p.weights = desc->out_c * desc->in_c * desc->kernel * desc->kernel;
    DG_OP(env, conv2d_plan(&env->exec, &p.desc, &p.plan));
    ck_assert_ptr_nonnull(p.plan->implementation);
#ifdef DG_CUDASIM
    if (env->libraries && !desc->upsample && desc->in_c % 8 == 0 && desc->out_c % 8 == 0)
        ck_assert_msg(strstr(p.plan->implementation, desc->kernel == 1 ? "cuBLASLt" : "cuDNN"), "no library runs %s",
                      p.plan->implementation);
#endif
    dg_op_workspace(env, p.plan->workspace_bytes);
    p.x = dg_op_random(env, in_all(&p), 1.0);
    p.weight = dg_op_random(env, p.weights, 1.0 / sqrt((double)(p.weights / desc->out_c)));
    p.bias = desc->bias ? dg_op_random(env, desc->out_c, 1.0) : NULL;
    p.residual = desc->residual ? dg_op_random(env, out_all(&p), 1.0) : NULL;
    p.dy = dg_op_random(env, out_all(&p), 1.0);
    p.y = dg_op_floats(env, out_all(&p));
    p.packed = dg_op_bytes(env, p.plan->packed_bytes);
    DG_OP(env, conv2d_pack(&env->exec, p.plan, p.weight, p.packed));
    return p;
}

static void forward(dg_op_env *env, const problem *p, float *x, float *y) {
    const dg_tensor xt = x_tensor(p, x), yt = y_tensor(p, y);
    const dg_tensor rt = p->residual ? y_tensor(p, p->residual) : yt;
    DG_OP(env, conv2d_fwd(&env->exec, p->plan, &xt, p->packed, p->bias, p->residual ? &rt : NULL, &yt));
}

static void backward_data(dg_op_env *env, const problem *p, float *dx, bool accumulate) {
    const dg_tensor dyt = y_tensor(p, p->dy), dxt = x_tensor(p, dx);
    DG_OP(env, conv2d_bwd_data(&env->exec, p->plan, &dyt, p->packed, &dxt, accumulate));
}

static void backward_params(dg_op_env *env, const problem *p, const dg_param_grad *mode, float *dweight, float *dbias) {
    const dg_tensor xt = x_tensor(p, p->x), dyt = y_tensor(p, p->dy);
    DG_OP(env, conv2d_bwd_params(&env->exec, p->plan, mode, &xt, &dyt, dweight, dbias));
}

static void check_fwd(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, false);
    forward(env, &p, p.x, p.y);
    double *x = dg_op_to_double(p.x, in_all(&p)), *weight = dg_op_to_double(p.weight, p.weights);
    double *bias = p.bias ? dg_op_to_double(p.bias, p.desc.out_c) : NULL;
    double *residual = p.residual ? dg_op_to_double(p.residual, out_all(&p)) : NULL;
    double *y = dg_op_to_double(p.y, out_all(&p));
    dg_ref_conv2d_fwd(&p.desc, x, weight, bias, residual, y);
    dg_op_expect_close(env, "y", p.y, y, out_all(&p), DG_TOL_MATMUL);

    float *again = dg_op_floats(env, out_all(&p));
    forward(env, &p, p.x, again);
    dg_op_expect_same(env, "y of a second run", p.y, again, (size_t)out_all(&p) * sizeof(float));
    free(x), free(weight), free(bias), free(residual), free(y);
    dg_plan_free(p.plan);
}

START_TEST(test_fwd) {
    dg_op_on_every_variant(check_fwd, &table[_i]);
}
END_TEST

static void check_bwd_data(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, true);
    const size_t bytes = (size_t)in_all(&p) * sizeof(float);
    double *weight = dg_op_to_double(p.weight, p.weights), *dy = dg_op_to_double(p.dy, out_all(&p));
    double *dx = calloc((size_t)in_all(&p), sizeof *dx);
    dg_ref_conv2d_bwd_data(&p.desc, dy, weight, dx);

    float *got = dg_op_floats(env, in_all(&p)), *again = dg_op_floats(env, in_all(&p));
    backward_data(env, &p, got, false);
    dg_op_expect_close(env, "dx", got, dx, in_all(&p), DG_TOL_MATMUL);
    backward_data(env, &p, again, false);
    dg_op_expect_same(env, "dx of a second run", got, again, bytes);

    dg_op_fill(env, got, in_all(&p), 1.0);
    for (int64_t i = 0; i < in_all(&p); i++)
        dx[i] += got[i];
    backward_data(env, &p, got, true);
    dg_op_expect_close(env, "dx accumulated", got, dx, in_all(&p), DG_TOL_MATMUL);
    free(weight), free(dy), free(dx);
    dg_plan_free(p.plan);
}

START_TEST(test_bwd_data) {
    dg_op_on_every_variant(check_bwd_data, &table[_i]);
}
END_TEST

/* sum over n of factor[n] * the gradient of example n, weights then bias; factor NULL: 1. */
static double *reference_params(const problem *p, const float *factor, int64_t first, int64_t last) {
    double *x = dg_op_to_double(p->x, in_all(p)), *dy = dg_op_to_double(p->dy, out_all(p));
    double *out = calloc((size_t)(p->weights + p->desc.out_c), sizeof *out);
    for (int64_t n = first; n < last; n++)
        dg_ref_conv2d_bwd_params(&p->desc, n, factor ? (double)factor[n] : 1.0, x, dy, out,
                                 p->desc.bias ? out + p->weights : NULL);
    free(x), free(dy);
    return out;
}

static void check_bwd_params(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, true);
    const int64_t biases = p.desc.bias ? p.desc.out_c : 0;
    for (int64_t i = 0; i < out_all(&p); i++) /* so that gradients are of order one */
        p.dy[i] = dg_op_rounded(env, p.dy[i] / sqrtf((float)(p.desc.n * p.out_h * p.out_w)));
    float *dweight = dg_op_floats(env, p.weights), *dbias = biases ? dg_op_floats(env, biases) : NULL;
    float *again = dg_op_floats(env, p.weights), *again_bias = biases ? dg_op_floats(env, biases) : NULL;

    double *want = reference_params(&p, NULL, 0, p.desc.n);
    const dg_param_grad sum = {.mode = DG_GRAD_SUM};
    backward_params(env, &p, &sum, dweight, dbias);
    dg_op_expect_close(env, "dweight", dweight, want, p.weights, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dbias", dbias, want + p.weights, biases, DG_TOL_MATMUL);

    float *ones = dg_op_floats(env, p.desc.n);
    for (int64_t n = 0; n < p.desc.n; n++)
        ones[n] = 1.0f;
    const dg_param_grad by_one = {.mode = DG_GRAD_WEIGHTED, .example_weight = ones};
    backward_params(env, &p, &by_one, again, again_bias);
    dg_op_expect_close(env, "dweight with weights 1", again, want, p.weights, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dbias with weights 1", again_bias, want + p.weights, biases, DG_TOL_MATMUL);
    memcpy(again, dweight, (size_t)p.weights * sizeof(float));

    double *sqnorms = dg_op_bytes(env, (size_t)p.desc.n * sizeof *sqnorms);
    const dg_param_grad norms = {.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms};
    for (int64_t n = 0; n < p.desc.n; n++)
        sqnorms[n] = (double)n;
    backward_params(env, &p, &norms, dweight, dbias);
    dg_op_expect_same(env, "dweight after squared norms", dweight, again, (size_t)p.weights * sizeof(float));
    for (int64_t n = 0; n < p.desc.n; n++) {
        double *example = reference_params(&p, NULL, n, n + 1), norm = (double)n;
        for (int64_t i = 0; i < p.weights + biases; i++)
            norm += example[i] * example[i];
        dg_op_expect_close_double(env, "squared norm", sqnorms[n], norm, DG_TOL_SQNORM);
        free(example);
    }
    free(want);

    float *factor = dg_op_random(env, p.desc.n, 2.0);
    want = reference_params(&p, factor, 0, p.desc.n);
    dg_op_fill(env, dweight, p.weights, 1.0);
    dg_op_fill(env, dbias, biases, 1.0);
    for (int64_t i = 0; i < p.weights; i++)
        want[i] += dweight[i];
    for (int64_t i = 0; i < biases; i++)
        want[p.weights + i] += dbias[i];
    const dg_param_grad weighted = {.mode = DG_GRAD_WEIGHTED, .example_weight = factor, .accumulate = true};
    backward_params(env, &p, &weighted, dweight, dbias);
    dg_op_expect_close(env, "dweight weighted, accumulated", dweight, want, p.weights, DG_TOL_MATMUL);
    dg_op_expect_close(env, "dbias weighted, accumulated", dbias, want + p.weights, biases, DG_TOL_MATMUL);
    free(want);
    dg_plan_free(p.plan);
}

/* What clipping relies on: an example of weight 0 is left out whatever its gradient is, and the gradient of the only
 * one that is not has the norm that was found, to the rounding of a sum of squares, and on a GPU never a larger one. */
static void check_clipping(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, true);
    const int64_t n = p.desc.n, biases = p.desc.bias ? p.desc.out_c : 0;
    float *dweight = dg_op_floats(env, p.weights), *dbias = biases ? dg_op_floats(env, biases) : NULL;
    double *sqnorms = dg_op_bytes(env, (size_t)n * sizeof *sqnorms);
    float *only = dg_op_floats(env, n);
    const int64_t kept = n / 2;
    for (int64_t b = 0; b < n; b++)
        only[b] = b == kept, sqnorms[b] = 0;
    for (int64_t i = 0; i < in_all(&p); i++)
        p.x[i] = i / p.in == kept ? p.x[i] : NAN;
    for (int64_t i = 0; i < out_all(&p); i++)
        p.dy[i] = i / p.out == kept ? p.dy[i] : INFINITY;
    backward_params(env, &p, &(dg_param_grad){.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms}, dweight, dbias);
    backward_params(env, &p, &(dg_param_grad){.mode = DG_GRAD_WEIGHTED, .example_weight = only}, dweight, dbias);
    double norm = 0;
    for (int64_t i = 0; i < p.weights; i++)
        norm += (double)dweight[i] * (double)dweight[i];
    for (int64_t i = 0; i < biases; i++)
        norm += (double)dbias[i] * (double)dbias[i];
    ck_assert_msg(fabs(sqnorms[kept] / norm - 1) < 4e-6, "%s: squared norm %.17g, of what was added %.17g",
                  env->variant, sqnorms[kept], norm);
    if (!env->backend->host_memory)
        ck_assert_msg(sqnorms[kept] >= norm * (1 - 1e-6), "%s: squared norm %.17g, of what was added %.17g",
                      env->variant, sqnorms[kept], norm);
    for (int64_t b = 0; b < n; b++)
        ck_assert_msg(b == kept || !isfinite(sqnorms[b]), "%s: a norm of NaN was lost", env->variant);
    only[kept] = 0;
    backward_params(env, &p, &(dg_param_grad){.mode = DG_GRAD_WEIGHTED, .example_weight = only}, dweight, dbias);
    for (int64_t i = 0; i < p.weights; i++)
        ck_assert_float_eq(dweight[i], 0.0f);
    for (int64_t i = 0; i < biases; i++)
        ck_assert_float_eq(dbias[i], 0.0f);
    dg_plan_free(p.plan);
}

START_TEST(test_clipping) {
    dg_op_on_every_variant(check_clipping, &table[_i]);
}
END_TEST

/* Each example by itself, an example being 1, n/2 (where that is whole) or all images; twice, adding the second time.
 */
static void check_examples(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, true);
    const int64_t n = p.desc.n, biases = p.desc.bias ? p.desc.out_c : 0, stride = p.weights + biases + 3;
    const int64_t copies[3] = {1, n % 2 ? n : n / 2, n};
    for (int64_t i = 0; i < out_all(&p); i++)
        p.dy[i] = dg_op_rounded(env, p.dy[i] / sqrtf((float)(n * p.out_h * p.out_w)));
    for (int k = 0; k < 3; k++) {
        float *each = dg_op_random(env, n * stride, 1.0);
        dg_param_grad mode = {.mode = DG_GRAD_EXAMPLES, .copies = copies[k], .example_stride = stride};
        backward_params(env, &p, &mode, each, biases ? each + p.weights : NULL);
        double *sqnorms = dg_op_bytes(env, (size_t)(n / copies[k]) * sizeof *sqnorms);
        for (int64_t e = 0; e < n / copies[k]; e++)
            sqnorms[e] = 0;
        mode.accumulate = true;
        mode.sqnorms = sqnorms;
        backward_params(env, &p, &mode, each, biases ? each + p.weights : NULL);
        for (int64_t e = 0; e < n / copies[k]; e++) {
            double *want = reference_params(&p, NULL, e * copies[k], (e + 1) * copies[k]);
            for (int64_t i = 0; i < p.weights + biases; i++)
                want[i] *= 2;
            dg_op_expect_close(env, "an example's gradient", each + e * stride, want, p.weights + biases,
                               DG_TOL_MATMUL);
            free(want);
            dg_op_expect_squares(env, sqnorms[e], p.weights + biases, each + e * stride);
        }
    }
    dg_plan_free(p.plan);
}

START_TEST(test_examples) {
    dg_op_on_every_variant(check_examples, &table[_i]);
}
END_TEST

START_TEST(test_bwd_params) {
    dg_op_on_every_variant(check_bwd_params, &table[_i]);
}
END_TEST

/* The same image in every slot gives the same bits, also of its own parameter gradients; forward also alone in a batch
 * of one, which sampling relies on. */
static void check_slots(dg_op_env *env, const void *item) {
    problem p = problem_make(env, item, true);
    const size_t in_bytes = (size_t)p.in * sizeof(float), out_bytes = (size_t)p.out * sizeof(float);
    for (int64_t n = 1; n < p.desc.n; n++) {
        memcpy(p.x + n * p.in, p.x, in_bytes);
        memcpy(p.dy + n * p.out, p.dy, out_bytes);
        if (p.residual)
            memcpy(p.residual + n * p.out, p.residual, out_bytes);
    }
    float *dx = dg_op_floats(env, in_all(&p));
    forward(env, &p, p.x, p.y);
    backward_data(env, &p, dx, false);
    for (int64_t n = 1; n < p.desc.n; n++) {
        dg_op_expect_same(env, "y of another slot", p.y, p.y + n * p.out, out_bytes);
        dg_op_expect_same(env, "dx of another slot", dx, dx + n * p.in, in_bytes);
    }
    float *each = dg_op_floats(env, p.desc.n * p.weights);
    float *biases = p.desc.bias ? dg_op_floats(env, p.desc.n * p.weights) : NULL;
    double *sqnorms = dg_op_bytes(env, (size_t)p.desc.n * sizeof *sqnorms);
    for (int64_t n = 0; n < p.desc.n; n++)
        sqnorms[n] = 0;
    const dg_param_grad alone_each = {.mode = DG_GRAD_EXAMPLES, .copies = 1, .example_stride = p.weights},
                        norms = {.mode = DG_GRAD_SQNORMS, .sqnorms = sqnorms};
    backward_params(env, &p, &alone_each, each, biases);
    backward_params(env, &p, &norms, each, biases);
    for (int64_t n = 1; n < p.desc.n; n++) {
        dg_op_expect_same(env, "dweight of another slot", each, each + n * p.weights,
                          (size_t)p.weights * sizeof(float));
        dg_op_expect_same(env, "squared norm of another slot", sqnorms, sqnorms + n, sizeof *sqnorms);
    }
    if (env->libraries) { /* which promise nothing of other batches */
        dg_plan_free(p.plan);
        return;
    }
    problem one = p;
    one.desc.n = 1;
    DG_OP(env, conv2d_plan(&env->exec, &one.desc, &one.plan));
    ck_assert_uint_le(one.plan->workspace_bytes, p.plan->workspace_bytes);
    one.packed = dg_op_bytes(env, one.plan->packed_bytes);
    DG_OP(env, conv2d_pack(&env->exec, one.plan, p.weight, one.packed));
    float *alone = dg_op_floats(env, p.out);
    forward(env, &one, p.x, alone);
    dg_op_expect_same(env, "y in a batch of one", p.y, alone, out_bytes);
    dg_plan_free(one.plan);
    dg_plan_free(p.plan);
}

START_TEST(test_slots) {
    dg_op_on_every_variant(check_slots, &table[_i]);
}
END_TEST

/* One plan used by two lanes at the same time. */
typedef struct lane_job {
    const dg_backend *backend;
    dg_exec exec;
    const problem *p;
    float *y, *dweight, *dbias;
    dg_tensor x_tensor, y_tensor, dy_tensor;
    dg_status status;
} lane_job;

static void *run_lane(void *data) {
    lane_job *job = data;
    const problem *p = job->p;
    const dg_param_grad sum = {.mode = DG_GRAD_SUM};
    for (int i = 0; i < 20 && job->status == DG_OK; i++) {
        job->status = job->backend->ops->conv2d_fwd(&job->exec, p->plan, &job->x_tensor, p->packed, p->bias, NULL,
                                                    &job->y_tensor);
        if (job->status == DG_OK)
            job->status = job->backend->ops->conv2d_bwd_params(&job->exec, p->plan, &sum, &job->x_tensor,
                                                               &job->dy_tensor, job->dweight, job->dbias);
    }
    return NULL;
}

/* On the CPU a lane is a thread; on a GPU a queue, and one thread fills them all. */
static void run_lanes(const dg_op_env *env, lane_job *jobs, int lanes) {
    pthread_t threads[DG_OP_MAX_VARIANTS];
    for (int i = 0; i < lanes; i++)
        if (env->backend->host_memory)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, run_lane, &jobs[i]), 0);
        else
            run_lane(&jobs[i]);
    for (int i = 0; i < lanes && env->backend->host_memory; i++)
        pthread_join(threads[i], NULL);
}

static void check_lanes(dg_op_env *env, const void *item) {
    enum { LANES = 2 };
    dg_conv2d_desc desc = *(const dg_conv2d_desc *)item;
    desc.lanes = LANES;
    problem p = problem_make(env, &desc, true);
    lane_job jobs[LANES] = {{0}};
    for (int i = 0; i < LANES; i++) {
        jobs[i] = (lane_job){.backend = env->backend,
                             .p = &p,
                             .y = dg_op_floats(env, out_all(&p)),
                             .dweight = dg_op_floats(env, p.weights),
                             .dbias = dg_op_floats(env, desc.out_c)};
        DG_CK(env->ctx, env->backend->exec_create(env->ctx, p.plan->workspace_bytes, &jobs[i].exec));
        ck_assert_int_eq(jobs[i].exec.lane, 0);
        jobs[i].exec.lane = i;
        jobs[i].x_tensor = x_tensor(&p, p.x);
        jobs[i].y_tensor = y_tensor(&p, jobs[i].y);
        jobs[i].dy_tensor = y_tensor(&p, p.dy);
    }
    dg_op_begin(env);
    run_lanes(env, jobs, LANES);
    for (int i = 0; i < LANES; i++) {
        DG_CK(env->ctx, jobs[i].status);
        DG_CK(env->ctx, env->backend->synchronise(&jobs[i].exec));
        env->backend->exec_free(&jobs[i].exec);
    }
    dg_op_finish(env);
    dg_op_expect_same(env, "y of two lanes", jobs[0].y, jobs[1].y, (size_t)out_all(&p) * sizeof(float));
    dg_op_expect_same(env, "dweight of two lanes", jobs[0].dweight, jobs[1].dweight, (size_t)p.weights * sizeof(float));
    forward(env, &p, p.x, p.y);
    dg_op_expect_same(env, "y of a lane and alone", p.y, jobs[1].y, (size_t)out_all(&p) * sizeof(float));
    dg_plan_free(p.plan);
}

START_TEST(test_lanes) {
    static const dg_conv2d_desc desc = {.n = 2,
                                        .h = 14,
                                        .w = 14,
                                        .in_c = 40,
                                        .out_c = 40,
                                        .kernel = 3,
                                        .stride = 1,
                                        .pad_begin = 1,
                                        .pad_end = 1,
                                        .bias = true};
    dg_op_on_every_variant(check_lanes, &desc);
}
END_TEST

static void check_refused(dg_op_env *env, const void *item) {
    dg_plan *plan = NULL;
    ck_assert_int_eq(env->backend->ops->conv2d_plan(&env->exec, item, &plan), DG_EINVAL);
    ck_assert_ptr_null(plan);
    ck_assert_ptr_nonnull(strstr(dg_last_error(env->ctx), "conv2d"));
}

START_TEST(test_refused) {
    static const dg_conv2d_desc bad[] = {
        {.n = 0, .h = 4, .w = 4, .in_c = 4, .out_c = 4, .kernel = 1, .stride = 1},
        {.n = 1, .h = 4, .w = 4, .in_c = 4, .out_c = 4, .kernel = 5, .stride = 1, .pad_begin = 2, .pad_end = 2},
        {.n = 1, .h = 4, .w = 4, .in_c = 4, .out_c = 4, .kernel = 3, .stride = 0, .pad_begin = 1, .pad_end = 1},
        {.n = 1, .h = 2, .w = 4, .in_c = 4, .out_c = 4, .kernel = 3, .stride = 1},
        {.n = 1,
         .h = 4,
         .w = 4,
         .in_c = 4,
         .out_c = 4,
         .kernel = 3,
         .stride = 2,
         .pad_begin = 1,
         .pad_end = 1,
         .upsample = true},
    };
    dg_op_on_every_variant(check_refused, &bad[_i]);
}
END_TEST

/* <cotangent, conv(...)> differentiated numerically: exact for a bilinear function up to rounding. */
START_TEST(test_reference) {
    dg_conv2d_desc d = {.n = 2,
                        .h = 4,
                        .w = 3,
                        .in_c = 2,
                        .out_c = 3,
                        .kernel = 3,
                        .stride = 1,
                        .pad_begin = 1,
                        .pad_end = 1,
                        .bias = true};
    d.stride = _i == 1 ? 2 : 1;
    d.pad_begin = _i == 1 ? 0 : 1;
    d.upsample = _i == 2;
    enum { MOST = 512 };
    double x[MOST], w[MOST], b[3], y[MOST], dy[MOST], dx[MOST] = {0}, dw[MOST] = {0}, db[3] = {0};
    const int64_t out_h = dg_ref_conv2d_out(&d, d.h), out_w = dg_ref_conv2d_out(&d, d.w);
    const int64_t in = d.n * d.h * d.w * d.in_c, out = d.n * out_h * out_w * d.out_c, weights = d.out_c * d.in_c * 9;
    for (int i = 0; i < MOST; i++) {
        x[i] = sin(i * 1.7 + 0.3);
        w[i] = cos(i * 2.3);
        dy[i] = sin(i * 0.9 + 1.0);
    }
    for (int i = 0; i < 3; i++)
        b[i] = i - 0.5;
    dg_ref_conv2d_bwd_data(&d, dy, w, dx);
    for (int64_t n = 0; n < d.n; n++)
        dg_ref_conv2d_bwd_params(&d, n, 1.0, x, dy, dw, db);
    struct {
        double *value, *gradient;
        int64_t count;
    } of[] = {{x, dx, in}, {w, dw, weights}, {b, db, 3}};
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < of[k].count; i++) {
            const double keep = of[k].value[i], step = 1e-3;
            double difference = 0.0;
            for (int side = -1; side <= 1; side += 2) {
                of[k].value[i] = keep + side * step;
                dg_ref_conv2d_fwd(&d, x, w, b, NULL, y);
                for (int64_t j = 0; j < out; j++)
                    difference += side * dy[j] * y[j];
            }
            of[k].value[i] = keep;
            ck_assert_double_eq_tol(difference / (2.0 * step), of[k].gradient[i], 1e-9);
        }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("conv2d");
    TCase *tests = tcase_create("conv2d");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_reference, 0, 3);
    tcase_add_loop_test(tests, test_fwd, 0, CASES);
    tcase_add_loop_test(tests, test_bwd_data, 0, CASES);
    tcase_add_loop_test(tests, test_bwd_params, 0, CASES);
    tcase_add_loop_test(tests, test_clipping, 0, CASES);
    tcase_add_loop_test(tests, test_examples, 0, CASES);
    tcase_add_loop_test(tests, test_slots, 0, CASES);
    tcase_add_test(tests, test_lanes);
    tcase_add_loop_test(tests, test_refused, 0, 5);
    suite_add_tcase(suite, tests);
    return suite;
}
