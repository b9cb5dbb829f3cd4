/* Named float arrays out of a safetensors file we made ourselves: this room cannot see the io room's reader. */
#ifndef DG_TESTS_DIFFUSION_GOLDEN_FILE_H
#define DG_TESTS_DIFFUSION_GOLDEN_FILE_H

#include "core/json.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct golden_file {
    char *bytes;
    size_t data; /* where the tensors begin */
    json_t *header;
} golden_file;

static inline golden_file golden_open(dg_ctx *ctx, const char *path) {
    golden_file g = {0};
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    g.bytes = malloc(size);
    ck_assert_uint_eq(fread(g.bytes, 1, size, file), size);
    fclose(file);
    uint64_t header = 0;
    memcpy(&header, g.bytes, sizeof header);
    ck_assert_uint_le(8 + header, size);
    g.data = 8 + header;
    DG_CK(ctx, dg_json_parse(ctx, path, g.bytes + 8, header, DG_JSON_STRICT, &g.header));
    return g;
}

/* Fails the test unless the tensor has `count` floats; free() the result. */
static inline float *golden_floats(const golden_file *g, const char *name, size_t count) {
    const json_t *entry = json_object_get(g->header, name);
    ck_assert_msg(entry != NULL, "no tensor %s", name);
    const json_t *range = json_object_get(entry, "data_offsets");
    const size_t begin = (size_t)json_integer_value(json_array_get(range, 0));
    ck_assert_str_eq(json_string_value(json_object_get(entry, "dtype")), "F32");
    ck_assert_uint_eq((size_t)json_integer_value(json_array_get(range, 1)) - begin, count * sizeof(float));
    float *out = malloc(count * sizeof *out);
    memcpy(out, g->bytes + g->data + begin, count * sizeof *out);
    return out;
}

static inline void golden_close(golden_file *g) {
    json_decref(g->header);
    free(g->bytes);
}

/* check(ctx, tensors, case) for every case of NAME.json beside NAME.safetensors, of which there are at least so many.
 */
static inline void golden_cases(const char *name, size_t at_least,
                                void (*check)(dg_ctx *ctx, const golden_file *tensors, const json_t *entry)) {
    dg_ctx *ctx = dg_test_context();
    json_t *json = NULL;
    char path[512];
    snprintf(path, sizeof path, DG_SOURCE_DIR "/tests/golden/%s.json", name);
    DG_CK(ctx, dg_json_load(ctx, path, DG_JSON_STRICT, &json));
    snprintf(path, sizeof path, DG_SOURCE_DIR "/tests/golden/%s.safetensors", name);
    golden_file tensors = golden_open(ctx, path);
    const json_t *cases = json_object_get(json, "cases");
    ck_assert_uint_ge(json_array_size(cases), at_least);
    for (size_t i = 0; i < json_array_size(cases); i++)
        check(ctx, &tensors, json_array_get(cases, i));
    golden_close(&tensors);
    json_decref(json);
    dg_ctx_free(ctx);
}

#endif
