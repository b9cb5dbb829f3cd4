/* A check under way: what its parts share. Internal to the check room. Each part adds to `report`. */
#ifndef DG_CHECK_CHECKING_H
#define DG_CHECK_CHECKING_H

#include "check/check.h"
#include "data/image_set.h"
#include "metrics/frechet.h"

typedef struct dg_checking {
    dg_ctx *ctx;
    const dg_check_options *options;
    const dg_check_events *events;
    int lanes;
    dg_dataset *dataset, *holdout; /* holdout NULL = none */
    dg_image_set images, holdout_images;
    int32_t classes; /* 1: unlabelled */
    float *features; /* [n, DG_NATIVE_FEATURES] standardised; NULL for sets too small to train on */
    json_t *report;
} dg_checking;

enum {
    DG_CHECK_LISTED = 200,     /* findings of one kind that are listed; all are counted */
    DG_CHECK_MIN_LEARNT = 200, /* images below which no network is trained */
};

/* "files": sizes, channels, damaged ones; "classes": counts and balance. */
DG_MUST_CHECK dg_status dg_check_files(dg_checking *c);
/* "duplicates", pairs within the images; "leakage", held-out images that are among them, each counted once. */
DG_MUST_CHECK dg_status dg_check_duplicates(dg_checking *c);
/* Trains the feature extractor. */
DG_MUST_CHECK dg_status dg_check_learn(dg_checking *c);
/* "labels": images whose neighbours are of another class; "outliers": images far from all others. */
DG_MUST_CHECK dg_status dg_check_neighbours(dg_checking *c);
/* "triggers": spectral signatures (Tran et al. 2018), class by class. */
DG_MUST_CHECK dg_status dg_check_triggers(dg_checking *c);
/* "patches": windows that many images of one class share pixel by pixel (patches.c). */
DG_MUST_CHECK dg_status dg_check_patches(dg_checking *c);
DG_MUST_CHECK dg_status dg_check_write_page(dg_checking *c, const char *html_path);

void dg_check_progress(const dg_checking *c, const char *part, int64_t done, int64_t total);
/* Path of an image, as JSON. */
json_t *dg_check_path(const dg_dataset *dataset, int64_t image);
const char *dg_check_class(const dg_checking *c, int64_t image);
/* Sets report[name]. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_check_add(dg_checking *c, const char *name, json_t *section);

#endif
