/* 1x1 convolutions and linear layers by cuBLASLt: bf16 in, sums in float, bf16 out, parameter gradients in float.
 *
 * cuBLASLt counts rows fastest, so that an NHWC activation is a matrix [c][pixels] with a row of c channels between two
 * columns, and the weights [out_c][in_c] a matrix W of in_c rows and out_c columns:
 *     forward             y [out_c][m]  = W^T x + residual + bias     (the bias is an epilogue, in bf16 as y is)
 *     data gradient       x [in_c][m]   = W y (+ x)
 *     parameter gradient  W [in_c][out_c] = x y^T (+ W)
 * Of the algorithms that the heuristic names, all give the same bits at every call on one device: partial sums are kept
 * to schemes with a fixed order. */
#include "kernels/cuda/libraries.h"

#include <cublasLt.h>

#include <stdio.h>
#include <stdlib.h>

#define FUNCTIONS(X)                                                                                                   \
    X(cublasLtGetVersion)                                                                                              \
    X(cublasLtGetStatusString)                                                                                         \
    X(cublasLtCreate)                                                                                                  \
    X(cublasLtDestroy)                                                                                                 \
    X(cublasLtMatmulDescCreate)                                                                                        \
    X(cublasLtMatmulDescDestroy)                                                                                       \
    X(cublasLtMatmulDescSetAttribute)                                                                                  \
    X(cublasLtMatrixLayoutCreate)                                                                                      \
    X(cublasLtMatrixLayoutDestroy)                                                                                     \
    X(cublasLtMatmulPreferenceCreate)                                                                                  \
    X(cublasLtMatmulPreferenceDestroy)                                                                                 \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                            \
    X(cublasLtMatmulAlgoGetHeuristic)                                                                                  \
    X(cublasLtMatmul)

static const char *const function_names[] = {FUNCTIONS(DG_LIBRARY_NAME)};
enum { FUNCTION_COUNT = sizeof function_names / sizeof *function_names };

struct dg_cublaslt {
    union {
        struct {
            FUNCTIONS(DG_LIBRARY_MEMBER)
        };
        void *address[FUNCTION_COUNT];
    };
    cublasLtHandle_t handle;
};

static void explain(const dg_cublaslt *b, const char *what, cublasStatus_t status, char why[DG_LIBRARY_WHY]) {
    snprintf(why, DG_LIBRARY_WHY, "%s: %s", what, b->cublasLtGetStatusString(status));
}

/* ---- opening ---- */

dg_status dg_cublaslt_open(dg_ctx *ctx, bool with_device, dg_library_info *info, dg_cublaslt **out) {
    /* What is called here is the same in both. */
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
    dg_status status = DG_OK;
    char why[DG_LIBRARY_WHY];
    dg_cublaslt *b = NULL;
    *out = NULL;
    *info = (dg_library_info){.name = "cuBLASLt"};
    DG_TRY(dg_alloc(ctx, &b, 1, sizeof *b, "cuBLASLt"));
    void *library = dg_library_load(names, why);
    cublasStatus_t created = CUBLAS_STATUS_SUCCESS;
    bool found = library && dg_library_symbols(library, function_names, FUNCTION_COUNT, b->address, why);
    if (found && with_device && (created = b->cublasLtCreate(&b->handle)) != CUBLAS_STATUS_SUCCESS) {
        explain(b, "cublasLtCreate", created, why);
        b->handle = NULL;
        found = false;
    }
    if (found) {
        const size_t version = b->cublasLtGetVersion();
        snprintf(info->version, sizeof info->version, "%zu.%zu.%zu", version / 10000, version / 100 % 100,
                 version % 100);
    } else {
        snprintf(info->why_not, sizeof info->why_not, "%s", why);
    }
    if (found && with_device) {
        *out = b;
        b = NULL;
    }
done:
    dg_cublaslt_close(b);
    return status;
}

void dg_cublaslt_close(dg_cublaslt *b) {
    if (!b)
        return;
    if (b->handle)
        b->cublasLtDestroy(b->handle);
    free(b);
}

/* ---- engines ---- */

enum { A, B, C, MATRICES }; /* C is where the result goes, too */

