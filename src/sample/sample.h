/* The sampling job as the rooms above use it: the public calls (dg_sample_run, its events and its result) and the
 * options' struct and table. Order: dg_options_init/parse on dg_sample_option_table -> dg_sample_run ->
 * dg_sample_result_free. dg_sample_run runs dg_options_check itself, so that programs which set options one by one meet
 * the same rules as the command line. */
#ifndef DG_SAMPLE_SAMPLE_H
#define DG_SAMPLE_SAMPLE_H

#include "comm/comm.h"
#include "sample/sample_options.h"

#include <diffgen/sample.h>

/* dg_sample_run as one of several ranks: rank r draws shard r; rank 0 finishes the folder, draws the sheet and reports
 * events. What stops one rank stops all.
 * in    comm NULL = dg_sample_run; all ranks give the same options
 * err   also DG_EUSAGE --shard, which the ranks are; as dg_comm's collectives */
DG_MUST_CHECK dg_status dg_sample_run_rank(dg_ctx *ctx, dg_comm *comm, const dg_sample_options *options,
                                           const dg_sample_events *events, dg_sample_result *result);

#endif
