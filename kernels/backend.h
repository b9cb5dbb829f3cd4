/* A backend: its op table, its memory and its lanes. The CPU's is compiled for several instruction sets and the best
 * one this machine has is chosen when asked for. */
#ifndef DG_KERNELS_BACKEND_H
#define DG_KERNELS_BACKEND_H

#include "kernels/ops.h"

typedef struct dg_backend {
    const char *name;            /* "cpu" */
    const char *instruction_set; /* "avx512", "avx2", "baseline" */
    const dg_ops *ops;
    /* out *out zeroed, 64-byte aligned; what: for the error text. err DG_ENOMEM with the number of bytes */
    dg_status (*alloc)(dg_ctx *ctx, size_t bytes, const char *what, void **out);
    void (*free)(void *memory);
    /* A lane with its workspace; its number `lane` is 0: who makes several numbers them before use.
     * out *out; free with exec_free, which a zeroed exec may be given to */
    dg_status (*exec_create)(dg_ctx *ctx, size_t workspace_bytes, dg_exec *out);
    void (*exec_free)(dg_exec *exec);
} dg_backend;

/* The CPU backend for this machine; DIFFGEN_ISA=avx512|avx2|baseline lowers the choice (for tests;
 * a set the machine lacks, or another word, changes nothing). Never fails. */
const dg_backend *dg_backend_cpu(void);
/* Every CPU variant this machine can run, best first; returns how many were written (at most max). For op tests. */
int dg_backend_cpu_variants(const dg_backend **out, int max);

#endif