typedef struct engine {
    dg_library_engine base; /* first: a dg_library_engine * is cast to this */
    const dg_cublaslt *cublaslt;
    dg_library_role role;
    bool has_bias, has_residual;
    cublasOperation_t operation[2]; /* on A and on B */
    cublasLtMatrixLayout_t layout[MATRICES];
    cublasLtMatmulHeuristicResult_t algorithm[DG_LIBRARY_CANDIDATES];
} engine;

static bool is_params(const engine *e) {
    return e->role == DG_ROLE_BWD_PARAMS || e->role == DG_ROLE_BWD_PARAMS_ADDED;
}

/* What is computed, with the bias at an address. */
static cublasStatus_t describe(const engine *e, const void *bias, cublasLtMatmulDesc_t *out) {
    const dg_cublaslt *b = e->cublaslt;
    const cublasLtEpilogue_t epilogue = e->has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const int32_t type = CUDA_R_16BF;
    cublasStatus_t status = b->cublasLtMatmulDescCreate(out, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status != CUBLAS_STATUS_SUCCESS)
        *out = NULL;
    const struct {
        cublasLtMatmulDescAttributes_t name;
        const void *value;
        size_t bytes;
    } attributes[] = {
        {CUBLASLT_MATMUL_DESC_TRANSA, &e->operation[A], sizeof e->operation[A]},
        {CUBLASLT_MATMUL_DESC_TRANSB, &e->operation[B], sizeof e->operation[B]},
        {CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue},
        {CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type},
        {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias},
    };
    const int count = e->has_bias ? 5 : 3;
    for (int i = 0; i < count && status == CUBLAS_STATUS_SUCCESS; i++)
        status = b->cublasLtMatmulDescSetAttribute(*out, attributes[i].name, attributes[i].value, attributes[i].bytes);
    return status;
}

static cublasStatus_t make_layouts(engine *e, const dg_conv2d_desc *desc) {
    const uint64_t m = (uint64_t)(desc->n * desc->h * desc->w), in = (uint64_t)desc->in_c, out = (uint64_t)desc->out_c;
    const struct {
        cudaDataType_t type;
        uint64_t rows, columns;
    } x = {CUDA_R_16BF, in, m}, y = {CUDA_R_16BF, out, m}, weight = {CUDA_R_16BF, in, out},
      dweight = {CUDA_R_32F, in, out}, *of[MATRICES] = {&weight, &x, &y};
    e->operation[A] = e->role == DG_ROLE_FWD ? CUBLAS_OP_T : CUBLAS_OP_N;
    e->operation[B] = is_params(e) ? CUBLAS_OP_T : CUBLAS_OP_N;
    if (is_params(e))
        of[A] = &x, of[B] = &y, of[C] = &dweight;
    else if (e->role != DG_ROLE_FWD)
        of[B] = &y, of[C] = &x;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    for (int i = 0; i < MATRICES && status == CUBLAS_STATUS_SUCCESS; i++)
        status = e->cublaslt->cublasLtMatrixLayoutCreate(&e->layout[i], of[i]->type, of[i]->rows, of[i]->columns,
                                                         (int64_t)of[i]->rows);
    return status;
}

/* Of a new preference; *out is freed by the caller also after a failure. */
static cublasStatus_t prefer(const dg_cublaslt *b, cublasLtMatmulPreference_t *out) {
    const uint64_t workspace = DG_LIBRARY_WORKSPACE;
    const uint32_t alignment = 16, schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasStatus_t status = b->cublasLtMatmulPreferenceCreate(out);
    if (status != CUBLAS_STATUS_SUCCESS)
        *out = NULL;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } attributes[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace},
        {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment, sizeof alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &alignment, sizeof alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &alignment, sizeof alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &alignment, sizeof alignment},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && status == CUBLAS_STATUS_SUCCESS; i++)
        status =
            b->cublasLtMatmulPreferenceSetAttribute(*out, attributes[i].name, attributes[i].value, attributes[i].bytes);
    return status;
}

