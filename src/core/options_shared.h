/* Entries that the option tables of several commands have in common, spelled once. S is the table's struct. */
#ifndef DG_CORE_OPTIONS_SHARED_H
#define DG_CORE_OPTIONS_SHARED_H

#include "core/options.h"

#define DG_OPTION_THREADS(S, text)                                                                                     \
    {                                                                                                                  \
        .name = "threads", DG_OPT_COUNT(S, threads), .flags = DG_OPTION_LOCAL, .fallback = "auto", .min = 1,           \
        .max = 1024, .word = "auto", .word_value = 0, .group = "This call", .help = text                               \
    }
#define DG_OPTION_JSON(S, text)                                                                                        \
    { .name = "json", DG_OPT_BOOL(S, json), .flags = DG_OPTION_LOCAL, .group = "This call", .help = text }
#define DG_OPTION_QUIET(S)                                                                                             \
    {                                                                                                                  \
        .name = "quiet", DG_OPT_BOOL(S, quiet), .flags = DG_OPTION_LOCAL, .aliases = "q", .group = "This call",        \
        .help = "Print nothing but warnings and errors."                                                               \
    }

#endif
