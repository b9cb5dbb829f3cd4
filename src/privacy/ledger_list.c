/* Reading: what ran on which images. Values that no diffgen writes are damage, not zeros: a mechanism that cannot be
 * read must not count as nothing spent. */
#include "privacy/ledger_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[DG_LEDGER_KINDS] = {
    [DG_LEDGER_GAUSSIAN] = "sampled-gaussian",
    [DG_LEDGER_DISCRETE_GAUSSIAN] = "sampled-discrete-gaussian",
    [DG_LEDGER_LAPLACE] = "sampled-laplace",
};

const char *dg_ledger_kind_name(dg_ledger_kind kind) {
    return (unsigned)kind < DG_LEDGER_KINDS ? kinds[kind] : NULL;
}

static bool kind_of(const char *name, dg_ledger_kind *kind) {
    for (int i = 0; i < DG_LEDGER_KINDS; i++)
        if (strcmp(name, kinds[i]) == 0) {
            *kind = (dg_ledger_kind)i;
            return true;
        }
    return false;
}

/* The columns of every list of mechanisms; `%s` is where the overlap comes from. */
#define COLUMNS                                                                                                        \
    "SELECT m.kind, m.sample_rate, m.noise_multiplier, m.booked, m.planned, r.id, d.fingerprint, d.name, o.shared, "   \
    "r.command, r.adjacency, r.unit, r.started, r.ended, r.delta, r.running, r.host, r.pid, r.pid_started "
#define JOIN "JOIN run r ON r.data_set = o.other JOIN mechanism m ON m.run = r.id JOIN data_set d ON d.id = o.other "
#define ORDER "ORDER BY r.started, r.rowid, m.kind, m.sample_rate, m.noise_multiplier"

static dg_status read_entry(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt *row, dg_ledger_entry *entry) {
    dg_status status = DG_OK;
    dg_ledger_mechanism *m = &entry->mechanism;
    m->sample_rate = sqlite3_column_double(row, 1);
    m->noise_multiplier = sqlite3_column_double(row, 2);
    m->steps = sqlite3_column_int64(row, 3);
    const int64_t planned = sqlite3_column_int64(row, 4);
    entry->shared = sqlite3_column_int64(row, 8);
    entry->delta = sqlite3_column_double(row, 14);
    if (!kind_of(dg_ledger_text(row, 0), &m->kind))
        DG_TRY(dg_ledger_damaged(ctx, ledger, "it holds a mechanism that this diffgen does not know"));
    if (!(m->sample_rate > 0 && m->sample_rate <= 1 && m->noise_multiplier > 0 && isfinite(m->noise_multiplier)) ||
        m->steps < 0 || planned < 0)
        DG_TRY(dg_ledger_damaged(ctx, ledger, "it holds a mechanism that cannot have run"));
    snprintf(entry->run, sizeof entry->run, "%s", dg_ledger_text(row, 5));
    snprintf(entry->fingerprint, sizeof entry->fingerprint, "%s", dg_ledger_text(row, 6));
    DG_TRY(dg_ledger_copy(ctx, row, 7, &entry->name));
    DG_TRY(dg_ledger_copy(ctx, row, 9, &entry->command));
    DG_TRY(dg_ledger_copy(ctx, row, 10, &entry->adjacency));
    DG_TRY(dg_ledger_copy(ctx, row, 11, &entry->unit));
    DG_TRY(dg_ledger_copy(ctx, row, 12, &entry->started));
    DG_TRY(dg_ledger_copy(ctx, row, 13, &entry->ended));
    entry->running =
        sqlite3_column_int(row, 15) != 0 && dg_ledger_liveness(dg_ledger_text(row, 16), sqlite3_column_int64(row, 17),
                                                               sqlite3_column_int64(row, 18)) != DG_DEAD;
    entry->reserved = entry->running ? planned : 0;
done:
    return status;
}

static dg_status read_list(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt *rows, dg_ledger_list *list) {
    dg_status status = DG_OK;
    size_t capacity = 0;
    bool row = false;
    for (;;) {
        DG_TRY(dg_ledger_row(ctx, ledger, rows, &row));
        if (!row)
            break;
        if (list->count == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            dg_ledger_entry *larger = realloc(list->entries, capacity * sizeof *larger);
            if (!larger)
                DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory while reading the privacy ledger"));
            list->entries = larger;
        }
        dg_ledger_entry *entry = &list->entries[list->count++];
        memset(entry, 0, sizeof *entry);
        DG_TRY(read_entry(ctx, ledger, rows, entry));
    }
done:
    return status;
}

