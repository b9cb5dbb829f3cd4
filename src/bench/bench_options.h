/* What `diffgen bench` can be told: the filled struct and its table. */
#ifndef DG_BENCH_BENCH_OPTIONS_H
#define DG_BENCH_BENCH_OPTIONS_H

#include "core/options.h"
#include "nn/compute.h"

typedef struct dg_bench_options {
    char *model;        /* preset name, preset file, model folder or run folder */
    char *op;           /* only ops whose name holds this text; NULL = all */
    int64_t resolution; /* 0 = the model's own */
    int64_t batch;      /* 0 = auto */
    double seconds;     /* to measure each part for */
    dg_device_choice device;
    dg_precision_choice precision;
    dg_library_use libraries;
    int64_t threads; /* 0 = auto */
    bool recompute;
    bool dp;
    bool json;
} dg_bench_options;

extern const dg_option_table dg_bench_option_table;

#endif
