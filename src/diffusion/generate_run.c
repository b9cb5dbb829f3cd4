/* dg_generate: chunks of images through the reverse process.
 *
 * What a chunk's passes are told about it (its script) is all written before the first of them is called, so none waits
 * for the host. On a backend with a queue the script goes to the device in one copy, the passes of all steps are one
 * recording from the second chunk on, and two chunks are on their way at a time: while the device draws one, the host
 * takes the finished pixels of the one before. */
#include "diffusion/generate_internal.h"
#include "nn/lanes.h"
#include "nn/replay.h"

#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2, NO_CHUNK = -1 };

typedef struct script {
    dg_random *random;        /* [1 + steps][chunk]: x_T, then each step's noise */
    dg_sampler_desc *updates; /* [steps] */
    float *timesteps;         /* [steps][chunk] */
    int32_t *labels;          /* [2][chunk]: conditional, unconditional */
    float *noise;             /* [chunk] images of the caller's x_T; NULL if it gave none */
} script;

/* A chunk on its way: where the host writes its script and finds its pixels. */
typedef struct slot {
    void *script_memory, *pixels;
    script script;
    void *event; /* after the pixels */
    int64_t chunk;
} slot;

typedef struct lane_run {
    void *script_memory, *pixels; /* on the device; those of slots[0] where it is the host */
    script script;
    slot slots[SLOTS];
    int next; /* slot of the next chunk */
    dg_replay replay;
} lane_run;

typedef struct run {
    dg_generator *generator;
    const dg_generate_job *job;
    lane_run *lanes;
    bool given_noise;
} run;

/* One lane's passes over one chunk. */
typedef struct chunk_call {
    const run *run;
    int lane;
} chunk_call;

static const dg_backend *backend_of(const run *r) {
    return r->generator->options.backend;
}

static dg_exec *exec_of(const run *r, int lane) {
    return dg_net_lane(r->generator->net, lane)->exec;
}

/* ---- memory ---- */

static size_t script_bytes(const run *r) {
    const size_t steps = (size_t)r->job->sampler->count, chunk = (size_t)r->generator->chunk;
    size_t bytes = steps * sizeof(dg_sampler_desc) + (1 + steps) * chunk * sizeof(dg_random) +
                   steps * chunk * sizeof(float) + 2 * chunk * sizeof(int32_t);
    if (r->given_noise)
        bytes += chunk * (size_t)r->generator->image_elements * sizeof(float);
    return bytes;
}

static script script_in(const run *r, void *memory) {
    const int64_t steps = r->job->sampler->count, chunk = r->generator->chunk;
    script s = {.random = memory};
    s.updates = (dg_sampler_desc *)(s.random + (1 + steps) * chunk);
    s.timesteps = (float *)(s.updates + steps);
    s.labels = (int32_t *)(s.timesteps + steps * chunk);
    s.noise = r->given_noise ? (float *)(s.labels + 2 * chunk) : NULL;
    return s;
}

static size_t image_bytes(const run *r) {
    return (size_t)r->generator->image_elements * dg_dtype_bytes(r->job->dtype);
}

static dg_status allocate_slot(const run *r, slot *s) {
    dg_status status = DG_OK;
    dg_ctx *ctx = r->generator->ctx;
    s->chunk = NO_CHUNK;
    DG_TRY(backend_of(r)->alloc_shared(ctx, script_bytes(r), "the sampler's steps", &s->script_memory));
    DG_TRY(
        backend_of(r)->alloc_shared(ctx, (size_t)r->generator->chunk * image_bytes(r), "a chunk's pixels", &s->pixels));
    DG_TRY(backend_of(r)->event_create(ctx, &s->event));
    s->script = script_in(r, s->script_memory);
done:
    return status;
}

