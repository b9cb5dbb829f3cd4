#include "audit/attack.h"

#include "metrics/draw.h"
#include "nn/lanes.h"
#include "nn/net.h"
#include "nn/optimiser.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 16,
    DDIM_STEP = 10,
    DDIM_END = 100,
    LOSS_STEP = 100,
    PIA_STEP = 200,
    SIMA_STEP = 100,
    PUBLISHED_T = 1000
};

typedef struct lane_memory {
    float *x0, *xt, *next, *eps, *first, *seen; /* [BLOCK, image] on the host; seen: of EDM models */
} lane_memory;

typedef struct attack_run {
    dg_ctx *ctx;
    const dg_sample_model *model;
    dg_noise_schedule
        levels; /* of an EDM model, which has no schedule: DDPM's linear one, which the attacks are from */
    dg_net *net;
    float *device_weights; /* NULL where the host's will do */
    int lanes;
    int64_t elements; /* of an image */
    const dg_attack_image *images;
    int64_t count;
    const dg_attack_options *options;
    double **scores;
    float *noise; /* [noises, image] */
    lane_memory *memory;
} attack_run;

static const float *weights_of(const attack_run *r) {
    return r->device_weights ? r->device_weights : r->model->weights;
}

static const dg_noise_schedule *schedule_of(const attack_run *r) {
    return r->levels.count ? &r->levels : &r->model->schedule;
}

/* A published timestep on this model's schedule. */
static int64_t scaled(const attack_run *r, int64_t t) {
    const int64_t count = schedule_of(r)->count, s = (t * count + PUBLISHED_T / 2) / PUBLISHED_T;
    return s < count ? s : count - 1;
}

static double abar(const attack_run *r, int64_t t) {
    return (double)schedule_of(r)->alphas_cumprod[t];
}

/* How an EDM model is asked about x = sqrt(abar) (x0 + sigma e), and what its answer says of e: the network sees seen*x
 * at its own timestep, and e = x*of_x + answer*of_answer. ref  Karras et al. 2022, eq. 7 */
typedef struct edm_query {
    double seen, timestep, of_x, of_answer;
} edm_query;

static edm_query edm_at(const attack_run *r, int64_t t) {
    const double signal = sqrt(abar(r, t)), sigma = sqrt((1 - abar(r, t)) / abar(r, t));
    const double data = r->model->scheduler.sigma_data, c_in = 1 / sqrt(sigma * sigma + data * data);
    const double sign = r->model->scheduler.prediction == DG_PREDICT_V ? -1 : 1;
    return (edm_query){.seen = c_in / signal,
                       .timestep = log(sigma) / 4,
                       .of_x = sigma * c_in * c_in / signal, /* (1 - c_skip) / sigma */
                       .of_answer = -sign * data * c_in};    /* -c_out / sigma */
}

static dg_status estimate_edm(const attack_run *r, int lane, const float *x, int64_t t, float *eps) {
    dg_status status = DG_OK;
    const dg_backend *backend = r->model->compute.backend;
    const dg_net_io *io = dg_net_lane(r->net, lane);
    const edm_query q = edm_at(r, t);
    const int64_t count = BLOCK * r->elements;
    for (int64_t i = 0; i < BLOCK; i++)
        io->timesteps[i] = (float)q.timestep;
    for (int64_t i = 0; i < count; i++)
        r->memory[lane].seen[i] = (float)(q.seen * (double)x[i]);
    DG_TRY(backend->upload(io->exec, io->x.data, r->memory[lane].seen, (size_t)count * sizeof(float)));
    DG_TRY(dg_net_forward(r->net, lane, weights_of(r), false));
    DG_TRY(backend->download(io->exec, r->memory[lane].seen, io->y.data, (size_t)count * sizeof(float)));
    DG_TRY(backend->synchronise(io->exec));
    for (int64_t i = 0; i < count; i++)
        eps[i] = (float)(q.of_x * (double)x[i] + q.of_answer * (double)r->memory[lane].seen[i]);
done:
    return status;
}

