/* What diffgen wrote into a folder of images is no part of them. */
#include "data/dataset.h"

#include "unit/data/archive_fixture.h"

static dg_status open_path(dg_ctx *ctx, const char *path, dg_dataset **dataset) {
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    *dataset = NULL;
    return dg_dataset_open(ctx, &options, dataset);
}

static bool says(const dg_dataset *dataset, const char *word) {
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        if (strstr(report->notes[i], word))
            return true;
    return false;
}

static const char run[] = "{\n  \"images_fingerprint\": \"00\",\n  \"options\": {}\n}\n";
static const char model[] = "{\n  \"format\": \"diffgen-model\",\n  \"program\": \"diffgen 0.1.0\"\n}\n";
static const char drawn[] = "{\n  \"format\": \"diffgen-manifest\",\n  \"program\": \"diffgen 0.1.0\"\n}\n";
static const char labels[] = "{\"file_name\": \"cat/1.png\", \"label\": \"cat\"}\n";

static const member everything[] = {
    {"cat/1.png", 1, NULL},
    {"cat/2.png", 2, NULL},
    {"dog/3.png", 3, NULL},
    {"cat/notes/report.json", -1, "{\"kind\": \"something else\"}"}, /* not ours: its folder stays */
    {"cat/notes/4.png", 4, NULL},
    {"runs/a/config.json", -1, run},
    {"runs/a/grids/step-1.png", 5, NULL},
    {"runs/a/model/diffgen.json", -1, model},
    {"runs/a/model/x.png", 6, NULL},
    {"synthetic/a/manifest.json", -1, drawn},
    {"synthetic/a/metadata.jsonl", -1, labels},
    {"synthetic/a/cat/1.png", 7, NULL},
    {"night/job.json", -1, drawn}, /* interrupted: no manifest yet */
    {"night/cat/1.png", 8, NULL},
    {"report/report.json", -1, "{\n  \"dp_covered\": false,\n  \"kind\": \"evaluation\"\n}"},
    {"report/pairs.png", 9, NULL},
    {"audit/audit.json", -1, "{\n  \"kind\": \"audit\"\n}"},
    {"audit/roc.png", 10, NULL},
    {"inspection/inspection.json", -1, "{\n  \"kind\": \"inspection\"\n}"},
    {"inspection/pairs.png", 11, NULL},
    {"exported/diffgen.json", -1, model},
    {"exported/sample.png", 12, NULL},
};
enum { EVERYTHING = sizeof everything / sizeof everything[0] };

static void assert_the_images(const char *path) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset;
    DG_CK(ctx, open_path(ctx, path, &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 4);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "folders");
    ck_assert_str_eq(dg_dataset_item(dataset, 2)->path, "cat/notes/4.png");
    ck_assert_int_eq(dg_dataset_get_report(dataset)->fallen, 0);
    ck_assert(says(dataset, "own output in the data set is left out: "));
    ck_assert(says(dataset, "runs/a/"));
    ck_assert(!says(dataset, "model"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}

static void put_everything(const char *root) {
    char path[512];
    for (int i = 0; i < EVERYTHING; i++) {
        snprintf(path, sizeof path, "%s/%s", root, everything[i].name);
        if (everything[i].text)
            put_text(path, everything[i].text);
        else
            put_image(path, everything[i].image);
    }
}

START_TEST(own_output_is_left_out) {
    put_everything("d");
    assert_the_images(in_dir("d"));
    assert_the_images(put_archive("d.zip", true, everything, EVERYTHING));
    assert_the_images(put_archive("d.tar.gz", false, everything, EVERYTHING));
}
END_TEST

START_TEST(a_root_that_diffgen_wrote) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset;
    put_everything("d");
    /* Drawn images are a set: what evaluation reads. */
    DG_CK(ctx, open_path(ctx, in_dir("d/synthetic/a"), &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 1);
    dg_dataset_free(dataset);
    static const char *const refused[][2] = {{"d/runs/a", "folder of a training run"},
                                             {"d/exported", "is a model"},
                                             {"d/report", "report of an evaluation"},
                                             {"d/inspection", "report of an inspection"}};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(open_path(ctx, in_dir(refused[i][0]), &dataset), DG_EDATA);
        ck_assert_msg(strstr(dg_last_error(ctx), refused[i][1]) != NULL, "%s", dg_last_error(ctx));
        dg_ctx_clear_error(ctx);
    }
    ck_assert_int_eq(open_path(ctx, in_dir("d/synthetic"), &dataset), DG_ENOINPUT);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "diffgen wrote itself (a/)"));
    dg_ctx_free(ctx);
}
END_TEST

/* Shards beside a run: the run's pictures do not make them a folder of images. */
START_TEST(shards_beside_a_run) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset;
    static const member ab[] = {{"a/1.png", 1, NULL}, {"b/2.png", 2, NULL}};
    put_archive("s/images.tar", false, ab, 2);
    put_text("s/runs/s/config.json", run);
    put_image("s/runs/s/grids/1.png", 5);
    DG_CK(ctx, open_path(ctx, in_dir("s"), &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 1), "b");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("own output");
    TCase *tcase = tcase_create("own output");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, own_output_is_left_out);
    tcase_add_test(tcase, a_root_that_diffgen_wrote);
    tcase_add_test(tcase, shards_beside_a_run);
    suite_add_tcase(suite, tcase);
    return suite;
}
