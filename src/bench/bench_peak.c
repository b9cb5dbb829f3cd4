#include "bench/bench_internal.h"

#include "core/text.h"
#include "nn/lanes.h"

#include <stdlib.h>

enum { TRIAL_WINDOWS = 5, IMAGES = 8 };
static const double window_seconds = 0.1;

typedef struct peak_lane {
    dg_exec exec;
    void *memory;
    double gflops;
} peak_lane;

struct dg_bench_peak {
    dg_bench *bench;
    dg_conv2d_desc desc;
    dg_plan *plan;
    peak_lane *lanes;
    double best; /* GFLOP/s */
};
typedef struct dg_bench_peak peak;

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
    const dg_tensor x = {.data = l->memory, .dtype = DG_F32, .dims = {d->n, d->h, d->w, d->in_c}};
    const dg_tensor y = {.data = (char *)l->memory + activation, .dtype = DG_F32, .dims = {d->n, d->h, d->w, d->out_c}};
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

static void peak_free(peak *p) {
    if (!p)
        return;
    for (int i = 0; p->lanes && i < p->bench->lanes; i++) {
        p->bench->backend->exec_free(&p->lanes[i].exec);
        p->bench->backend->free(p->lanes[i].memory);
    }
    free(p->lanes);
    dg_plan_free(p->plan);
    free(p);
}

/* One window on all lanes at once. */
static dg_status run_window(peak *p, double *gflops) {
    dg_status status = DG_OK;
    const dg_lanes_job job = {.work = window, .user = p};
    *gflops = 0;
    DG_TRY(dg_lanes_run(p->bench->lanes, p->bench->lanes, &job));
    for (int lane = 0; lane < p->bench->lanes; lane++)
        *gflops += p->lanes[lane].gflops;
    p->best = *gflops > p->best ? *gflops : p->best;
done:
    return status;
}

/* Measures a shape, and keeps it if it is the fastest so far. */
static dg_status try_shape(dg_bench *bench, int64_t channels, int64_t size) {
    dg_status status = DG_OK;
    dg_exec planning = {.ctx = bench->ctx};
    double gflops;
    peak *p = NULL;
    DG_TRY(dg_alloc(bench->ctx, &p, 1, sizeof *p, "the peak measurement"));
    p->bench = bench;
    p->desc = (dg_conv2d_desc){.n = IMAGES,
                               .h = size,
                               .w = size,
                               .in_c = channels,
                               .out_c = channels,
                               .kernel = 3,
                               .stride = 1,
                               .pad_begin = 1,
                               .pad_end = 1,
                               .precision = bench->precision,
                               .lanes = bench->lanes};
    DG_TRY(bench->backend->ops->conv2d_plan(&planning, &p->desc, &p->plan));
    DG_TRY(allocate_lanes(p));
    for (int i = 0; i < TRIAL_WINDOWS; i++)
        DG_TRY(run_window(p, &gflops));
    if (!bench->peak || p->best > bench->peak->best) {
        peak *slower = bench->peak;
        bench->peak = p;
        p = slower;
    }
done:
    peak_free(p);
    return status;
}

dg_status dg_bench_peak_create(dg_bench *bench) {
    dg_status status = DG_OK;
    DG_TRY(try_shape(bench, 64, 28));
    DG_TRY(try_shape(bench, 128, 14));
    DG_TRY(try_shape(bench, 256, 16));
    bench->peak_gflops = bench->peak->best;
done:
    return status;
}

void dg_bench_peak_free(dg_bench *bench) {
    peak_free(bench->peak);
    bench->peak = NULL;
}

void dg_bench_peak_begin_phase(dg_bench *bench) {
    bench->window_count = 0;
}

dg_status dg_bench_peak_window(dg_bench *bench) {
    double *slot = &bench->windows[bench->window_count++ % DG_BENCH_WINDOWS];
    const dg_status status = run_window(bench->peak, slot);
    bench->peak_gflops = bench->peak->best;
    return status;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double dg_bench_phase_gflops(dg_bench *bench) {
    const int count = bench->window_count < DG_BENCH_WINDOWS ? bench->window_count : DG_BENCH_WINDOWS;
    qsort(bench->windows, (size_t)count, sizeof *bench->windows, ascending);
    return bench->windows[count / 2];
}
