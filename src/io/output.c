/* Filling an output folder: open, verify, write. What is there already is believed only by its hash. */
#include "io/output.h"

#include "io/output_files.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADVICE "Choose another --out, or remove the folder."

/* ---- opening -------------------------------------------------------------------------------------------------- */

/* Refuses a folder with files of somebody else in it. Hidden files are left out: locks, work folders. */
static dg_status check_is_ours(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    char **names = NULL, *job = NULL;
    size_t count = 0;
    DG_TRY(dg_output_join(ctx, path, "job.json", &job));
    DG_TRY(dg_fs_list(ctx, path, &names, &count));
    /* Asked after the list was made: another shard may just be starting, and job.json is the first of its files. */
    if (dg_fs_is_file(job))
        goto done;
    for (size_t i = 0; i < count; i++)
        if (names[i][0] != '.')
            DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: not empty (it holds \"%.80s\"), and not made by diffgen. " ADVICE,
                           path, names[i]));
done:
    free(job);
    dg_fs_free_list(names, count);
    return status;
}

void dg_output_strip_plan(json_t *options) {
    static const char *const keys[] = {"classes", "first_image", "ranges"};
    for (size_t i = 0; options && i < sizeof keys / sizeof *keys; i++)
        json_object_del(options, keys[i]);
}

/* Another plan of the same job? Then its images are ours as far as we want them. */
static dg_status without_plan(dg_ctx *ctx, const dg_manifest *manifest, dg_manifest *out) {
    *out = *manifest;
    out->options = dg_json_copy(manifest->options);
    if (!out->options)
        return dg_fail(ctx, DG_ENOMEM, "out of memory");
    dg_output_strip_plan(out->options);
    return DG_OK;
}

dg_status dg_output_same_but_for_plan(dg_ctx *ctx, const char *where, const dg_manifest *there,
                                      const dg_manifest *wanted, dg_status differ, const char *advice) {
    dg_status status = DG_OK;
    dg_manifest a = {0}, b = {0};
    DG_TRY(without_plan(ctx, there, &a));
    DG_TRY(without_plan(ctx, wanted, &b));
    DG_TRY(dg_manifest_same_job(ctx, where, &a, &b, differ, advice));
done:
    json_decref(a.options);
    json_decref(b.options);
    return status;
}

/* job.json says from the first moment on what the folder is for. */
static dg_status check_job(dg_ctx *ctx, dg_output *o, const json_t *replaces) {
    dg_status status = DG_OK;
    dg_manifest there = {0};
    dg_str text = {0};
    char *path = NULL;
    DG_TRY(dg_output_join(ctx, o->path, "job.json", &path));
    if (dg_fs_is_file(path)) {
        DG_TRY(dg_manifest_load(ctx, path, &there));
        if (!replaces || json_equal(there.options, o->confirmed.options) || !json_equal(there.options, replaces)) {
            DG_TRY(dg_manifest_same_job(ctx, o->path, &there, &o->confirmed, DG_ECREATE, ADVICE));
            goto done;
        }
        DG_TRY(dg_output_same_but_for_plan(ctx, o->path, &there, &o->confirmed, DG_ECREATE, ADVICE));
        DG_TRY(dg_output_withdraw(ctx, o));
    }
    DG_TRY(dg_fs_make_real_dir(ctx, o->work_path));
    DG_TRY(dg_manifest_text(ctx, &o->confirmed, false, &text));
    DG_TRY(dg_output_place(ctx, o, "job.json", text.data, text.length, true));
done:
    dg_manifest_free(&there);
    dg_str_free(&text);
    free(path);
    return status;
}

/* Adds a manifest's images to those known. A malformed or foreign one is worth nothing: its images are drawn again. */
static dg_status learn(dg_ctx *ctx, dg_output *o, const char *name) {
    dg_status status = DG_OK;
    dg_manifest there = {0};
    char *path = NULL;
    DG_TRY(dg_output_join(ctx, o->path, name, &path));
    if (!dg_fs_is_file(path))
        goto done;
    status = dg_manifest_load(ctx, path, &there);
    if (status == DG_OK)
        status = dg_output_same_but_for_plan(ctx, path, &there, &o->confirmed, DG_EDATA, "It is ignored.");
    if (status == DG_EDATA) {
        dg_log(ctx, DG_LOG_WARN, "%s; the images it lists are made again", dg_last_error(ctx));
        dg_ctx_clear_error(ctx);
        status = DG_OK;
        goto done;
    }
    if (status != DG_OK)
        goto done;
    for (int64_t i = 0; i < there.num_images; i++)
        DG_TRY(dg_manifest_add(ctx, &o->known, &there.images[i]));
done:
    dg_manifest_free(&there);
    free(path);
    return status;
}

