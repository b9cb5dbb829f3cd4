/* Sinusoids of the timestep. Every intermediate is a float, the angle included: models were trained with angles rounded
 * this way, and at t near 1000 a double's angle would differ by 5e-5. An ulp of the frequency is an ulp of the angle,
 * so the exponential is not CUDA's but the CPU's (dg_expf in kernels/cpu/cpu.h), which gives PyTorch's value. */
#include "kernels/cuda/elementwise.h"

#include "core/philox_math.h"

/* dg_expf, with every fused operation written, so that all compilers and the simulator agree. */
static __device__ float exp_of_frequency(float x) {
    const float magic = 0x1.8p23f; /* adding it rounds to an integer, which then sits in the low bits */
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float t = DG_FMAF(x, 0x1.715476p0f, magic), n = t - magic;
    float r = DG_FMAF(n, -0x1.62e4p-1f, x);
    r = DG_FMAF(n, -0x1.7f7d1cp-20f, r);
    float p = 0x1.6850e4p-10f; /* (e^r - 1 - r) / r^2 on |r| <= ln(2)/2 */
    p = DG_FMAF(p, r, 0x1.123bccp-7f);
    p = DG_FMAF(p, r, 0x1.555b98p-5f);
    p = DG_FMAF(p, r, 0x1.55548ep-3f);
    p = DG_FMAF(p, r, 0x1.fffff8p-2f);
    p = DG_FMAF(p * r, r, r) + 1.0f;
    const int32_t whole = (int32_t)(dg_bits_of_float(t) - 0x4b400000u), half = whole >> 1;
    const uint32_t low = (uint32_t)(half + 127) << 23, high = (uint32_t)(whole - half + 127) << 23;
    return p * dg_float_of_bits(low) * dg_float_of_bits(high);
}

/* Sine and cosine within an ulp of 1: reduced to |r| <= pi/4 in double, then polynomials. CUDA's sinf takes local
 * memory for angles that never come, and would leave the last digit to the hardware that tests run on. */
static __device__ void sine_and_cosine(float angle, float *sine, float *cosine) {
    const double quarters = rint((double)angle * 0.6366197723675814); /* 2/pi */
    const double quadrant = quarters - 4.0 * floor(0.25 * quarters);  /* 0 .. 3, or NaN */
    const float r = (float)fma(quarters, -1.5707963267948966, (double)angle), z = r * r;
    float s = DG_FMAF(z, -1.9515295891e-4f, 8.3321608736e-3f);
    s = DG_FMAF(z, s, -1.6666654611e-1f);
    s = DG_FMAF(z * r, s, r);
    float c = DG_FMAF(z, 2.443315711809948e-5f, -1.388731625493765e-3f);
    c = DG_FMAF(z, c, 4.166664568298827e-2f);
    c = DG_FMAF(z * z, c, DG_FMAF(z, -0.5f, 1.0f));
    const bool odd = quadrant == 1.0 || quadrant == 3.0;
    *sine = (odd ? c : s) * (quadrant >= 2.0 ? -1.0f : 1.0f);
    *cosine = (odd ? s : c) * (quadrant == 1.0 || quadrant == 2.0 ? -1.0f : 1.0f);
}

/* A thread owns one frequency of one image and writes its sine and cosine; where the number of channels is odd, one
 * more writes the zero. */
template <class T>
static __global__ void timestep_embedding_kernel(dg_timestep_desc desc, const float *t, const int32_t *labels, T *y) {
    const int64_t half = desc.channels / 2, i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    for (int64_t n = blockIdx.y; n < desc.n; n += gridDim.y) {
        T *row = y + n * desc.channels;
        if (i < half) {
            const float exponent = -9.210340371976184f * (float)i / ((float)half - desc.freq_shift); /* ln 10000 */
            const float angle = (t ? t[n] : (float)labels[n]) * exp_of_frequency(exponent);
            float sine, cosine;
            sine_and_cosine(angle, &sine, &cosine);
            dg_store(row + (desc.flip_sin_to_cos ? half + i : i), sine);
            dg_store(row + (desc.flip_sin_to_cos ? i : half + i), cosine);
        } else if (2 * i + 1 == desc.channels) {
            dg_store(row + 2 * i, 0.0f);
        }
    }
}

dg_status DG_CUDA(timestep_embedding_fwd)(dg_exec *exec, const dg_timestep_desc *desc, const float *t,
                                          const int32_t *labels, const dg_tensor *y) {
    dg_cuda_typed(y->dtype, [&](auto *type) {
        using T = std::remove_pointer_t<decltype(type)>;
        const int64_t frequencies = (desc->channels + 1) / 2;
        const unsigned threads = dg_cuda_threads(frequencies);
        const dim3 grid(dg_cuda_blocks(frequencies, threads), dg_cuda_blocks(desc->n, 1, 65535));
        LAUNCH((timestep_embedding_kernel<T>), grid, threads, 0, dg_cuda_stream(exec), *desc, t, labels, (T *)y->data);
    });
    return dg_cuda_launched(exec, "timestep_embedding_fwd");
}
