/* Data sets in folders: classes, bad files, specs, determinism, hold-out. Other layouts: test_dataset_layouts.c. */
#include "data/dataset.h"

#include "unit/data/data_fixture.h"

#include <unistd.h>

static dg_dataset *open_with(dg_ctx *ctx, dg_dataset_options options) {
    dg_dataset *dataset = NULL;
    if (!options.path)
        options.path = dg_test_dir();
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    return dataset;
}

static dg_status open_status(dg_ctx *ctx, dg_dataset_options options) {
    dg_dataset *dataset = NULL;
    if (!options.path)
        options.path = dg_test_dir();
    dg_status status = dg_dataset_open(ctx, &options, &dataset);
    dg_dataset_free(dataset);
    return status;
}

static bool has_note(const dg_dataset *dataset, const char *word) {
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        if (strstr(report->notes[i], word))
            return true;
    return false;
}

START_TEST(class_folders) {
    dg_ctx *ctx = dg_test_context();
    put_image("zebra/1.pgm", 1);
    put_image("zebra/deep/er/2.pgm", 2);
    put_image("Äpfel und Öl/1.pgm", 3);
    put_image("cat/b.png", 4);
    put_image("cat/a.png", 5);
    put_image("cat/.hidden.png", 6);
    put_text("cat/readme.txt", "no image");
    put_image("root.png", 7);
    mkdir(in_dir("empty"), 0777);
    dg_dataset *dataset = open_with(ctx, dg_dataset_options_default());
    ck_assert_int_eq(dg_dataset_count(dataset), 5);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 3);
    ck_assert(dg_dataset_is_conditional(dataset));
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "cat");
    ck_assert_str_eq(dg_dataset_class_name(dataset, 1), "zebra");
    ck_assert_str_eq(dg_dataset_class_name(dataset, 2), "Äpfel und Öl");
    ck_assert_int_eq(dg_dataset_class_images(dataset, 0), 2);
    ck_assert_int_eq(dg_dataset_class_images(dataset, 2), 1);
    ck_assert_str_eq(dg_dataset_item(dataset, 0)->path, "cat/a.png");
    ck_assert_str_eq(dg_dataset_item(dataset, 3)->path, "zebra/deep/er/2.pgm");
    ck_assert_int_eq(dg_dataset_item(dataset, 3)->label, 1);
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    ck_assert_str_eq(report->layout, "folders");
    ck_assert_int_eq(report->ignored, 2); /* hidden, text */
    ck_assert_int_eq(report->skipped, 0);
    ck_assert(has_note(dataset, "empty"));
    ck_assert_uint_eq(report->fall_count, 1);
    ck_assert_str_eq(report->falls[0].reason, "beside the class folders, of no class");
    ck_assert_int_eq(report->fallen, 1);
    ck_assert_str_eq(report->fall_note, "1 of 6 images are left out: 1 beside the class folders, of no class");
    ck_assert_int_eq(dg_dataset_resolution(dataset), 8);
    ck_assert_int_eq(dg_dataset_channels(dataset), 1);
    ck_assert_int_eq(dg_dataset_bits(dataset), 8);
    uint8_t pixels[64];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(pixels[i], 5 + i);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(no_classes) {
    dg_ctx *ctx = dg_test_context();
    put_image("only/1.pgm", 1);
    put_image("only/2.pgm", 2);
    dg_dataset *dataset = open_with(ctx, dg_dataset_options_default());
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 1);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "only");
    ck_assert(has_note(dataset, "one class only (only)"));
    ck_assert(!dg_dataset_is_conditional(dataset));
    dg_dataset_free(dataset);
    put_image("other/3.pgm", 3);
    dg_dataset_options options = dg_dataset_options_default();
    options.unconditional = true;
    dataset = open_with(ctx, options);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 1);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(splits_and_links) {
    dg_ctx *ctx = dg_test_context();
    put_image("d/train/a/1.pgm", 1);
    put_image("d/train/b/2.pgm", 2);
    put_image("d/test/a/3.pgm", 3);
    put_image("elsewhere/linked.pgm", 4);
    ck_assert_int_eq(symlink(in_dir("d"), in_dir("d/train/b/loop")), 0);
    ck_assert_int_eq(symlink(in_dir("elsewhere/linked.pgm"), in_dir("d/train/a/link.pgm")), 0);
    ck_assert_int_eq(symlink(in_dir("nowhere"), in_dir("d/train/a/dangling.pgm")), 0);
    dg_dataset_options options = dg_dataset_options_default();
    options.path = in_dir("d");
    dg_dataset *dataset = open_with(ctx, options);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "a");
    ck_assert_int_eq(dg_dataset_class_images(dataset, 0), 2);
    ck_assert(has_note(dataset, "only train/ (3 images) is used; left alone: test/ (1 image)"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

static void put_fixture(const char *name, const char *fixture) {
    size_t size;
    uint8_t *bytes = load_fixture(fixture, &size);
    put(name, bytes, size);
    free(bytes);
}

START_TEST(bad_files_are_skipped_and_named) {
    dg_ctx *ctx = dg_test_context();
    put_image("a/good.png", 1);
    put_image("a/good2.png", 1); /* the same bytes */
    put_image("b/good3.png", 1); /* ... under another label */
    put("a/empty.png", "", 0);
    put_fixture("a/cmyk.jpg", "cmyk.jpg");
    put_fixture("b/lying.png", "lying.png");
    put_fixture("b/one.png", "one.png");
    put_text("b/photo.heic", "whatever");
    put_fixture("broken/only.jpg", "cmyk.jpg");
    put_text("b/scan.dcm", "whatever");
    dg_dataset_options all = dg_dataset_options_default();
    ck_assert_int_eq(open_status(ctx, all), DG_EDATA); /* more than half fall away */
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "7 of 10 images are left out"));
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "2 CMYK"));
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--allow-skips"));
    dg_ctx_clear_error(ctx);
    all.allow_skips = true;
    dg_dataset *dataset = open_with(ctx, all);
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_int_eq(report->skipped, 7);
    ck_assert_uint_eq(report->skips_kept, 7);
    static const char *const want[][2] = {
        {"a/cmyk.jpg", "CMYK"},   {"a/empty.png", "empty"},     {"b/lying.png", "60000"},   {"b/one.png", "1 x 1"},
        {"b/photo.heic", "HEIC"}, {"b/scan.dcm", "known kind"}, {"broken/only.jpg", "CMYK"}};
    for (size_t i = 0; i < 7; i++) {
        ck_assert_str_eq(report->skips[i].path, want[i][0]);
        ck_assert_msg(strstr(report->skips[i].reason, want[i][1]) != NULL, "%s", report->skips[i].reason);
    }
    ck_assert_int_eq(report->duplicates, 2);
    ck_assert_int_eq(report->conflicting_duplicates, 1);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_int_eq(report->fallen, 7);
    ck_assert_ptr_nonnull(strstr(report->fall_note, "of these classes all (broken)"));
    dg_dataset_free(dataset);
    unlink(in_dir("b/photo.heic"));
    unlink(in_dir("b/scan.dcm"));
    dg_dataset_options options = dg_dataset_options_default();
    options.strict = true;
    ck_assert_int_eq(open_status(ctx, options), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "a/cmyk.jpg"));
    dg_ctx_free(ctx);
}
END_TEST

