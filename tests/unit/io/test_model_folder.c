/* Model folders: those Python wrote (pipeline, shards, flat layout with old names), our own, and wrong ones. */
#include "core/fs.h"
#include "io/model_folder.h"
#include "io/safetensors.h"
#include "support/test_main.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define FIXTURES DG_SOURCE_DIR "/tests/fixtures/io/"

static dg_ctx *ctx;
static char warnings[4096];

static void on_log(void *user, dg_log_level level, const char *message) {
    (void)user;
    if (level == DG_LOG_WARN)
        strncat(warnings, message, sizeof warnings - strlen(warnings) - 1);
}

static void setup(void) {
    ctx = dg_test_context();
    warnings[0] = '\0';
    dg_ctx_set_log(ctx, on_log, NULL);
}

static void teardown(void) {
    dg_ctx_free(ctx);
}

/* A shell command in the test's folder, for making and damaging copies of fixtures. */
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

/* Every tensor against the sums that Python computed. */
static void check_weights(const dg_model_folder *m) {
    json_t *expected = NULL;
    float *weights = malloc((size_t)m->params.total * sizeof *weights);
    DG_CK(ctx, dg_json_load(ctx, FIXTURES "tiny_expected.json", DG_JSON_STRICT, &expected));
    ck_assert_int_eq(m->params.count, (int64_t)json_object_size(expected));
    DG_CK(ctx, dg_model_folder_load(ctx, m, weights));
    for (int64_t i = 0; i < m->params.count; i++) {
        const dg_param *p = &m->params.list[i];
        const json_t *e = json_object_get(expected, p->name);
        double sum = 0;
        for (int64_t k = 0; k < p->count; k++)
            sum += weights[p->offset + k];
        ck_assert_msg(e != NULL, "%s", p->name);
        ck_assert_double_eq_tol(sum, json_number_value(json_object_get(e, "sum")), 1e-9);
        ck_assert_double_eq_tol(weights[p->offset], json_number_value(json_object_get(e, "first")), 1e-12);
    }
    free(weights);
    json_decref(expected);
}

START_TEST(test_pipeline) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    ck_assert_int_eq(m.config.levels, 2);
    ck_assert_int_eq(m.config.channels[1], 8);
    ck_assert_int_eq(m.num_classes, 4); /* without _diffgen_null_class every row is a class */
    ck_assert_str_eq(m.class_names[3], "3");
    ck_assert_int_eq(m.image_bits, 8);
    ck_assert_ptr_null(m.info);
    ck_assert_str_eq(json_string_value(json_object_get(m.scheduler, "_class_name")), "DDPMScheduler");
    ck_assert_str_eq(json_string_value(json_object_get(m.scheduler, "prediction_type")), "v_prediction");
    check_weights(&m);
    ck_assert_str_eq(warnings, "");
    dg_model_folder_free(&m);
    dg_model_folder_free(NULL);
}
END_TEST

START_TEST(test_bare_sharded) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny_sharded", &m));
    ck_assert_ptr_null(m.scheduler);
    check_weights(&m);
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_flat_with_old_names) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny_flat", &m));
    ck_assert_ptr_nonnull(m.scheduler);
    check_weights(&m);
    ck_assert_str_eq(warnings, ""); /* old names are not unexpected ones */
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_training_checkpoint_prefers_ema) {
    dg_model_folder m;
    shell("mkdir ck ck/unet && cp -r %stiny/unet ck/unet_ema && rm -f ck/unet_ema/*.json && "
          "sed 's/\"act_fn\"/\"decay\": 0.99, \"optimization_step\": 3, \"act_fn\"/' %stiny/unet/config.json "
          "> ck/unet_ema/config.json && echo '{}' > ck/unet/config.json",
          FIXTURES, FIXTURES);
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("ck"), &m));
    ck_assert_ptr_nonnull(strstr(m.unet_path, "unet_ema"));
    check_weights(&m);
    dg_model_folder_free(&m);
}
END_TEST

