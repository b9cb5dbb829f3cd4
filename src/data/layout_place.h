/* Which of a tree's files are the set that was asked for, and where in their paths the names of classes begin: a
 * wrapping folder is descended into, one split is read, one part of each sample is. The same for folders, archives and
 * shards. Internal to the data room. */
#ifndef DG_DATA_LAYOUT_PLACE_H
#define DG_DATA_LAYOUT_PLACE_H

#include "data/layout_level.h"

typedef struct dg_place {
    dg_layout *layout;
    const char *path;  /* names the data set in messages */
    const char *split; /* --split; NULL: train where there are splits */
    const char *part;  /* --part; NULL: the images themselves */
    bool split_taken;  /* a level had splits, and one of them is read */
    bool part_taken;   /* what --part names was found, or samples have parts */
    bool split_alone;  /* --split names a folder that holds everything */
} dg_place;

/* Sets base and left_out of every file.
 * err   DG_EDATA two readings; DG_EUSAGE no such split or part; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_place_files(dg_ctx *ctx, dg_tree *tree, dg_place *place);

/* layout_split.c: decides about one level; where a split is taken, the files are marked and the level is spent.
 * in    above: NULL, or the level of class folders that `level` lies below */
DG_MUST_CHECK dg_status dg_place_split(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level,
                                       const dg_level *above, bool *taken);

/* layout_split.c: where no folder is called like a split but every image is (train_001.png, test_001.png), of at least
 * two roles, training's one of them: those of one split are left. */
DG_MUST_CHECK dg_status dg_place_split_files(dg_ctx *ctx, dg_tree *tree, dg_place *place);
/* layout_parts.c: the same for images/ beside masks/. */
DG_MUST_CHECK dg_status dg_place_part(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level,
                                      const dg_level *above, bool *taken);
/* layout_parts.c: of samples whose files lie side by side one is left.
 * err DG_EDATA keys of WebDataset that hold dots */
DG_MUST_CHECK dg_status dg_place_file_parts(dg_ctx *ctx, dg_tree *tree, dg_place *place);

#endif