/* A class is lost whole also where its images never came so far as to be decoded. */
START_TEST(lost_classes_are_loud) {
    dg_ctx *ctx = dg_test_context();
    for (int i = 0; i < 30; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%d.png", i % 2 ? "cat" : "dog", i);
        put_image(name, i);
    }
    dg_dataset *dataset = open_with(ctx, dg_dataset_options_default());
    ck_assert(!dg_dataset_get_report(dataset)->loud);
    dg_dataset_free(dataset);
    put_text("fox/1.heic", "not read");
    dataset = open_with(ctx, dg_dataset_options_default());
    ck_assert(dg_dataset_get_report(dataset)->loud);
    ck_assert_str_eq(
        dg_dataset_get_report(dataset)->fall_note,
        "1 of 31 images are left out, of these classes all (fox): 1 a HEIC image, which is not read; convert it "
        "to PNG or JPEG (heif-convert IN.heic OUT.png)");
    dg_dataset_free(dataset);
    put_image("b\xffr/1.png", 1);
    dataset = open_with(ctx, dg_dataset_options_default());
    ck_assert_ptr_nonnull(strstr(dg_dataset_get_report(dataset)->fall_note, "fox"));
    ck_assert_ptr_nonnull(strstr(dg_dataset_get_report(dataset)->fall_note, "b\xffr"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(nothing_to_read) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset_options options = dg_dataset_options_default();
    options.path = "/nonexistent/images";
    ck_assert_int_eq(open_status(ctx, options), DG_ENOINPUT);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "/nonexistent/images"));
    dg_ctx_clear_error(ctx);
    put_text("readme.txt", "no image");
    ck_assert_int_eq(open_status(ctx, dg_dataset_options_default()), DG_ENOINPUT);
    dg_ctx_clear_error(ctx);
    put("bad.png", "", 0);
    ck_assert_int_eq(open_status(ctx, dg_dataset_options_default()), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "bad.png: the file is empty"));
    dg_ctx_clear_error(ctx);
    options.path = in_dir("readme.txt");
    ck_assert_int_eq(open_status(ctx, options), DG_EDATA);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(sixteen_bits_and_windows) {
    dg_ctx *ctx = dg_test_context();
    uint8_t deep[64] = "P5 4 4 65535\n", flat[64];
    size_t header = strlen((char *)deep);
    for (int i = 0; i < 16; i++) {
        deep[header + 2 * (size_t)i] = (uint8_t)((1000 + i) >> 8);
        deep[header + 2 * (size_t)i + 1] = (uint8_t)(1000 + i);
    }
    put("deep.pgm", deep, header + 32);
    put("flat.pgm", flat, pgm_bytes(flat, 4, 4, 100));
    dg_dataset_options options = dg_dataset_options_default();
    options.resolution = 4;
    dg_dataset *dataset = open_with(ctx, options);
    ck_assert_int_eq(dg_dataset_bits(dataset), 16);
    ck_assert_uint_eq(dg_dataset_image_bytes(dataset), 32);
    ck_assert(has_note(dataset, "8 bits"));
    uint16_t pixels[16];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(pixels[i], 1000 + i);
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, pixels));
    ck_assert_int_eq(pixels[3], 103 * 257);
    dg_dataset_free(dataset);
    options.window = true;
    options.window_lo = 1000;
    options.window_hi = 1015;
    dataset = open_with(ctx, options);
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(pixels[i], 4369 * i);
    dg_dataset_free(dataset);
    unlink(in_dir("deep.pgm"));
    ck_assert_int_eq(open_status(ctx, options), DG_EUSAGE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "0..255"));
    dg_ctx_free(ctx);
}
END_TEST

