/* conv2d: the plan, and packing the weights. The algorithm is told in conv2d.h. */
#include "kernels/cuda/conv2d.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

/* ---- planning ---- */

static int64_t out_size(const dg_conv2d_desc *d, int64_t in) {
    return d->upsample ? 2 * in : (in + d->pad_begin + d->pad_end - d->kernel) / d->stride + 1;
}

/* NULL, or what is wrong. */
static const char *fault_of(const dg_conv2d_desc *d) {
    if (d->n <= 0 || d->h <= 0 || d->w <= 0 || d->in_c <= 0 || d->out_c <= 0 || d->lanes < 0)
        return "sizes must be positive";
    if ((d->kernel != 1 && d->kernel != 3) || d->stride < 1 || d->pad_begin < 0 || d->pad_end < 0 ||
        d->pad_begin >= d->kernel || d->pad_end >= d->kernel)
        return "the kernel must be 1 or 3, the stride positive and the padding smaller than the kernel";
    if (d->h + d->pad_begin + d->pad_end < d->kernel || d->w + d->pad_begin + d->pad_end < d->kernel)
        return "the padded image is smaller than the kernel";
    if (d->upsample && (d->kernel != 3 || d->stride != 1 || d->pad_begin != 1 || d->pad_end != 1))
        return "enlarging needs kernel 3, stride 1, padding 1";
    /* Kernels count pixels of a batch, elements of an image and weights in int; parameter gradients find the row of a
     * pixel by a float product, which is exact to 2^24 pixels. */
    const int64_t most = INT_MAX / 4, side = 1 << 14;
    if (d->h > side || d->w > side || d->stride > side || d->in_c > most / 8 / d->out_c)
        return "too large for the GPU backend";
    const int64_t image = d->h * d->w, out = out_size(d, d->h) * out_size(d, d->w);
    const int64_t widest = conv_round_up(d->in_c > d->out_c ? d->in_c : d->out_c, 8);
    const int64_t larger = image > out ? image : out;
    if (larger > 1 << 24 || d->n > most / larger || widest > most / larger)
        return "too large for the GPU backend";
    return NULL;
}

static dg_status check_desc(dg_ctx *ctx, const dg_conv2d_desc *d) {
    const char *fault = fault_of(d);
    if (!fault)
        return DG_OK;
    return dg_fail(ctx, DG_EINVAL,
                   "conv2d of %" PRId64 "x%" PRId64 "x%" PRId64 "x%" PRId64 " to %" PRId64
                   " channels, kernel %d, stride %d, padding %d and %d%s: %s",
                   d->n, d->h, d->w, d->in_c, d->out_c, d->kernel, d->stride, d->pad_begin, d->pad_end,
                   d->upsample ? ", enlarged" : "", fault);
}

static void add_tap(conv_gather *g, conv_phase *phase, int dy, int dx, unsigned sum) {
    g->tap[phase->first_tap + phase->taps++] = conv_tap{(short)dy, (short)dx, (unsigned short)sum};
}

static conv_phase *add_phase(conv_gather *g, int grid_h, int grid_w, int to_y, int to_x) {
    conv_phase *phase = &g->phase[g->phases];
    *phase = conv_phase{};
    phase->grid_h = grid_h, phase->grid_w = grid_w, phase->to_y = to_y, phase->to_x = to_x;
    if (g->phases > 0) {
        const conv_phase *before = phase - 1;
        phase->first_tap = before->first_tap + before->taps;
        phase->weights = before->weights + (int64_t)g->to_c * conv_pitch(*g, g->phases - 1);
    }
    g->phases++;
    return phase;
}

/* The taps of a 3x3 kernel that are in both sets, one bit per row and one per column. */
static unsigned taps_of(unsigned rows, unsigned columns) {
    unsigned sum = 0;
    for (int k = 0; k < 9; k++)
        if (rows >> k / 3 & 1 && columns >> k % 3 & 1)
            sum |= 1u << k;
    return sum;
}

static void gather_in_one(const conv_plan *p, conv_gather *g) {
    const dg_conv2d_desc *d = &p->desc;
    conv_phase *phase = add_phase(g, p->out_h, p->out_w, 0, 0);
    g->step = d->stride;
    g->enlarged = d->upsample;
    for (int k = 0; k < d->kernel * d->kernel; k++)
        add_tap(g, phase, k / d->kernel - d->pad_begin, k % d->kernel - d->pad_begin, 1u << k);
}

static void gather_forward(const conv_plan *p, conv_gather *g) {
    const dg_conv2d_desc *d = &p->desc;
    if (!d->upsample) {
        gather_in_one(p, g);
        return;
    }
    static const unsigned seen[2][2] = {{1, 6}, {3, 4}}; /* [parity][tap] */
    g->to_step = 2;
    for (int parity = 0; parity < 4; parity++) {
        const int py = parity / 2, px = parity % 2;
        conv_phase *phase = add_phase(g, (int)d->h, (int)d->w, py, px);
        for (int k = 0; k < 4; k++)
            add_tap(g, phase, py - 1 + k / 2, px - 1 + k % 2, taps_of(seen[py][k / 2], seen[px][k % 2]));
    }
}

