/* The training job as the rooms above use it: the public calls (dg_train_run, its events and its result) and the
 * options' struct and table. Order: dg_options_init/parse on dg_train_option_table -> dg_train_run ->
 * dg_train_result_free. dg_train_run runs dg_options_check itself, so that programs which set options one by one meet
 * the same rules as the command line. */
#ifndef DG_TRAIN_TRAIN_H
#define DG_TRAIN_TRAIN_H

#include "train/train_options.h"

#include <diffgen/train.h>

#endif
