/* A slice of cuBLASLt: one product of column-major matrices, D = op(A) op(B) + beta C + bias, bf16 in and bf16 or float
 * out. Combinations of types that the library documents as unsupported are refused, and so are operands that do not lie
 * in the device's memory. What an algorithm may use as workspace is full of NaN before and after. */
#include "sim.h"

#include <cublasLt.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace cudasim;

namespace {

enum { WORKSPACE = 4096, ALGORITHMS = 2, ALIGNMENT = 16 };

struct Desc {
    int32_t operation[2];
    uint32_t epilogue;
    const void *bias;
    int32_t bias_type; /* -1: D's */
};

struct Layout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t pitch;
};

struct Preference {
    uint64_t workspace;
    uint32_t alignment[4]; /* A, B, C, D */
};

/* What is left of a call once it has been checked. */
struct Product {
    Desc desc;
    Layout a, b, c;
    const void *at_a, *at_b, *at_c;
    void *to, *workspace;
    size_t workspace_bytes;
    float alpha, beta;
};

Desc *of(cublasLtMatmulDesc_t desc) {
    return reinterpret_cast<Desc *>(desc);
}
Layout *of(cublasLtMatrixLayout_t layout) {
    return reinterpret_cast<Layout *>(layout);
}

size_t element_bytes(cudaDataType type) {
    return type == CUDA_R_32F ? 4 : 2;
}

cublasStatus_t refused(cublasStatus_t status, const char *why) {
    fprintf(stderr, "cudasim: cuBLASLt: %s\n", why);
    return status;
}

bool transposed(const Desc &desc, int matrix) {
    return desc.operation[matrix] != CUBLAS_OP_N;
}

/* In the library's table of types for sums in float: bf16 times bf16 gives bf16 with a bias in bf16, or float with one
 * in float. */
cublasStatus_t check(const Desc &desc, const Layout &a, const Layout &b, const Layout &c, const Layout &d) {
    const bool bias = desc.epilogue == CUBLASLT_EPILOGUE_BIAS;
    const uint64_t m = transposed(desc, 0) ? a.columns : a.rows, k = transposed(desc, 0) ? a.rows : a.columns;
    const uint64_t k_b = transposed(desc, 1) ? b.columns : b.rows, n = transposed(desc, 1) ? b.rows : b.columns;
    if (m != d.rows || n != d.columns || k != k_b || c.rows != d.rows || c.columns != d.columns)
        return refused(CUBLAS_STATUS_INVALID_VALUE, "the matrices do not fit each other");
    for (const Layout *l : {&a, &b, &c, &d})
        if (l->pitch < (int64_t)l->rows)
            return refused(CUBLAS_STATUS_INVALID_VALUE, "a leading dimension is less than the rows");
    if (a.type != CUDA_R_16BF || b.type != CUDA_R_16BF || c.type != d.type ||
        (d.type != CUDA_R_16BF && d.type != CUDA_R_32F))
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "this combination of types is not supported, or not simulated");
    if (!bias && desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "this epilogue is not simulated");
    if (bias && desc.bias_type >= 0 && desc.bias_type != d.type)
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "a bias of another type than D");
    return CUBLAS_STATUS_SUCCESS;
}

bool fits(const void *pointer, const Layout &l) {
    const size_t bytes = ((l.columns - 1) * (size_t)l.pitch + l.rows) * element_bytes(l.type);
    return (uintptr_t)pointer % ALIGNMENT == 0 && check_device_range(pointer, bytes) == cudaSuccess;
}

float read(const void *array, cudaDataType type, size_t index) {
    return type == CUDA_R_32F ? static_cast<const float *>(array)[index] : bf16_at(array, index);
}

/* op(matrix) as floats, row by row or column by column so that k is the fastest. */
std::vector<float> unpack(const void *array, const Layout &l, bool k_is_rows) {
    std::vector<float> out(l.rows * l.columns);
    for (uint64_t column = 0; column < l.columns; column++)
        for (uint64_t row = 0; row < l.rows; row++)
            out[k_is_rows ? column * l.rows + row : row * l.columns + column] =
                read(array, l.type, column * (size_t)l.pitch + row);
    return out;
}

void run(const Product &p) {
    DeviceScope scope;
    if (p.workspace)
        memset(p.workspace, 0xff, p.workspace_bytes);
    const size_t m = p.c.rows, n = p.c.columns, k = transposed(p.desc, 0) ? p.a.rows : p.a.columns;
    const std::vector<float> a = unpack(p.at_a, p.a, transposed(p.desc, 0));
    const std::vector<float> b = unpack(p.at_b, p.b, !transposed(p.desc, 1));
    for (size_t column = 0; column < n; column++)
        for (size_t row = 0; row < m; row++) {
            float sum = 0.0f;
            for (size_t i = 0; i < k; i++)
                sum += a[row * k + i] * b[column * k + i];
            const size_t at = column * (size_t)p.c.pitch + row;
            sum *= p.alpha;
            if (p.beta != 0.0f)
                sum += p.beta * read(p.at_c, p.c.type, at);
            if (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
                sum += read(p.desc.bias, p.c.type, row);
            if (p.c.type == CUDA_R_32F)
                static_cast<float *>(p.to)[at] = sum;
            else
                put_bf16(p.to, at, sum);
        }
    if (p.workspace)
        memset(p.workspace, 0xff, p.workspace_bytes);
}

} // namespace

