/* Which part of a tree is the set: splits, wrapping folders, and the same tree as folder and archives. */
#include "data/dataset.h"
#include "data/split.h"

#include "unit/data/archive_fixture.h"

enum { MOST_FILES = 24 };

/* A tree, and what is to be read of it. */
typedef struct example {
    const char *name;
    const char *files[MOST_FILES]; /* images; a name with '=' is a text file: "metadata.csv=file_name,..." */
    const char *split;             /* --split; "part=NAME": --part */
    const char *classes;           /* separated by spaces; "" unconditional; NULL: refused */
    int64_t images;
    const char *says; /* in one of the notes, or in the error */
    dg_status status;
} example;

static const example examples[] = {
    {"capitals", {"Training/a/1.png", "Training/b/2.png", "Testing/a/3.png"}, NULL, "a b", 2, "Testing/ (1 image)", 0},
    {"all capitals", {"TRAIN/a/1.png", "TRAIN/b/2.png", "TEST/a/3.png", "TEST/b/4.png"}, NULL, "a b", 2, "TEST/", 0},
    {"sets",
     {"training_set/cat/1.png", "training_set/dog/2.png", "test_set/cat/3.png"},
     NULL,
     "cat dog",
     2,
     "test_set",
     0},
    {"mixed", {"train/a/1.png", "train/b/2.png", "Test/a/3.png", "Test/b/4.png"}, NULL, "a b", 2, "Test/", 0},
    {"years", {"train2017/a/1.png", "train2017/b/2.png", "val2017/a/3.png"}, NULL, "a b", 2, "val2017", 0},
    {"before",
     {"seg_train/a/1.png", "seg_train/b/2.png", "seg_test/a/3.png", "seg_pred/4.png"},
     NULL,
     "a b",
     2,
     "seg_pred",
     0},
    {"joined words", {"TrainSet/a/1.png", "TrainSet/b/2.png", "testset/a/3.png"}, NULL, "a b", 2, "testset", 0},
    {"dots and signs", {"x.train+1/a/1.png", "x.train+1/b/2.png", "x.dev+1/a/3.png"}, NULL, "a b", 2, "x.dev+1", 0},
    {"evaluation", {"train/a/1.png", "train/b/2.png", "Evaluation/a/3.png"}, NULL, "a b", 2, "Evaluation", 0},
    {"stray",
     {"train/a/1.png", "train/b/2.png", "test/a/3.png", "docs/figure.png"},
     NULL,
     "a b",
     2,
     "docs/ (1 image)",
     0},
    {"flat and stray", {"train/1.png", "train/2.png", "val/3.png", "test/4.png", "x/5.png"}, NULL, "", 2, "x/", 0},
    {"kaggle",
     {"c/c/train/a/1.png", "c/c/train/b/2.png", "c/c/test/a/2.png", "c/train/a/1.png", "c/train/b/2.png",
      "c/test/a/3.png"},
     NULL,
     "a b",
     2,
     "test/",
     0},
    {"wrapped", {"w/v/train/a/1.png", "w/v/train/b/2.png", "w/v/val/a/3.png"}, NULL, "a b", 2, "val/", 0},
    {"only train", {"train/a/1.png", "train/b/2.png"}, NULL, "a b", 2, NULL, 0},
    {"only test", {"test/a/1.png", "test/b/2.png"}, NULL, "a b", 2, "only split", 0},
    {"below classes",
     {"cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/test/4.png"},
     NULL,
     "cat dog",
     2,
     "test/ (2 images)",
     0},
    {"vehicles", {"train/1.png", "bus/2.png", "car/3.png"}, NULL, "bus car train", 3, "train/ is taken for a class", 0},
    {"phrases", {"blood_test/1.png", "urine/2.png", "x/3.png"}, NULL, "blood_test urine x", 3, NULL, 0},
    {"rest", {"cat/1.png", "dog/2.png", "test/cat/3.png", "test/dog/4.png"}, NULL, "cat dog", 2, "test/ (2 images)", 0},
    {"wrapper only", {"w/a/1.png", "w/b/2.png"}, NULL, "a b", 2, "w/ holds everything", 0},
    {"one class", {"w/lesion/1.png", "w/lesion/2.png"}, NULL, "lesion", 2, "one class only (lesion)", 0},
    {"storage", {"images/1.png", "images/2.png"}, NULL, "", 2, NULL, 0},
    {"files",
     {"cat/train_1.png", "cat/test_1.png", "dog/train_2.png", "dog/val_2.png"},
     NULL,
     "cat dog",
     2,
     "only the 2 images called train",
     0},
    {"files wanted", {"train_1.png", "test_1.png", "test_2.png"}, "test", "", 2, "only the 2 images called test", 0},
    {"some files", {"train_1.png", "test_1.png", "x.png"}, NULL, "", 3, NULL, 0},
    {"numbered", {"images_001/1.png", "images_002/2.png"}, NULL, "", 2, "differ in numbers only", 0},
    /* Two readings. */
    {"no train", {"val/a/1.png", "test/a/2.png"}, NULL, NULL, 0, "--split test, --split val", DG_EDATA},
    {"no train, flat", {"val/1.png", "test/2.png"}, NULL, NULL, 0, "--split none", DG_EDATA},
    {"two of train",
     {"trainA/1.png", "trainB/2.png", "testA/3.png", "testB/4.png"},
     NULL,
     NULL,
     0,
     "--split trainA",
     DG_EDATA},
    {"train and a stray", {"train/1.png", "bus/2.png"}, NULL, NULL, 0, "bus/ (1 image), train/ (1 image)", DG_EDATA},
    {"train with classes, flat others",
     {"train/a/1.png", "train/b/2.png", "x/3.png", "y/4.png"},
     NULL,
     NULL,
     0,
     "--split train",
     DG_EDATA},
    {"test among classes", {"cat/1.png", "dog/2.png", "test/3.png"}, NULL, NULL, 0, "--split train", DG_EDATA},
    {"more classes than splits",
     {"train/1.png", "test/2.png", "bus/3.png", "car/4.png"},
     NULL,
     NULL,
     0,
     "--split none",
     DG_EDATA},
    {"beside", {"1.png", "2.png", "test/3.png"}, NULL, NULL, 0, "2 images beside", DG_EDATA},
    {"below a few classes", {"w/train/1.png", "w/test/2.png", "x/3.png"}, NULL, NULL, 0, "--split", DG_EDATA},
    /* The user's word. */
    {"test wanted",
     {"Training/a/1.png", "Testing/a/2.png", "Testing/b/3.png", "Testing/b/4.png"},
     "test",
     "a b",
     3,
     "Training/",
     0},
    {"by name", {"trainA/1.png", "trainB/2.png", "testA/3.png", "testB/4.png"}, "trainb", "", 1, "testA", 0},
    {"none", {"train/1.png", "bus/2.png"}, "none", "bus train", 2, NULL, 0},
    {"all", {"train/a/1.png", "val/b/2.png", "test/a/3.png"}, "all", "a b", 3, NULL, 0},
    {"train is the rest", {"cat/1.png", "dog/2.png", "test/3.png"}, "train", "cat dog", 2, "test/", 0},
    {"train is beside", {"1.png", "2.png", "test/3.png"}, "train", "", 2, "test/", 0},
    {"below, wanted",
     {"cat/train/1.png", "cat/test/2.png", "dog/train/3.png", "dog/test/4.png", "dog/test/5.png"},
     "test",
     "cat dog",
     3,
     "train/",
     0},
    {"wrapper called test",
     {"test_data/train/a/1.png", "test_data/test/b/2.png", "test_data/test/a/3.png"},
     "test",
     "a b",
     2,
     "train/",
     0},
    {"unknown",
     {"train/a/1.png", "test/a/2.png"},
     "val",
     NULL,
     0,
     "has no such split; it has test/ (1 image), train/ (1 image)",
     DG_EUSAGE},
    {"unknown word", {"train/a/1.png", "test/a/2.png"}, "holdout", NULL, 0, "no such split", DG_EUSAGE},
    {"no splits", {"a/1.png", "b/2.png"}, "test", NULL, 0, "no such split", DG_EUSAGE},
    /* With files that say the labels. */
    {"metadata",
     {"train/1.png", "train/2.png", "train/metadata.csv=file_name,label\n1.png,x\n2.png,y\n", "test/1.png",
      "test/metadata.csv=file_name,label\n1.png,z\n"},
     NULL,
     "x y",
     2,
     "test/",
     0},
    {"metadata above",
     {"train/1.png", "train/2.png", "metadata.csv=file_name,label\ntrain/1.png,x\ntrain/2.png,y\ntest/1.png,z\n",
      "test/1.png"},
     NULL,
     "x y",
     2,
     "test/",
     0},
    {"jsonl",
     {"w/1.png", "w/2.png",
      "w/metadata.jsonl={\"file_name\": \"1.png\", \"label\": 3}\n{\"file_name\": \"2.png\", \"label\": 4}\n"},
     NULL,
     "3 4",
     2,
     NULL,
     0},
    {"edm",
     {"00000/1.png", "00001/2.png", "dataset.json={\"labels\": [[\"00000/1.png\", 3], [\"00001/2.png\", 4]]}"},
     NULL,
     "3 4",
     2,
     NULL,
     0},
    {"webdataset", {"1.png", "1.cls=3", "2.png", "2.cls=4"}, NULL, "3 4", 2, NULL, 0},
    {"webdataset splits",
     {"train/1.png", "train/1.cls=3", "train/2.png", "train/2.cls=4", "val/3.png", "val/3.cls=5"},
     NULL,
     "3 4",
     2,
     "val/",
     0},
    {"flat", {"1.png", "2.png"}, NULL, "", 2, NULL, 0},
    /* Samples of several files. */
    {"masks", {"images/1.png", "images/2.png", "masks/1.png", "masks/2.png"}, NULL, "", 2, "masks/ (2 images)", 0},
    {"masks wanted", {"images/1.png", "images/2.png", "masks/1.png"}, "part=mask", "", 1, "images/ (2 images)", 0},
    {"masks as classes", {"images/1.png", "masks/1.png"}, "part=all", "images masks", 2, NULL, 0},
    {"masks below",
     {"covid/images/1.png", "covid/masks/1.png", "normal/images/2.png", "normal/masks/2.png"},
     NULL,
     "covid normal",
     2,
     "masks/ (2 images)",
     0},
    {"masks and splits",
     {"images/train/a/1.png", "images/train/b/2.png", "images/val/a/3.png", "masks/train/a/1.png",
      "masks/train/b/2.png", "masks/val/a/3.png"},
     NULL,
     "a b",
     2,
     "only images/train/ (2 images)",
     0},
    {"splits and masks",
     {"train/images/1.png", "train/masks/1.png", "test/images/2.png", "test/masks/2.png"},
     NULL,
     "",
     1,
     "masks/ (1 image)",
     0},
    {"masks of splits",
     {"train_images/a/1.png", "train_images/b/1.png", "train_masks/a/1.png", "test_images/a/2.png",
      "test_masks/a/2.png"},
     NULL,
     "a b",
     2,
     "test_images/",
     0},
    {"VOC",
     {"JPEGImages/1.png", "JPEGImages/2.png", "SegmentationClass/1.png", "SegmentationObject/1.png"},
     NULL,
     "",
     2,
     "SegmentationClass/",
     0},
    {"nnU-Net",
     {"imagesTr/1_0000.png", "labelsTr/1.png", "imagesTs/2_0000.png"},
     NULL,
     "",
     1,
     "imagesTs/ (1 image)",
     0},
    {"masks of train",
     {"train/1.png", "train/2.png", "train_masks/1.png", "train_masks/2.png", "test/3.png"},
     NULL,
     "",
     2,
     "train_masks/ (2 images)",
     0},
    {"Cityscapes",
     {"leftImg8bit/train/a/1.png", "leftImg8bit/train/b/2.png", "leftImg8bit/val/a/3.png", "gtFine/train/a/1.png",
      "gtFine/train/a/2.png", "gtFine/train/b/2.png", "gtFine/val/a/3.png"},
     NULL,
     "a b",
     2,
     "gtFine/ (4 images)",
     0},
    {"input and truth",
     {"ISIC_Training_Input/1.png", "ISIC_Training_Input/2.png", "ISIC_Training_GroundTruth/1.png"},
     NULL,
     "",
     2,
     "ISIC_Training_GroundTruth/",
     0},
    {"masks of classes",
     {"cat/1.png", "cat_masks/1.png", "dog/2.png", "dog_masks/2.png"},
     NULL,
     "cat dog",
     2,
     "cat_masks/ (1 image)",
     0},
    {"kinds of pictures",
     {"color/a/1.png", "color/b/2.png", "grayscale/a/1.png", "grayscale/b/2.png", "segmented/a/1.png"},
     NULL,
     "a b",
     2,
     "grayscale/ (2 images)",
     0},
    {"numbers and labels",
     {"0/1.png", "1/2.png", "labels/3.png"},
     NULL,
     "0 1 labels",
     3,
     "labels/ is taken for a class",
     0},
    {"one folder", {"CXR_png/1.png", "ManualMask/left/1.png"}, "part=CXR_png", "", 1, "ManualMask/ (1 image)", 0},
    {"left and right, no labels",
     {"1.left.png", "1.right.png", "2.left.png", "2.right.png"},
     NULL,
     "",
     2,
     "right (2 files)",
     0},
    {"numbers behind dots", {"cat.0.png", "cat.1.png", "dog.0.png", "dog.1.png"}, NULL, "", 4, NULL, 0},
    /* A tree that holds itself once more. */
    {"twice",
     {"no/1.png", "yes/2.png", "brain/no/1.png", "brain/yes/2.png"},
     NULL,
     NULL,
     0,
     "two readings of brain/ (2 images): the same set once more",
     DG_EDATA},
    {"twice, one read",
     {"no/1.png", "yes/2.png", "brain/no/1.png", "brain/yes/2.png"},
     "brain",
     "no yes",
     2,
     "yes/ (1 image)",
     0},
    {"twice, all read",
     {"no/1.png", "yes/2.png", "brain/no/1.png", "brain/yes/2.png"},
     "none",
     "brain no yes",
     4,
     NULL,
     0},
    {"parts", {"ham/part_1/1.png", "ham/part_2/2.png"}, NULL, "", 2, "tell no classes", 0},
    {"numbered classes", {"class_1/1.png", "class_2/2.png"}, NULL, "class_1 class_2", 2, "taken for a class", 0},
    {"divided", {"a/x/1.png", "a/y/2.png", "b/x/3.png", "b/y/4.png"}, NULL, "a b", 4, "outer folders (b)", 0},
    {"a class in a class", {"a/1.png", "b/2.png", "c/a/3.png", "c/4.png"}, NULL, "a b c", 4, NULL, 0},
    {"no image word", {"with_mask/1.png", "without_mask/2.png"}, NULL, "with_mask without_mask", 2, NULL, 0},
    {"suffixes",
     {"benign/b (1).png", "benign/b (1)_mask.png", "benign/b (1)_mask_1.png", "malign/m (1).png",
      "malign/m (1)_mask.png"},
     NULL,
     "benign malign",
     2,
     "mask (3 files)",
     0},
    {"suffix alone", {"a/x_mask.png", "b/y_mask.png"}, NULL, "a b", 2, NULL, 0},
    {"suffix wanted",
     {"a/1.png", "a/1_mask.png", "b/2.png", "b/2_mask.png"},
     "part=mask",
     "a b",
     2,
     "image (2 files)",
     0},
    {"dotted parts",
     {"1.png", "1.seg.png", "1.cls=3", "2.png", "2.seg.png", "2.cls=4"},
     NULL,
     "3 4",
     2,
     "seg (2 files)",
     0},
    {"left and right",
     {"1.left.png", "1.right.png", "1.cls=3", "2.left.png", "2.right.png", "2.cls=4"},
     NULL,
     "3 4",
     2,
     "right (2 files)",
     0},
    {"right wanted",
     {"1.left.png", "1.right.png", "1.cls=3", "2.left.png", "2.right.png", "2.cls=4"},
     "part=right",
     "3 4",
     2,
     "left (2 files)",
     0},
    {"two formats",
     {"1.jpg", "1.png", "1.cls=3", "2.jpg", "2.png", "2.cls=4"},
     NULL,
     "3 4",
     2,
     "second images of a sample",
     0},
    {"no such part", {"1.png", "2.png"}, "part=mask", NULL, 0, "no such part", DG_EUSAGE},
    {"dotted keys",
     {"1.2.840.0.png", "1.2.840.0.cls=3", "1.2.840.1.png", "1.2.840.1.cls=4"},
     NULL,
     NULL,
     0,
     "ends at its first dot",
     DG_EDATA},
};

