/* One view on the weights files of a folder. */
#include "io/model_weights.h"

#include "core/fs.h"
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

#define STEM "diffusion_pytorch_model"

enum { NAMES_IN_MESSAGE = 5 };

static bool has_ends(const char *name, const char *prefix, const char *suffix) {
    const size_t n = strlen(name), p = strlen(prefix), s = strlen(suffix);
    return n >= p + s && strncmp(name, prefix, p) == 0 && strcmp(name + n - s, suffix) == 0;
}

static dg_status copy_string(dg_ctx *ctx, const char *text, char **out) {
    *out = strdup(text);
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

/* ---- finding the files ---------------------------------------------------------------------------------------- */

typedef struct found {
    const char *index, *single;                 /* the plain names */
    const char *variant_index, *variant_single; /* "....fp16.safetensors"; the last one seen */
    int variants;
    bool bin;
} found;

static found look_through(char **names, size_t count) {
    found f = {0};
    for (size_t i = 0; i < count; i++) {
        const char *name = names[i];
        if (strcmp(name, STEM ".safetensors.index.json") == 0) {
            f.index = name;
        } else if (strcmp(name, STEM ".safetensors") == 0) {
            f.single = name;
        } else if (has_ends(name, STEM ".safetensors.index.", ".json")) {
            f.variant_index = name;
            f.variants++;
        } else if (has_ends(name, STEM ".", ".safetensors") && !strstr(name, "-of-")) {
            f.variant_single = name;
            f.variants++;
        } else if (has_ends(name, STEM, ".bin")) {
            f.bin = true;
        }
    }
    return f;
}

/* Which file to read, in diffusers' order; a variant (half precision, say) only if it is the only choice. */
static dg_status choose(dg_ctx *ctx, const char *folder, const found *f, const char **index, const char **single) {
    *index = f->index;
    *single = f->index ? NULL : f->single;
    if (*index || *single)
        return DG_OK;
    if (f->variants == 1) {
        *index = f->variant_index;
        *single = f->variant_single;
        return DG_OK;
    }
    if (f->variants > 1)
        return dg_fail(ctx, DG_EDATA, "%s: holds several variants of the weights and no " STEM ".safetensors; keep one",
                       folder);
    if (f->bin)
        return dg_fail(ctx, DG_EDATA,
                       "%s: the weights are a .bin file (a Python pickle, which can run code when read), which diffgen "
                       "does not read. Convert it once in Python: UNet2DModel.from_pretrained(\"FOLDER\", "
                       "use_safetensors=False).save_pretrained(\"NEW_FOLDER\")",
                       folder);
    return dg_fail(ctx, DG_EDATA, "%s: there is no " STEM ".safetensors in this folder", folder);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static dg_status add_file(dg_ctx *ctx, dg_model_weights *w, const char *name) {
    dg_status status = DG_OK;
    char *path = dg_fs_join(w->folder, name);
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(copy_string(ctx, name, &w->names[w->num_files]));
    w->num_files++;
    DG_TRY(dg_safetensors_open(ctx, path, &w->files[w->num_files - 1]));
done:
    free(path);
    return status;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const dg_safetensors *file_of(const dg_model_weights *w, const char *tensor) {
    if (!w->weight_map)
        return w->files[0];
    const char *name = json_string_value(json_object_get(w->weight_map, tensor));
    char **hit = name ? bsearch(&name, w->names, (size_t)w->num_files, sizeof *w->names, by_text) : NULL;
    return hit ? w->files[hit - w->names] : NULL;
}

/* Sorted, distinct names of the shards; a name is a plain file name, so that an index cannot point elsewhere. */
static dg_status shard_names(dg_ctx *ctx, const char *where, const json_t *map, const char ***out, int64_t *count) {
    const char *tensor;
    json_t *value;
    size_t n = 0;
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(ctx, out, json_object_size(map) + 1, sizeof **out, "shard names"));
    json_object_foreach((json_t *)map, tensor, value) {
        const char *name = json_string_value(value);
        if (!name || !has_ends(name, "", ".safetensors") || strchr(name, '/') || strchr(name, '\\') || name[0] == '.')
            DG_TRY(dg_fail(ctx, DG_EDATA, "%s: tensor \"%.100s\" is not mapped to a plain .safetensors file name",
                           where, tensor));
        (*out)[n++] = name;
    }
    qsort(*out, n, sizeof **out, by_text);
    *count = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp((*out)[i], (*out)[i - 1]) != 0)
            (*out)[(*count)++] = (*out)[i];
    if (*count == 0 || *count > 1000)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: weight_map names no files, or more than 1000", where));
done:
    return status;
}

static dg_status check_map(dg_ctx *ctx, const dg_model_weights *w, const char *where) {
    const char *tensor;
    json_t *value;
    json_object_foreach(w->weight_map, tensor, value) {
        if (!dg_safetensors_find(file_of(w, tensor), tensor))
            return dg_fail(ctx, DG_EDATA, "%s: tensor \"%.100s\" is not in %s, to which it is mapped", where, tensor,
                           json_string_value(value));
    }
    return DG_OK;
}

static dg_status open_shards(dg_ctx *ctx, dg_model_weights *w, const char *index_name) {
    dg_status status = DG_OK;
    json_t *index = NULL;
    const char **names = NULL;
    int64_t count = 0;
    char *path = dg_fs_join(w->folder, index_name);
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(copy_string(ctx, index_name, &w->index_name));
    DG_TRY(dg_json_load(ctx, path, DG_JSON_STRICT, &index));
    w->weight_map = json_incref(json_object_get(index, "weight_map"));
    if (!json_is_object(w->weight_map) || !json_is_object(json_object_get(index, "metadata")))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a weights index; \"metadata\" and \"weight_map\" are required", path));
    DG_TRY(shard_names(ctx, path, w->weight_map, &names, &count));
    DG_TRY(dg_alloc(ctx, &w->names, (size_t)count, sizeof *w->names, "file names"));
    DG_TRY(dg_alloc(ctx, &w->files, (size_t)count, sizeof *w->files, "open files"));
    for (int64_t i = 0; i < count; i++)
        DG_TRY(add_file(ctx, w, names[i]));
    DG_TRY(check_map(ctx, w, path));
