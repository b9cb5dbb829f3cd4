/* Labels from files beside the images: metadata.csv and metadata.jsonl (Hugging Face imagefolder), dataset.json (EDM,
 * StyleGAN), or a table the user names. Names in them are looked up in the tree, never opened, so they cannot lead out
 * of it; names that try to are refused all the same, because such a file was not made by an honest program.
 * Internal to the data room.
 *
 * metadata_files.c   which files those are: in the tree, beside an archive, or named by --metadata
 * source_metadata.c  reads tables, source_edm.c dataset.json
 * metadata_rows.c    what both do with a row: find its file, take its label
 * table_notes.c      tables that lie there and are not used */
#ifndef DG_DATA_METADATA_H
#define DG_DATA_METADATA_H

#include "data/layout.h"
#include "data/name_index.h"
#include "data/table.h"

/* A file that may hold labels. */
typedef struct dg_label_file {
    char *where;  /* names it in messages; its extension says what it is */
    char *folder; /* names in it are below this part of the tree: "" or "folder/" */
    int64_t file; /* in the tree; -1: on disk at `where` */
} dg_label_file;

typedef struct dg_metadata {
    dg_ctx *ctx;
    dg_tree *tree;
    dg_layout *layout;
    const dg_dataset_options *options;
    dg_name_index names;
    uint8_t *listed; /* per file of the tree: a row names it */
    bool named;      /* the user named the file: --metadata */
    bool labels;     /* some row has a label; if not, the set has none */
    int64_t alike;   /* rows whose file has not exactly that name */
    int64_t absent;  /* rows of a named file whose image is not there */
} dg_metadata;

/* ---- metadata_files.c ---- */

/* Is --metadata none, so that all such files are left alone? */
bool dg_metadata_is_off(const dg_dataset_options *options);
/* Files of that name in the tree, at least one part of the set in each; if there are none and the data set is one
 * archive, the file of that name beside it.
 * out   *files, free with dg_label_files_free, also on failure */
DG_MUST_CHECK dg_status dg_label_files_find(dg_metadata *m, const char *name, dg_label_file **files, size_t *count);
/* The one file that --metadata names: on disk, else in the tree. err DG_ENOINPUT neither */
DG_MUST_CHECK dg_status dg_label_files_named(dg_metadata *m, dg_label_file **files, size_t *count);
/* Its bytes; *owned is what to free. err DG_EDATA, DG_ENOINPUT, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_label_file_load(dg_metadata *m, const dg_label_file *file, const char **bytes, size_t *size,
                                           void **owned);
void dg_label_files_free(dg_label_file *files, size_t count);

/* ---- metadata_rows.c ---- */

DG_MUST_CHECK dg_status dg_metadata_begin(dg_metadata *m, dg_ctx *ctx, dg_tree *tree, const dg_dataset_options *options,
                                          dg_layout *layout);
/* Which file a name in a label file means: normalised and looked up.
 * out   *path  malloc'ed: what was looked for; NULL: the name leads out of the folder
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_metadata_look_up(dg_metadata *m, const dg_label_file *from, const char *name, char **path,
                                            size_t *file, dg_name_match *match);
/* One row: the file it names gets the label (NULL: the row has none).
 * in    unit, number  where that is: "line", 7
 * err   DG_EDATA the name leads out of the folder; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_metadata_add(dg_metadata *m, const dg_label_file *from, const char *unit, int64_t number,
                                        const char *name, const char *label);
/* Counts the images that no row names, and says what is to be said. */
DG_MUST_CHECK dg_status dg_metadata_finish(dg_metadata *m);
void dg_metadata_free(dg_metadata *m);

/* ---- source_edm.c ---- */

/* in    files  dataset.json files, or the .json file that --metadata names
 * out   *found false: none is of the form that is read */
DG_MUST_CHECK dg_status dg_metadata_read_edm(dg_metadata *m, const dg_label_file *files, size_t count, bool *found);

/* ---- table_notes.c ---- */

/* A column whose cells name images of the set, by the first rows: -1 none. The table is read from where it stands. */
DG_MUST_CHECK dg_status dg_table_file_column(dg_metadata *m, const dg_label_file *from, dg_table *table,
                                             int64_t *column);
/* Does any row name an image of the set? The table is read to its end or to that row. */
DG_MUST_CHECK dg_status dg_table_names_any(dg_metadata *m, const dg_label_file *from, dg_table *table, int64_t column,
                                           bool *any);

#endif
