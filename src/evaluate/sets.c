/* The three sets of images, decoded to one size, with the classes of the real one. */
#include "data/hash_index.h"
#include "evaluate/evaluation.h"

#include <stdlib.h>
#include <string.h>

static const char *const option_names[DG_SIDES] = {"--real", "--holdout", "--synthetic"};

typedef struct progress_user {
    const dg_evaluation *e;
    const char *part;
} progress_user;

static void forward_progress(void *user, int64_t done, int64_t total) {
    const progress_user *p = user;
    dg_evaluation_progress(p->e, p->part, done, total);
}

static dg_status open_set(dg_evaluation *e, dg_side side) {
    static const char *const parts[DG_SIDES] = {"reading the real images", "reading the held-out images",
                                                "reading the synthetic images"};
    dg_status status = DG_OK;
    dg_evaluation_set *s = &e->sets[side];
    const dg_dataset *real = e->sets[DG_REAL].dataset;
    progress_user user = {e, parts[side]};
    dg_dataset_options options = dg_dataset_options_default();
    options.path = s->path;
    options.resolution = (int)e->options->resolution;
    DG_TRY(dg_reading_apply(e->ctx, &e->options->reading, &options));
    if (real)
        dg_reading_follow(real, &options);
    if (side == DG_SYNTHETIC)
        dg_reading_synthetic(&options);
    options.unconditional = e->options->unconditional;
    options.threads = e->lanes;
    options.progress = forward_progress;
    options.progress_user = &user;
    DG_TRY(dg_dataset_open(e->ctx, &options, &s->dataset));
    dg_dataset_say(e->ctx, s->dataset, option_names[side]);
    DG_TRY(dg_image_set_load(e->ctx, s->dataset, e->lanes, &s->images));
    if (s->images.n < DG_EVALUATE_MIN_IMAGES)
        DG_TRY(dg_fail(e->ctx, DG_EDATA, "%s %s: %lld image%s, at least %d are needed for any comparison",
                       option_names[side], s->path, (long long)s->images.n, s->images.n == 1 ? "" : "s",
                       DG_EVALUATE_MIN_IMAGES));
done:
    return status;
}

/* ---- classes ---- */

static int32_t class_of_name(const dg_evaluation *e, const char *name) {
    for (int32_t c = 0; c < e->classes; c++)
        if (strcmp(e->class_names[c], name) == 0)
            return c;
    return -1;
}

/* Labels of another set as classes of the real one. */
static dg_status align_classes(dg_evaluation *e, dg_side side) {
    dg_status status = DG_OK;
    dg_evaluation_set *s = &e->sets[side];
    const int32_t own = dg_dataset_class_count(s->dataset);
    int32_t *map = NULL;
    if (e->classes == 1) {
        memset(s->images.labels, 0, (size_t)s->images.n * sizeof *s->images.labels);
        return DG_OK;
    }
    if (own == 1 && !*dg_dataset_class_name(s->dataset, 0))
        return dg_fail(e->ctx, DG_EDATA,
                       "%s %s has no labels, but the real images have %d "
                       "classes; give --unconditional to leave all "
                       "labels out of account",
                       option_names[side], s->path, e->classes);
    DG_TRY(dg_alloc(e->ctx, &map, (size_t)own, sizeof *map, "classes"));
    for (int32_t c = 0; c < own; c++) {
        const char *name = dg_dataset_class_name(s->dataset, c);
        map[c] = class_of_name(e, name);
        if (map[c] < 0 && dg_dataset_class_images(s->dataset, c) > 0)
            DG_TRY(dg_fail(e->ctx, DG_EDATA,
                           "%s %s has a class '%s' that the real images do not have (theirs: %s, ...); class folders "
                           "must have the same names, or give --unconditional",
                           option_names[side], s->path, name, e->class_names[0]));
    }
    for (int64_t i = 0; i < s->images.n; i++)
        s->images.labels[i] = map[s->images.labels[i]];
done:
    free(map);
    return status;
}

/* ---- groups ---- */

static int32_t group_of_name(const dg_evaluation *e, const char *name) {
    for (int32_t g = 0; g < e->groups; g++)
        if (strcmp(e->group_names[g], name) == 0)
            return g;
    return -1;
}

static dg_status add_group(dg_evaluation *e, const char *name, int32_t *out) {
    *out = group_of_name(e, name);
    if (*out >= 0 || !*name)
        return DG_OK;
    char **names = realloc(e->group_names, (size_t)(e->groups + 1) * sizeof *names);
    char *copy = strdup(name);
    if (names)
        e->group_names = names;
    if (!names || !copy) {
        free(copy);
        return dg_fail(e->ctx, DG_ENOMEM, "no memory for the groups");
    }
    *out = e->groups;
    e->group_names[e->groups++] = copy;
    return DG_OK;
}

