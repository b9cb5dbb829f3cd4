/* The ledger's file: where it is, making it, opening it, and refusing what is not one.
 *
 * Making: the schema is written to a file of another name, which is then linked to its own; so there is never a ledger
 * without tables, an empty file is a damaged one, and of two processes that make it at once one wins. */
#include "core/fs.h"
#include "core/text.h"
#include "privacy/ledger_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { APPLICATION = 0x64676c65 /* "dgle" */, LAYOUT = 1, WAIT_MS = 60000 };

/* Kept verbatim by SQLite, so that a schema which is not ours is seen. */
static const char *const schema[] = {
    /* members: the first 8 bytes of each content hash, sorted, each once */
    "CREATE TABLE data_set(id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, name TEXT NOT NULL, "
    "images INTEGER NOT NULL, first_seen TEXT NOT NULL, members BLOB NOT NULL)",
    /* both directions, and each set with itself */
    "CREATE TABLE overlap(data_set INTEGER NOT NULL REFERENCES data_set(id), other INTEGER NOT NULL REFERENCES "
    "data_set(id), shared INTEGER NOT NULL, PRIMARY KEY(data_set, other)) WITHOUT ROWID",
    /* owner: a random name of the process's hold on the run; resume_token: set by a clean end, taken by a resumption */
    "CREATE TABLE run(id TEXT PRIMARY KEY, data_set INTEGER NOT NULL REFERENCES data_set(id), command TEXT NOT NULL, "
    "adjacency TEXT NOT NULL, unit TEXT NOT NULL, delta REAL NOT NULL, started TEXT NOT NULL, ended TEXT, "
    "running INTEGER NOT NULL, owner TEXT, host TEXT NOT NULL, pid INTEGER NOT NULL, pid_started INTEGER NOT NULL, "
    "resume_token BLOB)",
    /* booked: spent; planned: steps beyond those that the run means to make */
    "CREATE TABLE mechanism(run TEXT NOT NULL REFERENCES run(id), kind TEXT NOT NULL, sample_rate REAL NOT NULL, "
    "noise_multiplier REAL NOT NULL, booked INTEGER NOT NULL, planned INTEGER NOT NULL, "
    "PRIMARY KEY(run, kind, sample_rate, noise_multiplier)) WITHOUT ROWID",
    "CREATE INDEX run_by_data_set ON run(data_set)",
};
enum { SCHEMA_COUNT = sizeof schema / sizeof *schema };

dg_status dg_ledger_default_path(dg_ctx *ctx, char **path) {
    const char *named = getenv("DIFFGEN_LEDGER");
    *path = NULL;
    if (!named || !*named)
        return dg_fs_state_path(ctx, "privacy-ledger.sqlite", "DIFFGEN_LEDGER", path);
    *path = strdup(named);
    return *path ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory for the privacy ledger's path");
}

const char *dg_ledger_path(const dg_ledger *ledger) {
    return ledger->path;
}

/* ---- making ---- */

