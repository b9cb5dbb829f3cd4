#include "core/fs.h"
#include "inspect/inspect.h"
#include "io/checkpoint.h"
#include "io/model_folder.h"
#include "io/output.h"
#include "io/png.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

static const char sha256[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static dg_ctx *ctx;

static void set_up(void) {
    ctx = dg_test_context();
}

static void tear_down(void) {
    dg_ctx_free(ctx);
}

/* "<test dir>/<name>", until the fourth call after this one. */
static const char *at(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dg_test_dir(), name);
    return path;
}

static const dg_info_options as_is;

static json_t *inspect(const char *path) {
    json_t *result = NULL;
    DG_CK(ctx, dg_inspect(ctx, path, &as_is, &result));
    ck_assert(json_is_object(result));
    return result;
}

static int64_t number(const json_t *object, const char *key) {
    ck_assert_msg(json_is_integer(json_object_get(object, key)), "%s is not an integer", key);
    return json_integer_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key) {
    ck_assert_msg(json_is_string(json_object_get(object, key)), "%s is not a text", key);
    return json_string_value(json_object_get(object, key));
}

static void refused(const char *path, dg_status expected, const char *part) {
    json_t *result = NULL;
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_inspect(ctx, path, &as_is, &result), expected);
    ck_assert_ptr_null(result);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

/* A 5x4 grey PNG. */
static void encode(const char *provenance, const char *parameters, int shade, dg_str *png) {
    uint8_t pixels[20];
    memset(pixels, shade, sizeof pixels);
    const dg_png_image image = {.height = 4, .width = 5, .channels = 1, .bits = 8, .pixels = pixels};
    DG_CK(ctx, dg_png_encode(ctx, &image, provenance, parameters, png));
}

static void write_png(const char *path, int shade) {
    dg_str png = {0};
    encode(NULL, NULL, shade, &png);
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, png.data, png.length));
    dg_str_free(&png);
}

START_TEST(a_model) {
    json_t *model = inspect(DG_SOURCE_DIR "/tests/fixtures/io/tiny");
    ck_assert_str_eq(text(model, "kind"), "model");
    ck_assert_int_eq(strlen(text(model, "sha256")), 64);
    ck_assert_int_eq(number(model, "height"), 8);
    ck_assert_int_eq(number(model, "width"), 8);
    ck_assert_int_eq(number(model, "channels"), 1);
    ck_assert_int_eq(number(model, "num_classes"), 4);
    ck_assert_int_eq((int)json_array_size(json_object_get(model, "classes")), 4);
    ck_assert_int_gt(number(model, "parameters"), 10000);
    ck_assert_int_gt(number(model, "flops_per_image"), number(model, "parameters"));
    ck_assert_str_eq(text(json_object_get(model, "scheduler"), "_class_name"), "DDPMScheduler");
    ck_assert_int_eq(
        (int)json_array_size(json_object_get(json_object_get(model, "architecture"), "block_out_channels")), 2);
    json_decref(model);
}
END_TEST

START_TEST(image_folders) {
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("set/left")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("set/right side")));
    write_png(at("set/left/1.png"), 10);
    write_png(at("set/left/2.png"), 20);
    write_png(at("set/right side/1.png"), 30);
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("set/left/broken.png"), "no", 2));
    json_t *images = inspect(at("set"));
    ck_assert_str_eq(text(images, "kind"), "images");
    ck_assert_str_eq(text(images, "layout"), "folders");
    ck_assert_int_eq(number(images, "images"), 3);
    ck_assert_int_eq(number(images, "num_classes"), 2);
    const json_t *classes = json_object_get(images, "classes");
    ck_assert_str_eq(text(json_array_get(classes, 0), "name"), "left");
    ck_assert_int_eq(number(json_array_get(classes, 0), "images"), 2);
    ck_assert_str_eq(text(json_array_get(classes, 1), "name"), "right side");
    ck_assert_int_eq(number(json_array_get(classes, 1), "images"), 1);
    ck_assert_int_eq(number(images, "skipped"), 1);
    const json_t *skipped = json_array_get(json_object_get(images, "skipped_files"), 0);
    ck_assert_str_eq(text(skipped, "path"), "left/broken.png");
    ck_assert_int_gt(strlen(text(skipped, "reason")), 0);
    json_decref(images);
}
END_TEST

