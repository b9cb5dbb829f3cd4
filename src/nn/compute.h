/* Where and how a job computes: the backend, the precision and the number of lanes that its options stand for. */
#ifndef DG_NN_COMPUTE_H
#define DG_NN_COMPUTE_H

#include "comm/comm.h"
#include "core/json.h"
#include "kernels/backend.h"

/* In the order of the words that the options take: auto|cpu|cuda and auto|fp32|tf32|bf16. */
typedef enum dg_device_choice { DG_DEVICE_AUTO, DG_DEVICE_CPU, DG_DEVICE_CUDA } dg_device_choice;
typedef enum dg_precision_choice {
    DG_PRECISION_CHOICE_AUTO,
    DG_PRECISION_CHOICE_FP32,
    DG_PRECISION_CHOICE_TF32,
    DG_PRECISION_CHOICE_BF16
} dg_precision_choice;

typedef struct dg_compute {
    const dg_backend *backend;
    dg_precision precision;
    int lanes;                /* CPU: threads; CUDA: 1, a stream */
    int threads;              /* CPU threads for what surrounds it, such as decoding images */
    dg_library_use libraries; /* off until dg_compute_use_libraries */
} dg_compute;

/* Device auto: a GPU if there is one, else the CPU. Precision auto: bf16 on a GPU, fp32 on the CPU.
 * in    threads 0 = auto (dg_lanes_default)
 * err   DG_EDEVICE --device cuda and no GPU to be had (the text says why); a precision that the device lacks */
DG_MUST_CHECK dg_status dg_compute_open(dg_ctx *ctx, dg_device_choice device, dg_precision_choice precision,
                                        int threads, dg_compute *out);
/* The same for one of several ranks: ranks on one machine take a GPU each, and share its processors.
 * err   also DG_EDEVICE more ranks on this machine than GPUs that it shows them */
DG_MUST_CHECK dg_status dg_compute_open_rank(dg_ctx *ctx, const dg_comm *comm, dg_device_choice device,
                                             dg_precision_choice precision, int threads, dg_compute *out);
/* What --libraries says, for a compute that is open; auto means off where there is nothing to choose from.
 * err   DG_EDEVICE DG_LIBRARIES_ALWAYS on a backend that has none; DG_EUSAGE the same at another precision than bf16 */
DG_MUST_CHECK dg_status dg_compute_use_libraries(dg_ctx *ctx, dg_library_use use, dg_compute *compute);
/* The libraries that --libraries may take on a GPU: [{"name", "version": null or a text, "why_not": null or a
 * sentence}], a new reference. */
json_t *dg_compute_libraries(void);
const char *dg_precision_name(dg_precision precision);

#endif
