#include "classify/classifier_internal.h"
#include "nn/lanes.h"
#include "nn/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t dg_classifier_weight_count(const dg_classifier *c) {
    return dg_net_graph(c->net)->params.total;
}

/* Where pixel (y, x) of the turned image lies in the one that is stored. */
static int64_t turned(const dg_image_set *set, int quarter_turns, int64_t y, int64_t x) {
    const int64_t last = set->w - 1;
    switch (quarter_turns) {
    case 1:
        return x * set->w + (last - y);
    case 2:
        return (last - y) * set->w + (last - x);
    case 3:
        return (last - x) * set->w + y;
    default:
        return y * set->w + x;
    }
}

void dg_example_read(const dg_example *e, float *out) {
    const dg_image_set *s = e->set;
    const void *pixels = dg_image_set_pixels(s, e->image);
    const uint8_t *narrow = pixels;
    const uint16_t *wide = pixels;
    const float scale = s->bits == 16 ? 2.0f / 65535 : 2.0f / 255;
    for (int64_t y = 0; y < s->h; y++)
        for (int64_t x = 0; x < s->w; x++) {
            const int64_t from = turned(s, e->quarter_turns, y, x) * s->channels;
            for (int c = 0; c < s->channels; c++)
                *out++ = (float)(s->bits == 16 ? wide[from + c] : narrow[from + c]) * scale - 1;
        }
}

void dg_softmax(int64_t classes, const float *logits, float *probabilities) {
    float most = logits[0], sum = 0;
    for (int64_t c = 1; c < classes; c++)
        most = logits[c] > most ? logits[c] : most;
    for (int64_t c = 0; c < classes; c++)
        sum += probabilities[c] = expf(logits[c] - most);
    for (int64_t c = 0; c < classes; c++)
        probabilities[c] /= sum;
}

/* A forward pass over all examples, DG_CLASSIFIER_ITEM at a time. */
typedef struct pass {
    dg_classifier *classifier;
    dg_net *net;
    const dg_examples *examples;
    int64_t width; /* numbers per image */
    bool softmax;
    float *out;
} pass;

static dg_status forward_item(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    const pass *p = user;
    const dg_net_io *io = dg_net_lane(p->net, lane);
    const int64_t first = item * DG_CLASSIFIER_ITEM, left = p->examples->n - first;
    const int64_t rows = left < DG_CLASSIFIER_ITEM ? left : DG_CLASSIFIER_ITEM;
    const int64_t elements = dg_tensor_count(&io->x) / DG_CLASSIFIER_ITEM;
    float *x = io->x.data;
    const float *y = io->y.data;
    if (dg_ctx_stop_requested(p->classifier->ctx))
        DG_TRY(dg_fail(p->classifier->ctx, DG_EINTERRUPTED, "stopped while classifying images"));
    for (int64_t i = 0; i < rows; i++)
        dg_example_read(&p->examples->list[first + i], x + i * elements);
    memset(x + rows * elements, 0, (size_t)((DG_CLASSIFIER_ITEM - rows) * elements) * sizeof *x);
    DG_TRY(dg_net_forward(p->net, lane, p->classifier->weights, false));
    for (int64_t i = 0; i < rows; i++) {
        float *to = p->out + (first + i) * p->width;
        if (p->softmax)
            dg_softmax(p->width, y + i * p->width, to);
        else
            memcpy(to, y + i * p->width, (size_t)p->width * sizeof *to);
    }
done:
    return status;
}

static dg_status run(pass *p) {
    const dg_lanes_job job = {.work = forward_item, .user = p};
    return dg_lanes_run(p->classifier->lanes, (p->examples->n + DG_CLASSIFIER_ITEM - 1) / DG_CLASSIFIER_ITEM, &job);
}

dg_status dg_classifier_predict(dg_classifier *c, const dg_examples *examples, float *probabilities) {
    pass p = {c, c->net, examples, c->config.classes, true, probabilities};
    return run(&p);
}

/* The head comes last, so the weights before it lie where the shorter network expects them. */
static dg_status create_feature_net(dg_classifier *c) {
    dg_status status = DG_OK;
    dg_classifier_config config = c->config;
    const dg_net_options options = {
        .backend = c->backend, .n = DG_CLASSIFIER_ITEM, .h = config.h, .w = config.w, .lanes = c->lanes};
    config.features_only = true;
    DG_TRY(dg_net_create_classifier(c->ctx, &config, &options, &c->features));
    DG_TRY(dg_net_allocate(c->features));
    DG_TRY(dg_optimiser_pack(c->features, c->lanes, c->weights));
done:
    return status;
}

dg_status dg_classifier_features(dg_classifier *c, const dg_examples *examples, float *features) {
    if (!c->features) {
        const dg_status status = create_feature_net(c);
        if (status != DG_OK)
            return status;
    }
    pass p = {c, c->features, examples, DG_NATIVE_FEATURES, false, features};
    return run(&p);
}

void dg_classifier_free(dg_classifier *c) {
    if (!c)
        return;
    dg_net_free(c->net);
    dg_net_free(c->features);
    c->backend->free(c->weights);
    free(c);
}
