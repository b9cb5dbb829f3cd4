/* Classifiers: they learn, they do not depend on threads, rotation means what it says, and each kind's gradient is that
 * of its loss. */
#include "classify/classifier.h"
#include "classify/classifier_internal.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdlib.h>

enum { SIDE = 12, CLASSES = 3 };

static dg_ctx *ctx;

/* Grey images of stripes: class 0 horizontal, 1 vertical, 2 diagonal, with noise and a random phase. */
static dg_image_set stripes(const char *name, int64_t n, int bits) {
    dg_image_set set = {.n = n, .h = SIDE, .w = SIDE, .channels = 1, .bits = bits};
    const uint32_t hash = golden_hash(name);
    uint8_t *narrow = malloc((size_t)(n * SIDE * SIDE));
    uint16_t *wide = malloc((size_t)(n * SIDE * SIDE) * 2);
    set.labels = malloc((size_t)n * sizeof *set.labels);
    for (int64_t i = 0; i < n; i++) {
        set.labels[i] = (int32_t)(i % CLASSES);
        const double phase = 6.28 * golden_uniform(hash, i);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                const int64_t k = i * SIDE * SIDE + y * SIDE + x;
                const double at = set.labels[i] == 0 ? y : set.labels[i] == 1 ? x : 0.7 * (x + y);
                const double v = 0.5 + 0.25 * sin(1.5 * at + phase) + 0.4 * (golden_uniform(hash, n + k) - 0.5);
                narrow[k] = (uint8_t)(255 * fmin(fmax(v, 0), 1));
                wide[k] = (uint16_t)(257 * narrow[k]);
            }
    }
    set.pixels = bits == 16 ? (void *)wide : narrow;
    free(bits == 16 ? (void *)narrow : wide);
    return set;
}

static double accuracy(dg_classifier *c, const dg_examples *e) {
    float *p = malloc((size_t)(e->n * CLASSES) * sizeof *p);
    int64_t correct = 0;
    DG_CK(ctx, dg_classifier_predict(c, e, p));
    for (int64_t i = 0; i < e->n; i++) {
        const float *q = p + i * CLASSES;
        const int best = q[0] >= q[1] && q[0] >= q[2] ? 0 : q[1] >= q[2] ? 1 : 2;
        correct += best == e->list[i].label;
        ck_assert(fabsf(q[0] + q[1] + q[2] - 1) < 1e-5f);
    }
    free(p);
    return (double)correct / (double)e->n;
}

static dg_classifier *train(int lanes, dg_classifier_kind kind, const dg_examples *all, int64_t steps) {
    const dg_classifier_config config = {.kind = kind, .h = SIDE, .w = SIDE, .channels = 1, .classes = CLASSES};
    dg_training_plan plan = dg_training_plan_default(kind, 7);
    dg_examples part = {0}, validation = {0};
    dg_classifier *c = NULL;
    plan.steps = steps;
    plan.batch = 64;
    DG_CK(ctx, dg_examples_split(ctx, all, 1, &part, &validation));
    ck_assert_int_eq(part.n + validation.n, all->n);
    ck_assert_int_eq(validation.n, all->n / 10);
    DG_CK(ctx, dg_classifier_train(ctx, lanes, &config, &plan, &part, &validation, NULL, NULL, &c));
    dg_examples_free(&part);
    dg_examples_free(&validation);
    return c;
}

START_TEST(learns) {
    ctx = dg_test_context();
    dg_image_set set = stripes("train", 600, 8), other = stripes("test", 150, 8);
    dg_examples all = {0}, test = {0};
    DG_CK(ctx, dg_examples_of_set(ctx, &set, &all));
    DG_CK(ctx, dg_examples_of_set(ctx, &other, &test));
    dg_classifier *c = train(2, (dg_classifier_kind)_i, &all, 150);
    const double got = accuracy(c, &test);
    /* A phase drawn anew for each image leaves a linear classifier nothing to go by. */
    if (_i == DG_CLASSIFIER_LINEAR)
        ck_assert_msg(got < 0.7, "%g", got);
    else
        ck_assert_msg(got > 0.95, "kind %d: %g", _i, got);
    dg_classifier_free(c);
    dg_examples_free(&all);
    dg_examples_free(&test);
    dg_image_set_free(&set);
    dg_image_set_free(&other);
}
END_TEST

START_TEST(threads_do_not_matter) {
    ctx = dg_test_context();
    dg_image_set set = stripes("train", 200, 8);
    dg_examples all = {0};
    float *features[2];
    DG_CK(ctx, dg_examples_of_set(ctx, &set, &all));
    for (int k = 0; k < 2; k++) {
        dg_classifier *c = train(k ? 3 : 1, (dg_classifier_kind)_i, &all, 12);
        features[k] = calloc((size_t)(all.n * DG_NATIVE_FEATURES), sizeof(float));
        if (_i == DG_CLASSIFIER_FEATURES)
            DG_CK(ctx, dg_classifier_features(c, &all, features[k]));
        else
            DG_CK(ctx, dg_classifier_predict(c, &all, features[k]));
        dg_classifier_free(c);
    }
    ck_assert_mem_eq(features[0], features[1], (size_t)(all.n * DG_NATIVE_FEATURES) * sizeof(float));
    free(features[0]);
    free(features[1]);
    dg_examples_free(&all);
    dg_image_set_free(&set);
}
END_TEST

