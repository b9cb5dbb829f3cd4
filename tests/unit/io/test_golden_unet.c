/* Forward passes, loss and every parameter's gradient against diffusers (tests/golden/README.md). */
#include "io/safetensors.h"
#include "support/net_fixture.h"

#include <math.h>
#include <stdio.h>

/* Of the tensor's root mean square. Upstream's own float32 run is up to 3e-6 (outputs) and 2.2e-5 (gradients) away from
 * the float64 numbers of the files. A tensor whose gradients nearly cancel is judged by the typical gradient instead.
 */
#define OUTPUT_TOLERANCE 1e-5
#define GRADIENT_TOLERANCE 1e-4
#define LOSS_TOLERANCE 2e-6
/* A gradient that is zero in exact arithmetic: of the root mean square of all gradients. */
#define ZERO_TOLERANCE 1e-5

typedef struct golden_case {
    json_t *file; /* unet.json */
    const json_t *json;
    dg_safetensors *tensors;
    net_fixture net;
    int64_t n, h, w, in_c, out_c;
} golden_case;

static int64_t member(const golden_case *g, const char *key) {
    return json_integer_value(json_object_get(g->json, key));
}

static void load_case(dg_ctx *ctx, int index, golden_case *g) {
    char path[512];
    DG_CK(ctx, dg_json_load(ctx, DG_SOURCE_DIR "/tests/golden/unet.json", DG_JSON_STRICT, &g->file));
    g->json = json_array_get(json_object_get(g->file, "cases"), (size_t)index);
    ck_assert(g->json != NULL);
    snprintf(path, sizeof path, DG_SOURCE_DIR "/tests/golden/%s", json_string_value(json_object_get(g->json, "file")));
    DG_CK(ctx, dg_safetensors_open(ctx, path, &g->tensors));
    g->n = member(g, "batch"), g->h = member(g, "height"), g->w = member(g, "width");
    dg_unet_config config;
    DG_CK(ctx, dg_unet_config_from_json(ctx, "unet.json", json_object_get(g->json, "config"), &config));
    g->in_c = config.in_channels, g->out_c = config.out_channels;
    g->net = net_fixture_open(ctx, &config,
                              &(dg_net_options){.n = g->n, .h = g->h, .w = g->w, .training = true, .lanes = 1});
    ck_assert_int_eq(g->net.params->elements, member(g, "parameters"));
    ck_assert_int_eq(g->net.params->count, member(g, "tensors"));
}

static void free_case(golden_case *g) {
    net_fixture_close(&g->net);
    dg_safetensors_close(g->tensors);
    json_decref(g->file);
}

static void fill_nhwc(const golden_case *g, const char *name, int64_t c, float *out) {
    const int64_t count = g->n * c * g->h * g->w;
    float *nchw = malloc((size_t)count * sizeof *nchw);
    golden_fill_data(name, count, nchw);
    golden_to_nhwc(g->n, c, g->h * g->w, nchw, out);
    free(nchw);
}

static void set_inputs(const golden_case *g) {
    const dg_net_io *io = dg_net_lane(g->net.net, 0);
    const json_t *labels = json_object_get(g->json, "labels"), *t = json_object_get(g->json, "t");
    fill_nhwc(g, "input", g->in_c, io->x.data);
    for (int64_t i = 0; i < g->n; i++) {
        io->timesteps[i] = (float)json_integer_value(json_array_get(t, (size_t)i));
        if (json_is_array(labels))
            io->labels[i] = (int32_t)json_integer_value(json_array_get(labels, (size_t)i));
    }
    ck_assert_int_eq(json_is_string(labels), io->class_vector != NULL);
    if (io->class_vector)
        golden_fill_data("labels", g->n * g->net.config.time_embedding_dim, io->class_vector);
}

static double rms(const float *x, int64_t count) {
    double sum = 0;
    for (int64_t k = 0; k < count; k++)
        sum += (double)x[k] * (double)x[k];
    return sqrt(sum / (double)count);
}

static void check_output(const golden_case *g) {
    const int64_t dims[] = {g->n, g->out_c, g->h, g->w}, count = g->n * g->out_c * g->h * g->w;
    float *nchw = malloc((size_t)count * sizeof *nchw), *expected = malloc((size_t)count * sizeof *expected);
    DG_CK(g->net.ctx, dg_safetensors_read_f32(g->net.ctx, g->tensors, "output", 4, dims, nchw));
    golden_to_nhwc(g->n, g->out_c, g->h * g->w, nchw, expected);
    const float *y = dg_net_lane(g->net.net, 0)->y.data;
    const double tolerance = OUTPUT_TOLERANCE * rms(expected, count);
    for (int64_t k = 0; k < count; k++)
        ck_assert_msg(fabs((double)y[k] - (double)expected[k]) <= tolerance, "output[%lld] is %.9g, not %.9g",
                      (long long)k, (double)y[k], (double)expected[k]);
    free(nchw);
    free(expected);
}

