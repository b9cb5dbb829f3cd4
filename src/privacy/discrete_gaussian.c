/* Canonne, Kamath, Steinke 2020, algorithms 1 to 3, with t = S: as S is an integer every probability is a ratio of
 * integers below 2^96.
 *
 *   candidate   |Y| = U + S V with U uniform in [0, S), kept with exp(-U/S), and V geometric by coins exp(-1);
 *               a random sign, minus zero drawn again: P(Y) ~ exp(-|Y|/S)
 *   accepted    with exp(-(|Y| - S)^2 / (2 S^2))
 *
 * A coin exp(-g), g <= 1: the first k at which a coin g/k fails is odd with probability exp(-g) (von Neumann).
 * A coin n/d: a uniform real is below n/d. Its first 32 bits decide unless they are next to n/d; how near that is takes
 * a double, with an error below 2^-18 of a unit of those bits, against a margin of 2^-10. */
#include "privacy/discrete_gaussian.h"
#include "privacy/integer_noise.h"

#include <assert.h>
#include <sodium.h>

/* Blocks a chunk may take before it would run into the next one's: a gibibyte, against some 30 KiB that it needs. */
enum { CHUNK_BLOCK_BITS = 24 };

void dg_discrete_begin(dg_discrete_stream *stream, const dg_secure_random *random, uint64_t chunk) {
    stream->random = random;
    stream->next_block = chunk << CHUNK_BLOCK_BITS;
    stream->used = DG_DISCRETE_WORDS;
}

static uint32_t draw(dg_discrete_stream *stream) {
    if (stream->used == DG_DISCRETE_WORDS) {
        const size_t blocks = sizeof stream->words / DG_SECURE_BLOCK_BYTES;
        dg_secure_random_blocks(stream->random, DG_SECURE_DISCRETE_NOISE, stream->next_block, blocks, stream->words);
        stream->next_block += blocks;
        stream->used = 0;
    }
    return stream->words[stream->used++];
}

bool dg_discrete_below(dg_discrete_stream *stream, uint32_t word, dg_uint128 n, dg_uint128 d) {
    for (;;) {
        const dg_uint128 shifted = n << 32;
        const uint32_t digit = (uint32_t)(shifted / d);
        if (word != digit)
            return word < digit;
        n = shifted % d;
        if (n == 0) /* what is left of the ratio is 0: nothing is below it */
            return false;
        word = draw(stream);
    }
}

/* A coin n/d; `ratio` is n/d to within 2^-50 of itself. */
static inline bool coin(dg_discrete_stream *stream, dg_uint128 n, dg_uint128 d, double ratio) {
    const uint32_t word = draw(stream);
    const double target = ratio * 0x1p32, margin = 0x1p-10;
    if ((double)word + 1 <= target - margin)
        return true;
    if ((double)word >= target + margin)
        return false;
    return n >= d || dg_discrete_below(stream, word, n, d);
}

/* A coin exp(-n/d), n <= d < 2^84. */
static bool exp_coin(dg_discrete_stream *stream, dg_uint128 n, dg_uint128 d, double ratio) {
    for (uint32_t k = n == d ? 2 : 1;; k++) /* a coin 1/1 needs no throw */
        if (!coin(stream, n, d * k, ratio / k))
            return k % 2 == 1;
}

/* Uniform in [0, bound), bound <= 2^40: multiply-high of 64 bits, drawn again where it would be uneven. */
static int64_t uniform_below(dg_discrete_stream *stream, uint64_t bound) {
    for (;;) {
        const uint64_t high = draw(stream), bits = high << 32 | draw(stream);
        const dg_uint128 product = (dg_uint128)bits * bound;
        if ((uint64_t)product >= bound || (uint64_t)product >= (0 - bound) % bound)
            return (int64_t)(product >> 64);
    }
}

/* |Y| with probability ~ exp(-|Y|/std). */
static int64_t laplace_magnitude(dg_discrete_stream *stream, int64_t std) {
    int64_t u, v = 0;
    do
        u = uniform_below(stream, (uint64_t)std);
    while (!exp_coin(stream, (dg_uint128)u, (dg_uint128)std, (double)u / (double)std));
    while (exp_coin(stream, 1, 1, 1.0))
        v++;
    return u + std * v;
}

/* A coin exp(-x^2 / (2 std^2)). */
static bool accept(dg_discrete_stream *stream, int64_t x, int64_t std) {
    const dg_uint128 d = 2 * (dg_uint128)std * (dg_uint128)std;
    dg_uint128 n = (dg_uint128)(x < 0 ? -x : x);
    n *= n;
    while (n > d) { /* exp(-1) for each whole unit */
        if (!exp_coin(stream, 1, 1, 1.0))
            return false;
        n -= d;
    }
    return exp_coin(stream, n, d, (double)n / (double)d);
}

int64_t dg_discrete_gaussian(dg_discrete_stream *stream, int64_t std) {
    for (;;) {
        const int64_t magnitude = laplace_magnitude(stream, std);
        const bool negative = draw(stream) >> 31;
        if ((negative && magnitude == 0) || !accept(stream, magnitude - std, std))
            continue;
        return negative ? -magnitude : magnitude;
    }
}

void dg_grid_noise_add(const dg_secure_random *random, int64_t first, int64_t count, int64_t std, int64_t *sum) {
    dg_discrete_stream stream;
    assert(first >= 0 && count >= 0 && std >= 1 && std <= DG_DISCRETE_MAX_STD);
    for (int64_t at = 0; at < count;) {
        const int64_t skip = (first + at) % DG_DISCRETE_CHUNK;
        const int64_t n = DG_DISCRETE_CHUNK - skip < count - at ? DG_DISCRETE_CHUNK - skip : count - at;
        dg_discrete_begin(&stream, random, (uint64_t)((first + at) / DG_DISCRETE_CHUNK));
        for (int64_t i = 0; i < skip; i++) /* an element's bits depend on those before it in its chunk */
            (void)dg_discrete_gaussian(&stream, std);
        for (int64_t i = 0; i < n; i++)
            sum[at + i] += dg_discrete_gaussian(&stream, std);
        at += n;
    }
    sodium_memzero(&stream, sizeof stream);
}
