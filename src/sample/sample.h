/* The sampling job as the rooms above use it: the public calls (dg_sample_run, its events and its result) and the
 * options' struct and table. Order: dg_options_init/parse on dg_sample_option_table -> dg_sample_run ->
 * dg_sample_result_free. dg_sample_run runs dg_options_check itself, so that programs which set options one by one meet
 * the same rules as the command line. */
#ifndef DG_SAMPLE_SAMPLE_H
#define DG_SAMPLE_SAMPLE_H

#include "sample/sample_options.h"

#include <diffgen/sample.h>

#endif
