/* The manifest of a folder of synthetic images: which file is which class, image number and seed, and its SHA-256.
 * Text in, checked structure out, and back. src/io/output.h uses it to fill and verify such a folder. */
#ifndef DG_IO_MANIFEST_H
#define DG_IO_MANIFEST_H

#include "core/hash.h"
#include "core/json.h"
#include "core/text.h"

typedef struct dg_manifest_image {
    int64_t class_index; /* -1: unconditional */
    int64_t index;       /* the image's number */
    int64_t seed;
    char sha256[DG_SHA256_HEX];
} dg_manifest_image;

/* Zero-initialise; free with dg_manifest_free. */
typedef struct dg_manifest {
    char *program; /* "diffgen 0.1.0" */
    char model_sha256[DG_SHA256_HEX];
    json_t *options;           /* object: what the bytes depend on, beside the model */
    char **class_names;        /* [num_classes], valid UTF-8 */
    char **folders;            /* [num_classes] dg_manifest_folder of each name; NULL if unconditional */
    json_t *class_index;       /* name -> number */
    int64_t num_classes;       /* 0 = unconditional: every image is in the folder "images" */
    dg_manifest_image *images; /* parsed ones strictly ascending by class_index, then index */
    int64_t num_images, capacity;
} dg_manifest;

/* A class name as a folder name: UTF-8 kept. Characters that file systems give a meaning ('/', ':', '%' and so on),
 * control characters, bytes that are not UTF-8, a leading '.' and a trailing '.' or space become %XX; so does the first
 * character of a name diffgen uses for its own files. Very long names are cut and end in a hash. Different names give
 * different folders. malloc'ed; NULL: no memory. */
char *dg_manifest_folder(const char *class_name);
/* "<folder>/000012.png", relative to the output folder. malloc'ed; NULL: no memory. */
char *dg_manifest_file(const dg_manifest *manifest, int64_t class_index, int64_t index);

/* Everything but the images. options and class_names are copied.
 * err   DG_EINVAL two classes of one name, a name that is not UTF-8, a malformed hash; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_manifest_init(dg_ctx *ctx, dg_manifest *manifest, const char *model_sha256,
                                         const json_t *options, const char *const *class_names, int64_t num_classes);
/* Reads manifest.json, a shard's part or job.json (the same without images). Every "file" must be exactly what
 * dg_manifest_file gives for its class and index, which no absolute path, ".." or link name can be.
 * where  names the source in errors
 * err    DG_EDATA; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_manifest_parse(dg_ctx *ctx, const char *where, const char *text, size_t size,
                                          dg_manifest *manifest);
/* err as dg_manifest_parse; DG_ENOINPUT, DG_EIO */
DG_MUST_CHECK dg_status dg_manifest_load(dg_ctx *ctx, const char *path, dg_manifest *manifest);
/* The same model, options, classes and program?
 * err   `differ` with a text that names what differs, and says `advice` */
DG_MUST_CHECK dg_status dg_manifest_same_job(dg_ctx *ctx, const char *where, const dg_manifest *there,
                                             const dg_manifest *wanted, dg_status differ, const char *advice);
void dg_manifest_free(dg_manifest *manifest); /* NULL is legal */

/* One image as one line of JSON, without the newline: {"class":"cat","file":"cat/000001.png",...}. */
DG_MUST_CHECK dg_status dg_manifest_image_line(dg_ctx *ctx, const dg_manifest *manifest, const dg_manifest_image *image,
                                               dg_str *out);
/* Reads such a line back. err DG_EDATA */
DG_MUST_CHECK dg_status dg_manifest_parse_image(dg_ctx *ctx, const char *where, const dg_manifest *manifest,
                                                const json_t *object, dg_manifest_image *image);
/* Appends an image. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_manifest_add(dg_ctx *ctx, dg_manifest *manifest, const dg_manifest_image *image);
/* In a sorted manifest; NULL if it is not there. */
const dg_manifest_image *dg_manifest_find(const dg_manifest *manifest, int64_t class_index, int64_t index);
/* Sorts images by class and number. err DG_EDATA the same image twice with other seeds or hashes; equal ones merge */
DG_MUST_CHECK dg_status dg_manifest_sort(dg_ctx *ctx, dg_manifest *manifest);

/* Texts of manifest.json (with_images false: job.json), metadata.jsonl (Hugging Face imagefolder) and dataset.json
 * (EDM, StyleGAN). Same manifest, same bytes. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_manifest_text(dg_ctx *ctx, const dg_manifest *manifest, bool with_images, dg_str *out);
DG_MUST_CHECK dg_status dg_manifest_metadata_jsonl(dg_ctx *ctx, const dg_manifest *manifest, dg_str *out);
DG_MUST_CHECK dg_status dg_manifest_dataset_json(dg_ctx *ctx, const dg_manifest *manifest, dg_str *out);

#endif
