#include "diffusion/generate_internal.h"

#include "nn/lanes.h"
#include "nn/optimiser.h"

#include <stdlib.h>

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
                                .libraries = options->libraries,
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
    }
    free(generator->buffers);
    dg_net_free(generator->net);
    free(generator);
}

bool dg_generator_input_is_state(const dg_generator *generator) {
    return generator->options.precision != DG_PRECISION_BF16;
}

static size_t lane_bytes(const dg_generator *generator) {
    const int64_t arrays = DG_GENERATE_HISTORY + 1 + (dg_generator_input_is_state(generator) ? 0 : 1);
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
        dg_generator_lane *b = &generator->buffers[i];
        DG_TRY(o->backend->alloc(generator->ctx, lane_bytes(generator), "the sampler's history", &b->memory));
        for (int k = 0; k < DG_GENERATE_HISTORY; k++)
            b->x0[k] = (float *)b->memory + k * chunk_elements;
        b->cond = (float *)b->memory + DG_GENERATE_HISTORY * chunk_elements;
        b->x = dg_generator_input_is_state(generator) ? dg_net_lane(generator->net, i)->x.data
                                                      : (float *)b->memory + (DG_GENERATE_HISTORY + 1) * chunk_elements;
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
