#include "data/loader.h"

#include "unit/data/data_fixture.h"

enum { IMAGES = 23, BATCH = 5 };

static dg_dataset *make_dataset(dg_ctx *ctx, int64_t cache_bytes) {
    for (int i = 0; i < IMAGES; i++) {
        char name[64];
        snprintf(name, sizeof name, "class %d/%03d.pgm", i % 3, i);
        put_image(name, i);
    }
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = dg_test_dir();
    options.cache_bytes = cache_bytes;
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), IMAGES);
    return dataset;
}

/* The images and flips of `count` samples, checked for consistency on the way. */
static void draw(dg_ctx *ctx, const dg_dataset *dataset, dg_loader_options options, int64_t count, int64_t *images,
                 uint8_t *flips) {
    dg_loader *loader = NULL;
    DG_CK(ctx, dg_loader_create(ctx, dataset, &options, &loader));
    for (int64_t done = 0; done < count;) {
        dg_batch batch;
        DG_CK(ctx, dg_loader_next(loader, &batch));
        ck_assert_int_eq(batch.first_sample, options.first_sample + done);
        for (int i = 0; i < options.batch && done < count; i++, done++) {
            uint8_t pixels[64];
            DG_CK(ctx, dg_dataset_read(ctx, dataset, batch.images[i], pixels));
            ck_assert_mem_eq((const uint8_t *)batch.pixels + 64 * i, pixels, 64);
            ck_assert_int_eq(batch.labels[i], dg_dataset_item(dataset, batch.images[i])->label);
            images[done] = batch.images[i];
            flips[done] = batch.flip[i];
        }
    }
    ck_assert(dg_loader_wait_seconds(loader) >= 0);
    dg_loader_free(loader);
}

