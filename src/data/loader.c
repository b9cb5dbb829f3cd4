#include "data/loader.h"

#include "core/philox.h"
#include "core/text.h"
#include "data/parallel.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64 };

typedef enum slot_state { SLOT_EMPTY, SLOT_FILLING, SLOT_READY, SLOT_FAILED } slot_state;

/* Room for one batch; batch k lives in slot k mod slot_count. */
typedef struct slot {
    slot_state state;
    dg_status status; /* of a failed one */
    uint8_t *pixels;
    int32_t *labels;
    uint8_t *flip;
    int64_t *images;
    dg_loader_pick pick;
} slot;

/* A thread and the permutation of the epoch it last worked in. */
typedef struct worker {
    dg_loader *loader;
    pthread_t thread;
    uint32_t *permutation;
    int64_t epoch; /* -1: none yet */
} worker;

struct dg_loader {
    dg_ctx *ctx;
    const dg_dataset *dataset;
    int64_t *indices;
    int64_t count;
    int batch;
    int64_t stride;
    uint64_t seed;
    int64_t first_sample;
    bool hflip;
    dg_status (*pick)(void *user, int64_t number, dg_loader_pick *pick);
    void *user;
    slot *slots;
    int slot_count;
    worker *workers;
    int worker_count; /* workers allocated */
    int started;      /* threads running */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool stop;
    int64_t next_to_fill, next_to_take; /* batch numbers */
    double wait_seconds;
};

/* Fisher-Yates from the back: element i swaps with one of 0..i, drawn as element i of the epoch's stream. */
static void shuffle(uint64_t seed, int64_t epoch, int64_t count, uint32_t *permutation) {
    dg_random random = {.seed = seed, .image = (uint64_t)epoch, .purpose = DG_PURPOSE_SHUFFLE};
    for (int64_t i = 0; i < count; i++)
        permutation[i] = (uint32_t)i;
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t j = dg_random_below(&random, (uint32_t)(i / 4), (int)(i % 4), (uint64_t)i + 1);
        uint32_t swapped = permutation[i];
        permutation[i] = permutation[j];
        permutation[j] = swapped;
    }
}

int64_t dg_loader_position(uint64_t seed, int64_t count, int64_t sample, uint32_t *scratch) {
    shuffle(seed, sample / count, count, scratch);
    return scratch[sample % count];
}

/* The shuffled sequence. */
static void shuffled(worker *w, int64_t number, dg_loader_pick *pick) {
    const dg_loader *loader = w->loader;
    pick->count = pick->total = loader->batch;
    pick->seed = loader->seed;
    for (int64_t i = 0; i < loader->batch; i++) {
        const int64_t sample = number * loader->stride + loader->first_sample % loader->stride + i;
        const int64_t epoch = sample / loader->count;
        if (epoch != w->epoch) {
            shuffle(loader->seed, epoch, loader->count, w->permutation);
            w->epoch = epoch;
        }
        pick->positions[i] = w->permutation[sample % loader->count];
    }
}

static int64_t batch_number(const dg_loader *loader, int64_t number) {
    return loader->first_sample / loader->stride + number;
}

static dg_status fill(worker *w, slot *s, int64_t number) {
    dg_status status = DG_OK;
    const dg_loader *loader = w->loader;
    const size_t bytes = dg_dataset_image_bytes(loader->dataset);
    if (!loader->pick)
        shuffled(w, batch_number(loader, number), &s->pick);
    for (int64_t i = 0; i < s->pick.count; i++) {
        const int64_t image = loader->indices[s->pick.positions[i]];
        const uint64_t sample = (uint64_t)(loader->first_sample + number * loader->stride + i);
        const dg_random coin = {.seed = s->pick.seed, .image = sample, .purpose = DG_PURPOSE_FLIP};
        DG_TRY(dg_dataset_read(loader->ctx, loader->dataset, image, s->pixels + (size_t)i * bytes));
        s->labels[i] = dg_dataset_item(loader->dataset, image)->label;
        s->flip[i] = loader->hflip ? (uint8_t)dg_random_below(&coin, 0, 0, 2) : 0;
        s->images[i] = image;
    }
done:
    return status;
}

static void *work(void *argument) {
    worker *w = argument;
    dg_loader *loader = w->loader;
    pthread_mutex_lock(&loader->mutex);
    for (;;) {
        slot *s = &loader->slots[loader->next_to_fill % loader->slot_count];
        if (loader->stop)
            break;
        if (s->state != SLOT_EMPTY) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
            continue;
        }
        int64_t number = loader->next_to_fill++;
        s->state = SLOT_FILLING;
        dg_status status = loader->pick ? loader->pick(loader->user, batch_number(loader, number), &s->pick) : DG_OK;
        pthread_mutex_unlock(&loader->mutex);
        if (status == DG_OK)
            status = fill(w, s, number);
        pthread_mutex_lock(&loader->mutex);
        s->status = status;
        s->state = status == DG_OK ? SLOT_READY : SLOT_FAILED;
        pthread_cond_broadcast(&loader->changed);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

dg_status dg_loader_next(dg_loader *loader, dg_batch *batch) {
    dg_status status = DG_OK;
    pthread_mutex_lock(&loader->mutex);
    int64_t number = loader->next_to_take;
    slot *s = &loader->slots[number % loader->slot_count];
    if (number > 0) {
        slot *previous = &loader->slots[(number - 1) % loader->slot_count];
        if (previous->state == SLOT_READY) {
            previous->state = SLOT_EMPTY;
            pthread_cond_broadcast(&loader->changed);
        }
    }
    if (s->state != SLOT_READY && s->state != SLOT_FAILED) {
        double begin = dg_clock_seconds();
        while (s->state != SLOT_READY && s->state != SLOT_FAILED)
            pthread_cond_wait(&loader->changed, &loader->mutex);
        loader->wait_seconds += dg_clock_seconds() - begin;
    }
    /* A failed slot stays failed and next_to_take stays here, so every later call fails the same way. */
    status = s->state == SLOT_FAILED ? s->status : DG_OK;
    if (status == DG_OK) {
        loader->next_to_take++;
        *batch = (dg_batch){.pixels = s->pixels,
                            .labels = s->labels,
                            .flip = s->flip,
                            .images = s->images,
                            .first_sample = loader->first_sample + number * loader->stride,
                            .count = s->pick.count,
                            .total = s->pick.total,
                            .seed = s->pick.seed};
    }
    pthread_mutex_unlock(&loader->mutex);
    return status;
}

double dg_loader_wait_seconds(const dg_loader *loader) {
    return loader->wait_seconds;
}

void dg_loader_free(dg_loader *loader) {
    if (!loader)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->stop = true;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
    for (int i = 0; i < loader->started; i++)
        pthread_join(loader->workers[i].thread, NULL);
    for (int i = 0; i < loader->slot_count && loader->slots; i++) {
        free(loader->slots[i].pixels);
        free(loader->slots[i].labels);
        free(loader->slots[i].flip);
        free(loader->slots[i].images);
        free(loader->slots[i].pick.positions);
    }
    for (int i = 0; i < loader->worker_count && loader->workers; i++)
        free(loader->workers[i].permutation);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->mutex);
    free(loader->slots);
    free(loader->workers);
    free(loader->indices);
    free(loader);
}

