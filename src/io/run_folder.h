/* The folder of one training run, runs/<name>/: config.json, metrics.jsonl, log.txt, grids/, checkpoints/step-N/,
 * model/, DONE; and runs/latest, a link to the newest finished run. Order: dg_run_open (locks it) ->
 * dg_run_newest_checkpoint -> dg_run_truncate_metrics -> appends, checkpoints, pruning -> dg_run_finish ->
 * dg_run_close. dg_run_find_model needs no open run. */
#ifndef DG_IO_RUN_FOLDER_H
#define DG_IO_RUN_FOLDER_H

#include "core/json.h"

typedef struct dg_run dg_run;

/* Creates the folder and its subfolders if need be, and locks it.
 * err   DG_ECREATE; DG_EINTERRUPTED another process trains into it: the text names it */
DG_MUST_CHECK dg_status dg_run_open(dg_ctx *ctx, const char *path, dg_run **out);
/* The same without creating, locking or changing anything: whether dg_run_open would succeed, and a run to read from.
 * out   *out NULL: there is no such folder yet; err as dg_run_open */
DG_MUST_CHECK dg_status dg_run_rehearse(dg_ctx *ctx, const char *path, dg_run **out);
void dg_run_close(dg_run *run); /* unlocks; NULL is legal */

/* "<run>/<name>", malloc'ed; NULL: no memory. Names used: "config.json", "model", "grids/step-000100.png", ... */
char *dg_run_path(const dg_run *run, const char *name);
bool dg_run_is_finished(const dg_run *run); /* DONE stands */
bool dg_run_has_model(const dg_run *run);   /* model/ is there */

/* config.json. *out NULL if there is none yet. err DG_EDATA, DG_EIO */
DG_MUST_CHECK dg_status dg_run_read_config(dg_ctx *ctx, const dg_run *run, json_t **out);
DG_MUST_CHECK dg_status dg_run_write_config(dg_ctx *ctx, const dg_run *run, const json_t *config);

/* Appends one line of compact JSON, keys in the order they were set; an object with an integer "step". err DG_EIO */
DG_MUST_CHECK dg_status dg_run_append_metrics(dg_ctx *ctx, dg_run *run, const json_t *line);
/* Forgets lines of later steps than `step`, and a torn last line: training goes on from there. err DG_EIO */
DG_MUST_CHECK dg_status dg_run_truncate_metrics(dg_ctx *ctx, dg_run *run, int64_t step);
/* The same for grids/: removes the pictures of later steps. err DG_EIO */
DG_MUST_CHECK dg_status dg_run_truncate_grids(dg_ctx *ctx, dg_run *run, int64_t step);
/* Every whole line of metrics.jsonl, as a JSON array; an empty one if there is no file. err DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_run_read_metrics(dg_ctx *ctx, const char *run_path, json_t **out);
/* Appends a line to log.txt, with the UTC time before it. err DG_EIO */
DG_MUST_CHECK dg_status dg_run_log(dg_ctx *ctx, dg_run *run, const char *line);

/* "<run>/checkpoints/step-000000100", malloc'ed; NULL: no memory. */
char *dg_run_checkpoint_path(const dg_run *run, int64_t step);
/* The newest checkpoint whose files are whole; damaged ones are passed over with a warning.
 * out   *path malloc'ed, NULL if there is none; *step
 * err   DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_run_newest_checkpoint(dg_ctx *ctx, const dg_run *run, char **path, int64_t *step);
/* The same for a run that is not open: for readers, who need no lock. err also DG_ENOINPUT */
DG_MUST_CHECK dg_status dg_run_find_checkpoint(dg_ctx *ctx, const char *run_path, char **path, int64_t *step);
/* Removes all but the newest `keep` (at least 1) checkpoints, and what killed processes left half-written. err DG_EIO
 */
DG_MUST_CHECK dg_status dg_run_prune_checkpoints(dg_ctx *ctx, dg_run *run, int64_t keep);

/* Writes DONE and points "latest" beside the run at it. The link is made in a folder named "runs" and in one that
 * already has such a link; elsewhere only DONE is written. err DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_run_finish(dg_ctx *ctx, dg_run *run);
/* Of a finished run: the link, if a killed process wrote DONE and not the link; one that leads to a run that finished
 * later stays. err DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_run_finish_publishing(dg_ctx *ctx, dg_run *run);
/* Removes DONE: the run goes on. err DG_EIO */
DG_MUST_CHECK dg_status dg_run_reopen(dg_ctx *ctx, dg_run *run);

/* What `--model` means: a run folder (its model/; its newest checkpoint, which is said, where it has not finished), a
 * model folder, a checkpoint, or a folder of runs (its latest; without that link the newest finished run). NULL stands
 * for "runs".
 * out   *model_path, *name (of the run, or of the model's folder), both malloc'ed
 * err   DG_ENOINPUT nothing trained there: the text says what to do; DG_EDATA a file, not a folder; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_run_find_model(dg_ctx *ctx, const char *path, char **model_path, char **name);

/* Where the images lay that the run of a model was trained on, as its config.json has it.
 * out   *images malloc'ed; NULL: no run around the model, or its images were no folder
 * err   DG_EDATA config.json is broken; DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_run_images_folder(dg_ctx *ctx, const char *model_path, char **images);

#endif