START_TEST(every_epoch_shows_every_image_once) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = make_dataset(ctx, 0);
    int64_t images[4 * IMAGES];
    uint8_t flips[4 * IMAGES];
    draw(ctx, dataset, (dg_loader_options){.batch = BATCH, .seed = 1}, 4 * IMAGES, images, flips);
    bool reordered = false;
    for (int epoch = 0; epoch < 4; epoch++) {
        int seen[IMAGES] = {0};
        for (int i = 0; i < IMAGES; i++) {
            seen[images[epoch * IMAGES + i]]++;
            reordered |= images[epoch * IMAGES + i] != images[i];
            ck_assert_int_eq(flips[epoch * IMAGES + i], 0);
        }
        for (int i = 0; i < IMAGES; i++)
            ck_assert_int_eq(seen[i], 1);
    }
    ck_assert(reordered);
    uint32_t scratch[IMAGES];
    for (int s = 0; s < 4 * IMAGES; s++)
        ck_assert_int_eq(dg_loader_position(1, IMAGES, s, scratch), images[s]);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(batch_threads_and_cache_change_nothing) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *cached = make_dataset(ctx, 0), *uncached = make_dataset(ctx, 1);
    ck_assert(!dg_dataset_is_cached(uncached));
    enum { COUNT = 200 };
    int64_t want[COUNT], got[COUNT];
    uint8_t want_flips[COUNT], got_flips[COUNT];
    draw(ctx, cached, (dg_loader_options){.batch = BATCH, .seed = 7, .hflip = true}, COUNT, want, want_flips);
    static const struct { int batch, threads; } cases[] = {{1, 1}, {BATCH, 4}, {64, 3}, {100, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_loader_options options = {.batch = cases[i].batch, .threads = cases[i].threads, .seed = 7, .hflip = true};
        draw(ctx, i % 2 ? uncached : cached, options, COUNT, got, got_flips);
        ck_assert_mem_eq(got, want, sizeof want);
        ck_assert_mem_eq(got_flips, want_flips, sizeof want_flips);
    }
    int flipped = 0;
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_le(want_flips[i], 1);
        flipped += want_flips[i];
    }
    ck_assert_int_gt(flipped, 60);
    ck_assert_int_lt(flipped, 140);
    draw(ctx, cached, (dg_loader_options){.batch = BATCH, .seed = 8, .hflip = true}, COUNT, got, got_flips);
    ck_assert_mem_ne(got, want, sizeof want);
    dg_dataset_free(cached);
    dg_dataset_free(uncached);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_run_resumes_at_any_sample) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = make_dataset(ctx, 0);
    enum { COUNT = 150 };
    int64_t whole[COUNT], part[COUNT];
    uint8_t whole_flips[COUNT], part_flips[COUNT];
    draw(ctx, dataset, (dg_loader_options){.batch = BATCH, .seed = 3, .hflip = true}, COUNT, whole, whole_flips);
    for (int64_t start = 0; start < 60; start += 13) {
        dg_loader_options options = {.batch = 3, .seed = 3, .hflip = true, .first_sample = start, .threads = 2};
        draw(ctx, dataset, options, COUNT - start, part, part_flips);
        ck_assert_mem_eq(part, whole + start, (size_t)(COUNT - start) * sizeof *part);
        ck_assert_mem_eq(part_flips, whole_flips + start, (size_t)(COUNT - start));
    }
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_subset_is_all_that_is_drawn) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = make_dataset(ctx, 0);
    const int64_t indices[] = {2, 3, 11};
    int64_t images[30];
    uint8_t flips[30];
    draw(ctx, dataset, (dg_loader_options){.batch = 10, .indices = indices, .count = 3}, 30, images, flips);
    int seen[3] = {0};
    for (int i = 0; i < 30; i++) {
        ck_assert(images[i] == 2 || images[i] == 3 || images[i] == 11);
        seen[images[i] == 2 ? 0 : images[i] == 3 ? 1 : 2]++;
    }
    ck_assert_int_eq(seen[0], 10);
    ck_assert_int_eq(seen[1], 10);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(ranks_share_a_batch) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = make_dataset(ctx, 0);
    enum { COUNT = 70, STRIDE = 7, FIRST = 4, MINE = 2 };
    int64_t all[COUNT];
    uint8_t flips[COUNT];
    draw(ctx, dataset, (dg_loader_options){.batch = STRIDE, .seed = 7}, COUNT, all, flips);
    dg_loader *loader = NULL;
    const dg_loader_options options = {.batch = MINE, .stride = STRIDE, .seed = 7, .first_sample = FIRST};
    DG_CK(ctx, dg_loader_create(ctx, dataset, &options, &loader));
    for (int64_t first = FIRST; first + MINE <= COUNT; first += STRIDE) {
        dg_batch batch;
        DG_CK(ctx, dg_loader_next(loader, &batch));
        ck_assert_int_eq(batch.first_sample, first);
        ck_assert_mem_eq(batch.images, all + first, MINE * sizeof *all);
    }
    dg_loader_free(loader);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(bad_options_and_lost_files) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = make_dataset(ctx, 1);
    dg_loader *loader = NULL;
    const int64_t outside[] = {IMAGES};
    dg_loader_options bad[] = {{.batch = 0},
                               {.batch = 1, .first_sample = -1},
                               {.batch = 1, .indices = outside, .count = 1},
                               {.batch = 1, .indices = outside, .count = 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(dg_loader_create(ctx, dataset, &bad[i], &loader), DG_EINVAL);
    ck_assert_ptr_null(loader);
    dg_loader_free(NULL);
    dg_ctx_clear_error(ctx);
    /* A file that breaks during training ends it with its name, once and for all. */
    put("class 0/000.pgm", "", 0);
    dg_loader_options options = {.batch = IMAGES};
    DG_CK(ctx, dg_loader_create(ctx, dataset, &options, &loader));
    dg_batch batch;
    ck_assert_int_eq(dg_loader_next(loader, &batch), DG_EDATA);
    ck_assert_int_eq(dg_loader_next(loader, &batch), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "class 0/000.pgm"));
    dg_loader_free(loader);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("loader");
    TCase *tcase = tcase_create("loader");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, every_epoch_shows_every_image_once);
    tcase_add_test(tcase, batch_threads_and_cache_change_nothing);
    tcase_add_test(tcase, a_run_resumes_at_any_sample);
    tcase_add_test(tcase, a_subset_is_all_that_is_drawn);
    tcase_add_test(tcase, ranks_share_a_batch);
    tcase_add_test(tcase, bad_options_and_lost_files);
    suite_add_tcase(suite, tcase);
    return suite;
}
