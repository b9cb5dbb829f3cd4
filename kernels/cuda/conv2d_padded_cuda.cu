/* conv2d: its operands as the kernels read them, 16 bytes of a pixel's channels at a time. Where channels do not divide
 * into such chunks (images), or a tensor does not lie at a 16-byte boundary, a copy goes to the workspace first, each
 * pixel filled up with zeros; results are written for the real channels alone.
 *
 * Reads the tensor and writes the copy, which is small enough to stay in the L2 cache where it replaces images: 6 bytes
 * a pixel of 3 channels in BF16 become 16. */
#include "kernels/cuda/conv2d.h"
#include "kernels/cuda/conv2d_tile.h"
#include "kernels/cuda/elementwise.h"

namespace {

enum { THREADS = 256 };

/* Thread = one chunk of the copy; `chunks` of them are a pixel. */
template <class T>
__global__ void __launch_bounds__(THREADS) pad_kernel(int64_t count, int channels, int chunks, const T *from, T *to) {
    constexpr int CHUNK = conv_chunk<T>;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, pixel = i / chunks;
    const int c = (int)(i - pixel * chunks) * CHUNK;
    float v[CHUNK];
    if (i >= count)
        return;
    dg_load_run(from + pixel * channels + c, channels - c, false, v);
    dg_store_vec(to + i * CHUNK, v);
}

int64_t pixels_of(const conv_plan *p, bool output) {
    return p->desc.n * (output ? (int64_t)p->out_h * p->out_w : p->desc.h * p->desc.w);
}

int64_t channels_of(const conv_plan *p, bool output) {
    return output ? p->desc.out_c : p->desc.in_c;
}

size_t copy_bytes(const conv_plan *p, bool output) {
    const int64_t elements = pixels_of(p, output) * conv_padded(p, channels_of(p, output));
    return (size_t)conv_round_up(elements * (int64_t)conv_element_bytes(p), CONV_ALIGNMENT);
}

/* Of a tensor at a 16-byte boundary. */
size_t needed_bytes(const conv_plan *p, bool output) {
    const int64_t channels = channels_of(p, output);
    return conv_padded(p, channels) == channels ? 0 : copy_bytes(p, output);
}

} // namespace

size_t dg_cuda_conv2d_padded_workspace(const conv_plan *p) {
    const size_t x = needed_bytes(p, false), dy = needed_bytes(p, true);
    if (!p->desc.training)
        return x;
    if (p->vectors) /* whose parameter gradients read the tensors themselves */
        return x > dy ? x : dy;
    return p->params_bytes + x + dy;
}

dg_status dg_cuda_conv2d_padded(const dg_exec *exec, const conv_plan *p, bool output, const dg_tensor *tensor,
                                size_t *used, dg_tensor *padded) {
    const size_t bytes = copy_bytes(p, output);
    const bool aligned = (uintptr_t)tensor->data % CONV_CHUNK_BYTES == 0;
    *padded = *tensor;
    padded->dims[3] = conv_padded(p, tensor->dims[3]);
    if (aligned && needed_bytes(p, output) == 0)
        return DG_OK;
    if (exec->workspace_bytes < *used + bytes)
        return dg_fail(exec->ctx, DG_EINVAL,
                       "conv2d: a workspace of %zu bytes is too small for a copy of %s%s, with which it takes %zu",
                       exec->workspace_bytes, output ? "dy" : "x",
                       aligned ? "" : ", which lies at an address that does not divide by 16", *used + bytes);
    void *copy = static_cast<char *>(exec->workspace) + *used;
    *used += bytes;
    padded->data = copy;
    dg_cuda_typed(tensor->dtype, [&](auto *t) {
        using T = std::remove_pointer_t<decltype(t)>;
        const int64_t channels = channels_of(p, output);
        const int chunks = conv_padded(p, channels) / conv_chunk<T>;
        const int64_t count = pixels_of(p, output) * chunks;
        LAUNCH((pad_kernel<T>), dg_cuda_blocks(count, THREADS, INT32_MAX), THREADS, 0, dg_cuda_stream(exec), count,
               (int)channels, chunks, (const T *)tensor->data, (T *)copy);
    });
    return DG_OK;
}
