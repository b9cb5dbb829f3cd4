/* Data sets: their identity and their overlap.
 *
 * Of each content hash 8 bytes are kept. Two different images agree in them with probability 2^-64 a pair (two sets of
 * a million images: once in 2*10^7), and then the ledger counts too much, never too little. */
#include "privacy/ledger_internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBER = 8, HASH = DG_LEDGER_HASH_BYTES };

void dg_ledger_group_hash(const char *column, const char *value, uint8_t hash[DG_LEDGER_HASH_BYTES]) {
    static const char domain[] = "diffgen group";
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    /* with their NULs, so that no two pairs give the same bytes */
    crypto_hash_sha256_update(&state, (const uint8_t *)domain, sizeof domain);
    crypto_hash_sha256_update(&state, (const uint8_t *)column, strlen(column) + 1);
    crypto_hash_sha256_update(&state, (const uint8_t *)value, strlen(value) + 1);
    crypto_hash_sha256_final(&state, hash);
}

static int by_hash(const void *a, const void *b) {
    return memcmp(a, b, HASH);
}

/* Sorted copy with each hash once. */
static dg_status distinct_hashes(dg_ctx *ctx, const uint8_t *hashes, int64_t count, uint8_t **out, int64_t *distinct) {
    uint8_t *sorted = NULL;
    *out = NULL;
    if (count < 1 || !hashes)
        return dg_fail(ctx, DG_EINVAL, "a data set of no images has no place in the privacy ledger");
    const dg_status status = dg_alloc(ctx, &sorted, (size_t)count, HASH, "content hashes");
    if (status != DG_OK)
        return status;
    memcpy(sorted, hashes, (size_t)count * HASH);
    qsort(sorted, (size_t)count, HASH, by_hash);
    int64_t kept = 1;
    for (int64_t i = 1; i < count; i++)
        if (memcmp(sorted + i * HASH, sorted + (kept - 1) * HASH, HASH) != 0)
            memmove(sorted + kept++ * HASH, sorted + i * HASH, HASH);
    *out = sorted;
    *distinct = kept;
    return DG_OK;
}

static void hash_of_hashes(const uint8_t *distinct, int64_t count, char fingerprint[DG_SHA256_HEX]) {
    dg_sha256_hex(distinct, (size_t)count * HASH, fingerprint);
}

dg_status dg_ledger_fingerprint(dg_ctx *ctx, const uint8_t *hashes, int64_t count, char fingerprint[DG_SHA256_HEX]) {
    uint8_t *distinct = NULL;
    int64_t kept = 0;
    const dg_status status = distinct_hashes(ctx, hashes, count, &distinct, &kept);
    if (status == DG_OK)
        hash_of_hashes(distinct, kept, fingerprint);
    free(distinct);
    return status;
}

/* The beginnings of sorted hashes, each once, in place. Returns how many. */
static int64_t to_members(uint8_t *distinct, int64_t count) {
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (kept == 0 || memcmp(distinct + i * HASH, distinct + (kept - 1) * MEMBER, MEMBER) != 0)
            memmove(distinct + kept++ * MEMBER, distinct + i * HASH, MEMBER);
    return kept;
}

/* How many members two sorted lists share. */
static int64_t count_shared(const uint8_t *a, int64_t a_count, const uint8_t *b, int64_t b_count) {
    int64_t shared = 0;
    for (int64_t i = 0, k = 0; i < a_count && k < b_count;) {
        const int order = memcmp(a + i * MEMBER, b + k * MEMBER, MEMBER);
        shared += order == 0;
        i += order <= 0;
        k += order >= 0;
    }
    return shared;
}

/* Calls visit(user, set, shared) for each registered set that shares a member. */
static dg_status each_overlap(dg_ctx *ctx, dg_ledger *ledger, const uint8_t *members, int64_t count,
                              dg_status (*visit)(dg_ctx *, dg_ledger *, void *user, int64_t set, int64_t shared),
                              void *user) {
    dg_status status = DG_OK;
    sqlite3_stmt *sets = NULL;
    bool row = false;
    DG_TRY(dg_ledger_query(ctx, ledger, &sets, "SELECT id, members FROM data_set ORDER BY id", ""));
    for (;;) {
        DG_TRY(dg_ledger_row(ctx, ledger, sets, &row));
        if (!row)
            break;
        const uint8_t *theirs = sqlite3_column_blob(sets, 1);
        const int64_t bytes = sqlite3_column_bytes(sets, 1);
        if (bytes < MEMBER || bytes % MEMBER != 0 || !theirs)
            DG_TRY(dg_ledger_damaged(ctx, ledger, "the images of a data set are unreadable"));
        const int64_t shared = count_shared(members, count, theirs, bytes / MEMBER);
        if (shared > 0)
            DG_TRY(visit(ctx, ledger, user, sqlite3_column_int64(sets, 0), shared));
    }
done:
    sqlite3_finalize(sets);
    return status;
}

