/* The instructions of gpu_warp.h and the collectives of a warp against plain loops. In the simulator this tests the
 * simulator; built by nvcc it holds the same expectations, the layout of fragments above all, against a GPU. */
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/gpu_wgmma.h"

extern "C" {
#include "support/test_main.h"
}

#include <math.h>

namespace {

constexpr int M = 16, N = 8;

uint32_t float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
float bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
float bf16_value(float x) {
    const uint32_t bits = float_bits(x);
    return bits_float((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
}
uint16_t bf16_bits(float x) {
    return (uint16_t)(float_bits(x) >> 16);
}
float tf32_value(float x) {
    return bits_float((float_bits(x) + 0x1000u) & 0xffffe000u);
}

float number(unsigned k) { /* in [-1, 1), no pattern */
    k = k * 2654435761u;
    k = (k ^ k >> 15) * 2246822519u;
    return (float)((k ^ k >> 13) >> 8) / (float)(1 << 23) - 1.0f;
}

/* `bytes` that host and device see, filled with 0xff. */
void *shared_memory(size_t bytes) {
    void *memory = NULL;
    ck_assert_int_eq(cudaHostAlloc(&memory, bytes, cudaHostAllocMapped), cudaSuccess);
    return memset(memory, 0xff, bytes);
}
void finish(cudaStream_t stream) {
    ck_assert_int_eq(cudaGetLastError(), cudaSuccess);
    ck_assert_int_eq(cudaStreamSynchronize(stream), cudaSuccess);
    ck_assert_int_eq(cudaStreamDestroy(stream), cudaSuccess);
}
cudaStream_t new_stream() {
    cudaStream_t stream = NULL;
    ck_assert_int_eq(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    return stream;
}

/* ---- products ---- */

/* One warp; the operands come through shared memory as the convolutions load them: A [16][K] and B [8][K], rows of 16
 * bytes a chunk. */
template <bool BF16> __global__ void product_kernel(const uint32_t *a, const uint32_t *b, const float *c, float *d) {
    constexpr int WORDS = 8; /* of a row: 16 bf16 or 8 tf32 */
    SHARED(uint4, a_rows, [M][WORDS / 4]);
    SHARED(uint4, b_rows, [N][WORDS / 4]);
    const int lane = threadIdx.x, g = lane >> 2, t = lane & 3;
    for (int i = lane; i < M * WORDS; i += 32)
        reinterpret_cast<uint32_t *>(&a_rows[0][0])[i] = a[i];
    for (int i = lane; i < N * WORDS; i += 32)
        reinterpret_cast<uint32_t *>(&b_rows[0][0])[i] = b[i];
    __syncwarp();
    uint32_t fa[4], fb[2];
    ldmatrix_x4<false>(fa, &a_rows[lane & 15][lane >> 4]);
    ldmatrix_x2<false>(fb, &b_rows[lane & 7][lane >> 3 & 1]);
    const float start[4] = {c[g * N + 2 * t], c[g * N + 2 * t + 1], c[(g + 8) * N + 2 * t], c[(g + 8) * N + 2 * t + 1]};
    float out[4];
    if (BF16)
        mma_m16n8k16(out, fa, fb, start);
    else
        mma_m16n8k8_tf32(out, fa, fb, start);
    d[g * N + 2 * t] = out[0], d[g * N + 2 * t + 1] = out[1];
    d[(g + 8) * N + 2 * t] = out[2], d[(g + 8) * N + 2 * t + 1] = out[3];
}

START_TEST(test_product) {
    const bool bf16 = _i == 0;
    const int depth = bf16 ? 16 : 8;
    uint32_t *a = (uint32_t *)shared_memory(M * 8 * 4), *b = (uint32_t *)shared_memory(N * 8 * 4);
    float *c = (float *)shared_memory(M * N * 4), *d = (float *)shared_memory(M * N * 4);
    float av[M][16], bv[N][16];
    for (int i = 0; i < M * depth; i++) {
        float &v = av[i / depth][i % depth];
        v = bf16 ? bf16_value(number(i)) : tf32_value(number(i));
        if (bf16)
            ((uint16_t *)a)[i] = bf16_bits(v);
        else
            a[i] = float_bits(v);
    }
    for (int i = 0; i < N * depth; i++) {
        float &v = bv[i / depth][i % depth];
        v = bf16 ? bf16_value(number(1000 + i)) : tf32_value(number(1000 + i));
        if (bf16)
            ((uint16_t *)b)[i] = bf16_bits(v);
        else
            b[i] = float_bits(v);
    }
    for (int i = 0; i < M * N; i++)
        c[i] = number(2000 + i);
    const cudaStream_t stream = new_stream();
    if (bf16)
        LAUNCH((product_kernel<true>), 1, 32, 0, stream, a, b, c, d);
    else
        LAUNCH((product_kernel<false>), 1, 32, 0, stream, a, b, c, d);
    finish(stream);
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            double want = (double)c[m * N + n];
            for (int k = 0; k < depth; k++)
                want += (double)av[m][k] * (double)bv[n][k];
            ck_assert_msg(fabs((double)d[m * N + n] - want) <= 1e-5, "(%d, %d): %g, not %g", m, n, d[m * N + n], want);
        }
    cudaFreeHost(a), cudaFreeHost(b), cudaFreeHost(c), cudaFreeHost(d);
}
END_TEST

/* ---- matrix loads ---- */

constexpr int TILE = 16; /* a tile of 16 x 16 elements: four matrices */

template <bool TRANS> __global__ void load_kernel(const uint16_t *from, uint32_t *four, uint32_t *two) {
    SHARED(uint4, rows, [TILE][2]);
    const int lane = threadIdx.x;
    for (int i = lane; i < TILE * TILE; i += 32)
        reinterpret_cast<uint16_t *>(&rows[0][0])[i] = from[i];
    __syncwarp();
    uint32_t r4[4], r2[2];
    ldmatrix_x4<TRANS>(r4, &rows[lane & 15][lane >> 4]);
    ldmatrix_x2<TRANS>(r2, &rows[lane & 15][1]);
    for (int i = 0; i < 4; i++)
        four[lane * 4 + i] = r4[i];
    for (int i = 0; i < 2; i++)
        two[lane * 2 + i] = r2[i];
}

START_TEST(test_matrix_load) {
    const bool trans = _i == 1;
    uint16_t *from = (uint16_t *)shared_memory(TILE * TILE * 2);
    uint32_t *four = (uint32_t *)shared_memory(32 * 4 * 4), *two = (uint32_t *)shared_memory(32 * 2 * 4);
    for (int i = 0; i < TILE * TILE; i++)
        from[i] = (uint16_t)(i * 7 + 1);
    const cudaStream_t stream = new_stream();
    if (trans)
        LAUNCH((load_kernel<true>), 1, 32, 0, stream, from, four, two);
    else
        LAUNCH((load_kernel<false>), 1, 32, 0, stream, from, four, two);
    finish(stream);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 6; i++) {
            const int matrix = i < 4 ? i : i - 4, g = lane / 4, t = lane % 4;
            const int top = matrix % 2 * 8, left = i < 4 ? matrix / 2 * 8 : 8;
            const uint32_t got = i < 4 ? four[lane * 4 + i] : two[lane * 2 + i - 4];
            for (int half = 0; half < 2; half++) {
                const int row = trans ? 2 * t + half : g, column = trans ? g : 2 * t + half;
                ck_assert_uint_eq(half ? got >> 16 : got & 0xffff, from[(top + row) * TILE + left + column]);
            }
        }
    cudaFreeHost(from), cudaFreeHost(four), cudaFreeHost(two);
}
END_TEST

/* ---- copies, conversions, collectives ---- */

__global__ void copies_kernel(const float *from, float *to) {
    SHARED(float4, wide, [32]);
    SHARED(float2, half, [32]);
    SHARED(float, one, [32]);
    const int lane = threadIdx.x;
    cp_async16(&wide[lane], from + 4 * lane, lane % 5 * 4 < 16 ? lane % 5 * 4 : 16);
    cp_async_commit_group();
    cp_async<8>(&half[lane], from + 2 * lane, lane % 2 * 8);
    cp_async<4>(&one[lane], from + lane, 4);
    cp_async_commit_group();
    cp_async_wait_group<1>();
    to[7 * lane] = wide[lane].x, to[7 * lane + 1] = wide[lane].y;
    to[7 * lane + 2] = wide[lane].z, to[7 * lane + 3] = wide[lane].w;
    cp_async_wait_group<0>();
    to[7 * lane + 4] = half[lane].x, to[7 * lane + 5] = half[lane].y, to[7 * lane + 6] = one[lane];
}

START_TEST(test_copies) {
    float *from = (float *)shared_memory(128 * 4), *to = (float *)shared_memory(32 * 7 * 4);
    for (int i = 0; i < 128; i++)
        from[i] = (float)(i + 1);
    const cudaStream_t stream = new_stream();
    LAUNCH(copies_kernel, 1, 32, 0, stream, from, to);
    finish(stream);
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 4; i++)
            ck_assert_float_eq(to[7 * lane + i], i < lane % 5 ? from[4 * lane + i] : 0.0f);
        for (int i = 0; i < 2; i++)
            ck_assert_float_eq(to[7 * lane + 4 + i], lane % 2 ? from[2 * lane + i] : 0.0f);
        ck_assert_float_eq(to[7 * lane + 6], from[lane]);
    }
    cudaFreeHost(from), cudaFreeHost(to);
}
END_TEST