/* sha256sum prints the very text the identity is the hash of. */
START_TEST(test_identity) {
    char ours[DG_SHA256_HEX], theirs[128] = "", command[2048];
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    DG_CK(ctx, dg_model_sha256(ctx, &m, ours));
    dg_model_folder_free(&m);
    shell("mkdir id && cp %stiny/unet/* %stiny/scheduler/* id", FIXTURES, FIXTURES);
    snprintf(
        command, sizeof command,
        "cd '%s/id' && sha256sum config.json diffusion_pytorch_model.safetensors scheduler_config.json | sha256sum",
        dg_test_dir());
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(fgets(theirs, sizeof theirs, pipe));
    pclose(pipe);
    theirs[64] = '\0';
    ck_assert_str_eq(ours, theirs);
    /* another config or another weight is another model; diffgen.json is not */
    shell("cp -r %stiny other && echo '{}' > other/diffgen.json", FIXTURES);
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("other"), &m));
    DG_CK(ctx, dg_model_sha256(ctx, &m, theirs));
    dg_model_folder_free(&m);
    ck_assert_str_eq(ours, theirs);
    shell("sed -i 's/\"sample_size\": 8/\"sample_size\": 16/' other/unet/config.json");
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("other"), &m));
    DG_CK(ctx, dg_model_sha256(ctx, &m, theirs));
    dg_model_folder_free(&m);
    ck_assert_str_ne(ours, theirs);
}
END_TEST

static void write_model(const char *path, float *weights_out[1], int64_t *total) {
    static const char *const names[] = {"coat", "t-shirt/top", "größe 3"};
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    float *weights = calloc((size_t)m.params.total, sizeof *weights);
    DG_CK(ctx, dg_model_folder_load(ctx, &m, weights));
    weights[m.params.list[0].offset] = 0.125f;
    m.config.null_class = 3;
    json_t *training = json_pack("{s:i}", "steps", 100);
    const dg_model_contents contents = {.config = &m.config,
                                        .params = &m.params,
                                        .weights = weights,
                                        .scheduler = m.scheduler,
                                        .class_names = names,
                                        .num_classes = 3,
                                        .image_bits = 16,
                                        .training = training};
    DG_CK(ctx, dg_model_folder_write(ctx, path, &contents));
    *total = m.params.total;
    weights_out[0] = weights;
    json_decref(training);
    dg_model_folder_free(&m);
}

START_TEST(test_write_and_read_back) {
    float *written = NULL, *read = NULL;
    int64_t total = 0;
    dg_model_folder m;
    char path[512];
    snprintf(path, sizeof path, "%s/model/", dg_test_dir());
    write_model(path, &written, &total);
    free(written);
    write_model(path, &written, &total); /* replaces */
    DG_CK(ctx, dg_model_folder_open(ctx, path, &m));
    ck_assert_int_eq(m.params.total, total);
    read = malloc((size_t)total * sizeof *read);
    DG_CK(ctx, dg_model_folder_load(ctx, &m, read));
    ck_assert_mem_eq(read, written, (size_t)total * sizeof *read);
    ck_assert_int_eq(m.num_classes, 3);
    ck_assert_str_eq(m.class_names[2], "größe 3");
    ck_assert_int_eq(m.image_bits, 16);
    ck_assert_int_eq(m.config.null_class, 3);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(m.info, "training"), "steps")), 100);
    shell("test \"$(ls -A .)\" = model");
    free(read);
    free(written);
    dg_model_folder_free(&m);
}
END_TEST

