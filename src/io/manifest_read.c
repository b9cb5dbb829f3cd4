/* Reading a manifest. It may come from anywhere, and its file names decide what is opened and overwritten: a name is
 * only accepted if it is the very one diffgen would give that image. */
#include "core/fs.h"
#include "io/manifest.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 1 << 24 };

static dg_status bad(dg_ctx *ctx, const char *where, const char *what) {
    return dg_fail(ctx, DG_EDATA, "%s: not a valid manifest: %s", where, what);
}

static bool sha256_member(const json_t *object, const char *key, char out[DG_SHA256_HEX]) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || strlen(text) != DG_SHA256_HEX - 1 || strspn(text, "0123456789abcdef") != DG_SHA256_HEX - 1)
        return false;
    memcpy(out, text, DG_SHA256_HEX);
    return true;
}

dg_status dg_manifest_parse_image(dg_ctx *ctx, const char *where, const dg_manifest *m, const json_t *object,
                                  dg_manifest_image *image) {
    const json_t *index = json_object_get(object, "index"), *seed = json_object_get(object, "seed");
    const json_t *label = json_object_get(object, "class");
    const char *file = json_string_value(json_object_get(object, "file"));
    memset(image, 0, sizeof *image);
    image->class_index = -1;
    if (!json_is_integer(index) || json_integer_value(index) < 0 || !json_is_integer(seed) || !file)
        return bad(ctx, where, "an image lacks its file, index or seed");
    if (!sha256_member(object, "sha256", image->sha256))
        return bad(ctx, where, "an image lacks its SHA-256");
    image->index = json_integer_value(index);
    image->seed = json_integer_value(seed);
    if (m->num_classes > 0) {
        const char *name = json_string_value(label);
        const json_t *number = name ? json_object_get(m->class_index, name) : NULL;
        if (!number)
            return bad(ctx, where, "an image is of a class that is not listed");
        image->class_index = json_integer_value(number);
    } else if (label) {
        return bad(ctx, where, "an image is of a class that is not listed");
    }
    char *expected = dg_manifest_file(m, image->class_index, image->index);
    if (!expected)
        return dg_fail(ctx, DG_ENOMEM, "out of memory");
    const bool same = strcmp(expected, file) == 0;
    free(expected);
    return same ? DG_OK : bad(ctx, where, "an image's file is not named after its class and index");
}

static dg_status parse_head(dg_ctx *ctx, const char *where, const json_t *json, dg_manifest *m) {
    dg_status status = DG_OK;
    const char *format = json_string_value(json_object_get(json, "format"));
    const char *program = json_string_value(json_object_get(json, "program"));
    const json_t *options = json_object_get(json, "options"), *classes = json_object_get(json, "classes");
    const char **names = NULL;
    char sha256[DG_SHA256_HEX];
    if (!format || strcmp(format, "diffgen-manifest") != 0 || !program)
        DG_TRY(bad(ctx, where, "\"format\" is not \"diffgen-manifest\", or \"program\" is missing"));
    if (!sha256_member(json, "model_sha256", sha256) || !json_is_object(options))
        DG_TRY(bad(ctx, where, "\"model_sha256\" or \"options\" is missing"));
    if (!json_is_array(classes) || json_array_size(classes) > MAX_CLASSES)
        DG_TRY(bad(ctx, where, "\"classes\" is not a list"));
    DG_TRY(dg_alloc(ctx, &names, json_array_size(classes) + 1, sizeof *names, "class names"));
    for (size_t i = 0; i < json_array_size(classes); i++)
        if (!(names[i] = json_string_value(json_array_get(classes, i))))
            DG_TRY(bad(ctx, where, "a class is not a string"));
    DG_TRY(dg_manifest_init(ctx, m, sha256, options, names, (int64_t)json_array_size(classes)));
    free(m->program);
    m->program = strdup(program);
    if (!m->program)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
done:
    free(names);
    return status == DG_EINVAL ? DG_EDATA : status;
}