__global__ void conversions_kernel(const float *from, uint32_t *tf32, float *powers, float *up) {
    tf32[threadIdx.x] = tf32_round(from[threadIdx.x]);
    up[threadIdx.x] = fma_up(from[threadIdx.x], from[threadIdx.x], 3.0f);
    powers[threadIdx.x] = ex2_approx(10.0f * from[threadIdx.x]);
}

START_TEST(test_conversions) {
    float *from = (float *)shared_memory(32 * 4), *powers = (float *)shared_memory(32 * 4);
    float *up = (float *)shared_memory(32 * 4);
    uint32_t *tf32 = (uint32_t *)shared_memory(32 * 4);
    for (int i = 0; i < 32; i++)
        from[i] = number(i);
    from[0] = bits_float(0x3f801000u); /* half way between two TF32 numbers */
    const cudaStream_t stream = new_stream();
    LAUNCH(conversions_kernel, 1, 32, 0, stream, from, tf32, powers, up);
    finish(stream);
    for (int i = 0; i < 32; i++) {
        const double want = exp2(10.0 * (double)from[i]);
        ck_assert_uint_eq(tf32[i], float_bits(tf32_value(from[i])));
        ck_assert_double_le(fabs((double)powers[i] - want), 1e-6 * want);
        const double square = (double)from[i] * (double)from[i] + 3.0; /* exact but for a rounding in the 53rd bit */
        ck_assert_double_ge((double)up[i], square * (1.0 - 0x1p-53));
        ck_assert_double_lt((double)nextafterf(up[i], 0.0f), square);
    }
    cudaFreeHost(from), cudaFreeHost(powers), cudaFreeHost(tf32), cudaFreeHost(up);
}
END_TEST

