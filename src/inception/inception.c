#include "inception/inception.h"

#include "inception/walk.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static dg_status allocate_lane(dg_inception *net, dg_inception_lane *lane, int number) {
    dg_status status = DG_OK;
    void *memory;
    DG_TRY(net->backend->exec_create(net->ctx, net->workspace_bytes, &lane->exec));
    lane->exec.lane = number;
    DG_TRY(net->backend->alloc(net->ctx, (size_t)net->largest_patches * sizeof(float), "Inception's patches", &memory));
    lane->patches = memory;
    DG_TRY(net->backend->alloc(net->ctx, (size_t)net->largest_value * sizeof(float), "Inception's values", &memory));
    lane->product = memory;
    for (int i = 0; i < DG_INCEPTION_BUFFERS; i++) {
        DG_TRY(
            net->backend->alloc(net->ctx, (size_t)net->largest_value * sizeof(float), "Inception's values", &memory));
        lane->buffers[i] = memory;
    }
done:
    return status;
}

dg_status dg_inception_open(dg_ctx *ctx, const char *path, int lanes, dg_inception **out) {
    dg_status status = DG_OK;
    dg_inception *net = NULL;
    DG_TRY(dg_alloc(ctx, &net, 1, sizeof *net, "Inception"));
    *net = (dg_inception){.ctx = ctx, .backend = dg_backend_cpu(), .lanes = lanes};
    net->largest_value = (int64_t)DG_INCEPTION_SIDE * DG_INCEPTION_SIDE * 3;
    DG_TRY(dg_safetensors_open(ctx, path, &net->file));
    dg_inception_walk walk = {.net = net};
    DG_TRY(dg_inception_forward(&walk, NULL, NULL));
    DG_TRY(dg_alloc(ctx, &net->lane_memory, (size_t)lanes, sizeof *net->lane_memory, "Inception"));
    for (int i = 0; i < lanes; i++)
        DG_TRY(allocate_lane(net, &net->lane_memory[i], i));
    dg_safetensors_close(net->file);
    net->file = NULL;
    *out = net;
    net = NULL;
done:
    dg_inception_close(net);
    return status;
}

void dg_inception_close(dg_inception *net) {
    if (!net)
        return;
    for (int i = 0; net->lane_memory && i < net->lanes; i++) {
        dg_inception_lane *lane = &net->lane_memory[i];
        net->backend->exec_free(&lane->exec);
        net->backend->free(lane->patches);
        net->backend->free(lane->product);
        for (int k = 0; k < DG_INCEPTION_BUFFERS; k++)
            net->backend->free(lane->buffers[k]);
    }
    free(net->lane_memory);
    for (int i = 0; i < net->count; i++) {
        dg_plan_free(net->layers[i].plan);
        net->backend->free(net->layers[i].packed);
        free(net->layers[i].bias);
    }
    dg_safetensors_close(net->file);
    free(net);
}

/* ---- images ---- */

/* Where output pixel i falls in the source: its two neighbours and the weight of the second. */
static void source_of(int i, int size, dg_inception_input input, int *first, int *second, float *weight) {
    const float scale = (float)size / DG_INCEPTION_SIDE;
    float at = input == DG_INCEPTION_PYTORCH_FID ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale;
    at = at < 0 ? 0 : at;
    *first = (int)at < size - 1 ? (int)at : size - 1;
    *second = *first + 1 < size ? *first + 1 : *first;
    *weight = at - (float)*first;
}

/* pixels: the image in 0..1. */
static void resize(const float *pixels, const dg_image_set *set, dg_inception_input input, float *out) {
    for (int y = 0; y < DG_INCEPTION_SIDE; y++) {
        int y0, y1, x0, x1;
        float wy, wx;
        source_of(y, set->h, input, &y0, &y1, &wy);
        for (int x = 0; x < DG_INCEPTION_SIDE; x++) {
            source_of(x, set->w, input, &x0, &x1, &wx);
            for (int c = 0; c < 3; c++) {
                const int channel = set->channels == 1 ? 0 : c, n = set->channels;
                const float a = pixels[(y0 * set->w + x0) * n + channel], b = pixels[(y0 * set->w + x1) * n + channel],
                            d = pixels[(y1 * set->w + x0) * n + channel], e = pixels[(y1 * set->w + x1) * n + channel];
                const float top = a + (b - a) * wx, bottom = d + (e - d) * wx, v = top + (bottom - top) * wy;
                *out++ = input == DG_INCEPTION_PYTORCH_FID ? 2 * v - 1 : (255 * v - 128) / 128;
            }
        }
    }
}

typedef struct job {
    dg_inception *net;
    const dg_image_set *set;
    dg_inception_input input;
    void (*progress)(void *user, int64_t done, int64_t total);
    void *user;
    float *features;
} job;

static dg_status work(void *user, int lane, int64_t i) {
    const job *j = user;
    dg_inception_lane *memory = &j->net->lane_memory[lane];
    dg_inception_walk walk = {.net = j->net, .lane = memory};
    if (dg_ctx_stop_requested(j->net->ctx))
        return dg_fail(j->net->ctx, DG_EINTERRUPTED, "stopped while Inception looked at images");
    dg_image_set_read(j->set, i, memory->product);
    resize(memory->product, j->set, j->input, memory->buffers[0]);
    const dg_status status = dg_inception_forward(&walk, memory->buffers[0], j->features + i * DG_INCEPTION_FEATURES);
    if (status == DG_OK && lane == 0 && j->progress)
        j->progress(j->user, i + 1, j->set->n);
    return status;
}

dg_status dg_inception_features(dg_inception *net, const dg_image_set *set, dg_inception_input input,
                                void (*progress)(void *user, int64_t done, int64_t total), void *user,
                                float *features) {
    job j = {net, set, input, progress, user, features};
    const dg_lanes_job lanes = {.work = work, .user = &j};
    return dg_lanes_run(net->lanes, set->n, &lanes);
}