static dg_status copy_indices(dg_ctx *ctx, dg_loader *loader, const dg_loader_options *options) {
    int64_t total = dg_dataset_count(loader->dataset);
    loader->count = options->indices ? options->count : total;
    if (loader->count < 1 || loader->count > UINT32_MAX)
        return dg_fail(ctx, DG_EINVAL, "a loader of %lld images", (long long)loader->count);
    dg_status status = dg_alloc(ctx, &loader->indices, (size_t)loader->count, sizeof *loader->indices, "image indices");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < loader->count; i++) {
        loader->indices[i] = options->indices ? options->indices[i] : i;
        if (loader->indices[i] < 0 || loader->indices[i] >= total)
            return dg_fail(ctx, DG_EINVAL, "image %lld of a data set of %lld", (long long)loader->indices[i],
                           (long long)total);
    }
    return DG_OK;
}

static dg_status allocate_slots(dg_ctx *ctx, dg_loader *loader) {
    dg_status status = DG_OK;
    size_t batch = (size_t)loader->batch, bytes = dg_dataset_image_bytes(loader->dataset);
    DG_TRY(dg_alloc(ctx, &loader->slots, (size_t)loader->slot_count, sizeof *loader->slots, "batches"));
    for (int i = 0; i < loader->slot_count; i++) {
        slot *s = &loader->slots[i];
        DG_TRY(dg_alloc(ctx, &s->pixels, batch, bytes, "the pixels of a batch"));
        DG_TRY(dg_alloc(ctx, &s->labels, batch, sizeof *s->labels, "the labels of a batch"));
        DG_TRY(dg_alloc(ctx, &s->flip, batch, sizeof *s->flip, "the flips of a batch"));
        DG_TRY(dg_alloc(ctx, &s->images, batch, sizeof *s->images, "the indices of a batch"));
        DG_TRY(dg_alloc(ctx, &s->pick.positions, batch, sizeof *s->pick.positions, "the indices of a batch"));
    }
    DG_TRY(dg_alloc(ctx, &loader->workers, (size_t)loader->worker_count, sizeof *loader->workers, "loader threads"));
    for (int i = 0; i < loader->worker_count; i++) {
        loader->workers[i].loader = loader;
        loader->workers[i].epoch = -1;
        DG_TRY(
            dg_alloc(ctx, &loader->workers[i].permutation, (size_t)loader->count, sizeof(uint32_t), "a permutation"));
    }
done:
    return status;
}

dg_status dg_loader_create(dg_ctx *ctx, const dg_dataset *dataset, const dg_loader_options *options, dg_loader **out) {
    dg_status status = DG_OK;
    dg_loader *loader = NULL;
    if (options->batch < 1 || options->first_sample < 0)
        return dg_fail(ctx, DG_EINVAL, "batch %d from sample %lld; at least 1 and 0 are expected", options->batch,
                       (long long)options->first_sample);
    DG_TRY(dg_alloc(ctx, &loader, 1, sizeof *loader, "a loader"));
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->changed, NULL);
    loader->ctx = ctx;
    loader->dataset = dataset;
    loader->batch = options->batch;
    loader->stride = options->stride ? options->stride : options->batch;
    loader->seed = options->seed;
    loader->first_sample = options->first_sample;
    loader->hflip = options->hflip;
    loader->pick = options->pick;
    loader->user = options->user;
    int threads = options->threads;
    if (threads <= 0)
        threads = dg_dataset_is_cached(dataset) ? 1 : dg_processor_count();
    loader->worker_count = threads < MAX_THREADS ? threads : MAX_THREADS;
    loader->slot_count = loader->worker_count + 2; /* one per thread, one ready, one in the consumer's hands */
    DG_TRY(copy_indices(ctx, loader, options));
    DG_TRY(allocate_slots(ctx, loader));
    while (loader->started < loader->worker_count &&
           pthread_create(&loader->workers[loader->started].thread, NULL, work, &loader->workers[loader->started]) == 0)
        loader->started++;
    if (loader->started == 0) {
        status = dg_fail(ctx, DG_ERUNTIME, "the system refuses to start a thread for loading images");
        goto done;
    }
    *out = loader;
    loader = NULL;
done:
    dg_loader_free(loader);
    return status;
}