/* ---- registering ---- */

/* user: the new set's number */
static dg_status record_overlap(dg_ctx *ctx, dg_ledger *ledger, void *user, int64_t set, int64_t shared) {
    const int64_t *registered = user;
    dg_status status = DG_OK;
    static const char sql[] = "INSERT OR REPLACE INTO overlap(data_set, other, shared) VALUES(?, ?, ?)";
    DG_TRY(dg_ledger_change(ctx, ledger, sql, "iii", *registered, set, shared));
    DG_TRY(dg_ledger_change(ctx, ledger, sql, "iii", set, *registered, shared));
done:
    return status;
}

static dg_status find_set(dg_ctx *ctx, dg_ledger *ledger, const char *fingerprint, int64_t *set, bool *found) {
    sqlite3_stmt *statement = NULL;
    dg_status status = DG_OK;
    DG_TRY(dg_ledger_query(ctx, ledger, &statement, "SELECT id FROM data_set WHERE fingerprint = ?", "s", fingerprint));
    DG_TRY(dg_ledger_row(ctx, ledger, statement, found));
    if (*found)
        *set = sqlite3_column_int64(statement, 0);
done:
    sqlite3_finalize(statement);
    return status;
}

static dg_status insert_set(dg_ctx *ctx, dg_ledger *ledger, const char *name, const char *fingerprint,
                            uint8_t *distinct, int64_t count, int64_t *set) {
    dg_status status = DG_OK;
    const int64_t members = to_members(distinct, count);
    DG_TRY(dg_ledger_change(ctx, ledger,
                            "INSERT INTO data_set(fingerprint, name, images, first_seen, members) "
                            "VALUES(?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?)",
                            "ssib", fingerprint, name, count, (const void *)distinct, members * MEMBER));
    *set = sqlite3_last_insert_rowid(ledger->db);
    DG_TRY(each_overlap(ctx, ledger, distinct, members, record_overlap, set));
done:
    return status;
}

dg_status dg_ledger_register(dg_ctx *ctx, dg_ledger *ledger, const char *name, const uint8_t *hashes, int64_t count,
                             int64_t *set) {
    dg_status status = DG_OK;
    uint8_t *distinct = NULL;
    int64_t kept = 0;
    char fingerprint[DG_SHA256_HEX];
    bool found = false;
    DG_TRY(distinct_hashes(ctx, hashes, count, &distinct, &kept));
    hash_of_hashes(distinct, kept, fingerprint);
    DG_TRY(dg_ledger_lock(ctx, ledger));
    status = find_set(ctx, ledger, fingerprint, set, &found);
    if (status == DG_OK && found)
        status = dg_ledger_change(ctx, ledger, "UPDATE data_set SET name = ? WHERE id = ?", "si", name, *set);
    else if (status == DG_OK)
        status = insert_set(ctx, ledger, name, fingerprint, distinct, kept, set);
    status = dg_ledger_unlock(ctx, ledger, status);
done:
    free(distinct);
    return status;
}

/* ---- asking about images that need not be registered ---- */

/* The sets that overlap, in a table of this connection; user: unused */
static dg_status collect_overlap(dg_ctx *ctx, dg_ledger *ledger, void *user, int64_t set, int64_t shared) {
    (void)user;
    return dg_ledger_change(ctx, ledger, "INSERT INTO temp.asked(other, shared) VALUES(?, ?)", "ii", set, shared);
}

dg_status dg_ledger_ask(dg_ctx *ctx, dg_ledger *ledger, const uint8_t *hashes, int64_t count) {
    dg_status status = DG_OK;
    uint8_t *distinct = NULL;
    int64_t kept = 0;
    DG_TRY(distinct_hashes(ctx, hashes, count, &distinct, &kept));
    DG_TRY(dg_ledger_exec(ctx, ledger,
                          "CREATE TEMP TABLE IF NOT EXISTS asked(other INTEGER NOT NULL, shared INTEGER NOT NULL); "
                          "DELETE FROM temp.asked",
                          "read"));
    DG_TRY(each_overlap(ctx, ledger, distinct, to_members(distinct, kept), collect_overlap, NULL));
done:
    free(distinct);
    return status;
}