/* Finalizes `rows`; frees the list on failure. */
static dg_status finish_list(dg_ctx *ctx, dg_ledger *ledger, dg_status status, sqlite3_stmt *rows,
                             dg_ledger_list *list) {
    if (status == DG_OK)
        status = read_list(ctx, ledger, rows, list);
    sqlite3_finalize(rows);
    if (status != DG_OK)
        dg_ledger_list_free(list);
    return status;
}

dg_status dg_ledger_spent_on(dg_ctx *ctx, dg_ledger *ledger, int64_t set, dg_ledger_list *list) {
    sqlite3_stmt *rows = NULL;
    memset(list, 0, sizeof *list);
    if (!ledger->db)
        return DG_OK;
    const dg_status status =
        dg_ledger_query(ctx, ledger, &rows, COLUMNS "FROM overlap o " JOIN "WHERE o.data_set = ? " ORDER, "i", set);
    return finish_list(ctx, ledger, status, rows, list);
}

dg_status dg_ledger_spent(dg_ctx *ctx, dg_ledger *ledger, const uint8_t *hashes, int64_t count, dg_ledger_list *list) {
    dg_status status = DG_OK;
    sqlite3_stmt *rows = NULL;
    memset(list, 0, sizeof *list);
    if (!ledger->db)
        return DG_OK;
    /* one view of the file: a run that begins in between is on it whole or not at all */
    DG_TRY(dg_ledger_exec(ctx, ledger, "BEGIN", "read"));
    status = dg_ledger_ask(ctx, ledger, hashes, count);
    if (status == DG_OK)
        status = dg_ledger_query(ctx, ledger, &rows, COLUMNS "FROM temp.asked o " JOIN ORDER, "");
    status = finish_list(ctx, ledger, status, rows, list);
    status = dg_ledger_unlock(ctx, ledger, status);
done:
    return status;
}

void dg_ledger_list_free(dg_ledger_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        dg_ledger_entry *entry = &list->entries[i];
        free(entry->name);
        free(entry->command);
        free(entry->adjacency);
        free(entry->unit);
        free(entry->started);
        free(entry->ended);
    }
    free(list->entries);
    memset(list, 0, sizeof *list);
}

/* ---- data sets ---- */

static dg_status read_sets(dg_ctx *ctx, dg_ledger *ledger, sqlite3_stmt *rows, dg_ledger_set *sets, size_t capacity,
                           size_t *count) {
    dg_status status = DG_OK;
    bool row = false;
    while (*count < capacity) {
        DG_TRY(dg_ledger_row(ctx, ledger, rows, &row));
        if (!row)
            break;
        dg_ledger_set *set = &sets[(*count)++];
        set->id = sqlite3_column_int64(rows, 0);
        snprintf(set->fingerprint, sizeof set->fingerprint, "%s", dg_ledger_text(rows, 1));
        set->images = sqlite3_column_int64(rows, 3);
        DG_TRY(dg_ledger_copy(ctx, rows, 2, &set->name));
        DG_TRY(dg_ledger_copy(ctx, rows, 4, &set->first_seen));
    }
done:
    return status;
}

dg_status dg_ledger_sets(dg_ctx *ctx, dg_ledger *ledger, dg_ledger_set **sets, size_t *count) {
    dg_status status = DG_OK;
    sqlite3_stmt *rows = NULL;
    bool row = false;
    *sets = NULL;
    *count = 0;
    if (!ledger->db)
        return DG_OK;
    DG_TRY(dg_ledger_exec(ctx, ledger, "BEGIN", "read"));
    status = dg_ledger_query(ctx, ledger, &rows, "SELECT count(*) FROM data_set", "");
    if (status == DG_OK)
        status = dg_ledger_row(ctx, ledger, rows, &row);
    const int64_t capacity = status == DG_OK && row ? sqlite3_column_int64(rows, 0) : 0;
    sqlite3_finalize(rows);
    rows = NULL;
    if (status == DG_OK)
        status = dg_alloc(ctx, sets, (size_t)capacity + 1, sizeof **sets, "data sets of the privacy ledger");
    if (status == DG_OK)
        status = dg_ledger_query(ctx, ledger, &rows,
                                 "SELECT id, fingerprint, name, images, first_seen FROM data_set ORDER BY id", "");
    if (status == DG_OK)
        status = read_sets(ctx, ledger, rows, *sets, (size_t)capacity, count);
    sqlite3_finalize(rows);
    status = dg_ledger_unlock(ctx, ledger, status);
done:
    if (status != DG_OK) {
        dg_ledger_sets_free(*sets, *count);
        *sets = NULL;
        *count = 0;
    }
    return status;
}

void dg_ledger_sets_free(dg_ledger_set *sets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(sets[i].name);
        free(sets[i].first_seen);
    }
    free(sets);
}
