/* One update of any first- or multistep sampler, by the linear form of kernels/ops.h, in one launch whatever the
 * description says: it is only known when the kernel runs.
 *
 * Dynamic thresholding needs the quantile of |x0| over an image. Floats without a sign order like their bit patterns,
 * so the k-th smallest is found by three counting passes over the bits, highest first (11, 10 and 10 of them): linear
 * time whatever the data, integer counts, which come out the same in any order, and NaN, which sorts last, cannot
 * derail it. x0 before the threshold is worked out anew from x and o in each pass, which read from cache, so that it
 * needs no memory of its own. ref  Saharia et al. 2022, sec. 2.3 */
#include "kernels/cuda/noise.h"

static constexpr int STEP_THREADS = 1024;
static constexpr uint32_t MAX_BINS = 1 << 11;

/* One image of one launch. */
typedef struct step_image {
    const void *o, *x;
    bool o_bf16, x_bf16, aligned;
    int64_t at, count; /* first element in the tensors; how many */
    float kx, ko;
} step_image;

/* kx*x + ko*o of a run, fused in one way wherever it is used. */
static __device__ __forceinline__ void clean_run(const step_image &image, int64_t first, float (&x)[DG_RUN],
                                                 float (&o)[DG_RUN], float (&x0)[DG_RUN]) {
    const int64_t left = image.count - first;
    dg_load_any(image.x, image.x_bf16, image.at + first, left, image.aligned, x);
    dg_load_any(image.o, image.o_bf16, image.at + first, left, image.aligned, o);
#pragma unroll
    for (int i = 0; i < DG_RUN; i++)
        x0[i] = DG_FMAF(image.kx, x[i], image.ko * o[i]);
}

/* f(magnitude bits) for every element of the image, the block's threads sharing the runs. */
template <class F> static __device__ __forceinline__ void each_magnitude(const step_image &image, F f) {
    for (int64_t first = (int64_t)threadIdx.x * DG_RUN; first < image.count; first += (int64_t)blockDim.x * DG_RUN) {
        float x[DG_RUN], o[DG_RUN], x0[DG_RUN];
        clean_run(image, first, x, o, x0);
#pragma unroll
        for (int i = 0; i < DG_RUN; i++)
            if (first + i < image.count)
                f(dg_bits_of_float(x0[i]) & 0x7fffffffu);
    }
}

/* What the block has found out about the quantile. Counts are 32 bits: an image has fewer than 2^32 elements. */
typedef struct selection {
    uint32_t found, known;     /* the bits of the k-th smallest, and the mask of those decided */
    uint32_t below, not_above; /* how many are smaller than `found`, and not larger, as far as decided */
    uint32_t next;             /* the smallest larger one */
} selection;

/* The first warp finds the bin in which the count passes `rank` and adds its bits to the selection. A lane owns bins/32
 * neighbouring bins and starts at one of its own number, so that the lanes' reads fall in different banks. */
static __device__ void choose_bin(const uint32_t *histogram, uint32_t bins, int shift, uint32_t rank, selection *s) {
    const uint32_t lane = threadIdx.x, width = bins / 32;
    uint32_t own = 0;
    for (uint32_t b = 0; b < width; b++)
        own += histogram[lane * width + (b + lane) % width];
    uint32_t up_to = own;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
        const uint32_t before = __shfl_up_sync(0xffffffffu, up_to, offset);
        up_to += (int)lane >= offset ? before : 0;
    }
    uint32_t below = up_to - own;
    if (below <= rank && rank < up_to) { /* one lane */
        uint32_t bin = lane * width;
        while (below + histogram[bin] <= rank)
            below += histogram[bin++];
        s->found |= bin << shift;
        s->known |= (bins - 1) << shift;
        s->not_above = s->below + below + histogram[bin];
        s->below += below;
    }
}

/* Fills s->found and not_above with the k-th smallest magnitude, k from 0. */
static __device__ void select_magnitude(const step_image &image, uint32_t k, selection *s) {
    SHARED(uint32_t, histogram, [MAX_BINS]);
    for (int pass = 0; pass < 3; pass++) {
        const int shift = 20 - 10 * pass;
        const uint32_t bins = pass ? 1u << 10 : MAX_BINS;
        for (uint32_t b = threadIdx.x; b < bins; b += blockDim.x)
            histogram[b] = 0;
        __syncthreads();
        const uint32_t found = s->found, known = s->known, below = s->below;
        each_magnitude(image, [&](uint32_t bits) {
            if ((bits & known) == found)
                atomicAdd(&histogram[bits >> shift & (bins - 1)], 1u);
        });
        __syncthreads();
        if (threadIdx.x < 32)
            choose_bin(histogram, bins, shift, k - below, s);
        __syncthreads();
    }
}

