/* From candidates to classes, items and the summary. */
#include "core/text.h"
#include "data/dataset_internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 65536 };

static bool is_number(const char *s) {
    size_t digits = strspn(s, "0123456789");
    return digits > 0 && digits <= 18 && s[digits] == 0 && (s[0] != '0' || digits == 1);
}

static int bytewise(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of canonical whole numbers the shorter is the smaller. */
static int by_value(const void *a, const void *b) {
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    size_t m = strlen(x), n = strlen(y);
    return m != n ? (m > n) - (m < n) : strcmp(x, y);
}

/* All labels, or those of usable images only, sorted and each once. */
static dg_status list_labels(dg_ctx *ctx, const dg_layout *layout, const dg_candidate *candidates, size_t count,
                             bool usable_only, const char ***names, size_t *name_count,
                             int (**order)(const void *, const void *)) {
    dg_status status = dg_alloc(ctx, names, count + 1, sizeof **names, "class names");
    if (status != DG_OK)
        return status;
    const char **list = *names;
    size_t n = 0, kept = 0;
    bool numbers = !layout->folders;
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].bad && usable_only)
            continue;
        list[n++] = candidates[i].label ? candidates[i].label : "";
        numbers = numbers && is_number(list[n - 1]);
    }
    *order = numbers ? by_value : bytewise;
    if (n > 0)
        qsort(list, n, sizeof *list, *order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(list[kept - 1], list[i]) != 0)
            list[kept++] = list[i];
    *name_count = kept;
    return DG_OK;
}

static void fingerprint(dg_dataset *dataset) {
    crypto_hash_sha256_state state;
    uint8_t hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    for (int64_t i = 0; i < dataset->count; i++) {
        const dg_item *item = &dataset->items[i];
        const char *label = dataset->class_names[item->label];
        /* With their NULs, so that no two lists give the same stream of bytes. */
        crypto_hash_sha256_update(&state, (const uint8_t *)item->path, strlen(item->path) + 1);
        crypto_hash_sha256_update(&state, (const uint8_t *)label, strlen(label) + 1);
        crypto_hash_sha256_update(&state, item->sha256, sizeof item->sha256);
    }
    crypto_hash_sha256_final(&state, hash);
    sodium_bin2hex(dataset->fingerprint, sizeof dataset->fingerprint, hash, sizeof hash);
}

dg_status dg_dataset_assemble(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout, const dg_candidate *candidates,
                              size_t count) {
    dg_status status = DG_OK;
    const char **names = NULL;
    size_t name_count = 0;
    int (*order)(const void *, const void *) = NULL;
    DG_TRY(list_labels(ctx, layout, candidates, count, true, &names, &name_count, &order));
    if (name_count > MAX_CLASSES) {
        status =
            dg_fail(ctx, DG_EDATA, "%zu different labels for %zu images; at most %d classes: is it the right column?",
                    name_count, count, MAX_CLASSES);
        goto done;
    }
    DG_TRY(dg_alloc(ctx, &dataset->class_names, name_count + 1, sizeof *dataset->class_names, "class names"));
    DG_TRY(dg_alloc(ctx, &dataset->class_images, name_count + 1, sizeof *dataset->class_images, "class counts"));
    DG_TRY(dg_alloc(ctx, &dataset->items, count + 1, sizeof *dataset->items, "the list of images"));
    DG_TRY(dg_alloc(ctx, &dataset->files, count + 1, sizeof *dataset->files, "the list of images"));
    for (size_t i = 0; i < name_count; i++) {
        dataset->class_names[i] = strdup(names[i]);
        if (!dataset->class_names[i]) {
            status = dg_fail(ctx, DG_ENOMEM, "out of memory for class names");
            goto done;
        }
        dataset->class_count++;
    }
    for (size_t i = 0; i < count; i++) {
        const dg_candidate *c = &candidates[i];
        if (c->bad)
            continue;
        const char *label = c->label ? c->label : "";
        const char **found = bsearch(&label, names, name_count, sizeof *names, order);
        dg_item *item = &dataset->items[dataset->count];
        item->path = dataset->tree.files[c->file].path;
        item->label = (int32_t)(found - names);
        item->width = c->info.width;
        item->height = c->info.height;
        memcpy(item->sha256, c->sha256, sizeof item->sha256);
        dataset->files[dataset->count++] = c->file;
        dataset->class_images[item->label]++;
    }
    fingerprint(dataset);
done:
    free(names);
    return status;
}

static int by_hash(const void *a, const void *b) {
    const dg_item *x = *(const dg_item *const *)a, *y = *(const dg_item *const *)b;
    int order = memcmp(x->sha256, y->sha256, sizeof x->sha256);
    return order ? order : (x > y) - (x < y);
}

