/* One mutex guards the error text and the log sink. The stop flag is a lock-free atomic of its own, because a signal
 * handler may set it while the interrupted thread holds the mutex. */
#include "core/context.h"

#include "core/text.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "dg_ctx_request_stop must be async-signal-safe");

enum { ERROR_TEXT = 4096, LOG_TEXT = 1024 };

struct dg_ctx {
    pthread_mutex_t error_mutex;
    pthread_mutex_t log_mutex; /* held during the sink's call: one message at a time */
    dg_log_fn log;
    void *log_user;
    dg_progress_fn progress;
    void *progress_user;
    atomic_int stop;
    _Atomic double deadline; /* dg_clock_seconds; infinity: none */
    bool failed;
    char error[ERROR_TEXT];
};

dg_status dg_ctx_create(dg_ctx **out) {
    dg_ctx *ctx = calloc(1, sizeof *ctx);
    *out = NULL;
    if (!ctx)
        return DG_ENOMEM;
    if (pthread_mutex_init(&ctx->error_mutex, NULL) != 0) {
        free(ctx);
        return DG_ENOMEM;
    }
    if (pthread_mutex_init(&ctx->log_mutex, NULL) != 0) {
        pthread_mutex_destroy(&ctx->error_mutex);
        free(ctx);
        return DG_ENOMEM;
    }
    atomic_init(&ctx->stop, 0);
    atomic_init(&ctx->deadline, INFINITY);
    *out = ctx;
    return DG_OK;
}

void dg_ctx_free(dg_ctx *ctx) {
    if (!ctx)
        return;
    pthread_mutex_destroy(&ctx->log_mutex);
    pthread_mutex_destroy(&ctx->error_mutex);
    free(ctx);
}

void dg_ctx_set_log(dg_ctx *ctx, dg_log_fn fn, void *user) {
    pthread_mutex_lock(&ctx->log_mutex);
    ctx->log = fn;
    ctx->log_user = user;
    pthread_mutex_unlock(&ctx->log_mutex);
}

/* vsnprintf that never fails: a text that cannot be formatted is shown as its format. */
static char *format_text(char *small, size_t small_size, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    const int need = vsnprintf(small, small_size, format, args);
    char *text = small;
    if (need < 0) {
        snprintf(small, small_size, "%s", format);
    } else if ((size_t)need >= small_size) {
        char *large = malloc((size_t)need + 1);
        if (large) { /* without memory the cut text has to do */
            vsnprintf(large, (size_t)need + 1, format, again);
            text = large;
        }
    }
    va_end(again);
    return text;
}

void dg_ctx_set_progress(dg_ctx *ctx, dg_progress_fn fn, void *user) {
    ctx->progress = fn;
    ctx->progress_user = user;
}

void dg_ctx_progress(dg_ctx *ctx, const char *part, int64_t done, int64_t total) {
    if (ctx->progress)
        ctx->progress(ctx->progress_user, part, done, total);
}

void dg_log(dg_ctx *ctx, dg_log_level level, const char *format, ...) {
    char small[LOG_TEXT];
    va_list args;
    va_start(args, format);
    char *text = format_text(small, sizeof small, format, args);
    va_end(args);
    pthread_mutex_lock(&ctx->log_mutex);
    if (ctx->log)
        ctx->log(ctx->log_user, level, text);
    pthread_mutex_unlock(&ctx->log_mutex);
    if (text != small)
        free(text);
}

dg_status dg_fail(dg_ctx *ctx, dg_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&ctx->error_mutex);
    if (!ctx->failed) {
        ctx->failed = true;
        const int need = vsnprintf(ctx->error, sizeof ctx->error, format, args);
        if (need < 0)
            snprintf(ctx->error, sizeof ctx->error, "%s", format);
        else if ((size_t)need >= sizeof ctx->error)
            memcpy(ctx->error + sizeof ctx->error - 4, "...", 4);
    }
    pthread_mutex_unlock(&ctx->error_mutex);
    va_end(args);
    return status;
}

/* The text is written only while `failed` is false, so that once it is set the caller may read it without the mutex. */
const char *dg_last_error(const dg_ctx *ctx) {
    pthread_mutex_t *mutex = (pthread_mutex_t *)&ctx->error_mutex;
    pthread_mutex_lock(mutex);
    const char *text = ctx->failed ? ctx->error : "";
    pthread_mutex_unlock(mutex);
    return text;
}

void dg_ctx_clear_error(dg_ctx *ctx) {
    pthread_mutex_lock(&ctx->error_mutex);
    ctx->failed = false;
    ctx->error[0] = '\0';
    pthread_mutex_unlock(&ctx->error_mutex);
}

void dg_ctx_request_stop(dg_ctx *ctx) {
    atomic_store_explicit(&ctx->stop, 1, memory_order_relaxed);
}

bool dg_ctx_cancelled(const dg_ctx *ctx) {
    return atomic_load_explicit(&ctx->stop, memory_order_relaxed) != 0;
}

void dg_ctx_set_deadline(dg_ctx *ctx, double clock) {
    atomic_store_explicit(&ctx->deadline, clock, memory_order_relaxed);
}

bool dg_ctx_stop_requested(const dg_ctx *ctx) {
    const double deadline = atomic_load_explicit(&ctx->deadline, memory_order_relaxed);
    return dg_ctx_cancelled(ctx) || (isfinite(deadline) && dg_clock_seconds() >= deadline);
}

dg_status dg_alloc(dg_ctx *ctx, void *out, size_t count, size_t size, const char *what) {
    void *memory = NULL;
    size_t bytes = 0;
    const bool overflow = __builtin_mul_overflow(count, size, &bytes);
    /* calloc(0) may return NULL; one byte keeps "NULL means failure" true */
    if (!overflow && bytes <= PTRDIFF_MAX)
        memory = calloc(bytes ? bytes : 1, 1);
    memcpy(out, &memory, sizeof memory);
    if (memory)
        return DG_OK;
    return dg_fail(ctx, DG_ENOMEM, "out of memory: could not get %zu x %zu bytes for %s", count, size, what);
}
