#include "classify/classifier_internal.h"
#include "metrics/draw.h"
#include "nn/lanes.h"
#include "nn/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct trainer {
    dg_ctx *ctx;
    dg_classifier *classifier;
    const dg_training_plan *plan;
    const dg_examples *train, *validation;
    dg_optimiser optimiser;
    float **lane_grad; /* [lanes][total] of the lane's current item */
    int64_t *order;    /* [train->n] of the current epoch */
    int64_t step;
    double *losses; /* [items of a batch] */
    float *best;    /* [total] the weights that did best so far */
    double best_accuracy;
    float *probabilities; /* of the validation examples */
} trainer;

dg_training_plan dg_training_plan_default(dg_classifier_kind kind, uint64_t seed) {
    dg_training_plan plan = {.steps = 600, .batch = 128, .lr = 2e-3, .seed = seed, .checks = 10};
    if (kind == DG_CLASSIFIER_FEATURES)
        plan.steps = 1000;
    return plan;
}

/* ---- one batch ---- */

/* Batches of an epoch. They do not straddle epochs: what is left over and fills no batch is shuffled anew. A set
 * smaller than a batch is gone through several times in one. */
static int64_t epoch_batches(const trainer *t) {
    return t->train->n > t->plan->batch ? t->train->n / t->plan->batch : 1;
}

static const dg_example *sample(const trainer *t, int64_t place) {
    const int64_t s = t->step % epoch_batches(t) * t->plan->batch + place;
    return &t->train->list[t->order[s % t->train->n]];
}

/* dy = (p - onehot) / batch; gives the summed loss. */
static double cross_entropy(const trainer *t, int64_t item, const float *logits, float *dy) {
    const int64_t classes = t->classifier->config.classes;
    double loss = 0;
    for (int64_t i = 0; i < DG_CLASSIFIER_ITEM; i++) {
        const int32_t label = sample(t, item * DG_CLASSIFIER_ITEM + i)->label;
        float *d = dy + i * classes;
        dg_softmax(classes, logits + i * classes, d);
        loss -= log(fmax((double)d[label], 1e-30));
        d[label] -= 1;
        for (int64_t c = 0; c < classes; c++)
            d[c] /= (float)t->plan->batch;
    }
    return loss;
}

static dg_status work_item(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    trainer *t = user;
    dg_net *net = t->classifier->net;
    const dg_net_io *io = dg_net_lane(net, lane);
    const int64_t elements = dg_tensor_count(&io->x) / DG_CLASSIFIER_ITEM;
    const dg_param_grad mode = {.mode = DG_GRAD_SUM};
    for (int64_t i = 0; i < DG_CLASSIFIER_ITEM; i++)
        dg_example_read(sample(t, item * DG_CLASSIFIER_ITEM + i), (float *)io->x.data + i * elements);
    DG_TRY(dg_net_forward(net, lane, t->classifier->weights, true));
    t->losses[item] = cross_entropy(t, item, io->y.data, io->dy.data);
    DG_TRY(dg_net_backward(net, lane, t->classifier->weights, &mode, t->lane_grad[lane]));
done:
    return status;
}

/* In item order, so that the sum has the same bits on any number of lanes. */
static dg_status commit_item(void *user, int lane, int64_t item) {
    trainer *t = user;
    const int64_t total = t->optimiser.total;
    float *sum = t->optimiser.grad;
    const float *grad = t->lane_grad[lane];
    if (item == 0)
        memcpy(sum, grad, (size_t)total * sizeof *sum);
    for (int64_t i = 0; item > 0 && i < total; i++)
        sum[i] += grad[i];
    return DG_OK;
}

static dg_status run_step(trainer *t) {
    dg_status status = DG_OK;
    const dg_training_plan *p = t->plan;
    const dg_lanes_job job = {.work = work_item, .commit = commit_item, .user = t};
    const int64_t items = p->batch / DG_CLASSIFIER_ITEM;
    double norm, loss = 0;
    if (t->step % epoch_batches(t) == 0)
        dg_draw_shuffle(p->seed, DG_DRAW_EPOCH, (uint64_t)(t->step / epoch_batches(t)), t->train->n, t->order);
    DG_TRY(dg_lanes_run(t->optimiser.lanes, items, &job));
    for (int64_t i = 0; i < items; i++)
        loss += t->losses[i];
    if (!isfinite(loss))
        DG_TRY(dg_fail(t->ctx, DG_ERUNTIME, "training a classifier: the loss is not finite at step %lld",
                       (long long)t->step));
    const dg_optimiser_step step = {.lr = p->lr * 0.5 *
                                          (1 + cos(3.14159265358979323846 * (double)t->step / (double)p->steps)),
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8,
                                    .weight_decay = 0.01,
                                    .step = t->step + 1,
                                    .max_grad_norm = 1,
                                    .grad_scale = 1};
    DG_TRY(dg_optimiser_update(&t->optimiser, &step, &norm));
    t->step++;
done:
    return status;
}

/* ---- choosing the weights ---- */

static dg_status check_weights(trainer *t) {
    dg_status status = DG_OK;
    const int64_t classes = t->classifier->config.classes;
    int64_t correct = 0;
    DG_TRY(dg_classifier_predict(t->classifier, t->validation, t->probabilities));
    for (int64_t i = 0; i < t->validation->n; i++) {
        const float *p = t->probabilities + i * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            best = p[c] > p[best] ? c : best;
        correct += best == t->validation->list[i].label;
    }
    const double accuracy = (double)correct / (double)t->validation->n;
    if (accuracy > t->best_accuracy) {
        t->best_accuracy = accuracy;
        memcpy(t->best, t->classifier->weights, (size_t)t->optimiser.total * sizeof *t->best);
    }
done:
    return status;
}