static dg_status allocate_lane(const run *r, lane_run *l) {
    dg_status status = DG_OK;
    dg_ctx *ctx = r->generator->ctx;
    for (int i = 0; i < SLOTS; i++)
        DG_TRY(allocate_slot(r, &l->slots[i]));
    l->script_memory = l->slots[0].script_memory;
    l->pixels = l->slots[0].pixels;
    if (!backend_of(r)->host_memory) {
        l->script_memory = l->pixels = NULL;
        DG_TRY(backend_of(r)->alloc(ctx, script_bytes(r), "the sampler's steps", &l->script_memory));
        DG_TRY(backend_of(r)->alloc(ctx, (size_t)r->generator->chunk * image_bytes(r), "a chunk's pixels", &l->pixels));
    }
    l->script = script_in(r, l->script_memory);
done:
    return status;
}

static void free_lane(const run *r, int lane) {
    const dg_backend *backend = backend_of(r);
    lane_run *l = &r->lanes[lane];
    dg_replay_free(&l->replay);
    if (!backend->host_memory) {
        backend->free(l->script_memory);
        backend->free(l->pixels);
    }
    for (int i = 0; i < SLOTS; i++) {
        backend->free_shared(l->slots[i].script_memory);
        backend->free_shared(l->slots[i].pixels);
        backend->event_free(l->slots[i].event);
    }
}

/* ---- the script ---- */

/* Places beyond the last image repeat it: the chunk's shape is always the same. */
static const dg_generate_image *image_at(const run *r, int64_t chunk, int64_t place) {
    const int64_t index = chunk * r->generator->chunk + place;
    return &r->job->images[index < r->job->count ? index : r->job->count - 1];
}

/* The caller's x_T comes as (C, H, W). */
static void transpose_noise(const dg_generator *g, const float *noise, float *x) {
    const int64_t channels = g->config.in_channels, pixels = g->image_elements / channels;
    for (int64_t i = 0; i < g->image_elements; i++)
        x[i] = noise[i % channels * pixels + i / channels];
}

static void write_script(const run *r, const script *s, int64_t chunk) {
    const dg_generator *g = r->generator;
    for (int64_t place = 0; place < g->chunk; place++) {
        const dg_generate_image *image = image_at(r, chunk, place);
        dg_random *random = s->random + place;
        *random = (dg_random){.seed = r->job->seed, .image = image->number, .purpose = DG_PURPOSE_SAMPLE};
        for (int64_t i = 0; i < r->job->sampler->count; i++) {
            random += g->chunk;
            *random = (dg_random){
                .seed = r->job->seed, .image = image->number, .purpose = DG_PURPOSE_SAMPLER, .step = (uint32_t)i};
            s->timesteps[i * g->chunk + place] = r->job->sampler->steps[i].timestep;
        }
        s->labels[place] = image->label;
        s->labels[g->chunk + place] = (int32_t)g->config.null_class;
        if (s->noise)
            transpose_noise(g, image->noise, s->noise + place * g->image_elements);
    }
    for (int64_t i = 0; i < r->job->sampler->count; i++)
        s->updates[i] = r->job->sampler->steps[i].update;
}

/* ---- the passes of a chunk ---- */

/* The image so far, all of a chunk. */
static dg_tensor state_of(const run *r, int lane) {
    dg_tensor x = dg_net_lane(r->generator->net, lane)->x;
    x.dtype = DG_F32;
    x.data = r->generator->buffers[lane].x;
    return x;
}

static dg_status initial_noise(const run *r, int lane) {
    const dg_ops *ops = backend_of(r)->ops;
    const script *s = &r->lanes[lane].script;
    const dg_tensor x = state_of(r, lane);
    dg_tensor noise = x;
    noise.data = s->noise;
    return s->noise ? ops->axpby(exec_of(r, lane), 1, &noise, 0, 0, &x)
                    : ops->fill_normal(exec_of(r, lane), s->random, &x);
}

