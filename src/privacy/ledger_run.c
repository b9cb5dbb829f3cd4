/* Writing: a run begins, books its steps before it makes them, and ends. Each change is one transaction that is on the
 * disk when the call returns. */
#include "privacy/ledger_internal.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct dg_ledger_run {
    dg_ledger *ledger;
    char id[DG_LEDGER_ID];
    char owner[DG_LEDGER_ID]; /* this process's hold on the run */
    int64_t block_steps;
    bool clean;
    dg_ledger_mechanism *mechanisms; /* steps: made by this process */
    int64_t *left;                   /* booked by this process and not made, per mechanism */
    int64_t *planned;                /* neither booked nor made */
    size_t count;
};

static void random_name(char name[DG_LEDGER_ID]) {
    uint8_t bytes[(DG_LEDGER_ID - 1) / 2];
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(name, DG_LEDGER_ID, bytes, sizeof bytes);
}

static dg_status check_info(dg_ctx *ctx, const dg_ledger_run_info *info) {
    if (!(info->delta > 0 && info->delta < 1))
        return dg_fail(ctx, DG_EINVAL, "delta %g; it must be above 0 and below 1", info->delta);
    if (info->planned_count == 0 || info->block_steps < 0)
        return dg_fail(ctx, DG_EINVAL, "a run without mechanisms has no place in the privacy ledger");
    for (size_t i = 0; i < info->planned_count; i++) {
        const dg_ledger_mechanism *m = &info->planned[i];
        if (!dg_ledger_kind_name(m->kind) || !(m->sample_rate > 0 && m->sample_rate <= 1) ||
            !(m->noise_multiplier > 0 && isfinite(m->noise_multiplier)) || m->steps < 0)
            return dg_fail(ctx, DG_EINVAL, "a mechanism of sample rate %g, noise multiplier %g and %lld steps",
                           m->sample_rate, m->noise_multiplier, (long long)m->steps);
    }
    return DG_OK;
}

/* ---- beginning ---- */

/* May the run be resumed here, and was it left by a clean end with this token? */
static dg_status examine(dg_ctx *ctx, dg_ledger_run *run, const dg_ledger_run_info *info) {
    dg_status status = DG_OK;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    DG_TRY(dg_ledger_query(ctx, run->ledger, &statement,
                           "SELECT data_set, running, host, pid, pid_started, resume_token FROM run WHERE id = ?", "s",
                           info->resume));
    DG_TRY(dg_ledger_row(ctx, run->ledger, statement, &row));
    if (!row)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: no run %s in the privacy ledger; name the one it was begun with",
                       run->ledger->path, info->resume));
    if (sqlite3_column_int64(statement, 0) != info->set)
        DG_TRY(dg_fail(ctx, DG_EDATA, "run %s was begun on other images: begin a new one", info->resume));
    const int64_t pid = sqlite3_column_int64(statement, 3);
    if (sqlite3_column_int(statement, 1) != 0 &&
        dg_ledger_liveness(dg_ledger_text(statement, 2), pid, sqlite3_column_int64(statement, 4)) == DG_ALIVE)
        DG_TRY(dg_fail(ctx, DG_EINTERRUPTED, "run %s is being made by process %lld; wait for it or stop it",
                       info->resume, (long long)pid));
    const void *token = sqlite3_column_blob(statement, 5);
    run->clean = token && info->resume_token && sqlite3_column_int(statement, 1) == 0 &&
                 sqlite3_column_bytes(statement, 5) == DG_LEDGER_TOKEN_BYTES &&
                 memcmp(token, info->resume_token, DG_LEDGER_TOKEN_BYTES) == 0;
done:
    sqlite3_finalize(statement);
    return status;
}

/* What the run itself had reserved in an earlier life does not count beside what it plans now. */
static void drop_own_reservations(dg_ledger_list *spent, const char *id) {
    for (size_t i = 0; i < spent->count; i++)
        if (strcmp(spent->entries[i].run, id) == 0)
            spent->entries[i].reserved = 0;
}

static dg_status check_budget(dg_ctx *ctx, dg_ledger_run *run, const dg_ledger_run_info *info) {
    dg_ledger_list spent = {0};
    dg_status status = DG_OK;
    if (!info->check)
        return DG_OK;
    DG_TRY(dg_ledger_spent_on(ctx, run->ledger, info->set, &spent));
    drop_own_reservations(&spent, run->id);
    DG_TRY(info->check(ctx, info->check_user, &spent, info->planned, info->planned_count));
done:
    dg_ledger_list_free(&spent);
    return status;
}

