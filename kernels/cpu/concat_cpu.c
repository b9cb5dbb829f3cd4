/* Concatenation along the channels: every pixel of y is one of a followed by one of b. */
#include "kernels/cpu/cpu.h"

/* Copies (or adds) `count` pixels of `c` channels between rows of different pitch. */
static void move_pixels(const float *from, int64_t from_pitch, float *to, int64_t to_pitch, int64_t c, int64_t count,
                        bool accumulate) {
    for (int64_t i = 0; i < count; i++) {
        const float *restrict source = from + i * from_pitch;
        float *restrict target = to + i * to_pitch;
        if (accumulate) {
#pragma omp simd
            for (int64_t j = 0; j < c; j++)
                target[j] += source[j];
        } else {
            memcpy(target, source, (size_t)c * sizeof *target);
        }
    }
}

dg_status DG_CPU(concat_fwd)(dg_exec *exec, const dg_tensor *a, const dg_tensor *b, const dg_tensor *y) {
    (void)exec;
    const int64_t pixels = y->dims[0] * y->dims[1] * y->dims[2], a_c = a->dims[3], b_c = b->dims[3], c = a_c + b_c;
    move_pixels(a->data, a_c, y->data, c, a_c, pixels, false);
    move_pixels(b->data, b_c, (float *)y->data + a_c, c, b_c, pixels, false);
    return DG_OK;
}

dg_status DG_CPU(concat_bwd_data)(dg_exec *exec, const dg_tensor *dy, const dg_tensor *da, bool accumulate_a,
                                  const dg_tensor *db, bool accumulate_b) {
    (void)exec;
    const int64_t pixels = dy->dims[0] * dy->dims[1] * dy->dims[2], a_c = da->dims[3], b_c = db->dims[3], c = a_c + b_c;
    move_pixels(dy->data, c, da->data, a_c, a_c, pixels, accumulate_a);
    move_pixels((const float *)dy->data + a_c, c, db->data, b_c, b_c, pixels, accumulate_b);
    return DG_OK;
}
