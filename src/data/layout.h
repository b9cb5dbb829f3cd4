/* Which files of a tree are the samples and what their labels are. Internal to the data room.
 * Order: dg_layout_detect -> read samples, skips, notes -> dg_layout_free. */
#ifndef DG_DATA_LAYOUT_H
#define DG_DATA_LAYOUT_H

#include "data/dataset.h"
#include "data/tree.h"

typedef struct dg_sample {
    size_t file; /* in the tree */
    char *label; /* NULL: none */
} dg_sample;

typedef struct dg_layout {
    const char *name;      /* dg_dataset_report.layout */
    bool unconditional;    /* labels are not looked for */
    bool folders;          /* labels are folder names: always sorted bytewise */
    char scope[4096];      /* only files below this path are looked at ("" or "train/") */
    size_t finished_count; /* files in the tree when it was finished: those dg_tree_find knows */
    dg_sample *samples;
    size_t count, capacity;
    dg_skip *skips;
    size_t skip_count, skip_capacity;
    char **notes;
    size_t note_count, note_capacity;
    int64_t ignored;
} dg_layout;

/* in    tree finished; IDX images are appended to it
 *       label_column, unconditional as in dg_dataset_options; path names the data set in errors
 * err   DG_EDATA broken or hostile metadata; DG_EUSAGE no such label column; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_layout_detect(dg_ctx *ctx, dg_tree *tree, const char *path, const char *label_column,
                                         bool unconditional, dg_layout *layout);
void dg_layout_free(dg_layout *layout);

/* For the detectors: */
/* Adds a sample; label is copied, NULL for none. A file added before is an error only with another label. */
DG_MUST_CHECK dg_status dg_layout_add(dg_ctx *ctx, dg_layout *layout, size_t file, const char *label);
/* Counts and keeps an unusable file. */
DG_MUST_CHECK dg_status dg_layout_skip(dg_ctx *ctx, dg_layout *layout, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
DG_MUST_CHECK dg_status dg_layout_note(dg_ctx *ctx, dg_layout *layout, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool dg_layout_in_scope(const dg_layout *layout, const char *path);
/* NULL or why it cannot name a class: empty, too long, not UTF-8, control characters. */
const char *dg_label_problem(const char *label);

/* Each looks for its own kind: *found false leaves everything as it was (but may leave a note). */
DG_MUST_CHECK dg_status dg_layout_metadata(dg_ctx *ctx, dg_tree *tree, const char *label_column, dg_layout *layout,
                                           bool *found);
DG_MUST_CHECK dg_status dg_layout_edm(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_webdataset(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_idx(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_folders(dg_ctx *ctx, dg_tree *tree, dg_layout *layout);

#endif