/* The phases `first`, first + 1, ... of a strided convolution's data gradient. */
static void gather_strided_backward(const conv_plan *p, int64_t first, conv_gather *g) {
    const dg_conv2d_desc *d = &p->desc;
    const int s = d->stride;
    g->to_step = s;
    for (int64_t i = first; i < (int64_t)s * s && i < first + CONV_MAX_PHASES; i++) {
        const int ry = (int)(i / s), rx = (int)(i % s);
        conv_phase *phase = add_phase(g, (int)conv_blocks(d->h - ry, s), (int)conv_blocks(d->w - rx, s), ry, rx);
        for (int k = 0; k < d->kernel * d->kernel; k++) {
            const int dy = ry + d->pad_begin - k / d->kernel, dx = rx + d->pad_begin - k % d->kernel;
            if (dy % s == 0 && dx % s == 0)
                add_tap(g, phase, dy / s, dx / s, 1u << k);
        }
    }
}

static void gather_enlarged_backward(const conv_plan *p, conv_gather *g) {
    static const unsigned seen[4] = {4, 6, 3, 1}; /* by the dy of 2i-1, 2i, 2i+1, 2i+2 */
    conv_phase *phase = add_phase(g, (int)p->desc.h, (int)p->desc.w, 0, 0);
    g->step = 2;
    for (int k = 0; k < 16; k++)
        add_tap(g, phase, k / 4 - 1, k % 4 - 1, taps_of(seen[k / 4], seen[k % 4]));
}

static void gather_sizes(const conv_plan *p, bool transposed, conv_gather *out) {
    const dg_conv2d_desc *d = &p->desc;
    *out = conv_gather{};
    out->n = (int)d->n, out->kernel = d->kernel, out->transposed = transposed;
    out->step = out->to_step = 1;
    if (transposed) {
        out->from_h = p->out_h, out->from_w = p->out_w, out->real_c = (int)d->out_c;
        out->to_h = (int)d->h, out->to_w = (int)d->w, out->to_c = (int)d->in_c;
    } else {
        out->from_h = (int)d->h, out->from_w = (int)d->w, out->real_c = (int)d->in_c;
        out->to_h = p->out_h, out->to_w = p->out_w, out->to_c = (int)d->out_c;
    }
    out->from_c = conv_padded(p, out->real_c);
}

bool dg_cuda_conv2d_gather(const conv_plan *p, bool transposed, int index, conv_gather *out) {
    const dg_conv2d_desc *d = &p->desc;
    const int64_t first = (int64_t)index * CONV_MAX_PHASES;
    gather_sizes(p, transposed, out);
    if (index > 0 && (!transposed || first >= (int64_t)d->stride * d->stride))
        return false;
    if (!transposed)
        gather_forward(p, out);
    else if (d->upsample)
        gather_enlarged_backward(p, out);
    else
        gather_strided_backward(p, first, out);
    return true;
}

void dg_cuda_conv2d_gather_whole(const conv_plan *p, conv_gather *out) {
    gather_sizes(p, false, out);
    gather_in_one(p, out);
}

int64_t dg_cuda_conv2d_packed_count(const conv_gather *g) {
    return g->phase[g->phases - 1].weights + (int64_t)g->to_c * conv_pitch(*g, g->phases - 1);
}

static int64_t packed_count(const conv_plan *p, bool transposed) {
    conv_gather g;
    int64_t count = 0;
    for (int i = 0; dg_cuda_conv2d_gather(p, transposed, i, &g); i++)
        count += dg_cuda_conv2d_packed_count(&g);
    return count;
}

/* Whether there is code for wgmma and a device that it runs on: compute capability 9.0, no older and no newer one. */
static bool has_wgmma(void) {
#if defined(DG_SM_90A) || defined(DG_CUDASIM)
    int device = 0, major = 0, minor = 0;
    return cudaGetDevice(&device) == cudaSuccess &&
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
           cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess && major == 9 &&
           minor == 0;
#else
    return false;
#endif
}

static void plan_free(dg_plan *plan) {
    dg_conv2d_library_free(conv_plan_of(plan)->library);
    free(plan);
}

/* Lets the libraries take passes over. The plan is complete without them. */
static dg_status plan_library(dg_ctx *ctx, conv_plan *p) {
    const dg_status status = dg_conv2d_library_plan(ctx, &p->base, &p->desc, &p->library);
    if (!p->library)
        return status;
    p->base.implementation = dg_conv2d_library_name(p->library);
    p->own_packed_bytes = (size_t)conv_round_up((int64_t)p->base.packed_bytes, CONV_ALIGNMENT);
    p->base.packed_bytes = p->own_packed_bytes + dg_conv2d_library_packed_bytes(p->library);
    const size_t workspace = dg_conv2d_library_workspace_bytes(p->library);
    if (workspace > p->base.workspace_bytes)
        p->base.workspace_bytes = workspace;
    return status;
}

