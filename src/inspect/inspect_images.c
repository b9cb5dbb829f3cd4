/* Sets of images, to train on or made by diffgen, and single images. */
#include "core/fs.h"
#include "data/dataset.h"
#include "inspect/inspect_parts.h"
#include "io/manifest.h"
#include "io/png.h"
#include "sheet/data_sheet.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_IMAGE_BYTES = 256 << 20,
    MAX_LOOKED_AT = 2000, /* of a larger set a part is enough to see what values it has */
};

/* ---- a data set ----------------------------------------------------------------------------------------------------
 */

static json_t *class_counts(const dg_dataset *dataset) {
    json_t *classes = json_array();
    if (!dg_dataset_is_conditional(dataset))
        return classes;
    for (int32_t i = 0; i < dg_dataset_class_count(dataset); i++)
        dg_json_append(&classes, json_pack("{s:o, s:I}", "name", dg_json_text(dg_dataset_class_name(dataset, i)),
                                           "images", (json_int_t)dg_dataset_class_images(dataset, i)));
    return classes;
}

static json_t *skipped_files(const dg_dataset_report *report) {
    json_t *list = json_array();
    for (size_t i = 0; i < report->skips_kept; i++)
        dg_json_append(&list, json_pack("{s:o, s:o}", "path", dg_json_text(report->skips[i].path), "reason",
                                        dg_json_text(report->skips[i].reason)));
    return list;
}

static json_t *notes(const dg_dataset_report *report) {
    json_t *list = json_array();
    for (size_t i = 0; i < report->note_count; i++)
        dg_json_append(&list, dg_json_text(report->notes[i]));
    return list;
}

static json_t *size_range(int smallest, int largest) {
    return json_pack("[i, i]", smallest, largest);
}

static json_t *describe_dataset(const char *path, const dg_dataset *dataset) {
    const dg_dataset_report *r = dg_dataset_get_report(dataset);
    json_t *object = json_pack(
        "{s:s, s:o, s:s, s:I, s:i, s:o, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:i, s:i, s:s}",
        "kind", "images", "path", dg_json_text(path), "layout", r->layout, "images",
        (json_int_t)dg_dataset_count(dataset), "num_classes",
        dg_dataset_is_conditional(dataset) ? (int)dg_dataset_class_count(dataset) : 0, "classes", class_counts(dataset),
        "widths", size_range(r->min_width, r->max_width), "heights", size_range(r->min_height, r->max_height),
        "mixed_sizes", r->mixed_sizes, "non_square", (json_int_t)r->non_square, "grey", (json_int_t)r->grey, "colour",
        (json_int_t)r->colour, "with_alpha", (json_int_t)r->with_alpha, "oriented", (json_int_t)r->oriented,
        "more_frames", (json_int_t)r->more_frames, "bits_8", (json_int_t)r->bits8, "bits_16", (json_int_t)r->bits16,
        "looked_at", (json_int_t)r->looked_at, "skipped", (json_int_t)r->skipped, "ignored", (json_int_t)r->ignored,
        "duplicates", (json_int_t)r->duplicates, "conflicting_duplicates", (json_int_t)r->conflicting_duplicates,
        "auto_resolution", dg_dataset_resolution(dataset), "auto_channels", dg_dataset_channels(dataset), "fingerprint",
        dg_dataset_fingerprint(dataset));
    if (object && r->skips_kept)
        dg_json_set(&object, "skipped_files", skipped_files(r));
    if (object && r->note_count)
        dg_json_set(&object, "notes", notes(r));
    return object;
}

dg_status dg_inspect_images(dg_ctx *ctx, const char *path, const dg_info_options *info, json_t **result) {
    dg_dataset *dataset = NULL;
    dg_status status = DG_OK;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.probe_only = true;
    options.look_at = MAX_LOOKED_AT;
    DG_TRY(dg_reading_apply(ctx, &info->reading, &options));
    if (info->grid && dg_fs_is_dir(path) && dg_fs_is_inside(info->grid, path))
        DG_TRY(dg_fail(ctx, DG_EUSAGE, "--grid %s lies among the images and would be one of them; give another place",
                       info->grid));
    DG_TRY(dg_dataset_open(ctx, &options, &dataset));
    if (info->grid)
        DG_TRY(dg_data_sheet_write(ctx, info->grid, dataset, false));
    status = dg_inspect_done(ctx, path, describe_dataset(path, dataset), result);
done:
    dg_dataset_free(dataset);
    return status;
}

/* ---- a synthetic data set ------------------------------------------------------------------------------------------
 */

static json_t *synthetic_classes(const dg_manifest *manifest) {
    json_t *classes = json_array();
    int64_t next = 0; /* images are sorted by class */
    for (int64_t c = 0; c < manifest->num_classes; c++) {
        const int64_t first = next;
        while (next < manifest->num_images && manifest->images[next].class_index == c)
            next++;
        dg_json_append(&classes, json_pack("{s:o, s:I}", "name", dg_json_text(manifest->class_names[c]), "images",
                                           (json_int_t)(next - first)));
    }
    return classes;
}

dg_status dg_inspect_synthetic(dg_ctx *ctx, const char *path, json_t **result) {
    dg_manifest manifest = {0};
    dg_status status = DG_OK;
    char *file = dg_fs_join(path, "manifest.json");
    if (!file)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory while describing it", path));
    DG_TRY(dg_manifest_load(ctx, file, &manifest));
    status = dg_inspect_done(ctx, path,
                             json_pack("{s:s, s:o, s:b, s:I, s:o, s:o, s:s, s:O}", "kind", "synthetic images", "path",
                                       dg_json_text(path), "complete", dg_inspect_has(path, "DONE"), "images",
                                       (json_int_t)manifest.num_images, "classes", synthetic_classes(&manifest),
                                       "program", dg_json_text(manifest.program), "model_sha256", manifest.model_sha256,
                                       "options", manifest.options),
                             result);
done:
    dg_manifest_free(&manifest);
    free(file);
    return status;
}

/* ---- one image -----------------------------------------------------------------------------------------------------
 */

static bool is_png(const char *bytes, size_t size) {
    return size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0;
}

/* Whether it can be decoded at all is the data room's judgement, for PNG as well. */
dg_status dg_inspect_image(dg_ctx *ctx, const char *path, json_t **result) {
    char *bytes = NULL, reason[DG_REASON_BYTES] = "";
    size_t size = 0;
    dg_image_info info = {0};
    dg_png_info png = {0};
    dg_status status = DG_OK;
    DG_TRY(dg_fs_read_file(ctx, path, MAX_IMAGE_BYTES, &bytes, &size));
    if (dg_image_probe(bytes, size, NULL, &info, reason) != DG_OK)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: %s", path, reason));
    if (is_png(bytes, size))
        DG_TRY(dg_png_read_info(ctx, path, &png));
    status = dg_inspect_done(ctx, path,
                             json_pack("{s:s, s:o, s:i, s:i, s:i, s:i, s:b, s:i, s:b, s:I, s:o, s:o}", "kind", "image",
                                       "path", dg_json_text(path), "width", info.width, "height", info.height,
                                       "channels", info.channels, "bits", info.bits, "alpha", info.alpha, "orientation",
                                       info.orientation ? info.orientation : 1, "more_frames", info.more_frames,
                                       "file_bytes", (json_int_t)size, "provenance",
                                       png.provenance ? json_incref(png.provenance) : json_null(), "parameters",
                                       dg_json_text(png.parameters)),
                             result);
done:
    dg_png_info_free(&png);
    free(bytes);
    return status;
}
