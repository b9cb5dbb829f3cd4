/* The context: everything that would otherwise be global. Owns the last error's text and the log sink.
 * Order: dg_ctx_create -> any calls, from any thread -> dg_ctx_free. Two contexts never share state. */
#ifndef DIFFGEN_CONTEXT_H
#define DIFFGEN_CONTEXT_H

#include <diffgen/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dg_ctx dg_ctx;

typedef enum dg_log_level { DG_LOG_DEBUG, DG_LOG_INFO, DG_LOG_WARN } dg_log_level;

/* Receives one message, without a newline. May be called from several threads, one at a time. */
typedef void (*dg_log_fn)(void *user, dg_log_level level, const char *message);

DG_MUST_CHECK dg_status dg_ctx_create(dg_ctx **out); /* err DG_ENOMEM */
void dg_ctx_free(dg_ctx *ctx);                       /* NULL is legal */

/* Where the log goes; NULL (the default) drops every message. */
void dg_ctx_set_log(dg_ctx *ctx, dg_log_fn fn, void *user);

/* How far a long part has come that belongs to no job of its own, such as reading images. `done` grows up to `total`;
 * one call at a time, from any thread. */
typedef void (*dg_progress_fn)(void *user, const char *part, int64_t done, int64_t total);
/* Who is told; NULL (the default): nobody. Not while a call is under way. */
void dg_ctx_set_progress(dg_ctx *ctx, dg_progress_fn fn, void *user);

/* Text of the last failure, "" if none. Valid until the next call that fails or clears. */
const char *dg_last_error(const dg_ctx *ctx);
/* Forgets it. The first failure since then is the one reported: later ones do not hide the cause. */
void dg_ctx_clear_error(dg_ctx *ctx);

/* Asks all long-running work of this context to stop at its next safe point: training writes a checkpoint first. The
 * interrupted call returns DG_EINTERRUPTED. Async-signal-safe. */
void dg_ctx_request_stop(dg_ctx *ctx);

#ifdef __cplusplus
}
#endif

#endif
