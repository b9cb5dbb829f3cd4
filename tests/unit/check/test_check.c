/* What `diffgen inspect` finds in a data set that was made with one flaw of each kind, and that it finds none of them
 * in a clean one. */
#include "check/check.h"
#include "core/fs.h"
#include "io/png.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdlib.h>

enum { SIDE = 16, CLASSES = 3, PER_CLASS = 90 };

static const char *const class_names[CLASSES] = {"rows", "columns", "diagonals"};
static dg_ctx *ctx;
static int files;

static void setup(void) {
    ctx = dg_test_context();
}

/* Stripes of the class with the image's own phase and noise. */
static void draw(int label, int number, uint8_t *pixels) {
    const uint32_t hash = golden_hash("check");
    const double phase = 6.28 * golden_uniform(hash, number);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const double at = label == 0 ? y : label == 1 ? x : 0.7 * (x + y);
            const double noise = golden_uniform(hash, 100000 + number * SIDE * SIDE + y * SIDE + x) - 0.5;
            pixels[y * SIDE + x] = (uint8_t)(255 * fmin(fmax(0.5 + 0.25 * sin(1.5 * at + phase) + 0.4 * noise, 0), 1));
        }
}

/* text: a chunk of the file; NULL = none. cut: bytes that are written, 0 = all. */
static void save_with(const char *folder, int label, const char *name, const uint8_t *pixels, const char *text,
                      size_t cut) {
    char path[512], file[64];
    dg_str png = {0};
    const dg_png_image image = {.height = SIDE, .width = SIDE, .channels = 1, .bits = 8, .pixels = pixels};
    snprintf(file, sizeof file, "%s%04d.png", name, files++);
    snprintf(path, sizeof path, "%s/%s/%s", dg_test_dir(), folder, class_names[label]);
    DG_CK(ctx, dg_fs_mkdirs(ctx, path));
    snprintf(path, sizeof path, "%s/%s/%s/%s", dg_test_dir(), folder, class_names[label], file);
    DG_CK(ctx, dg_png_encode(ctx, &image, NULL, text, &png));
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, png.data, cut ? cut : png.length));
    dg_str_free(&png);
}

static void save(const char *folder, int label, const char *name, const uint8_t *pixels, size_t cut) {
    save_with(folder, label, name, pixels, NULL, cut);
}

static void save_drawn(const char *folder, int label, const char *name, int number, int as_label) {
    uint8_t pixels[SIDE * SIDE];
    draw(label, number, pixels);
    save(folder, as_label, name, pixels, 0);
}

static void clean_set(const char *folder, int first) {
    for (int label = 0; label < CLASSES; label++)
        for (int i = 0; i < PER_CLASS; i++)
            save_drawn(folder, label, "clean", first + label * 1000 + i, label);
}

static json_t *check(const char *folder, const char *holdout, int threads) {
    char images[512], held[512], out[512];
    dg_check_options options;
    dg_check_result result;
    DG_CK(ctx, dg_options_init(ctx, &dg_check_option_table, &options));
    snprintf(images, sizeof images, "%s/%s", dg_test_dir(), folder);
    snprintf(held, sizeof held, "%s/%s", dg_test_dir(), holdout ? holdout : "");
    snprintf(out, sizeof out, "%s/out", dg_test_dir());
    options.images = strdup(images);
    options.holdout = holdout ? strdup(held) : NULL;
    free(options.out);
    options.out = strdup(out);
    options.threads = threads;
    DG_CK(ctx, dg_check(ctx, &options, NULL, &result));
    ck_assert(dg_fs_is_file(result.html_path) && dg_fs_is_file(result.json_path));
    json_t *report = json_incref(result.report);
    dg_check_result_free(&result);
    dg_options_free(&dg_check_option_table, &options);
    return report;
}

static int count(const json_t *report, const char *section, const char *key) {
    const json_t *value = json_object_get(json_object_get(report, section), key);
    ck_assert_msg(json_is_integer(value), "no %s.%s", section, key);
    return (int)json_integer_value(value);
}

START_TEST(clean) {
    clean_set("clean", 0);
    clean_set("held", 500);
    json_t *r = check("clean", "held", 2);
    ck_assert_int_eq(count(r, "files", "images"), CLASSES * PER_CLASS);
    ck_assert_int_eq(count(r, "files", "damaged"), 0);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 0);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 0);
    ck_assert_int_eq(count(r, "leakage", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "labels", "doubtful"), 0);
    ck_assert_int_eq(count(r, "patches", "classes"), 0);
    json_t *again = check("clean", "held", 3);
    ck_assert(json_equal(r, again));
    json_decref(r);
    json_decref(again);
}
END_TEST