static dg_status record_run(dg_ctx *ctx, dg_ledger_run *run, const dg_ledger_run_info *info) {
    dg_status status = DG_OK;
    dg_ledger_owner self;
    dg_ledger_self(&self);
    if (info->resume)
        DG_TRY(dg_ledger_change(ctx, run->ledger,
                                "UPDATE run SET running = 1, ended = NULL, resume_token = NULL, owner = ?, host = ?, "
                                "pid = ?, pid_started = ? WHERE id = ?",
                                "ssiis", run->owner, self.host, self.pid, self.started, run->id));
    else
        DG_TRY(dg_ledger_change(ctx, run->ledger,
                                "INSERT INTO run(id, data_set, command, adjacency, unit, delta, started, running, "
                                "owner, host, pid, pid_started) "
                                "VALUES(?, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), 1, ?, ?, ?, ?)",
                                "sisssdssii", run->id, info->set, info->command, info->adjacency, info->unit,
                                info->delta, run->owner, self.host, self.pid, self.started));
    DG_TRY(dg_ledger_change(ctx, run->ledger, "UPDATE mechanism SET planned = 0 WHERE run = ?", "s", run->id));
    for (size_t i = 0; i < info->planned_count; i++) {
        const dg_ledger_mechanism *m = &info->planned[i];
        DG_TRY(dg_ledger_change(ctx, run->ledger,
                                "INSERT INTO mechanism(run, kind, sample_rate, noise_multiplier, booked, planned) "
                                "VALUES(?, ?, ?, ?, 0, ?) ON CONFLICT DO UPDATE SET planned = planned + "
                                "excluded.planned",
                                "ssddi", run->id, dg_ledger_kind_name(m->kind), m->sample_rate, m->noise_multiplier,
                                m->steps));
    }
done:
    return status;
}

dg_status dg_ledger_begin(dg_ctx *ctx, dg_ledger *ledger, const dg_ledger_run_info *info, dg_ledger_run **out) {
    dg_status status = DG_OK;
    dg_ledger_run *run = NULL;
    const size_t n = info->planned_count;
    *out = NULL;
    DG_TRY(check_info(ctx, info));
    if (sodium_init() < 0)
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "libsodium cannot be initialised"));
    DG_TRY(dg_alloc(ctx, &run, 1, sizeof *run, "a run of the privacy ledger"));
    DG_TRY(dg_alloc(ctx, &run->mechanisms, n, sizeof *run->mechanisms, "a run of the privacy ledger"));
    DG_TRY(dg_alloc(ctx, &run->left, n, sizeof *run->left, "a run of the privacy ledger"));
    DG_TRY(dg_alloc(ctx, &run->planned, n, sizeof *run->planned, "a run of the privacy ledger"));
    memcpy(run->mechanisms, info->planned, n * sizeof *run->mechanisms);
    for (size_t i = 0; i < n; i++) {
        run->planned[i] = run->mechanisms[i].steps;
        run->mechanisms[i].steps = 0;
    }
    run->ledger = ledger;
    run->count = n;
    run->block_steps = info->block_steps > 0 ? info->block_steps : DG_LEDGER_BLOCK_STEPS;
    random_name(run->owner);
    random_name(run->id);
    if (info->resume)
        snprintf(run->id, sizeof run->id, "%s", info->resume);
    DG_TRY(dg_ledger_lock(ctx, ledger));
    if (info->resume)
        status = examine(ctx, run, info);
    if (status == DG_OK)
        status = check_budget(ctx, run, info);
    if (status == DG_OK)
        status = record_run(ctx, run, info);
    DG_TRY(dg_ledger_unlock(ctx, ledger, status));
    *out = run;
    run = NULL;
done:
    dg_ledger_run_free(run);
    return status;
}

const char *dg_ledger_run_id(const dg_ledger_run *run) {
    return run->id;
}

bool dg_ledger_run_is_clean(const dg_ledger_run *run) {
    return run->clean;
}

void dg_ledger_run_free(dg_ledger_run *run) {
    if (!run)
        return;
    free(run->mechanisms);
    free(run->left);
    free(run->planned);
    free(run);
}

/* ---- steps ---- */

/* Inside a transaction: is the run still this process's? */
static dg_status check_owner(dg_ctx *ctx, dg_ledger_run *run) {
    dg_status status = DG_OK;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    DG_TRY(dg_ledger_query(ctx, run->ledger, &statement,
                           "SELECT 1 FROM run WHERE id = ? AND owner = ? AND running <> 0", "ss", run->id, run->owner));
    DG_TRY(dg_ledger_row(ctx, run->ledger, statement, &row));
    if (!row)
        status = dg_fail(ctx, DG_EINTERRUPTED,
                         "%s: run %s was taken over by another process or released; nothing more is spent here",
                         run->ledger->path, run->id);
done:
    sqlite3_finalize(statement);
    return status;
}