START_TEST(sixteen_bits_are_the_same_image) {
    dg_image_set narrow = stripes("a", 1, 8), wide = stripes("a", 1, 16);
    float a[SIDE * SIDE], b[SIDE * SIDE];
    dg_example_read(&(dg_example){&narrow, 0, 0, 0}, a);
    dg_example_read(&(dg_example){&wide, 0, 0, 0}, b);
    for (int i = 0; i < SIDE * SIDE; i++)
        ck_assert(fabsf(a[i] - b[i]) < 1e-6f);
    dg_image_set_free(&narrow);
    dg_image_set_free(&wide);
}
END_TEST

START_TEST(quarter_turns) {
    uint8_t pixels[9] = {0, 51, 102, 153, 204, 255, 10, 20, 30};
    const dg_image_set set = {.n = 1, .h = 3, .w = 3, .channels = 1, .bits = 8, .pixels = pixels};
    /* numpy.rot90(a, k) of the above */
    const int want[4][9] = {{0, 51, 102, 153, 204, 255, 10, 20, 30},
                            {102, 255, 30, 51, 204, 20, 0, 153, 10},
                            {30, 20, 10, 255, 204, 153, 102, 51, 0},
                            {10, 153, 0, 20, 204, 51, 30, 255, 102}};
    float out[9];
    dg_example_read(&(dg_example){&set, 0, 0, (uint8_t)_i}, out);
    for (int k = 0; k < 9; k++)
        ck_assert_int_eq((int)lroundf((out[k] + 1) * 127.5f), want[_i][k]);
}
END_TEST

/* The derivative of <cotangent, logits> along a random direction, by central differences; steps so short that few ReLUs
 * change their side, which costs digits. */
START_TEST(gradient_of_the_loss) {
    ctx = dg_test_context();
    const dg_classifier_config config = {
        .kind = (dg_classifier_kind)_i, .h = SIDE, .w = SIDE, .channels = 1, .classes = CLASSES};
    const dg_net_options options = {
        .backend = dg_backend_cpu(), .n = 3, .h = SIDE, .w = SIDE, .training = true, .lanes = 1};
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    dg_net *net = NULL;
    DG_CK(ctx, dg_net_create_classifier(ctx, &config, &options, &net));
    DG_CK(ctx, dg_net_allocate(net));
    const int64_t total = dg_net_graph(net)->params.total;
    const dg_net_io *io = dg_net_lane(net, 0);
    float *weights = calloc((size_t)total, sizeof *weights), *grad = calloc((size_t)total, sizeof *grad),
          *moved = calloc((size_t)total, sizeof *moved), *direction = calloc((size_t)total, sizeof *direction);
    float cotangent[3 * CLASSES];
    double along = 0, value[2];
    dg_params_init(&dg_net_graph(net)->params, 3, weights);
    golden_fill("direction", 1, 0, total, direction);
    golden_fill("cotangent", 1, 0, 3 * CLASSES, cotangent);
    for (int side = 0; side < 3; side++) {
        const float h = side == 0 ? 2e-5f : side == 1 ? -2e-5f : 0;
        for (int64_t i = 0; i < total; i++)
            moved[i] = weights[i] + h * direction[i];
        golden_fill("image", 1, 0, dg_tensor_count(&io->x), io->x.data);
        for (int item = 0; item < dg_net_pack_count(net); item++)
            DG_CK(ctx, dg_net_pack(net, 0, item, moved));
        DG_CK(ctx, dg_net_forward(net, 0, moved, false));
        double sum = 0;
        for (int i = 0; i < 3 * CLASSES; i++)
            sum += (double)cotangent[i] * ((float *)io->y.data)[i];
        if (side < 2)
            value[side] = sum;
    }
    memcpy(io->dy.data, cotangent, sizeof cotangent);
    DG_CK(ctx, dg_net_backward(net, 0, weights, &mode, grad));
    for (int64_t p = 0; p < dg_net_graph(net)->params.count; p++) {
        const dg_param *param = &dg_net_graph(net)->params.list[p];
        for (int64_t i = 0; i < param->count; i++)
            along += (double)grad[param->offset + i] * direction[param->offset + i];
    }
    const double numeric = (value[0] - value[1]) / 4e-5;
    ck_assert_msg(fabs(numeric - along) <= 0.02 * fabs(along) + 0.02, "kind %d: %g, by differences %g", _i, along,
                  numeric);
    dg_net_free(net);
    free(weights);
    free(grad);
    free(moved);
    free(direction);
}
END_TEST

START_TEST(nothing_to_learn_from) {
    ctx = dg_test_context();
    const dg_classifier_config config = {.kind = DG_CLASSIFIER_CNN, .h = SIDE, .w = SIDE, .channels = 1, .classes = 2};
    const dg_training_plan plan = dg_training_plan_default(DG_CLASSIFIER_CNN, 0);
    const dg_examples none = {0};
    dg_classifier *c = NULL;
    ck_assert_int_eq(dg_classifier_train(ctx, 1, &config, &plan, &none, &none, NULL, NULL, &c), DG_EDATA);
    ck_assert_ptr_null(c);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("classifier");
    TCase *tc = tcase_create("classifier");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, learns, 0, 4);
    tcase_add_loop_test(tc, threads_do_not_matter, 0, 4);
    tcase_add_loop_test(tc, gradient_of_the_loss, 0, 4);
    tcase_add_loop_test(tc, quarter_turns, 0, 4);
    tcase_add_test(tc, sixteen_bits_are_the_same_image);
    tcase_add_test(tc, nothing_to_learn_from);
    suite_add_tcase(suite, tc);
    return suite;
}