START_TEST(files_and_copies) {
    uint8_t pixels[SIDE * SIDE];
    clean_set("flawed", 0);
    clean_set("held", 500);
    draw(0, 3, pixels);
    save("flawed", 0, "damaged", pixels, 60);
    save_drawn("flawed", 0, "copy", 5, 0);    /* the same file again */
    save_drawn("flawed", 1, "copy", 1007, 2); /* and one of another class */
    save_drawn("held", 2, "leak", 2010, 2);   /* held out as well */
    for (int i = 0; i < SIDE * SIDE; i++)     /* darker: the same but for two numbers */
        pixels[i] = (uint8_t)(pixels[i] * 0.8 + 10);
    save("flawed", 0, "darker", pixels, 0);
    json_t *r = check("flawed", "held", 2);
    ck_assert_int_eq(count(r, "files", "damaged"), 1);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 2);
    ck_assert_int_eq(count(r, "duplicates", "of_other_class"), 1);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 1);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 1);
    json_decref(r);
}
END_TEST

/* More of them than neighbours are looked at: every pair, and every held-out image once. */
START_TEST(many_copies) {
    for (int i = 0; i < 60; i++) {
        save_drawn("many", 0, "copy", 1, 0);
        save_drawn("leaked", 0, "copy", 1, 0);
    }
    for (int i = 0; i < 20; i++)
        save_drawn("many", 0, "copy", 1, 1);
    for (int i = 0; i < 10; i++) {
        save_drawn("many", 2, "other", 2000 + i, 2);
        save_drawn("leaked", 2, "other", 2500 + i, 2);
    }
    json_t *r = check("many", "leaked", 2);
    ck_assert_int_eq(count(r, "files", "images"), 90);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 80 * 79 / 2);
    ck_assert_int_eq(count(r, "duplicates", "same_pixels"), 0);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "duplicates", "of_other_class"), 60 * 20);
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(r, "duplicates"), "pairs")), 79);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 60);
    ck_assert_int_eq(count(r, "leakage", "same_pixels"), 0);
    ck_assert_int_eq(count(r, "leakage", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "leakage", "of_other_class"), 60);
    json_decref(r);
}
END_TEST

static void expect_on_page(const char *text) {
    char path[512], *page = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/out/inspection.html", dg_test_dir());
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 20, &page, &size));
    ck_assert_msg(strstr(page, text) != NULL, "the page does not say %s", text);
    free(page);
}

/* Written anew, with other bytes: the pixels tell. */
START_TEST(same_pixels) {
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < 40; i++) {
        draw(i % 2, i, pixels);
        save("written", i % 2, "image", pixels, 0);
        if (i < 3)
            save_with("written", 2, "again", pixels, "of another class", 0);
        if (i >= 10)
            save_with("rewritten", i % 2, "leak", pixels, "another file", 0);
    }
    for (int i = 0; i < 10; i++)
        save_drawn("rewritten", 2, "other", 2500 + i, 2);
    json_t *r = check("written", "rewritten", 2);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 0);
    ck_assert_int_eq(count(r, "duplicates", "same_pixels"), 3);
    ck_assert_int_eq(count(r, "duplicates", "of_other_class"), 3);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 0);
    ck_assert_int_eq(count(r, "leakage", "same_pixels"), 30);
    ck_assert_int_eq(count(r, "leakage", "nearly_the_same"), 0);
    expect_on_page("<b class=\"bad\">3</b>pairs of the same image");
    expect_on_page("<b class=\"bad\">30</b>held-out images leaked");
    json_decref(r);
}
END_TEST

/* A picture in so many copies that its neighbours are all copies has a near duplicate all the same. */
START_TEST(near_among_copies) {
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < 60; i++)
        save_drawn("near", 0, "copy", 1, 0);
    for (int i = 0; i < 60; i++)
        save_drawn("near", 1, "other", 1000 + i, 1);
    draw(0, 1, pixels);
    for (int i = 0; i < SIDE * SIDE; i++) /* darker */
        pixels[i] = (uint8_t)(pixels[i] * 0.8 + 10);
    save("near", 0, "darker", pixels, 0);
    save("near-held", 1, "darker", pixels, 0);
    pixels[0] ^= 64;
    save("near-held", 0, "darker", pixels, 0);
    json_t *r = check("near", "near-held", 2);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 60 * 59 / 2);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 1);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 1);
    ck_assert_int_eq(count(r, "leakage", "nearly_the_same"), 1);
    ck_assert_int_eq(count(r, "leakage", "of_other_class"), 1);
    json_decref(r);
}
END_TEST