static dg_status predict(const run *r, int lane, int64_t step, bool unconditional) {
    const dg_generator *g = r->generator;
    const script *s = &r->lanes[lane].script;
    const dg_net_inputs inputs = {.timesteps = s->timesteps + step * g->chunk,
                                  .labels = s->labels + (unconditional ? g->chunk : 0)};
    dg_net_set_inputs(g->net, lane, inputs);
    return dg_net_forward(g->net, lane, g->weights, false);
}

/* The model's output at this step, guided if asked for, in the net's y. */
static dg_status guided_prediction(const run *r, int lane, int64_t step) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    const dg_ops *ops = backend_of(r)->ops;
    const dg_net_io *io = dg_net_lane(g->net, lane);
    const dg_tensor x = state_of(r, lane);
    dg_tensor cond = io->y;
    cond.data = g->buffers[lane].cond;
    if (!dg_generator_input_is_state(g))
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
    view.data = r->generator->buffers[lane].x0[(step + DG_GENERATE_HISTORY) % DG_GENERATE_HISTORY];
    return view;
}

static dg_status check_stop(const run *r) {
    return dg_ctx_stop_requested(r->generator->ctx)
               ? dg_fail(r->generator->ctx, DG_EINTERRUPTED, "stopped while sampling")
               : DG_OK;
}

static dg_status reverse_step(const run *r, int lane, int64_t i) {
    dg_status status = DG_OK;
    const script *s = &r->lanes[lane].script;
    const dg_net_io *io = dg_net_lane(r->generator->net, lane);
    const dg_tensor x = state_of(r, lane);
    const dg_tensor x0 = history(r, lane, i), m1 = history(r, lane, i - 1), m2 = history(r, lane, i - 2);
    DG_TRY(check_stop(r));
    DG_TRY(guided_prediction(r, lane, i));
    DG_TRY(backend_of(r)->ops->sampler_step(io->exec, &s->updates[i], s->random + (1 + i) * r->generator->chunk, &io->y,
                                            &m1, &m2, &x0, &x));
done:
    return status;
}

static dg_status draw_chunk(void *user) {
    dg_status status = DG_OK;
    const chunk_call *call = user;
    const run *r = call->run;
    const int lane = call->lane;
    const dg_tensor x = state_of(r, lane);
    dg_tensor pixels = x;
    pixels.dtype = r->job->dtype;
    pixels.data = r->lanes[lane].pixels;
    DG_TRY(initial_noise(r, lane));
    for (int64_t i = 0; i < r->job->sampler->count; i++)
        DG_TRY(reverse_step(r, lane, i));
    DG_TRY(pixels.dtype == DG_F32 ? backend_of(r)->ops->axpby(exec_of(r, lane), 1, &x, 0, 0, &pixels)
                                  : backend_of(r)->ops->to_pixels(exec_of(r, lane), &x, &pixels));
done:
    return status;
}

/* Calls everything a chunk needs, up to its pixels in the slot. */
static dg_status submit(const run *r, int lane, slot *s, int64_t chunk) {
    dg_status status = DG_OK;
    const dg_backend *backend = backend_of(r);
    dg_exec *exec = exec_of(r, lane);
    lane_run *l = &r->lanes[lane];
    chunk_call call = {.run = r, .lane = lane};
    DG_TRY(check_stop(r));
    write_script(r, &s->script, chunk);
    if (!backend->host_memory)
        DG_TRY(backend->upload(exec, l->script_memory, s->script_memory, script_bytes(r)));
    DG_TRY(dg_net_is_profiled(r->generator->net, lane)
               ? draw_chunk(&call)
               : dg_replay_call(&l->replay, backend, exec, (dg_replay_key){0}, draw_chunk, &call));
    if (!backend->host_memory)
        DG_TRY(backend->download(exec, s->pixels, l->pixels, (size_t)r->generator->chunk * image_bytes(r)));
    DG_TRY(backend->event_record(exec, s->event));
    s->chunk = chunk;
done:
    return status;
}

/* ---- finished images ---- */

typedef struct delivery {
    const run *run;
    const slot *slot;
} delivery;

