#include "train/canary.h"

#include "core/philox.h"
#include "kernels/clip_scale.h"
#include "privacy/poisson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double STRENGTH = 1000; /* of a canary's gradient, in units of max_norm: clipping leaves its own norm */
static const double AUDIT_ERROR = 0.05;

void dg_canaries_free(dg_canaries *c) {
    if (!c)
        return;
    free(c->places);
    free(c->planted);
    free(c->present);
    free(c->chosen);
    free(c->scores);
    free(c);
}

/* One in each of `count` equal stretches of the parameters, where in it follows from the seed. */
static void choose_places(const dg_params *params, uint64_t seed, dg_canaries *c) {
    const dg_random stream = {.seed = seed, .purpose = DG_PURPOSE_CANARY};
    int64_t param = 0, before = 0; /* elements of the parameters before `param` */
    for (int64_t i = 0; i < c->count; i++) {
        const double u = (double)dg_random_uniform(&stream, (uint32_t)i, 0);
        const int64_t element = (int64_t)(((double)i + u) * (double)params->elements / (double)c->count);
        while (element >= before + params->list[param].count)
            before += params->list[param++].count;
        c->places[i] = params->list[param].offset + element - before;
    }
}

dg_status dg_canaries_create(dg_ctx *ctx, const dg_params *params, const dg_clip_desc *clip, double sample_rate,
                             double noise_std, int64_t count, uint64_t seed, dg_canaries **out) {
    dg_status status = DG_OK;
    dg_canaries *c = NULL;
    const double strength = STRENGTH * clip->max_norm;
    if (count > params->elements)
        DG_TRY(dg_fail(ctx, DG_EUSAGE, "--canaries %lld: each needs a weight of its own, and the model has only %lld",
                       (long long)count, (long long)params->elements));
    DG_TRY(dg_alloc(ctx, &c, 1, sizeof *c, "the canaries"));
    c->count = count;
    c->sample_rate = sample_rate;
    c->noise_std = noise_std;
    c->contribution = strength * (double)dg_clip_scale(clip, strength * strength);
    DG_TRY(dg_alloc(ctx, &c->places, (size_t)count, sizeof *c->places, "the canaries"));
    DG_TRY(dg_alloc(ctx, &c->planted, (size_t)count, 1, "the canaries"));
    DG_TRY(dg_alloc(ctx, &c->present, (size_t)count, 1, "the canaries"));
    DG_TRY(dg_alloc(ctx, &c->chosen, (size_t)count, sizeof *c->chosen, "the canaries"));
    DG_TRY(dg_alloc(ctx, &c->scores, (size_t)count, sizeof *c->scores, "the canaries"));
    choose_places(params, seed, c);
    *out = c;
    c = NULL;
done:
    dg_canaries_free(c);
    return status;
}

dg_status dg_canaries_flip(dg_ctx *ctx, dg_canaries *c, const dg_secure_random *random) {
    dg_status status = DG_OK;
    const size_t blocks = ((size_t)c->count + DG_SECURE_BLOCK_BYTES - 1) / DG_SECURE_BLOCK_BYTES;
    uint8_t *bytes = NULL;
    DG_TRY(dg_alloc(ctx, &bytes, blocks * DG_SECURE_BLOCK_BYTES, 1, "the canaries"));
    dg_secure_random_blocks(random, DG_SECURE_CANARY, 0, blocks, bytes);
    for (int64_t i = 0; i < c->count; i++)
        c->planted[i] = bytes[i] & 1;
done:
    free(bytes);
    return status;
}

/* ---- in a checkpoint ---- */

json_t *dg_canaries_to_json(const dg_canaries *c) {
    json_t *scores = json_array(), *planted = json_array();
    for (int64_t i = 0; i < c->count; i++) {
        dg_json_append(&planted, json_integer(c->planted[i]));
        dg_json_append(&scores, json_real(c->scores[i]));
    }
    return json_pack("{s:o, s:o}", "planted", planted, "scores", scores);
}

dg_status dg_canaries_from_json(dg_ctx *ctx, const json_t *json, dg_canaries *c) {
    const json_t *planted = json_object_get(json, "planted"), *scores = json_object_get(json, "scores");
    if (json_array_size(planted) != (size_t)c->count || json_array_size(scores) != (size_t)c->count)
        return dg_fail(ctx, DG_EDATA, "the checkpoint does not hold the %lld canaries of this run",
                       (long long)c->count);
    for (int64_t i = 0; i < c->count; i++) {
        c->planted[i] = json_integer_value(json_array_get(planted, (size_t)i)) != 0;
        c->scores[i] = json_number_value(json_array_get(scores, (size_t)i));
    }
    return DG_OK;
}

/* ---- a step ---- */

void dg_canaries_draw(dg_canaries *c, const dg_secure_random *random) {
    const int64_t drawn = dg_poisson_draw(random, c->count, c->sample_rate, c->chosen);
    memset(c->present, 0, (size_t)c->count);
    for (int64_t i = 0; i < drawn; i++)
        c->present[c->chosen[i]] = c->planted[c->chosen[i]];
}

/* The first canary at or behind an element. */
static int64_t first_at(const dg_canaries *c, int64_t element) {
    int64_t low = 0, high = c->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (c->places[middle] < element)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void dg_canaries_add(const dg_canaries *c, int64_t first, int64_t count, float *sum) {
    for (int64_t i = first_at(c, first); i < c->count && c->places[i] < first + count; i++)
        if (c->present[i])
            sum[c->places[i] - first] += (float)c->contribution;
}

/* ln of the density with the canary, sometimes taking part, over that without: the best there is to add up. */
static double log_ratio(const dg_canaries *c, double noisy) {
    const double variance = c->noise_std * c->noise_std;
    return log1p(c->sample_rate * expm1(c->contribution * (noisy - c->contribution / 2) / variance));
}

void dg_canaries_watch(dg_canaries *c, int64_t first, int64_t count, const float *noisy) {
    for (int64_t i = first_at(c, first); i < c->count && c->places[i] < first + count; i++)
        c->scores[i] += log_ratio(c, (double)noisy[c->places[i] - first]);
}

void dg_canaries_add_integers(const dg_canaries *c, const dg_grid *grid, int64_t first, int64_t count, int64_t *sum) {
    const float gradient = (float)c->contribution;
    for (int64_t i = first_at(c, first); i < c->count && c->places[i] < first + count; i++)
        if (c->present[i])
            dg_grid_add(grid, &gradient, 1, 1, 1, &sum[c->places[i] - first], NULL);
}

void dg_canaries_watch_integers(dg_canaries *c, const dg_grid *grid, int64_t first, int64_t count,
                                const int64_t *noisy) {
    for (int64_t i = first_at(c, first); i < c->count && c->places[i] < first + count; i++)
        c->scores[i] += log_ratio(c, ldexp((double)noisy[c->places[i] - first], -grid->bits) * grid->max_norm);
}

dg_status dg_canaries_judge(dg_ctx *ctx, const dg_canaries *c, double delta, dg_one_run_audit *out) {
    return dg_audit_scores(ctx, c->scores, c->planted, c->count, delta, AUDIT_ERROR, out);
}
