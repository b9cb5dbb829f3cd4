#include "bench/bench_internal.h"

#include "core/text.h"
#include "nn/lanes.h"

#include <stdlib.h>

enum { WINDOWS = 5, IMAGES = 8 };
static const double window_seconds = 0.1;

typedef struct peak_lane {
    dg_exec exec;
    void *memory;
    double gflops;
} peak_lane;

typedef struct peak {
    dg_bench *bench;
    dg_conv2d_desc desc;
    dg_plan *plan;
    peak_lane *lanes;
} peak;

static double flops(const dg_conv2d_desc *d) {
    return 2.0 * (double)(d->n * d->h * d->w * d->in_c * d->out_c) * d->kernel * d->kernel;
}

/* One window on one lane: as many convolutions as fit in the time, the lane's rate. */
static dg_status window(void *user, int lane, int64_t item) {
    (void)item;
    const peak *p = user;
    dg_status status = DG_OK;
    peak_lane *l = &p->lanes[lane];
    const dg_conv2d_desc *d = &p->desc;
    const size_t activation = (size_t)(d->n * d->h * d->w * d->in_c) * sizeof(float);
    const dg_tensor x = {l->memory, DG_F32, {d->n, d->h, d->w, d->in_c}};
    const dg_tensor y = {(char *)l->memory + activation, DG_F32, {d->n, d->h, d->w, d->out_c}};
    const void *packed = (char *)l->memory + 2 * activation;
    const double start = dg_clock_seconds();
    double spent = 0;
    int64_t calls = 0;
    for (; spent < window_seconds; calls++, spent = dg_clock_seconds() - start)
        DG_TRY(p->bench->backend->ops->conv2d_fwd(&l->exec, p->plan, &x, packed, NULL, NULL, &y));
    l->gflops = (double)calls * flops(d) / spent / 1e9;
done:
    return status;
}

static dg_status allocate_lanes(peak *p) {
    dg_status status = DG_OK;
    const dg_conv2d_desc *d = &p->desc;
    const dg_backend *backend = p->bench->backend;
    const size_t bytes = 2 * (size_t)(d->n * d->h * d->w * d->in_c) * sizeof(float) + p->plan->packed_bytes;
    DG_TRY(dg_alloc(p->bench->ctx, &p->lanes, (size_t)p->bench->lanes, sizeof *p->lanes, "the peak measurement"));
    for (int i = 0; i < p->bench->lanes; i++) {
        DG_TRY(backend->alloc(p->bench->ctx, bytes, "the peak measurement", &p->lanes[i].memory));
        DG_TRY(backend->exec_create(p->bench->ctx, p->plan->workspace_bytes, &p->lanes[i].exec));
        p->lanes[i].exec.lane = i;
    }
done:
    return status;
}

static dg_status measure_shape(dg_bench *bench, int64_t channels, int64_t size) {
    dg_status status = DG_OK;
    peak p = {.bench = bench,
              .desc = {.n = IMAGES,
                       .h = size,
                       .w = size,
                       .in_c = channels,
                       .out_c = channels,
                       .kernel = 3,
                       .stride = 1,
                       .pad_begin = 1,
                       .pad_end = 1,
                       .lanes = bench->lanes}};
    const dg_lanes_job job = {.work = window, .user = &p};
    dg_exec planning = {.ctx = bench->ctx};
    DG_TRY(bench->backend->ops->conv2d_plan(&planning, &p.desc, &p.plan));
    DG_TRY(allocate_lanes(&p));
    for (int i = 0; i < WINDOWS; i++) {
        double sum = 0;
        DG_TRY(dg_lanes_run(bench->lanes, bench->lanes, &job));
        for (int lane = 0; lane < bench->lanes; lane++)
            sum += p.lanes[lane].gflops;
        bench->peak_gflops = sum > bench->peak_gflops ? sum : bench->peak_gflops;
    }
done:
    for (int i = 0; p.lanes && i < bench->lanes; i++) {
        bench->backend->exec_free(&p.lanes[i].exec);
        bench->backend->free(p.lanes[i].memory);
    }
    free(p.lanes);
    dg_plan_free(p.plan);
    return status;
}

dg_status dg_bench_peak(dg_bench *bench) {
    dg_status status = DG_OK;
    DG_TRY(measure_shape(bench, 64, 28));
    DG_TRY(measure_shape(bench, 128, 14));
    DG_TRY(measure_shape(bench, 256, 16));
done:
    return status;
}
