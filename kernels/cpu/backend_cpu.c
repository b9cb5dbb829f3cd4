/* The CPU backend: memory, lanes, and the choice of instruction set. Our own op files follow the choice made here;
 * oneDNN detects the machine by itself (ONEDNN_MAX_CPU_ISA lowers it). */
#include "core/system.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

static dg_status cpu_alloc(dg_ctx *ctx, size_t bytes, const char *what, void **out) {
    const bool large = bytes >= 2 * (size_t)HUGE_PAGE_BYTES;
    const size_t alignment = large ? HUGE_PAGE_BYTES : DG_CPU_ALIGNMENT;
    void *memory = NULL;
    *out = NULL;
    if (bytes > SIZE_MAX - alignment)
        return dg_fail(ctx, DG_ENOMEM, "%s: %zu bytes are more than an address space holds", what, bytes);
    const size_t size = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
    if (posix_memalign(&memory, alignment, size) != 0)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory, %zu bytes were wanted", what, bytes);
#ifdef MADV_HUGEPAGE
    if (large)
        madvise(memory, size, MADV_HUGEPAGE); /* before the first touch; only advice, so its failure is harmless */
#endif
    memset(memory, 0, size);
    *out = memory;
    return DG_OK;
}

static void cpu_free(void *memory) {
    free(memory);
}

static dg_status cpu_exec_create(dg_ctx *ctx, size_t workspace_bytes, dg_exec *out) {
    *out = (dg_exec){.ctx = ctx, .workspace_bytes = workspace_bytes};
    return cpu_alloc(ctx, workspace_bytes, "workspace of a lane", &out->workspace);
}

static void cpu_exec_free(dg_exec *exec) {
    if (!exec)
        return;
    cpu_free(exec->workspace);
    *exec = (dg_exec){0};
}

static dg_status cpu_copy(dg_exec *exec, void *to, const void *from, size_t bytes) {
    (void)exec;
    memcpy(to, from, bytes);
    return DG_OK;
}

static dg_status cpu_synchronise(dg_exec *exec) {
    (void)exec;
    return DG_OK;
}

/* Everything has been done by the time its call returns. */
static dg_status cpu_event_create(dg_ctx *ctx, void **out) {
    (void)ctx;
    *out = NULL;
    return DG_OK;
}
static void cpu_event_free(void *event) {
    (void)event;
}
static dg_status cpu_event_record(dg_exec *exec, void *event) {
    (void)exec, (void)event;
    return DG_OK;
}
static dg_status cpu_event_wait(dg_ctx *ctx, void *event) {
    (void)ctx, (void)event;
    return DG_OK;
}

#define BACKEND(variant)                                                                                               \
    {                                                                                                                  \
        .name = "cpu", .instruction_set = #variant, .ops = &DG_CPU_PASTE(variant, ops), .host_memory = true,           \
        .generate_chunk = 4, .available_bytes = dg_system_available_bytes, .alloc = cpu_alloc, .free = cpu_free,       \
        .alloc_shared = cpu_alloc, .free_shared = cpu_free, .upload = cpu_copy, .download = cpu_copy,                  \
        .synchronise = cpu_synchronise, .event_create = cpu_event_create, .event_free = cpu_event_free,                \
        .event_record = cpu_event_record, .event_wait = cpu_event_wait, .exec_create = cpu_exec_create,                \
        .exec_free = cpu_exec_free,                                                                                    \
    }

extern const dg_ops dg_cpu_baseline_ops;
#ifdef DG_CPU_HAS_avx2
extern const dg_ops dg_cpu_avx2_ops;
#endif
#ifdef DG_CPU_HAS_avx512
extern const dg_ops dg_cpu_avx512_ops;
#endif

/* Best first. */
static const dg_backend backends[] = {
#ifdef DG_CPU_HAS_avx512
    BACKEND(avx512),
#endif
#ifdef DG_CPU_HAS_avx2
    BACKEND(avx2),
#endif
    BACKEND(baseline),
};
enum { BACKENDS = sizeof backends / sizeof *backends };

/* What -march=x86-64-v3 and -v4 let the compiler use. */
static bool runs_here(const dg_backend *backend) {
#ifdef DG_CPU_HAS_avx2
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
    if (strcmp(backend->instruction_set, "avx2") == 0)
        return v3;
    if (strcmp(backend->instruction_set, "avx512") == 0)
        return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    (void)backend;
    return true;
}

int dg_backend_cpu_variants(const dg_backend **out, int max) {
    int count = 0;
    for (int i = 0; i < BACKENDS && count < max; i++)
        if (runs_here(&backends[i]))
            out[count++] = &backends[i];
    return count;
}

const dg_backend *dg_backend_cpu(void) {
    const dg_backend *variants[BACKENDS];
    const int count = dg_backend_cpu_variants(variants, BACKENDS);
    const char *wanted = getenv("DIFFGEN_ISA");
    for (int i = 0; wanted && i < count; i++)
        if (strcmp(variants[i]->instruction_set, wanted) == 0)
            return variants[i];
    return variants[0];
}
