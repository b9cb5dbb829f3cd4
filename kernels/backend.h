/* A backend: its op table, its memory and its lanes. The CPU's is compiled for several instruction sets and the best
 * one this machine has is chosen when asked for. The CUDA one is there if it was built in and the machine has a GPU.
 *
 * A backend with a queue (a CUDA stream) runs passes some time after they were called: what the host reads has to be
 * waited for with synchronise, and what it writes must not be overwritten before. The CPU does everything at once. */
#ifndef DG_KERNELS_BACKEND_H
#define DG_KERNELS_BACKEND_H

#include "kernels/ops.h"

/* Whether a vendor's libraries (cuDNN, cuBLASLt) may compute passes of a convolution in place of the backend's own
 * kernels. With them the value of an image is no longer independent of its batch (ops.h). */
typedef enum dg_library_use {
    DG_LIBRARIES_OFF,
    DG_LIBRARIES_AUTO,  /* where they are faster, by a table of timings */
    DG_LIBRARIES_ALWAYS /* wherever they can */
} dg_library_use;

typedef struct dg_library_info {
    const char *name;  /* "cuDNN"; static storage */
    char version[24];  /* "9.19.0"; "" if it is not to be had */
    char why_not[232]; /* then a sentence, else "" */
} dg_library_info;

/* A pass of a convolution, ours and a library's. */
enum { DG_CONV2D_FWD, DG_CONV2D_BWD_DATA, DG_CONV2D_BWD_PARAMS, DG_CONV2D_PASSES };
typedef struct dg_library_timing {
    const char *library; /* the fastest that has the pass; NULL: none has */
    double own_ms;
    double library_ms; /* 0: none that worked */
    bool faster;       /* DG_LIBRARIES_AUTO takes it */
    char note[200];    /* why there is no library_ms, or why it is not taken all the same; else "" */
} dg_library_timing;

typedef struct dg_backend {
    const char *name;            /* "cpu" */
    const char *instruction_set; /* "avx512", "avx2", "baseline" */
    const dg_ops *ops;
    bool host_memory;       /* what alloc gives is the host's own memory: plain reads and writes will do */
    bool has_bf16;          /* DG_PRECISION_TF32 and _BF16 work */
    size_t workspace_bytes; /* every lane's workspace has at least this */
    /* Joined tensors (ops.h) are taken whose head and tail have multiples of so many channels; 0: none. */
    int64_t join_channels;
    /* Images that sampling runs through the network at once. It may show in an image's bits, so it never varies. */
    int64_t generate_chunk;
    int64_t (*available_bytes)(void); /* free memory for alloc; -1: unknown */
    /* out *out zeroed, 64-byte aligned; what: for the error text. err DG_ENOMEM with the number of bytes */
    dg_status (*alloc)(dg_ctx *ctx, size_t bytes, const char *what, void **out);
    void (*free)(void *memory);
    /* The same in memory that the host and the device both see: staging buffers, arrays with an entry per image. */
    dg_status (*alloc_shared)(dg_ctx *ctx, size_t bytes, const char *what, void **out);
    void (*free_shared)(void *memory);
    /* Copies between host memory and the backend's, after the passes before it in the lane's queue. The host buffers
     * must stay as they are until synchronise; those of alloc_shared are copied without a detour. err DG_EDEVICE */
    dg_status (*upload)(dg_exec *exec, void *device, const void *host, size_t bytes);
    dg_status (*download)(dg_exec *exec, void *host, const void *device, size_t bytes);
    /* Waits for everything called on the lane. err DG_EDEVICE a pass failed while it ran */
    dg_status (*synchronise)(dg_exec *exec);
    /* Marks in a lane's queue, for who must not wait for all of it: event_wait returns when everything has been done
     * that was called on the lane before the last event_record, and at once if there was none. err DG_EDEVICE,
     * DG_ENOMEM */
    dg_status (*event_create)(dg_ctx *ctx, void **out);
    void (*event_free)(void *event);
    dg_status (*event_record)(dg_exec *exec, void *event);
    dg_status (*event_wait)(dg_ctx *ctx, void *event);
    /* Recordings, NULL where there is no queue: what is called on the lane between begin and end is not run but kept,
     * and runs at every replay, with the arguments of then and the contents of memory of now. In between no memory may
     * be allocated or freed and nothing waited for. After a failure in between, end is called all the same.
     * err DG_EDEVICE (*out is then NULL) */
    dg_status (*record_begin)(dg_exec *exec);
    dg_status (*record_end)(dg_exec *exec, void **out);
    dg_status (*replay)(dg_exec *exec, void *recording);
    void (*recording_free)(void *recording);
    /* A lane with its workspace; its number `lane` is 0: who makes several numbers them before use.
     * out *out; free with exec_free, which a zeroed exec may be given to */
    dg_status (*exec_create)(dg_ctx *ctx, size_t workspace_bytes, dg_exec *out);
    void (*exec_free)(dg_exec *exec);
    /* Libraries for dg_conv2d_desc.libraries; NULL where there are none. They outlive the plans made with them.
     * in    use: not DG_LIBRARIES_OFF
     * err   DG_EDEVICE DG_LIBRARIES_ALWAYS and none of them is to be had: the text says why */
    dg_status (*libraries_open)(dg_ctx *ctx, dg_library_use use, dg_libraries **out);
    void (*libraries_close)(dg_libraries *libraries); /* NULL is legal */
    /* Times the passes of a convolution, at a precision of DG_PRECISION_BF16, and notes the result for
     * DG_LIBRARIES_AUTO. Takes memory for its operands meanwhile.
     * err   DG_EDEVICE, DG_ENOMEM; that a library fails is none, but said in its note */
    dg_status (*libraries_compare)(dg_libraries *libraries, const dg_conv2d_desc *desc,
                                   dg_library_timing out[DG_CONV2D_PASSES]);
} dg_backend;

/* The CPU backend for this machine; DIFFGEN_ISA=avx512|avx2|baseline lowers the choice (for tests;
 * a set the machine lacks, or another word, changes nothing). Never fails. */
const dg_backend *dg_backend_cpu(void);
/* Every CPU variant this machine can run, best first; returns how many were written (at most max). For op tests. */
int dg_backend_cpu_variants(const dg_backend **out, int max);

/* The CUDA backend on device `index`. err DG_EDEVICE not built in, no driver, no such GPU: the text says which */
DG_MUST_CHECK dg_status dg_backend_cuda(dg_ctx *ctx, int index, const dg_backend **out);

typedef struct dg_cuda_device {
    int index;
    char name[256];
    int major, minor; /* compute capability */
    int multiprocessors;
    int64_t memory_bytes, free_bytes;
    bool usable; /* dg_backend_cuda would take it */
} dg_cuda_device;

/* How many GPUs there are; if none, why, in a sentence. Never fails. */
int dg_cuda_devices(char *why_none, size_t size);
/* The libraries beside the CUDA backend, found or not; returns how many there are to speak of. Never fails. */
enum { DG_CUDA_LIBRARIES = 2 };
int dg_cuda_libraries(dg_library_info out[DG_CUDA_LIBRARIES]);
/* err DG_EDEVICE */
DG_MUST_CHECK dg_status dg_cuda_describe(dg_ctx *ctx, int index, dg_cuda_device *out);

#endif
