/* SQLite's C interface with the project's errors. */
#include "privacy/ledger_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static dg_status status_of(int code) {
    switch (code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
        return DG_EDATA;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return DG_EINTERRUPTED;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return DG_ECREATE;
    case SQLITE_FULL:
    case SQLITE_IOERR:
        return DG_EIO;
    case SQLITE_NOMEM:
        return DG_ENOMEM;
    default:
        return DG_ERUNTIME;
    }
}

dg_status dg_ledger_damaged(dg_ctx *ctx, const dg_ledger *ledger, const char *what) {
    return dg_fail(ctx, DG_EDATA,
                   "%s: damaged privacy ledger (%s). It is the only record of what has been spent: restore it from a "
                   "backup, or name another file with DIFFGEN_LEDGER",
                   ledger->path, what);
}

dg_status dg_ledger_fail(dg_ctx *ctx, const dg_ledger *ledger, int code, const char *action) {
    const dg_status status = status_of(code);
    const char *text = ledger->db ? sqlite3_errmsg(ledger->db) : sqlite3_errstr(code);
    if ((code & 0xff) == SQLITE_NOTADB)
        return dg_fail(ctx, status, "%s: not a privacy ledger (not an SQLite database); DIFFGEN_LEDGER names the file",
                       ledger->path);
    if (status == DG_EDATA)
        return dg_ledger_damaged(ctx, ledger, text);
    if (status == DG_EINTERRUPTED)
        return dg_fail(ctx, status, "%s: cannot %s the privacy ledger: another process has held it for a minute",
                       ledger->path, action);
    return dg_fail(ctx, status, "%s: cannot %s the privacy ledger: %s", ledger->path, action, text);
}

dg_status dg_ledger_exec(dg_ctx *ctx, dg_ledger *ledger, const char *sql, const char *action) {
    const int code = sqlite3_exec(ledger->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? DG_OK : dg_ledger_fail(ctx, ledger, sqlite3_extended_errcode(ledger->db), action);
}

static int bind_all(sqlite3_stmt *statement, const char *types, va_list values) {
    int code = SQLITE_OK;
    for (int i = 1; types[i - 1] && code == SQLITE_OK; i++) {
        switch (types[i - 1]) {
        case 'i':
            code = sqlite3_bind_int64(statement, i, va_arg(values, int64_t));
            break;
        case 'd':
            code = sqlite3_bind_double(statement, i, va_arg(values, double));
            break;
        case 's':
            code = sqlite3_bind_text(statement, i, va_arg(values, const char *), -1, SQLITE_STATIC);
            break;
        default: {
            const void *bytes = va_arg(values, const void *);
            code = sqlite3_bind_blob64(statement, i, bytes, (sqlite3_uint64)va_arg(values, int64_t), SQLITE_STATIC);
        }
        }
    }
    return code;
}

static dg_status prepare(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt **statement, const char *sql, const char *types,
                         va_list values) {
    *statement = NULL;
    int code = sqlite3_prepare_v2(ledger->db, sql, -1, statement, NULL);
    if (code == SQLITE_OK)
        code = bind_all(*statement, types, values);
    return code == SQLITE_OK ? DG_OK : dg_ledger_fail(ctx, ledger, code, "use");
}

dg_status dg_ledger_query(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt **statement, const char *sql, const char *types,
                          ...) {
    va_list values;
    va_start(values, types);
    const dg_status status = prepare(ctx, ledger, statement, sql, types, values);
    va_end(values);
    return status;
}

dg_status dg_ledger_row(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt *statement, bool *row) {
    const int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? DG_OK : dg_ledger_fail(ctx, ledger, code, "use");
}

dg_status dg_ledger_change(dg_ctx *ctx, dg_ledger *ledger, const char *sql, const char *types, ...) {
    sqlite3_stmt *statement = NULL;
    bool row;
    va_list values;
    va_start(values, types);
    dg_status status = prepare(ctx, ledger, &statement, sql, types, values);
    va_end(values);
    if (status == DG_OK)
        status = dg_ledger_row(ctx, ledger, statement, &row);
    sqlite3_finalize(statement);
    return status;
}

dg_status dg_ledger_lock(dg_ctx *ctx, dg_ledger *ledger) {
    return dg_ledger_exec(ctx, ledger, "BEGIN IMMEDIATE", "write to");
}

dg_status dg_ledger_unlock(dg_ctx *ctx, dg_ledger *ledger, dg_status status) {
    if (status == DG_OK)
        status = dg_ledger_exec(ctx, ledger, "COMMIT", "write to");
    if (status != DG_OK && !sqlite3_get_autocommit(ledger->db))
        sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

const char *dg_ledger_text(sqlite3_stmt *statement, int column) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text ? (const char *)text : "";
}

dg_status dg_ledger_copy(dg_ctx *ctx, sqlite3_stmt *statement, int column, char **out) {
    *out = strdup(dg_ledger_text(statement, column));
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory while reading the privacy ledger");
}
