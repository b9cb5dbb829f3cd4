/* The training job as the rooms above use it: the public calls (dg_train_run, its events and its result) and the
 * options' struct and table. Order: dg_options_init/parse on dg_train_option_table -> dg_train_run ->
 * dg_train_result_free. dg_train_run runs dg_options_check itself, so that programs which set options one by one meet
 * the same rules as the command line. */
#ifndef DG_TRAIN_TRAIN_H
#define DG_TRAIN_TRAIN_H

#include "comm/comm.h"
#include "train/train_options.h"

#include <diffgen/train.h>

/* dg_train_run as one of several ranks: each computes a part of every batch, rank 0 alone writes and reports events.
 * What stops one rank stops all, with the same status and text; a stop requested of any rank is heard by all.
 * in    comm NULL = dg_train_run; all ranks give the same options
 * err   also DG_ECONFIG the ranks see other images, options or processors than rank 0; as dg_comm's collectives */
DG_MUST_CHECK dg_status dg_train_run_rank(dg_ctx *ctx, dg_comm *comm, const dg_train_options *options,
                                          const dg_train_events *events, dg_train_result *result);

#endif
