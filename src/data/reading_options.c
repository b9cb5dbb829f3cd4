#include "data/reading_options.h"

#include <stdio.h>
#include <string.h>

static const char *const fit_names[] = {"crop", "pad", "stretch"};

#include "core/fs.h"

#include <string.h>

dg_status dg_reading_check(dg_ctx *ctx, const dg_reading_options *options) {
    const dg_int_pair *window = &options->window;
    dg_colour colour;
    if (window->set && window->first >= window->second)
        return dg_fail(ctx, DG_EUSAGE, "--window %lld:%lld is empty; LO must be below HI", (long long)window->first,
                       (long long)window->second);
    if (options->background && !dg_colour_parse(options->background, &colour))
        return dg_fail(ctx, DG_EUSAGE, "--background %s: no such colour; it takes " DG_COLOUR_NAMES,
                       options->background);
    return DG_OK;
}

dg_status dg_reading_apply(dg_ctx *ctx, const dg_reading_options *options, dg_dataset_options *dataset) {
    dataset->label_column = options->label_column;
    dataset->metadata = options->metadata;
    dataset->file_column = options->file_column;
    dataset->max_pixels = options->max_pixels;
    dataset->strict = options->strict;
    dataset->split = options->split;
    dataset->part = options->part;
    dataset->allow_skips = options->allow_skips;
    dataset->window = options->window.set;
    dataset->window_lo = (int)options->window.first;
    dataset->window_hi = (int)options->window.second;
    dataset->auto_window = options->window.word;
    dataset->fit = options->fit;
    dataset->background = options->background;
    return dg_reading_check(ctx, options);
}

void dg_reading_follow(const dg_dataset *first, dg_dataset_options *dataset) {
    dataset->resolution = dg_dataset_resolution(first);
    dataset->channels = dg_dataset_channels(first);
    dataset->window = dg_dataset_window(first, &dataset->window_lo, &dataset->window_hi);
    dataset->auto_window = false;
}

void dg_reading_synthetic(dg_dataset_options *dataset) {
    dataset->window = dataset->auto_window = false;
    dataset->split = "none";
    dataset->part = "all";
    /* A table the user names is of the real images, and so is the name of its column. */
    if (dataset->metadata)
        dataset->label_column = NULL;
    dataset->metadata = dataset->file_column = NULL;
}

dg_status dg_reading_check_out(dg_ctx *ctx, const char *out, const char *fallback, const char *option,
                               const char *images) {
    if (!out || !images || (fallback && strcmp(out, fallback) == 0) || !dg_fs_is_inside(out, images))
        return DG_OK;
    return dg_fail(ctx, DG_EUSAGE,
                   "--out %s lies in the images of %s %s: what is written there would be taken for some of them; name "
                   "another folder",
                   out, option, images);
}

json_t *dg_reading_to_json(const dg_dataset *dataset) {
    int lo, hi;
    char background[8];
    const dg_colour c = dg_dataset_background(dataset);
    snprintf(background, sizeof background, "#%02x%02x%02x", c.red, c.green, c.blue);
    json_t *json = json_pack("{s:s, s:s}", "fit", fit_names[dg_dataset_fit(dataset)], "background", background);
    if (dg_dataset_window(dataset, &lo, &hi))
        dg_json_set(&json, "window", json_pack("[i, i]", lo, hi));
    return json;
}

void dg_reading_from_json(const json_t *recorded, const dg_reading_options *options, dg_dataset_options *dataset) {
    const char *fit = json_string_value(json_object_get(recorded, "fit"));
    const char *background = json_string_value(json_object_get(recorded, "background"));
    const json_t *window = json_object_get(recorded, "window");
    const json_t *lo = json_array_get(window, 0), *hi = json_array_get(window, 1);
    dg_colour colour;
    for (int i = 0; fit && options->fit == DG_FIT_CROP && i <= DG_FIT_STRETCH; i++)
        if (strcmp(fit, fit_names[i]) == 0)
            dataset->fit = (dg_fit)i;
    if (!options->background && background && dg_colour_parse(background, &colour))
        dataset->background = background;
    if (!options->window.set && !options->window.word && json_is_integer(lo) && json_is_integer(hi)) {
        dataset->window = true;
        dataset->window_lo = (int)json_integer_value(lo);
        dataset->window_hi = (int)json_integer_value(hi);
    }
}