constexpr int THREADS = 96;

__global__ void collectives_kernel(const int *from, int *to) {
    const int i = threadIdx.x, lane = i & 31;
    int *mine = to + 8 * i;
    mine[0] = __shfl_sync(0xffffffffu, from[i], lane ^ 9);
    mine[1] = __shfl_xor_sync(0xffffffffu, from[i], 4, 8);
    mine[2] = __shfl_down_sync(0xffffffffu, from[i], 5);
    mine[3] = __shfl_up_sync(0xffffffffu, from[i], 3, 16);
    mine[4] = (int)__ballot_sync(0xffffffffu, from[i] & 1);
    mine[5] = __any_sync(0xffffffffu, from[i] > 90) * 2 + __all_sync(0xffffffffu, from[i] < 1000);
    mine[6] = dg_block_sum(from[i]);
    mine[7] = __syncthreads_count(from[i] % 3 == 0);
}

START_TEST(test_collectives) {
    int *from = (int *)shared_memory(THREADS * 4), *to = (int *)shared_memory(THREADS * 8 * 4), sum = 0, thirds = 0;
    for (int i = 0; i < THREADS; i++) {
        from[i] = (i * 37 + 5) % 101;
        sum += from[i];
        thirds += from[i] % 3 == 0;
    }
    const cudaStream_t stream = new_stream();
    LAUNCH(collectives_kernel, 1, THREADS, 0, stream, from, to);
    finish(stream);
    for (int i = 0; i < THREADS; i++) {
        const int lane = i % 32, *warp = from + i - lane, *mine = to + 8 * i;
        uint32_t votes = 0, any = 0;
        for (int k = 0; k < 32; k++) {
            votes |= (uint32_t)(warp[k] & 1) << k;
            any |= warp[k] > 90;
        }
        ck_assert_int_eq(mine[0], warp[lane ^ 9]);
        ck_assert_int_eq(mine[1], warp[lane ^ 4]);
        ck_assert_int_eq(mine[2], warp[lane + 5 < 32 ? lane + 5 : lane]);
        ck_assert_int_eq(mine[3], warp[lane % 16 >= 3 ? lane - 3 : lane]);
        ck_assert_uint_eq((uint32_t)mine[4], votes);
        ck_assert_int_eq(mine[5], (int)any * 2 + 1);
        ck_assert_int_eq(mine[6], sum);
        ck_assert_int_eq(mine[7], thirds);
    }
    cudaFreeHost(from), cudaFreeHost(to);
}
END_TEST

} // namespace

/* ---- products of a warpgroup ---- */

enum { GROUP_M = 64, GROUP_K = 64, GROUP_MOST_N = 256, ROW_C = 64 /* bf16 of 128 bytes */ };

