/* What the model sees: a contact sheet of a data set's own images, after everything that reading does to them.
 * Order: dg_dataset_open (not for its headers alone) -> dg_data_sheet_write. */
#ifndef DG_SHEET_DATA_SHEET_H
#define DG_SHEET_DATA_SHEET_H

#include "data/dataset.h"

/* A row for each class (of very many the first), some images in it, spread over the class; of a set without classes
 * several rows. The same images give the same file.
 * in    private  the sheet says that it shows private images
 * err   DG_EDATA a file changed since the data set was opened; DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_data_sheet_write(dg_ctx *ctx, const char *path, const dg_dataset *dataset, bool private);

#endif
