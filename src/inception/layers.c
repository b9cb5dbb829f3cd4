#include "inception/walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting ---- */

/* PyTorch's [out, in, kh, kw] as [out, kh, kw, in], the order of a patch of an image with interleaved channels. */
static void reorder(const float *from, int out_c, int in_c, dg_inception_kernel k, float *to) {
    for (int o = 0; o < out_c; o++)
        for (int i = 0; i < in_c; i++)
            for (int p = 0; p < k.h * k.w; p++)
                to[((int64_t)o * k.h * k.w + p) * in_c + i] = from[((int64_t)o * in_c + i) * k.h * k.w + p];
}

static dg_status read_weights(dg_inception *net, const char *name, int in_c, dg_inception_kernel k,
                              dg_inception_layer *layer) {
    dg_status status = DG_OK;
    char tensor[128];
    const int64_t dims[4] = {layer->out_c, in_c, k.h, k.w}, count = layer->out_c * layer->patch;
    float *weight = NULL, *reordered = NULL;
    dg_exec exec = {0};
    DG_TRY(dg_alloc(net->ctx, &weight, (size_t)count, sizeof *weight, "Inception's weights"));
    DG_TRY(dg_alloc(net->ctx, &reordered, (size_t)count, sizeof *reordered, "Inception's weights"));
    DG_TRY(dg_alloc(net->ctx, &layer->bias, (size_t)layer->out_c, sizeof(float), "Inception's weights"));
    snprintf(tensor, sizeof tensor, "%s.weight", name);
    DG_TRY(dg_safetensors_read_f32(net->ctx, net->file, tensor, 4, dims, weight));
    snprintf(tensor, sizeof tensor, "%s.bias", name);
    DG_TRY(dg_safetensors_read_f32(net->ctx, net->file, tensor, 1, dims, layer->bias));
    reorder(weight, layer->out_c, in_c, k, reordered);
    DG_TRY(net->backend->exec_create(net->ctx, layer->plan->workspace_bytes, &exec));
    DG_TRY(net->backend->ops->conv2d_pack(&exec, layer->plan, reordered, layer->packed));
done:
    net->backend->exec_free(&exec);
    free(weight);
    free(reordered);
    return status;
}

static dg_status collect(dg_inception *net, const char *name, const dg_inception_value *x, dg_inception_kernel k,
                         dg_inception_layer *layer) {
    dg_status status = DG_OK;
    dg_exec exec = {.ctx = net->ctx};
    const dg_conv2d_desc desc = {.n = layer->patches,
                                 .h = 1,
                                 .w = 1,
                                 .in_c = layer->patch,
                                 .out_c = layer->out_c,
                                 .kernel = 1,
                                 .stride = 1,
                                 .bias = true,
                                 .lanes = net->lanes};
    DG_TRY(net->backend->ops->conv2d_plan(&exec, &desc, &layer->plan));
    DG_TRY(net->backend->alloc(net->ctx, layer->plan->packed_bytes, "Inception's weights", &layer->packed));
    DG_TRY(read_weights(net, name, x->c, k, layer));
    if (layer->patches * layer->patch > net->largest_patches)
        net->largest_patches = layer->patches * layer->patch;
    if (layer->plan->workspace_bytes > net->workspace_bytes)
        net->workspace_bytes = layer->plan->workspace_bytes;
done:
    return status;
}

/* ---- running ---- */

static void copy_patch(const dg_inception_value *x, dg_inception_kernel k, int top, int left, float *to) {
    for (int ky = 0; ky < k.h; ky++)
        for (int kx = 0; kx < k.w; kx++, to += x->c) {
            const int y = top + ky, at = left + kx;
            if (y < 0 || y >= x->h || at < 0 || at >= x->w)
                memset(to, 0, (size_t)x->c * sizeof *to);
            else
                memcpy(to, x->data + ((int64_t)y * x->w + at) * x->c, (size_t)x->c * sizeof *to);
        }
}

