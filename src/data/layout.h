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
    size_t finished_count; /* files in the tree when it was finished: those dg_tree_find knows */
    dg_sample *samples;
    size_t count, capacity;
    dg_skip *skips;
    size_t skip_count, skip_capacity;
    char **notes;
    size_t note_count, note_capacity;
    int64_t ignored;
    dg_fall *falls; /* images of the set that fall away, by reason */
    size_t fall_count, fall_capacity;
    const char *split; /* --split, borrowed; NULL: train where there are splits */
    char *splits_seen; /* "train/ (12 images), ...": what there is where --split names something else */
    bool split_taken;  /* what --split names was found */
} dg_layout;

/* in    tree finished; images of IDX and .npz files are appended to it
 *       options: path (for messages), label_column, metadata, file_column, unconditional, split, part
 * err   DG_EDATA broken or hostile metadata, names that can be read in two ways; DG_EUSAGE no such label column, split
 *       or part; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_layout_detect(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options,
                                         dg_layout *layout);
void dg_layout_free(dg_layout *layout);

/* For the detectors: */
/* Adds a sample; label is copied, NULL for none. A file added before is an error only with another label. */
DG_MUST_CHECK dg_status dg_layout_add(dg_ctx *ctx, dg_layout *layout, size_t file, const char *label);
/* Counts and keeps an unusable file. */
DG_MUST_CHECK dg_status dg_layout_skip(dg_ctx *ctx, dg_layout *layout, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
DG_MUST_CHECK dg_status dg_layout_note(dg_ctx *ctx, dg_layout *layout, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts images of the set that fall away for a reason that fits behind "12 ": "not listed in metadata.csv". */
DG_MUST_CHECK dg_status dg_layout_fall(dg_ctx *ctx, dg_layout *layout, int64_t images, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The file's path from where names of classes begin, or NULL: no part of the set. */
static inline const char *dg_layout_below(const dg_file *file) {
    return file->left_out ? NULL : file->path + file->base;
}
/* Somebody meant it for an image of the set, whether it can be read or not. */
static inline bool dg_layout_is_image(const dg_file *file) {
    return file->kind == DG_FILE_IMAGE || file->kind == DG_FILE_FOREIGN_IMAGE;
}
/* NULL or why it cannot name a class: empty, too long, not UTF-8, control characters. */
const char *dg_label_problem(const char *label);

/* Each looks for its own kind: *found false leaves everything as it was (but may leave a note). */
DG_MUST_CHECK dg_status dg_layout_metadata(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options,
                                           dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_edm(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options, dg_layout *layout,
                                      bool *found);
DG_MUST_CHECK dg_status dg_layout_webdataset(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_idx(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_npz(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found);
DG_MUST_CHECK dg_status dg_layout_folders(dg_ctx *ctx, dg_tree *tree, dg_layout *layout);
/* Names the tables that lie in the tree and that nothing was taken from. */
DG_MUST_CHECK dg_status dg_layout_note_tables(dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options,
                                              dg_layout *layout);

#endif
