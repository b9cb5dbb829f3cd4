/* One level of the tree: the folders and archives that lie directly below what has been descended into so far, as far
 * as there are images in them. What placing (layout_place.c) decides about. Internal to the data room.
 * Order: dg_level_collect -> set the children's fate -> dg_level_apply -> dg_level_free. */
#ifndef DG_DATA_LAYOUT_LEVEL_H
#define DG_DATA_LAYOUT_LEVEL_H

#include "core/text.h"
#include "data/layout.h"
#include "data/split.h"

/* What is to become of a child's files. */
typedef enum dg_fate {
    DG_FATE_KEEP,    /* nothing: its name may be a class */
    DG_FATE_DESCEND, /* its name says nothing about classes */
    DG_FATE_LEAVE    /* not part of the set that was asked for */
} dg_fate;

typedef struct dg_child {
    const char *name; /* in the tree, not terminated */
    size_t length;
    bool archive;    /* an archive: its members are below */
    int64_t images;  /* below it, at any depth */
    int64_t direct;  /* of these, directly in it */
    bool labelled;   /* metadata or WebDataset labels below it */
    int64_t repeats; /* dg_level_repeated: images below folders that are called like other children */
    size_t repeated; /* the last of those children */
    bool several;    /* there are at least two */
    dg_split_name split;
    dg_fate fate;
    dg_left_out why; /* of DG_FATE_LEAVE */
} dg_child;

typedef struct dg_level {
    dg_child *children; /* sorted by name */
    size_t count;
    int64_t beside;  /* images that lie directly in the level, beside the children */
    char *prefix;    /* path of the level: of the first image's, where several archives are read as one */
    int64_t parents; /* depth 1: folders of the level above that have children here */
} dg_level;

/* in    depth 0: what lies directly below; 1: what lies in the folders below, whatever folder it is
 * out   *level, free with dg_level_free, also on failure
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_level_collect(dg_ctx *ctx, const dg_tree *tree, int depth, dg_level *level);
/* Does to the files of the children what their fate says; beside: images that lie beside them are left out too. */
void dg_level_apply(dg_tree *tree, int depth, const dg_level *level, bool beside);
void dg_level_free(dg_level *level);

/* "train/ (12 images), val.tar (3)": children of one fate, at most six by name. */
void dg_level_list(const dg_level *level, dg_fate fate, dg_str *out);
/* A child of depth 0 that holds nothing but folders called like those beside it, two at least (a/, b/, c/a, c/b): NULL
 * if there is none. */
const dg_child *dg_level_repeated(const dg_tree *tree, dg_level *level);
/* A folder on disk at this level without any image below, whose name is of that role: NULL or its path. */
const char *dg_level_empty_split(const dg_tree *tree, const dg_level *level, dg_split_role role);

#endif
