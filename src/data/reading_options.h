/* How images are to be read: options that every command with a data set takes, spelled and explained once.
 * A command embeds dg_reading_options in its struct as `reading`, puts DG_READING_OPTIONS into its table, and calls
 * dg_reading_apply for each data set it opens. */
#ifndef DG_DATA_READING_OPTIONS_H
#define DG_DATA_READING_OPTIONS_H

#include "core/options.h"
#include "data/dataset.h"

typedef struct dg_reading_options {
    char *label_column; /* of a metadata file; NULL: "label" */
    char *metadata;     /* file with the labels, or "none"; NULL: metadata.csv, metadata.jsonl, dataset.json */
    char *file_column;  /* of a metadata file; NULL: "file_name" */
    int64_t max_pixels; /* larger images are left out */
    char *split;        /* the one of several to read; NULL: train */
    char *part;         /* of samples of several files; NULL: the image itself */
    bool allow_skips;   /* more than half of the images may fall away */
    dg_int_pair window; /* values that become black and white; the word is "auto" */
    dg_fit fit;
    char *background; /* NULL: white */
    bool strict;      /* the first unusable file fails the command */
} dg_reading_options;

/* Entries of an option table. S: the table's struct; heading: their group. */
#define DG_READING_OPTIONS(S, heading)                                                                                 \
    {.name = "label-column",                                                                                           \
     DG_OPT_STRING(S, reading.label_column),                                                                           \
     .metavar = "NAME",                                                                                                \
     .group = heading,                                                                                                 \
     .help = "Column or key of the metadata file that holds the class; label unless given."},                          \
        {.name = "metadata",                                                                                           \
         DG_OPT_STRING(S, reading.metadata),                                                                           \
         .metavar = "FILE|none",                                                                                       \
         .group = heading,                                                                                             \
         .help = "Table (CSV, TSV, JSON Lines) or dataset.json that names the images and their classes: a path, or "   \
                 "one inside the data set. none: no such file is used. Unless given, metadata.csv, metadata.jsonl "    \
                 "or dataset.json of the data set."},                                                                  \
        {.name = "file-column",                                                                                        \
         DG_OPT_STRING(S, reading.file_column),                                                                        \
         .metavar = "NAME",                                                                                            \
         .group = heading,                                                                                             \
         .help = "Column or key of the metadata file that names the image, with or without its extension; "            \
                 "file_name unless given."},                                                                           \
        {.name = "max-pixels",                                                                                         \
         DG_OPT_COUNT(S, reading.max_pixels),                                                                          \
         .flags = DG_OPTION_MUTABLE,                                                                                   \
         .fallback = "67108864",                                                                                       \
         .min = 16,                                                                                                    \
         .max = DG_IMAGE_PIXELS_LIMIT,                                                                                 \
         .group = heading,                                                                                             \
         .help = "Images of more pixels than this are left out as too large; decoding takes up to 48 bytes a pixel."}, \
        {.name = "split",                                                                                              \
         DG_OPT_STRING(S, reading.split),                                                                              \
         .metavar = "NAME",                                                                                            \
         .group = heading,                                                                                             \
         .help = "Split to read where folders, archives or shards are named like splits (train, val, test): a role "   \
                 "or a folder's name; all: every split; none: such names are classes. Unless given, train is read."},  \
        {.name = "part",                                                                                               \
         DG_OPT_STRING(S, reading.part),                                                                               \
         .metavar = "NAME",                                                                                            \
         .group = heading,                                                                                             \
         .help = "Part to read where a sample has several (images/ beside masks/, key.png beside key.seg.png): its "   \
                 "name; all: every file is a sample. Unless given, the image itself is read."},                        \
        {.name = "allow-skips",                                                                                        \
         DG_OPT_BOOL(S, reading.allow_skips),                                                                          \
         .flags = DG_OPTION_MUTABLE,                                                                                   \
         .group = heading,                                                                                             \
         .help = "Go on where more than half of the images cannot be used, instead of refusing the data set (exit "    \
                 "65)."},                                                                                              \
        {.name = "window",                                                                                             \
         DG_OPT_PAIR(S, reading.window),                                                                               \
         .separator = ':',                                                                                             \
         .min = -2147483648.0,                                                                                         \
         .max = 2147483647.0,                                                                                          \
         .word = "auto",                                                                                               \
         .metavar = "LO:HI|auto",                                                                                      \
         .group = heading,                                                                                             \
         .help =                                                                                                       \
             "Values that become black and white, in the files' own scale (medical images of 16 bits). LO below 0 "    \
             "reads 16-bit values as signed. auto: the range that the images use, without rare outliers."},            \
        {.name = "fit",                                                                                                \
         DG_OPT_CHOICE(S, reading.fit),                                                                                \
         .fallback = "crop",                                                                                           \
         .choices = "crop|pad|stretch",                                                                                \
         .group = heading,                                                                                             \
         .help =                                                                                                       \
             "How an image that is not square becomes one: crop keeps its centre, pad keeps all of it between bars "   \
             "of the background, stretch keeps all of it and distorts it."},                                           \
        {.name = "background",                                                                                         \
         DG_OPT_STRING(S, reading.background),                                                                         \
         .metavar = "COLOUR",                                                                                          \
         .group = heading,                                                                                             \
         .help =                                                                                                       \
             "What transparent pixels and the bars of --fit pad show, in the files' own scale: white unless given, "   \
             "black, grey or #rrggbb."},                                                                               \
    {                                                                                                                  \
        .name = "strict", DG_OPT_BOOL(S, reading.strict), .flags = DG_OPTION_MUTABLE, .group = heading,                \
        .help = "Refuse the data set (exit 65) if any file in it cannot be read, instead of skipping that file."       \
    }

/* What cannot be meant. err DG_EUSAGE an empty window, no such colour */
DG_MUST_CHECK dg_status dg_reading_check(dg_ctx *ctx, const dg_reading_options *options);
/* Sets what the options say; leaves the other fields of *dataset alone. The texts are borrowed.
 * err   as dg_reading_check */
DG_MUST_CHECK dg_status dg_reading_apply(dg_ctx *ctx, const dg_reading_options *options, dg_dataset_options *dataset);
/* For another set that is compared with `first`: the same resolution, channels and window, which may have been chosen
 * by looking at the images. After dg_reading_apply. */
void dg_reading_follow(const dg_dataset *first, dg_dataset_options *dataset);
/* For images that diffgen drew: they are what the model saw already, so no window is applied to them again, and they
 * have classes, whatever these are called. */
void dg_reading_synthetic(dg_dataset_options *dataset);

/* Refuses a folder for results that lies in the images, where they would be taken for some of them. The command's own
 * default name is let pass: what is written there is known by its files and left out of reading.
 * in    option  names the images in the message ("--images"); out, images NULL: nothing is refused
 * err   DG_EUSAGE */
DG_MUST_CHECK dg_status dg_reading_check_out(dg_ctx *ctx, const char *out, const char *fallback, const char *option,
                                             const char *images);

/* What a model was trained with, for its diffgen.json: {"fit", "background", "window": [LO, HI], absent if there is
 * none}. New reference; NULL: no memory. */
json_t *dg_reading_to_json(const dg_dataset *dataset);
/* For images that such a model is asked about: what was recorded, where the options leave it open. `recorded` (NULL or
 * anything else: nothing is known) must outlive *dataset. After dg_reading_apply. */
void dg_reading_from_json(const json_t *recorded, const dg_reading_options *options, dg_dataset_options *dataset);

#endif
