/* Convolutions by cuDNN's graph API (cudnnBackend*): bf16, NHWC, sums in float.
 *
 * A graph has one convolution, and for a forward what its precompiled engines fuse with it: y = conv(x) [+ residual]
 * + bias, in that order, with the bias in bf16. Of the engines that heuristic mode A names, those are taken that give
 * the same bits at every call and sum in float with ordinary products (no Winograd, no FFT, no inputs converted down);
 * none is compiled at run time. A parameter gradient comes in bf16 only: there is no engine that writes float.
 *
 * What is supported on a compute capability can be asked without a GPU (dg_cudnn_open_for): tests/cuda/test_cudnn.c. */
#include "kernels/cuda/libraries.h"

#include <cudnn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUNCTIONS(X)                                                                                                   \
    X(cudnnGetVersion)                                                                                                 \
    X(cudnnGetLastErrorString)                                                                                         \
    X(cudnnCreate)                                                                                                     \
    X(cudnnDestroy)                                                                                                    \
    X(cudnnSetStream)                                                                                                  \
    X(cudnnBackendCreateDescriptor)                                                                                    \
    X(cudnnBackendDestroyDescriptor)                                                                                   \
    X(cudnnBackendSetAttribute)                                                                                        \
    X(cudnnBackendGetAttribute)                                                                                        \
    X(cudnnBackendFinalize)                                                                                            \
    X(cudnnBackendExecute)

static const char *const function_names[] = {FUNCTIONS(DG_LIBRARY_NAME)};
enum { FUNCTION_COUNT = sizeof function_names / sizeof *function_names };

struct dg_cudnn {
    union {
        struct {
            FUNCTIONS(DG_LIBRARY_MEMBER)
        };
        void *address[FUNCTION_COUNT];
    };
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device; /* instead of a handle: properties of a device that need not be here */
};

/* ---- opening ---- */

static void explain(const dg_cudnn *c, const char *what, char why[DG_LIBRARY_WHY]) {
    char text[512] = "";
    c->cudnnGetLastErrorString(text, sizeof text);
    for (char *p = text; *p; p++)
        if (*p == '\n')
            *p = ' ';
    snprintf(why, DG_LIBRARY_WHY, "%s: %s", what, text);
}

/* Its functions; *out NULL: it is not there, and why. */
static dg_status load(dg_ctx *ctx, dg_cudnn **out, char why[DG_LIBRARY_WHY]) {
    static const char *const names[] = {"libcudnn.so.9", NULL};
    dg_status status = DG_OK;
    dg_cudnn *c = NULL;
    *out = NULL;
    void *library = dg_library_load(names, why);
    if (!library)
        return DG_OK;
    DG_TRY(dg_alloc(ctx, &c, 1, sizeof *c, "cuDNN"));
    if (dg_library_symbols(library, function_names, FUNCTION_COUNT, c->address, why)) {
        *out = c;
        c = NULL;
    }
done:
    free(c);
    return status;
}

dg_status dg_cudnn_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cudnn **out) {
    dg_status status = DG_OK;
    char why[DG_LIBRARY_WHY];
    dg_cudnn *c = NULL;
    *out = NULL;
    *info = (dg_library_info){.name = "cuDNN"};
    DG_TRY(load(ctx, &c, why));
    if (c && with_device && c->cudnnCreate(&c->handle) != CUDNN_STATUS_SUCCESS) {
        explain(c, "cudnnCreate", why);
        c->handle = NULL;
        dg_cudnn_close(c);
        c = NULL;
    }
    if (c) {
        const size_t version = c->cudnnGetVersion();
        snprintf(info->version, sizeof info->version, "%zu.%zu.%zu", version / 10000, version / 100 % 100,
                 version % 100);
    } else {
        snprintf(info->why_not, sizeof info->why_not, "%s", why);
    }
    if (with_device) {
        *out = c;
        c = NULL;
    }
done:
    dg_cudnn_close(c);
    return status;
}

dg_status dg_cudnn_open_for(dg_ctx *ctx, const char *device_json, dg_cudnn **out, char why[DG_LIBRARY_WHY]) {
    dg_status status = DG_OK;
    dg_cudnn *c = NULL;
    *out = NULL;
    DG_TRY(load(ctx, &c, why));
    if (!c)
        goto done;
    if (c->cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &c->device) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendSetAttribute(c->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                    (int64_t)strlen(device_json), device_json) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendFinalize(c->device) == CUDNN_STATUS_SUCCESS) {
        *out = c;
        c = NULL;
    } else {
        explain(c, "the description of a device", why);
    }
