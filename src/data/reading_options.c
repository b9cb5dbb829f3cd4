#include "data/reading_options.h"

void dg_reading_apply(const dg_reading_options *options, dg_dataset_options *dataset) {
    dataset->label_column = options->label_column;
    dataset->max_pixels = options->max_pixels;
    dataset->strict = options->strict;
    dataset->split = options->split;
    dataset->part = options->part;
    dataset->allow_skips = options->allow_skips;
}
