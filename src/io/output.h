/* A folder of synthetic images while it is being filled: <class>/<number>.png, metadata.jsonl, dataset.json,
 * manifest.json and, last, DONE. Killed at any moment and run again, it ends with the same bytes.
 * Order: dg_output_open -> for each planned image dg_output_has, and if not there dg_output_write (any thread, any
 * order)
 * -> dg_output_finish -> dg_output_close. Several processes may fill one folder, a shard each.
 *
 * How: an image goes to a temporary file, is renamed into place, and then noted in a journal with its hash. An image
 * counts as there only if journal or manifest name it and its bytes have that hash; anything else is drawn again. */
#ifndef DG_IO_OUTPUT_H
#define DG_IO_OUTPUT_H

#include "io/manifest.h"

typedef struct dg_output dg_output;

typedef struct dg_output_job {
    const char *model_sha256;
    const json_t *options; /* an object with everything the bytes depend on, beside the model; the shard is not in it */
    const json_t
        *replaces; /* options of an earlier job for some of these images, which the folder may have; NULL: none */
    const char *const *class_names;
    int64_t num_classes;    /* 0 = unconditional */
    int64_t shard, shards;  /* 0 <= shard < shards; 0 of 1 = everything */
    int64_t planned_images; /* of this shard */
} dg_output_job;

/* Which images a job is for, without which two jobs may make the same image: takes "classes", "first_image" and
 * "ranges" out of its options. NULL is legal. */
void dg_output_strip_plan(json_t *options);

/* Creates the folder or opens one that an earlier call with the same model, options, classes and program began.
 * One that was begun for fewer of the images (job->replaces) becomes this job's; it loses DONE until it is finished.
 * err   DG_ECREATE cannot be created; holds other files; was made by another job (the text says what differs);
 *       DG_EINTERRUPTED another process fills this shard (the text names it); DG_EDATA its files are malformed; DG_EIO
 */
DG_MUST_CHECK dg_status dg_output_open(dg_ctx *ctx, const char *path, const dg_output_job *job, dg_output **out);
/* Is this image there, with the bytes it was written with? Reads and hashes the file. Call at most once for each image,
 * before any is written; any thread.
 * err   DG_EIO */
DG_MUST_CHECK dg_status dg_output_has(dg_ctx *ctx, dg_output *output, int64_t class_index, int64_t index, int64_t seed,
                                      bool *has);
/* Writes one image. Thread-safe. err DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_output_write(dg_ctx *ctx, dg_output *output, int64_t class_index, int64_t index,
                                        int64_t seed, const void *png, size_t size);
/* Makes everything durable and writes this shard's manifest; the last shard to finish also writes manifest.json,
 * metadata.jsonl, dataset.json and DONE.
 * out   *complete whether DONE stands (false: other shards are still to come)
 * err   DG_EINVAL fewer or more images than planned; DG_ECREATE, DG_EIO, DG_EDATA */
DG_MUST_CHECK dg_status dg_output_finish(dg_ctx *ctx, dg_output *output, bool *complete);
void dg_output_close(dg_output *output); /* without finish: the folder stays resumable. NULL is legal */

#endif
