#include "diffusion/generate.h"

#include "nn/lanes.h"
#include "nn/optimiser.h"

#include <stdlib.h>

enum { CHUNK = DG_GENERATE_CHUNK, HISTORY = 3 };

typedef struct lane_buffers {
    float *memory;
    float *x0[HISTORY]; /* ring of clean-image estimates, newest at the step's index modulo 3 */
    float *cond;        /* the conditional prediction, while the unconditional one is computed */
    dg_random random[CHUNK];
} lane_buffers;

struct dg_generator {
    dg_ctx *ctx;
    const dg_backend *backend;
    dg_unet_config config;
    int lanes;
    dg_net *net;
    const float *weights;
    int64_t image_elements, h, w;
    lane_buffers *buffers;
};

dg_status dg_generator_create(dg_ctx *ctx, const dg_backend *backend, const dg_unet_config *config, int64_t h,
                              int64_t w, int lanes, dg_generator **out) {
    dg_status status = DG_OK;
    dg_generator *generator = NULL;
    DG_TRY(dg_alloc(ctx, &generator, 1, sizeof *generator, "the generator"));
    *generator = (dg_generator){.ctx = ctx, .backend = backend, .config = *config, .lanes = lanes, .h = h, .w = w};
    generator->image_elements = h * w * config->out_channels;
    if (config->in_channels != config->out_channels)
        DG_TRY(dg_fail(ctx, DG_ECONFIG,
                       "sampling needs a model with as many output as input channels, not %lld and %lld",
                       (long long)config->out_channels, (long long)config->in_channels));
    const dg_net_options options = {.backend = backend,
                                    .n = CHUNK,
                                    .h = h,
                                    .w = w,
                                    .lanes = lanes,
                                    .extra_workspace_bytes =
                                        backend->ops->sampler_step_workspace_bytes(generator->image_elements)};
    DG_TRY(dg_net_create(ctx, config, &options, &generator->net));
    *out = generator;
    generator = NULL;
done:
    dg_generator_free(generator);
    return status;
}

void dg_generator_free(dg_generator *generator) {
    if (!generator)
        return;
    for (int i = 0; generator->buffers && i < generator->lanes; i++)
        generator->backend->free(generator->buffers[i].memory);
    free(generator->buffers);
    dg_net_free(generator->net);
    free(generator);
}

static size_t lane_bytes(const dg_generator *generator) {
    return (size_t)(CHUNK * generator->image_elements) * (HISTORY + 1) * sizeof(float);
}

size_t dg_generator_bytes(const dg_generator *generator) {
    return dg_net_memory_plan(generator->net).total_bytes + (size_t)generator->lanes * lane_bytes(generator);
}

dg_status dg_generator_allocate(dg_generator *generator) {
    dg_status status = DG_OK;
    const int64_t chunk_elements = CHUNK * generator->image_elements;
    DG_TRY(dg_net_allocate(generator->net));
    DG_TRY(dg_alloc(generator->ctx, &generator->buffers, (size_t)generator->lanes, sizeof *generator->buffers,
                    "the generator"));
    for (int i = 0; i < generator->lanes; i++) {
        lane_buffers *b = &generator->buffers[i];
        void *memory;
        DG_TRY(generator->backend->alloc(generator->ctx, lane_bytes(generator), "the sampler's history", &memory));
        b->memory = memory;
        for (int k = 0; k < HISTORY; k++)
            b->x0[k] = b->memory + k * chunk_elements;
        b->cond = b->memory + HISTORY * chunk_elements;
    }
done:
    return status;
}

dg_status dg_generator_set_weights(dg_generator *generator, const float *weights) {
    generator->weights = weights;
    return dg_optimiser_pack(generator->net, generator->lanes, weights);
}

dg_net *dg_generator_net(const dg_generator *generator) {
    return generator->net;
}

dg_exec *dg_generator_exec(const dg_generator *generator, int lane) {
    return dg_net_lane(generator->net, lane)->exec;
}

typedef struct run {
    dg_generator *generator;
    const dg_generate_job *job;
} run;

/* Slots beyond the last image repeat it: the chunk's shape is always the same. */
static const dg_generate_image *slot_image(const run *r, int64_t chunk, int slot) {
    const int64_t index = chunk * CHUNK + slot;
    return &r->job->images[index < r->job->count ? index : r->job->count - 1];
}

static void address_streams(const run *r, int lane, int64_t chunk, dg_purpose purpose, int64_t step) {
    dg_random *random = r->generator->buffers[lane].random;
    for (int slot = 0; slot < CHUNK; slot++)
        random[slot] = (dg_random){.seed = r->job->seed,
                                   .image = slot_image(r, chunk, slot)->number,
                                   .purpose = (uint32_t)purpose,
                                   .step = (uint32_t)step};
}

