/* A table of rows looked up by label. The gradient goes to the rows in the order of the examples, so that two examples
 * of one class always add up in the same order. */
#include "kernels/cpu/cpu.h"

dg_status DG_CPU(embedding_fwd)(dg_exec *exec, const float *table, const int32_t *labels, const dg_tensor *y) {
    (void)exec;
    const int64_t c = dg_cpu_image_count(y);
    for (int64_t n = 0; n < y->dims[0]; n++)
        memcpy((float *)y->data + n * c, table + labels[n] * c, (size_t)c * sizeof *table);
    return DG_OK;
}

dg_status DG_CPU(embedding_bwd_params)(dg_exec *exec, const dg_param_grad *mode, int64_t rows, const int32_t *labels,
                                       const dg_tensor *dy, float *dtable) {
    (void)exec;
    const int64_t c = dg_cpu_image_count(dy);
    const int64_t images = mode->mode == DG_GRAD_EXAMPLES ? mode->copies : dy->dims[0];
    if (mode->mode != DG_GRAD_SQNORMS && !mode->accumulate)
        for (int64_t e = 0; e < dy->dims[0] / images; e++)
            memset(dtable + e * mode->example_stride, 0, (size_t)(rows * c) * sizeof *dtable);
    for (int64_t n = 0; n < dy->dims[0]; n++) {
        const float *from = (const float *)dy->data + n * c;
        if (mode->mode == DG_GRAD_SQNORMS) {
            double sum = 0.0;
            for (int64_t j = 0; j < c; j++)
                sum += (double)from[j] * (double)from[j];
            mode->sqnorms[n] += sum;
            continue;
        }
        const float weight = mode->mode == DG_GRAD_WEIGHTED ? mode->example_weight[n] : 1.0f;
        float *restrict row = dtable + n / images * mode->example_stride + labels[n] * c;
        if (weight == 0.0f)
            continue;
#pragma omp simd
        for (int64_t j = 0; j < c; j++)
            row[j] += weight * from[j];
    }
    for (int64_t e = 0; mode->mode == DG_GRAD_EXAMPLES && mode->sqnorms && e < dy->dims[0] / images; e++)
        mode->sqnorms[e] += dg_cpu_squares(rows * c, dtable + e * mode->example_stride);
    return DG_OK;
}
