/* Which run folder images get when nobody names one. */
#include "core/fs.h"
#include "support/test_main.h"
#include "train/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dg_ctx *ctx;

static void set_up(void) {
    ctx = dg_test_context();
    ck_assert_int_eq(chdir(dg_test_dir()), 0);
}

static void tear_down(void) {
    ck_assert_int_eq(chdir("/"), 0);
    dg_ctx_free(ctx);
}

/* The name of the images at `path`, whose fingerprint is their path. */
static void check_name(const char *path, const char *expected) {
    char *found = NULL;
    DG_CK(ctx, dg_fs_mkdirs(ctx, path));
    DG_CK(ctx, dg_train_run_name(ctx, path, path, &found));
    ck_assert_str_eq(found, expected);
    free(found);
}

/* The images at `path` have a run of that name. */
static void add_run(const char *run, const char *path) {
    char file[256], *real = realpath(path, NULL);
    json_t *config = json_pack("{s:s, s:s*}", "images_fingerprint", path, "images_folder", real);
    DG_CK(ctx, dg_fs_mkdirs(ctx, run));
    snprintf(file, sizeof file, "%s/config.json", run);
    DG_CK(ctx, dg_json_save(ctx, file, config));
    json_decref(config);
    free(real);
}

START_TEST(names_that_say_nothing) {
    check_name("faces", "runs/faces");
    check_name("a/train", "runs/a-train");
    check_name("b/Training_Set", "runs/b-Training_Set");
    check_name("site-a/images/train", "runs/site-a-images-train");
    check_name("site-b/images/train/", "runs/site-b-images-train");
    check_name("cifar/train2017", "runs/cifar-train2017");
    check_name("hospital/2024", "runs/hospital-2024");
    check_name("hospital/x-ray", "runs/x-ray");
    check_name("trains", "runs/trains");
    DG_CK(ctx, dg_fs_write_atomic(ctx, "a/train.tar.gz", "", 0));
    DG_CK(ctx, dg_fs_write_atomic(ctx, "a/faces.v2.zip", "", 0));
    char *found = NULL;
    DG_CK(ctx, dg_train_run_name(ctx, "a/train.tar.gz", "f", &found));
    ck_assert_str_eq(found, "runs/a-train");
    free(found);
    DG_CK(ctx, dg_train_run_name(ctx, "a/faces.v2.zip", "f", &found));
    ck_assert_str_eq(found, "runs/faces");
    free(found);
    ck_assert_int_eq(dg_train_run_name(ctx, "nowhere", "f", &found), DG_ENOINPUT);
    ck_assert_ptr_null(found);
}
END_TEST

/* Runs on other images keep their folders, and each data set finds its own again. */
START_TEST(names_that_are_taken) {
    check_name("a/cats", "runs/cats");
    add_run("runs/cats", "a/cats");
    check_name("a/cats", "runs/cats");
    check_name("b/cats", "runs/b-cats");
    add_run("runs/b-cats", "b/cats");
    check_name("b/cats", "runs/b-cats");
    check_name("c/b/cats", "runs/c-b-cats");
    add_run("runs/c-b-cats", "c/b/cats");
    check_name("c/b/cats", "runs/c-b-cats");
    DG_CK(ctx, dg_fs_remove_tree(ctx, "runs/cats"));
    check_name("b/cats", "runs/b-cats"); /* the shorter name is free by now: not a reason to begin anew */
    check_name("d/cats", "runs/cats");
    /* Made when runs had the last part's name only. */
    check_name("e/train", "runs/e-train");
    add_run("runs/train", "e/train");
    check_name("e/train", "runs/train");
    /* A run whose config.json cannot be read is nobody's to go on with. */
    DG_CK(ctx, dg_fs_mkdirs(ctx, "runs/dogs"));
    DG_CK(ctx, dg_fs_write_atomic(ctx, "runs/dogs/config.json", "{", 1));
    check_name("f/dogs", "runs/f-dogs");
}
END_TEST

/* Every name of its path is taken by other images: the fingerprint tells them apart. */
START_TEST(names_that_are_all_taken) {
    char *names[64] = {0}, *found = NULL;
    int count = 0;
    DG_CK(ctx, dg_fs_mkdirs(ctx, "x/cats"));
    for (; count < 64; count++) {
        DG_CK(ctx, dg_train_run_name(ctx, "x/cats", "0123abcd", &names[count]));
        if (strstr(names[count], "0123abcd"))
            break;
        for (int i = 0; i < count; i++)
            ck_assert_str_ne(names[i], names[count]);
        add_run(names[count], "nowhere");
    }
    ck_assert_int_ge(count, 2);
    ck_assert_int_lt(count, 64);
    add_run(names[count], "0123abcd");
    DG_CK(ctx, dg_train_run_name(ctx, "x/cats", "0123abcd", &found));
    ck_assert_str_eq(found, names[count]);
    free(found);
    for (int i = 0; i <= count; i++)
        free(names[i]);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("run_name");
    TCase *tc = tcase_create("run_name");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, names_that_say_nothing);
    tcase_add_test(tc, names_that_are_taken);
    tcase_add_test(tc, names_that_are_all_taken);
    suite_add_tcase(suite, tc);
    return suite;
}
