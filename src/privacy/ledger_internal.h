/* What the files of the ledger share: the open file, SQL with errors that name it, living processes.
 * ledger_file.c opens and makes; ledger_sql.c talks to SQLite; ledger_set.c knows data sets; ledger_list.c reads;
 * ledger_run.c writes. */
#ifndef DG_PRIVACY_LEDGER_INTERNAL_H
#define DG_PRIVACY_LEDGER_INTERNAL_H

#include "privacy/ledger.h"

#include <sqlite3.h>

struct dg_ledger {
    sqlite3 *db; /* NULL: nothing there yet, opened for reading */
    char *path;
};

/* Records what SQLite says about the ledger's file. `action`: "read", "book steps in", ... */
DG_MUST_CHECK dg_status dg_ledger_fail(dg_ctx *ctx, const dg_ledger *ledger, int code, const char *action);
DG_MUST_CHECK dg_status dg_ledger_exec(dg_ctx *ctx, dg_ledger *ledger, const char *sql, const char *action);
/* Prepares a statement and binds its parameters in order, one letter of `types` each: i int64_t, d double, s const char
 * * (NULL gives null), b const void * and int64_t (size). Blobs and texts must outlive the statement. Finalize it. */
DG_MUST_CHECK dg_status dg_ledger_query(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt **statement, const char *sql,
                                        const char *types, ...);
/* The next row. out *row false: no more */
DG_MUST_CHECK dg_status dg_ledger_row(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt *statement, bool *row);
/* dg_ledger_query for a statement without rows, run and finalized. */
DG_MUST_CHECK dg_status dg_ledger_change(dg_ctx *ctx, dg_ledger *ledger, const char *sql, const char *types, ...);
/* BEGIN IMMEDIATE: nobody else writes until the end. */
DG_MUST_CHECK dg_status dg_ledger_lock(dg_ctx *ctx, dg_ledger *ledger);
/* Commits if `status` is DG_OK, else rolls back. Returns `status`, or why it could not be committed. */
DG_MUST_CHECK dg_status dg_ledger_unlock(dg_ctx *ctx, dg_ledger *ledger, dg_status status);
/* A column as text, "" for null. Valid until the next row. */
const char *dg_ledger_text(sqlite3_stmt *statement, int column);
/* A copy. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_ledger_copy(dg_ctx *ctx, sqlite3_stmt *statement, int column, char **out);
/* The file holds what no diffgen writes. */
DG_MUST_CHECK dg_status dg_ledger_damaged(dg_ctx *ctx, const dg_ledger *ledger, const char *what);

/* Fills temp.asked(other, shared) with the registered sets that share images with these hashes. */
DG_MUST_CHECK dg_status dg_ledger_ask(dg_ctx *ctx, dg_ledger *ledger, const uint8_t *hashes, int64_t count);

/* A process, so that it can be told from a later one with the same number. */
typedef struct dg_ledger_owner {
    char host[256];       /* with the process-number namespace */
    int64_t pid, started; /* in ticks since the host's start */
} dg_ledger_owner;

void dg_ledger_self(dg_ledger_owner *owner);
typedef enum dg_liveness { DG_DEAD, DG_ALIVE, DG_ELSEWHERE /* another host: cannot be known */ } dg_liveness;
dg_liveness dg_ledger_liveness(const char *host, int64_t pid, int64_t started);

#endif