static dg_status deliver_image(void *user, int thread, int64_t place) {
    const delivery *d = user;
    const dg_generate_job *job = d->run->job;
    return job->done(job->user, thread, d->slot->chunk * d->run->generator->chunk + place,
                     (const char *)d->slot->pixels + (size_t)place * image_bytes(d->run));
}

/* Waits for the slot's chunk, if there is one, and hands its images over. */
static dg_status deliver(const run *r, int lane, slot *s) {
    dg_status status = DG_OK;
    const dg_generator *g = r->generator;
    delivery d = {.run = r, .slot = s};
    const dg_lanes_job hand_over = {.work = deliver_image, .user = &d};
    if (s->chunk == NO_CHUNK)
        return DG_OK;
    const int64_t left = r->job->count - s->chunk * g->chunk, images = left < g->chunk ? left : g->chunk;
    DG_TRY(backend_of(r)->event_wait(g->ctx, s->event));
    if (backend_of(r)->host_memory) {
        for (int64_t i = 0; i < images; i++)
            DG_TRY(deliver_image(&d, lane, i));
    } else {
        DG_TRY(dg_lanes_run(g->options.threads > 0 ? g->options.threads : 1, images, &hand_over));
    }
    s->chunk = NO_CHUNK;
done:
    return status;
}

/* With a queue, the chunk before this one is handed over while this one is drawn. */
static dg_status generate_chunk(void *user, int lane, int64_t chunk) {
    dg_status status = DG_OK;
    const run *r = user;
    lane_run *l = &r->lanes[lane];
    slot *s = &l->slots[l->next];
    DG_TRY(submit(r, lane, s, chunk));
    if (backend_of(r)->host_memory)
        return deliver(r, lane, s);
    l->next = (l->next + 1) % SLOTS;
    DG_TRY(deliver(r, lane, &l->slots[l->next]));
done:
    return status;
}

static dg_status check_job(const run *r) {
    const dg_generator *g = r->generator;
    if (r->job->guidance != 1 && g->config.null_class < 0)
        return dg_fail(g->ctx, DG_EINVAL,
                       "guidance %g needs a model that learnt a null class; this one did not (train with "
                       "--label-dropout above 0)",
                       r->job->guidance);
    for (int64_t i = 0; i < r->job->count; i++) {
        if ((r->job->images[i].noise != NULL) != r->given_noise)
            return dg_fail(g->ctx, DG_EINVAL, "noise is given for image 0 or image %lld, but not for both",
                           (long long)i);
        const dg_status status = dg_net_check_labels(g->net, &r->job->images[i].label, 1);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

dg_status dg_generate(dg_generator *generator, const dg_generate_job *job) {
    dg_status status = DG_OK;
    run r = {.generator = generator, .job = job, .given_noise = job->count > 0 && job->images[0].noise};
    const int lanes = generator->options.lanes;
    const dg_lanes_job work = {.work = generate_chunk, .user = &r};
    DG_TRY(check_job(&r));
    DG_TRY(dg_alloc(generator->ctx, &r.lanes, (size_t)lanes, sizeof *r.lanes, "the generator"));
    for (int i = 0; i < lanes; i++)
        DG_TRY(allocate_lane(&r, &r.lanes[i]));
    DG_TRY(dg_lanes_run(lanes, (job->count + generator->chunk - 1) / generator->chunk, &work));
    for (int i = 0; i < lanes; i++)
        DG_TRY(deliver(&r, i, &r.lanes[i].slots[(r.lanes[i].next + 1) % SLOTS]));
done:
    for (int i = 0; r.lanes && i < lanes; i++) {
        const dg_status drained = generator->options.backend->synchronise(exec_of(&r, i));
        status = status == DG_OK ? drained : status;
        dg_net_set_inputs(generator->net, i, (dg_net_inputs){0});
        free_lane(&r, i);
    }
    free(r.lanes);
    return status;
}
