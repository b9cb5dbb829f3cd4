/* The manifest in memory: building, sorting, searching, and its three texts. */
#include "io/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dg_status no_memory(dg_ctx *ctx) {
    return dg_fail(ctx, DG_ENOMEM, "out of memory for a manifest");
}

static bool is_sha256(const char *text) {
    return strlen(text) == DG_SHA256_HEX - 1 && strspn(text, "0123456789abcdef") == DG_SHA256_HEX - 1;
}

static dg_status add_class(dg_ctx *ctx, dg_manifest *m, const char *name) {
    if (!*name || !dg_utf8_valid(name, strlen(name)))
        return dg_fail(ctx, DG_EINVAL, "class %lld has no name, or one that is not UTF-8", (long long)m->num_classes);
    if (json_object_get(m->class_index, name))
        return dg_fail(ctx, DG_EINVAL, "two classes have the name \"%s\"", name);
    m->class_names[m->num_classes] = strdup(name);
    m->folders[m->num_classes] = dg_manifest_folder(name);
    const bool ok = m->class_names[m->num_classes] && m->folders[m->num_classes] &&
                    json_object_set_new(m->class_index, name, json_integer(m->num_classes)) == 0;
    m->num_classes++;
    return ok ? DG_OK : no_memory(ctx);
}

dg_status dg_manifest_init(dg_ctx *ctx, dg_manifest *m, const char *model_sha256, const json_t *options,
                           const char *const *class_names, int64_t num_classes) {
    dg_status status = DG_OK;
    memset(m, 0, sizeof *m);
    if (!is_sha256(model_sha256))
        return dg_fail(ctx, DG_EINVAL, "\"%.80s\" is not a SHA-256 in lower-case hex", model_sha256);
    if (!json_is_object(options))
        return dg_fail(ctx, DG_EINVAL, "the options of a manifest must be an object");
    memcpy(m->model_sha256, model_sha256, DG_SHA256_HEX);
    m->program = strdup("diffgen " DIFFGEN_VERSION);
    m->options = json_deep_copy(options);
    m->class_index = json_object();
    if (!m->program || !m->options || !m->class_index)
        DG_TRY(no_memory(ctx));
    DG_TRY(dg_alloc(ctx, &m->class_names, (size_t)num_classes + 1, sizeof *m->class_names, "class names"));
    DG_TRY(dg_alloc(ctx, &m->folders, (size_t)num_classes + 1, sizeof *m->folders, "class folders"));
    for (int64_t i = 0; i < num_classes; i++)
        DG_TRY(add_class(ctx, m, class_names[i]));
done:
    return status;
}

void dg_manifest_free(dg_manifest *m) {
    if (!m)
        return;
    for (int64_t i = 0; i < m->num_classes; i++) {
        free(m->class_names[i]);
        free(m->folders[i]);
    }
    free(m->class_names);
    free(m->folders);
    free(m->program);
    free(m->images);
    json_decref(m->options);
    json_decref(m->class_index);
    memset(m, 0, sizeof *m);
}

char *dg_manifest_file(const dg_manifest *m, int64_t class_index, int64_t index) {
    char *path = NULL;
    const char *folder = m->num_classes > 0 ? m->folders[class_index] : "images";
    return asprintf(&path, "%s/%06lld.png", folder, (long long)index) < 0 ? NULL : path;
}

/* ---- images --------------------------------------------------------------------------------------------------- */

dg_status dg_manifest_add(dg_ctx *ctx, dg_manifest *m, const dg_manifest_image *image) {
    if (m->num_images == m->capacity) {
        const int64_t capacity = m->capacity ? m->capacity * 2 : 64;
        dg_manifest_image *images = realloc(m->images, (size_t)capacity * sizeof *images);
        if (!images)
            return no_memory(ctx);
        m->images = images;
        m->capacity = capacity;
    }
    m->images[m->num_images++] = *image;
    return DG_OK;
}

