/* Names in archives that are not UTF-8: old ZIP programs wrote what their system used. Internal to the data room. */
#ifndef DG_DATA_LEGACY_NAMES_H
#define DG_DATA_LEGACY_NAMES_H

#include "data/tree.h"

/* One encoding is found for all names of an archive that are not UTF-8, and these names are written anew; a remark of
 * the tree says so. Names that fit none of the encodings known here stay as they are.
 * in    first  index of the archive's first file in the tree, which is not finished yet; where names the archive
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_legacy_names_decode(dg_ctx *ctx, dg_tree *tree, size_t first, const char *where);

#endif
