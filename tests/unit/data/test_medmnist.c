/* MedMNIST's .npz: what is read of it, and what is said of all else. */
#include "data/dataset.h"

#include "unit/data/archive_fixture.h"
#include "unit/data/npz_fixture.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE };

static uint8_t pixels[6 * PIXELS * 3];
static uint16_t deep[4 * PIXELS];

static void fill(void) {
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(7 * i + i / PIXELS);
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++)
        deep[i] = (uint16_t)(1000 * i + 3);
}

static dg_dataset_options options_for(const char *path) {
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.resolution = SIDE;
    return options;
}

static dg_dataset *open_with(dg_ctx *ctx, const dg_dataset_options *options) {
    dg_dataset *dataset = NULL;
    DG_CK(ctx, dg_dataset_open(ctx, options, &dataset));
    return dataset;
}

static void assert_refused(const dg_dataset_options *options, dg_status want, const char *word) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    ck_assert_int_eq(dg_dataset_open(ctx, options, &dataset), want);
    ck_assert_ptr_null(dataset);
    ck_assert_msg(strstr(dg_last_error(ctx), word) != NULL, "'%s' should be in: %s", word, dg_last_error(ctx));
    dg_ctx_free(ctx);
}

static bool says(const dg_dataset *dataset, const char *word) {
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        if (strstr(report->notes[i], word))
            return true;
    return false;
}

static const uint8_t three[3] = {2, 0, 2}, two[2] = {1, 0}, one[1] = {0};

static const npy pneumonia[] = {
    {"train_images", "|u1", "(3, 8, 8)", pixels, 3 * PIXELS},
    {"val_images", "|u1", "(2, 8, 8)", pixels + 3 * PIXELS, 2 * PIXELS},
    {"test_images", "|u1", "(1, 8, 8)", pixels + 5 * PIXELS, PIXELS},
    {"train_labels", "|u1", "(3, 1)", three, 3},
    {"val_labels", "|u1", "(2, 1)", two, 2},
    {"test_labels", "|u1", "(1, 1)", one, 1},
};