static dg_status connect(dg_ctx *ctx, dg_ledger *ledger, const char *path) {
    /* also for reading: what a killed process left half written is put right first, where that is allowed */
    int code = sqlite3_open_v2(path, &ledger->db, SQLITE_OPEN_READWRITE, NULL);
    if (code != SQLITE_OK)
        return dg_ledger_fail(ctx, ledger, code, "open");
    sqlite3_extended_result_codes(ledger->db, 1);
    sqlite3_busy_timeout(ledger->db, WAIT_MS);
    /* no functions, triggers or views that a foreign file brings along; each commit and its directory entry are on the
     * disk before it returns */
    sqlite3_db_config(ledger->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(ledger->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(ledger->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(ledger->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    return dg_ledger_exec(ctx, ledger, "PRAGMA synchronous=EXTRA; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=ON",
                          "open");
}

static dg_status write_schema(dg_ctx *ctx, dg_ledger *ledger) {
    dg_status status = DG_OK;
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION, LAYOUT);
    DG_TRY(dg_ledger_lock(ctx, ledger));
    for (int i = 0; i < SCHEMA_COUNT && status == DG_OK; i++)
        status = dg_ledger_exec(ctx, ledger, schema[i], "make");
    if (status == DG_OK)
        status = dg_ledger_exec(ctx, ledger, sql, "make");
    status = dg_ledger_unlock(ctx, ledger, status);
done:
    return status;
}

static dg_status sync_directory(dg_ctx *ctx, const char *path) {
    char *directory = strdup(path);
    if (!directory)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the privacy ledger's path");
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    const int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (fd >= 0)
        close(fd);
    free(directory);
    return good ? DG_OK : dg_fail(ctx, DG_EIO, "%s: cannot sync its directory: %s", path, strerror(errno));
}

static dg_status make(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    dg_ledger draft = {0};
    dg_str name = {0};
    int fd = -1;
    DG_TRY(dg_fs_make_private_parent(ctx, path, "DIFFGEN_LEDGER"));
    dg_str_printf(&name, "%s.tmp-%ld", path, (long)getpid());
    if (!dg_str_ok(&name))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for the privacy ledger's path"));
    draft.path = name.data;
    unlink(name.data);
    fd = open(name.data, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        DG_TRY(dg_fail(ctx, errno == ENOSPC || errno == EDQUOT ? DG_EIO : DG_ECREATE,
                       "%s: cannot create the privacy ledger: %s; DIFFGEN_LEDGER names another place", path,
                       strerror(errno)));
    DG_TRY(connect(ctx, &draft, name.data));
    DG_TRY(write_schema(ctx, &draft));
    sqlite3_close(draft.db);
    draft.db = NULL;
    if (link(name.data, path) != 0 && errno != EEXIST) /* another process was faster: its ledger it is */
        DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: cannot create the privacy ledger: %s", path, strerror(errno)));
    unlink(name.data);
    DG_TRY(sync_directory(ctx, path));
done:
    sqlite3_close(draft.db);
    if (fd >= 0) {
        close(fd);
        unlink(name.data);
    }
    dg_str_free(&name);
    return status;
}

/* ---- opening ---- */

/* Only its owner may read it: it tells whose images were used. */
static dg_status check_file(dg_ctx *ctx, const dg_ledger *ledger) {
    struct stat st;
    if (stat(ledger->path, &st) != 0)
        return dg_fail(ctx, DG_ECREATE, "%s: cannot open the privacy ledger: %s", ledger->path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return dg_fail(ctx, DG_EDATA, "%s: not a privacy ledger (not a file); DIFFGEN_LEDGER names the file",
                       ledger->path);
    if (st.st_size == 0)
        return dg_ledger_damaged(ctx, ledger, "the file is empty");
    if ((st.st_mode & 077) != 0 && chmod(ledger->path, 0600) == 0)
        dg_log(ctx, DG_LOG_WARN, "%s: the privacy ledger was open to others; its mode is 0600 now", ledger->path);
    return DG_OK;
}

static dg_status pragma(dg_ctx *ctx, dg_ledger *ledger, const char *sql, int64_t *value) {
    sqlite3_stmt *statement = NULL;
    bool row = false;
    dg_status status = DG_OK;
    DG_TRY(dg_ledger_query(ctx, ledger, &statement, sql, ""));
    DG_TRY(dg_ledger_row(ctx, ledger, statement, &row));
    *value = row ? sqlite3_column_int64(statement, 0) : 0;
done:
    sqlite3_finalize(statement);
    return status;
}

static dg_status check_schema(dg_ctx *ctx, dg_ledger *ledger) {
    dg_status status = DG_OK;
    int64_t count = 0, known = 0;
    sqlite3_stmt *statement = NULL;
    bool row = false;
    DG_TRY(pragma(ctx, ledger, "SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL", &count));
    for (int i = 0; i < SCHEMA_COUNT; i++) {
        DG_TRY(dg_ledger_query(ctx, ledger, &statement, "SELECT 1 FROM sqlite_schema WHERE sql = ?", "s", schema[i]));
        DG_TRY(dg_ledger_row(ctx, ledger, statement, &row));
        known += row;
        sqlite3_finalize(statement);
        statement = NULL;
    }
    if (count != SCHEMA_COUNT || known != SCHEMA_COUNT)
        DG_TRY(dg_ledger_damaged(ctx, ledger, "its tables are not those of a ledger"));
    DG_TRY(dg_ledger_query(ctx, ledger, &statement, "PRAGMA quick_check(1)", ""));
    DG_TRY(dg_ledger_row(ctx, ledger, statement, &row));
    if (!row || strcmp(dg_ledger_text(statement, 0), "ok") != 0)
        status = dg_ledger_damaged(ctx, ledger, row ? dg_ledger_text(statement, 0) : "it cannot be checked");
done:
    sqlite3_finalize(statement);
    return status;
}

static dg_status check_contents(dg_ctx *ctx, dg_ledger *ledger) {
    dg_status status = DG_OK;
    int64_t application = 0, layout = 0;
    DG_TRY(pragma(ctx, ledger, "PRAGMA application_id", &application));
    DG_TRY(pragma(ctx, ledger, "PRAGMA user_version", &layout));
    if (application != APPLICATION)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a privacy ledger (another program's database); DIFFGEN_LEDGER names it",
                       ledger->path));
    if (layout != LAYOUT)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: a privacy ledger of layout %lld; this diffgen knows layout %d", ledger->path,
                       (long long)layout, LAYOUT));
    DG_TRY(check_schema(ctx, ledger));
done:
    return status;
}

dg_status dg_ledger_open(dg_ctx *ctx, const char *path, dg_ledger_access access, dg_ledger **out) {
    dg_status status = DG_OK;
    dg_ledger *ledger = NULL;
    struct stat st;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &ledger, 1, sizeof *ledger, "the privacy ledger"));
    if (!path)
        DG_TRY(dg_ledger_default_path(ctx, &ledger->path));
    else if (!(ledger->path = strdup(path)))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for the privacy ledger's path"));
    const bool missing = stat(ledger->path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
    if (missing && access == DG_LEDGER_WRITE)
        DG_TRY(make(ctx, ledger->path));
    if (!missing || access == DG_LEDGER_WRITE) {
        DG_TRY(check_file(ctx, ledger));
        DG_TRY(connect(ctx, ledger, ledger->path));
        DG_TRY(check_contents(ctx, ledger));
        if (access == DG_LEDGER_WRITE && sqlite3_db_readonly(ledger->db, "main") == 1)
            DG_TRY(dg_fail(ctx, DG_ECREATE,
                           "%s: the privacy ledger cannot be written to, and nothing is spent that is not recorded",
                           ledger->path));
    }
    *out = ledger;
    ledger = NULL;
done:
    dg_ledger_close(ledger);
    return status;
}

void dg_ledger_close(dg_ledger *ledger) {
    if (!ledger)
        return;
    sqlite3_close(ledger->db);
    free(ledger->path);
    free(ledger);
}

/* ---- processes ---- */

/* Field 22 of /proc/<pid>/stat; 0 if there is none or the process has ended (a zombie). The second field is a name in
 * parentheses and may hold anything. */
static int64_t start_ticks(int64_t pid) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    FILE *file = fopen(path, "re");
    const size_t n = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file)
        fclose(file);
    line[n] = '\0';
    char *at = strrchr(line, ')');
    if (at && at[1] == ' ' && at[2] == 'Z')
        return 0;
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoll(at, NULL, 10) : 0;
}

void dg_ledger_self(dg_ledger_owner *owner) {
    char host[128] = "", space[64] = "";
    memset(owner, 0, sizeof *owner);
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        strcpy(host, "unknown-host");
    /* two containers may have one name, but not one another's process numbers */
    if (readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0)
        space[0] = '\0';
    snprintf(owner->host, sizeof owner->host, "%s %s", host, space);
    owner->pid = getpid();
    owner->started = start_ticks(owner->pid);
}

dg_liveness dg_ledger_liveness(const char *host, int64_t pid, int64_t started) {
    dg_ledger_owner self;
    dg_ledger_self(&self);
    if (strcmp(host, self.host) != 0)
        return DG_ELSEWHERE;
    if (pid <= 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) != 0 && errno == ESRCH))
        return DG_DEAD;
    return start_ticks(pid) == started ? DG_ALIVE : DG_DEAD;
}