/* The quantile of |x0| at q*(count-1), linear between neighbours; the whole block calls it and gets it. */
static __device__ float absolute_quantile(const step_image &image, float q) {
    SHARED(selection, shared, [1]);
    selection *s = shared;
    const double position = (double)q * (double)(image.count - 1);
    int64_t k = (int64_t)position;
    k = k < image.count ? k : image.count - 1;
    if (threadIdx.x == 0)
        *s = {0, 0, 0, 0, UINT32_MAX};
    __syncthreads();
    select_magnitude(image, (uint32_t)k, s);
    const uint32_t lower = s->found;
    const bool between = k + 1 < image.count && s->not_above <= k + 1; /* the next one is larger */
    if (between) {
        uint32_t smallest = UINT32_MAX;
        each_magnitude(image, [&](uint32_t bits) { smallest = bits > lower && bits < smallest ? bits : smallest; });
        atomicMin(&s->next, smallest);
    }
    __syncthreads();
    const uint32_t upper = between ? s->next : lower;
    __syncthreads();
    const double low = (double)dg_float_of_bits(lower);
    return (float)(low + (position - (double)k) * ((double)dg_float_of_bits(upper) - low));
}

/* x0 = v after clip (limit > 0) or dynamic threshold (s > 0). NaN stays. */
static __device__ __forceinline__ float limited(float v, float limit, bool dynamic) {
    v = v < -limit ? -limit : v;
    v = v > limit ? limit : v;
    return dynamic ? v / limit : v;
}

/* Grid row = image, thread = runs of four: x, o and whatever of m1, m2 takes part are read once, x0 and x written once,
 * the noise is one Philox block per run. With dynamic thresholding the first block of an image does all of it and the
 * others nothing; 8 KiB of shared memory for counts. bf16: bit 0 o, 1 m1, 2 m2, 3 x0, 4 x. */
static __global__ void __launch_bounds__(STEP_THREADS)
    sampler_step_kernel(const dg_sampler_desc *desc, const dg_random *random, const void *o, const void *m1,
                        const void *m2, void *x0, void *x, int64_t images, int64_t count, unsigned bf16, bool aligned) {
    const dg_sampler_desc d = dg_block_fetch(desc);
    const bool dynamic = d.threshold_ratio > 0.0f;
    const int64_t begin = ((dynamic ? 0 : (int64_t)blockIdx.x * blockDim.x) + threadIdx.x) * DG_RUN;
    const int64_t stride = (int64_t)(dynamic ? 1 : gridDim.x) * blockDim.x * DG_RUN;
    const bool idle = dynamic && blockIdx.x > 0;
    for (int64_t n = blockIdx.y; n < images && !idle; n += gridDim.y) {
        const step_image image = {o, x, (bf16 & 1) != 0, (bf16 & 16) != 0, aligned, n * count, count, d.kx, d.ko};
        float limit = d.clip > 0.0f ? d.clip : INFINITY;
        if (dynamic) {
            limit = absolute_quantile(image, d.threshold_ratio);
            limit = limit < 1.0f ? 1.0f : limit;
            limit = limit > d.threshold_max ? d.threshold_max : limit;
        }
        dg_random stream = {};
        if (d.cz != 0.0f)
            stream = dg_block_fetch(&random[n]);
        for (int64_t first = begin; first < count; first += stride) {
            const int64_t at = image.at + first, left = count - first;
            float now[DG_RUN], out[DG_RUN], clean[DG_RUN], extra[DG_RUN];
            clean_run(image, first, now, out, clean);
#pragma unroll
            for (int i = 0; i < DG_RUN; i++) {
                clean[i] = limited(clean[i], limit, dynamic);
                const float e = d.ex * now[i] + (d.eo * out[i] + d.e0 * clean[i]);
                now[i] = d.cx * now[i] + (d.c0 * clean[i] + d.ce * e);
            }
            dg_store_any(x0, bf16 & 8, at, left, aligned, clean);
            const float factors[2] = {d.c1, d.c2};
            const void *const history[2] = {m1, m2};
#pragma unroll
            for (int h = 0; h < 2; h++)
                if (factors[h] != 0.0f) {
                    dg_load_any(history[h], bf16 & (2u << h), at, left, aligned, extra);
#pragma unroll
                    for (int i = 0; i < DG_RUN; i++)
                        now[i] += factors[h] * extra[i];
                }
            if (d.cz != 0.0f) {
                dg_noise_run(stream, first, extra);
#pragma unroll
                for (int i = 0; i < DG_RUN; i++)
                    now[i] += d.cz * extra[i];
            }
            dg_store_any(x, bf16 & 16, at, left, aligned, now);
        }
    }
}

size_t DG_CUDA(sampler_step_workspace_bytes)(int64_t image_elements) {
    (void)image_elements; /* the quantile is found in shared memory */
    return 0;
}

dg_status DG_CUDA(sampler_step)(dg_exec *exec, const dg_sampler_desc *desc, const dg_random *random, const dg_tensor *o,
                                const dg_tensor *m1, const dg_tensor *m2, const dg_tensor *x0, const dg_tensor *x) {
    const int64_t images = x->dims[0], count = dg_cuda_image_count(x);
    const bool aligned = count % DG_RUN == 0 && dg_cuda_aligned({o, m1, m2, x0, x}, DG_RUN);
    const unsigned threads = dg_cuda_image_threads(count, STEP_THREADS);
    LAUNCH(sampler_step_kernel, dg_cuda_image_grid(images, count, threads), threads, 0, dg_cuda_stream(exec), desc,
           random, o->data, m1 ? m1->data : NULL, m2 ? m2->data : NULL, x0->data, x->data, images, count,
           dg_cuda_bf16_bits({o, m1, m2, x0, x}), aligned);
    return dg_cuda_launched(exec, "sampler_step");
}
