#include "diffusion/generate.h"

#include "nn/lanes.h"
#include "nn/optimiser.h"

#include <stdlib.h>
#include <string.h>

enum { HISTORY = 3 };

typedef struct lane_buffers {
    void *memory;       /* on the device */
    float *x0[HISTORY]; /* ring of clean-image estimates, newest at the step's index modulo 3 */
    float *x;           /* the image so far; the network's input itself where that is in float */
    void *pixels;       /* one image as the host wants it, in memory that it sees; NULL where it sees all memory */
    void *cond;         /* the conditional prediction, while the unconditional one is computed */
} lane_buffers;

struct dg_generator {
    dg_ctx *ctx;
    dg_generator_options options;
    dg_unet_config config;
    int64_t chunk, image_elements;
    dg_net *net;
    const float *weights;
    lane_buffers *buffers;
};

dg_status dg_generator_create(dg_ctx *ctx, const dg_unet_config *config, const dg_generator_options *options,
                              dg_generator **out) {
    dg_status status = DG_OK;
    dg_generator *generator = NULL;
    const dg_backend *backend = options->backend;
    DG_TRY(dg_alloc(ctx, &generator, 1, sizeof *generator, "the generator"));
    *generator = (dg_generator){.ctx = ctx, .options = *options, .config = *config, .chunk = backend->generate_chunk};
    generator->image_elements = options->h * options->w * config->out_channels;
    if (config->in_channels != config->out_channels)
        DG_TRY(dg_fail(ctx, DG_ECONFIG,
                       "sampling needs a model with as many output as input channels, not %lld and %lld",
                       (long long)config->out_channels, (long long)config->in_channels));
    const dg_net_options net = {.backend = backend,
                                .n = generator->chunk,
                                .h = options->h,
                                .w = options->w,
                                .lanes = options->lanes,
                                .precision = options->precision,
                                .extra_workspace_bytes =
                                    backend->ops->sampler_step_workspace_bytes(generator->image_elements)};
    DG_TRY(dg_net_create(ctx, config, &net, &generator->net));
    *out = generator;
    generator = NULL;
done:
    dg_generator_free(generator);
    return status;
}

void dg_generator_free(dg_generator *generator) {
    if (!generator)
        return;
    const dg_backend *backend = generator->options.backend;
    for (int i = 0; generator->buffers && i < generator->options.lanes; i++) {
        backend->free(generator->buffers[i].memory);
        backend->free_shared(generator->buffers[i].pixels);
    }
    free(generator->buffers);
    dg_net_free(generator->net);
    free(generator);
}

static bool input_is_state(const dg_generator *generator) {
    return generator->options.precision != DG_PRECISION_BF16;
}

static size_t lane_bytes(const dg_generator *generator) {
    const int64_t arrays = HISTORY + 1 + (input_is_state(generator) ? 0 : 1);
    return (size_t)(generator->chunk * generator->image_elements * arrays) * sizeof(float);
}

size_t dg_generator_bytes(const dg_generator *generator) {
    return dg_net_memory_plan(generator->net).total_bytes + (size_t)generator->options.lanes * lane_bytes(generator);
}

dg_status dg_generator_allocate(dg_generator *generator) {
    dg_status status = DG_OK;
    const dg_generator_options *o = &generator->options;
    const int64_t chunk_elements = generator->chunk * generator->image_elements;
    DG_TRY(dg_net_allocate(generator->net));
    DG_TRY(
        dg_alloc(generator->ctx, &generator->buffers, (size_t)o->lanes, sizeof *generator->buffers, "the generator"));
    for (int i = 0; i < o->lanes; i++) {
        lane_buffers *b = &generator->buffers[i];
        DG_TRY(o->backend->alloc(generator->ctx, lane_bytes(generator), "the sampler's history", &b->memory));
        for (int k = 0; k < HISTORY; k++)
            b->x0[k] = (float *)b->memory + k * chunk_elements;
        b->cond = (float *)b->memory + HISTORY * chunk_elements;
        b->x = input_is_state(generator) ? dg_net_lane(generator->net, i)->x.data
                                         : (float *)b->memory + (HISTORY + 1) * chunk_elements;
        if (!o->backend->host_memory)
            DG_TRY(o->backend->alloc_shared(generator->ctx, (size_t)generator->image_elements * sizeof(uint16_t),
                                            "an image's pixels", &b->pixels));
    }
done:
    return status;
}

