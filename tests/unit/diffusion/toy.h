/* What the sampler tests share: the toy model and the deterministic fill of tests/golden/README.md, and a plain
 * evaluator of dg_sampler_desc with the noise given. */
#ifndef DG_TESTS_DIFFUSION_TOY_H
#define DG_TESTS_DIFFUSION_TOY_H

#include "diffusion/sampler.h"
#include "support/test_main.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOY_SIZE = 48 };

static inline void toy_fill(const char *name, float out[TOY_SIZE]) {
    uint32_t h = 2166136261u;
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    for (uint32_t k = 0; k < TOY_SIZE; k++) {
        uint32_t x = h + k * 2654435761u;
        x ^= x >> 16;
        x *= 0x85ebca6bu;
        x ^= x >> 13;
        x *= 0xc2b2ae35u;
        x ^= x >> 16;
        out[k] = (float)(1.7 * (2 * (x / 4294967296.0) - 1));
    }
}

static inline int toy_compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static inline void toy_limit(const dg_sampler_desc *u, float x0[TOY_SIZE]) {
    float limit = u->clip > 0 ? u->clip : INFINITY, divide = 1;
    if (u->threshold_ratio > 0) {
        float sorted[TOY_SIZE];
        for (int j = 0; j < TOY_SIZE; j++)
            sorted[j] = fabsf(x0[j]);
        qsort(sorted, TOY_SIZE, sizeof *sorted, toy_compare);
        const double at = (double)u->threshold_ratio * (TOY_SIZE - 1);
        const int k = at < TOY_SIZE - 2 ? (int)at : TOY_SIZE - 2;
        const double s = sorted[k] + (at - k) * (sorted[k + 1] - sorted[k]);
        limit = divide = (float)fmin(fmax(s, 1), (double)u->threshold_max);
    }
    for (int j = 0; j < TOY_SIZE; j++)
        x0[j] = fminf(fmaxf(x0[j], -limit), limit) / divide;
}

/* One step of the run: x in place, the estimate into m[0], the older ones shifted. */
static inline void toy_step(const dg_sampler_step *step, int64_t *draws, float x[TOY_SIZE], float m[3][TOY_SIZE]) {
    const dg_sampler_desc *u = &step->update;
    float o[TOY_SIZE], x0[TOY_SIZE], z[TOY_SIZE] = {0};
    if (step->draws_noise) {
        char name[32];
        snprintf(name, sizeof name, "noise%lld", (long long)(*draws)++);
        toy_fill(name, z);
    }
    for (int j = 0; j < TOY_SIZE; j++) {
        o[j] = (float)(0.3 * (double)x[j] + 0.05 * cos(0.01 * (double)step->timestep + j));
        x0[j] = u->kx * x[j] + u->ko * o[j];
    }
    toy_limit(u, x0);
    for (int j = 0; j < TOY_SIZE; j++) {
        const float e = u->ex * x[j] + u->eo * o[j] + u->e0 * x0[j];
        const float m1 = step->history > 0 ? m[0][j] : NAN, m2 = step->history > 1 ? m[1][j] : NAN;
        float y = u->cx * x[j] + u->c0 * x0[j] + u->ce * e + u->cz * z[j];
        y += step->history > 0 ? u->c1 * m1 : 0;
        x[j] = y + (step->history > 1 ? u->c2 * m2 : 0);
    }
    memcpy(m[1], m[0], sizeof m[1]);
    memcpy(m[0], x0, sizeof m[0]);
}

static inline dg_scheduler_config toy_config(dg_ctx *ctx, const char *text) {
    dg_scheduler_config config;
    json_t *json = NULL;
    DG_CK(ctx, dg_json_parse(ctx, "toy.json", text, strlen(text), DG_JSON_PYTHON, &json));
    DG_CK(ctx, dg_scheduler_config_from_json(ctx, "toy.json", json, &config));
    json_decref(json);
    return config;
}

static inline dg_sampler toy_sampler(dg_ctx *ctx, dg_sampler_kind kind, const dg_scheduler_config *config,
                                     int64_t steps, double eta) {
    dg_noise_schedule schedule;
    dg_sampler sampler;
    DG_CK(ctx, dg_noise_schedule_create(ctx, config, &schedule));
    const dg_sampler_options options = {.kind = kind, .steps = steps, .eta = eta};
    DG_CK(ctx, dg_sampler_create(ctx, &options, config, &schedule, &sampler));
    ck_assert_int_eq(sampler.num_inference_steps, steps);
    dg_noise_schedule_free(&schedule);
    return sampler;
}

#endif
