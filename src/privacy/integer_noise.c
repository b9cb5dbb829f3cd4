/* The grid. The sampler is discrete_gaussian.c. */
#include "privacy/integer_noise.h"
#include "privacy/discrete_gaussian.h"

#include <assert.h>
#include <math.h>

int dg_grid_bits_for(double noise_multiplier) {
    int bits = DG_GRID_MAX_BITS;
    while (bits > DG_GRID_MIN_BITS && noise_multiplier > 0x1p40 / (double)((int64_t)1 << bits))
        bits--;
    return bits;
}

dg_status dg_grid_init(dg_ctx *ctx, double max_norm, int bits, dg_grid *grid) {
    if (!isfinite(max_norm) || !(max_norm > 0))
        return dg_fail(ctx, DG_EINVAL, "the clipping norm of the integer grid is %g; it must be positive", max_norm);
    if (bits < DG_GRID_MIN_BITS || bits > DG_GRID_MAX_BITS)
        return dg_fail(ctx, DG_EINVAL, "an integer grid of %d bits; it takes %d to %d", bits, DG_GRID_MIN_BITS,
                       DG_GRID_MAX_BITS);
    *grid = (dg_grid){max_norm, bits};
    return DG_OK;
}

dg_status dg_grid_noise_std(dg_ctx *ctx, const dg_grid *grid, double noise_multiplier, int64_t *std) {
    const double steps = ceil(ldexp(noise_multiplier, grid->bits));
    if (!(steps >= 0x1p20 && steps <= (double)DG_DISCRETE_MAX_STD))
        return dg_fail(ctx, DG_EINVAL, "a noise multiplier of %g on a grid of 2^%d steps; secure noise takes %g to %g",
                       noise_multiplier, grid->bits, ldexp(1, 20 - grid->bits),
                       ldexp((double)DG_DISCRETE_MAX_STD, -grid->bits));
    *std = (int64_t)steps;
    return DG_OK;
}

static void add_to_norm(dg_grid_norm *norm, uint64_t squares) {
    norm->low += squares;
    norm->high += norm->low < squares;
}

void dg_grid_add(const dg_grid *grid, const float *x, int64_t count, double factor, int sign, int64_t *sum,
                 dg_grid_norm *norm) {
    enum { PIECE = 8 }; /* squares up to 2^60 each: eight fit 64 bits */
    const double scale = ldexp(factor, grid->bits) / grid->max_norm, limit = ldexp(1, grid->bits);
    for (int64_t at = 0; at < count; at += PIECE) {
        const int64_t n = PIECE < count - at ? PIECE : count - at;
        uint64_t squares = 0;
        for (int64_t i = at; i < at + n; i++) {
            const double steps = (double)x[i] * scale;
            const int32_t whole = fabs(steps) <= limit ? (int32_t)steps : 0; /* a NaN fails the comparison */
            sum[i] += (int64_t)sign * whole;
            squares += (uint64_t)((int64_t)whole * whole);
        }
        if (norm)
            add_to_norm(norm, squares);
    }
}

bool dg_grid_fits(const dg_grid *grid, const dg_grid_norm *norm) {
    return norm->high == 0 && norm->low <= UINT64_C(1) << 2 * grid->bits;
}

void dg_grid_average(const dg_grid *grid, const int64_t *sum, int64_t count, double divisor, float *out) {
    const double scale = grid->max_norm / (ldexp(1, grid->bits) * divisor);
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)((double)sum[i] * scale);
}
