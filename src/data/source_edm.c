/* dataset.json of EDM and StyleGAN: {"labels": [["00000/img.png", 6], ...]}, or null where there are no labels. Other
 * tools (nnU-Net, MONAI) call files of quite another form by that name. */
#include "core/json.h"
#include "data/metadata.h"
#include "data/text_form.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_entry(const json_t *entry) {
    return json_is_array(entry) && json_array_size(entry) == 2 && json_is_string(json_array_get(entry, 0));
}

/* By its form: an object whose "labels" are null or a list that begins as such a list does. */
static bool is_ours(const json_t *document) {
    const json_t *labels = json_object_get(document, "labels");
    if (!json_is_object(document) || !labels)
        return false;
    return json_is_null(labels) || (json_is_array(labels) && json_array_size(labels) == 0) ||
           is_entry(json_array_get(labels, 0));
}

/* What it is instead, for a person who knows which tool wrote it. */
static dg_status pass_over(dg_metadata *m, const char *where, json_t *document) {
    dg_status status = DG_OK;
    dg_str keys = {0};
    const char *key;
    json_t *value;
    json_object_foreach(document, key, value) {
        if (keys.length < 300)
            dg_str_printf(&keys, "%s%.60s", keys.length ? ", " : "; its keys: ", key);
    }
    if (m->named)
        status = dg_fail(m->ctx, DG_EDATA, "%s: {\"labels\": [[file name, class], ...]} is expected%s", where,
                         keys.data ? keys.data : "");
    else
        status = dg_layout_note(m->ctx, m->layout,
                                "%s is not of the form that gives labels ({\"labels\": [[file name, class], ...]}) and "
                                "is passed over%s",
                                where, keys.data ? keys.data : "");
    dg_str_free(&keys);
    return status;
}

static dg_status add_entry(dg_metadata *m, const dg_label_file *from, size_t i, const json_t *entry) {
    const char *name = json_string_value(json_array_get(entry, 0)), *label = NULL;
    const json_t *value = json_array_get(entry, 1);
    char number[DG_TABLE_NUMBER_BYTES];
    if (!is_entry(entry) || strlen(name) != json_string_length(json_array_get(entry, 0)))
        return dg_fail(m->ctx, DG_EDATA, "%s: entry %zu of \"labels\" must be [\"file name\", class]", from->where, i);
    if (json_is_array(value))
        return dg_fail(m->ctx, DG_EDATA, "%s: entry %zu has a vector as label; only classes are supported", from->where,
                       i);
    if (!dg_table_json_text(value, number, &label))
        return dg_fail(m->ctx, DG_EDATA, "%s: the label of entry %zu must be a whole number", from->where, i);
    return dg_metadata_add(m, from, "entry", (int64_t)i, name, label);
}

static bool has_label(const json_t *labels) {
    for (size_t i = 0; i < json_array_size(labels); i++)
        if (!json_is_null(json_array_get(json_array_get(labels, i), 1)))
            return true;
    return false;
}

/* "labels": null says of every image below that it has none. */
static dg_status add_unlabelled(dg_metadata *m, const dg_label_file *from) {
    for (size_t i = 0; i < m->layout->finished_count; i++) {
        const dg_file *file = &m->tree->files[i];
        if (file->left_out || !dg_file_is_image(file) || strncmp(file->path, from->folder, strlen(from->folder)) != 0)
            continue;
        m->listed[i] = 1;
        dg_status status = dg_layout_add(m->ctx, m->layout, i, NULL);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

/* One that lies beside an archive may belong to something else. */
static dg_status belongs(dg_metadata *m, const dg_label_file *from, const json_t *document, bool *out) {
    const json_t *labels = json_object_get(document, "labels");
    *out = from->file >= 0 || m->named || json_array_size(labels) == 0;
    for (size_t i = 0; i < json_array_size(labels) && !*out; i++) {
        const char *name = json_string_value(json_array_get(json_array_get(labels, i), 0));
        dg_name_match match = DG_NAME_NONE;
        size_t file;
        char *path = NULL;
        dg_status status = name ? dg_metadata_look_up(m, from, name, &path, &file, &match) : DG_OK;
        free(path);
        if (status != DG_OK)
            return status;
        *out = match != DG_NAME_NONE;
    }
    return DG_OK;
}

static dg_status load(dg_metadata *m, const dg_label_file *file, json_t **document) {
    dg_status status = DG_OK;
    const char *bytes = NULL, *text = NULL;
    size_t size = 0;
    void *owned = NULL, *converted = NULL;
    DG_TRY(dg_label_file_load(m, file, &bytes, &size, &owned));
    DG_TRY(dg_text_decode(m->ctx, file->where, bytes, size, &text, &size, &converted));
    DG_TRY(dg_json_parse(m->ctx, file->where, text, size, DG_JSON_PYTHON, document));
done:
    free(converted);
    free(owned);
    return status;
}

static dg_status add_document(dg_metadata *m, const dg_label_file *from, const json_t *document) {
    const json_t *labels = json_object_get(document, "labels");
    if (json_is_null(labels))
        return m->labels ? DG_OK : add_unlabelled(m, from);
    for (size_t i = 0; i < json_array_size(labels); i++) {
        dg_status status = add_entry(m, from, i, json_array_get(labels, i));
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

dg_status dg_metadata_read_edm(dg_metadata *m, const dg_label_file *files, size_t count, bool *found) {
    dg_status status = DG_OK;
    json_t **documents = NULL;
    *found = false;
    DG_TRY(dg_alloc(m->ctx, &documents, count + 1, sizeof(json_t *), "reading metadata"));
    for (size_t i = 0; i < count; i++) {
        bool ours = false;
        DG_TRY(load(m, &files[i], &documents[i]));
        if (files[i].file >= 0)
            m->tree->files[files[i].file].said = true;
        if (is_ours(documents[i]))
            DG_TRY(belongs(m, &files[i], documents[i], &ours));
        if (!ours) {
            DG_TRY(pass_over(m, files[i].where, documents[i]));
            json_decref(documents[i]);
            documents[i] = NULL;
            continue;
        }
        *found = true;
        m->labels |= !m->options->unconditional && has_label(json_object_get(documents[i], "labels"));
    }
    if (*found)
        m->layout->name = "dataset.json";
    for (size_t i = 0; i < count; i++)
        if (documents[i])
            DG_TRY(add_document(m, &files[i], documents[i]));
    if (*found)
        DG_TRY(dg_metadata_finish(m));
done:
    for (size_t i = 0; documents && i < count; i++)
        json_decref(documents[i]);
    free(documents);
    return status;
}

dg_status dg_layout_edm(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    dg_metadata m;
    dg_label_file *files = NULL;
    size_t count = 0;
    *found = false;
    DG_TRY(dg_metadata_begin(&m, ctx, tree, options, layout));
    DG_TRY(dg_label_files_find(&m, "dataset.json", &files, &count));
    DG_TRY(dg_metadata_read_edm(&m, files, count, found));
done:
    dg_label_files_free(files, count);
    dg_metadata_free(&m);
    return status;
}