/* eps = the model's estimate of the noise in x at step t, whatever it was trained to predict. */
static dg_status estimate(const attack_run *r, int lane, const float *x, int64_t t, float *eps) {
    dg_status status = DG_OK;
    const dg_backend *backend = r->model->compute.backend;
    const dg_net_io *io = dg_net_lane(r->net, lane);
    const double a = sqrt(abar(r, t)), s = sqrt(fmax(1 - abar(r, t), 1e-12));
    const size_t bytes = (size_t)(BLOCK * r->elements) * sizeof(float);
    if (dg_scheduler_config_is_edm(&r->model->scheduler))
        return estimate_edm(r, lane, x, t, eps);
    for (int64_t i = 0; i < BLOCK; i++)
        io->timesteps[i] = (float)t;
    DG_TRY(backend->upload(io->exec, io->x.data, x, bytes));
    DG_TRY(dg_net_forward(r->net, lane, weights_of(r), false));
    DG_TRY(backend->download(io->exec, eps, io->y.data, bytes));
    DG_TRY(backend->synchronise(io->exec));
    for (int64_t i = 0; i < BLOCK * r->elements; i++) {
        if (r->model->scheduler.prediction == DG_PREDICT_V)
            eps[i] = (float)(s * x[i] + a * eps[i]);
        else if (r->model->scheduler.prediction == DG_PREDICT_SAMPLE)
            eps[i] = (float)((x[i] - a * eps[i]) / s);
    }
done:
    return status;
}

/* out = sqrt(abar_t) x + sqrt(1-abar_t) n, n an array per image (stride image) or one for all (stride 0). */
static void add_noise(const attack_run *r, int64_t t, const float *x, const float *n, int64_t stride, float *out) {
    const double a = sqrt(abar(r, t)), s = sqrt(1 - abar(r, t));
    for (int64_t i = 0; i < BLOCK; i++)
        for (int64_t k = 0; k < r->elements; k++)
            out[i * r->elements + k] = (float)(a * x[i * r->elements + k] + s * n[i * stride + k]);
}

/* sum over an image of |a - b|^p; b NULL = 0. */
static double power_sum(const attack_run *r, const float *a, const float *b, int p) {
    double sum = 0;
    for (int64_t k = 0; k < r->elements; k++) {
        const double d = (double)a[k] - (b ? (double)b[k] : 0);
        sum += p == 2 ? d * d : d * d * d * d;
    }
    return sum;
}

/* ---- the four attacks, on a block ---- */

static dg_status loss_attack(const attack_run *r, int lane, double *score) {
    dg_status status = DG_OK;
    const lane_memory *m = &r->memory[lane];
    const int64_t t = scaled(r, LOSS_STEP), noises = r->options->noises;
    for (int64_t i = 0; i < BLOCK; i++)
        score[i] = 0;
    for (int64_t k = 0; k < noises; k++) {
        const float *n = r->noise + k * r->elements;
        add_noise(r, t, m->x0, n, 0, m->xt);
        DG_TRY(estimate(r, lane, m->xt, t, m->eps));
        for (int64_t i = 0; i < BLOCK; i++)
            score[i] -= power_sum(r, m->eps + i * r->elements, n, 2) / (double)(r->elements * noises);
    }
done:
    return status;
}

/* One deterministic DDIM step from step `from` to `to`, either way. The clean image counts as step 0. */
static dg_status ddim_step(const attack_run *r, int lane, const float *x, int64_t from, int64_t to, float *out) {
    dg_status status = DG_OK;
    const lane_memory *m = &r->memory[lane];
    const double a = sqrt(abar(r, from)), s = sqrt(1 - abar(r, from)), a2 = sqrt(abar(r, to)),
                 s2 = sqrt(1 - abar(r, to));
    DG_TRY(estimate(r, lane, x, from, m->eps));
    for (int64_t i = 0; i < BLOCK * r->elements; i++)
        out[i] = (float)(a2 * (x[i] - s * m->eps[i]) / a + s2 * m->eps[i]);
done:
    return status;
}

