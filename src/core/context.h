/* The context as the rooms use it: the public calls (diffgen/context.h: create, free, log sink, progress, last error,
 * stop) and those that record failures and messages.
 * Order: dg_ctx_create -> any calls, from any thread -> dg_ctx_free. Two contexts never share state. */
#ifndef DG_CORE_CONTEXT_H
#define DG_CORE_CONTEXT_H

#include "core/status.h"

#include <diffgen/context.h>
#include <stdbool.h>
#include <stddef.h>

void dg_log(dg_ctx *ctx, dg_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Tells dg_ctx_set_progress's function, if there is one. */
void dg_ctx_progress(dg_ctx *ctx, const char *part, int64_t done, int64_t total);

/* Records the text of a failure and returns `status`, so that a failing function ends with `return dg_fail(...)`.
 * The text says what was wrong, where (path, flag, key) and what would be right. The first failure since
 * dg_ctx_clear_error wins: later ones, from code that unwinds or from other threads, do not hide the cause. */
DG_MUST_CHECK dg_status dg_fail(dg_ctx *ctx, dg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True after dg_ctx_request_stop, and from the deadline on: what takes long asks now and then, and gives up. */
bool dg_ctx_stop_requested(const dg_ctx *ctx);
/* True after dg_ctx_request_stop alone: somebody wants the whole job to end. */
bool dg_ctx_cancelled(const dg_ctx *ctx);
/* clock: as dg_clock_seconds; INFINITY: no deadline. */
void dg_ctx_set_deadline(dg_ctx *ctx, double clock);

/* malloc/calloc that report: on failure records how many bytes were asked for and for what.
 * out   *out zeroed memory, free() it; err DG_ENOMEM (also on overflow of count*size) */
DG_MUST_CHECK dg_status dg_alloc(dg_ctx *ctx, void *out, size_t count, size_t size, const char *what);

#endif
