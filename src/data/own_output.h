/* What diffgen wrote itself - runs, models, synthetic images, reports - and may lie in a folder of images, since that
 * is where people call it. Known by its own files, never by a folder's name. Internal to the data room. */
#ifndef DG_DATA_OWN_OUTPUT_H
#define DG_DATA_OWN_OUTPUT_H

#include "data/tree.h"

/* A file of that name may say that diffgen wrote its folder; archives keep such members. */
bool dg_own_output_marks(const char *path);
/* Marks every file below such a folder as DG_LEFT_OUTPUT; adds the folders to tree->own_folders. The set itself, the
 * root, may be synthetic images: that is what evaluation reads. May be called again when files have come.
 * in    path  names the data set in errors
 * err   DG_EDATA the root is a run, a model or a report; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_own_output_leave_out(dg_ctx *ctx, dg_tree *tree, const char *path);

#endif