static int64_t item_of_path(const dg_dataset *dataset, const char *path) {
    int64_t low = 0, high = dg_dataset_count(dataset);
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        const int order = strcmp(dg_dataset_item(dataset, middle)->path, path);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

/* The same files once more, with the group column as their label. */
static dg_status read_groups(dg_evaluation *e, dg_side side) {
    dg_status status = DG_OK;
    dg_evaluation_set *s = &e->sets[side];
    dg_dataset *grouped = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = s->path;
    DG_TRY(dg_reading_apply(e->ctx, &e->options->reading, &options));
    if (side == DG_SYNTHETIC)
        dg_reading_synthetic(&options);
    options.label_column = e->options->group_column;
    options.allow_skips = true; /* of images without a group another message tells */
    options.probe_only = true;
    status = dg_dataset_open(e->ctx, &options, &grouped);
    if (status == DG_EUSAGE && side != DG_REAL) { /* this set does not have the column */
        dg_ctx_clear_error(e->ctx);
        return DG_OK;
    }
    if (status == DG_EUSAGE || status == DG_EDATA)
        status = dg_evaluation_blame(e, status, "--group-column", e->options->group_column);
    DG_TRY(status);
    DG_TRY(dg_alloc(e->ctx, &s->group, (size_t)s->images.n, sizeof *s->group, "groups"));
    for (int64_t i = 0; i < s->images.n; i++) {
        const int64_t at = item_of_path(grouped, dg_dataset_item(s->dataset, i)->path);
        const char *name = at >= 0 ? dg_dataset_class_name(grouped, dg_dataset_item(grouped, at)->label) : "";
        s->group[i] = -1;
        if (*name)
            DG_TRY(add_group(e, name, &s->group[i]));
    }
    if (side == DG_REAL && e->groups == 0)
        DG_TRY(dg_fail(e->ctx, DG_EDATA, "--group-column %s: no image of %s has a group", e->options->group_column,
                       s->path));
done:
    dg_dataset_free(grouped);
    return status;
}

/* ---- leakage ---- */

/* Held-out images that were trained on, as a file or pixel by pixel, are no scale for copying and no test. */
static dg_status count_leaked(const dg_evaluation *e, int64_t *leaked) {
    dg_status status = DG_OK;
    const dg_evaluation_set *real = &e->sets[DG_REAL], *holdout = &e->sets[DG_HOLDOUT];
    const int64_t n = holdout->images.n;
    bool *known = NULL;
    *leaked = 0;
    DG_TRY(dg_alloc(e->ctx, &known, (size_t)n, sizeof *known, "held-out images"));
    DG_TRY(dg_hash_index_shared(e->ctx, holdout->dataset, &holdout->images, real->dataset, &real->images, e->lanes,
                                known));
    for (int64_t i = 0; i < n; i++)
        *leaked += known[i];
    if (*leaked == n)
        DG_TRY(
            dg_fail(e->ctx, DG_EDATA,
                    "--holdout %s: all %lld images are in --real %s as well; give images that the generator never saw",
                    holdout->path, (long long)n, real->path));
    if (*leaked > 0)
        dg_log(e->ctx, DG_LOG_WARN,
               "--holdout %s: %lld of %lld images are in --real %s as well; copying looks more normal than it is",
               holdout->path, (long long)*leaked, (long long)n, real->path);
done:
    free(known);
    return status;
}

/* ---- the section ---- */

static json_t *describe_set(const dg_evaluation_set *s) {
    const dg_dataset_report *r = dg_dataset_get_report(s->dataset);
    return json_pack("{s:I, s:s, s:s, s:I, s:I, s:[i, i], s:[i, i]}", "images", (json_int_t)s->images.n, "layout",
                     r->layout, "fingerprint", dg_dataset_fingerprint(s->dataset), "skipped", (json_int_t)r->skipped,
                     "duplicates", (json_int_t)r->duplicates, "widths", r->min_width, r->max_width, "heights",
                     r->min_height, r->max_height);
}

static json_t *describe(const dg_evaluation *e, int64_t leaked) {
    static const char *const names[DG_SIDES] = {"real", "holdout", "synthetic"};
    const dg_image_set *real = &e->sets[DG_REAL].images;
    json_t *classes = json_array(), *section;
    for (int32_t c = 0; c < e->classes && e->classes > 1; c++)
        dg_json_append(&classes, dg_json_text(e->class_names[c]));
    section = json_pack("{s:i, s:i, s:i, s:o}", "resolution", real->w, "channels", real->channels, "bits", real->bits,
                        "classes", classes);
    for (int s = 0; s < DG_SIDES; s++)
        dg_json_set(&section, names[s], e->sets[s].dataset ? describe_set(&e->sets[s]) : json_null());
    if (e->sets[DG_HOLDOUT].dataset)
        dg_json_set(&section, "holdout_in_real", json_integer(leaked));
    return section;
}

dg_status dg_evaluation_load(dg_evaluation *e) {
    dg_status status = DG_OK;
    const dg_dataset *real;
    int64_t leaked = 0;
    for (int side = 0; side < DG_SIDES; side++)
        if (e->sets[side].path)
            DG_TRY(open_set(e, (dg_side)side));
    real = e->sets[DG_REAL].dataset;
    e->classes = dg_dataset_is_conditional(real) ? dg_dataset_class_count(real) : 1;
    DG_TRY(dg_alloc(e->ctx, &e->class_names, (size_t)e->classes, sizeof *e->class_names, "classes"));
    for (int32_t c = 0; c < e->classes; c++)
        e->class_names[c] = dg_dataset_class_name(real, c);
    for (int side = 0; side < DG_SIDES; side++)
        if (e->sets[side].path)
            DG_TRY(align_classes(e, (dg_side)side));
    for (int side = 0; side < DG_SIDES && e->options->group_column; side++)
        if (e->sets[side].path)
            DG_TRY(read_groups(e, (dg_side)side));
    if (e->sets[DG_HOLDOUT].path)
        DG_TRY(count_leaked(e, &leaked));
    DG_TRY(dg_report_add(e, "data", describe(e, leaked)));
done:
    return status;
}
