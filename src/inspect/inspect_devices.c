/* What this machine can compute on. */
#include "core/system.h"
#include "inspect/inspect.h"
#include "nn/compute.h"
#include "nn/lanes.h"

static const dg_option options[] = {
    {.name = "json",
     DG_OPT_BOOL(dg_devices_options, json),
     .flags = DG_OPTION_LOCAL,
     .group = "This call",
     .help = "Print one JSON object."},
};

const dg_option_table dg_devices_option_table = {
    .command = "devices",
    .summary = "say what this machine can compute on, and what would be used",
    .usage = "[options]",
    .details =
        "Lists the CPU and every GPU, says which of them --device auto takes, and if there is no GPU to be had, why. "
        "Then the libraries that --libraries may take for convolutions on a GPU, and if one is not there, why.",
    .examples = "before the first run on a new server\tdiffgen devices\n",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(dg_devices_options),
};

static json_t *describe_cpu(void) {
    const dg_backend *cpu = dg_backend_cpu();
    return json_pack("{s:s, s:s, s:i, s:I}", "device", "cpu", "instruction_set", cpu->instruction_set, "threads",
                     dg_lanes_default(0), "free_bytes", (json_int_t)cpu->available_bytes());
}

static json_t *describe_gpu(const dg_cuda_device *gpu) {
    char capability[16];
    snprintf(capability, sizeof capability, "%d.%d", gpu->major, gpu->minor);
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:s?}", "device", "cuda", "name", gpu->name,
                     "compute_capability", capability, "multiprocessors", gpu->multiprocessors, "memory_bytes",
                     (json_int_t)gpu->memory_bytes, "free_bytes", (json_int_t)gpu->free_bytes, "usable", gpu->usable,
                     "why_not", gpu->usable ? NULL : "compute capability 8.0 (Ampere) or later is needed");
}

dg_status dg_devices_list(dg_ctx *ctx, json_t **result) {
    dg_status status = DG_OK;
    dg_compute compute;
    char why_none[160] = "";
    json_t *devices = json_array();
    const int gpus = dg_cuda_devices(why_none, sizeof why_none);
    dg_json_append(&devices, describe_cpu());
    for (int i = 0; i < gpus; i++) {
        dg_cuda_device gpu;
        DG_TRY(dg_cuda_describe(ctx, i, &gpu));
        dg_json_append(&devices, describe_gpu(&gpu));
    }
    DG_TRY(dg_compute_open(ctx, DG_DEVICE_AUTO, DG_PRECISION_CHOICE_AUTO, 0, &compute));
    *result = json_pack("{s:s, s:s, s:O, s:o, s:s?}", "auto_device", compute.backend->name, "auto_precision",
                        dg_precision_name(compute.precision), "devices", devices, "libraries", dg_compute_libraries(),
                        "why_no_gpu", gpus ? NULL : why_none);
    if (!*result)
        status = dg_fail(ctx, DG_ENOMEM, "no memory for the list of devices");
done:
    json_decref(devices);
    return status;
}
