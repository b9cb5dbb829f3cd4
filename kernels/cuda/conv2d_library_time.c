/* conv2d by a library: trying it and timing it, beside our own kernels on the same operands. */
#include "kernels/cuda/conv2d_library_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A library has to be faster by as much as two timings of one kernel differ. */
static const double margin = 0.97;
enum { BATCHES = 3, MOST_RUNS = 100, ALIGNMENT = 256 };
static const double batch_ms = 2.0;

typedef struct operands {
    char *x, *y, *residual, *packed, *library_packed, *bias, *dweight, *dbias, *workspace;
} operands;

struct conv2d_trial {
    const conv2d_library *l;
    const dg_plan *own;
    dg_exec exec;
    cudaEvent_t from, to;
    char *memory;
    operands at;
};

/* ---- operands ---- */

static char *take(char *memory, size_t *used, size_t bytes) {
    char *at = memory ? memory + *used : NULL;
    *used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

/* The most that any candidate of any role may ask for: engines are found after the memory is there. */
static size_t workspace_bytes(const conv2d_library *l, const dg_plan *own) {
    const size_t bias = ((size_t)l->desc.out_c * sizeof(uint16_t) + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    const int64_t pixels = l->desc.n * l->out_h * l->out_w;
    const size_t dbias = (size_t)dg_conv2d_library_dbias_scratch(pixels, l->desc.out_c) * sizeof(float);
    size_t most = bias + ALIGNMENT + DG_LIBRARY_WORKSPACE;
    most = dbias > most ? dbias : most;
    return own->workspace_bytes > most ? own->workspace_bytes : most;
}

/* Lays the operands out from `memory` on; returns the bytes they take together. */
static size_t lay_out(const conv2d_library *l, const dg_plan *own, char *memory, operands *at) {
    const dg_conv2d_desc *d = &l->desc;
    const int scale = d->upsample ? 2 : 1;
    const size_t half = sizeof(uint16_t), in = (size_t)(d->n * d->h * d->w * d->in_c) * half;
    const size_t out = (size_t)(d->n * (d->upsample ? scale * d->h * scale * d->w : l->out_h * l->out_w) * d->out_c);
    const size_t weights = (size_t)(d->out_c * d->in_c * d->kernel * d->kernel);
    size_t used = 0;
    at->x = take(memory, &used, in);
    at->y = take(memory, &used, out * half);
    at->residual = take(memory, &used, d->residual ? out * half : 0);
    at->packed = take(memory, &used, own->packed_bytes);
    at->library_packed = take(memory, &used, weights * half);
    at->bias = take(memory, &used, (size_t)d->out_c * sizeof(float));
    at->dweight = take(memory, &used, weights * sizeof(float));
    at->dbias = take(memory, &used, (size_t)d->out_c * sizeof(float));
    at->workspace = take(memory, &used, workspace_bytes(l, own));
    return used;
}

static dg_status failed(dg_ctx *ctx, const char *what) {
    return dg_fail(ctx, DG_EDEVICE, "CUDA: %s: %s", what, cudaGetErrorString(cudaGetLastError()));
}

dg_status dg_conv2d_trial_open(const conv2d_library *l, const dg_plan *own, conv2d_trial **out,
                               char why[DG_LIBRARY_WHY]) {
    dg_status status = DG_OK;
    dg_ctx *ctx = l->libraries->ctx;
    conv2d_trial *t = NULL;
    cudaStream_t stream = NULL;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &t, 1, sizeof *t, "the trial of a convolution"));
    t->l = l;
    t->own = own;
    t->exec.ctx = ctx;
    const size_t bytes = lay_out(l, own, NULL, &t->at);
    if (cudaMalloc((void **)&t->memory, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        t->memory = NULL;
        snprintf(why, DG_LIBRARY_WHY, "the GPU has no %zu MiB for its operands", bytes >> 20);
        goto done;
    }
    (void)lay_out(l, own, t->memory, &t->at);
    if (cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess)
        DG_TRY(failed(ctx, "a stream"));
    t->exec = (dg_exec){
        .ctx = ctx, .workspace = t->at.workspace, .workspace_bytes = workspace_bytes(l, own), .queue = stream};
    /* As bf16 0.0115 and as float nearly so: no zeros, which would keep the GPU cool. */
    if (cudaMemsetAsync(t->memory, 0x3c, bytes, stream) != cudaSuccess || cudaEventCreate(&t->from) != cudaSuccess ||
        cudaEventCreate(&t->to) != cudaSuccess || cudaStreamSynchronize(stream) != cudaSuccess)
        DG_TRY(failed(ctx, "the operands of a trial"));
    *out = t;
    t = NULL;
done:
    dg_conv2d_trial_close(t);
    return status;
}

void dg_conv2d_trial_close(conv2d_trial *t) {
    if (!t)
        return;
    if (t->from)
        cudaEventDestroy(t->from);
    if (t->to)
        cudaEventDestroy(t->to);
    if (t->exec.queue)
        cudaStreamDestroy((cudaStream_t)t->exec.queue);
    cudaFree(t->memory);
    free(t);
}

/* ---- runs ---- */

static dg_status call_own(conv2d_trial *t, dg_library_role role) {
    const dg_conv2d_desc *d = &t->l->desc;
    const int64_t h = d->upsample ? 2 * d->h : t->l->out_h, w = d->upsample ? 2 * d->w : t->l->out_w;
    const dg_tensor x = {.data = t->at.x, .dtype = DG_BF16, .dims = {d->n, d->h, d->w, d->in_c}},
                    y = {.data = t->at.y, .dtype = DG_BF16, .dims = {d->n, h, w, d->out_c}};
    const dg_tensor residual = {.data = t->at.residual, .dtype = DG_BF16, .dims = {d->n, h, w, d->out_c}};
    const dg_param_grad sum = {.mode = DG_GRAD_SUM};
    if (role == DG_ROLE_FWD)
        return dg_cuda_ops.conv2d_fwd(&t->exec, t->own, &x, t->at.packed, (const float *)t->at.bias,
                                      d->residual ? &residual : NULL, &y);
    if (role == DG_ROLE_BWD_DATA)
        return dg_cuda_ops.conv2d_bwd_data(&t->exec, t->own, &y, t->at.packed, &x, false);
    return dg_cuda_ops.conv2d_bwd_params(&t->exec, t->own, &sum, &x, &y, (float *)t->at.dweight, (float *)t->at.dbias);
}

static bool call_library(conv2d_trial *t, dg_library_role role, int candidate, char why[DG_LIBRARY_WHY]) {
    const dg_library_call call = {.x = t->at.x,
                                  .y = t->at.y,
                                  .residual = t->l->desc.residual ? t->at.residual : NULL,
                                  .weight = t->at.library_packed,
                                  .dweight = t->at.dweight};
    return dg_conv2d_library_run(&t->exec, t->l, role, candidate, call, (const float *)t->at.bias,
                                 t->l->desc.bias ? (float *)t->at.dbias : NULL, why);
}

enum { OURS = -1 };

/* candidate OURS: our own kernels. */
static bool call(conv2d_trial *t, dg_library_role role, int candidate, char why[DG_LIBRARY_WHY]) {
    if (candidate != OURS)
        return call_library(t, role, candidate, why);
    if (call_own(t, role) == DG_OK)
        return true;
    snprintf(why, DG_LIBRARY_WHY, "%.150s", dg_last_error(t->exec.ctx));
    return false;
}

static bool wait_for(conv2d_trial *t, char why[DG_LIBRARY_WHY]) {
    const cudaError_t error = cudaStreamSynchronize((cudaStream_t)t->exec.queue);
    if (error != cudaSuccess)
        snprintf(why, DG_LIBRARY_WHY, "it failed while it ran: %s", cudaGetErrorString(error));
    return error == cudaSuccess;
}

bool dg_conv2d_trial_run(conv2d_trial *t, dg_library_role role, int candidate, char why[DG_LIBRARY_WHY]) {
    return call(t, role, candidate, why) && wait_for(t, why);
}

/* Milliseconds of one of `runs` in a row. */
static bool time_runs(conv2d_trial *t, dg_library_role role, int candidate, int runs, double *ms,
                      char why[DG_LIBRARY_WHY]) {
    cudaStream_t stream = (cudaStream_t)t->exec.queue;
    float elapsed = 0;
    bool good = cudaEventRecord(t->from, stream) == cudaSuccess;
    for (int i = 0; good && i < runs; i++)
        good = call(t, role, candidate, why);
    good = good && cudaEventRecord(t->to, stream) == cudaSuccess && wait_for(t, why) &&
           cudaEventElapsedTime(&elapsed, t->from, t->to) == cudaSuccess;
    *ms = (double)elapsed / runs;
    return good;
}

/* The best of a few batches, each long enough for the clock. */
static bool time_role(conv2d_trial *t, dg_library_role role, int candidate, double *ms, char why[DG_LIBRARY_WHY]) {
    double once = 0, best = 0;
    if (!dg_conv2d_trial_run(t, role, candidate, why) || !time_runs(t, role, candidate, 1, &once, why))
        return false;
    const double wanted = once > 0 ? batch_ms / once : MOST_RUNS;
    const int runs = wanted < 1 ? 1 : wanted > MOST_RUNS ? MOST_RUNS : (int)wanted;
    for (int i = 0; i < BATCHES; i++) {
        double average;
        if (!time_runs(t, role, candidate, runs, &average, why))
            return false;
        best = i == 0 || average < best ? average : best;
    }
    *ms = best;
    return true;
}

dg_status dg_conv2d_trial_time(conv2d_trial *t, dg_library_role role, dg_library_choice *out,
                               char why[DG_LIBRARY_WHY]) {
    const dg_library_engine *engine = t->l->engine[role];
    char own_why[DG_LIBRARY_WHY];
    *out = (dg_library_choice){0};
    if (!time_role(t, role, OURS, &out->own_ms, own_why))
        return dg_fail(t->exec.ctx, DG_EDEVICE, "timing a convolution: %s", own_why);
    for (int i = 0; engine && i < engine->candidates; i++) {
        double ms;
        if (time_role(t, role, i, &ms, why) && (out->library_ms == 0 || ms < out->library_ms)) {
            out->library_ms = ms;
            out->candidate = i;
        }
    }
    if (out->library_ms > 0)
        snprintf(out->library, sizeof out->library, "%s", engine->library);
    out->faster = out->library_ms > 0 && out->library_ms < margin * out->own_ms && !engine->rounds_dweight;
    return DG_OK;
}