/* R = G = B everywhere counts as grey; one coloured image makes all three channels. */
START_TEST(automatic_channels) {
    dg_ctx *ctx = dg_test_context();
    uint8_t ppm[256] = "P6 4 4 255\n";
    size_t header = strlen((char *)ppm);
    for (size_t i = 0; i < 48; i++)
        ppm[header + i] = (uint8_t)(i / 3);
    put("same.ppm", ppm, header + 48);
    put("bad.png", "", 0); /* leaves a gap in the cache that must be closed */
    put_image("zgrey.pgm", 9);
    dg_dataset *dataset = open_with(ctx, (dg_dataset_options){.resolution = 4});
    ck_assert_int_eq(dg_dataset_channels(dataset), 1);
    ck_assert_int_eq(dg_dataset_memory_bytes(dataset), 2 * 16);
    uint8_t pixels[48];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(pixels[i], i);
    uint8_t again[48];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, pixels));
    dg_dataset_free(dataset);
    dataset = open_with(ctx, (dg_dataset_options){.resolution = 4, .channels = 3, .cache_bytes = 1});
    ck_assert(!dg_dataset_is_cached(dataset));
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, again));
    for (int i = 0; i < 48; i++)
        ck_assert_int_eq(again[i], pixels[i / 3]);
    dg_dataset_free(dataset);
    ppm[header]++;
    put("same.ppm", ppm, header + 48);
    dataset = open_with(ctx, (dg_dataset_options){.resolution = 4});
    ck_assert_int_eq(dg_dataset_channels(dataset), 3);
    ck_assert(has_note(dataset, "1 grey and 1 colour"));
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    ck_assert_int_eq(pixels[0], 1);
    ck_assert_int_eq(pixels[1], 0);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(automatic_resolution) {
    dg_ctx *ctx = dg_test_context();
    static const struct { int width, height; } sizes[] = {{30, 40}, {50, 30}, {30, 30}, {64, 64}};
    uint8_t bytes[8192];
    for (size_t i = 0; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "%zu.pgm", i);
        put(name, bytes, pgm_bytes(bytes, sizes[i].width, sizes[i].height, (int)i));
    }
    dg_dataset *dataset = open_with(ctx, dg_dataset_options_default());
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    ck_assert_int_eq(dg_dataset_resolution(dataset), 28);
    ck_assert(report->mixed_sizes);
    ck_assert_int_eq(report->min_width, 30);
    ck_assert_int_eq(report->max_width, 64);
    ck_assert_int_eq(report->non_square, 2);
    ck_assert_int_eq(report->upscaled, 0);
    ck_assert(has_note(dataset, "30 x 30 to 64 x 64"));
    dg_dataset_free(dataset);
    dataset = open_with(ctx, (dg_dataset_options){.resolution = 32});
    ck_assert_int_eq(dg_dataset_get_report(dataset)->upscaled, 3);
    dg_dataset_free(dataset);
    dataset = open_with(ctx, (dg_dataset_options){.auto_limit = 16});
    ck_assert_int_eq(dg_dataset_resolution(dataset), 16);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