done:
    free(path);
    free(names);
    json_decref(index);
    return status;
}

dg_status dg_model_weights_open(dg_ctx *ctx, const char *folder, dg_model_weights **out) {
    dg_status status = DG_OK;
    dg_model_weights *w = NULL;
    char **names = NULL;
    size_t count = 0;
    const char *index = NULL, *single = NULL;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &w, 1, sizeof *w, "model weights"));
    DG_TRY(copy_string(ctx, folder, &w->folder));
    DG_TRY(dg_fs_list(ctx, folder, &names, &count));
    const found f = look_through(names, count);
    DG_TRY(choose(ctx, folder, &f, &index, &single));
    if (index) {
        DG_TRY(open_shards(ctx, w, index));
    } else {
        DG_TRY(dg_alloc(ctx, &w->names, 1, sizeof *w->names, "file names"));
        DG_TRY(dg_alloc(ctx, &w->files, 1, sizeof *w->files, "open files"));
        DG_TRY(add_file(ctx, w, single));
    }
    *out = w;
    w = NULL;
done:
    dg_fs_free_list(names, count);
    dg_model_weights_close(w);
    return status;
}

void dg_model_weights_close(dg_model_weights *w) {
    if (!w)
        return;
    for (int64_t i = 0; i < w->num_files; i++) {
        dg_safetensors_close(w->files[i]);
        free(w->names[i]);
    }
    free(w->files);
    free(w->names);
    free(w->index_name);
    free(w->folder);
    json_decref(w->weight_map);
    free(w);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static const char *const renamed[][2] = {
    /* today, before diffusers 0.17 */
    {".to_q.", ".query."},
    {".to_k.", ".key."},
    {".to_v.", ".value."},
    {".to_out.0.", ".proj_attn."},
};

/* The same name with the layer part of column `from` replaced by that of column `to`; false if it has none. */
static bool rename_attention(const char *name, int from, int to, char out[DG_ST_MAX_NAME + 16]) {
    if (!strstr(name, ".attentions.") || strlen(name) > DG_ST_MAX_NAME)
        return false;
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        const char *hit = strstr(name, renamed[i][from]);
        if (!hit)
            continue;
        const size_t head = (size_t)(hit - name), middle = strlen(renamed[i][to]);
        const char *tail = hit + strlen(renamed[i][from]);
        memcpy(out, name, head);
        memcpy(out + head, renamed[i][to], middle);
        memcpy(out + head + middle, tail, strlen(tail) + 1);
        return true;
    }
    return false;
}

