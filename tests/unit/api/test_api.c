/* The public API as an embedding program uses it: a small untrained model on disk, pixels in memory. */
#include "core/fs.h"
#include "diffusion/schedule.h"
#include "io/model_folder.h"
#include "support/test_main.h"

#include <diffgen/diffgen.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 16, PIXELS = SIZE * SIZE, STEPS = 4 };

static const char *const class_names[] = {"bag", "ankle boot", "a:5"};
static dg_ctx *ctx;

static const char *in_dir(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dg_test_dir(), name);
    return path;
}

/* Two levels, eight channels, random weights. classes 0: unconditional; null_class: one row more than classes. */
static void write_model(const char *path, int64_t classes, bool null_class) {
    dg_unet_config config;
    dg_params params = {0};
    dg_scheduler_config scheduler;
    dg_unet_config_defaults(&config);
    config.sample_h = config.sample_w = SIZE;
    config.in_channels = config.out_channels = 1;
    config.levels = 2;
    config.down[0] = config.up[1] = DG_BLOCK_PLAIN;
    config.down[1] = config.up[0] = DG_BLOCK_PLAIN;
    config.channels[0] = config.channels[1] = 8;
    config.time_embedding_dim = 32;
    config.layers_per_block = 1;
    config.norm_num_groups = 4;
    config.class_embed = classes ? DG_CLASS_TABLE : DG_CLASS_NONE;
    config.num_class_embeds = classes + null_class;
    config.null_class = null_class ? classes : -1;
    DG_CK(ctx, dg_unet_config_check(ctx, "test", &config));
    DG_CK(ctx, dg_params_list(ctx, &config, &params));
    float *weights = calloc((size_t)params.total, sizeof *weights);
    dg_params_init(&params, 11, weights);
    dg_scheduler_config_defaults(&scheduler);
    json_t *json = dg_scheduler_config_to_json(&scheduler);
    const dg_model_contents contents = {.config = &config,
                                        .params = &params,
                                        .weights = weights,
                                        .scheduler = json,
                                        .class_names = class_names,
                                        .num_classes = classes,
                                        .image_bits = 8};
    DG_CK(ctx, dg_model_folder_write(ctx, path, &contents));
    json_decref(json);
    dg_scheduler_config_free(&scheduler);
    dg_params_free(&params);
    free(weights);
}

static void set_up(void) {
    ctx = dg_test_context();
}

static void tear_down(void) {
    dg_ctx_free(ctx);
}

static dg_model *open_model(int64_t classes, bool null_class, int threads) {
    dg_model *model = NULL;
    if (!dg_fs_exists(in_dir("model")))
        write_model(in_dir("model"), classes, null_class);
    DG_CK(ctx, dg_model_open(ctx, in_dir("model"), threads, &model));
    return model;
}

static dg_sample_request request_of(int64_t count) {
    dg_sample_request r = dg_sample_request_defaults();
    r.count = count;
    r.steps = STEPS;
    return r;
}

static void sample(dg_model *model, const dg_sample_request *r, uint8_t *pixels) {
    DG_CK(ctx, dg_model_sample(model, r, pixels));
}

START_TEST(test_info) {
    dg_model *model = open_model(3, true, 1);
    const dg_model_info info = dg_model_get_info(model);
    ck_assert_str_eq(dg_version(), DIFFGEN_VERSION);
    ck_assert_int_eq(strlen(info.sha256), 64);
    ck_assert_int_eq(info.height, SIZE);
    ck_assert_int_eq(info.width, SIZE);
    ck_assert_int_eq(info.channels, 1);
    ck_assert_int_eq(info.num_classes, 3);
    ck_assert_int_gt(info.parameters, 1000);
    ck_assert_int_eq(info.can_guide, 1);
    for (int64_t i = 0; i < 3; i++) {
        ck_assert_str_eq(info.class_names[i], class_names[i]);
        ck_assert_int_eq(dg_model_find_class(model, class_names[i]), i);
    }
    ck_assert_int_eq(dg_model_find_class(model, "Bag"), -1);
    dg_model_free(model);
    dg_model_free(NULL);
}
END_TEST

START_TEST(test_defaults) {
    const dg_sample_request r = dg_sample_request_defaults();
    ck_assert_int_eq(r.count, 1);
    ck_assert_str_eq(r.sampler, "dpmsolver++");
    ck_assert_double_eq(r.guidance, 1);
    ck_assert_int_eq(r.steps, 0);
    ck_assert(r.seed == 0 && r.first_image == 0 && r.batch == 0 && r.eta == 0 && r.classes == NULL);
}
END_TEST

