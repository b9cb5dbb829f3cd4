/* Where the file is, who may read it, and what is refused in its place. */
#include "core/fs.h"
#include "ledger_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

static void expect(dg_ctx *ctx, const char *path, dg_ledger_access access, dg_status expected, const char *part) {
    dg_ledger *ledger = NULL;
    const dg_status status = dg_ledger_open(ctx, path, access, &ledger);
    ck_assert_msg(status == expected, "%s, not %s: %s", dg_status_name(status), dg_status_name(expected),
                  dg_last_error(ctx));
    ck_assert_ptr_null(ledger);
    ck_assert_msg(strstr(dg_last_error(ctx), part) && strstr(dg_last_error(ctx), path), "%s", dg_last_error(ctx));
    dg_ctx_clear_error(ctx);
}

static void sql(const char *path, const char *text) {
    sqlite3 *db = NULL;
    char *problem = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, &problem) == SQLITE_OK, "%s", problem);
    sqlite3_close(db);
}

static int mode_of(const char *path) {
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

/* A ledger with one ended run of 20 steps; its path. */
static const char *make_ledger(dg_ctx *ctx, const char *name) {
    dg_ledger *ledger;
    dg_ledger_run *run;
    const char *path = ledger_at(name);
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_WRITE, &ledger));
    dg_ledger_run_info info = run_info(register_images(ctx, ledger, "set", 0, 3000));
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    make_steps(ctx, run, 20);
    DG_CK(ctx, dg_ledger_settle(ctx, run, NULL));
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
    return path;
}

START_TEST(places_follow_the_environment) {
    dg_ctx *ctx = dg_test_context();
    char *path;
    static const struct {
        const char *ledger, *state, *home, *expected;
    } cases[] = {
        {"/x/y.db", "/state", "/home/me", "/x/y.db"},
        {"", "/state", "/home/me", "/state/diffgen/privacy-ledger.sqlite"},
        {NULL, "relative", "/home/me", "/home/me/.local/state/diffgen/privacy-ledger.sqlite"},
        {NULL, NULL, "/home/me", "/home/me/.local/state/diffgen/privacy-ledger.sqlite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const names[] = {"DIFFGEN_LEDGER", "XDG_STATE_HOME", "HOME"};
        const char *const values[] = {cases[i].ledger, cases[i].state, cases[i].home};
        for (int k = 0; k < 3; k++)
            values[k] ? setenv(names[k], values[k], 1) : unsetenv(names[k]);
        DG_CK(ctx, dg_ledger_default_path(ctx, &path));
        ck_assert_str_eq(path, cases[i].expected);
        free(path);
    }
    unsetenv("HOME");
    ck_assert_int_eq(dg_ledger_default_path(ctx, &path), DG_ECREATE);
    ck_assert_ptr_null(path);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(only_its_owner_may_look) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    umask(0);
    const char *path = make_ledger(ctx, "new/place/ledger");
    ck_assert_int_eq(mode_of(path), 0600);
    char directory[512];
    snprintf(directory, sizeof directory, "%s/new/place", dg_test_dir());
    ck_assert_int_eq(mode_of(directory), 0700);
    char **names;
    size_t count;
    DG_CK(ctx, dg_fs_list(ctx, directory, &names, &count));
    ck_assert_uint_eq(count, 1); /* no draft left */
    dg_fs_free_list(names, count);
    ck_assert_int_eq(chmod(path, 0644), 0);
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
    ck_assert_int_eq(mode_of(path), 0600);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(reading_makes_nothing) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_set *sets;
    size_t count;
    const char *path = ledger_at("nowhere/ledger");
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 5), 0);
    DG_CK(ctx, dg_ledger_sets(ctx, ledger, &sets, &count));
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(dg_ledger_release(ctx, ledger, "x"), DG_ENOINPUT);
    ck_assert_str_eq(dg_ledger_path(ledger), path);
    ck_assert(!dg_fs_exists(path));
    dg_ledger_close(ledger);
    dg_ledger_close(NULL);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(foreign_files_are_refused) {
    dg_ctx *ctx = dg_test_context();
    char text[4096];
    memset(text, 'x', sizeof text);
    DG_CK(ctx, dg_fs_write_atomic(ctx, ledger_at("text"), text, sizeof text));
    DG_CK(ctx, dg_fs_write_atomic(ctx, ledger_at("empty"), "", 0));
    sql(ledger_at("other.db"), "CREATE TABLE bookmarks(url TEXT)");
    static const dg_ledger_access both[] = {DG_LEDGER_READ, DG_LEDGER_WRITE};
    for (int i = 0; i < 2; i++) {
        expect(ctx, ledger_at("text"), both[i], DG_EDATA, "not an SQLite database");
        expect(ctx, ledger_at("empty"), both[i], DG_EDATA, "the file is empty");
        expect(ctx, ledger_at("other.db"), both[i], DG_EDATA, "another program's database");
        expect(ctx, dg_test_dir(), both[i], DG_EDATA, "not a file");
    }
    expect(ctx, "/proc/none/ledger", DG_LEDGER_WRITE, DG_ECREATE, "/proc/none");
    dg_ledger *ledger;
    ck_assert_int_eq(dg_ledger_open(ctx, ledger_at("text/ledger"), DG_LEDGER_WRITE, &ledger), DG_ECREATE);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(other_tables_are_refused) {
    static const struct {
        const char *sql, *part;
    } cases[] = {
        {"PRAGMA user_version=2", "layout 2"},
        {"DROP TABLE overlap", "not those of a ledger"},
        {"CREATE TABLE more(x)", "not those of a ledger"},
        /* what would make bookings vanish */
        {"CREATE TRIGGER t AFTER UPDATE ON mechanism BEGIN UPDATE mechanism SET booked = 0; END",
         "not those of a ledger"},
        {"ALTER TABLE mechanism ADD COLUMN note TEXT", "not those of a ledger"},
    };
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "ledger-%zu", i);
        const char *path = make_ledger(ctx, name);
        sql(path, cases[i].sql);
        expect(ctx, path, DG_LEDGER_WRITE, DG_EDATA, cases[i].part);
    }
    dg_ctx_free(ctx);
}
END_TEST

