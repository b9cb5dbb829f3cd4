/* A data set: found, checked, labelled, decoded. One path goes in - a folder, an archive, an IDX file - and a list of
 * images comes out whose order and contents depend on the files alone, never on directory order or thread count.
 *
 * Order: dg_dataset_options_default -> dg_dataset_open -> look at dg_dataset_report, dg_dataset_split, dg_loader (see
 * loader.h) -> dg_dataset_free. An open data set is read-only and may be used from any number of threads.
 *
 * Where labels come from, first match wins (the explicit before the implied):
 *   metadata.csv / metadata.jsonl   columns file_name and label (or label_column), Hugging Face imagefolder
 *   dataset.json                    {"labels": [["00000/img.png", 6], ...]}, EDM / StyleGAN
 *   key.png + key.cls               WebDataset
 *   *-images-idx3-ubyte[.gz]        with *-labels-idx1-ubyte[.gz] beside it, the MNIST family
 *   *.npz                           of MedMNIST: train_images with train_labels
 *   folder names                    root/<class>/..., torchvision ImageFolder; none: no classes
 * The same inside .zip, .tar, .tar.gz (and what else libarchive reads), and in a folder of such archives. Folders that
 * only wrap others are entered; of splits (train/, validation/, test/, whatever they are called exactly) train is read,
 * or what options.split says; what diffgen wrote itself is left out. docs/data-sets.md has the rules. */
#ifndef DG_DATA_DATASET_H
#define DG_DATA_DATASET_H

#include "core/context.h"
#include "decode/resize.h"

#include <stdint.h>

/* images done of total; one call at a time, from any thread. */
typedef void (*dg_dataset_progress_fn)(void *user, int64_t done, int64_t total);

typedef struct dg_dataset_options {
    const char *path;         /* folder, archive or IDX file; required */
    int resolution;           /* 0: the commonest shorter side, at most auto_limit, rounded down to a multiple of
                               * 4 (below 64) or 16 */
    int auto_limit;           /* upper limit of an automatic resolution */
    int channels;             /* 0: 1 if every image is grey (R = G = B counts), else 3 */
    bool window;              /* map window_lo..window_hi to the full range (see resize.h) */
    int window_lo, window_hi; /* at the data set's bit depth, or on the files' own scale if all have one */
    bool auto_window;         /* in place of these: the range that the images use, without outliers */
    dg_fit fit;               /* what happens to images that are not square */
    const char *background;   /* colour of what is padded; NULL: white */
    const char *label_column; /* of metadata files; NULL: "label", and its absence means unlabelled */
    const char *metadata;     /* file to take labels from, on disk or in the data set; "none": from no such file */
    const char *file_column;  /* of metadata files; NULL: "file_name" */
    const char *split;        /* name of the split to read, "all" or "none" (no names are splits); NULL: train */
    const char *part;         /* of samples with several files: the one to read, or "all"; NULL: the image itself */
    bool unconditional;       /* ignore all labels: one class */
    int64_t max_pixels;       /* larger images are skipped; 0: DG_IMAGE_MAX_PIXELS */
    bool strict;              /* the first bad file fails instead of being skipped */
    bool allow_skips;         /* more than half of the images may fall away */
    int threads;              /* for decoding; 0: one per processor */
    int64_t cache_bytes;      /* decoded images are kept in memory if they all fit; 0: a quarter of the memory */
    int processes;            /* that open it on this machine, each with its share of that quarter; 0: 1 */
    bool probe_only;          /* find, label, hash and check headers, decode nothing: counts, not pixels */
    int64_t look_at;          /* under probe_only: decode so many, spread over the set, to know their values */
    dg_dataset_progress_fn progress; /* NULL: the context's */
    void *progress_user;
} dg_dataset_options;

dg_dataset_options dg_dataset_options_default(void); /* everything automatic, auto_limit 128 */

typedef struct dg_item {
    const char *path;   /* relative to the root, '/' between folders */
    int32_t label;      /* class index */
    int width, height;  /* of the file, before cropping */
    uint8_t sha256[32]; /* of the file's bytes (IDX: of the pixels) */
} dg_item;

typedef struct dg_skip {
    char *path; /* as found: foreign text, see core/printable.h before showing it */
    char *reason;
} dg_skip;

/* Images of the set that are not read. */
typedef struct dg_fall {
    char *reason; /* fits behind "12 ": "not listed in metadata.csv"; of several reasons that differ in numbers only,
                   * the first */
    int64_t images;
} dg_fall;

enum { DG_REPORT_SKIPS = 100 }; /* skips kept with path and reason; all are counted */