dg_status dg_generator_set_weights(dg_generator *generator, const float *weights) {
    generator->weights = weights;
    return dg_optimiser_pack(generator->net, generator->options.lanes, weights);
}

dg_status dg_generator_load_weights(dg_ctx *ctx, dg_generator *generator, const float *weights, int64_t count,
                                    float **copy) {
    dg_status status = DG_OK;
    const dg_backend *backend = generator->options.backend;
    dg_exec *exec = dg_net_lane(generator->net, 0)->exec;
    const size_t bytes = (size_t)count * sizeof(float);
    void *memory = NULL;
    *copy = NULL;
    if (!backend->host_memory) {
        DG_TRY(backend->alloc(ctx, bytes, "the model's weights", &memory));
        *copy = memory;
        DG_TRY(backend->upload(exec, memory, weights, bytes));
        DG_TRY(backend->synchronise(exec));
    }
    DG_TRY(dg_generator_set_weights(generator, *copy ? *copy : weights));
done:
    return status;
}

dg_net *dg_generator_net(const dg_generator *generator) {
    return generator->net;
}

dg_status dg_generator_pixels(const dg_generator *generator, int lane, const dg_tensor *x, int bits, void *pixels) {
    dg_status status = DG_OK;
    const dg_backend *backend = generator->options.backend;
    dg_exec *exec = dg_net_lane(generator->net, lane)->exec;
    void *shared = generator->buffers[lane].pixels;
    dg_tensor to = *x;
    to.dtype = bits == 16 ? DG_U16 : DG_U8;
    to.data = shared ? shared : pixels;
    DG_TRY(backend->ops->to_pixels(exec, x, &to));
    DG_TRY(backend->synchronise(exec));
    if (shared)
        memcpy(pixels, shared, dg_tensor_bytes(&to));
done:
    return status;
}

/* What the passes of a chunk are told, in memory that the host sees. Everything a chunk needs is written before its
 * first pass is called, so that its passes need not wait for the host. */
typedef struct lane_script {
    void *shared;
    dg_sampler_desc *updates; /* [steps] */
    dg_random *random;        /* [1 + steps][chunk]: x_T, then each step's noise */
    float *timesteps;         /* [steps][chunk] */
    int32_t *labels;          /* [2][chunk]: conditional, unconditional */
    float *noise;             /* [chunk] images of the caller's x_T; NULL if it gave none */
} lane_script;

typedef struct run {
    dg_generator *generator;
    const dg_generate_job *job;
    lane_script *scripts; /* [lanes] */
    bool given_noise;
} run;

static size_t script_bytes(const run *r) {
    const size_t steps = (size_t)r->job->sampler->count, chunk = (size_t)r->generator->chunk;
    size_t bytes = steps * sizeof(dg_sampler_desc) + (1 + steps) * chunk * sizeof(dg_random) +
                   steps * chunk * sizeof(float) + 2 * chunk * sizeof(int32_t);
    if (r->given_noise)
        bytes += chunk * (size_t)r->generator->image_elements * sizeof(float);
    return bytes;
}