static dg_status restore_best(trainer *t) {
    memcpy(t->classifier->weights, t->best, (size_t)t->optimiser.total * sizeof *t->best);
    return dg_optimiser_pack(t->classifier->net, t->optimiser.lanes, t->classifier->weights);
}

/* ---- the whole ---- */

static dg_status backend_floats(trainer *t, const char *what, float **out) {
    void *memory = NULL;
    const dg_status status =
        t->optimiser.backend->alloc(t->ctx, (size_t)t->optimiser.total * sizeof(float), what, &memory);
    *out = memory;
    return status;
}

static dg_status create_classifier(dg_ctx *ctx, int lanes, const dg_classifier_config *config, uint64_t seed,
                                   dg_classifier **out) {
    dg_status status = DG_OK;
    dg_classifier *c = NULL;
    void *memory;
    DG_TRY(dg_alloc(ctx, &c, 1, sizeof *c, "a classifier"));
    *c = (dg_classifier){.ctx = ctx, .backend = dg_backend_cpu(), .config = *config, .lanes = lanes};
    const dg_net_options options = {.backend = c->backend,
                                    .n = DG_CLASSIFIER_ITEM,
                                    .h = config->h,
                                    .w = config->w,
                                    .training = true,
                                    .lanes = lanes};
    DG_TRY(dg_net_create_classifier(ctx, config, &options, &c->net));
    DG_TRY(dg_net_allocate(c->net));
    DG_TRY(c->backend->alloc(ctx, (size_t)dg_classifier_weight_count(c) * sizeof(float), "a classifier", &memory));
    c->weights = memory;
    dg_params_init(&dg_net_graph(c->net)->params, seed, c->weights);
    DG_TRY(dg_optimiser_pack(c->net, lanes, c->weights));
    *out = c;
    c = NULL;
done:
    dg_classifier_free(c);
    return status;
}

static dg_status create_trainer(trainer *t) {
    dg_status status = DG_OK;
    dg_classifier *c = t->classifier;
    dg_optimiser *o = &t->optimiser;
    *o = (dg_optimiser){.backend = c->backend,
                        .net = c->net,
                        .lanes = c->lanes,
                        .total = dg_classifier_weight_count(c),
                        .weights = c->weights};
    DG_TRY(backend_floats(t, "a classifier's moments", &o->m));
    DG_TRY(backend_floats(t, "a classifier's moments", &o->v));
    DG_TRY(backend_floats(t, "a classifier's gradient", &o->grad));
    DG_TRY(backend_floats(t, "a classifier's best weights", &t->best));
    DG_TRY(dg_optimiser_create_scratch(t->ctx, o));
    DG_TRY(dg_alloc(t->ctx, &t->lane_grad, (size_t)c->lanes, sizeof *t->lane_grad, "gradients"));
    for (int i = 0; i < c->lanes; i++)
        DG_TRY(backend_floats(t, "a classifier's gradient", &t->lane_grad[i]));
    DG_TRY(dg_alloc(t->ctx, &t->order, (size_t)t->train->n, sizeof *t->order, "an epoch's order"));
    DG_TRY(dg_alloc(t->ctx, &t->losses, (size_t)(t->plan->batch / DG_CLASSIFIER_ITEM), sizeof *t->losses, "losses"));
    DG_TRY(dg_alloc(t->ctx, &t->probabilities, (size_t)(t->validation->n * c->config.classes) + 1, sizeof(float),
                    "predictions"));
done:
    return status;
}

static void free_trainer(trainer *t) {
    const dg_backend *backend = t->optimiser.backend;
    if (!backend)
        return;
    for (int i = 0; t->lane_grad && i < t->optimiser.lanes; i++)
        backend->free(t->lane_grad[i]);
    free(t->lane_grad);
    dg_optimiser_free_scratch(&t->optimiser);
    backend->free(t->optimiser.m);
    backend->free(t->optimiser.v);
    backend->free(t->optimiser.grad);
    backend->free(t->best);
    free(t->order);
    free(t->losses);
    free(t->probabilities);
}

dg_status dg_classifier_train(dg_ctx *ctx, int lanes, const dg_classifier_config *config, const dg_training_plan *plan,
                              const dg_examples *train, const dg_examples *validation,
                              dg_classifier_progress_fn progress, void *user, dg_classifier **out) {
    dg_status status = DG_OK;
    dg_classifier *c = NULL;
    trainer t = {.ctx = ctx, .plan = plan, .train = train, .validation = validation, .best_accuracy = -1};
    const int64_t every = plan->checks > 0 && plan->steps > plan->checks ? plan->steps / plan->checks : plan->steps;
    if (train->n < 1)
        DG_TRY(dg_fail(ctx, DG_EDATA, "a classifier cannot be trained on no images"));
    DG_TRY(create_classifier(ctx, lanes, config, plan->seed, &c));
    t.classifier = c;
    DG_TRY(create_trainer(&t));
    while (t.step < plan->steps) {
        if (dg_ctx_stop_requested(ctx))
            DG_TRY(dg_fail(ctx, DG_EINTERRUPTED, "stopped while training a classifier"));
        DG_TRY(run_step(&t));
        if (validation->n > 0 && (t.step % every == 0 || t.step == plan->steps))
            DG_TRY(check_weights(&t));
        if (progress)
            progress(user, t.step, plan->steps);
    }
    if (validation->n > 0)
        DG_TRY(restore_best(&t));
    *out = c;
    c = NULL;
done:
    free_trainer(&t);
    dg_classifier_free(c);
    return status;
}