static dg_status secmi_attack(const attack_run *r, int lane, double *score) {
    dg_status status = DG_OK;
    const lane_memory *m = &r->memory[lane];
    const size_t bytes = (size_t)(BLOCK * r->elements) * sizeof(float);
    memcpy(m->xt, m->x0, bytes);
    for (int64_t t = 0; t < DDIM_END; t += DDIM_STEP)
        DG_TRY(ddim_step(r, lane, m->xt, scaled(r, t), scaled(r, t + DDIM_STEP), m->xt));
    const int64_t end = scaled(r, DDIM_END), beyond = scaled(r, DDIM_END + DDIM_STEP);
    DG_TRY(ddim_step(r, lane, m->xt, end, beyond, m->next));
    DG_TRY(ddim_step(r, lane, m->next, beyond, end, m->next));
    for (int64_t i = 0; i < BLOCK; i++)
        score[i] = -power_sum(r, m->xt + i * r->elements, m->next + i * r->elements, 2);
done:
    return status;
}

static dg_status pia_attack(const attack_run *r, int lane, double *score) {
    dg_status status = DG_OK;
    const lane_memory *m = &r->memory[lane];
    const int64_t t = scaled(r, PIA_STEP);
    DG_TRY(estimate(r, lane, m->x0, 0, m->first));
    add_noise(r, t, m->x0, m->first, r->elements, m->xt);
    DG_TRY(estimate(r, lane, m->xt, t, m->eps));
    for (int64_t i = 0; i < BLOCK; i++)
        score[i] = -power_sum(r, m->first + i * r->elements, m->eps + i * r->elements, 4);
done:
    return status;
}

static dg_status sima_attack(const attack_run *r, int lane, double *score) {
    dg_status status = DG_OK;
    const lane_memory *m = &r->memory[lane];
    DG_TRY(estimate(r, lane, m->x0, scaled(r, SIMA_STEP), m->eps));
    for (int64_t i = 0; i < BLOCK; i++)
        score[i] = -pow(power_sum(r, m->eps + i * r->elements, NULL, 4), 0.25);
done:
    return status;
}

static dg_status (*const attacks[DG_ATTACKS])(const attack_run *, int, double *) = {loss_attack, secmi_attack,
                                                                                    pia_attack, sima_attack};

/* A short block is filled up with its last image. */
static void load_block(const attack_run *r, int lane, int64_t first) {
    const dg_net_io *io = dg_net_lane(r->net, lane);
    for (int64_t i = 0; i < BLOCK; i++) {
        const int64_t at = first + i < r->count ? first + i : r->count - 1;
        float *to = r->memory[lane].x0 + i * r->elements;
        dg_image_set_read(r->images[at].set, r->images[at].image, to);
        for (int64_t k = 0; k < r->elements; k++)
            to[k] = 2 * to[k] - 1;
        io->labels[i] = r->images[at].label;
    }
}

static dg_status attack_block(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    const attack_run *r = user;
    const int64_t first = item * BLOCK, left = r->count - first, rows = left < BLOCK ? left : BLOCK;
    double score[BLOCK];
    if (dg_ctx_stop_requested(r->ctx))
        DG_TRY(dg_fail(r->ctx, DG_EINTERRUPTED, "stopped while attacking the model"));
    load_block(r, lane, first);
    for (int a = 0; a < (r->options->loss_only ? 1 : DG_ATTACKS); a++) {
        DG_TRY(attacks[a](r, lane, score));
        memcpy(r->scores[a] + first, score, (size_t)rows * sizeof *score);
    }
    if (lane == 0 && r->options->progress)
        r->options->progress(r->options->user, first + rows);
done:
    return status;
}