static void put_many(int count) {
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "class %d/%03d.pgm", i % 3, i);
        put_image(name, i);
    }
}

START_TEST(threads_and_caching_change_nothing) {
    dg_ctx *ctx = dg_test_context();
    put_many(100);
    put("class 1/bad.png", "", 0);
    dg_dataset *one = open_with(ctx, (dg_dataset_options){.threads = 1, .resolution = 5});
    dg_dataset *four = open_with(ctx, (dg_dataset_options){.threads = 4, .resolution = 5});
    dg_dataset *uncached = open_with(ctx, (dg_dataset_options){.threads = 4, .resolution = 5, .cache_bytes = 1});
    ck_assert(dg_dataset_is_cached(one));
    ck_assert(!dg_dataset_is_cached(uncached));
    ck_assert_int_eq(dg_dataset_count(one), 100);
    ck_assert_str_eq(dg_dataset_fingerprint(one), dg_dataset_fingerprint(four));
    ck_assert_str_eq(dg_dataset_fingerprint(one), dg_dataset_fingerprint(uncached));
    ck_assert_uint_eq(strlen(dg_dataset_fingerprint(one)), 64);
    for (int64_t i = 0; i < 100; i++) {
        uint8_t a[25], b[25], c[25];
        DG_CK(ctx, dg_dataset_read(ctx, one, i, a));
        DG_CK(ctx, dg_dataset_read(ctx, four, i, b));
        DG_CK(ctx, dg_dataset_read(ctx, uncached, i, c));
        ck_assert_mem_eq(a, b, 25);
        ck_assert_mem_eq(a, c, 25);
        ck_assert_str_eq(dg_dataset_item(one, i)->path, dg_dataset_item(four, i)->path);
    }
    dg_dataset_free(one);
    dg_dataset_free(four);
    put_image("class 0/000.pgm", 77);
    put("class 0/003.pgm", "", 0);
    dg_dataset *changed = open_with(ctx, (dg_dataset_options){.resolution = 5});
    ck_assert_str_ne(dg_dataset_fingerprint(changed), dg_dataset_fingerprint(uncached));
    uint8_t pixels[25];
    ck_assert_int_eq(dg_dataset_read(ctx, uncached, 1, pixels), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "class 0/003.pgm"));
    dg_dataset_free(changed);
    dg_dataset_free(uncached);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(the_holdout_is_stable) {
    dg_ctx *ctx = dg_test_context();
    put_many(200);
    dg_dataset *dataset = open_with(ctx, (dg_dataset_options){.resolution = 4});
    int64_t *train = NULL, *held = NULL, trains = 0, helds = 0;
    DG_CK(ctx, dg_dataset_split(ctx, dataset, 0.25, &train, &trains, &held, &helds));
    ck_assert_int_eq(trains + helds, 200);
    ck_assert_int_ge(helds, 25);
    ck_assert_int_le(helds, 80);
    char names[200][64];
    for (int64_t i = 0; i < helds; i++)
        snprintf(names[i], sizeof names[i], "%s", dg_dataset_item(dataset, held[i])->path);
    dg_dataset_free(dataset);
    int64_t before = helds;
    free(train);
    free(held);
    /* New images do not move the old ones. */
    put_image("class 0/aaa.pgm", 250);
    put_image("class 2/zzz.pgm", 251);
    dataset = open_with(ctx, (dg_dataset_options){.resolution = 4});
    DG_CK(ctx, dg_dataset_split(ctx, dataset, 0.25, &train, &trains, &held, &helds));
    int64_t found = 0;
    for (int64_t i = 0; i < helds; i++)
        for (int64_t k = 0; k < before; k++)
            found += strcmp(names[k], dg_dataset_item(dataset, held[i])->path) == 0;
    ck_assert_int_eq(found, before);
    free(train);
    free(held);
    DG_CK(ctx, dg_dataset_split(ctx, dataset, 0, &train, &trains, &held, &helds));
    ck_assert_int_eq(trains, 202);
    ck_assert_int_eq(helds, 0);
    free(train);
    free(held);
    ck_assert_int_eq(dg_dataset_split(ctx, dataset, 1, &train, &trains, &held, &helds), DG_EINVAL);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

static void count_progress(void *user, int64_t done, int64_t total) {
    int64_t *seen = user;
    ck_assert_int_gt(done, seen[0]);
    seen[0] = done;
    seen[1] = total;
}

START_TEST(progress_and_probe_only) {
    dg_ctx *ctx = dg_test_context();
    put_many(20);
    int64_t seen[2] = {0, 0};
    dg_dataset_options options = dg_dataset_options_default();
    options.progress = count_progress;
    options.progress_user = seen;
    dg_dataset_free(open_with(ctx, options));
    ck_assert_int_eq(seen[0], 20); /* images, though each is looked at twice */
    ck_assert_int_eq(seen[1], 20);
    seen[0] = 0;
    options.probe_only = true;
    dg_dataset *dataset = open_with(ctx, options);
    ck_assert_int_eq(seen[0], 20);
    ck_assert_int_eq(dg_dataset_count(dataset), 20);
    uint8_t pixels[64];
    ck_assert_int_eq(dg_dataset_read(ctx, dataset, 0, pixels), DG_EINVAL);
    dg_dataset_free(dataset);
    dg_ctx_clear_error(ctx);
    dg_ctx_request_stop(ctx);
    ck_assert_int_eq(open_status(ctx, dg_dataset_options_default()), DG_EINTERRUPTED);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("dataset");
    TCase *tcase = tcase_create("dataset");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, class_folders);
    tcase_add_test(tcase, no_classes);
    tcase_add_test(tcase, splits_and_links);
    tcase_add_test(tcase, bad_files_are_skipped_and_named);
    tcase_add_test(tcase, lost_classes_are_loud);
    tcase_add_test(tcase, nothing_to_read);
    tcase_add_test(tcase, sixteen_bits_and_windows);
    tcase_add_test(tcase, automatic_channels);
    tcase_add_test(tcase, automatic_resolution);
    tcase_add_test(tcase, threads_and_caching_change_nothing);
    tcase_add_test(tcase, the_holdout_is_stable);
    tcase_add_test(tcase, progress_and_probe_only);
    suite_add_tcase(suite, tcase);
    return suite;
}
