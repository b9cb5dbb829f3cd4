#include "data/metadata.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

dg_status dg_metadata_begin(dg_metadata *m, dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options,
                            dg_layout *layout) {
    *m = (dg_metadata){.ctx = ctx, .tree = tree, .layout = layout, .options = options};
    m->names = (dg_name_index){.tree = tree, .finished_count = layout->finished_count};
    m->named = options->metadata && !dg_metadata_is_off(options);
    return dg_alloc(ctx, &m->listed, tree->count + 1, 1, "reading metadata");
}

void dg_metadata_free(dg_metadata *m) {
    dg_name_index_free(&m->names);
    free(m->listed);
    *m = (dg_metadata){0};
}

static dg_status join(dg_metadata *m, const char *folder, const char *name, char **path) {
    free(*path);
    if (asprintf(path, "%s%s", folder, name) >= 0)
        return DG_OK;
    *path = NULL;
    return dg_fail(m->ctx, DG_ENOMEM, "out of memory while looking for %s", name);
}

static void turn_backslashes(char *name) {
    for (; *name; name++)
        if (*name == '\\')
            *name = '/';
}

dg_status dg_metadata_look_up(dg_metadata *m, const dg_label_file *from, const char *name, char **path, size_t *file,
                              dg_name_match *match) {
    dg_status status = DG_OK;
    char *relative = strdup(name);
    *path = NULL;
    *match = DG_NAME_NONE;
    if (!relative) {
        status = dg_fail(m->ctx, DG_ENOMEM, "out of memory while reading %s", from->where);
        goto done;
    }
    if (strchr(relative, '\\')) { /* a character of names here, and between folders on Windows */
        DG_TRY(join(m, from->folder, relative, path));
        if (dg_tree_find(m->tree, m->layout->finished_count, *path) < 0)
            turn_backslashes(relative);
    }
    if (!dg_path_normalise(relative)) {
        free(*path);
        *path = NULL;
        goto done;
    }
    DG_TRY(join(m, from->folder, relative, path));
    DG_TRY(dg_name_find(m->ctx, &m->names, *path, strlen(from->folder), file, match));
    /* A file the user names may lie in a folder of its own: labels/train.csv beside images/. */
    if (*match == DG_NAME_NONE && m->named && from->folder[0]) {
        DG_TRY(join(m, "", relative, path));
        DG_TRY(dg_name_find(m->ctx, &m->names, *path, 0, file, match));
    }
done:
    free(relative);
    return status;
}

dg_status dg_metadata_add(dg_metadata *m, const dg_label_file *from, const char *unit, int64_t number, const char *name,
                          const char *label) {
    dg_status status = DG_OK;
    char *path = NULL;
    size_t file = 0;
    dg_name_match match = DG_NAME_NONE;
    DG_TRY(dg_metadata_look_up(m, from, name, &path, &file, &match));
    if (!path) {
        status = dg_fail(m->ctx, DG_EDATA, "%s, %s %" PRId64 ": \"%s\" is not a path below the file's own folder",
                         from->where, unit, number, name);
        goto done;
    }
    if (match == DG_NAME_NONE && m->named) {
        m->absent++; /* a table of the whole collection, of which a part is read */
        goto done;
    }
    if (match == DG_NAME_NONE || match == DG_NAME_SEVERAL) {
        status = dg_layout_skip(m->ctx, m->layout, path, "named in %s, but %s", from->where,
                                match == DG_NAME_NONE ? "there is no such file" : "several files could be meant");
        goto done;
    }
    m->listed[file] = 1;
    if (m->tree->files[file].left_out)
        goto done; /* another split */
    m->alike += match == DG_NAME_ALIKE;
    const char *problem = m->labels ? dg_label_problem(label ? label : "") : NULL;
    if (problem) {
        const bool encoding = label && !dg_utf8_valid(label, strlen(label));
        status = dg_layout_skip(m->ctx, m->layout, path, "%s, %s %" PRId64 ": %s%s", from->where, unit, number, problem,
                                encoding ? "; save the file as UTF-8" : "");
        goto done;
    }
    status = dg_layout_add(m->ctx, m->layout, file, m->labels ? label : NULL);
done:
    free(path);
    return status;
}

/* Digits, or digits and ".0": where a column has a gap, pandas writes its whole numbers as fractions.
 * out   *whole  length without the fraction; 0: not a whole number */
static size_t whole_number(const char *label, bool *fraction) {
    const size_t sign = label[0] == '-', digits = strspn(label + sign, "0123456789");
    const char *rest = label + sign + digits;
    *fraction = rest[0] == '.' && strspn(rest + 1, "0") > 0 && !rest[1 + strspn(rest + 1, "0")];
    return digits > 0 && (!*rest || *fraction) ? sign + digits : 0;
}

/* 3.0 is class 3, if all labels are numbers of that kind. */
static dg_status make_whole(dg_metadata *m) {
    dg_layout *layout = m->layout;
    bool any = false, fraction;
    for (size_t i = 0; i < layout->count; i++) {
        if (!layout->samples[i].label || !whole_number(layout->samples[i].label, &fraction))
            return DG_OK;
        any |= fraction;
    }
    for (size_t i = 0; i < layout->count && any; i++)
        layout->samples[i].label[whole_number(layout->samples[i].label, &fraction)] = 0;
    return any ? dg_layout_note(m->ctx, layout, "the labels are whole numbers, though some are written as 1.0") : DG_OK;
}

dg_status dg_metadata_finish(dg_metadata *m) {
    dg_status status = DG_OK;
    dg_layout *layout = m->layout;
    int64_t unlisted = 0;
    for (size_t i = 0; i < m->tree->count; i++) {
        const dg_file *file = &m->tree->files[i];
        const char *path = file->path + file->skip;
        if (m->listed[i] || file->left_out || (m->tree->archive && dg_path_is_archive(path)))
            continue;
        if (dg_file_is_image(file))
            unlisted++;
        else
            layout->ignored += strcasecmp(dg_path_name(path), layout->name) != 0;
    }
    if (unlisted > 0)
        DG_TRY(dg_layout_fall(m->ctx, layout, unlisted, "not listed in %s",
                              m->named ? m->options->metadata : layout->name));
    if (m->alike > 0)
        DG_TRY(dg_layout_note(m->ctx, layout,
                              "%lld names in %s stand a little differently on disk (capitals, accents, extension or "
                              "folder) and were found all the same",
                              (long long)m->alike, m->named ? m->options->metadata : layout->name));
    if (m->absent > 0)
        DG_TRY(dg_layout_note(m->ctx, layout, "%s lists %lld more images that are not here", m->options->metadata,
                              (long long)m->absent));
    if (!m->labels && !m->options->unconditional)
        DG_TRY(dg_layout_note(m->ctx, layout, "%s says that the images have no labels: no classes",
                              m->named ? m->options->metadata : layout->name));
    DG_TRY(make_whole(m));
done:
    return status;
}