/* Whoever loads a class-conditional model in DDPMPipeline cannot call it: the card says so, and how else. */
START_TEST(test_card_says_how_to_draw) {
    char path[512];
    float *written = NULL;
    int64_t total = 0;
    dg_model_folder m;
    snprintf(path, sizeof path, "%s/model", dg_test_dir());
    write_model(path, &written, &total);
    free(written);
    shell("grep -q 'cannot be called' model/README.md && grep -q 'class_labels=labels' model/README.md && "
          "grep -qF '| 2 | größe 3 |' model/README.md");
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    float *weights = calloc((size_t)m.params.total, sizeof *weights);
    dg_model_contents contents = {.config = &m.config,
                                  .params = &m.params,
                                  .weights = weights,
                                  .scheduler = m.scheduler,
                                  .class_names = (const char *const[]){"a|b", "[x](y)\n\xe2\x80\xae"},
                                  .num_classes = 2,
                                  .image_bits = 8,
                                  .card = "# Mine\n"};
    DG_CK(ctx, dg_model_folder_write(ctx, in_dir("marks"), &contents));
    shell("head -1 marks/README.md | grep -qx '# Mine' && grep -qF '| 0 | a\\|b |' marks/README.md && "
          "grep -qF '| 1 | \\[x\\](y)?? |' marks/README.md");
    contents.num_classes = 0;
    contents.card = NULL;
    DG_CK(ctx, dg_model_folder_write(ctx, in_dir("plain"), &contents));
    shell("grep -q 'DDPMPipeline.from_pretrained(\".\")(' plain/README.md && ! grep -q labels plain/README.md && "
          "grep -q 'without differential privacy' plain/README.md && ! grep -q 'without diff' marks/README.md");
    free(weights);
    dg_model_folder_free(&m);
}
END_TEST

/* An unchanged model is written as diffusers wrote it, but for its version. */
START_TEST(test_writes_the_bytes_of_diffusers) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    float *weights = calloc((size_t)m.params.total, sizeof *weights);
    const dg_model_contents contents = {
        .config = &m.config, .params = &m.params, .weights = weights, .scheduler = m.scheduler, .image_bits = 8};
    DG_CK(ctx, dg_model_folder_load(ctx, &m, weights));
    DG_CK(ctx, dg_model_folder_write(ctx, in_dir("same"), &contents));
    shell("cmp %stiny/unet/diffusion_pytorch_model.safetensors same/unet/diffusion_pytorch_model.safetensors",
          FIXTURES);
    shell("sed 's/0.42.1/0.30.0/' %stiny/model_index.json | cmp - same/model_index.json", FIXTURES);
    shell("cmp %stiny/scheduler/scheduler_config.json same/scheduler/scheduler_config.json", FIXTURES);
    shell("sed 's/0.42.1/0.30.0/; s/embedding_dim\": null/embedding_dim\": 16/; s/: 0,$/: 0.0,/; s/: 1,$/: X,/; s/: "
          "1.0,$/: X,/' %stiny/unet/config.json > a; "
          "sed 's/: 0,$/: 0.0,/; s/: 1,$/: X,/; s/: 1.0,$/: X,/' same/unet/config.json > b; diff a b",
          FIXTURES);
    free(weights);
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_unwritable) {
    dg_model_folder m;
    DG_CK(ctx, dg_model_folder_open(ctx, FIXTURES "tiny", &m));
    float *weights = calloc((size_t)m.params.total, sizeof *weights);
    const dg_model_contents contents = {
        .config = &m.config, .params = &m.params, .weights = weights, .scheduler = m.scheduler, .image_bits = 8};
    ck_assert_int_eq(dg_model_folder_write(ctx, "/proc/nowhere/model", &contents), DG_ECREATE);
    free(weights);
    dg_model_folder_free(&m);
}
END_TEST