static void put_folder(const char *root, const example *e) {
    char path[512], text[512];
    mkdir(in_dir(root), 0777);
    for (int i = 0; i < MOST_FILES && e->files[i]; i++) {
        const char *equals = strchr(e->files[i], '=');
        snprintf(path, sizeof path, "%s/%.*s", root, equals ? (int)(equals - e->files[i]) : 400, e->files[i]);
        snprintf(text, sizeof text, "%s", equals ? equals + 1 : "");
        if (equals)
            put_text(path, text);
        else
            put_image(path, i);
    }
}

static const char *put_packed(const char *name, const example *e) {
    member members[MOST_FILES];
    static char names[MOST_FILES][256];
    size_t count = 0;
    for (; count < MOST_FILES && e->files[count]; count++) {
        const char *file = e->files[count], *equals = strchr(file, '=');
        snprintf(names[count], sizeof names[count], "%.*s", equals ? (int)(equals - file) : 255, file);
        members[count] = (member){names[count], (int)count, equals ? equals + 1 : NULL};
    }
    return put_archive(name, strstr(name, ".zip") != NULL, members, count);
}

static bool says(const dg_dataset *dataset, const char *word) {
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        if (strstr(report->notes[i], word))
            return true;
    return false;
}

/* Opens it, checks what is said of it, and appends "path label\n" for each image to `list`. */
static void check_one(const example *e, const char *path, const char *form, char *list, size_t size) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    if (e->split && strncmp(e->split, "part=", 5) == 0)
        options.part = e->split + 5;
    else
        options.split = e->split;
    const dg_status status = dg_dataset_open(ctx, &options, &dataset);
    ck_assert_msg(status == e->status, "%s as %s: status %d, %s", e->name, form, status, dg_last_error(ctx));
    if (status != DG_OK) {
        ck_assert_msg(strstr(dg_last_error(ctx), e->says) != NULL, "%s as %s: %s", e->name, form, dg_last_error(ctx));
        dg_ctx_free(ctx);
        return;
    }
    char classes[256] = "";
    for (int32_t c = 0; c < dg_dataset_class_count(dataset); c++)
        snprintf(classes + strlen(classes), sizeof classes - strlen(classes), "%s%s", c ? " " : "",
                 dg_dataset_class_name(dataset, c));
    ck_assert_msg(strcmp(classes, e->classes) == 0, "%s as %s: classes %s", e->name, form, classes);
    ck_assert_msg(dg_dataset_count(dataset) == e->images, "%s as %s: %lld images", e->name, form,
                  (long long)dg_dataset_count(dataset));
    ck_assert_msg(!e->says || says(dataset, e->says), "%s as %s: nobody says %s", e->name, form, e->says);
    list[0] = 0;
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
        const dg_item *item = dg_dataset_item(dataset, i);
        snprintf(list + strlen(list), size - strlen(list), "%s %s\n", item->path,
                 dg_dataset_class_name(dataset, item->label));
    }
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}