done:
    dg_cudnn_close(c);
    return status;
}

void dg_cudnn_close(dg_cudnn *c) {
    if (!c)
        return;
    if (c->device)
        c->cudnnBackendDestroyDescriptor(c->device);
    if (c->handle)
        c->cudnnDestroy(c->handle);
    free(c);
}

/* ---- graphs ---- */

enum { X = 1, WEIGHT, Y, RESIDUAL, BIAS, CONVOLVED, ADDED }; /* names of tensors; the last two are never stored */
enum { MOST_DESCRIPTORS = 48, CONFIGURATIONS = 16, MOST_NOTES = 16 };

typedef struct engine {
    dg_library_engine base; /* first: a dg_library_engine * is cast to this */
    const dg_cudnn *cudnn;
    dg_library_role role;
    bool has_bias, has_residual;
    cudnnBackendDescriptor_t made[MOST_DESCRIPTORS]; /* in this order, destroyed in the reverse one */
    int made_count;
    cudnnBackendDescriptor_t plan[DG_LIBRARY_CANDIDATES];
    cudnnStatus_t status; /* of everything so far: after a failure nothing is tried */
    const char *failed;   /* the step that failed */
} engine;

static cudnnBackendDescriptor_t make(engine *e, cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = NULL;
    if (e->status == CUDNN_STATUS_SUCCESS && e->made_count == MOST_DESCRIPTORS)
        e->status = CUDNN_STATUS_ALLOC_FAILED;
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->status = e->cudnn->cudnnBackendCreateDescriptor(type, &made);
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->made[e->made_count++] = made;
    return made;
}

static void set(engine *e, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->status = e->cudnn->cudnnBackendSetAttribute(d, name, type, count, values);
}