/* Each command makes "bad" out of a copy of the tiny pipeline. */
static const struct {
    const char *damage, *text;
    dg_status status;
} wrong[] = {
    {"rm -r bad", "no such model folder", DG_ENOINPUT},
    {"rm -r bad && touch bad", "not a folder", DG_EDATA},
    {"rm -r bad && mkdir bad", "not a model folder", DG_EDATA},
    {"rm bad/unet/*.safetensors", "there is no diffusion_pytorch_model.safetensors", DG_EDATA},
    {"cd bad/unet && mv *.safetensors diffusion_pytorch_model.bin", "use_safetensors=False", DG_EDATA},
    {"truncate -s 20000 bad/unet/*.safetensors", "safetensors", DG_EDATA},
    {"sed -i 's/DDPMPipeline/StableDiffusionPipeline/' bad/model_index.json", "StableDiffusionPipeline", DG_EDATA},
    {"sed -i 's/UNet2DModel/UNet2DConditionModel/' bad/model_index.json", "UNet2DConditionModel", DG_EDATA},
    {"sed -i 's/AttnDownBlock2D/SkipDownBlock2D/' bad/unet/config.json", "SkipDownBlock2D", DG_EDATA},
    {"sed -i 's/\"layers_per_block\": 1/\"layers_per_block\": 2/' bad/unet/config.json", "are missing", DG_EDATA},
    {"sed -i 's/\"num_class_embeds\": 4/\"num_class_embeds\": 5/' bad/unet/config.json",
     "class_embedding.weight [4,16] instead of [5,16]", DG_EDATA},
    {"echo '{' > bad/unet/config.json", "config.json", DG_EDATA},
    {"rm bad/scheduler/scheduler_config.json", "scheduler_config.json", DG_EDATA},
    {"echo '{\"classes\":[\"a\",\"b\"]}' > bad/diffgen.json", "list of 4 names", DG_EDATA},
    {"echo '{\"classes\":[\"a\",\"b\",\"c\",\"a\"]}' > bad/diffgen.json", "class 3", DG_EDATA},
    {"echo '{\"image\":{\"bits\":\"x\"}}' > bad/diffgen.json", "bits", DG_EDATA},
};

START_TEST(test_wrong_folders) {
    dg_model_folder m;
    shell("cp -r %stiny bad && %s", FIXTURES, wrong[_i].damage);
    ck_assert_int_eq(dg_model_folder_open(ctx, in_dir("bad"), &m), wrong[_i].status);
    ck_assert_msg(strstr(dg_last_error(ctx), wrong[_i].text) != NULL, "%s", dg_last_error(ctx));
    dg_model_folder_free(&m);
}
END_TEST

static const struct {
    const char *damage, *text;
} wrong_shards[] = {
    {"sed -i 's#diffusion_pytorch_model-00001#../tiny/diffusion_pytorch_model-00001#' bad/*.index.json", "plain"},
    {"sed -i 's#diffusion_pytorch_model-00001#/etc/x#' bad/*.index.json", "plain"},
    {"rm bad/*-00003-of-*.safetensors", "cannot open"},
    {"echo '{\"weight_map\":{}}' > bad/diffusion_pytorch_model.safetensors.index.json", "not a weights index"},
    {"echo '{\"metadata\":{},\"weight_map\":{}}' > bad/diffusion_pytorch_model.safetensors.index.json", "no files"},
    {"sed -i 's#00001-of#00002-of#' bad/*.index.json", "is not in"},
};

START_TEST(test_wrong_shards) {
    dg_model_folder m;
    shell("cp -r %stiny_sharded bad && %s", FIXTURES, wrong_shards[_i].damage);
    const dg_status status = dg_model_folder_open(ctx, in_dir("bad"), &m);
    ck_assert(status == DG_EDATA || status == DG_ENOINPUT);
    ck_assert_msg(strstr(dg_last_error(ctx), wrong_shards[_i].text) != NULL, "%s", dg_last_error(ctx));
    dg_model_folder_free(&m);
}
END_TEST