/* Image k is a function of seed, number and class: not of the call, the batch or the threads. */
START_TEST(test_determinism) {
    uint8_t whole[7 * PIXELS], other[7 * PIXELS];
    const int64_t classes[] = {0, 0, 1, 1, 2, 2, 0};
    dg_model *model = open_model(3, true, 1), *wide = open_model(3, true, 3);
    dg_sample_request r = request_of(7);
    r.classes = classes;
    r.seed = 5;
    sample(model, &r, whole);
    for (int i = 0; i < 6; i++)
        ck_assert_msg(memcmp(whole + i * PIXELS, whole + (i + 1) * PIXELS, PIXELS) != 0, "images %d, %d are equal", i,
                      i + 1);
    r.batch = 2;
    memset(other, 0, sizeof other);
    sample(wide, &r, other);
    ck_assert_mem_eq(whole, other, sizeof whole);
    /* Image 4 alone, by number. */
    r = request_of(1);
    r.seed = 5;
    r.first_image = 4;
    r.class_index = 2;
    sample(wide, &r, other);
    ck_assert_mem_eq(whole + 4 * PIXELS, other, PIXELS);
    r.class_index = 1;
    sample(wide, &r, other);
    ck_assert(memcmp(whole + 4 * PIXELS, other, PIXELS) != 0);
    r.class_index = 2;
    r.seed = 6;
    sample(wide, &r, other);
    ck_assert(memcmp(whole + 4 * PIXELS, other, PIXELS) != 0);
    r.count = 0;
    sample(wide, &r, NULL);
    dg_model_free(model);
    dg_model_free(wide);
}
END_TEST

START_TEST(test_guidance_and_samplers) {
    static const char *const samplers[] = {"ddpm", "ddim", "dpmsolver++"};
    uint8_t pixels[4][PIXELS];
    dg_model *model = open_model(3, true, 0);
    dg_sample_request r = request_of(1);
    for (int i = 0; i < 3; i++) {
        r.sampler = samplers[i];
        sample(model, &r, pixels[i]);
        for (int k = 0; k < i; k++)
            ck_assert(memcmp(pixels[k], pixels[i], PIXELS) != 0);
    }
    r.guidance = 4;
    sample(model, &r, pixels[3]);
    ck_assert(memcmp(pixels[2], pixels[3], PIXELS) != 0);
    r.guidance = 1;
    r.sampler = "ddim";
    r.eta = 1;
    sample(model, &r, pixels[3]);
    ck_assert(memcmp(pixels[1], pixels[3], PIXELS) != 0);
    dg_model_free(model);
}
END_TEST

START_TEST(test_unconditional) {
    uint8_t a[PIXELS], b[PIXELS];
    dg_model *model = open_model(0, false, 1);
    dg_sample_request r = request_of(1);
    ck_assert_int_eq(dg_model_get_info(model).num_classes, 0);
    ck_assert_int_eq(dg_model_find_class(model, "bag"), -1);
    sample(model, &r, a);
    r.class_index = 77; /* ignored */
    sample(model, &r, b);
    ck_assert_mem_eq(a, b, PIXELS);
    dg_model_free(model);
}
END_TEST

static void refused(dg_model *model, const dg_sample_request *r, const char *part) {
    uint8_t pixels[PIXELS];
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_model_sample(model, r, pixels), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

#define REFUSED(field, value, part)                                                                                    \
    do {                                                                                                               \
        dg_sample_request r_ = request_of(1);                                                                          \
        r_.field = value;                                                                                              \
        refused(model, &r_, part);                                                                                     \
    } while (0)

START_TEST(test_refusals) {
    const int64_t bad[] = {3};
    dg_model *model = open_model(3, false, 1);
    ck_assert_int_eq(dg_model_get_info(model).can_guide, 0);
    REFUSED(class_index, 3, "classes are 0 to 2");
    REFUSED(class_index, -1, "classes are 0 to 2");
    REFUSED(classes, bad, "class 3");
    REFUSED(sampler, "eulr", "no sampler 'eulr'");
    REFUSED(sampler, NULL, "ddpm, ddim, dpmsolver++, euler, heun and churn");
    REFUSED(sigma_max, 5, "belong to euler, heun and churn");
    REFUSED(rho, -1, "sigma");
    REFUSED(steps, 1001, "only 1000 steps");
    REFUSED(steps, -1, "steps -1");
    REFUSED(batch, -1, "batch -1");
    REFUSED(count, -1, "images -1");
    REFUSED(first_image, -5, "first image -5");
    REFUSED(first_image, INT64_MAX, "overflow");
    REFUSED(eta, 0.5, "the sampler dpmsolver++ has no such noise");
    REFUSED(eta, NAN, "from 0 to 1");
    REFUSED(guidance, NAN, "from 0 to 100");
    REFUSED(guidance, 2, "no null class");
    dg_model_free(model);
}
END_TEST

START_TEST(test_open_failures) {
    dg_model *model = (dg_model *)1;
    ck_assert_int_eq(dg_model_open(ctx, in_dir("nothing"), 1, &model), DG_ENOINPUT);
    ck_assert_ptr_null(model);
    ck_assert(strstr(dg_last_error(ctx), "nothing") != NULL);
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, dg_fs_mkdirs(ctx, in_dir("broken/model")));
    DG_CK(ctx, dg_fs_write_atomic(ctx, in_dir("broken/model/model_index.json"), "{", 1));
    ck_assert_int_eq(dg_model_open(ctx, in_dir("broken/model"), 1, &model), DG_EDATA);
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_model_open(ctx, in_dir("broken/model"), -1, &model), DG_EUSAGE);
}
END_TEST