START_TEST(train_is_read) {
    dg_ctx *ctx = dg_test_context();
    fill();
    put_npz("set/pneumoniamnist.npz", pneumonia, 6);
    for (int i = 0; i < 2; i++) {
        const dg_dataset_options options = options_for(in_dir(i ? "set/pneumoniamnist.npz" : "set"));
        dg_dataset *dataset = open_with(ctx, &options);
        uint8_t image[PIXELS];
        ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "npz");
        ck_assert_int_eq(dg_dataset_count(dataset), 3);
        ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
        ck_assert_str_eq(dg_dataset_item(dataset, 1)->path, "pneumoniamnist.npz/train/1");
        ck_assert_str_eq(dg_dataset_class_name(dataset, dg_dataset_item(dataset, 0)->label), "2");
        ck_assert_str_eq(dg_dataset_class_name(dataset, dg_dataset_item(dataset, 1)->label), "0");
        ck_assert(says(dataset, "only train_images (3 images) of pneumoniamnist.npz is used; left alone: val_images (2 "
                                "images), test_images (1 images)"));
        DG_CK(ctx, dg_dataset_read(ctx, dataset, 2, image));
        ck_assert_mem_eq(image, pixels + 2 * PIXELS, PIXELS);
        dg_dataset_free(dataset);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(another_split) {
    dg_ctx *ctx = dg_test_context();
    fill();
    dg_dataset_options options = options_for(put_npz("pneumoniamnist.npz", pneumonia, 6));
    options.split = "validation";
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_item(dataset, 0)->path, "pneumoniamnist.npz/val/0");
    ck_assert_str_eq(dg_dataset_class_name(dataset, dg_dataset_item(dataset, 0)->label), "1");
    dg_dataset_free(dataset);
    options.split = "all";
    dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 6);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 3);
    dg_dataset_free(dataset);
    options.split = "none";
    assert_refused(&options, DG_EUSAGE, "train_images (3 images), val_images");
    options.split = NULL;
    options.path = put_npz("rest.npz", pneumonia + 1, 2);
    assert_refused(&options, DG_EDATA,
                   "has no train_images; --split chooses one of val_images (2 images), test_images");
    options.path = put_npz("only.npz", pneumonia + 2, 1);
    dataset = open_with(ctx, &options);
    ck_assert(says(dataset, "test_images (1 images) of only.npz is the only split"));
    ck_assert(says(dataset, "no test_labels"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(colour_and_depth) {
    static const int64_t wide[2] = {-1, 70000};
    dg_ctx *ctx = dg_test_context();
    fill();
    uint8_t swapped[sizeof deep];
    for (size_t i = 0; i < sizeof deep; i++)
        swapped[i] = ((const uint8_t *)deep)[i ^ 1];
    const npy colour[] = {{"train_images", "|u1", "(2, 8, 8, 3)", pixels, 2 * PIXELS * 3},
                          {"train_labels", "<i8", "(2,)", wide, 16}},
              sixteen[] = {{"train_images", "<u2", "(4, 8, 8)", deep, sizeof deep}},
              big[] = {{"train_images", ">u2", "(4, 8, 8, 1)", swapped, sizeof deep}};
    dg_dataset_options options = options_for(put_npz("colour.npz", colour, 2));
    dg_dataset *dataset = open_with(ctx, &options);
    uint8_t image[PIXELS * 3];
    ck_assert_int_eq(dg_dataset_channels(dataset), 3);
    ck_assert_int_eq(dg_dataset_bits(dataset), 8);
    ck_assert_str_eq(dg_dataset_class_name(dataset, dg_dataset_item(dataset, 0)->label), "-1");
    ck_assert_str_eq(dg_dataset_class_name(dataset, dg_dataset_item(dataset, 1)->label), "70000");
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, image));
    ck_assert_mem_eq(image, pixels + PIXELS * 3, PIXELS * 3);
    dg_dataset_free(dataset);
    for (int i = 0; i < 2; i++) {
        uint16_t values[PIXELS];
        options.path = i ? put_npz("big.npz", big, 1) : put_npz("sixteen.npz", sixteen, 1);
        dataset = open_with(ctx, &options);
        ck_assert_int_eq(dg_dataset_channels(dataset), 1);
        ck_assert_int_eq(dg_dataset_bits(dataset), 16);
        ck_assert_int_eq(dg_dataset_class_count(dataset), 1);
        DG_CK(ctx, dg_dataset_read(ctx, dataset, 3, values));
        ck_assert_mem_eq(values, deep + 3 * PIXELS, sizeof values);
        dg_dataset_free(dataset);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(labels_may_be_left_out) {
    static const uint8_t many[6] = {0, 1, 1, 0, 0, 0};
    dg_ctx *ctx = dg_test_context();
    fill();
    const npy chest[] = {{"train_images", "|u1", "(3, 8, 8)", pixels, 3 * PIXELS},
                         {"train_labels", "|u1", "(3, 2)", many, 6}};
    dg_dataset_options options = options_for(put_npz("chestmnist.npz", chest, 2));
    assert_refused(&options, DG_EDATA, "train_labels is u1 (3, 2); several labels an image");
    options.unconditional = true;
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert(!dg_dataset_is_conditional(dataset));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_is_refused) {
    static const float ones[3 * PIXELS];
    fill();
    static const struct {
        npy arrays[2];
        const char *word;
    } cases[] = {
        {{{"train_images", "|u1", "(1, 8, 8, 8)", pixels, 8 * PIXELS}}, "volumes"},
        {{{"train_images", "|u1", "(1, 3, 8, 8)", pixels, 3 * PIXELS}}, "last dimension"},
        {{{"train_images", "|u1", "(1, 8, 8, 2)", pixels, 2 * PIXELS}}, "one or three channels"},
        {{{"train_images", "<f4", "(3, 8, 8)", ones, sizeof ones}}, "f4 (3, 8, 8); unsigned"},
        {{{"train_images", "|b1", "(3, 8, 8)", pixels, 3 * PIXELS}}, "unsigned"},
        {{{"train_images", "|u1", "(64, 3)", pixels, 192}}, "height, width"},
        {{{"train_images", "|u1", "(32, 3, 2)", pixels, 192}}, "sides"},
        {{{"train_images", "|u1", "(4, 8, 8)", pixels, 3 * PIXELS}}, "promises"},
        {{{"train_images", "|u1", "(2, 8, 8)", pixels, 3 * PIXELS}}, "promises"},
        {{{"train_images", "|u1", "(1000000, 1000, 1000)", pixels, 3 * PIXELS}}, "memory"},
        {{{"train_images", "|u1", "(99999999999, 99999999999)", pixels, 8}}, "does not say"},
        {{{"train_images", "|u1", "(3, 8, 8)", pixels, 3 * PIXELS}, {"train_labels", "|u1", "(2, 1)", two, 2}},
         "one label for each image"},
        {{{"train_images", "|u1", "(3, 8, 8)", pixels, 3 * PIXELS}, {"train_labels", "<f4", "(3,)", ones, 12}},
         "whole numbers"},
        {{{"x_train", "|u1", "(3, 8, 8)", pixels, 3 * PIXELS}, {"y_train", "|u1", "(3,)", three, 3}},
         "x_train u1 (3, 8, 8), y_train u1 (3)"},
        {{{"names", "<U4", "(1,)", pixels, 16}}, "other arrays than MedMNIST's (train_images, train_labels): names"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dg_dataset_options options =
            options_for(put_npz("bad.npz", cases[i].arrays, cases[i].arrays[1].name ? 2 : 1));
        assert_refused(&options, DG_EDATA, cases[i].word);
    }
    dg_dataset_options options = options_for(put_text("text.npz", "no archive at all"));
    assert_refused(&options, DG_EDATA, "is no .npz file");
    put_npz("several/a.npz", pneumonia, 6);
    put_npz("several/b.npz", pneumonia, 6);
    options.path = in_dir("several");
    assert_refused(&options, DG_EDATA, "a.npz and b.npz are both");
    static const member members[] = {{"a.npz", -1, "not looked into"}};
    options.path = put_archive("packed.zip", true, members, 1);
    assert_refused(&options, DG_EDATA, "a.npz lies in an archive");
}
END_TEST

START_TEST(beside_images) {
    dg_ctx *ctx = dg_test_context();
    fill();
    put_npz("set/features.npz", pneumonia, 6);
    put_image("set/x/a.png", 1);
    put_image("set/y/b.png", 2);
    const dg_dataset_options options = options_for(in_dir("set"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "folders");
    ck_assert(says(dataset, "features.npz holds arrays and is left alone"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("MedMNIST");
    TCase *tcase = tcase_create("npz");
    tcase_add_test(tcase, train_is_read);
    tcase_add_test(tcase, another_split);
    tcase_add_test(tcase, colour_and_depth);
    tcase_add_test(tcase, labels_may_be_left_out);
    tcase_add_test(tcase, what_is_refused);
    tcase_add_test(tcase, beside_images);
    suite_add_tcase(suite, tcase);
    return suite;
}
