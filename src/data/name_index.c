#include "data/name_index.h"

#include "core/text.h"
#include "data/text_form.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CANDIDATES = 64 };

/* ---- keys ---- */

/* Turns "a/b/c.png" into "c.png/b/a/"; bare: the last extension of the file's name is left out. An archive's name
 * counts without its extension, as the folder it stands for.
 * in    archive  length of the archive's own path at the front, with its '/', or 0 */
static char *make_key(const char *path, size_t archive, bool bare) {
    dg_str out = {0};
    const char *dot = bare ? strrchr(dg_path_name(path), '.') : NULL;
    for (const char *begin = NULL, *end = path + strlen(path); begin != path; end = begin - 1) {
        begin = end;
        while (begin > path && begin[-1] != '/')
            begin--;
        size_t length = (size_t)((dot ? dot : end) - begin);
        if (archive > 0 && (size_t)(end - path) + 1 == archive)
            length = dg_path_archive_stem(begin, length);
        dot = NULL;
        dg_str_append_bytes(&out, begin, length);
        dg_str_append(&out, "/");
    }
    char *key = dg_str_ok(&out) && out.data ? dg_text_fold(out.data) : NULL;
    dg_str_free(&out);
    return key;
}

static dg_status add(dg_ctx *ctx, dg_name_index *index, size_t file, bool bare) {
    if (index->count == index->capacity) {
        size_t wanted = index->capacity ? 2 * index->capacity : 256;
        dg_name_entry *grown = reallocarray(index->entries, wanted, sizeof *grown);
        if (!grown)
            return dg_fail(ctx, DG_ENOMEM, "out of memory for an index of %zu names", wanted);
        index->entries = grown;
        index->capacity = wanted;
    }
    const dg_file *f = &index->tree->files[file];
    char *key = make_key(f->path, f->skip, bare);
    if (!key)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for an index of names");
    index->entries[index->count++] = (dg_name_entry){.key = key, .file = file};
    return DG_OK;
}

static int by_key(const void *a, const void *b) {
    const dg_name_entry *x = a, *y = b;
    const int order = strcmp(x->key, y->key);
    return order ? order : (x->file > y->file) - (x->file < y->file);
}

static dg_status build(dg_ctx *ctx, dg_name_index *index) {
    dg_status status = DG_OK;
    for (size_t i = 0; i < index->finished_count; i++) {
        const dg_file *file = &index->tree->files[i];
        if (file->kind != DG_FILE_IMAGE && file->kind != DG_FILE_FOREIGN_IMAGE)
            continue;
        DG_TRY(add(ctx, index, i, false));
        if (strchr(dg_path_name(file->path), '.'))
            DG_TRY(add(ctx, index, i, true));
    }
    if (index->count > 0)
        qsort(index->entries, index->count, sizeof *index->entries, by_key);
    index->built = true;
done:
    return status;
}

void dg_name_index_free(dg_name_index *index) {
    for (size_t i = 0; i < index->count; i++)
        free(index->entries[i].key);
    free(index->entries);
    *index = (dg_name_index){0};
}

/* ---- candidates ---- */

typedef struct candidates {
    size_t files[MAX_CANDIDATES];
    size_t count;
    bool too_many;
} candidates;

static void collect(const dg_name_index *index, const char *key, bool whole, const char *path, size_t folder,
                    candidates *out) {
    const size_t length = strlen(key);
    size_t low = 0, high = index->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(index->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out = (candidates){0};
    for (size_t i = low, seen = 0; i < index->count && !out->too_many; i++, seen++) {
        const dg_name_entry *entry = &index->entries[i];
        if (strncmp(entry->key, key, length) != 0 || (whole && entry->key[length]))
            break;
        out->too_many = seen >= MAX_CANDIDATES;
        if (strncmp(index->tree->files[entry->file].path, path, folder) != 0 || out->too_many)
            continue;
        bool known = false;
        for (size_t k = 0; k < out->count; k++)
            known |= out->files[k] == entry->file;
        if (!known)
            out->files[out->count++] = entry->file;
    }
}

/* Of several, those that are part of the set: a mask beside an image, or a picture diffgen drew, is not meant. A file
 * of another split may be. */
static void prefer_set(const dg_tree *tree, candidates *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        const dg_left_out why = tree->files[c->files[i]].left_out;
        if (why == DG_LEFT_NOT || why == DG_LEFT_SPLIT)
            c->files[kept++] = c->files[i];
    }
    c->count = kept ? kept : c->count;
}

/* Of several, those that have the name's capitals. */
static dg_status prefer_capitals(dg_ctx *ctx, const dg_tree *tree, const char *name, candidates *c) {
    dg_status status = DG_OK;
    char *wanted = dg_text_compose(name), *other = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < c->count && wanted; i++) {
        free(other);
        other = dg_text_compose(tree->files[c->files[i]].path);
        if (!other)
            break;
        const size_t m = strlen(wanted), n = strlen(other);
        if (n >= m && memcmp(other + n - m, wanted, m) == 0)
            c->files[kept++] = c->files[i];
    }
    if (!wanted || !other)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory while looking for %s", name);
    c->count = kept ? kept : c->count;
    free(wanted);
    free(other);
    return status;
}

static dg_status settle(dg_ctx *ctx, const dg_tree *tree, const char *name, candidates *c, size_t *file,
                        dg_name_match *match) {
    dg_status status = DG_OK;
    if (c->count > 1)
        prefer_set(tree, c);
    if (c->count > 1)
        DG_TRY(prefer_capitals(ctx, tree, name, c));
    *match = c->count == 0 ? DG_NAME_NONE : c->count == 1 ? DG_NAME_ALIKE : DG_NAME_SEVERAL;
    if (c->too_many)
        *match = DG_NAME_SEVERAL;
    *file = c->files[0];
done:
    return status;
}

dg_status dg_name_find(dg_ctx *ctx, dg_name_index *index, const char *path, size_t folder, size_t *file,
                       dg_name_match *match) {
    dg_status status = DG_OK;
    char *whole = NULL, *part = NULL;
    candidates c;
    const int64_t exact = dg_tree_find(index->tree, index->finished_count, path);
    if (exact >= 0) {
        *file = (size_t)exact;
        *match = DG_NAME_EXACT;
        return DG_OK;
    }
    if (!index->built)
        DG_TRY(build(ctx, index));
    whole = make_key(path, 0, false);
    part = make_key(path + folder, 0, false);
    if (!whole || !part) {
        status = dg_fail(ctx, DG_ENOMEM, "out of memory while looking for %s", path);
        goto done;
    }
    collect(index, whole, true, path, folder, &c);
    if (c.count == 0 && !c.too_many)
        collect(index, part, false, path, folder, &c);
    DG_TRY(settle(ctx, index->tree, path + folder, &c, file, match));
done:
    free(whole);
    free(part);
    return status;
}
