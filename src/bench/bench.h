/* The benchmark job: how fast this machine trains and samples a model, whole and op by op.
 * Order: dg_options_init/parse on dg_bench_option_table -> dg_bench_run -> json_decref. */
#ifndef DG_BENCH_BENCH_H
#define DG_BENCH_BENCH_H

#include "bench/bench_options.h"

/* Measures for about 2 * options->seconds plus set-up; runs dg_options_check itself.
 * out   *result new reference:
 *   {"device":  {"name", "instruction_set", "threads", "peak_gflops"},
 *    "model":   {"name", "height", "width", "channels", "num_classes", "parameters", "flops_per_image"},
 *    "train":   {"batch", "steps", "step_ms", "images_per_second", "gflops", "executed_gflops", "peak_gflops",
 *                "peak_fraction", "wait_ms", "planned_bytes", "activation_bytes"},
 *    "sample":  {"batch", "steps", "forward_ms", "images_per_second", "gflops", "executed_gflops",
 *                "peak_gflops", "peak_fraction"},
 *    "recompute": {"rounds", "step_ms", "ordinary_step_ms", "time_ratio", "activation_bytes",
 *                "ordinary_activation_bytes", "activation_ratio", "planned_bytes", "ordinary_planned_bytes"},
 *    "dp":      [{"noise_multiplicity", "examples", "rounds", "pass_ms", "ordinary_pass_ms", "time_ratio",
 *                 "planned_bytes", "memory_ratio"}],
 *    "ops":     [{"name", "phase": "train"|"sample", "calls", "ms", "share", "gflops", "peak_fraction"}]}
 *   device.peak_gflops: best convolution window of all; in a phase: the median window of those taken during it, which
 *   peak_fraction compares executed_gflops with.
 *   ops: calls and ms per step, share of the step's time; gflops and peak_fraction null for ops without arithmetic
 *   worth counting. flops_per_image: one forward pass. train.wait_ms: per step, spent waiting for images.
 *   sample.steps: the steps per image that images_per_second assumes.
 *   recompute: with options->recompute only, as train then is; the ratios are to the ordinary step.
 *   dp: with options->dp only; a pass is one image through the network and back, the ratios are to the ordinary step.
 *   conv2d: with options->op "conv2d" on a GPU only:
 *    {"batch", "libraries": [{"name", ...}], "forward", "data_gradient", "parameter_gradient":
 *     [{"shape", "calls", "ours_ms", "library", "library_ms", "ratio", "auto", "note"}],
 *     "step": [{"pass", "ours_ms", "auto_ms"}]}
 *    in bf16, whatever the precision; slowest first; ms of one call; ratio: ours to the library's; auto: what
 * --libraries auto takes; step: sums over the calls of a training step. err   DG_EUSAGE, DG_ENOINPUT, DG_ECONFIG,
 * DG_EDATA, DG_EDEVICE, DG_ENOMEM, DG_EINTERRUPTED */
DG_MUST_CHECK dg_status dg_bench_run(dg_ctx *ctx, const dg_bench_options *options, json_t **result);

#endif
