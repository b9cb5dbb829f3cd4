/* Training states. */
#include "io/checkpoint.h"

#include "core/fs.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARRAYS "state.safetensors"
#define STATE "state.json"

static dg_status join(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    *out = dg_fs_join(folder, name);
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

static dg_status write_arrays(dg_ctx *ctx, const char *folder, const dg_checkpoint_array *arrays, int64_t count) {
    dg_status status = DG_OK;
    dg_st_tensor *tensors = NULL;
    char *path = NULL;
    DG_TRY(join(ctx, folder, ARRAYS, &path));
    DG_TRY(dg_alloc(ctx, &tensors, (size_t)count + 1, sizeof *tensors, "checkpoint arrays"));
    for (int64_t i = 0; i < count; i++)
        tensors[i] = (dg_st_tensor){
            .name = arrays[i].name, .dtype = DG_ST_F32, .rank = 1, .dims = {arrays[i].count}, .data = arrays[i].data};
    DG_TRY(dg_safetensors_write(ctx, path, tensors, count, NULL, 0));
done:
    free(tensors);
    free(path);
    return status;
}

/* state.json: {"format":..., "program":..., "arrays": {name: count}, "state": the caller's object}. */
static dg_status write_state(dg_ctx *ctx, const char *folder, const dg_checkpoint_array *arrays, int64_t count,
                             const json_t *state) {
    dg_status status = DG_OK;
    char *path = NULL;
    json_t *counts = json_object(), *json = NULL;
    for (int64_t i = 0; i < count; i++)
        dg_json_set(&counts, arrays[i].name, json_integer(arrays[i].count));
    json = json_pack("{s:s, s:s, s:O, s:O}", "format", "diffgen-checkpoint", "program", "diffgen " DIFFGEN_VERSION,
                     "arrays", counts, "state", (json_t *)state);
    if (!json || (int64_t)json_object_size(counts) != count)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a checkpoint"));
    DG_TRY(join(ctx, folder, STATE, &path));
    DG_TRY(dg_json_save(ctx, path, json));
done:
    free(path);
    json_decref(counts);
    json_decref(json);
    return status;
}

dg_status dg_checkpoint_write(dg_ctx *ctx, const char *path, const dg_checkpoint_array *arrays, int64_t count,
                              const json_t *state) {
    dg_status status = DG_OK;
    char *partial = NULL;
    if (asprintf(&partial, "%s.partial", path) < 0) {
        partial = NULL;
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    }
    DG_TRY(dg_fs_remove_tree(ctx, partial)); /* of a process that was killed */
    DG_TRY(dg_fs_mkdirs(ctx, partial));
    DG_TRY(write_arrays(ctx, partial, arrays, count));
    DG_TRY(write_state(ctx, partial, arrays, count, state));
    DG_TRY(dg_fs_publish_dir(ctx, partial, path));
done:
    /* A disk that is full should not stay so because of half a checkpoint. */
    if (status != DG_OK && partial && dg_fs_remove_tree(ctx, partial) != DG_OK)
        dg_log(ctx, DG_LOG_WARN, "%s: could not be removed", partial);
    free(partial);
    return status;
}

static dg_status bad(dg_ctx *ctx, const char *path, const char *what) {
    return dg_fail(ctx, DG_EDATA, "%s: not a valid checkpoint: %s", path, what);
}

/* Do the arrays in the file have the counts that state.json names, all of them and no others? */
static dg_status check_counts(dg_ctx *ctx, const char *path, const json_t *counts, const dg_safetensors *st) {
    const char *name;
    json_t *value;
    if (!json_is_object(counts) || (int64_t)json_object_size(counts) != dg_safetensors_count(st))
        return bad(ctx, path, "state.json and state.safetensors hold different arrays");
    json_object_foreach((json_t *)counts, name, value) {
        const dg_st_tensor *t = dg_safetensors_find(st, name);
        if (!t || t->dtype != DG_ST_F32 || t->rank != 1 || !json_is_integer(value) ||
            json_integer_value(value) != t->count)
            return bad(ctx, path, "state.json and state.safetensors hold different arrays");
    }
    return DG_OK;
}

static dg_status open_both(dg_ctx *ctx, const char *path, json_t **json, dg_safetensors **st) {
    dg_status status = DG_OK;
    char *state_path = NULL, *arrays_path = NULL;
    DG_TRY(join(ctx, path, STATE, &state_path));
    DG_TRY(join(ctx, path, ARRAYS, &arrays_path));
    DG_TRY(dg_json_load(ctx, state_path, DG_JSON_STRICT, json));
    const char *format = json_string_value(json_object_get(*json, "format"));
    if (!format || strcmp(format, "diffgen-checkpoint") != 0 || !json_is_object(json_object_get(*json, "state")))
        DG_TRY(bad(ctx, state_path, "\"format\" or \"state\" is missing"));
    DG_TRY(dg_safetensors_open(ctx, arrays_path, st));
    DG_TRY(check_counts(ctx, path, json_object_get(*json, "arrays"), *st));
done:
    free(state_path);
    free(arrays_path);
    return status;
}

dg_status dg_checkpoint_read_state(dg_ctx *ctx, const char *path, json_t **state) {
    json_t *json = NULL;
    dg_safetensors *st = NULL;
    const dg_status status = open_both(ctx, path, &json, &st);
    if (state)
        *state = status == DG_OK ? json_incref(json_object_get(json, "state")) : NULL;
    json_decref(json);
    dg_safetensors_close(st);
    return status;
}

static dg_status read_array(dg_ctx *ctx, const char *path, const dg_safetensors *st, const dg_checkpoint_array *array) {
    const dg_st_tensor *t = dg_safetensors_find(st, array->name);
    if (!t || t->count != array->count)
        return dg_fail(ctx, DG_EDATA, "%s: array \"%s\" of %lld values is expected; the checkpoint holds %lld", path,
                       array->name, (long long)array->count, t ? (long long)t->count : 0LL);
    return dg_safetensors_read_f32(ctx, st, array->name, 1, t->dims, array->data);
}

dg_status dg_checkpoint_read_arrays(dg_ctx *ctx, const char *path, const dg_checkpoint_array *arrays, int64_t count) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    dg_safetensors *st = NULL;
    DG_TRY(open_both(ctx, path, &json, &st));
    if (dg_safetensors_count(st) != count)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: the checkpoint holds %lld arrays; %lld are expected", path,
                       (long long)dg_safetensors_count(st), (long long)count));
    for (int64_t i = 0; i < count; i++)
        DG_TRY(read_array(ctx, path, st, &arrays[i]));
done:
    json_decref(json);
    dg_safetensors_close(st);
    return status;
}

dg_status dg_checkpoint_read_first(dg_ctx *ctx, const char *path, const char *const *names, int64_t count,
                                   float *data) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    dg_safetensors *st = NULL;
    DG_TRY(open_both(ctx, path, &json, &st));
    while (names[1] && !dg_safetensors_find(st, names[0]))
        names++;
    DG_TRY(read_array(ctx, path, st, &(dg_checkpoint_array){names[0], data, count}));
done:
    json_decref(json);
    dg_safetensors_close(st);
    return status;
}
