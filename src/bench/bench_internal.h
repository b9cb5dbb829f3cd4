/* What the parts of the benchmark share. Private to the room. */
#ifndef DG_BENCH_BENCH_INTERNAL_H
#define DG_BENCH_BENCH_INTERNAL_H

#include "bench/bench.h"
#include "diffusion/schedule.h"
#include "train/step.h"

enum { DG_BENCH_WINDOWS = 512 }; /* later ones replace the oldest */

typedef struct dg_bench {
    dg_ctx *ctx;
    const dg_bench_options *options;
    const dg_backend *backend;
    dg_precision precision;
    dg_library_use libraries;
    char *name;
    dg_unet_config config;
    dg_scheduler_config scheduler;
    dg_noise_schedule schedule;
    int64_t h, w, batch;
    int lanes;
    double peak_gflops; /* best window of all */
    struct dg_bench_peak *peak;
    double windows[DG_BENCH_WINDOWS]; /* the windows of the phase that is being measured, GFLOP/s */
    int window_count;
} dg_bench;

/* The convolution rate that ours is held against, all lanes together: 3x3 convolutions, forward, each lane its own data
 * in its cache. Of three shapes the fastest is kept. A machine's clock drifts by a third within a minute where others
 * share it, so every phase takes windows of 0.1 s all along and is compared with their median.
 * Order: create -> per phase: begin_phase, any number of windows, phase_gflops -> free. */
DG_MUST_CHECK dg_status dg_bench_peak_create(dg_bench *bench);
void dg_bench_peak_free(dg_bench *bench);
void dg_bench_peak_begin_phase(dg_bench *bench);
DG_MUST_CHECK dg_status dg_bench_peak_window(dg_bench *bench);
double dg_bench_phase_gflops(dg_bench *bench);
/* out   *section the "train" / "sample" object; rows are appended to ops */
DG_MUST_CHECK dg_status dg_bench_train(dg_bench *bench, json_t **section, json_t **ops);
DG_MUST_CHECK dg_status dg_bench_recompute(dg_bench *bench, json_t **section);
DG_MUST_CHECK dg_status dg_bench_dp(dg_bench *bench, json_t **section);
/* Whether --op asks for convolutions, on a backend that has libraries to compare with. */
bool dg_bench_wants_conv2d(const dg_bench *bench);
DG_MUST_CHECK dg_status dg_bench_conv2d(dg_bench *bench, json_t **section);
DG_MUST_CHECK dg_status dg_bench_sample(dg_bench *bench, json_t **section, json_t **ops);

/* What the model is trained to predict. */
dg_training_config dg_bench_training(const dg_bench *bench);
/* A stepper with random weights, ready to step; the options of an ordinary one as training would choose them. */
dg_stepper_options dg_bench_stepper_options(const dg_bench *bench, bool recompute);
DG_MUST_CHECK dg_status dg_bench_create_stepper(dg_bench *bench, const dg_stepper_options *options, dg_stepper **out);

typedef struct dg_bench_contender {
    dg_stepper *stepper;
    int64_t images; /* of a step */
    double grad_scale;
    double step_ms; /* out: the median */
} dg_bench_contender;
/* Steps in turn, one each a round, for about 2 * options->seconds. */
DG_MUST_CHECK dg_status dg_bench_contest(dg_bench *bench, dg_bench_contender *contenders, int count, int *rounds);

/* Of a node's passes; the last only where the backward computes values again. */
enum { DG_BENCH_FORWARD, DG_BENCH_BACKWARD, DG_BENCH_AGAIN, DG_BENCH_DIRECTIONS };

/* Per-lane profiles of a net, and the table made of them. Order: start -> passes -> rows -> free. */
typedef struct dg_bench_profile {
    dg_net *net;
    int lanes;
    double *seconds; /* [lanes][DG_BENCH_DIRECTIONS][nodes] */
} dg_bench_profile;
DG_MUST_CHECK dg_status dg_bench_profile_start(dg_ctx *ctx, dg_net *net, int lanes, dg_bench_profile *out);
/* Appends one row per kind and shape of op, slowest first. images: how many each forward pass of `seconds` saw in all;
 * passes: how many network passes (steps of a batch) they are to be divided by; wall: their seconds together. */
DG_MUST_CHECK dg_status dg_bench_profile_rows(dg_bench *bench, const dg_bench_profile *profile, const char *phase,
                                              int64_t images, int64_t passes, double wall, json_t **ops);
void dg_bench_profile_free(dg_bench_profile *profile);

/* FLOPs of one image that are really executed: nearest-neighbour upsampling in front of a 3x3 convolution is taken
 * apart into four 2x2 convolutions, 4/9 of the nominal count. training: forward and both backward passes. */
double dg_bench_node_flops(const dg_graph *graph, int node, bool executed, bool backward);
double dg_bench_flops(const dg_graph *graph, bool executed, bool training);
/* Those of the values that the backward pass computes again. */
double dg_bench_again_flops(const dg_net *net);

#endif
