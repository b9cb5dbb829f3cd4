/* The inside of a data set: for dataset*.c only. */
#ifndef DG_DATA_DATASET_INTERNAL_H
#define DG_DATA_DATASET_INTERNAL_H

#include "core/hash.h"
#include "data/dataset.h"
#include "data/layout.h"
#include "data/tree.h"
#include "data/values.h"
#include "decode/resize.h"

/* One candidate while a data set is being opened; survivors become dg_items. */
typedef struct dg_candidate {
    size_t file;
    const char *label; /* owned by the layout */
    dg_image_info info;
    uint8_t sha256[32];
    bool bad;
    bool grey;    /* by pixels, once decoded */
    char *reason; /* why it is bad */
    dg_image_values values;
} dg_candidate;

struct dg_dataset {
    dg_tree tree;
    dg_item *items; /* paths point into the tree */
    size_t *files;  /* per item: index in the tree */
    int64_t count;
    char **class_names;
    int64_t *class_images;
    int32_t class_count;
    dg_resize_spec spec;
    uint8_t *cache;  /* count images, or NULL */
    bool probe_only; /* and nothing was decoded */
    dg_decode_options decode;
    dg_dataset_report report;
    char fingerprint[DG_SHA256_HEX];
};

/* Gives every surviving candidate its class index and fills class_names, class_images and items.
 * err DG_EDATA too many classes; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_assemble(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout,
                                            const dg_candidate *candidates, size_t count);
/* Fills the report from the layout and all candidates; takes over the layout's skips, notes and falls. After assembly.
 * err DG_EDATA more than half of the images fall away; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_fill_report(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout,
                                               const dg_candidate *candidates, size_t count,
                                               const dg_dataset_options *options);
/* Counts what falls away by reason, all skips included, into the report.
 * in    lost_classes  names of the classes that fell away whole, or NULL
 * err   DG_EDATA more than half of the images, and options do not allow it; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_weigh_falls(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout,
                                               const dg_dataset_options *options, const char *lost_classes);
/* The pixels of a file of the data set's tree. err DG_EDATA reason filled; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_load(const dg_dataset *dataset, size_t file, dg_image *image, char *reason);

#endif