START_TEST(one_image_and_where_it_comes_from) {
    dg_str png = {0};
    encode("{\"class\": \"left\", \"seed\": 7}", "steps: 25", 99, &png);
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("one.png"), png.data, png.length));
    json_t *image = inspect(at("one.png"));
    ck_assert_str_eq(text(image, "kind"), "image");
    ck_assert_int_eq(number(image, "width"), 5);
    ck_assert_int_eq(number(image, "height"), 4);
    ck_assert_int_eq(number(image, "bits"), 8);
    ck_assert_int_eq(number(image, "file_bytes"), (int64_t)png.length);
    ck_assert_int_eq(number(json_object_get(image, "provenance"), "seed"), 7);
    ck_assert_str_eq(text(image, "parameters"), "steps: 25");
    json_decref(image);
    image = inspect(DG_SOURCE_DIR "/tests/fixtures/data/color.jpg");
    ck_assert_int_eq(number(image, "channels"), 3);
    ck_assert(json_is_null(json_object_get(image, "provenance")));
    json_decref(image);
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("half.png"), png.data, png.length / 2));
    refused(at("half.png"), DG_EDATA, "half.png");
    dg_str_free(&png);
}
END_TEST

/* A folder as `diffgen sample` leaves it. */
START_TEST(a_synthetic_set) {
    const char *const names[] = {"cat", "dog"};
    json_t *options = json_pack("{s:s}", "sampler", "ddim");
    const dg_output_job job = {.model_sha256 = sha256,
                               .options = options,
                               .class_names = names,
                               .num_classes = 2,
                               .shard = 0,
                               .shards = 1,
                               .planned_images = 3};
    dg_output *output = NULL;
    bool complete = false;
    DG_CK(ctx, dg_output_open(ctx, at("made"), &job, &output));
    for (int64_t i = 0; i < 3; i++) {
        dg_str png = {0};
        encode(NULL, NULL, 40 + (int)i, &png);
        DG_CK(ctx, dg_output_write(ctx, output, i < 2 ? 1 : 0, i, 0, png.data, png.length));
        dg_str_free(&png);
    }
    DG_CK(ctx, dg_output_finish(ctx, output, &complete));
    dg_output_close(output);
    ck_assert(complete);
    json_t *set = inspect(at("made"));
    ck_assert_str_eq(text(set, "kind"), "synthetic images");
    ck_assert(json_is_true(json_object_get(set, "complete")));
    ck_assert_int_eq(number(set, "images"), 3);
    const json_t *classes = json_object_get(set, "classes");
    ck_assert_str_eq(text(json_array_get(classes, 0), "name"), "cat");
    ck_assert_int_eq(number(json_array_get(classes, 0), "images"), 1);
    ck_assert_int_eq(number(json_array_get(classes, 1), "images"), 2);
    ck_assert_str_eq(text(set, "model_sha256"), sha256);
    ck_assert_str_eq(text(json_object_get(set, "options"), "sampler"), "ddim");
    json_decref(set);
    json_decref(options);
}
END_TEST

/* A run before its first model: what there is so far, and the folder of runs that points at it. */
START_TEST(a_run) {
    static const char metrics[] =
        "{\"step\":10,\"loss\":0.5}\n{\"step\":20,\"loss\":0.25}\n{\"step\":20,\"val\":1}\n{\"st";
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("runs/a/checkpoints/step-000000020")));
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("runs/a/checkpoints/step-000000030.partial")));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("runs/a/config.json"), "{\"seed\": 3}", 11));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("runs/a/metrics.jsonl"), metrics, sizeof metrics - 1));
    DG_CK(ctx, dg_fs_symlink(ctx, "a", at("runs/latest")));
    const char *const paths[] = {"runs/a", "runs"};
    for (size_t i = 0; i < 2; i++) {
        json_t *run = inspect(at(paths[i]));
        ck_assert_str_eq(text(run, "kind"), "run");
        ck_assert(json_is_false(json_object_get(run, "finished")));
        ck_assert_int_eq(number(json_object_get(run, "newest_metrics"), "step"), 20);
        ck_assert_double_eq(json_number_value(json_object_get(json_object_get(run, "newest_metrics"), "loss")), 0.25);
        ck_assert_int_eq((int)json_array_size(json_object_get(run, "checkpoints")), 1);
        ck_assert_int_eq(number(json_object_get(run, "config"), "seed"), 3);
        ck_assert(json_is_null(json_object_get(run, "model")));
        json_decref(run);
    }
}
END_TEST

/* A run that was stopped has no model folder, but a checkpoint: what can be drawn from is said, and what it promises.
 */
