#include "nn/compute.h"

#include "nn/lanes.h"

#include <stdlib.h>

const char *dg_precision_name(dg_precision precision) {
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    return names[precision];
}

/* The GPU of a rank. Where each rank is shown one GPU, as Slurm can do it, it is number 0 for all of them. */
json_t *dg_compute_libraries(void) {
    dg_library_info info[DG_CUDA_LIBRARIES];
    json_t *libraries = json_array();
    const int count = dg_cuda_libraries(info);
    for (int i = 0; i < count; i++)
        dg_json_append(&libraries, json_pack("{s:s, s:s?, s:s?}", "name", info[i].name, "version",
                                             *info[i].version ? info[i].version : NULL, "why_not",
                                             *info[i].why_not ? info[i].why_not : NULL));
    return libraries;
}

dg_status dg_compute_use_libraries(dg_ctx *ctx, dg_library_use use, dg_compute *compute) {
    const bool has = compute->backend->libraries_open != NULL, bf16 = compute->precision == DG_PRECISION_BF16;
    if (use == DG_LIBRARIES_ALWAYS && !has)
        return dg_fail(ctx, DG_EDEVICE, "--libraries always: cuDNN and cuBLASLt compute on a GPU, not on the %s",
                       compute->backend->name);
    if (use == DG_LIBRARIES_ALWAYS && !bf16)
        return dg_fail(ctx, DG_EUSAGE,
                       "--libraries always needs --precision bf16, not %s: the libraries' %s is not ours",
                       dg_precision_name(compute->precision), dg_precision_name(compute->precision));
    compute->libraries = has && bf16 ? use : DG_LIBRARIES_OFF;
    return DG_OK;
}

static dg_status open_gpu(dg_ctx *ctx, const dg_comm *comm, const dg_backend **out) {
    char why[160];
    const int gpus = dg_cuda_devices(why, sizeof why), rank = dg_comm_local_rank(comm);
    if (gpus > 1 && rank >= gpus)
        return dg_fail(ctx, DG_EDEVICE, "%d ranks on this machine, but it has %d GPUs; start at most a rank for each",
                       dg_comm_local_size(comm), gpus);
    return dg_backend_cuda(ctx, gpus > 1 ? rank : 0, out);
}

static dg_status choose_backend(dg_ctx *ctx, const dg_comm *comm, dg_device_choice device, const dg_backend **out) {
    *out = dg_backend_cpu();
    if (device == DG_DEVICE_CPU)
        return DG_OK;
    const dg_status status = open_gpu(ctx, comm, out);
    if (status == DG_EDEVICE && device == DG_DEVICE_AUTO) {
        dg_ctx_clear_error(ctx);
        *out = dg_backend_cpu();
        return DG_OK;
    }
    return status;
}

/* OMP_NUM_THREADS speaks of one rank; the processors are those of all ranks that the launcher did not bind. */
static int threads_of(const dg_comm *comm, int requested) {
    const int threads = dg_lanes_default(requested);
    if (requested > 0 || getenv("OMP_NUM_THREADS"))
        return threads;
    const int share = threads / dg_comm_sharers(comm);
    return share > 0 ? share : 1;
}

dg_status dg_compute_open(dg_ctx *ctx, dg_device_choice device, dg_precision_choice precision, int threads,
                          dg_compute *out) {
    return dg_compute_open_rank(ctx, NULL, device, precision, threads, out);
}

dg_status dg_compute_open_rank(dg_ctx *ctx, const dg_comm *comm, dg_device_choice device, dg_precision_choice precision,
                               int threads, dg_compute *out) {
    dg_status status = DG_OK;
    *out = (dg_compute){0};
    DG_TRY(choose_backend(ctx, comm, device, &out->backend));
    out->threads = threads_of(comm, threads);
    out->lanes = out->backend->host_memory ? out->threads : 1;
    if (precision == DG_PRECISION_CHOICE_AUTO)
        out->precision = out->backend->has_bf16 ? DG_PRECISION_BF16 : DG_PRECISION_FP32;
    else
        out->precision = (dg_precision)(precision - DG_PRECISION_CHOICE_FP32);
    if (out->precision != DG_PRECISION_FP32 && !out->backend->has_bf16)
        DG_TRY(dg_fail(ctx, DG_EDEVICE, "--precision %s: the %s computes in fp32 only",
                       dg_precision_name(out->precision), out->backend->name));
done:
    return status;
}
