/* cuDNN and cuBLASLt beside our own kernels: what their files share. They are loaded when asked for, so that the
 * program starts without them; only NVIDIA's headers are needed to build. No kernel file includes this.
 *
 *   libraries.c             finds and opens them, closes them, says what was found
 *   library_cudnn.c         3x3 convolutions by cuDNN's graph API (library_cudnn_none.c: built without cudnn.h)
 *   library_cublaslt.c      1x1 convolutions, linear layers (library_cublaslt_none.c: built without cublasLt.h)
 *   library_choices.c       the table of what was faster, in a file
 *   conv2d_library.c        which passes of a convolution a library runs, and running them
 *   conv2d_library_time.c   finding out: trying and timing them
 *   conv2d_library_cuda.cu  the kernels that its calls need around them
 *
 * Why they are an offer and not the rule, and what they cost in promises: docs/gpu.md. */
#ifndef DG_KERNELS_CUDA_LIBRARIES_H
#define DG_KERNELS_CUDA_LIBRARIES_H

#include "kernels/backend.h"

#include <cuda_runtime_api.h>

enum {
    DG_LIBRARY_WHY = 160,      /* room for a reason */
    DG_LIBRARY_CANDIDATES = 4, /* ways to compute one pass that are tried at most */
};

/* Bytes that one may take at most. */
#ifdef DG_CUDASIM
enum { DG_LIBRARY_WORKSPACE = 64 << 10 };
#else
enum { DG_LIBRARY_WORKSPACE = 64 << 20 };
#endif

/* What an engine computes. _ADDED: on top of what is there. Parameter gradients are the sum over the batch. */
typedef enum dg_library_role {
    DG_ROLE_FWD,
    DG_ROLE_BWD_DATA,
    DG_ROLE_BWD_PARAMS,
    DG_ROLE_BWD_DATA_ADDED,
    DG_ROLE_BWD_PARAMS_ADDED,
    DG_ROLES
} dg_library_role;

/* Operands, in device memory, at 16-byte boundaries. */
typedef struct dg_library_call {
    cudaStream_t stream;
    void *x;              /* bf16 NHWC; the data gradient is written here */
    void *y;              /* the same; the forward is written here, the others read its gradient */
    const void *residual; /* bf16, like y: forward of a convolution that has one */
    const void *weight;   /* bf16 [out_c][k][k][in_c]: forward and data gradient */
    const void *bias;     /* bf16 [out_c]: forward of a convolution that has one */
    void *dweight;        /* [out_c][k][k][in_c]: float, or bf16 if the engine rounds it */
    void *workspace;
} dg_library_call;

/* One role of one convolution as a library computes it, in one or more ways ("candidates", the library's favourite
 * first), all of which give the same bits at every call. */
typedef struct dg_library_engine {
    const char *library; /* static storage */
    int candidates;
    size_t workspace_bytes; /* of the candidate that takes most */
    bool rounds_dweight;    /* the parameter gradient comes in bf16 */
    /* Only calls into the stream. false, with the reason, if the library refuses */
    bool (*run)(const struct dg_library_engine *engine, int candidate, const dg_library_call *call,
                char why[DG_LIBRARY_WHY]);
    void (*free)(struct dg_library_engine *engine);
} dg_library_engine;

/* From a list of a library's functions: a member for each, of its type and by its name, and the names as texts. */
#define DG_LIBRARY_MEMBER(name) __typeof__(name) *name;
#define DG_LIBRARY_NAME(name) #name,

/* ---- cuDNN ---- */

typedef struct dg_cudnn dg_cudnn;
/* Loads it. with_device false: only to say its version, *out stays NULL. info->version or ->why_not says how it went;
 * err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_cudnn_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cudnn **out);
void dg_cudnn_close(dg_cudnn *cudnn);
/* false: it has nothing for this, and why. */
bool dg_cudnn_engine(const dg_cudnn *cudnn, const dg_conv2d_desc *desc, dg_library_role role, dg_library_engine **out,
                     char why[DG_LIBRARY_WHY]);
/* Opened without a device, for one whose properties cuDNN has written as JSON (cuDNN 9.8 and later; engines then can be
 * made and not run). What is supported follows from the compute capability. *out NULL: why not; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_cudnn_open_for(dg_ctx *ctx, const char *device_json, dg_cudnn **out,
                                          char why[DG_LIBRARY_WHY]);

/* ---- cuBLASLt ---- */

typedef struct dg_cublaslt dg_cublaslt;
DG_MUST_CHECK dg_status dg_cublaslt_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cublaslt **out);
void dg_cublaslt_close(dg_cublaslt *cublaslt);
bool dg_cublaslt_engine(const dg_cublaslt *cublaslt, const dg_conv2d_desc *desc, dg_library_role role,
                        dg_library_engine **out, char why[DG_LIBRARY_WHY]);

/* ---- loading ---- */

/* The first of `names` (NULL-terminated) that the loader finds; NULL: why not. Never unloaded: CUDA may hold on to what
 * a library has registered. */
void *dg_library_load(const char *const *names, char why[DG_LIBRARY_WHY]);
/* Puts the addresses of `count` functions at `to`. false: which is missing */
bool dg_library_symbols(void *library, const char *const *names, int count, void **to, char why[DG_LIBRARY_WHY]);

/* ---- choices ---- */

typedef struct dg_library_choice {
    char library[16]; /* "": none has the pass */
    int candidate;    /* the fastest */
    double own_ms, library_ms;
    bool faster; /* enough so to be taken */
} dg_library_choice;

typedef struct dg_library_choices dg_library_choices;
/* Of this GPU, its driver, these libraries and this diffgen: read from the user's cache directory if they were kept
 * there before. A file that cannot be read is as good as none. err DG_ENOMEM, DG_EDEVICE */
DG_MUST_CHECK dg_status dg_library_choices_open(dg_ctx *ctx, const dg_library_info *libraries, int count,
                                                dg_library_choices **out);
void dg_library_choices_close(dg_library_choices *choices);
bool dg_library_choices_get(const dg_library_choices *choices, const char *key, dg_library_choice *out);
void dg_library_choices_put(dg_library_choices *choices, const char *key, const dg_library_choice *choice);
/* Writes them to the file, in one piece, beside what others have put there meanwhile. Logs what goes wrong: without the
 * file everything works, and is timed again. */
void dg_library_choices_save(dg_library_choices *choices);

struct dg_libraries {
    dg_ctx *ctx;
    dg_library_use use;
    dg_library_info info[DG_CUDA_LIBRARIES];
    dg_cudnn *cudnn;             /* or NULL */
    dg_cublaslt *cublaslt;       /* or NULL */
    dg_library_choices *choices; /* NULL with DG_LIBRARIES_ALWAYS */
};

dg_status dg_cuda_libraries_open(dg_ctx *ctx, dg_library_use use, dg_libraries **out);
void dg_cuda_libraries_close(dg_libraries *libraries);
dg_status dg_cuda_libraries_compare(dg_libraries *libraries, const dg_conv2d_desc *desc,
                                    dg_library_timing out[DG_CONV2D_PASSES]);

#endif