dg_status DG_CUDA(conv2d_plan)(dg_exec *exec, const dg_conv2d_desc *desc, dg_plan **plan) {
    static const char *const names[] = {"implicit GEMM, FP32", "implicit GEMM, TF32", "implicit GEMM, BF16"};
    conv_plan *p = NULL;
    *plan = NULL;
    dg_status status = check_desc(exec->ctx, desc);
    if (status == DG_OK)
        status = dg_alloc(exec->ctx, &p, 1, sizeof *p, "conv2d plan");
    if (status != DG_OK)
        return status;
    p->base.free = plan_free;
    p->desc = *desc;
    p->out_h = (int)out_size(desc, desc->h);
    p->out_w = (int)out_size(desc, desc->w);
    if (cudaDeviceGetAttribute(&p->processors, cudaDevAttrMultiProcessorCount, 0) != cudaSuccess)
        p->processors = 1;
    p->wgmma = desc->precision == DG_PRECISION_BF16 && has_wgmma();
    p->vectors = desc->h == 1 && desc->w == 1 && desc->kernel == 1;
    p->fwd_count = packed_count(p, false);
    p->base.packed_bytes = (size_t)p->fwd_count * conv_element_bytes(p);
    if (desc->training) {
        p->base.packed_bytes += (size_t)packed_count(p, true) * conv_element_bytes(p);
        p->params_bytes = (size_t)conv_round_up((int64_t)dg_cuda_conv2d_params_plan(p), CONV_ALIGNMENT);
    }
    p->base.workspace_bytes = dg_cuda_conv2d_padded_workspace(p);
    p->base.implementation = names[desc->precision];
    status = plan_library(exec->ctx, p);
    if (status == DG_OK)
        *plan = &p->base;
    else
        plan_free(&p->base);
    return status;
}

dg_status dg_cuda_conv2d_check_joined(const dg_exec *exec, const conv_plan *p, const char *pass, const dg_tensor *t) {
    if (t->tail_c != 0 && (p->desc.kernel != 1 || p->desc.stride != 1))
        return dg_fail(exec->ctx, DG_EINVAL, "%s: joined tensors need kernel 1 and stride 1, not %d and %d", pass,
                       p->desc.kernel, p->desc.stride);
    return dg_cuda_check_joined(exec, pass, {t});
}

/* ---- weights ---- */

/* blockIdx.y is a row of the packed matrices of phase blockIdx.z, a thread owns elements of it. The weights are read
 * with a stride of k*k or in_c*k*k floats: a few hundred kilobytes that stay in the cache, once per step. */
template <class T> static __global__ void pack_kernel(conv_gather g, const float *weight, T *packed) {
    const conv_phase phase = g.phase[blockIdx.z];
    const int pitch = conv_pitch(g, blockIdx.z), row = blockIdx.x, kk = g.kernel * g.kernel;
    const size_t o_step = (size_t)(g.transposed ? g.to_c : g.real_c) * kk;
    for (int k = threadIdx.x; k < pitch; k += blockDim.x) {
        const int tap = k / g.from_c, c = k % g.from_c;
        float sum = 0.0f;
        if (tap < phase.taps && c < g.real_c) {
            const float *from = weight + (g.transposed ? c * o_step + (size_t)row * kk : row * o_step + (size_t)c * kk);
            const unsigned add = g.tap[phase.first_tap + tap].sum;
            for (int i = 0; i < kk; i++)
                if (add >> i & 1)
                    sum += from[i];
        }
        dg_store(packed + phase.weights + (size_t)row * pitch + k, sum);
    }
}

template <class T> static void pack(const dg_exec *exec, const conv_plan *p, const float *weight, T *packed) {
    conv_gather g;
    for (int transposed = 0; transposed <= (p->desc.training ? 1 : 0); transposed++)
        for (int i = 0; dg_cuda_conv2d_gather(p, transposed, i, &g); i++) {
            LAUNCH((pack_kernel<T>), dim3((unsigned)g.to_c, 1, (unsigned)g.phases), 128, 0, dg_cuda_stream(exec), g,
                   weight, packed);
            packed += dg_cuda_conv2d_packed_count(&g);
        }
}

dg_status DG_CUDA(conv2d_pack)(dg_exec *exec, const dg_plan *plan, const float *weight, void *packed) {
    const conv_plan *p = conv_plan_of(plan);
    if (p->desc.precision == DG_PRECISION_BF16)
        pack(exec, p, weight, static_cast<__nv_bfloat16 *>(packed));
    else
        pack(exec, p, weight, static_cast<float *>(packed));
    if (p->library)
        dg_conv2d_library_pack(exec, p->library, weight, conv_library_packed(p, packed));
    return dg_cuda_launched(exec, "conv2d_pack");
}
