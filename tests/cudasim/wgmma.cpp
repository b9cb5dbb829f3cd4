/* Asynchronous products of a warpgroup (kernels/cuda/gpu_wgmma.h). A thread computes the elements of D that it owns;
 * what they need lies in shared memory, so no lanes have to meet for it. They are computed as late as the program
 * allows, when their group is waited for: operands overwritten too early, or sums read too early, give wrong numbers.
 */
#include "sim.h"

#include <algorithm>

namespace cudasim {

/* The element of an operand at m (or n) and k, in the layouts of gpu_wgmma.h. The swizzle is by address, as the
 * hardware's is. */
static float element(const WgmmaOperand &operand, bool mn_major, int mn, int k) {
    const char *row = mn_major ? operand.start + mn / 64 * operand.leading + k / 8 * operand.stride + k % 8 * 128
                               : operand.start + mn / 8 * operand.stride + mn % 8 * 128;
    const int along = mn_major ? mn % 64 : k;
    /* A start in the middle of a row (K-major, 16 k further) adds to the chunk before it is swizzled. */
    const uintptr_t linear = (uintptr_t)row + (uintptr_t)along * 2;
    const uintptr_t at = linear ^ (linear >> 7 & 7) << 4;
    uint16_t bits;
    memcpy(&bits, reinterpret_cast<const void *>(at), sizeof bits);
    return same_bits<float>((uint32_t)bits << 16);
}

static void multiply(const PendingProduct &p, int linear) {
    const int row = linear / 32 % 4 * 16 + linear % 32 / 4, column = linear % 4 * 2;
    float a[2][16];
    for (int i = 0; i < 32; i++)
        a[i / 16][i % 16] = element(p.a, p.a_mn, row + i / 16 * 8, i % 16);
    for (int n = 0; n < p.n / 4; n++) {
        float sums[2] = {p.d[n / 2 * 4 + n % 2], p.d[n / 2 * 4 + 2 + n % 2]};
        for (int k = 0; k < 16; k++) {
            const float b = element(p.b, p.b_mn, n / 2 * 8 + column + n % 2, k);
            sums[0] += a[0][k] * b;
            sums[1] += a[1][k] * b;
        }
        p.d[n / 2 * 4 + n % 2] = sums[0];
        p.d[n / 2 * 4 + 2 + n % 2] = sums[1];
    }
}

static void check(const WgmmaOperand &operand, bool mn_major, const char *file, int line) {
    const uintptr_t start = (uintptr_t)operand.start;
    if (start % 16 != 0 || (start >> 7 & 7) != 0)
        fail("wgmma: an operand does not start in a row whose number divides by 8, at %s:%d", file, line);
    if (mn_major && start % 128 != 0)
        fail("wgmma: an MN-major operand does not start at a row, at %s:%d", file, line);
}

void wgmma(int n, bool a_mn, bool b_mn, float *d, WgmmaOperand a, WgmmaOperand b, const char *file, int line) {
    Thread &me = current_thread();
    check(a, a_mn, file, line);
    check(b, b_mn, file, line);
    if (threads_in_block() % 128 != 0)
        fail("wgmma: a block of %d threads is not made of warpgroups, at %s:%d", threads_in_block(), file, line);
    leave(meet(0xffffffffu, nullptr, 0, file, line));
    me.products.push_back({n, a_mn, b_mn, d, a, b, me.product_group});
}

void wgmma_commit() {
    current_thread().product_group++;
}

void wgmma_wait(int groups_left) {
    Thread &me = current_thread();
    const auto unfinished = std::find_if(me.products.begin(), me.products.end(), [&](const PendingProduct &p) {
        return p.group >= me.product_group - groups_left;
    });
    for (auto p = me.products.begin(); p != unfinished; ++p)
        multiply(*p, me.linear);
    me.products.erase(me.products.begin(), unfinished);
}

} // namespace cudasim