static dg_status allocate_scripts(run *r) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const int64_t steps = r->job->sampler->count;
    DG_TRY(dg_alloc(g->ctx, &r->scripts, (size_t)g->options.lanes, sizeof *r->scripts, "the generator"));
    for (int i = 0; i < g->options.lanes; i++) {
        lane_script *s = &r->scripts[i];
        DG_TRY(g->options.backend->alloc_shared(g->ctx, script_bytes(r), "the sampler's steps", &s->shared));
        s->random = s->shared;
        s->updates = (dg_sampler_desc *)(s->random + (1 + steps) * g->chunk);
        s->timesteps = (float *)(s->updates + steps);
        s->labels = (int32_t *)(s->timesteps + steps * g->chunk);
        s->noise = r->given_noise ? (float *)(s->labels + 2 * g->chunk) : NULL;
    }
done:
    return status;
}

static void free_scripts(run *r) {
    for (int i = 0; r->scripts && i < r->generator->options.lanes; i++)
        r->generator->options.backend->free_shared(r->scripts[i].shared);
    free(r->scripts);
}

/* Slots beyond the last image repeat it: the chunk's shape is always the same. */
static const dg_generate_image *slot_image(const run *r, int64_t chunk, int64_t slot) {
    const int64_t index = chunk * r->generator->chunk + slot;
    return &r->job->images[index < r->job->count ? index : r->job->count - 1];
}

/* The caller's x_T comes as (C, H, W). */
static void transpose_noise(const dg_generator *g, const float *noise, float *x) {
    const int64_t channels = g->config.in_channels, pixels = g->image_elements / channels;
    for (int64_t i = 0; i < g->image_elements; i++)
        x[i] = noise[i % channels * pixels + i / channels];
}

static void write_script(const run *r, int lane, int64_t chunk) {
    const dg_generator *g = r->generator;
    lane_script *s = &r->scripts[lane];
    for (int64_t slot = 0; slot < g->chunk; slot++) {
        const dg_generate_image *image = slot_image(r, chunk, slot);
        dg_random *random = s->random + slot;
        *random = (dg_random){.seed = r->job->seed, .image = image->number, .purpose = DG_PURPOSE_SAMPLE};
        for (int64_t i = 0; i < r->job->sampler->count; i++) {
            random += g->chunk;
            *random = (dg_random){
                .seed = r->job->seed, .image = image->number, .purpose = DG_PURPOSE_SAMPLER, .step = (uint32_t)i};
            s->timesteps[i * g->chunk + slot] = r->job->sampler->steps[i].timestep;
        }
        s->labels[slot] = image->label;
        s->labels[g->chunk + slot] = (int32_t)g->config.null_class;
        if (image->noise)
            transpose_noise(g, image->noise, s->noise + slot * g->image_elements);
    }
    for (int64_t i = 0; i < r->job->sampler->count; i++)
        s->updates[i] = r->job->sampler->steps[i].update;
}

/* The image so far, all of a chunk. */
static dg_tensor state_of(const run *r, int lane) {
    dg_tensor x = dg_net_lane(r->generator->net, lane)->x;
    x.dtype = DG_F32;
    x.data = r->generator->buffers[lane].x;
    return x;
}

/* x_T: drawn, then replaced where the caller gave its own. */
static dg_status initial_noise(const run *r, int lane, int64_t chunk) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const dg_backend *backend = g->options.backend;
    dg_exec *exec = dg_net_lane(g->net, lane)->exec;
    const dg_tensor x = state_of(r, lane);
    DG_TRY(backend->ops->fill_normal(exec, r->scripts[lane].random, &x));
    for (int64_t slot = 0; slot < g->chunk; slot++)
        if (slot_image(r, chunk, slot)->noise)
            DG_TRY(backend->upload(exec, (float *)x.data + slot * g->image_elements,
                                   r->scripts[lane].noise + slot * g->image_elements,
                                   (size_t)g->image_elements * sizeof(float)));
done:
    return status;
}

static dg_status predict(const run *r, int lane, int64_t step, bool unconditional) {
    const dg_generator *g = r->generator;
    const lane_script *s = &r->scripts[lane];
    dg_net_set_inputs(g->net, lane, s->timesteps + step * g->chunk, s->labels + (unconditional ? g->chunk : 0));
    return dg_net_forward(g->net, lane, g->weights, false);
}