static void set_descriptor(engine *e, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value) {
    set(e, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_type(engine *e, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    set(e, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static cudnnBackendDescriptor_t finish(engine *e, cudnnBackendDescriptor_t d, const char *what) {
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->status = e->cudnn->cudnnBackendFinalize(d);
    if (e->status != CUDNN_STATUS_SUCCESS && !e->failed)
        e->failed = what;
    return d;
}

/* dims and their order as cuDNN counts them, N C H W; in memory channels are the fastest. */
static cudnnBackendDescriptor_t tensor(engine *e, int64_t name, cudnnDataType_t type, int64_t n, int64_t c, int64_t h,
                                       int64_t w, bool stored) {
    const int64_t dims[4] = {n, c, h, w}, strides[4] = {h * w * c, 1, w * c, c}, alignment = 16;
    const bool is_virtual = !stored;
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set_type(e, d, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    set(e, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(e, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(e, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name);
    set(e, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(e, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    return finish(e, d, "a tensor");
}

static cudnnBackendDescriptor_t convolution(engine *e, const dg_conv2d_desc *desc) {
    const int64_t axes = 2, begin[2] = {desc->pad_begin, desc->pad_begin}, end[2] = {desc->pad_end, desc->pad_end};
    const int64_t strides[2] = {desc->stride, desc->stride}, dilations[2] = {1, 1};
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(e, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    set_type(e, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    set(e, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(e, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, begin);
    set(e, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, end);
    set(e, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(e, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations);
    return finish(e, d, "the convolution");
}

/* The names that each of the three operations has for the same things. */
static const struct {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t x, weight, y, convolution, alpha, beta;
} operations[] = {
    [DG_ROLE_FWD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [DG_ROLE_BWD_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [DG_ROLE_BWD_PARAMS] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static cudnnBackendDescriptor_t convolve(engine *e, const dg_conv2d_desc *desc, cudnnBackendDescriptor_t x,
                                         cudnnBackendDescriptor_t weight, cudnnBackendDescriptor_t y) {
    const bool added = e->role == DG_ROLE_BWD_DATA_ADDED;
    const int kind = added ? DG_ROLE_BWD_DATA : (int)e->role;
    const float alpha = 1.0f, beta = added ? 1.0f : 0.0f;
    cudnnBackendDescriptor_t how = convolution(e, desc), d = make(e, operations[kind].type);
    set_descriptor(e, d, operations[kind].x, x);
    set_descriptor(e, d, operations[kind].weight, weight);
    set_descriptor(e, d, operations[kind].y, y);
    set_descriptor(e, d, operations[kind].convolution, how);
    set(e, d, operations[kind].alpha, CUDNN_TYPE_FLOAT, 1, &alpha);
    set(e, d, operations[kind].beta, CUDNN_TYPE_FLOAT, 1, &beta);
    return finish(e, d, "the operation");
}

static cudnnBackendDescriptor_t add(engine *e, cudnnBackendDescriptor_t a, cudnnBackendDescriptor_t b,
                                    cudnnBackendDescriptor_t sum) {
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    cudnnBackendDescriptor_t how = make(e, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(e, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(e, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    finish(e, how, "an addition");
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(e, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(e, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, a);
    set_descriptor(e, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_descriptor(e, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, sum);
    return finish(e, d, "an addition");
}

static cudnnBackendDescriptor_t graph(engine *e, const dg_conv2d_desc *desc) {
    const cudnnDataType_t bf16 = CUDNN_DATA_BFLOAT16, sum = CUDNN_DATA_FLOAT;
    const int64_t n = desc->n, c = desc->out_c, k = desc->kernel, padding = desc->pad_begin + desc->pad_end;
    const int64_t h = (desc->h + padding - k) / desc->stride + 1, w = (desc->w + padding - k) / desc->stride + 1;
    cudnnBackendDescriptor_t operation[3];
    int count = 0;
    cudnnBackendDescriptor_t x = tensor(e, X, bf16, n, desc->in_c, desc->h, desc->w, true);
    cudnnBackendDescriptor_t weight = tensor(e, WEIGHT, bf16, c, desc->in_c, k, k, true);
    cudnnBackendDescriptor_t y = tensor(e, Y, bf16, n, c, h, w, true), last = y;
    if (e->has_bias)
        last = tensor(e, CONVOLVED, sum, n, c, h, w, false);
    operation[count++] = convolve(e, desc, x, weight, last);
    if (e->has_residual) {
        cudnnBackendDescriptor_t residual = tensor(e, RESIDUAL, bf16, n, c, h, w, true);
        cudnnBackendDescriptor_t added = tensor(e, ADDED, sum, n, c, h, w, false);
        operation[count++] = add(e, last, residual, added);
        last = added;
    }
    if (e->has_bias)
        operation[count++] = add(e, last, tensor(e, BIAS, bf16, 1, c, 1, 1, true), y);
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (e->cudnn->handle)
        set(e, d, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &e->cudnn->handle);
    set(e, d, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operation);
    return finish(e, d, "the graph");
}

/* ---- engines ---- */

static bool has_note(const dg_cudnn *c, cudnnBackendDescriptor_t of, cudnnBackendAttributeName_t name,
                     cudnnBackendAttributeType_t type, unsigned unwanted) {
    int notes[MOST_NOTES]; /* enums of the size of an int */
    int64_t count = 0;
    if (c->cudnnBackendGetAttribute(of, name, type, MOST_NOTES, &count, notes) != CUDNN_STATUS_SUCCESS)
        return true;
    for (int64_t i = 0; i < count && i < MOST_NOTES; i++)
        if (notes[i] < 0 || notes[i] > 31 || unwanted >> notes[i] & 1)
            return true;
    return false;
}

/* Whether an engine keeps what the head of this file promises. */
static bool is_wanted(const dg_cudnn *c, cudnnBackendDescriptor_t configuration) {
    const unsigned numerical =
        1u << CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS | 1u << CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION |
        1u << CUDNN_NUMERICAL_NOTE_FFT | 1u << CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC |
        1u << CUDNN_NUMERICAL_NOTE_WINOGRAD | 1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 |
        1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 | 1u << CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
    const unsigned behaviour = 1u << CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    cudnnBackendDescriptor_t of = NULL;
    int64_t count = 0;
    if (c->cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &of) != CUDNN_STATUS_SUCCESS)
        return false;
    const bool wanted =
        c->cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                    &count, &of) == CUDNN_STATUS_SUCCESS &&
        !has_note(c, of, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, numerical) &&
        !has_note(c, of, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, behaviour);
    c->cudnnBackendDestroyDescriptor(of);
    return wanted;
}

/* A plan of the configuration, if it can be had within the workspace; made and destroyed with the engine. */
static bool add_plan(engine *e, cudnnBackendDescriptor_t configuration) {
    const dg_cudnn *c = e->cudnn;
    int64_t bytes = 0, count = 0;
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_descriptor(e, d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    if (c->handle)
        set(e, d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle);
    else
        set_descriptor(e, d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, c->device);
    finish(e, d, "a plan");
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->status = c->cudnnBackendGetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                                &count, &bytes);
    const bool good = e->status == CUDNN_STATUS_SUCCESS && bytes <= DG_LIBRARY_WORKSPACE;
    e->status = CUDNN_STATUS_SUCCESS; /* another configuration may do */
    if (!good)
        return false;
    e->plan[e->base.candidates++] = d;
    if ((size_t)bytes > e->base.workspace_bytes)
        e->base.workspace_bytes = (size_t)bytes;
    return true;
}

static cudnnBackendDescriptor_t heuristics(engine *e, cudnnBackendDescriptor_t of) {
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t d = make(e, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(e, d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, of);
    set(e, d, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!e->cudnn->handle)
        set_descriptor(e, d, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, e->cudnn->device);
    return finish(e, d, "the heuristics");
}

static void find_plans(engine *e, const dg_conv2d_desc *desc) {
    const dg_cudnn *c = e->cudnn;
    cudnnBackendDescriptor_t configuration[CONFIGURATIONS];
    int64_t count = 0;
    cudnnBackendDescriptor_t of = heuristics(e, graph(e, desc));
    for (int i = 0; i < CONFIGURATIONS; i++)
        configuration[i] = make(e, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (e->status == CUDNN_STATUS_SUCCESS)
        e->status = c->cudnnBackendGetAttribute(of, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                                CONFIGURATIONS, &count, configuration);
    if (e->status != CUDNN_STATUS_SUCCESS && !e->failed)
        e->failed = "the heuristics";
    for (int64_t i = 0; e->status == CUDNN_STATUS_SUCCESS && i < count && i < CONFIGURATIONS; i++)
        if (e->base.candidates < DG_LIBRARY_CANDIDATES && is_wanted(c, configuration[i]))
            (void)add_plan(e, configuration[i]);
}

static void engine_free(dg_library_engine *base) {
    engine *e = (engine *)base;
    while (e->made_count > 0)
        e->cudnn->cudnnBackendDestroyDescriptor(e->made[--e->made_count]);
    free(e);
}

static bool engine_run(const dg_library_engine *base, int candidate, const dg_library_call *call,
                       char why[DG_LIBRARY_WHY]) {
    const engine *e = (const engine *)base;
    const dg_cudnn *c = e->cudnn;
    const bool params = e->role == DG_ROLE_BWD_PARAMS;
    const int64_t names[] = {X, WEIGHT, Y, BIAS, RESIDUAL}, count = 3 + e->has_bias + e->has_residual;
    const void *pointers[] = {call->x, params ? call->dweight : call->weight, call->y, call->bias, call->residual};
    cudnnBackendDescriptor_t pack = NULL;
    const bool done =
        c->cudnnSetStream(c->handle, call->stream) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, names) ==
            CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                                    pointers) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                                    &call->workspace) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendFinalize(pack) == CUDNN_STATUS_SUCCESS &&
        c->cudnnBackendExecute(c->handle, e->plan[candidate], pack) == CUDNN_STATUS_SUCCESS;
    if (!done)
        explain(c, "running a plan", why);
    if (pack)
        c->cudnnBackendDestroyDescriptor(pack);
    return done;
}

bool dg_cudnn_engine(const dg_cudnn *c, const dg_conv2d_desc *desc, dg_library_role role, dg_library_engine **out,
                     char why[DG_LIBRARY_WHY]) {
    *out = NULL;
    if (role == DG_ROLE_BWD_PARAMS_ADDED || (role == DG_ROLE_FWD && desc->residual && !desc->bias)) {
        snprintf(why, DG_LIBRARY_WHY, "no engine of cuDNN does that");
        return false;
    }
    engine *e = calloc(1, sizeof *e);
    if (!e) {
        snprintf(why, DG_LIBRARY_WHY, "no memory");
        return false;
    }
    e->base = (dg_library_engine){
        .library = "cuDNN", .rounds_dweight = role == DG_ROLE_BWD_PARAMS, .run = engine_run, .free = engine_free};
    e->cudnn = c;
    e->role = role;
    e->has_bias = role == DG_ROLE_FWD && desc->bias;
    e->has_residual = role == DG_ROLE_FWD && desc->residual;
    find_plans(e, desc);
    if (e->base.candidates > 0) {
        *out = &e->base;
        return true;
    }
    if (e->status != CUDNN_STATUS_SUCCESS)
        explain(c, e->failed ? e->failed : "the graph", why);
    else
        snprintf(why, DG_LIBRARY_WHY, "no deterministic engine of cuDNN supports it");
    engine_free(&e->base);
    return false;
}
