/* Run folders and checkpoints: layout, lock, logs, what a killed or damaged run leaves, how --model is understood. */
#include "core/fs.h"
#include "io/checkpoint.h"
#include "io/run_folder.h"
#include "io/safetensors.h"
#include "support/test_main.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static dg_ctx *ctx;

static void setup(void) {
    ctx = dg_test_context();
}

static void teardown(void) {
    dg_ctx_free(ctx);
}

static void shell(const char *format, ...) {
    char command[2048], rest[1500];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    snprintf(command, sizeof command, "cd '%s' && %s", dg_test_dir(), rest);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static const char *in_dir(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dg_test_dir(), name);
    return path;
}

/* ---- checkpoints ---------------------------------------------------------------------------------------------- */

enum { N = 1000 };
static float weights[N], ema[N];
static dg_checkpoint_array arrays[2] = {{"weights", weights, N}, {"ema", ema, N}};

static void write_checkpoint(const char *path, int step) {
    json_t *state = json_pack("{s:i, s:[s], s:f}", "step", step, "names", "größe", "x", 0.1);
    for (int i = 0; i < N; i++) {
        weights[i] = (float)(i + step) * 0.37f;
        ema[i] = -weights[i];
    }
    DG_CK(ctx, dg_checkpoint_write(ctx, path, arrays, 2, state));
    json_decref(state);
}

START_TEST(test_checkpoint_round_trip) {
    json_t *state = NULL;
    write_checkpoint(in_dir("ck"), 5);
    write_checkpoint(in_dir("ck"), 7); /* replaces */
    memset(weights, 0, sizeof weights);
    memset(ema, 0, sizeof ema);
    DG_CK(ctx, dg_checkpoint_read_state(ctx, in_dir("ck"), &state));
    ck_assert_int_eq(json_integer_value(json_object_get(state, "step")), 7);
    ck_assert_double_eq(json_real_value(json_object_get(state, "x")), 0.1);
    DG_CK(ctx, dg_checkpoint_read_arrays(ctx, in_dir("ck"), arrays, 2));
    for (int i = 0; i < N; i++) {
        ck_assert_float_eq(weights[i], (float)(i + 7) * 0.37f);
        ck_assert_float_eq(ema[i], -weights[i]);
    }
    json_decref(state);
    shell("test \"$(ls -A .)\" = ck && test \"$(ls ck | tr '\\n' ' ')\" = 'state.json state.safetensors '");
}
END_TEST

START_TEST(test_checkpoint_refuses_other_arrays) {
    dg_checkpoint_array other[3] = {arrays[0], arrays[1], {"more", ema, N}};
    write_checkpoint(in_dir("ck"), 1);
    ck_assert_int_eq(dg_checkpoint_read_arrays(ctx, in_dir("ck"), other, 3), DG_EDATA);
    ck_assert_int_eq(dg_checkpoint_read_arrays(ctx, in_dir("ck"), other, 1), DG_EDATA);
    other[1].name = "else";
    ck_assert_int_eq(dg_checkpoint_read_arrays(ctx, in_dir("ck"), other, 2), DG_EDATA);
    other[1] = arrays[1];
    other[1].count = N - 1;
    ck_assert_int_eq(dg_checkpoint_read_arrays(ctx, in_dir("ck"), other, 2), DG_EDATA);
    DG_CK(ctx, dg_checkpoint_read_arrays(ctx, in_dir("ck"), arrays, 2));
}
END_TEST

START_TEST(test_checkpoint_refuses_nan) {
    json_t *state = json_object();
    ema[3] = NAN;
    DG_CK(ctx, dg_checkpoint_write(ctx, in_dir("ck"), arrays, 2, state));
    ck_assert_int_eq(dg_checkpoint_read_arrays(ctx, in_dir("ck"), arrays, 2), DG_EDATA);
    json_decref(state);
}
END_TEST

static const struct {
    const char *damage;
    dg_status status;
} damages[] = {
    {"rm -r ck", DG_ENOINPUT},
    {"rm ck/state.json", DG_ENOINPUT},
    {"rm ck/state.safetensors", DG_ENOINPUT},
    {"truncate -s -4 ck/state.safetensors", DG_EDATA},
    {"truncate -s 10 ck/state.json", DG_EDATA},
    {"echo '{}' > ck/state.json", DG_EDATA},
    {"sed -i 's/\"ema\": 1000/\"ema\": 1001/' ck/state.json", DG_EDATA},
    {"sed -i 's/\"ema\": 1000/\"emb\": 1000/' ck/state.json", DG_EDATA},
};

