/* Names and places: joining, what lies in what, space. */
#include "support/fs_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static void expect_join(const char *a, const char *b, const char *expected) {
    char *joined = dg_fs_join(a, b);
    ck_assert_str_eq(joined, expected);
    free(joined);
}

static void expect_basename(const char *path, const char *expected) {
    char *name = dg_fs_basename(path);
    ck_assert_str_eq(name, expected);
    free(name);
}

START_TEST(paths) {
    dg_ctx *ctx = dg_test_context();
    expect_join("a", "b/c", "a/b/c");
    expect_join("a/", "b", "a/b");
    expect_join("/", "b", "/b");
    expect_join("a", "/b", "/b");
    expect_join(NULL, "b", "b");
    expect_join("", "b", "b");
    expect_join("a", "", "a");
    expect_join("a", NULL, "a");
    expect_basename("faces", "faces");
    expect_basename("/data/faces//", "faces");
    expect_basename("../my faces/", "my faces");
    expect_basename("a/.hidden", ".hidden");
    expect_basename("...", "...");
    expect_basename("/", "root");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("faces/sub")));
    ck_assert_int_eq(chdir(at("faces/sub")), 0);
    expect_basename(".", "sub");
    expect_basename("..", "faces");
    expect_basename("../.", "faces");
    expect_basename("", "sub");
    expect_basename("missing/..", "root");
    ck_assert_int_eq(chdir("/"), 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(inside_a_folder) {
    dg_ctx *ctx = dg_test_context();
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("pictures/cats")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("pictures-too")));
    ck_assert_int_eq(chdir(dg_test_dir()), 0);
    ck_assert_int_eq(symlink("pictures", "link"), 0);
    ck_assert(dg_fs_is_inside("pictures", "pictures/"));
    ck_assert(dg_fs_is_inside("pictures/cats", "pictures"));
    ck_assert(dg_fs_is_inside("pictures/not/yet/", "pictures"));
    ck_assert(dg_fs_is_inside("link/not-yet", "./pictures/."));
    ck_assert(dg_fs_is_inside(at("pictures/x"), "link"));
    ck_assert(dg_fs_is_inside("not/yet", "."));
    ck_assert(dg_fs_is_inside("", "/"));
    ck_assert(!dg_fs_is_inside(".", "pictures"));
    ck_assert(!dg_fs_is_inside("pictures-too", "pictures"));
    ck_assert(!dg_fs_is_inside("pictures-too/x", "pictures"));
    ck_assert(!dg_fs_is_inside("not-yet", "pictures"));
    ck_assert(!dg_fs_is_inside("missing/x", "missing")); /* no folder: an archive, or nothing */
    ck_assert_int_eq(chdir("/"), 0);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(free_space_of_what_does_not_exist_yet) {
    const int64_t here = dg_fs_free_bytes(dg_test_dir());
    ck_assert_int_gt(here, 0);
    const int64_t below = dg_fs_free_bytes(at("not/yet/there/"));
    ck_assert(below > here / 2 && below < here * 2);
    ck_assert_int_gt(dg_fs_free_bytes("not-yet-there"), 0);
    ck_assert_int_gt(dg_fs_free_bytes("./not/yet"), 0);
    ck_assert_int_gt(dg_fs_free_bytes("/not-there/yet"), 0);
    ck_assert_int_gt(dg_fs_free_bytes(""), 0);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("fs path");
    TCase *t = tcase_create("fs path");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, paths);
    tcase_add_test(t, inside_a_folder);
    tcase_add_test(t, free_space_of_what_does_not_exist_yet);
    suite_add_tcase(suite, t);
    return suite;
}