static int by_class_and_index(const void *a, const void *b) {
    const dg_manifest_image *x = a, *y = b;
    if (x->class_index != y->class_index)
        return x->class_index < y->class_index ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

const dg_manifest_image *dg_manifest_find(const dg_manifest *m, int64_t class_index, int64_t index) {
    const dg_manifest_image key = {.class_index = class_index, .index = index};
    if (m->num_images == 0)
        return NULL;
    return bsearch(&key, m->images, (size_t)m->num_images, sizeof key, by_class_and_index);
}

dg_status dg_manifest_sort(dg_ctx *ctx, dg_manifest *m) {
    int64_t kept = 0;
    if (m->num_images == 0)
        return DG_OK;
    qsort(m->images, (size_t)m->num_images, sizeof *m->images, by_class_and_index);
    for (int64_t i = 1; i < m->num_images; i++) {
        const dg_manifest_image *a = &m->images[kept], *b = &m->images[i];
        if (by_class_and_index(a, b) != 0)
            m->images[++kept] = *b;
        else if (a->seed != b->seed || strcmp(a->sha256, b->sha256) != 0)
            return dg_fail(ctx, DG_EDATA, "image %lld is listed twice, with different seeds or hashes",
                           (long long)b->index);
    }
    m->num_images = kept + 1;
    return DG_OK;
}

/* ---- texts ---------------------------------------------------------------------------------------------------- */

static dg_status append_json(dg_ctx *ctx, json_t *value, dg_str *out) {
    dg_str_append_json(out, value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    json_decref(value);
    return dg_str_ok(out) ? DG_OK : no_memory(ctx);
}

static dg_status finish_text(dg_ctx *ctx, const dg_str *out) {
    return dg_str_ok(out) ? DG_OK : no_memory(ctx);
}

static const char *class_name(const dg_manifest *m, const dg_manifest_image *image) {
    return image->class_index < 0 ? NULL : m->class_names[image->class_index];
}

dg_status dg_manifest_image_line(dg_ctx *ctx, const dg_manifest *m, const dg_manifest_image *image, dg_str *out) {
    char *file = dg_manifest_file(m, image->class_index, image->index);
    json_t *json = file ? json_pack("{s:s, s:s?, s:I, s:I, s:s}", "file", file, "class", class_name(m, image), "index",
                                    (json_int_t)image->index, "seed", (json_int_t)image->seed, "sha256", image->sha256)
                        : NULL;
    free(file);
    if (json && image->class_index < 0)
        json_object_del(json, "class");
    return append_json(ctx, json, out);
}

dg_status dg_manifest_text(dg_ctx *ctx, const dg_manifest *m, bool with_images, dg_str *out) {
    dg_status status = DG_OK;
    json_t *classes = json_array();
    for (int64_t i = 0; i < m->num_classes; i++)
        dg_json_append(&classes, json_string(m->class_names[i]));
    dg_str_append(out, "{\n  \"format\": \"diffgen-manifest\",\n  \"program\": ");
    DG_TRY(append_json(ctx, json_string(m->program), out));
    dg_str_printf(out, ",\n  \"model_sha256\": \"%s\",\n  \"options\": ", m->model_sha256);
    DG_TRY(append_json(ctx, json_incref(m->options), out));
    dg_str_append(out, ",\n  \"classes\": ");
    DG_TRY(append_json(ctx, json_incref(classes), out));
    if (with_images) {
        dg_str_append(out, ",\n  \"images\": [");
        for (int64_t i = 0; i < m->num_images; i++) {
            dg_str_append(out, i > 0 ? ",\n    " : "\n    ");
            DG_TRY(dg_manifest_image_line(ctx, m, &m->images[i], out));
        }
        dg_str_append(out, m->num_images > 0 ? "\n  ]" : "]");
    }
    dg_str_append(out, "\n}\n");
    DG_TRY(finish_text(ctx, out));
done:
    json_decref(classes);
    return status;
}

dg_status dg_manifest_metadata_jsonl(dg_ctx *ctx, const dg_manifest *m, dg_str *out) {
    dg_status status = DG_OK;
    for (int64_t i = 0; i < m->num_images; i++) {
        const dg_manifest_image *image = &m->images[i];
        char *file = dg_manifest_file(m, image->class_index, image->index);
        json_t *json = file ? json_pack("{s:s, s:s?, s:I, s:s}", "file_name", file, "label", class_name(m, image),
                                        "seed", (json_int_t)image->seed, "sha256", image->sha256)
                            : NULL;
        free(file);
        if (json && image->class_index < 0)
            json_object_del(json, "label");
        DG_TRY(append_json(ctx, json, out));
        dg_str_append(out, "\n");
    }
    dg_str_append(out, ""); /* also an empty file has text */
    DG_TRY(finish_text(ctx, out));
done:
    return status;
}

dg_status dg_manifest_dataset_json(dg_ctx *ctx, const dg_manifest *m, dg_str *out) {
    dg_status status = DG_OK;
    dg_str_append(out, m->num_classes > 0 ? "{\"labels\":[" : "{\"labels\":null}");
    for (int64_t i = 0; m->num_classes > 0 && i < m->num_images; i++) {
        const dg_manifest_image *image = &m->images[i];
        char *file = dg_manifest_file(m, image->class_index, image->index);
        json_t *pair = file ? json_pack("[s,I]", file, (json_int_t)image->class_index) : NULL;
        free(file);
        dg_str_append(out, i > 0 ? ",\n" : "\n");
        DG_TRY(append_json(ctx, pair, out));
    }
    dg_str_append(out, m->num_classes > 0 ? "\n]}\n" : "\n");
    DG_TRY(finish_text(ctx, out));
done:
    return status;
}