/* A value that no diffgen writes must not count as nothing spent. */
START_TEST(impossible_values_are_damage) {
    static const char *const cases[] = {
        "UPDATE mechanism SET booked = -5",          "UPDATE mechanism SET sample_rate = 0",
        "UPDATE mechanism SET sample_rate = 'text'", "UPDATE mechanism SET noise_multiplier = -1",
        "UPDATE mechanism SET kind = 'magic'",       "UPDATE mechanism SET noise_multiplier = 9e999",
        "UPDATE data_set SET members = x'010203'",   "UPDATE data_set SET members = x''"};
    dg_ctx *ctx = dg_test_context();
    uint8_t *hashes = images(0, 3000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32];
        dg_ledger *ledger;
        dg_ledger_list list;
        snprintf(name, sizeof name, "ledger-%zu", i);
        const char *path = make_ledger(ctx, name);
        sql(path, cases[i]);
        DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
        ck_assert_msg(dg_ledger_spent(ctx, ledger, hashes, 3000, &list) == DG_EDATA, "%s", cases[i]);
        ck_assert_uint_eq(list.count, 0);
        dg_ctx_clear_error(ctx);
        dg_ledger_close(ledger);
    }
    free(hashes);
    dg_ctx_free(ctx);
}
END_TEST

/* Cut at every page, and with noise in its pages: an error or the true figure, never less, never a crash. */
START_TEST(damaged_files_never_under_count) {
    dg_ctx *ctx = dg_test_context();
    char *good;
    size_t size;
    uint8_t *hashes = images(0, 3000);
    int refused = 0;
    DG_CK(ctx, dg_fs_read_file(ctx, make_ledger(ctx, "good"), 1 << 24, &good, &size));
    ck_assert_uint_gt(size, 8 * 4096);
    char *bad = malloc(size);
    const int cuts = (int)(size / 4096), all = cuts + 60;
    for (int i = 0; i < all; i++) {
        dg_ledger *ledger = NULL;
        dg_ledger_list list = {0};
        const size_t length = i < cuts ? (size_t)i * 4096 + 100 : size;
        memcpy(bad, good, size);
        if (i >= cuts) { /* a page's header region */
            const size_t page = (size_t)(i - cuts) % (size_t)cuts * 4096;
            memset(bad + page + (size_t)(i % 7) * 3, 0xa5 ^ i, 40);
        }
        DG_CK(ctx, dg_fs_write_atomic(ctx, ledger_at("bad"), bad, length));
        dg_status status = dg_ledger_open(ctx, ledger_at("bad"), DG_LEDGER_READ, &ledger);
        if (status == DG_OK)
            status = dg_ledger_spent(ctx, ledger, hashes, 3000, &list);
        if (status == DG_OK) {
            ck_assert_uint_eq(list.count, 1);
            ck_assert_int_ge(list.entries[0].mechanism.steps, 20);
        } else {
            ck_assert_msg(status == DG_EDATA, "%s", dg_last_error(ctx));
            ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), ledger_at("bad")));
            refused++;
        }
        dg_ctx_clear_error(ctx);
        dg_ledger_list_free(&list);
        dg_ledger_close(ledger);
    }
    ck_assert_int_gt(refused, cuts - 1);
    free(good);
    free(bad);
    free(hashes);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(deleted_ledgers_are_noticed_by_running_jobs) {
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    dg_ledger_run *run;
    const char *path = ledger_at("gone");
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_WRITE, &ledger));
    dg_ledger_run_info info = run_info(register_images(ctx, ledger, "set", 0, 10));
    DG_CK(ctx, dg_ledger_begin(ctx, ledger, &info, &run));
    make_steps(ctx, run, DG_LEDGER_BLOCK_STEPS);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_ne(dg_ledger_step(ctx, run, 0), DG_OK);
    dg_ledger_run_free(run);
    dg_ledger_close(ledger);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(read_only_ledgers_can_be_read) {
    enum { NOBODY = 65534 };
    dg_ctx *ctx = dg_test_context();
    dg_ledger *ledger;
    if (geteuid() == 0) { /* whom modes do not stop */
        ck_assert_int_eq(chown(dg_test_dir(), NOBODY, NOBODY), 0);
        ck_assert_int_eq(seteuid(NOBODY), 0);
    }
    const char *path = make_ledger(ctx, "ledger");
    ck_assert_int_eq(chmod(path, 0400), 0);
    DG_CK(ctx, dg_ledger_open(ctx, path, DG_LEDGER_READ, &ledger));
    ck_assert_int_eq(steps_spent(ctx, ledger, 0, 10), 20);
    dg_ledger_close(ledger);
    expect(ctx, path, DG_LEDGER_WRITE, DG_ECREATE, "cannot be written to");
    ck_assert_int_eq(seteuid(getuid()), 0);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("ledger_file");
    TCase *cases = tcase_create("ledger_file");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, places_follow_the_environment);
    tcase_add_test(cases, only_its_owner_may_look);
    tcase_add_test(cases, reading_makes_nothing);
    tcase_add_test(cases, foreign_files_are_refused);
    tcase_add_test(cases, other_tables_are_refused);
    tcase_add_test(cases, impossible_values_are_damage);
    tcase_add_test(cases, damaged_files_never_under_count);
    tcase_add_test(cases, deleted_ledgers_are_noticed_by_running_jobs);
    tcase_add_test(cases, read_only_ledgers_can_be_read);
    suite_add_tcase(suite, cases);
    return suite;
}
