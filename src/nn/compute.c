#include "nn/compute.h"

#include "nn/lanes.h"

const char *dg_precision_name(dg_precision precision) {
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    return names[precision];
}

static dg_status choose_backend(dg_ctx *ctx, dg_device_choice device, const dg_backend **out) {
    *out = dg_backend_cpu();
    if (device == DG_DEVICE_CPU)
        return DG_OK;
    const dg_status status = dg_backend_cuda(ctx, 0, out);
    if (status == DG_EDEVICE && device == DG_DEVICE_AUTO) {
        dg_ctx_clear_error(ctx);
        *out = dg_backend_cpu();
        return DG_OK;
    }
    return status;
}

dg_status dg_compute_open(dg_ctx *ctx, dg_device_choice device, dg_precision_choice precision, int threads,
                          dg_compute *out) {
    dg_status status = DG_OK;
    *out = (dg_compute){0};
    DG_TRY(choose_backend(ctx, device, &out->backend));
    out->threads = dg_lanes_default(threads);
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