/* The same tree is the same set, whatever it is packed in. */
START_TEST(one_tree_in_four_forms) {
    static const char *const forms[] = {"zip", "tar", "tar.gz"};
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        char name[64], folder[4096] = "", packed[4096] = "";
        snprintf(name, sizeof name, "tree%zu", i);
        put_folder(name, &examples[i]);
        check_one(&examples[i], in_dir(name), "folder", folder, sizeof folder);
        for (int f = 0; f < 3; f++) {
            snprintf(name, sizeof name, "tree%zu.%s", i, forms[f]);
            check_one(&examples[i], put_packed(name, &examples[i]), forms[f], packed, sizeof packed);
            ck_assert_msg(strcmp(folder, packed) == 0, "%s: folder\n%s%s\n%s", examples[i].name, folder, forms[f],
                          packed);
        }
    }
}
END_TEST

/* Splits as archives: train.zip beside test.zip, shards of several. */
START_TEST(splits_in_archives) {
    static const member ab[] = {{"a/1.png", 1, NULL}, {"b/2.png", 2, NULL}};
    static const member a[] = {{"a/3.png", 3, NULL}};
    static const member wds[] = {{"1.png", 1, NULL}, {"1.cls", -1, "3"}, {"2.png", 2, NULL}, {"2.cls", -1, "4"}};
    static const struct {
        const char *folder, *names[5], *split;
        const char *classes;
        int64_t images;
        const char *says;
    } cases[] = {
        {"zips", {"train.zip", "test.zip"}, NULL, "a b", 2, "test.zip (1 image)"},
        {"shards", {"x-train-000.tar", "x-train-001.tar", "x-val-000.tar"}, NULL, "a b", 3, "x-val-000.tar"},
        {"only", {"train-00000-of-00002.tar", "train-00001-of-00002.tar"}, NULL, "a b", 3, NULL},
        {"capitals", {"Train.tar.gz", "TEST.tar.gz"}, NULL, "a b", 2, "TEST.tar.gz"},
        {"below", {"chest/train-000.tar", "chest/train-001.tar", "chest/test-000.tar"}, NULL, "a b", 3, "test-000.tar"},
        {"folders", {"train/000.tar", "test/000.tar"}, NULL, "a b", 2, "test/"},
        {"wanted", {"train.zip", "test.zip"}, "test", "a", 1, "train.zip"},
        {"named", {"train.zip", "test.zip"}, "train.zip", "a b", 2, "test.zip"},
        {"plain", {"shard-000.tar", "shard-001.tar"}, NULL, "a b", 3, NULL},
        {"mixed", {"cats.zip", "dogs.zip"}, NULL, "a b", 3, "2 archives are read as one data set"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[128], list[4096];
        example e = {.name = cases[i].folder,
                     .split = cases[i].split,
                     .classes = cases[i].classes,
                     .images = cases[i].images,
                     .says = cases[i].says};
        for (int k = 0; k < 5 && cases[i].names[k]; k++) {
            snprintf(name, sizeof name, "%s/%s", cases[i].folder, cases[i].names[k]);
            put_archive(name, strstr(name, ".zip") != NULL, k == 0 ? ab : a, k == 0 ? 2 : 1);
        }
        check_one(&e, in_dir(cases[i].folder), "archives", list, sizeof list);
    }
    put_archive("w/train-0.tar", false, wds, 4);
    put_archive("w/val-0.tar", false, wds, 4);
    char list[4096];
    const example e = {.name = "webdataset shards", .classes = "3 4", .images = 2, .says = "val-0.tar"};
    check_one(&e, in_dir("w"), "archives", list, sizeof list);
    ck_assert_str_eq(list, "train-0.tar/1.png 3\ntrain-0.tar/2.png 4\n");
    const example both = {.name = "several", .status = DG_EDATA, .says = "two readings"};
    put_archive("v/val.zip", true, a, 1);
    put_archive("v/test.zip", true, a, 1);
    check_one(&both, in_dir("v"), "archives", list, sizeof list);
}
END_TEST

START_TEST(an_empty_split_is_no_silence) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    put_image("d/test/a/1.png", 1);
    put_image("d/test/b/2.png", 2);
    mkdir(in_dir("d/train"), 0777);
    options.path = in_dir("d");
    ck_assert_int_eq(dg_dataset_open(ctx, &options, &dataset), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "train, the split to train on, holds no image"));
    options.split = "test";
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_stray_name_is_no_part) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    for (int i = 0; i < 40; i++) {
        char name[64];
        snprintf(name, sizeof name, "d/street%d.png", i);
        put_image(name, i);
    }
    put_image("d/street7_labels.png", 50);
    options.path = in_dir("d");
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 41);
    dg_dataset_free(dataset);
    options.part = "labels";
    options.allow_skips = true; /* the others have no such part */
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_count(dataset), 1);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(words_of_splits) {
    static const struct {
        const char *name;
        dg_split_role role;
        bool pure;
    } cases[] = {
        {"train", DG_SPLIT_TRAIN, true},
        {"Training", DG_SPLIT_TRAIN, true},
        {"train-00000-of-00010.tar.gz", DG_SPLIT_TRAIN, true},
        {"VAL", DG_SPLIT_VALIDATION, true},
        {"valid.zip", DG_SPLIT_VALIDATION, true},
        {"validation data", DG_SPLIT_VALIDATION, true},
        {"dev", DG_SPLIT_VALIDATION, true},
        {"Test Images", DG_SPLIT_TEST, true},
        {"eval", DG_SPLIT_TEST, true},
        {"evaluation+1", DG_SPLIT_TEST, true},
        {"chest_train", DG_SPLIT_TRAIN, false},
        {"train_val", DG_SPLIT_TRAIN, true},
        {"trainval2012", DG_SPLIT_TRAIN, true},
        {"train_test", DG_SPLIT_NONE, false},
        {"trains", DG_SPLIT_NONE, false},
        {"contest", DG_SPLIT_NONE, false},
        {"device", DG_SPLIT_NONE, false},
        {"valley", DG_SPLIT_NONE, false},
        {"testimony", DG_SPLIT_NONE, false},
        {"cat", DG_SPLIT_NONE, false},
        {"", DG_SPLIT_NONE, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dg_split_name read = dg_split_read(cases[i].name, strlen(cases[i].name));
        ck_assert_msg(read.role == cases[i].role && read.pure == cases[i].pure, "%s: %d %d", cases[i].name, read.role,
                      read.pure);
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("splits of data sets");
    TCase *tcase = tcase_create("splits");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, one_tree_in_four_forms);
    tcase_add_test(tcase, splits_in_archives);
    tcase_add_test(tcase, an_empty_split_is_no_silence);
    tcase_add_test(tcase, a_stray_name_is_no_part);
    tcase_add_test(tcase, words_of_splits);
    suite_add_tcase(suite, tcase);
    return suite;
}