static dg_status count_duplicates(dg_ctx *ctx, dg_dataset *dataset) {
    const dg_item **sorted = NULL;
    dg_status status = dg_alloc(ctx, &sorted, (size_t)dataset->count + 1, sizeof *sorted, "looking for duplicates");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < dataset->count; i++)
        sorted[i] = &dataset->items[i];
    if (dataset->count > 0)
        qsort(sorted, (size_t)dataset->count, sizeof *sorted, by_hash);
    for (int64_t i = 1; i < dataset->count; i++) {
        if (memcmp(sorted[i]->sha256, sorted[i - 1]->sha256, sizeof sorted[i]->sha256) == 0) {
            dataset->report.duplicates++;
            dataset->report.conflicting_duplicates += sorted[i]->label != sorted[i - 1]->label;
        }
    }
    free(sorted);
    return DG_OK;
}

static void count_kinds(dg_dataset *dataset, const dg_candidate *candidates, size_t count) {
    dg_dataset_report *report = &dataset->report;
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        const dg_image_info *info = &candidates[i].info;
        if (candidates[i].bad)
            continue;
        if (first) {
            report->min_width = report->max_width = info->width;
            report->min_height = report->max_height = info->height;
            first = false;
        }
        report->min_width = info->width < report->min_width ? info->width : report->min_width;
        report->max_width = info->width > report->max_width ? info->width : report->max_width;
        report->min_height = info->height < report->min_height ? info->height : report->min_height;
        report->max_height = info->height > report->max_height ? info->height : report->max_height;
        int side = info->width < info->height ? info->width : info->height;
        report->upscaled += side < dataset->spec.resolution;
        report->non_square += info->width != info->height;
        report->cropped += dataset->spec.fit == DG_FIT_CROP && 10 * side < 9 * (info->width + info->height - side);
        report->grey += candidates[i].grey;
        report->colour += !candidates[i].grey;
        report->with_alpha += info->alpha;
        report->oriented += info->orientation > 1;
        report->own_scale += info->own_scale;
        report->more_frames += info->more_frames;
        report->bits16 += info->bits == 16;
        report->bits8 += info->bits == 8;
        report->looked_at += candidates[i].values.seen;
    }
    report->mixed_sizes = report->min_width != report->max_width || report->min_height != report->max_height;
}

enum { LOST_SHOWN = 20 };

/* Class folders without a usable image: also those whose images never became candidates, for their format or because
 * the name cannot be a class. */
static dg_status list_lost_folders(dg_ctx *ctx, const dg_dataset *dataset, dg_str *lost) {
    const dg_tree *tree = &dataset->tree;
    const char *before = "";
    size_t before_length = 0, found = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const char *below = dg_layout_below(&tree->files[i]), *slash = below ? strchr(below, '/') : NULL;
        if (!slash || !dg_layout_is_image(&tree->files[i]))
            continue;
        const size_t length = (size_t)(slash - below);
        if (length == before_length && memcmp(before, below, length) == 0)
            continue;
        before = below;
        before_length = length;
        char *name = strndup(below, length);
        if (!name)
            return dg_fail(ctx, DG_ENOMEM, "out of memory for class names");
        const bool known = bsearch(&name, dataset->class_names, (size_t)dataset->class_count,
                                   sizeof *dataset->class_names, bytewise) != NULL;
        if (!known && found++ < LOST_SHOWN)
            dg_str_printf(lost, "%s%s", found > 1 ? ", " : "", name);
        free(name);
    }
    if (found > LOST_SHOWN)
        dg_str_printf(lost, " and %zu more", found - LOST_SHOWN);
    return lost->failed ? dg_fail(ctx, DG_ENOMEM, "out of memory for class names") : DG_OK;
}

/* Names of the classes none of whose images can be used. */
static dg_status list_lost_classes(dg_ctx *ctx, const dg_dataset *dataset, const dg_layout *layout,
                                   const dg_candidate *candidates, size_t count, dg_str *lost) {
    dg_status status = DG_OK;
    const char **names = NULL;
    size_t name_count = 0, kept = 0, found = 0;
    int (*order)(const void *, const void *) = NULL;
    if (layout->folders)
        return dataset->class_count > 0 && dataset->class_names[0][0] ? list_lost_folders(ctx, dataset, lost) : DG_OK;
    DG_TRY(list_labels(ctx, layout, candidates, count, false, &names, &name_count, &order));
    for (size_t i = 0; i < name_count; i++) {
        /* Both lists are in the same order, and the usable classes are some of all. */
        if (kept < (size_t)dataset->class_count && strcmp(names[i], dataset->class_names[kept]) == 0)
            kept++;
        else if (found++ < LOST_SHOWN)
            dg_str_printf(lost, "%s%s", found > 1 ? ", " : "", names[i]);
    }
    if (found > LOST_SHOWN)
        dg_str_printf(lost, " and %zu more", found - LOST_SHOWN);
    if (lost->failed)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for class names");
done:
    free(names);
    return status;
}

