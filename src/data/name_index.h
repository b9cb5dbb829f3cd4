/* Which file of a tree a name in a table means. Exactly that file where there is one; else the only file whose name is
 * the same but for what programs and people change on the way: '\' for '/', capitals, composed or decomposed accents,
 * a missing extension, folders in front. Several such files are no answer. Internal to the data room.
 * Order: zero-initialise -> dg_name_find, any number of times -> dg_name_index_free. */
#ifndef DG_DATA_NAME_INDEX_H
#define DG_DATA_NAME_INDEX_H

#include "data/tree.h"

typedef struct dg_name_entry {
    char *key; /* folded, the file's own name first, then its folders outwards, each with a '/' behind it */
    size_t file;
} dg_name_entry;

typedef struct dg_name_index {
    const dg_tree *tree;
    size_t finished_count; /* files in the tree when it was finished */
    bool built;            /* entries are made when a name is not found exactly */
    dg_name_entry *entries;
    size_t count, capacity;
} dg_name_index;

typedef enum dg_name_match { DG_NAME_NONE, DG_NAME_EXACT, DG_NAME_ALIKE, DG_NAME_SEVERAL } dg_name_match;

/* in    path   a name below the tree's root that may mean something: normalised (dg_path_normalise)
 *       folder  length of its part that is a folder of the tree: only files below that are candidates
 * out   *file of DG_NAME_EXACT and DG_NAME_ALIKE
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_name_find(dg_ctx *ctx, dg_name_index *index, const char *path, size_t folder, size_t *file,
                                     dg_name_match *match);
void dg_name_index_free(dg_name_index *index);

#endif