/* Inside a transaction. booked += steps (less than 0: given back); planned goes down by what is booked. */
static dg_status move_steps(dg_ctx *ctx, dg_ledger_run *run, size_t mechanism, int64_t steps) {
    const dg_ledger_mechanism *m = &run->mechanisms[mechanism];
    dg_status status = DG_OK;
    DG_TRY(dg_ledger_change(ctx, run->ledger,
                            "UPDATE mechanism SET booked = booked + ?1, planned = max(planned - ?1, 0) WHERE run = ?2 "
                            "AND kind = ?3 AND sample_rate = ?4 AND noise_multiplier = ?5",
                            "issdd", steps, run->id, dg_ledger_kind_name(m->kind), m->sample_rate,
                            m->noise_multiplier));
    if (sqlite3_changes(run->ledger->db) != 1)
        status = dg_ledger_damaged(ctx, run->ledger, "a run that is being made is gone from it");
done:
    return status;
}

/* A block, but of what is planned no more than there is: the single release of a costly query is booked as one. */
static int64_t next_block(const dg_ledger_run *run, size_t mechanism) {
    const int64_t planned = run->planned[mechanism];
    return planned > 0 && planned < run->block_steps ? planned : run->block_steps;
}

dg_status dg_ledger_step(dg_ctx *ctx, dg_ledger_run *run, size_t mechanism) {
    dg_status status = DG_OK;
    assert(mechanism < run->count);
    if (run->left[mechanism] == 0) {
        const int64_t block = next_block(run, mechanism);
        DG_TRY(dg_ledger_lock(ctx, run->ledger));
        status = check_owner(ctx, run);
        if (status == DG_OK)
            status = move_steps(ctx, run, mechanism, block);
        DG_TRY(dg_ledger_unlock(ctx, run->ledger, status));
        run->left[mechanism] = block;
        run->planned[mechanism] -= run->planned[mechanism] > 0 ? block : 0;
    }
    run->left[mechanism]--;
    run->mechanisms[mechanism].steps++;
done:
    return status;
}

dg_status dg_ledger_settle(dg_ctx *ctx, dg_ledger_run *run, const uint8_t *token) {
    dg_status status = DG_OK;
    DG_TRY(dg_ledger_lock(ctx, run->ledger));
    status = check_owner(ctx, run);
    for (size_t i = 0; i < run->count && status == DG_OK; i++)
        status = move_steps(ctx, run, i, -run->left[i]);
    if (status == DG_OK)
        status = dg_ledger_change(ctx, run->ledger, "UPDATE mechanism SET planned = 0 WHERE run = ?", "s", run->id);
    if (status == DG_OK)
        status = dg_ledger_change(ctx, run->ledger,
                                  "UPDATE run SET running = 0, owner = NULL, resume_token = ?, "
                                  "ended = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = ?",
                                  "bs", (const void *)token, (int64_t)(token ? DG_LEDGER_TOKEN_BYTES : 0), run->id);
    DG_TRY(dg_ledger_unlock(ctx, run->ledger, status));
    memset(run->left, 0, run->count * sizeof *run->left);
done:
    return status;
}

/* ---- releasing another's reservations ---- */

static dg_status refuse_living(dg_ctx *ctx, dg_ledger *ledger, const char *run) {
    dg_status status = DG_OK;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    DG_TRY(dg_ledger_query(ctx, ledger, &statement, "SELECT running, host, pid, pid_started FROM run WHERE id = ?", "s",
                           run));
    DG_TRY(dg_ledger_row(ctx, ledger, statement, &row));
    if (!row)
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: no run %s in the privacy ledger; `diffgen budget` lists them",
                       ledger->path, run));
    const int64_t pid = sqlite3_column_int64(statement, 2);
    if (sqlite3_column_int(statement, 0) != 0 &&
        dg_ledger_liveness(dg_ledger_text(statement, 1), pid, sqlite3_column_int64(statement, 3)) == DG_ALIVE)
        status =
            dg_fail(ctx, DG_EINTERRUPTED, "run %s is being made by process %lld; stop it first", run, (long long)pid);
done:
    sqlite3_finalize(statement);
    return status;
}

dg_status dg_ledger_release(dg_ctx *ctx, dg_ledger *ledger, const char *run) {
    dg_status status = DG_OK;
    if (!ledger->db)
        return dg_fail(ctx, DG_ENOINPUT, "%s: no privacy ledger there yet", ledger->path);
    DG_TRY(dg_ledger_lock(ctx, ledger));
    status = refuse_living(ctx, ledger, run);
    if (status == DG_OK)
        status = dg_ledger_change(ctx, ledger, "UPDATE mechanism SET planned = 0 WHERE run = ?", "s", run);
    if (status == DG_OK)
        status = dg_ledger_change(ctx, ledger, "UPDATE run SET running = 0, owner = NULL WHERE id = ?", "s", run);
    status = dg_ledger_unlock(ctx, ledger, status);
done:
    return status;
}