/* The model's output at this step, guided if asked for, in the net's y. */
static dg_status guided_prediction(const run *r, int lane, int64_t step) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const dg_ops *ops = g->options.backend->ops;
    const dg_net_io *io = dg_net_lane(g->net, lane);
    const dg_tensor x = state_of(r, lane);
    dg_tensor cond = io->y;
    cond.data = g->buffers[lane].cond;
    if (!input_is_state(g))
        DG_TRY(ops->axpby(io->exec, 1, &x, 0, 0, &io->x));
    DG_TRY(predict(r, lane, step, false));
    if (r->job->guidance == 1)
        return DG_OK;
    DG_TRY(ops->axpby(io->exec, 1, &io->y, 0, 0, &cond));
    DG_TRY(predict(r, lane, step, true));
    DG_TRY(ops->guidance(io->exec, (float)r->job->guidance, &cond, &io->y, &cond));
    DG_TRY(ops->axpby(io->exec, 1, &cond, 0, 0, &io->y));
done:
    return status;
}

static dg_tensor history(const run *r, int lane, int64_t step) {
    dg_tensor view = state_of(r, lane);
    view.data = r->generator->buffers[lane].x0[(step + HISTORY) % HISTORY];
    return view;
}

static dg_status reverse_step(const run *r, int lane, int64_t i) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const lane_script *s = &r->scripts[lane];
    const dg_net_io *io = dg_net_lane(g->net, lane);
    const dg_tensor x = state_of(r, lane);
    const dg_tensor x0 = history(r, lane, i), m1 = history(r, lane, i - 1), m2 = history(r, lane, i - 2);
    if (dg_ctx_stop_requested(g->ctx))
        return dg_fail(g->ctx, DG_EINTERRUPTED, "stopped while sampling");
    DG_TRY(guided_prediction(r, lane, i));
    DG_TRY(g->options.backend->ops->sampler_step(io->exec, &s->updates[i], s->random + (1 + i) * g->chunk, &io->y, &m1,
                                                 &m2, &x0, &x));
done:
    return status;
}

static dg_status generate_chunk(void *user, int lane, int64_t chunk) {
    dg_status status = DG_OK;
    const run *r = user;
    const dg_generator *g = r->generator;
    write_script(r, lane, chunk);
    DG_TRY(initial_noise(r, lane, chunk));
    for (int64_t i = 0; i < r->job->sampler->count; i++)
        DG_TRY(reverse_step(r, lane, i));
    for (int64_t slot = 0; slot < g->chunk && chunk * g->chunk + slot < r->job->count; slot++) {
        dg_tensor image = state_of(r, lane);
        image.dims[0] = 1;
        image.data = (float *)image.data + slot * g->image_elements;
        DG_TRY(r->job->done(r->job->user, lane, chunk * g->chunk + slot, &image));
    }
    DG_TRY(g->options.backend->synchronise(dg_net_lane(g->net, lane)->exec)); /* before the script is written anew */
done:
    dg_net_set_inputs(g->net, lane, NULL, NULL);
    return status;
}

dg_status dg_generate(dg_generator *generator, const dg_generate_job *job) {
    dg_status status = DG_OK;
    run r = {.generator = generator, .job = job};
    const dg_lanes_job work = {.work = generate_chunk, .user = &r};
    if (job->guidance != 1 && generator->config.null_class < 0)
        return dg_fail(generator->ctx, DG_EINVAL,
                       "guidance %g needs a model that learnt a null class; this one did not (train with "
                       "--label-dropout above 0)",
                       job->guidance);
    for (int64_t i = 0; i < job->count; i++)
        r.given_noise |= job->images[i].noise != NULL;
    DG_TRY(allocate_scripts(&r));
    DG_TRY(dg_lanes_run(generator->options.lanes, (job->count + generator->chunk - 1) / generator->chunk, &work));
done:
    free_scripts(&r);
    return status;
}