START_TEST(test_damaged_checkpoint) {
    write_checkpoint(in_dir("ck"), 1);
    DG_CK(ctx, dg_checkpoint_read_state(ctx, in_dir("ck"), NULL));
    shell("%s", damages[_i].damage);
    ck_assert_int_eq(dg_checkpoint_read_state(ctx, in_dir("ck"), NULL), damages[_i].status);
}
END_TEST

/* ---- run folders ---------------------------------------------------------------------------------------------- */

static void checkpoint_in(dg_run *run, int step) {
    char *path = dg_run_checkpoint_path(run, step);
    write_checkpoint(path, step);
    free(path);
}

static int64_t newest(dg_run *run) {
    char *path = NULL;
    int64_t step = -1;
    DG_CK(ctx, dg_run_newest_checkpoint(ctx, run, &path, &step));
    if (!path)
        step = -1;
    free(path);
    return step;
}

START_TEST(test_checkpoints_of_a_run) {
    dg_run *run = NULL;
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    ck_assert_int_eq(newest(run), -1);
    checkpoint_in(run, 100);
    checkpoint_in(run, 900);
    checkpoint_in(run, 1000);
    checkpoint_in(run, 1500);
    shell("cd runs/a/checkpoints && ls | head -1 | grep -qx step-000000100 && mkdir step-000002000 notes && "
          "mkdir step-000001500.partial step-000001400.old-7-0");
    ck_assert_int_eq(newest(run), 1500); /* step 2000 is not whole */
    shell("truncate -s 100 runs/a/checkpoints/step-000001500/state.safetensors");
    ck_assert_int_eq(newest(run), 1000);
    ck_assert_str_eq(dg_last_error(ctx), "");
    DG_CK(ctx, dg_run_prune_checkpoints(ctx, run, 3));
    shell("test \"$(ls runs/a/checkpoints | tr '\\n' ' ')\" = 'notes step-000001000 step-000001500 step-000002000 '");
    DG_CK(ctx, dg_run_prune_checkpoints(ctx, run, 0)); /* never none */
    shell("test \"$(ls runs/a/checkpoints | tr '\\n' ' ')\" = 'notes step-000002000 '");
    dg_run_close(run);
}
END_TEST

START_TEST(test_lock) {
    dg_run *run = NULL, *second = NULL;
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    const pid_t child = fork();
    if (child == 0) {
        const dg_status status = dg_run_open(ctx, in_dir("runs/a"), &second);
        char pid[32];
        snprintf(pid, sizeof pid, "%ld", (long)getppid());
        _exit(status == DG_EINTERRUPTED && !second && strstr(dg_last_error(ctx), pid) ? 0 : 1);
    }
    int code = -1;
    waitpid(child, &code, 0);
    ck_assert_int_eq(code, 0);
    dg_run_close(run);
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    dg_run_close(run);
    ck_assert_int_eq(dg_run_open(ctx, "/proc/nowhere/a", &run), DG_ECREATE);
}
END_TEST

static void add_metrics(dg_run *run, int step) {
    json_t *line = json_pack("{s:i, s:f, s:s}", "step", step, "loss", 0.5 / step, "a", "b");
    DG_CK(ctx, dg_run_append_metrics(ctx, run, line));
    json_decref(line);
}

START_TEST(test_metrics) {
    dg_run *run = NULL;
    json_t *lines = NULL, *bad = json_pack("{s:s}", "step", "x");
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    DG_CK(ctx, dg_run_read_metrics(ctx, in_dir("runs/a"), &lines));
    ck_assert_uint_eq(json_array_size(lines), 0);
    json_decref(lines);
    DG_CK(ctx, dg_run_truncate_metrics(ctx, run, 5)); /* no file yet */
    for (int step = 1; step <= 10; step++)
        add_metrics(run, step);
    ck_assert_int_eq(dg_run_append_metrics(ctx, run, bad), DG_EINVAL);
    dg_ctx_clear_error(ctx);
    shell("head -1 runs/a/metrics.jsonl | grep -qxF '{\"step\":1,\"loss\":0.5,\"a\":\"b\"}'");
    shell("printf '{\"step\": 11, \"lo' >> runs/a/metrics.jsonl");
    DG_CK(ctx, dg_run_truncate_metrics(ctx, run, 7));
    shell("test $(wc -l < runs/a/metrics.jsonl) = 7");
    add_metrics(run, 8);
    DG_CK(ctx, dg_run_read_metrics(ctx, in_dir("runs/a"), &lines));
    ck_assert_uint_eq(json_array_size(lines), 8);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(lines, 7), "step")), 8);
    json_decref(lines);
    DG_CK(ctx, dg_run_log(ctx, run, "hello"));
    DG_CK(ctx, dg_run_log(ctx, run, "again"));
    shell("grep -qE '^20[0-9-]+T[0-9:]+Z again$' runs/a/log.txt && test $(wc -l < runs/a/log.txt) = 2");
    json_decref(bad);
    dg_run_close(run);
}
END_TEST