static int newest_last(const void *a, const void *b) {
    const dg_manifest_image *x = *(const dg_manifest_image *const *)a, *y = *(const dg_manifest_image *const *)b;
    if (x->class_index != y->class_index)
        return x->class_index < y->class_index ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return x < y ? -1 : x > y; /* the order in which they were learnt */
}

/* Sorts what is known; of several entries for one image the last learnt stays, which is the journal's last. */
static dg_status sort_known(dg_ctx *ctx, dg_output *o) {
    dg_status status = DG_OK;
    const dg_manifest_image **order = NULL;
    dg_manifest_image *sorted = NULL;
    int64_t kept = 0;
    DG_TRY(dg_alloc(ctx, &order, (size_t)o->known.num_images + 1, sizeof *order, "image list"));
    DG_TRY(dg_alloc(ctx, &sorted, (size_t)o->known.num_images + 1, sizeof *sorted, "image list"));
    for (int64_t i = 0; i < o->known.num_images; i++)
        order[i] = &o->known.images[i];
    qsort(order, (size_t)o->known.num_images, sizeof *order, newest_last);
    for (int64_t i = 0; i < o->known.num_images; i++) {
        if (kept > 0 && sorted[kept - 1].class_index == order[i]->class_index &&
            sorted[kept - 1].index == order[i]->index)
            kept--;
        sorted[kept++] = *order[i];
    }
    free(o->known.images);
    o->known.images = sorted;
    o->known.capacity = o->known.num_images + 1;
    o->known.num_images = kept;
    sorted = NULL;
done:
    free(order);
    free(sorted);
    return status;
}