START_TEST(test_stop) {
    uint8_t pixels[PIXELS];
    dg_model *model = open_model(3, true, 1);
    const dg_sample_request r = request_of(1);
    dg_ctx_request_stop(ctx);
    ck_assert_int_eq(dg_model_sample(model, &r, pixels), DG_EINTERRUPTED);
    dg_model_free(model);
}
END_TEST

static void set(dg_sample_options *options, const char *name, const char *text) {
    DG_CK(ctx, dg_sample_options_set(ctx, options, name, text));
}

/* What goes to files is what goes to memory. */
START_TEST(test_same_as_the_files) {
    uint8_t mine[6 * PIXELS], theirs[PIXELS];
    const int64_t classes[] = {1, 1, 1, 0, 0, 0};
    dg_sample_options *options = NULL;
    dg_sample_result result = {0};
    dg_model *model = open_model(3, true, 1);
    dg_sample_request r = request_of(6);
    r.classes = classes;
    r.seed = 9;
    r.first_image = 40;
    r.guidance = 1.5;
    sample(model, &r, mine);
    DG_CK(ctx, dg_sample_options_create(ctx, &options));
    set(options, "model", in_dir("model"));
    set(options, "out", in_dir("out"));
    set(options, "class", "ankle boot:3");
    set(options, "class", "bag:3");
    set(options, "seed", "9");
    set(options, "seeds", "40-45");
    set(options, "steps", "4");
    set(options, "guidance", "1.5");
    DG_CK(ctx, dg_sample_run(ctx, options, NULL, &result));
    ck_assert_int_eq(result.written, 6);
    ck_assert_int_eq(result.existing, 0);
    for (int i = 0; i < 6; i++) {
        char name[64];
        png_image png = {.version = PNG_IMAGE_VERSION};
        snprintf(name, sizeof name, "out/%s/%06d.png", class_names[classes[i]], 40 + i);
        ck_assert_msg(png_image_begin_read_from_file(&png, in_dir(name)), "%s: %s", name, png.message);
        png.format = PNG_FORMAT_GRAY;
        ck_assert(png_image_finish_read(&png, NULL, theirs, SIZE, NULL));
        ck_assert_msg(memcmp(mine + i * PIXELS, theirs, PIXELS) == 0, "%s differs", name);
    }
    dg_sample_result_free(&result);
    dg_sample_options_free(options);
    dg_model_free(model);
}
END_TEST

START_TEST(test_options) {
    dg_train_options *train = NULL;
    dg_sample_options *options = NULL;
    DG_CK(ctx, dg_train_options_create(ctx, &train));
    DG_CK(ctx, dg_train_options_set(ctx, train, "label-dropout", "0.2"));
    DG_CK(ctx, dg_train_options_set(ctx, train, "time_limit", "2h"));
    DG_CK(ctx, dg_train_options_set(ctx, train, "hflip", NULL));
    ck_assert_int_eq(dg_train_options_set(ctx, train, "imges", "x"), DG_EUSAGE);
    ck_assert(strstr(dg_last_error(ctx), "images") != NULL);
    DG_CK(ctx, dg_sample_options_create(ctx, &options));
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_sample_options_set(ctx, options, "steps", "0"), DG_EUSAGE);
    ck_assert(strstr(dg_last_error(ctx), "steps") != NULL);
    dg_train_options_free(train);
    dg_sample_options_free(options);
    dg_train_options_free(NULL);
    dg_sample_options_free(NULL);
}
END_TEST

/* A header that C++ refuses is of no use to half of its users. Only where a C++ compiler is. */
START_TEST(test_header_in_cxx) {
    char command[1024];
    if (system("command -v g++ >/dev/null 2>&1") != 0)
        return;
    const char *source = "#include <diffgen/diffgen.h>\nint main() { return dg_version() == nullptr; }\n";
    DG_CK(ctx, dg_fs_write_atomic(ctx, in_dir("header.cpp"), source, strlen(source)));
    snprintf(command, sizeof command, "g++ -std=c++11 -Wall -Wextra -Werror -pedantic -fsyntax-only -I '%s' '%s'",
             DG_SOURCE_DIR "/include", in_dir("header.cpp"));
    ck_assert_msg(system(command) == 0, "%s", command);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("api");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, test_info);
    tcase_add_test(tests, test_defaults);
    tcase_add_test(tests, test_determinism);
    tcase_add_test(tests, test_guidance_and_samplers);
    tcase_add_test(tests, test_unconditional);
    tcase_add_test(tests, test_refusals);
    tcase_add_test(tests, test_open_failures);
    tcase_add_test(tests, test_stop);
    tcase_add_test(tests, test_same_as_the_files);
    tcase_add_test(tests, test_options);
    tcase_add_test(tests, test_header_in_cxx);
    suite_add_tcase(suite, tests);
    return suite;
}