/* What was found: for the summary a person reads. */
typedef struct dg_dataset_report {
    const char *layout; /* "folders", "metadata.csv", "metadata.jsonl", "dataset.json", "webdataset", "idx",
                         * "npz", "flat" */
    int64_t ignored;    /* hidden files and files that are not images */
    int64_t skipped;    /* images that cannot be used */
    dg_skip *skips;     /* the first of them by path */
    size_t skips_kept;
    int64_t duplicates;             /* images whose file has the same bytes as an earlier one */
    int64_t conflicting_duplicates; /* of these, the ones with another label */
    int min_width, max_width, min_height, max_height;
    bool mixed_sizes;
    int64_t upscaled; /* shorter side below the resolution */
    int64_t non_square;
    int64_t cropped;                                 /* lose more than a tenth of their longer side */
    int64_t grey, colour, with_alpha, bits8, bits16; /* image counts, by header */
    int64_t looked_at;                               /* images whose pixels were looked at */
    int64_t oriented;                                /* turned or mirrored, as their EXIF data or TIFF tags say */
    int64_t own_scale;                               /* images on a scale of their own (decode.h): DICOM, signed TIFF */
    int64_t more_frames; /* files with further frames or pages, of which the first is used */
    char **notes;        /* whole sentences: an empty class folder, one class only, a split left alone, ... */
    size_t note_count;
    dg_fall *falls; /* images of the set that are not read, by reason, most first */
    size_t fall_count;
    int64_t fallen;        /* their sum */
    const char *fall_note; /* the one of the notes that counts them, or NULL */
    bool loud;             /* more than a tenth, or a whole class, fell away */
} dg_dataset_report;

typedef struct dg_dataset dg_dataset;

/* out   *out, free with dg_dataset_free
 * err   DG_ENOINPUT no such path, or no image in it; DG_EDATA no readable image, hostile or broken archive or metadata,
 *       or any bad file under strict; DG_EUSAGE label_column does not exist, window outside the range, no such colour;
 *       DG_EINTERRUPTED stop requested; DG_ENOMEM, DG_EIO */
DG_MUST_CHECK dg_status dg_dataset_open(dg_ctx *ctx, const dg_dataset_options *options, dg_dataset **out);
void dg_dataset_free(dg_dataset *dataset); /* NULL is legal */

int64_t dg_dataset_count(const dg_dataset *dataset);
const dg_item *dg_dataset_item(const dg_dataset *dataset, int64_t index); /* sorted bytewise by path */
int dg_dataset_resolution(const dg_dataset *dataset);
int dg_dataset_channels(const dg_dataset *dataset); /* probe_only with channels 0: as headers say */
int dg_dataset_bits(const dg_dataset *dataset);     /* 16 if any image has 16, else 8 */
/* The window that is applied, given or automatic; false: none. */
bool dg_dataset_window(const dg_dataset *dataset, int *lo, int *hi);
/* What becomes of images that are not square, and of transparent ones. */
dg_fit dg_dataset_fit(const dg_dataset *dataset);
dg_colour dg_dataset_background(const dg_dataset *dataset);
/* Classes, sorted bytewise (whole numbers: by value). Without labels one class with the name "". */
int32_t dg_dataset_class_count(const dg_dataset *dataset);
const char *dg_dataset_class_name(const dg_dataset *dataset, int32_t label);
int64_t dg_dataset_class_images(const dg_dataset *dataset, int32_t label);
/* true if there are at least two classes to condition on. */
bool dg_dataset_is_conditional(const dg_dataset *dataset);
const dg_dataset_report *dg_dataset_get_report(const dg_dataset *dataset);
/* Logs what the report has to say: the first skipped files by name, all of them by reason, the notes.
 * in    which  names the data set where a command has several ("--real"), or NULL */
void dg_dataset_say(dg_ctx *ctx, const dg_dataset *dataset, const char *which);
bool dg_dataset_is_cached(const dg_dataset *dataset);
int64_t dg_dataset_memory_bytes(const dg_dataset *dataset); /* decoded cache and held archive members */
/* SHA-256 over every (path, class name, file hash) in order, as hex: the identity of the data set. */
const char *dg_dataset_fingerprint(const dg_dataset *dataset);

/* Bytes of one image as the loader delivers it: resolution * resolution * channels * (bits / 8). */
size_t dg_dataset_image_bytes(const dg_dataset *dataset);
/* Pixels of one image, HWC: copied from the cache, or decoded again.
 * err   DG_EDATA the file changed or is gone since it was opened; DG_EINVAL probe_only without look_at; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_read(dg_ctx *ctx, const dg_dataset *dataset, int64_t index, void *pixels);

/* Indices of the images to train on and of a held-out fraction, each ascending. An image's side depends on its file's
 * bytes alone: it stays where it is when other files come, go or are renamed, and duplicates are never split.
 * in    0 <= fraction < 1
 * out   *train, *holdout malloc'ed
 * err   DG_EINVAL fraction out of range; DG_EDATA nothing left to train on; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dataset_split(dg_ctx *ctx, const dg_dataset *dataset, double fraction, int64_t **train,
                                         int64_t *train_count, int64_t **holdout, int64_t *holdout_count);

#endif