/* Fills a tile of rows of 128 bytes, swizzled: element (mn, k) of an operand, in either layout of gpu_wgmma.h. */
template <bool MN> __device__ void fill_tile(uint16_t *tile, const uint16_t *from, int count) {
    for (int i = threadIdx.x; i < count * GROUP_K; i += blockDim.x) {
        const int mn = i / GROUP_K, k = i % GROUP_K;
        const int row = MN ? mn / ROW_C * GROUP_K + k : mn, along = MN ? mn % ROW_C : k;
        tile[row * ROW_C + (along / 8 ^ row % 8) * 8 + along % 8] = from[i];
    }
}

/* One warpgroup: d [64][N] = 2 A B, A [64][64 k], B [N][64 k]; the second time with another group still under way. */
template <int N, bool MN>
__global__ void __launch_bounds__(128) warpgroup_kernel(const uint16_t *a, const uint16_t *b, float *d) {
#if DG_HAS_WGMMA
    DYN_SHARED(uint16_t, tiles);
    uint16_t *b_tile = tiles + GROUP_M * GROUP_K;
    float acc[N / 8][4] = {};
    fill_tile<MN>(tiles, a, GROUP_M);
    fill_tile<MN>(b_tile, b, N);
    async_proxy_fence();
    __syncthreads();
    const wgmma_operand at = wgmma_matrix(tiles, 8192, 1024), bt = wgmma_matrix(b_tile, 8192, 1024);
    for (int twice = 0; twice < 2; twice++) {
        wgmma_fence();
        for (int k = 0; k < GROUP_K / 16; k++)
            wgmma_m64k16<N, MN, MN>(acc, wgmma_at(at, k * (MN ? 2048 : 32)), wgmma_at(bt, k * (MN ? 2048 : 32)));
        wgmma_commit();
    }
    wgmma_wait<1>();
    wgmma_wait<0>();
    const int lane = threadIdx.x & 31, row = threadIdx.x / 32 * 16 + lane / 4;
    for (int j = 0; j < N / 8; j++)
        for (int i = 0; i < 4; i++)
            d[(row + i / 2 * 8) * N + j * 8 + lane % 4 * 2 + i % 2] = acc[j][i];
#endif
}

bool has_warpgroups(void) {
    int major = 0, minor = 0;
    ck_assert_int_eq(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), cudaSuccess);
    ck_assert_int_eq(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), cudaSuccess);
    return major == 9 && minor == 0;
}

template <int N, bool MN> void check_warpgroup(void) {
    const int shared = (GROUP_M + N) * GROUP_K * 2;
    uint16_t *a = (uint16_t *)shared_memory(GROUP_M * GROUP_K * 2), *b = (uint16_t *)shared_memory(N * GROUP_K * 2);
    float *d = (float *)shared_memory(GROUP_M * N * 4);
    for (int i = 0; i < GROUP_M * GROUP_K; i++)
        a[i] = bf16_bits(bf16_value(number(i)));
    for (int i = 0; i < N * GROUP_K; i++)
        b[i] = bf16_bits(bf16_value(number(90000 + i)));
    const cudaStream_t stream = new_stream();
    dg_cuda_allow_shared(warpgroup_kernel<N, MN>, shared);
    LAUNCH((warpgroup_kernel<N, MN>), 1, 128, shared, stream, a, b, d);
    finish(stream);
    for (int m = 0; m < GROUP_M; m++)
        for (int n = 0; n < N; n++) {
            double want = 0.0;
            for (int k = 0; k < GROUP_K; k++)
                want += 2.0 * (double)bits_float((uint32_t)a[m * GROUP_K + k] << 16) *
                        (double)bits_float((uint32_t)b[n * GROUP_K + k] << 16);
            ck_assert_msg(fabs((double)d[m * N + n] - want) < 1e-4, "N = %d, MN-major %d: (%d, %d) is %g, not %g", N,
                          MN, m, n, (double)d[m * N + n], want);
        }
    cudaFreeHost(a), cudaFreeHost(b), cudaFreeHost(d);
}

START_TEST(test_warpgroup_product) {
    void (*const checks[])(void) = {check_warpgroup<64, false>,  check_warpgroup<64, true>,
                                    check_warpgroup<128, false>, check_warpgroup<128, true>,
                                    check_warpgroup<256, false>, check_warpgroup<256, true>};
    if (has_warpgroups())
        checks[_i]();
}
END_TEST

extern "C" Suite *dg_test_suite(void) {
    Suite *suite = suite_create("warp");
    TCase *tests = tcase_create("warp");
    tcase_add_loop_test(tests, test_product, 0, 2);
    tcase_add_loop_test(tests, test_matrix_load, 0, 2);
    tcase_add_loop_test(tests, test_warpgroup_product, 0, 6);
    tcase_add_test(tests, test_copies);
    tcase_add_test(tests, test_conversions);
    tcase_add_test(tests, test_collectives);
    suite_add_tcase(suite, tests);
    return suite;
}