/* x_T: drawn, then replaced where the caller gave its own. */
static dg_status initial_noise(const run *r, int lane, int64_t chunk) {
    const dg_generator *g = r->generator;
    const dg_net_io *io = dg_net_lane(g->net, lane);
    const int64_t pixels = g->h * g->w, channels = g->config.in_channels;
    address_streams(r, lane, chunk, DG_PURPOSE_SAMPLE, 0);
    const dg_status status = g->backend->ops->fill_normal(io->exec, g->buffers[lane].random, &io->x);
    for (int slot = 0; status == DG_OK && slot < CHUNK; slot++) {
        const float *noise = slot_image(r, chunk, slot)->noise;
        float *x = (float *)io->x.data + slot * g->image_elements;
        for (int64_t i = 0; noise && i < g->image_elements; i++)
            x[i] = noise[i % channels * pixels + i / channels];
    }
    return status;
}

static dg_status predict(const run *r, int lane, int64_t chunk, float timestep, bool unconditional) {
    const dg_generator *g = r->generator;
    const dg_net_io *io = dg_net_lane(g->net, lane);
    for (int slot = 0; slot < CHUNK; slot++) {
        io->timesteps[slot] = timestep;
        io->labels[slot] = unconditional ? (int32_t)g->config.null_class : slot_image(r, chunk, slot)->label;
    }
    return dg_net_forward(g->net, lane, g->weights, false);
}

/* The model's output at this step, guided if asked for, in the net's y. */
static dg_status guided_prediction(const run *r, int lane, int64_t chunk, float timestep) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const dg_ops *ops = g->backend->ops;
    const dg_net_io *io = dg_net_lane(g->net, lane);
    dg_tensor cond = io->y;
    cond.data = g->buffers[lane].cond;
    DG_TRY(predict(r, lane, chunk, timestep, false));
    if (r->job->guidance == 1)
        return DG_OK;
    DG_TRY(ops->axpby(io->exec, 1, &io->y, 0, 0, &cond));
    DG_TRY(predict(r, lane, chunk, timestep, true));
    DG_TRY(ops->guidance(io->exec, (float)r->job->guidance, &cond, &io->y, &cond));
    DG_TRY(ops->axpby(io->exec, 1, &cond, 0, 0, &io->y));
done:
    return status;
}

static dg_tensor history(const run *r, int lane, int64_t step) {
    dg_tensor view = dg_net_lane(r->generator->net, lane)->x;
    view.data = r->generator->buffers[lane].x0[(step + HISTORY) % HISTORY];
    return view;
}

static dg_status reverse_step(const run *r, int lane, int64_t chunk, int64_t i) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const dg_sampler_step *step = &r->job->sampler->steps[i];
    const dg_net_io *io = dg_net_lane(g->net, lane);
    const dg_tensor x0 = history(r, lane, i), m1 = history(r, lane, i - 1), m2 = history(r, lane, i - 2);
    if (dg_ctx_stop_requested(g->ctx))
        return dg_fail(g->ctx, DG_EINTERRUPTED, "stopped while sampling");
    DG_TRY(guided_prediction(r, lane, chunk, step->timestep));
    address_streams(r, lane, chunk, DG_PURPOSE_SAMPLER, i);
    DG_TRY(
        g->backend->ops->sampler_step(io->exec, &step->update, g->buffers[lane].random, &io->y, &m1, &m2, &x0, &io->x));
done:
    return status;
}

static dg_status generate_chunk(void *user, int lane, int64_t chunk) {
    dg_status status = DG_OK;
    const run *r = user;
    const dg_net_io *io = dg_net_lane(r->generator->net, lane);
    DG_TRY(initial_noise(r, lane, chunk));
    for (int64_t i = 0; i < r->job->sampler->count; i++)
        DG_TRY(reverse_step(r, lane, chunk, i));
    for (int64_t slot = 0; slot < CHUNK && chunk * CHUNK + slot < r->job->count; slot++) {
        dg_tensor image = io->x;
        image.dims[0] = 1;
        image.data = (float *)io->x.data + slot * r->generator->image_elements;
        DG_TRY(r->job->done(r->job->user, lane, chunk * CHUNK + slot, &image));
    }
done:
    return status;
}

dg_status dg_generate(dg_generator *generator, const dg_generate_job *job) {
    run r = {.generator = generator, .job = job};
    const dg_lanes_job work = {.work = generate_chunk, .user = &r};
    if (job->guidance != 1 && generator->config.null_class < 0)
        return dg_fail(generator->ctx, DG_EINVAL,
                       "guidance %g needs a model that learnt a null class; this one did not (train with "
                       "--label-dropout above 0)",
                       job->guidance);
    return dg_lanes_run(generator->lanes, (job->count + CHUNK - 1) / CHUNK, &work);
}