/* What of the images the model does not get to see, and what it sees in its place. */
static dg_status note_shapes(dg_ctx *ctx, const dg_dataset *dataset, dg_layout *layout, const char *background) {
    dg_status status = DG_OK;
    const dg_dataset_report *report = &dataset->report;
    if (report->cropped > 0)
        DG_TRY(dg_layout_note(ctx, layout,
                              "%lld of %lld images are far from square and lose both ends of their longer side; --fit "
                              "pad keeps all of them",
                              (long long)report->cropped, (long long)dataset->count));
    if (report->with_alpha > 0)
        DG_TRY(dg_layout_note(ctx, layout, "%lld of %lld images have transparency and show the background there (%s)",
                              (long long)report->with_alpha, (long long)dataset->count,
                              background ? background : "white, see --background"));
done:
    return status;
}

/* What a person should know about the labels and the pixels. */
static dg_status note_kinds(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout, const char *background) {
    dg_status status = DG_OK;
    if (dataset->class_count == 1 && dataset->class_names[0][0])
        DG_TRY(dg_layout_note(ctx, layout,
                              "one class only (%s): there is nothing to condition on, so the model knows no classes",
                              dataset->class_names[0]));
    const dg_dataset_report *report = &dataset->report;
    if (report->mixed_sizes)
        DG_TRY(dg_layout_note(ctx, layout, "images differ in size: %d x %d to %d x %d; all become %d x %d",
                              report->min_width, report->min_height, report->max_width, report->max_height,
                              dataset->spec.resolution, dataset->spec.resolution));
    DG_TRY(note_shapes(ctx, dataset, layout, background));
    if (report->grey > 0 && report->colour > 0)
        DG_TRY(dg_layout_note(ctx, layout, "%lld grey and %lld colour images; all become %s", (long long)report->grey,
                              (long long)report->colour, dataset->spec.channels == 1 ? "grey" : "colour"));
    if (report->more_frames > 0)
        DG_TRY(dg_layout_note(ctx, layout, "%lld files hold more than one frame or page; the first of each is used",
                              (long long)report->more_frames));
    if (report->oriented > 0)
        DG_TRY(dg_layout_note(ctx, layout, "%lld images are turned upright, as their EXIF data or TIFF tags say",
                              (long long)report->oriented));
    if (report->bits8 > 0 && report->bits16 > 0)
        DG_TRY(dg_layout_note(ctx, layout, "%lld images of 8 bits are stretched to the 16 bits of the other %lld",
                              (long long)report->bits8, (long long)report->bits16));
done:
    return status;
}

static int by_skip_path(const void *a, const void *b) {
    return strcmp(((const dg_skip *)a)->path, ((const dg_skip *)b)->path);
}

dg_status dg_dataset_fill_report(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout, const dg_candidate *candidates,
                                 size_t count, const dg_dataset_options *options) {
    dg_status status = DG_OK;
    dg_str lost = {0};
    dg_dataset_report *report = &dataset->report;
    report->layout = layout->name;
    report->ignored = layout->ignored;
    for (size_t i = 0; i < count; i++)
        if (candidates[i].bad)
            DG_TRY(dg_layout_skip(ctx, layout, dataset->tree.files[candidates[i].file].path, "%s",
                                  candidates[i].reason ? candidates[i].reason : "cannot be read"));
    count_kinds(dataset, candidates, count);
    DG_TRY(count_duplicates(ctx, dataset));
    DG_TRY(list_lost_classes(ctx, dataset, layout, candidates, count, &lost));
    DG_TRY(note_kinds(ctx, dataset, layout, options->background));
    DG_TRY(dg_dataset_weigh_falls(ctx, dataset, layout, options, lost.data));
    if (layout->skip_count > 0)
        qsort(layout->skips, layout->skip_count, sizeof *layout->skips, by_skip_path);
    report->skipped = (int64_t)layout->skip_count;
    while (layout->skip_count > DG_REPORT_SKIPS) {
        layout->skip_count--;
        free(layout->skips[layout->skip_count].path);
        free(layout->skips[layout->skip_count].reason);
    }
    report->skips = layout->skips;
    report->skips_kept = layout->skip_count;
    report->notes = layout->notes;
    report->note_count = layout->note_count;
    layout->skips = NULL;
    layout->notes = NULL;
    layout->skip_count = layout->note_count = 0;
done:
    dg_str_free(&lost);
    return status;
}