static dg_status name_parts(dg_ctx *ctx, dg_output *o, const char *path, const dg_output_job *job, char **lock_path) {
    bool ok = true;
    char *work = NULL;
    o->path = strdup(path);
    if (job->shards == 1) {
        work = dg_text_format("%s/.partial", path);
        *lock_path = dg_text_format("%s/.lock", path);
    } else {
        const long long i = (long long)job->shard, n = (long long)job->shards;
        work = dg_text_format("%s/.partial-%lld-of-%lld", path, i, n);
        *lock_path = dg_text_format("%s/.lock-%lld-of-%lld", path, i, n);
        o->part_name = dg_text_format("manifest.%lld-of-%lld.json", i, n);
        ok = o->part_name != NULL;
    }
    o->work_path = work;
    return o->path && work && *lock_path && ok ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

dg_status dg_output_open(dg_ctx *ctx, const char *path, const dg_output_job *job, dg_output **out) {
    dg_status status = DG_OK;
    dg_output *o = NULL;
    char *lock_path = NULL;
    *out = NULL;
    if (job->shards < 1 || job->shard < 0 || job->shard >= job->shards)
        return dg_fail(ctx, DG_EINVAL, "there is no shard %lld of %lld", (long long)job->shard, (long long)job->shards);
    DG_TRY(dg_alloc(ctx, &o, 1, sizeof *o, "output folder"));
    o->journal = -1;
    o->shards = job->shards;
    o->planned = job->planned_images;
    pthread_mutex_init(&o->mutex, NULL);
    o->mutex_ready = true;
    DG_TRY(name_parts(ctx, o, path, job, &lock_path));
    DG_TRY(dg_alloc(ctx, &o->folder_made, (size_t)job->num_classes + 1, sizeof *o->folder_made, "class folders"));
    DG_TRY(dg_manifest_init(ctx, &o->confirmed, job->model_sha256, job->options, job->class_names, job->num_classes));
    DG_TRY(dg_manifest_init(ctx, &o->known, job->model_sha256, job->options, job->class_names, job->num_classes));
    DG_TRY(dg_fs_mkdirs(ctx, path));
    DG_TRY(check_is_ours(ctx, path));
    DG_TRY(dg_fs_lock(ctx, lock_path, &o->lock));
    DG_TRY(check_job(ctx, o, job->replaces));
    DG_TRY(learn(ctx, o, "manifest.json"));
    if (o->part_name)
        DG_TRY(learn(ctx, o, o->part_name));
    DG_TRY(dg_output_open_journal(ctx, o));
    DG_TRY(sort_known(ctx, o));
    *out = o;
    o = NULL;
done:
    free(lock_path);
    dg_output_close(o);
    return status;
}

void dg_output_close(dg_output *o) {
    if (!o)
        return;
    if (o->journal >= 0)
        close(o->journal);
    dg_fs_unlock(o->lock);
    dg_manifest_free(&o->known);
    dg_manifest_free(&o->confirmed);
    if (o->mutex_ready)
        pthread_mutex_destroy(&o->mutex);
    free(o->folder_made);
    free(o->part_name);
    free(o->work_path);
    free(o->path);
    free(o);
}

/* ---- images --------------------------------------------------------------------------------------------------- */

static dg_status check_image(dg_ctx *ctx, const dg_output *o, int64_t class_index, int64_t index) {
    const int64_t n = o->confirmed.num_classes;
    if (index >= 0 && (n > 0 ? class_index >= 0 && class_index < n : class_index == -1))
        return DG_OK;
    return dg_fail(ctx, DG_EINVAL, "image %lld of class %lld is not part of this job", (long long)index,
                   (long long)class_index);
}

static dg_status confirm(dg_ctx *ctx, dg_output *o, const dg_manifest_image *image) {
    pthread_mutex_lock(&o->mutex);
    const dg_status status = dg_manifest_add(ctx, &o->confirmed, image);
    pthread_mutex_unlock(&o->mutex);
    return status;
}

dg_status dg_output_has(dg_ctx *ctx, dg_output *o, int64_t class_index, int64_t index, int64_t seed, bool *has) {
    dg_status status = DG_OK;
    char *name = NULL, *path = NULL, sha256[DG_SHA256_HEX];
    *has = false;
    DG_TRY(check_image(ctx, o, class_index, index));
    const dg_manifest_image *image = dg_manifest_find(&o->known, class_index, index);
    if (!image || image->seed != seed)
        goto done;
    name = dg_manifest_file(&o->known, class_index, index);
    if (!name)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(dg_output_join(ctx, o->path, name, &path));
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_sha256_file(ctx, path, sha256));
    if (strcmp(sha256, image->sha256) != 0) {
        dg_log(ctx, DG_LOG_WARN, "%s: has changed since it was written; it is made again", path);
        goto done;
    }
    DG_TRY(confirm(ctx, o, image));
    *has = true;
done:
    free(name);
    free(path);
    return status;
}

/* Before the first change: makes the class's folder and withdraws DONE. */
static dg_status prepare(dg_ctx *ctx, dg_output *o, const char *name, int64_t class_index) {
    dg_status status = DG_OK;
    char *path = NULL;
    const size_t slot = (size_t)(class_index < 0 ? 0 : class_index);
    pthread_mutex_lock(&o->mutex);
    if (!o->folder_made[slot]) {
        DG_TRY(dg_output_join(ctx, o->path, name, &path));
        *strrchr(path, '/') = '\0';
        DG_TRY(dg_fs_make_real_dir(ctx, path));
        o->folder_made[slot] = true;
    }
    if (!o->dirty)
        DG_TRY(dg_output_withdraw(ctx, o));
done:
    pthread_mutex_unlock(&o->mutex);
    free(path);
    return status;
}

dg_status dg_output_write(dg_ctx *ctx, dg_output *o, int64_t class_index, int64_t index, int64_t seed, const void *png,
                          size_t size) {
    dg_status status = DG_OK;
    dg_manifest_image image = {.class_index = class_index, .index = index, .seed = seed};
    char *name = NULL;
    DG_TRY(check_image(ctx, o, class_index, index));
    name = dg_manifest_file(&o->confirmed, class_index, index);
    if (!name)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(prepare(ctx, o, name, class_index));
    dg_sha256_hex(png, size, image.sha256);
    /* Not synced one by one: until finish syncs them all, the journal's hash tells what has survived. */
    DG_TRY(dg_output_place(ctx, o, name, png, size, false));
    pthread_mutex_lock(&o->mutex);
    status = dg_output_journal_add(ctx, o, &image);
    pthread_mutex_unlock(&o->mutex);
    if (status == DG_OK)
        DG_TRY(confirm(ctx, o, &image));
done:
    free(name);
    return status;
}
