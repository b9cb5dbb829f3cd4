/* The files of an output folder while it is being filled: how they are put in place. Used by src/io/output*.c only. */
#ifndef DG_IO_OUTPUT_FILES_H
#define DG_IO_OUTPUT_FILES_H

#include "core/fs.h"
#include "io/output.h"

#include <pthread.h>

struct dg_output {
    char *path;
    char *work_path; /* "<path>/.partial" or "<path>/.partial-I-of-N": temporaries and the journal */
    char *part_name; /* "manifest.I-of-N.json"; NULL = not sharded */
    int64_t shards, planned;
    dg_lock *lock;
    dg_manifest known;     /* what earlier runs wrote, sorted */
    dg_manifest confirmed; /* what this run has verified or written */
    int journal;           /* descriptor, append-only; -1 = closed */
    bool *folder_made;     /* [max(num_classes,1)] */
    bool dirty;            /* DONE has been withdrawn */
    int64_t temporaries;   /* names used so far */
    pthread_mutex_t mutex; /* guards confirmed, journal, folder_made, dirty, temporaries */
    bool mutex_ready;
};

/* "<folder>/<name>". out *out malloc'ed; err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_output_join(dg_ctx *ctx, const char *folder, const char *name, char **out);
/* DG_ECREATE for what cannot be created, DG_EIO for everything else; the text holds the path. */
DG_MUST_CHECK dg_status dg_output_errno(dg_ctx *ctx, const char *path, int error);
/* Writes `name` (relative to the folder) by way of the work folder. durable: fsync before the rename and after.
 * err   DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_output_place(dg_ctx *ctx, dg_output *output, const char *name, const void *data, size_t size,
                                        bool durable);
/* Removes DONE: not all files are what it says until the folder is finished again. err DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_output_withdraw(dg_ctx *ctx, dg_output *output);
/* As dg_output_place, but a file that has these bytes already is left alone, and DONE is withdrawn before a change. */
DG_MUST_CHECK dg_status dg_output_place_if_changed(dg_ctx *ctx, dg_output *output, const char *name,
                                                   const dg_str *text);

/* Creates the work folder, removes temporaries of killed processes and reads the journal into output->known.
 * err   DG_ECREATE, DG_EIO */
DG_MUST_CHECK dg_status dg_output_open_journal(dg_ctx *ctx, dg_output *output);
/* Notes one image; the caller holds the mutex. err DG_EIO */
DG_MUST_CHECK dg_status dg_output_journal_add(dg_ctx *ctx, dg_output *output, const dg_manifest_image *image);
/* Closes the journal and removes the work folder. err DG_EIO */
DG_MUST_CHECK dg_status dg_output_drop_journal(dg_ctx *ctx, dg_output *output);

/* The same model, classes, program and options, but for which images? err as dg_manifest_same_job */
DG_MUST_CHECK dg_status dg_output_same_but_for_plan(dg_ctx *ctx, const char *where, const dg_manifest *there,
                                                    const dg_manifest *wanted, dg_status differ, const char *advice);

#endif