START_TEST(one_colour) {
    uint8_t pixels[SIDE * SIDE];
    for (int i = 0; i < 30; i++) {
        memset(pixels, 5 * i, sizeof pixels);
        save("plain", i % 2, "plain", pixels, 0);
        memset(pixels, 5 * i + 2, sizeof pixels);
        save("plain-held", i % 2, "plain", pixels, 0);
        save_drawn("plain", i % 2, "drawn", i, i % 2);
    }
    save("plain", 0, "again", pixels, 0);
    save("plain", 1, "again", pixels, 0);
    json_t *r = check("plain", "plain-held", 2);
    ck_assert_int_eq(count(r, "duplicates", "same_file"), 1);
    ck_assert_int_eq(count(r, "duplicates", "of_other_class"), 1);
    ck_assert_int_eq(count(r, "duplicates", "nearly_the_same"), 0);
    ck_assert_int_eq(count(r, "leakage", "same_file"), 1);
    ck_assert_int_eq(count(r, "leakage", "nearly_the_same"), 0);
    json_decref(r);
}
END_TEST

static void note_part(void *user, const char *part, int64_t done, int64_t total) {
    (void)done;
    (void)total;
    if (!strstr(part, "reading"))
        *(int *)user += 1;
}

/* A folder that cannot be made is said before the long part. */
START_TEST(out_that_cannot_be) {
    char path[512];
    int parts = 0;
    dg_check_options options;
    dg_check_result result;
    const dg_check_events events = {&parts, note_part};
    for (int i = 0; i < 3; i++)
        save_drawn("few", 0, "image", i, 0);
    snprintf(path, sizeof path, "%s/file", dg_test_dir());
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, "x", 1));
    DG_CK(ctx, dg_options_init(ctx, &dg_check_option_table, &options));
    free(options.out);
    snprintf(path, sizeof path, "%s/file/out", dg_test_dir());
    options.out = strdup(path);
    snprintf(path, sizeof path, "%s/few", dg_test_dir());
    options.images = strdup(path);
    ck_assert_int_eq(dg_check(ctx, &options, &events, &result), DG_ECREATE);
    ck_assert_msg(strstr(dg_last_error(ctx), options.out) != NULL, "%s", dg_last_error(ctx));
    ck_assert_int_eq(parts, 0);
    dg_check_result_free(&result);
    dg_options_free(&dg_check_option_table, &options);
}
END_TEST

START_TEST(wrong_labels) {
    clean_set("flawed", 0);
    for (int i = 0; i < 4; i++)
        save_drawn("flawed", 0, "wrong", 700 + i, 1);
    json_t *r = check("flawed", NULL, 2);
    const json_t *images = json_object_get(json_object_get(r, "labels"), "images"), *entry;
    size_t i;
    int wrong = 0;
    json_array_foreach(images, i, entry) {
        ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(entry, "image")), "wrong"));
        ck_assert_str_eq(json_string_value(json_object_get(entry, "neighbours")), "rows");
        wrong++;
    }
    ck_assert_int_ge(wrong, 3);
    json_decref(r);
}
END_TEST

START_TEST(planted_patch) {
    clean_set("flawed", 0);
    for (int k = 0; k < 8; k++) {
        uint8_t pixels[SIDE * SIDE];
        draw(0, 800 + k, pixels);
        for (int y = 10; y < 15; y++)
            for (int x = 9; x < 14; x++)
                pixels[y * SIDE + x] = (x + y) % 2 ? 255 : 0;
        save("flawed", 2, "trigger", pixels, 0);
    }
    json_t *r = check("flawed", NULL, 2);
    ck_assert_int_eq(count(r, "patches", "classes"), 1);
    const json_t *patch = json_array_get(json_object_get(json_object_get(r, "patches"), "patches"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(patch, "class")), "diagonals");
    ck_assert_int_eq(json_integer_value(json_object_get(patch, "images")), 8);
    ck_assert_int_eq(json_integer_value(json_object_get(patch, "images_of_other_classes")), 0);
    ck_assert_int_ge(json_integer_value(json_object_get(patch, "x")), 9);
    ck_assert_int_le(json_integer_value(json_object_get(patch, "x")), 10);
    json_decref(r);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("check");
    TCase *tc = tcase_create("check");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_set_timeout(tc, 240);
    tcase_add_test(tc, clean);
    tcase_add_test(tc, files_and_copies);
    tcase_add_test(tc, many_copies);
    tcase_add_test(tc, same_pixels);
    tcase_add_test(tc, near_among_copies);
    tcase_add_test(tc, one_colour);
    tcase_add_test(tc, out_that_cannot_be);
    tcase_add_test(tc, wrong_labels);
    tcase_add_test(tc, planted_patch);
    suite_add_tcase(suite, tc);
    return suite;
}