extern "C" {

size_t cublasLtGetVersion(void) {
    return CUBLAS_VERSION;
}
const char *cublasLtGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_SUCCESS         ? "success"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
           : status == CUBLAS_STATUS_INVALID_VALUE ? "an invalid value"
                                                   : "an error of the simulator";
}
cublasStatus_t cublasLtCreate(cublasLtHandle_t *out) {
    *out = reinterpret_cast<cublasLtHandle_t>(new char);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    delete reinterpret_cast<char *>(handle);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale) {
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "only sums in float are simulated");
    *out = reinterpret_cast<cublasLtMatmulDesc_t>(
        new Desc{{CUBLAS_OP_N, CUBLAS_OP_N}, CUBLASLT_EPILOGUE_DEFAULT, nullptr, -1});
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
    delete of(desc);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t bytes) {
    Desc *d = of(desc);
    void *to = name == CUBLASLT_MATMUL_DESC_TRANSA           ? (void *)&d->operation[0]
               : name == CUBLASLT_MATMUL_DESC_TRANSB         ? (void *)&d->operation[1]
               : name == CUBLASLT_MATMUL_DESC_EPILOGUE       ? (void *)&d->epilogue
               : name == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE ? (void *)&d->bias_type
               : name == CUBLASLT_MATMUL_DESC_BIAS_POINTER   ? (void *)&d->bias
                                                             : nullptr;
    if (!to)
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "this attribute of a product is not simulated");
    if (bytes != (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : 4))
        return refused(CUBLAS_STATUS_INVALID_VALUE, "an attribute has another size");
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t pitch) {
    *out = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, columns, pitch});
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
    delete of(layout);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out) {
    *out = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference{0, {256, 256, 256, 256}});
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
    delete reinterpret_cast<Preference *>(preference);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name, const void *value,
                                                    size_t) {
    Preference *p = reinterpret_cast<Preference *>(preference);
    const int matrix = (int)name - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
        memcpy(&p->workspace, value, sizeof p->workspace);
    else if (matrix >= 0 && matrix < 4)
        memcpy(&p->alignment[matrix], value, sizeof *p->alignment);
    else if (name != CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
        return refused(CUBLAS_STATUS_NOT_SUPPORTED, "this preference is not simulated");
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int most,
                                              cublasLtMatmulHeuristicResult_t *results, int *count) {
    const Preference *p = reinterpret_cast<Preference *>(preference);
    *count = 0;
    const cublasStatus_t status = check(*of(desc), *of(a), *of(b), *of(c), *of(d));
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    for (uint32_t alignment : p->alignment)
        if (alignment > ALIGNMENT)
            return refused(CUBLAS_STATUS_INVALID_VALUE, "operands are said to be better aligned than they are");
    for (int i = 0; i < most && i < ALGORITHMS; i++) {
        results[i] = cublasLtMatmulHeuristicResult_t{};
        results[i].algo.data[0] = (uint64_t)i + 1;
        results[i].state = CUBLAS_STATUS_SUCCESS;
        results[i].workspaceSize = i == 0 || p->workspace < WORKSPACE ? 0 : WORKSPACE;
        ++*count;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha, const void *at_a,
                              cublasLtMatrixLayout_t a, const void *at_b, cublasLtMatrixLayout_t b, const void *beta,
                              const void *at_c, cublasLtMatrixLayout_t c, void *to, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
    const Product p = {*of(desc),
                       *of(a),
                       *of(b),
                       *of(d),
                       at_a,
                       at_b,
                       at_c,
                       to,
                       workspace_bytes ? workspace : nullptr,
                       workspace_bytes,
                       *static_cast<const float *>(alpha),
                       *static_cast<const float *>(beta)};
    const cublasStatus_t status = check(p.desc, p.a, p.b, *of(c), p.c);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (options().libraries_fail)
        return refused(CUBLAS_STATUS_EXECUTION_FAILED, "told to fail");
    if (!algorithm || algorithm->data[0] == 0 || algorithm->data[0] > ALGORITHMS)
        return refused(CUBLAS_STATUS_INVALID_VALUE, "no algorithm of the heuristic's");
    const Layout bias = {p.c.type, p.c.rows, 1, (int64_t)p.c.rows};
    if (!fits(at_a, p.a) || !fits(at_b, p.b) || !fits(to, p.c) || (p.beta != 0.0f && !fits(at_c, *of(c))) ||
        (p.desc.epilogue == CUBLASLT_EPILOGUE_BIAS && !fits(p.desc.bias, bias)) ||
        (p.workspace && check_device_range(workspace, workspace_bytes) != cudaSuccess))
        return refused(CUBLAS_STATUS_INVALID_VALUE, "an operand outside the device's memory, or not aligned");
    return submit(stream, [p] { run(p); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
}

namespace cudasim {

#define SYMBOL(name)                                                                                                   \
    { #name, (void *)name }
const Symbol cublaslt_symbols[] = {SYMBOL(cublasLtGetVersion),
                                   SYMBOL(cublasLtGetStatusString),
                                   SYMBOL(cublasLtCreate),
                                   SYMBOL(cublasLtDestroy),
                                   SYMBOL(cublasLtMatmulDescCreate),
                                   SYMBOL(cublasLtMatmulDescDestroy),
                                   SYMBOL(cublasLtMatmulDescSetAttribute),
                                   SYMBOL(cublasLtMatrixLayoutCreate),
                                   SYMBOL(cublasLtMatrixLayoutDestroy),
                                   SYMBOL(cublasLtMatmulPreferenceCreate),
                                   SYMBOL(cublasLtMatmulPreferenceDestroy),
                                   SYMBOL(cublasLtMatmulPreferenceSetAttribute),
                                   SYMBOL(cublasLtMatmulAlgoGetHeuristic),
                                   SYMBOL(cublasLtMatmul),
                                   {nullptr, nullptr}};

} // namespace cudasim