static dg_status parse_images(dg_ctx *ctx, const char *where, const json_t *images, dg_manifest *m) {
    dg_status status = DG_OK;
    if (images && !json_is_array(images))
        DG_TRY(bad(ctx, where, "\"images\" is not a list"));
    for (size_t i = 0; i < json_array_size(images); i++) {
        dg_manifest_image image;
        DG_TRY(dg_manifest_parse_image(ctx, where, m, json_array_get(images, i), &image));
        const dg_manifest_image *last = i > 0 ? &m->images[i - 1] : NULL;
        if (last && (image.class_index < last->class_index ||
                     (image.class_index == last->class_index && image.index <= last->index)))
            DG_TRY(bad(ctx, where, "its images are not in order, or one is listed twice"));
        DG_TRY(dg_manifest_add(ctx, m, &image));
    }
done:
    return status;
}

dg_status dg_manifest_parse(dg_ctx *ctx, const char *where, const char *text, size_t size, dg_manifest *m) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    memset(m, 0, sizeof *m);
    DG_TRY(dg_json_parse(ctx, where, text, size, DG_JSON_STRICT, &json));
    if (!json_is_object(json))
        DG_TRY(bad(ctx, where, "not an object"));
    DG_TRY(parse_head(ctx, where, json, m));
    DG_TRY(parse_images(ctx, where, json_object_get(json, "images"), m));
done:
    json_decref(json);
    return status;
}

dg_status dg_manifest_load(dg_ctx *ctx, const char *path, dg_manifest *m) {
    dg_status status = DG_OK;
    char *text = NULL;
    size_t size = 0;
    memset(m, 0, sizeof *m);
    DG_TRY(dg_fs_read_file(ctx, path, DG_JSON_MAX_BYTES, &text, &size));
    DG_TRY(dg_manifest_parse(ctx, path, text, size, m));
done:
    free(text);
    return status;
}

/* ---- comparison ----------------------------------------------------------------------------------------------- */

static void describe(dg_str *out, const char *what, const json_t *there, const json_t *wanted) {
    dg_str a = {0}, b = {0};
    dg_str_append_json(&a, there, JSON_COMPACT | JSON_ENCODE_ANY);
    dg_str_append_json(&b, wanted, JSON_COMPACT | JSON_ENCODE_ANY);
    dg_str_printf(out, "%s%s %.80s there, %.80s now", out->length > 0 ? "; " : "", what,
                  dg_str_ok(&a) ? a.data : "not set", dg_str_ok(&b) ? b.data : "not set");
    dg_str_free(&a);
    dg_str_free(&b);
}

static void compare_options(const json_t *there, const json_t *wanted, dg_str *out) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)wanted, key, value) {
        if (!json_equal(value, json_object_get(there, key)))
            describe(out, key, json_object_get(there, key), value);
    }
    json_object_foreach((json_t *)there, key, value) {
        if (!json_object_get(wanted, key))
            describe(out, key, value, NULL);
    }
}

static bool same_classes(const dg_manifest *a, const dg_manifest *b) {
    bool same = a->num_classes == b->num_classes;
    for (int64_t i = 0; same && i < a->num_classes; i++)
        same = strcmp(a->class_names[i], b->class_names[i]) == 0;
    return same;
}

dg_status dg_manifest_same_job(dg_ctx *ctx, const char *where, const dg_manifest *there, const dg_manifest *wanted,
                               dg_status differ, const char *advice) {
    dg_status status = DG_OK;
    dg_str text = {0};
    if (strcmp(there->model_sha256, wanted->model_sha256) != 0)
        dg_str_printf(&text, "model sha256 %.12s... there, %.12s... now", there->model_sha256, wanted->model_sha256);
    if (strcmp(there->program, wanted->program) != 0)
        dg_str_printf(&text, "%s%.60s there, %.60s now", text.length > 0 ? "; " : "", there->program, wanted->program);
    if (!same_classes(there, wanted))
        dg_str_printf(&text, "%sother classes", text.length > 0 ? "; " : "");
    compare_options(there->options, wanted->options, &text);
    if (text.length > 0 && !text.failed)
        status = dg_fail(ctx, differ, "%s: made by another job: %s. %s", where, text.data, advice);
    else if (text.failed)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory");
    dg_str_free(&text);
    return status;
}