/* dy of the mean squared error; checks the loss. */
static void set_output_gradient(const golden_case *g) {
    const dg_net_io *io = dg_net_lane(g->net.net, 0);
    const int64_t count = dg_tensor_count(&io->y);
    float *target = malloc((size_t)count * sizeof *target), *dy = io->dy.data;
    const float *y = io->y.data;
    double loss = 0;
    fill_nhwc(g, "target", g->out_c, target);
    for (int64_t k = 0; k < count; k++) {
        const double difference = (double)y[k] - (double)target[k];
        loss += difference * difference / (double)count;
        dy[k] = (float)(2 * difference / (double)count);
    }
    free(target);
    ck_assert_double_eq_tol(loss, json_real_value(json_object_get(g->json, "loss")), LOSS_TOLERANCE);
}

static bool is_zero_gradient(const golden_case *g, const char *name) {
    const json_t *list = json_object_get(g->json, "zero_gradients");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
            return true;
    return false;
}

static void check_full(const golden_case *g, const dg_param *p, const float *grad, double floor) {
    char name[128];
    float *expected = malloc((size_t)p->count * sizeof *expected);
    snprintf(name, sizeof name, "grad.%s", p->name);
    DG_CK(g->net.ctx, dg_safetensors_read_f32(g->net.ctx, g->tensors, name, p->rank, p->dims, expected));
    const double tolerance = GRADIENT_TOLERANCE * fmax(rms(expected, p->count), floor);
    for (int64_t k = 0; k < p->count; k++)
        ck_assert_msg(fabs((double)grad[k] - (double)expected[k]) <= tolerance, "%s[%lld] is %.9g, not %.9g (+- %g)",
                      name, (long long)k, (double)grad[k], (double)expected[k], tolerance);
    free(expected);
}

/* The sum of g, of g^2 and of g * c. Errors of single elements add up as the root of the count. */
static void check_sums(const golden_case *g, const dg_param *p, const float *grad, double floor) {
    char name[128];
    float expected[3], *c = malloc((size_t)p->count * sizeof *c);
    double sums[3] = {0};
    snprintf(name, sizeof name, "check.%s", p->name);
    DG_CK(g->net.ctx, dg_safetensors_read_f32(g->net.ctx, g->tensors, name, 1, (int64_t[]){3}, expected));
    golden_fill_data(name, p->count, c);
    for (int64_t k = 0; k < p->count; k++) {
        sums[0] += (double)grad[k];
        sums[1] += (double)grad[k] * (double)grad[k];
        sums[2] += (double)grad[k] * (double)c[k];
    }
    free(c);
    const double norm = sqrt(fmax((double)expected[1], 0)), count = (double)p->count;
    const double linear = GRADIENT_TOLERANCE * fmax(norm, floor * sqrt(count));
    const double tolerance[3] = {linear, 2 * linear * fmax(norm, floor * sqrt(count)), linear};
    for (int i = 0; i < 3; i++)
        ck_assert_msg(fabs(sums[i] - (double)expected[i]) <= tolerance[i], "%s[%d] is %.9g, not %.9g (+- %g)", name, i,
                      sums[i], (double)expected[i], tolerance[i]);
}

START_TEST(net_is_diffusers) {
    dg_ctx *ctx = dg_test_context();
    golden_case g = {0};
    load_case(ctx, _i, &g);
    const net_fixture *net = &g.net;
    const bool full = strcmp(json_string_value(json_object_get(g.json, "gradients")), "full") == 0;
    set_inputs(&g);
    DG_CK(ctx, dg_net_forward(net->net, 0, net->weights, false));
    check_output(&g);
    set_output_gradient(&g);
    DG_CK(ctx, dg_net_backward(net->net, 0, net->weights, &(dg_param_grad){.mode = DG_GRAD_SUM}, net->grad));
    const double typical = rms(net->grad, net->params->total), floor = 0.01 * typical;
    ck_assert_double_gt(typical, 1e-4);
    size_t zeros = 0;
    for (int64_t i = 0; i < net->params->count; i++) {
        const dg_param *p = &net->params->list[i];
        const float *grad = net->grad + p->offset;
        if (is_zero_gradient(&g, p->name)) {
            zeros++;
            ck_assert_msg(rms(grad, p->count) <= ZERO_TOLERANCE * typical, "%s is not zero", p->name);
        } else if (full) {
            check_full(&g, p, grad, floor);
        } else {
            check_sums(&g, p, grad, floor);
        }
    }
    ck_assert_uint_eq(zeros, json_array_size(json_object_get(g.json, "zero_gradients")));
    free_case(&g);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(fill_is_the_documented_one) {
    float u[4], x[4];
    const double first[4] = {.42552419, .09933364, .02418331, .77248329}, input[4] = {1.0167, -1.3205, -1.4874, -.3950};
    ck_assert_uint_eq(golden_hash("conv_in.weight"), 0xb1e79747u);
    golden_fill("conv_in.weight", 0.5, 0.5, 4, u);
    golden_fill_data("input", 4, x);
    for (int k = 0; k < 4; k++) {
        ck_assert_double_eq_tol((double)u[k], first[k], 1e-7);
        ck_assert_double_eq_tol((double)x[k], input[k], 1e-4);
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("golden unet");
    TCase *tcase = tcase_create("unet");
    tcase_add_test(tcase, fill_is_the_documented_one);
    tcase_add_loop_test(tcase, net_is_diffusers, 0, 8);
    suite_add_tcase(suite, tcase);
    return suite;
}