static const float *take_patches(const dg_inception_walk *walk, const dg_inception_value *x, dg_inception_kernel k,
                                 const dg_inception_value *y) {
    float *to = walk->lane->patches;
    if (k.h == 1 && k.w == 1 && k.stride == 1)
        return x->data;
    for (int oy = 0; oy < y->h; oy++)
        for (int ox = 0; ox < y->w; ox++, to += (int64_t)k.h * k.w * x->c)
            copy_patch(x, k, oy * k.stride - k.pad_h, ox * k.stride - k.pad_w, to);
    return walk->lane->patches;
}

static dg_status run(const dg_inception_walk *walk, const dg_inception_layer *layer, const dg_inception_value *x,
                     dg_inception_kernel k, dg_inception_value *y, int offset) {
    float *product = walk->lane->product;
    const dg_tensor in = {.data = (void *)(uintptr_t)take_patches(walk, x, k, y),
                          .dtype = DG_F32,
                          .dims = {layer->patches, 1, 1, layer->patch}},
                    out = {.data = product, .dtype = DG_F32, .dims = {layer->patches, 1, 1, layer->out_c}};
    const dg_status status = walk->net->backend->ops->conv2d_fwd(&walk->lane->exec, layer->plan, &in, layer->packed,
                                                                 layer->bias, NULL, &out);
    for (int64_t p = 0; p < layer->patches; p++)
        for (int c = 0; c < layer->out_c; c++)
            y->data[p * y->c + offset + c] = fmaxf(product[p * layer->out_c + c], 0);
    return status;
}

dg_status dg_inception_conv(dg_inception_walk *walk, const char *name, const dg_inception_value *x,
                            dg_inception_kernel k, int out_c, dg_inception_value *y, int offset) {
    dg_inception *net = walk->net;
    dg_inception_layer *layer = &net->layers[walk->next++];
    y->h = (x->h + 2 * k.pad_h - k.h) / k.stride + 1;
    y->w = (x->w + 2 * k.pad_w - k.w) / k.stride + 1;
    if (walk->lane)
        return run(walk, layer, x, k, y, offset);
    *layer = (dg_inception_layer){.patches = (int64_t)y->h * y->w, .patch = (int64_t)k.h * k.w * x->c, .out_c = out_c};
    net->count = walk->next;
    if (layer->patches * y->c > net->largest_value)
        net->largest_value = layer->patches * y->c;
    return collect(net, name, x, k, layer);
}

void dg_inception_max_pool(const dg_inception_walk *walk, const dg_inception_value *x, int stride,
                           dg_inception_value *y, int offset) {
    const int pad = stride == 1;
    y->h = (x->h + 2 * pad - 3) / stride + 1;
    y->w = (x->w + 2 * pad - 3) / stride + 1;
    for (int oy = 0; walk->lane && oy < y->h; oy++)
        for (int ox = 0; ox < y->w; ox++) {
            float *to = y->data + ((int64_t)oy * y->w + ox) * y->c + offset;
            for (int c = 0; c < x->c; c++)
                to[c] = -INFINITY;
            for (int p = 0; p < 9; p++) {
                const int iy = oy * stride - pad + p / 3, ix = ox * stride - pad + p % 3;
                if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w)
                    continue;
                const float *from = x->data + ((int64_t)iy * x->w + ix) * x->c;
                for (int c = 0; c < x->c; c++)
                    to[c] = from[c] > to[c] ? from[c] : to[c];
            }
        }
}

void dg_inception_average_pool(const dg_inception_walk *walk, const dg_inception_value *x, dg_inception_value *y) {
    y->h = x->h;
    y->w = x->w;
    y->c = x->c;
    for (int oy = 0; walk->lane && oy < y->h; oy++)
        for (int ox = 0; ox < y->w; ox++) {
            float *to = y->data + ((int64_t)oy * y->w + ox) * y->c;
            int count = 0;
            memset(to, 0, (size_t)x->c * sizeof *to);
            for (int p = 0; p < 9; p++) {
                const int iy = oy - 1 + p / 3, ix = ox - 1 + p % 3;
                if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w)
                    continue;
                const float *from = x->data + ((int64_t)iy * x->w + ix) * x->c;
                count++;
                for (int c = 0; c < x->c; c++)
                    to[c] += from[c];
            }
            for (int c = 0; c < x->c; c++)
                to[c] /= (float)count;
        }
}