/* A tensor by today's name, stored under that or the old one. NULL: not there. */
static dg_status locate(dg_ctx *ctx, const dg_model_weights *w, const char *name, const dg_safetensors **file,
                        const dg_st_tensor **tensor) {
    char old_name[DG_ST_MAX_NAME + 16];
    const dg_safetensors *now_file = file_of(w, name);
    const dg_st_tensor *now = now_file ? dg_safetensors_find(now_file, name) : NULL;
    *file = now_file;
    *tensor = now;
    if (!rename_attention(name, 0, 1, old_name))
        return DG_OK;
    const dg_safetensors *old_file = file_of(w, old_name);
    const dg_st_tensor *old = old_file ? dg_safetensors_find(old_file, old_name) : NULL;
    if (now && old)
        return dg_fail(ctx, DG_EDATA, "%s: holds both \"%s\" and its old name \"%s\"; which one is meant is unclear",
                       w->folder, name, old_name);
    if (old) {
        *file = old_file;
        *tensor = old;
    }
    return DG_OK;
}

typedef struct name_list {
    dg_str text;
    int64_t count;
} name_list;

static void list_add(name_list *list, const char *name, const char *detail) {
    if (list->count < NAMES_IN_MESSAGE)
        dg_str_printf(&list->text, "%s%.100s%s", list->count ? ", " : "", name, detail);
    else if (list->count == NAMES_IN_MESSAGE)
        dg_str_append(&list->text, ", ...");
    list->count++;
}

static void shape_text(int rank, const int64_t *dims, dg_str *out) {
    dg_str_append(out, "[");
    for (int i = 0; i < rank; i++)
        dg_str_printf(out, "%s%lld", i ? "," : "", (long long)dims[i]);
    dg_str_append(out, "]");
}

static void note_wrong_shape(name_list *list, const dg_param *param, const dg_st_tensor *t) {
    dg_str detail = {0};
    dg_str_append(&detail, " ");
    shape_text(t->rank, t->dims, &detail);
    dg_str_append(&detail, " instead of ");
    shape_text(param->rank, param->dims, &detail);
    list_add(list, param->name, detail.data ? detail.data : "");
    dg_str_free(&detail);
}

dg_status dg_model_weights_check(dg_ctx *ctx, const dg_model_weights *w, const dg_params *params) {
    dg_status status = DG_OK;
    name_list missing = {0}, wrong = {0};
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *param = &params->list[i];
        const dg_safetensors *file = NULL;
        const dg_st_tensor *t = NULL;
        DG_TRY(locate(ctx, w, param->name, &file, &t));
        if (!t)
            list_add(&missing, param->name, "");
        else if (t->rank != param->rank || memcmp(t->dims, param->dims, (size_t)t->rank * sizeof *t->dims) != 0)
            note_wrong_shape(&wrong, param, t);
    }
    if (missing.count > 0)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: the weights do not fit config.json: %lld of %lld tensors are missing: %s",
                       w->folder, (long long)missing.count, (long long)params->count,
                       missing.text.data ? missing.text.data : ""));
    if (wrong.count > 0)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: the weights do not fit config.json: %lld tensors have another shape: %s",
                       w->folder, (long long)wrong.count, wrong.text.data ? wrong.text.data : ""));
done:
    dg_str_free(&missing.text);
    dg_str_free(&wrong.text);
    return status;
}

static void warn_unexpected(dg_ctx *ctx, const dg_model_weights *w, const dg_params *params) {
    char today[DG_ST_MAX_NAME + 16];
    name_list extra = {0};
    for (int64_t f = 0; f < w->num_files; f++) {
        for (int64_t i = 0; i < dg_safetensors_count(w->files[f]); i++) {
            const char *name = dg_safetensors_at(w->files[f], i)->name;
            const bool known =
                dg_params_find(params, name) || (rename_attention(name, 1, 0, today) && dg_params_find(params, today));
            if (!known)
                list_add(&extra, name, "");
        }
    }
    if (extra.count > 0)
        dg_log(ctx, DG_LOG_WARN, "%s: %lld tensors have no place in this architecture and are ignored: %s", w->folder,
               (long long)extra.count, extra.text.data ? extra.text.data : "");
    dg_str_free(&extra.text);
}

dg_status dg_model_weights_load(dg_ctx *ctx, const dg_model_weights *w, const dg_params *params, float *flat) {
    dg_status status = DG_OK;
    memset(flat, 0, (size_t)params->total * sizeof *flat);
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *param = &params->list[i];
        const dg_safetensors *file = NULL;
        const dg_st_tensor *t = NULL;
        DG_TRY(locate(ctx, w, param->name, &file, &t));
        if (!t)
            DG_TRY(dg_fail(ctx, DG_EDATA, "%s: tensor \"%s\" is missing", w->folder, param->name));
        DG_TRY(dg_safetensors_read_f32(ctx, file, t->name, param->rank, param->dims, flat + param->offset));
    }
    warn_unexpected(ctx, w, params);
done:
    return status;
}