/* ---- the whole ---- */

static dg_status create_net(attack_run *r) {
    dg_status status = DG_OK;
    const dg_compute *compute = &r->model->compute;
    const dg_net_options options = {.backend = compute->backend,
                                    .n = BLOCK,
                                    .h = r->model->h,
                                    .w = r->model->w,
                                    .lanes = r->lanes,
                                    .precision = compute->precision};
    DG_TRY(dg_net_create(r->ctx, &r->model->folder.config, &options, &r->net));
    DG_TRY(dg_net_allocate(r->net));
    if (!compute->backend->host_memory) {
        const size_t bytes = (size_t)r->model->folder.params.total * sizeof(float);
        void *memory;
        dg_exec *exec = dg_net_lane(r->net, 0)->exec;
        DG_TRY(compute->backend->alloc(r->ctx, bytes, "weights", &memory));
        r->device_weights = memory;
        DG_TRY(compute->backend->upload(exec, r->device_weights, r->model->weights, bytes));
        DG_TRY(compute->backend->synchronise(exec));
    }
    DG_TRY(dg_optimiser_pack(r->net, r->lanes, weights_of(r)));
done:
    return status;
}

static dg_status allocate(attack_run *r) {
    dg_status status = DG_OK;
    const size_t block = (size_t)(BLOCK * r->elements);
    DG_TRY(dg_alloc(r->ctx, &r->memory, (size_t)r->lanes, sizeof *r->memory, "an attack"));
    for (int i = 0; i < r->lanes; i++) {
        float **arrays[] = {&r->memory[i].x0,  &r->memory[i].xt,    &r->memory[i].next,
                            &r->memory[i].eps, &r->memory[i].first, &r->memory[i].seen};
        for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++)
            DG_TRY(dg_alloc(r->ctx, arrays[k], block, sizeof(float), "an attack"));
    }
    DG_TRY(dg_alloc(r->ctx, &r->noise, (size_t)(r->options->noises * r->elements), sizeof(float), "common noise"));
    for (int64_t k = 0; k < r->options->noises; k++) {
        const dg_random random = dg_draw_stream(r->options->seed, DG_DRAW_ATTACK, (uint64_t)k);
        dg_random_normal(&random, 0, r->elements, r->noise + k * r->elements);
    }
done:
    return status;
}

dg_status dg_attack_run(dg_ctx *ctx, const dg_sample_model *model, const dg_attack_image *images, int64_t count,
                        const dg_attack_options *options, double *scores[DG_ATTACKS]) {
    dg_status status = DG_OK;
    attack_run r = {.ctx = ctx,
                    .model = model,
                    .lanes = model->compute.lanes,
                    .elements = model->h * model->w * model->folder.config.in_channels,
                    .images = images,
                    .count = count,
                    .options = options,
                    .scores = scores};
    const dg_lanes_job job = {.work = attack_block, .user = &r};
    dg_scheduler_config linear;
    dg_scheduler_config_defaults(&linear);
    if (dg_scheduler_config_is_edm(&model->scheduler))
        DG_TRY(dg_noise_schedule_create(ctx, &linear, &r.levels));
    DG_TRY(create_net(&r));
    DG_TRY(allocate(&r));
    DG_TRY(dg_lanes_run(r.lanes, (count + BLOCK - 1) / BLOCK, &job));
done:
    for (int i = 0; r.memory && i < r.lanes; i++) {
        free(r.memory[i].x0);
        free(r.memory[i].xt);
        free(r.memory[i].next);
        free(r.memory[i].eps);
        free(r.memory[i].first);
        free(r.memory[i].seen);
    }
    free(r.memory);
    free(r.noise);
    dg_noise_schedule_free(&r.levels);
    if (r.device_weights)
        model->compute.backend->free(r.device_weights);
    dg_net_free(r.net);
    return status;
}