START_TEST(test_config_and_end) {
    dg_run *run = NULL;
    json_t *config = NULL, *written = json_pack("{s:i}", "steps", 7);
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    DG_CK(ctx, dg_run_read_config(ctx, run, &config));
    ck_assert_ptr_null(config);
    DG_CK(ctx, dg_run_write_config(ctx, run, written));
    DG_CK(ctx, dg_run_read_config(ctx, run, &config));
    ck_assert(json_equal(config, written));
    ck_assert(!dg_run_is_finished(run));
    DG_CK(ctx, dg_run_finish(ctx, run));
    ck_assert(dg_run_is_finished(run));
    shell("test \"$(readlink runs/latest)\" = a");
    DG_CK(ctx, dg_run_reopen(ctx, run));
    ck_assert(!dg_run_is_finished(run));
    dg_run_close(run);
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/b"), &run));
    DG_CK(ctx, dg_run_finish(ctx, run));
    shell("test \"$(readlink runs/latest)\" = b");
    dg_run_close(run);
    /* no links outside folders of runs, and none over what is not a link */
    DG_CK(ctx, dg_run_open(ctx, in_dir("other/c"), &run));
    DG_CK(ctx, dg_run_finish(ctx, run));
    shell("test ! -e other/latest && rm runs/latest && mkdir runs/latest");
    dg_run_close(run);
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/b"), &run));
    DG_CK(ctx, dg_run_finish(ctx, run));
    shell("test -d runs/latest && test ! -h runs/latest");
    dg_run_close(run);
    json_decref(config);
    json_decref(written);
}
END_TEST

/* A process that was killed after DONE and before the link; and one that is asked again long after another run. */
START_TEST(test_publishing_is_finished) {
    dg_run *run = NULL;
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    DG_CK(ctx, dg_run_finish(ctx, run));
    dg_run_close(run);
    shell("mkdir runs/b && touch -d 'next minute' runs/b/DONE");
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/b"), &run));
    shell("test \"$(readlink runs/latest)\" = a");
    DG_CK(ctx, dg_run_finish_publishing(ctx, run));
    shell("test \"$(readlink runs/latest)\" = b");
    dg_run_close(run);
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    DG_CK(ctx, dg_run_finish_publishing(ctx, run));
    shell("test \"$(readlink runs/latest)\" = b && rm runs/latest");
    DG_CK(ctx, dg_run_finish_publishing(ctx, run));
    shell("test \"$(readlink runs/latest)\" = a && ln -sfn gone runs/latest");
    DG_CK(ctx, dg_run_finish_publishing(ctx, run));
    shell("test \"$(readlink runs/latest)\" = a");
    dg_run_close(run);
}
END_TEST

/* Whoever holds the lock sweeps what killed processes left, and nothing else. */
START_TEST(test_leftovers_are_swept) {
    dg_run *run = NULL;
    shell("mkdir -p runs/a/grids runs/a/model.old-7/unet runs/a/model.partial/unet runs/latest.tmp-999999998 "
          "runs/a/checkpoints/step-000000001 runs/a/checkpoints/step-000000002.partial runs/b && cd runs && "
          "touch a/loss.svg.tmp-7 a/metrics.jsonl.tmp-81 a/notes.txt a/mine.tmp b/loss.svg.tmp-7 "
          "a/grids/step-1.png.tmp-9 a/grids/step-1.png && ln -s a latest.tmp-999999999");
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    shell("test \"$(find runs | sort | tr '\\n' ' ')\" = 'runs runs/a runs/a/.lock runs/a/checkpoints "
          "runs/a/checkpoints/step-000000001 runs/a/grids runs/a/grids/step-1.png runs/a/mine.tmp runs/a/notes.txt "
          "runs/b runs/b/loss.svg.tmp-7 runs/latest.tmp-999999998 '"); /* a folder may be anything */
    ck_assert(!dg_run_has_model(run));
    shell("mkdir runs/a/model");
    ck_assert(dg_run_has_model(run));
    dg_run_close(run);
}
END_TEST

/* A file that growing text goes to may not lead out of the folder. */
START_TEST(test_links_are_not_written_through) {
    dg_run *run = NULL;
    json_t *line = json_pack("{s:i}", "step", 1);
    shell("mkdir -p runs/a && echo keep me > precious && ln -s ../../precious runs/a/metrics.jsonl && "
          "ln -s ../../precious runs/a/log.txt");
    DG_CK(ctx, dg_run_open(ctx, in_dir("runs/a"), &run));
    ck_assert_int_eq(dg_run_append_metrics(ctx, run, line), DG_ECREATE);
    ck_assert_int_eq(dg_run_log(ctx, run, "hello"), DG_ECREATE);
    shell("test \"$(cat precious)\" = 'keep me'");
    dg_run_close(run);
    json_decref(line);
}
END_TEST