static cublasStatus_t find_algorithms(engine *e) {
    const dg_cublaslt *b = e->cublaslt;
    cublasLtMatmulDesc_t desc = NULL;
    cublasLtMatmulPreference_t preference = NULL;
    int count = 0;
    /* The heuristic looks at the alignment of the bias and not at the bias. */
    cublasStatus_t status = describe(e, (const void *)(uintptr_t)256, &desc);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = prefer(b, &preference);
    if (status == CUBLAS_STATUS_SUCCESS)
        status =
            b->cublasLtMatmulAlgoGetHeuristic(b->handle, desc, e->layout[A], e->layout[B], e->layout[C], e->layout[C],
                                              preference, DG_LIBRARY_CANDIDATES, e->algorithm, &count);
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; i++) {
        if (e->algorithm[i].state != CUBLAS_STATUS_SUCCESS || e->algorithm[i].workspaceSize > DG_LIBRARY_WORKSPACE)
            continue;
        e->algorithm[e->base.candidates++] = e->algorithm[i];
        if (e->algorithm[i].workspaceSize > e->base.workspace_bytes)
            e->base.workspace_bytes = e->algorithm[i].workspaceSize;
    }
    if (desc)
        b->cublasLtMatmulDescDestroy(desc);
    if (preference)
        b->cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

static void engine_free(dg_library_engine *base) {
    engine *e = (engine *)base;
    for (int i = 0; i < MATRICES; i++)
        if (e->layout[i])
            e->cublaslt->cublasLtMatrixLayoutDestroy(e->layout[i]);
    free(e);
}

static bool engine_run(const dg_library_engine *base, int candidate, const dg_library_call *call,
                       char why[DG_LIBRARY_WHY]) {
    const engine *e = (const engine *)base;
    const dg_cublaslt *b = e->cublaslt;
    const cublasLtMatmulHeuristicResult_t *algorithm = &e->algorithm[candidate];
    const bool added = e->role == DG_ROLE_BWD_DATA_ADDED || e->role == DG_ROLE_BWD_PARAMS_ADDED || e->has_residual;
    const float alpha = 1.0f, beta = added ? 1.0f : 0.0f;
    const void *a = is_params(e) ? call->x : call->weight, *x = e->role == DG_ROLE_FWD ? call->x : call->y;
    void *to = is_params(e) ? call->dweight : e->role == DG_ROLE_FWD ? call->y : call->x;
    cublasLtMatmulDesc_t desc = NULL;
    cublasStatus_t status = describe(e, call->bias, &desc);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = b->cublasLtMatmul(b->handle, desc, &alpha, a, e->layout[A], x, e->layout[B], &beta,
                                   e->has_residual ? call->residual : to, e->layout[C], to, e->layout[C],
                                   &algorithm->algo, call->workspace, algorithm->workspaceSize, call->stream);
    if (desc)
        b->cublasLtMatmulDescDestroy(desc);
    if (status != CUBLAS_STATUS_SUCCESS)
        explain(b, "cublasLtMatmul", status, why);
    return status == CUBLAS_STATUS_SUCCESS;
}

bool dg_cublaslt_engine(const dg_cublaslt *b, const dg_conv2d_desc *desc, dg_library_role role, dg_library_engine **out,
                        char why[DG_LIBRARY_WHY]) {
    *out = NULL;
    engine *e = calloc(1, sizeof *e);
    if (!e) {
        snprintf(why, DG_LIBRARY_WHY, "no memory");
        return false;
    }
    e->base = (dg_library_engine){.library = "cuBLASLt", .run = engine_run, .free = engine_free};
    e->cublaslt = b;
    e->role = role;
    e->has_bias = role == DG_ROLE_FWD && desc->bias;
    e->has_residual = role == DG_ROLE_FWD && desc->residual;
    cublasStatus_t status = make_layouts(e, desc);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = find_algorithms(e);
    if (e->base.candidates > 0) {
        *out = &e->base;
        return true;
    }
    if (status != CUBLAS_STATUS_SUCCESS)
        explain(b, "the heuristic", status, why);
    else
        snprintf(why, DG_LIBRARY_WHY, "no algorithm of cuBLASLt supports it");
    engine_free(&e->base);
    return false;
}