START_TEST(a_stopped_run) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, DG_SOURCE_DIR "/tests/fixtures/io/tiny", &m));
    float *weights = calloc((size_t)m.params.total, sizeof *weights);
    const dg_checkpoint_array array = {"weights", weights, m.params.total};
    json_t *state =
        json_pack("{s:i, s:{s:i, s:{s:f}}}", "step", 30, "training", "steps", 30, "privacy", "epsilon", 2.5);
    json_t *config = json_pack("{s:o, s:O, s:{s:[s,s,s,s], s:{s:i}}}", "unet", dg_unet_config_to_json(&m.config),
                               "scheduler", m.scheduler, "model", "classes", "a", "b", "c", "d", "image", "bits", 16);
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("runs/a/checkpoints")));
    DG_CK(ctx, dg_json_save(ctx, at("runs/a/config.json"), config));
    DG_CK(ctx, dg_checkpoint_write(ctx, at("runs/a/checkpoints/step-000000030"), &array, 1, state));
    json_t *run = inspect(at("runs/a")), *checkpoint = inspect(at("runs/a/checkpoints/step-000000030"));
    const json_t *models[] = {json_object_get(run, "model"), checkpoint};
    ck_assert(json_is_false(json_object_get(run, "finished")));
    for (int i = 0; i < 2; i++) {
        const json_t *training = json_object_get(models[i], "training");
        ck_assert_str_eq(text(models[i], "kind"), "model");
        ck_assert_int_eq(number(models[i], "num_classes"), 4);
        ck_assert_int_eq(number(models[i], "bits"), 16);
        ck_assert_int_eq(number(training, "steps"), 30);
        ck_assert_double_eq(json_number_value(json_object_get(json_object_get(training, "privacy"), "epsilon")), 2.5);
    }
    ck_assert_ptr_nonnull(strstr(text(models[0], "path"), "step-000000030"));
    json_decref(run);
    json_decref(checkpoint);
    json_decref(config);
    json_decref(state);
    free(weights);
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(a_grid_of_the_images) {
    dg_info_options options = {.grid = (char *)(uintptr_t)at("seen.png")};
    json_t *result = NULL;
    dg_png_info png = {0};
    dg_str first = {0}, second = {0};
    encode(NULL, NULL, 1, &first);
    encode(NULL, NULL, 2, &second);
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("photos/a")));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("photos/a/1.png"), first.data, first.length));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("photos/a/2.png"), second.data, second.length));
    char grid[256], inside[256], photos[256];
    snprintf(grid, sizeof grid, "%s", at("seen.png"));
    snprintf(inside, sizeof inside, "%s", at("photos/seen.png"));
    snprintf(photos, sizeof photos, "%s", at("photos"));
    options.grid = grid;
    DG_CK(ctx, dg_inspect(ctx, photos, &options, &result));
    json_decref(result);
    DG_CK(ctx, dg_png_read_info(ctx, grid, &png));
    ck_assert(png.width > 64 && png.height > 64);
    dg_png_info_free(&png);
    /* Not among the images, where it would be one of them, and not of anything else. */
    options.grid = inside;
    ck_assert_int_eq(dg_inspect(ctx, photos, &options, &result), DG_EUSAGE);
    ck_assert_ptr_null(result);
    ck_assert(!dg_fs_exists(inside));
    dg_ctx_clear_error(ctx);
    options.grid = grid;
    ck_assert_int_eq(dg_inspect(ctx, at("photos/a/1.png"), &options, &result), DG_EUSAGE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--grid"));
    ck_assert_ptr_null(result);
    dg_str_free(&first);
    dg_str_free(&second);
}
END_TEST

START_TEST(what_is_none_of_these) {
    refused(at("nothing"), DG_ENOINPUT, "nothing");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("empty")));
    refused(at("empty"), DG_ENOINPUT, "empty");
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("notes.txt"), "hello", 5));
    refused(at("notes.txt"), DG_EDATA, "notes.txt");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("bad/checkpoints")));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("bad/config.json"), "{", 1));
    refused(at("bad"), DG_EDATA, "config.json");
    DG_CK(ctx, dg_fs_mkdirs(ctx, at("forged")));
    DG_CK(ctx, dg_fs_write_atomic(ctx, at("forged/manifest.json"), "[]", 2));
    refused(at("forged"), DG_EDATA, "manifest.json");
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("inspect");
    TCase *tc = tcase_create("inspect");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_model);
    tcase_add_test(tc, image_folders);
    tcase_add_test(tc, one_image_and_where_it_comes_from);
    tcase_add_test(tc, a_synthetic_set);
    tcase_add_test(tc, a_run);
    tcase_add_test(tc, a_stopped_run);
    tcase_add_test(tc, a_grid_of_the_images);
    tcase_add_test(tc, what_is_none_of_these);
    suite_add_tcase(suite, tc);
    return suite;
}