static void check_found(const char *path, const char *model, const char *name) {
    char *found = NULL, *found_name = NULL;
    DG_CK(ctx, dg_run_find_model(ctx, in_dir(path), &found, &found_name));
    ck_assert_str_eq(found, in_dir(model));
    ck_assert_str_eq(found_name, name);
    free(found);
    free(found_name);
}

START_TEST(test_find_model) {
    char *found = NULL, *name = NULL;
    shell("mkdir -p runs/a/model runs/b/model runs/c plain/unet && touch runs/a/model/model_index.json "
          "runs/b/model/model_index.json runs/a/config.json runs/b/config.json plain/unet/config.json");
    check_found("runs/a", "runs/a/model", "a");
    check_found("runs/a/", "runs/a/model", "a");
    check_found("runs/a/model", "runs/a/model", "a");
    check_found("plain", "plain", "plain");
    ck_assert_int_eq(dg_run_find_model(ctx, in_dir("runs"), &found, &name), DG_ENOINPUT); /* none is finished */
    dg_ctx_clear_error(ctx);
    shell("touch -d '2020-01-01' runs/b/DONE && touch -d '2021-01-01' runs/a/DONE && touch runs/c/DONE && rm "
          "runs/c/DONE");
    check_found("runs", "runs/a/model", "a");
    shell("ln -s b runs/latest");
    check_found("runs", "runs/latest/model", "b");
    shell("ln -sfn gone runs/latest"); /* dangling */
    check_found("runs", "runs/a/model", "a");
    shell("ln -sfn a runs/latest");
    ck_assert_int_eq(chdir(dg_test_dir()), 0);
    DG_CK(ctx, dg_run_find_model(ctx, NULL, &found, &name));
    ck_assert_str_eq(found, "runs/latest/model");
    ck_assert_str_eq(name, "a");
    free(found);
    free(name);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(dg_run_find_model(ctx, NULL, &found, &name), DG_ENOINPUT);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "diffgen train"));
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_run_find_model(ctx, in_dir("nothing"), &found, &name), DG_ENOINPUT);
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_run_find_model(ctx, in_dir("runs/c"), &found, &name), DG_ENOINPUT);
}
END_TEST

/* A run that was finished, goes on and was stopped has a model and newer weights: those are meant. */
START_TEST(test_find_model_of_a_run_that_goes_on) {
    shell("mkdir -p runs/a/checkpoints runs/a/model && touch runs/a/config.json runs/a/model/model_index.json");
    shell("printf '{\"training\": {\"steps\": 20}}' >runs/a/model/diffgen.json");
    write_checkpoint(in_dir("runs/a/checkpoints/step-000000020"), 20);
    check_found("runs/a", "runs/a/model", "a"); /* killed between model and DONE */
    write_checkpoint(in_dir("runs/a/checkpoints/step-000000030"), 30);
    check_found("runs/a", "runs/a/checkpoints/step-000000030", "a");
    check_found("runs/a/model", "runs/a/model", "a");
    shell("touch runs/a/DONE");
    check_found("runs/a", "runs/a/model", "a");
    shell("rm -r runs/a/DONE runs/a/model");
    check_found("runs/a", "runs/a/checkpoints/step-000000030", "a");
    check_found("runs/a/checkpoints/step-000000020", "runs/a/checkpoints/step-000000020", "a");
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("run_folder");
    TCase *tcase = tcase_create("run_folder");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_checkpoint_round_trip);
    tcase_add_test(tcase, test_checkpoint_refuses_other_arrays);
    tcase_add_test(tcase, test_checkpoint_refuses_nan);
    tcase_add_loop_test(tcase, test_damaged_checkpoint, 0, sizeof damages / sizeof *damages);
    tcase_add_test(tcase, test_checkpoints_of_a_run);
    tcase_add_test(tcase, test_lock);
    tcase_add_test(tcase, test_metrics);
    tcase_add_test(tcase, test_config_and_end);
    tcase_add_test(tcase, test_publishing_is_finished);
    tcase_add_test(tcase, test_leftovers_are_swept);
    tcase_add_test(tcase, test_links_are_not_written_through);
    tcase_add_test(tcase, test_find_model);
    tcase_add_test(tcase, test_find_model_of_a_run_that_goes_on);
    suite_add_tcase(suite, tcase);
    return suite;
}