/* Copies the tiny model's tensors, lets `change` alter the list, and writes them back. */
static void rewrite_weights(int64_t (*change)(dg_st_tensor *list, int64_t n)) {
    dg_safetensors *st = NULL;
    dg_st_tensor list[256];
    char *from = dg_fs_join(FIXTURES, "tiny/unet/diffusion_pytorch_model.safetensors");
    DG_CK(ctx, dg_safetensors_open(ctx, from, &st));
    int64_t n = dg_safetensors_count(st);
    for (int64_t i = 0; i < n; i++) {
        list[i] = *dg_safetensors_at(st, i);
        float *data = malloc((size_t)list[i].count * sizeof *data);
        DG_CK(ctx, dg_safetensors_read_f32(ctx, st, list[i].name, -1, NULL, data));
        list[i].data = data;
    }
    const int64_t changed = change(list, n);
    shell("cp -r %stiny changed", FIXTURES);
    DG_CK(ctx, dg_safetensors_write(ctx, in_dir("changed/unet/diffusion_pytorch_model.safetensors"), list, changed,
                                    NULL, 0));
    for (int64_t i = 0; i < n; i++)
        free((void *)(uintptr_t)list[i].data);
    dg_safetensors_close(st);
    free(from);
}

static int64_t add_extra(dg_st_tensor *list, int64_t n) {
    list[n] = list[0];
    list[n].name = "unexpected.weight";
    return n + 1;
}

static int64_t add_old_name(dg_st_tensor *list, int64_t n) {
    list[n] = list[0];
    list[n].name = "mid_block.attentions.0.query.weight";
    for (int64_t i = 0; i < n; i++)
        if (strcmp(list[i].name, "mid_block.attentions.0.to_q.weight") == 0) {
            list[n] = list[i];
            list[n].name = "mid_block.attentions.0.query.weight";
        }
    return n + 1;
}

static int64_t add_nan(dg_st_tensor *list, int64_t n) {
    ((float *)(uintptr_t)list[7].data)[0] = NAN;
    return n;
}

START_TEST(test_unexpected_tensor_is_a_warning) {
    dg_model_folder m;
    rewrite_weights(add_extra);
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("changed"), &m));
    check_weights(&m);
    ck_assert_ptr_nonnull(strstr(warnings, "unexpected.weight"));
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_old_and_new_name_together) {
    dg_model_folder m;
    rewrite_weights(add_old_name);
    ck_assert_int_eq(dg_model_folder_open(ctx, in_dir("changed"), &m), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "old name"));
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_nan_weights) {
    dg_model_folder m;
    rewrite_weights(add_nan);
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("changed"), &m));
    float *weights = malloc((size_t)m.params.total * sizeof *weights);
    ck_assert_int_eq(dg_model_folder_load(ctx, &m, weights), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "NaN"));
    free(weights);
    dg_model_folder_free(&m);
}
END_TEST

START_TEST(test_lone_variant) {
    dg_model_folder m;
    shell("cp -r %stiny v && cd v/unet && mv diffusion_pytorch_model.safetensors "
          "diffusion_pytorch_model.fp16.safetensors",
          FIXTURES);
    DG_CK(ctx, dg_model_folder_open(ctx, in_dir("v"), &m));
    check_weights(&m);
    dg_model_folder_free(&m);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("model_folder");
    TCase *tcase = tcase_create("model_folder");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_pipeline);
    tcase_add_test(tcase, test_bare_sharded);
    tcase_add_test(tcase, test_flat_with_old_names);
    tcase_add_test(tcase, test_training_checkpoint_prefers_ema);
    tcase_add_test(tcase, test_identity);
    tcase_add_test(tcase, test_write_and_read_back);
    tcase_add_test(tcase, test_card_says_how_to_draw);
    tcase_add_test(tcase, test_writes_the_bytes_of_diffusers);
    tcase_add_test(tcase, test_unwritable);
    tcase_add_loop_test(tcase, test_wrong_folders, 0, sizeof wrong / sizeof *wrong);
    tcase_add_loop_test(tcase, test_wrong_shards, 0, sizeof wrong_shards / sizeof *wrong_shards);
    tcase_add_test(tcase, test_unexpected_tensor_is_a_warning);
    tcase_add_test(tcase, test_old_and_new_name_together);
    tcase_add_test(tcase, test_nan_weights);
    tcase_add_test(tcase, test_lone_variant);
    suite_add_tcase(suite, tcase);
    return suite;
}
