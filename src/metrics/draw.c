#include "metrics/draw.h"

dg_random dg_draw_stream(uint64_t seed, dg_draw_use use, uint64_t number) {
    return (dg_random){.seed = seed, .image = number, .purpose = DG_PURPOSE_EVALUATE, .step = (uint32_t)use};
}

void dg_draw_shuffle(uint64_t seed, dg_draw_use use, uint64_t number, int64_t count, int64_t *order) {
    const dg_random random = dg_draw_stream(seed, use, number);
    for (int64_t i = 0; i < count; i++)
        order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t j = (int64_t)dg_random_below(&random, (uint32_t)(i / 4), (int)(i % 4), (uint64_t)i + 1);
        const int64_t moved = order[i];
        order[i] = order[j];
        order[j] = moved;
    }
}
