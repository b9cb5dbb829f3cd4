/* Finishing an output folder: images made durable, then the manifests, then DONE. */
#include "io/output_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One sync of the file system instead of two for every image. */
static dg_status sync_images(dg_ctx *ctx, const dg_output *o) {
    const int fd = open(o->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return dg_output_errno(ctx, o->path, errno);
    const int error = syncfs(fd) == 0 ? 0 : errno;
    close(fd);
    return error == 0 ? DG_OK : dg_fail(ctx, DG_EIO, "%s: cannot sync: %s", o->path, strerror(error));
}

static dg_status write_part(dg_ctx *ctx, dg_output *o) {
    dg_status status = DG_OK;
    dg_str text = {0};
    DG_TRY(dg_manifest_text(ctx, &o->confirmed, true, &text));
    DG_TRY(dg_output_place_if_changed(ctx, o, o->part_name, &text));
done:
    dg_str_free(&text);
    return status;
}

/* Adds the images of shard i to `all`. out *there false: that shard has not finished */
static dg_status merge_part(dg_ctx *ctx, const dg_output *o, int64_t i, dg_manifest *all, bool *there) {
    dg_status status = DG_OK;
    dg_manifest part = {0};
    char name[64], *path = NULL;
    snprintf(name, sizeof name, "manifest.%lld-of-%lld.json", (long long)i, (long long)o->shards);
    DG_TRY(dg_output_join(ctx, o->path, name, &path));
    *there = dg_fs_is_file(path);
    if (!*there)
        goto done;
    DG_TRY(dg_manifest_load(ctx, path, &part));
    DG_TRY(dg_output_same_but_for_plan(ctx, path, &part, all, DG_EDATA, "Remove this file and run that shard again."));
    *there = json_equal(part.options, all->options); /* else it is of a smaller set, and that shard is still to come */
    if (!*there)
        goto done;
    for (int64_t k = 0; k < part.num_images; k++)
        DG_TRY(dg_manifest_add(ctx, all, &part.images[k]));
done:
    dg_manifest_free(&part);
    free(path);
    return status;
}

/* Replaces the images of `all` by those of every shard. out *whole false: some shard has not finished */
static dg_status merge_parts(dg_ctx *ctx, const dg_output *o, dg_manifest *all, bool *whole) {
    dg_status status = DG_OK;
    *whole = true;
    all->num_images = 0;
    for (int64_t i = 0; *whole && i < o->shards; i++)
        DG_TRY(merge_part(ctx, o, i, all, whole));
    if (*whole)
        DG_TRY(dg_manifest_sort(ctx, all));
done:
    return status;
}

typedef dg_status (*text_fn)(dg_ctx *ctx, const dg_manifest *manifest, dg_str *out);

static dg_status manifest_text(dg_ctx *ctx, const dg_manifest *manifest, dg_str *out) {
    return dg_manifest_text(ctx, manifest, true, out);
}

/* DONE holds the manifest's checksum, as `sha256sum -c DONE` reads it. */
static dg_status done_text(dg_ctx *ctx, const dg_manifest *manifest, dg_str *out) {
    dg_status status = DG_OK;
    dg_str text = {0};
    char hex[DG_SHA256_HEX];
    DG_TRY(manifest_text(ctx, manifest, &text));
    dg_sha256_hex(text.data, text.length, hex);
    dg_str_printf(out, "%s  manifest.json\n", hex);
    if (!dg_str_ok(out))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
done:
    dg_str_free(&text);
    return status;
}

static dg_status write_final(dg_ctx *ctx, dg_output *o, const dg_manifest *all) {
    static const struct {
        const char *name;
        text_fn make;
    } files[] = {{"manifest.json", manifest_text},
                 {"metadata.jsonl", dg_manifest_metadata_jsonl},
                 {"dataset.json", dg_manifest_dataset_json},
                 {"DONE", done_text}};
    dg_status status = DG_OK;
    dg_str text = {0};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) { /* DONE is the last one */
        dg_str_clear(&text);
        DG_TRY(files[i].make(ctx, all, &text));
        DG_TRY(dg_output_place_if_changed(ctx, o, files[i].name, &text));
    }
done:
    dg_str_free(&text);
    return status;
}

dg_status dg_output_finish(dg_ctx *ctx, dg_output *o, bool *complete) {
    dg_status status = DG_OK;
    *complete = false;
    DG_TRY(dg_manifest_sort(ctx, &o->confirmed));
    if (o->confirmed.num_images != o->planned)
        DG_TRY(dg_fail(ctx, DG_EINVAL, "%s: %lld images of %lld planned", o->path, (long long)o->confirmed.num_images,
                       (long long)o->planned));
    if (o->dirty)
        DG_TRY(sync_images(ctx, o));
    *complete = true;
    if (o->part_name) {
        DG_TRY(write_part(ctx, o));
        DG_TRY(merge_parts(ctx, o, &o->confirmed, complete));
    }
    if (*complete)
        DG_TRY(write_final(ctx, o, &o->confirmed));
    DG_TRY(dg_output_drop_journal(ctx, o));
done:
    return status;
}
