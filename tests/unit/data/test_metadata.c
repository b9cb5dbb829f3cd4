/* Label files as other programs write them: dialects, names that differ a little, what is no label file. */
#include "data/dataset.h"

#include "unit/data/archive_fixture.h"

#include <unistd.h>

static dg_dataset_options options_for(const char *path) {
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
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

static const char *label_of(const dg_dataset *dataset, const char *path) {
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++)
        if (strcmp(dg_dataset_item(dataset, i)->path, path) == 0)
            return dg_dataset_class_name(dataset, dg_dataset_item(dataset, i)->label);
    return "(not there)";
}

/* Two images, one of each class, as the table says. */
static void assert_cat_and_dog(dg_ctx *ctx, const char *folder, const char *a, const char *b) {
    const dg_dataset_options options = options_for(in_dir(folder));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(label_of(dataset, a), "cat");
    ck_assert_str_eq(label_of(dataset, b), "dog");
    dg_dataset_free(dataset);
}

static const struct {
    const char *file, *text;
} dialects[] = {
    {"metadata.csv", "\xef\xbb\xbf"
                     "file_name,label\r\na.png,cat\r\nb.png,dog\r\n"},
    {"metadata.csv", "file_name,label\ra.png,cat\rb.png,dog\r"},
    {"metadata.csv", "file_name;label\na.png;cat\nb.png;dog\n"},
    {"metadata.csv", "sep=;\r\nfile_name;label\r\na.png;cat\r\nb.png;dog\r\n"},
    {"metadata.csv", "file_name\tlabel\na.png\tcat\nb.png\tdog\n"},
    {"metadata.csv", "File Name,LABEL\na.png,cat\nb.png,dog\n"},
    {"metadata.csv", "\"filename\" , \"Label \" \na.png,cat\nb.png,dog\n"},
    {"metadata.csv", "label,text,File_Name\ncat,,a.png\ndog,x,b.png\n"},
    {"Metadata.CSV", "file_name,label\na.png,cat\nb.png,dog\n"},
    {"metadata.csv", "file_name,label\n.\\a.png,cat\nB.PNG,dog\n"},
    {"metadata.csv", "file_name,label\na,cat\nb,dog\n"},
    {"metadata.csv", "file_name,label\na.png, cat\n b.png ,dog \n,,\n"},
    {"metadata.jsonl", "\xef\xbb\xbf{\"file_name\": \"a.png\", \"label\": \"cat\"}\r\n{\"file_name\": \"b.png\", "
                       "\"label\": \"dog\"}\r\n"},
    {"metadata.jsonl",
     "{\"file_name\": \"a.png\", \"Label\": \"cat\"}\r{\"file_name\": \"b.png\", \"Label\": \"dog\"}"},
    {"metadata.jsonl",
     "{\"File Name\": \"a.png\", \"label\": \"cat\"}\n  \n{\"label\": \"dog\", \"File Name\": \"b\"}"},
    {"dataset.json", "\xef\xbb\xbf{\"labels\": [[\".\\\\a.png\", \"cat\"], [\"b\", \"dog\"]]}"},
};

START_TEST(dialect) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    char name[64];
    snprintf(name, sizeof name, "set/%s", dialects[_i].file);
    put_text(name, dialects[_i].text);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    dg_ctx_free(ctx);
}
END_TEST

/* ASCII as UTF-16 or UTF-32: `zeros` zero bytes before or behind each character. */
static void put_wide(const char *name, const char *mark, size_t mark_size, const char *text, size_t zeros,
                     bool little) {
    char bytes[1024];
    size_t size = mark_size;
    memcpy(bytes, mark, mark_size);
    for (; *text; text++) {
        memset(bytes + size, 0, zeros + 1);
        bytes[size + (little ? 0 : zeros)] = *text;
        size += zeros + 1;
    }
    put(name, bytes, size);
}

START_TEST(utf_16) {
    static const char csv[] = "file_name\tlabel\r\na.png\tcat\r\nb.png\tdog\r\n";
    static const char json[] =
        "{\"file_name\": \"a.png\", \"label\": \"cat\"}\n{\"file_name\": \"b\", \"label\": \"dog\"}";
    dg_ctx *ctx = dg_test_context();
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    put_wide("set/metadata.csv", "\xff\xfe", 2, csv, 1, true);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    put_wide("set/metadata.csv", "\xfe\xff", 2, csv, 1, false);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    put_wide("set/metadata.csv", "", 0, csv, 1, true);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    put_wide("set/metadata.csv", "", 0, csv, 1, false);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    put_wide("set/metadata.csv", "\xff\xfe\0\0", 4, csv, 3, true);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    unlink(in_dir("set/metadata.csv"));
    put_wide("set/metadata.jsonl", "\xff\xfe", 2, json, 1, true);
    assert_cat_and_dog(ctx, "set", "a.png", "b.png");
    put("set/metadata.jsonl", "\xff\xfe{\0\x00\xdc", 6); /* half of a surrogate pair */
    const dg_dataset_options options = options_for(in_dir("set"));
    assert_refused(&options, DG_EDATA, "not valid UTF-16LE");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(unicode_forms_of_names) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/L\xc3\xa4sion.png", 1); /* composed on disk */
    put_image("set/u\xcc\x88"
              "ber.png",
              2); /* decomposed */
    put_text("set/metadata.csv", "file_name,label\nLa\xcc\x88sion.png,cat\n\xc3\xbc"
                                 "ber.png,dog\n");
    assert_cat_and_dog(ctx, "set", "L\xc3\xa4sion.png",
                       "u\xcc\x88"
                       "ber.png");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(names_in_sub_folders) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/images_1/ISIC_1.jpg", 1);
    put_image("set/images_2/ISIC_2.JPG", 2);
    put_text("set/metadata.csv", "file_name,label\nISIC_1,cat\nimages_2\\isic_2.jpg,dog\n");
    assert_cat_and_dog(ctx, "set", "images_1/ISIC_1.jpg", "images_2/ISIC_2.JPG");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(two_files_that_could_be_meant_are_none) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/x/a.png", 1);
    put_image("set/y/a.png", 2);
    put_image("set/b.png", 3);
    put_image("set/B.png", 4);
    put_image("set/c.png", 5);
    put_text("set/metadata.csv", "file_name,label\na.png,cat\nb.png,dog\nB.png,cat\nc.png,dog\nC.PNG,cat\n");
    dg_dataset_options options = options_for(in_dir("set"));
    options.allow_skips = true;
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_str_eq(label_of(dataset, "b.png"), "dog"); /* exactly so named */
    ck_assert_str_eq(label_of(dataset, "B.png"), "cat");
    ck_assert_str_eq(label_of(dataset, "x/a.png"), "(not there)");
    ck_assert_str_eq(label_of(dataset, "c.png"), "(not there)"); /* two rows, two labels */
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert(says(dataset, "several files could be meant"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(lines_of_the_file_are_named) {
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    const dg_dataset_options options = options_for(in_dir("set"));
    put_text("set/metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": 1}\n\n\n{\"file_name\": \"b.png\", label}\n");
    assert_refused(&options, DG_EDATA, "line 4, column 29");
    put_text("set/metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": 1}\r\r[1]\r");
    assert_refused(&options, DG_EDATA, "line 3: an object");
    put_text("set/metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": 1}\n\n{\"label\": 1}\n");
    assert_refused(&options, DG_EDATA, "line 3: no \"file_name\"");
}
END_TEST

START_TEST(an_unknown_encoding_is_said) {
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    put_text("set/metadata.csv", "file_name;label\na.png;M\xfcnchen\nb.png;K\xf6ln\n"); /* Windows-1252 */
    const dg_dataset_options options = options_for(in_dir("set"));
    assert_refused(&options, DG_EDATA, "line 2: label is not valid UTF-8; save the file as UTF-8");
}
END_TEST

START_TEST(columns_that_cannot_be_told_apart) {
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    const dg_dataset_options options = options_for(in_dir("set"));
    put_text("set/metadata.csv", "file_name,label,label\na.png,1,2\nb.png,2,1\n");
    assert_refused(&options, DG_EDATA, "two columns label");
    put_text("set/metadata.csv", "file_name,Label,LABEL\na.png,1,2\nb.png,2,1\n");
    assert_refused(&options, DG_EDATA, "Label and LABEL");
    put_text("set/metadata.csv", "image,label\na.png,1\nb.png,2\n");
    assert_refused(&options, DG_EDATA, "its columns: image, label; --file-column image");
}
END_TEST

START_TEST(numbers_that_pandas_wrote_as_fractions) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/a.png", 1);
    put_image("set/b.png", 2);
    put_image("set/c.png", 3);
    put_text("set/metadata.csv", "file_name,label\na.png,10.0\nb.png,2.0\nc.png,2\n");
    const dg_dataset_options options = options_for(in_dir("set"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "2"); /* by value */
    ck_assert_str_eq(dg_dataset_class_name(dataset, 1), "10");
    dg_dataset_free(dataset);
    put_text("set/metadata.csv", "file_name,label\na.png,1.0\nb.png,1.5\nc.png,2\n");
    dataset = open_with(ctx, &options);
    ck_assert_str_eq(label_of(dataset, "a.png"), "1.0"); /* versions, perhaps: left as they are */
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    const char *file, *text;
} no_labels[] = {
    {"dataset.json", "{\"labels\": null}"},
    {"dataset.json", "{\"labels\": [[\"x/a.png\", null], [\"y/b.png\", null]]}"},
    {"metadata.csv", "file_name,label\nx/a.png,\ny/b.png,\n"},
    {"metadata.jsonl", "{\"file_name\": \"x/a.png\", \"label\": null}\n{\"file_name\": \"y/b.png\"}\n"},
};

/* Folders that look like classes are none where a file says that there are no labels. */
START_TEST(explicitly_without_labels) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/x/a.png", 1);
    put_image("set/y/b.png", 2);
    char name[64];
    snprintf(name, sizeof name, "set/%s", no_labels[_i].file);
    put_text(name, no_labels[_i].text);
    dg_dataset_options options = options_for(in_dir("set"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, no_labels[_i].file);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert(!dg_dataset_is_conditional(dataset));
    ck_assert(says(dataset, "no labels"));
    dg_dataset_free(dataset);
    options.metadata = "none";
    dataset = open_with(ctx, &options);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "folders");
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

static const struct {
    const char *file, *text, *says;
} foreign[] = {
    {"dataset.json", "{\"labels\": {\"0\": \"background\", \"1\": \"tumor\"}, \"training\": []}", "training"},
    {"dataset.json", "{\"training\": [{\"image\": \"x/a.png\"}]}", "dataset.json"},
    {"dataset.json", "[1, 2]", "dataset.json"},
    {"dataset.json", "{\"labels\": [\"cat\", \"dog\"]}", "dataset.json"},
    {"metadata.csv", "patient_id;age;sex\n17;50;M\n", "patient_id, age, sex"},
    {"metadata.csv", "", "its columns: none"},
    {"metadata.csv", "image,age\na.png,7\nb.png,9\n", "--file-column image"},
    {"metadata.jsonl", "{\"id\": 1, \"text\": \"a\"}\n", "id, text"},
};

START_TEST(files_of_other_tools_are_passed_over) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/x/a.png", 1);
    put_image("set/y/b.png", 2);
    char name[64];
    snprintf(name, sizeof name, "set/%s", foreign[_i].file);
    put_text(name, foreign[_i].text);
    const dg_dataset_options options = options_for(in_dir("set"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "folders");
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_msg(says(dataset, foreign[_i].says), "%s", foreign[_i].says);
    ck_assert(says(dataset, "passed over"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* As HAM10000 and ISIC come: images in folders that are no classes, names without extension in a table beside them. */
static void put_lesions(void) {
    put_image("ham/part_1/ISIC_1.jpg", 1);
    put_image("ham/part_1/ISIC_2.jpg", 2);
    put_image("ham/part_2/ISIC_3.jpg", 3);
    put_text("ham/HAM10000_metadata.csv", "lesion_id,image_id,dx\nL1,ISIC_1,mel\nL2,ISIC_2,nv\nL3,ISIC_3,nv\n"
                                          "L4,ISIC_4,nv\n");
}

START_TEST(unused_tables_are_named) {
    dg_ctx *ctx = dg_test_context();
    put_lesions();
    put_text("ham/broken.csv", "\"never closed\n");
    dg_dataset_options options = options_for(in_dir("ham"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert(says(dataset, "HAM10000_metadata.csv is not used; its columns: lesion_id, image_id, dx. Its column "
                            "image_id names the images: --metadata HAM10000_metadata.csv --file-column image_id"));
    ck_assert(says(dataset, "the table broken.csv is not used"));
    ck_assert_str_eq(dg_last_error(ctx), "");
    dg_dataset_free(dataset);
    options.metadata = "none";
    dataset = open_with(ctx, &options);
    ck_assert(!says(dataset, "HAM10000"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_table_is_named) {
    dg_ctx *ctx = dg_test_context();
    put_lesions();
    dg_dataset_options options = options_for(in_dir("ham"));
    options.file_column = "image_id";
    options.label_column = "DX";
    options.metadata = in_dir("ham/HAM10000_metadata.csv");
    for (int i = 0; i < 3; i++) {
        dg_dataset *dataset = open_with(ctx, &options);
        ck_assert_int_eq(dg_dataset_count(dataset), 3);
        ck_assert_str_eq(label_of(dataset, "part_1/ISIC_1.jpg"), "mel");
        ck_assert_str_eq(label_of(dataset, "part_2/ISIC_3.jpg"), "nv");
        ck_assert(
            says(dataset, "1 more images that are not here")); /* no fault: the table is of the whole collection */
        ck_assert_int_eq(dg_dataset_get_report(dataset)->fallen, 0);
        dg_dataset_free(dataset);
        if (i == 0) {
            options.metadata = "HAM10000_metadata.csv"; /* inside the data set */
        } else {                                        /* elsewhere */
            put_text("elsewhere/table.tsv", "image id\tdx\nISIC_1\tmel\nISIC_2\tnv\nISIC_3\tnv\nISIC_9\tnv\n");
            options.metadata = in_dir("elsewhere/table.tsv");
            options.file_column = "image_id";
        }
    }
    options.unconditional = true;
    options.label_column = NULL;
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert(!dg_dataset_is_conditional(dataset));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_named_table_must_do) {
    put_lesions();
    dg_dataset_options options = options_for(in_dir("ham"));
    options.metadata = "HAM10000_metadata.csv";
    assert_refused(&options, DG_EUSAGE, "lesion_id, image_id, dx; --file-column image_id");
    options.file_column = "image";
    assert_refused(&options, DG_EUSAGE, "no column image");
    options.file_column = "image_id";
    assert_refused(&options, DG_EUSAGE, "--label-column");
    options.metadata = "gone.csv";
    assert_refused(&options, DG_ENOINPUT, "gone.csv");
    options.metadata = "none";
    assert_refused(&options, DG_EUSAGE, "--metadata none");
    options.metadata = NULL;
    assert_refused(&options, DG_EUSAGE, "--metadata names another table");
    put_text("ham/task.json", "{\"name\": \"Task\", \"labels\": {}}");
    options = options_for(in_dir("ham"));
    options.metadata = "task.json";
    assert_refused(&options, DG_EDATA, "its keys: name, labels");
}
END_TEST

START_TEST(metadata_beside_archives) {
    dg_ctx *ctx = dg_test_context();
    static const member members[] = {{"pics/a.png", 1, NULL}, {"pics/b.png", 2, NULL}};
    static const struct {
        const char *folder, *table;
    } cases[] = {{"set/x", "file_name,label\npics/a.png,cat\npics/b.png,dog\n"},
                 {"set/y", "file_name,label\na.png,cat\nb.png,dog\n"},
                 {"set/z", "file_name,label\nfaces/pics/a.png,cat\nfaces/pics/b.png,dog\n"}};
    for (size_t i = 0; i < 3; i++) {
        for (int zip = 0; zip < 2; zip++) {
            char archive[64], table[64], a[64], b[64];
            snprintf(archive, sizeof archive, "%s%d/faces.%s", cases[i].folder, zip, zip ? "zip" : "tar");
            snprintf(table, sizeof table, "%s%d/metadata.csv", cases[i].folder, zip);
            snprintf(a, sizeof a, "faces.%s/pics/a.png", zip ? "zip" : "tar");
            snprintf(b, sizeof b, "faces.%s/pics/b.png", zip ? "zip" : "tar");
            put_text(table, cases[i].table);
            put_archive(archive, zip, members, 2);
            char folder[64];
            snprintf(folder, sizeof folder, "%s%d", cases[i].folder, zip);
            assert_cat_and_dog(ctx, folder, a, b);
            if (i < 2)
                assert_cat_and_dog(ctx, archive, "pics/a.png", "pics/b.png");
        }
    }
    /* One of something else that lies in the same folder is none of its business. */
    put_text("other/metadata.csv", "file_name,label\nq.png,cat\n");
    put_archive("other/faces.zip", true, members, 2);
    const dg_dataset_options options = options_for(in_dir("other/faces.zip"));
    dg_dataset *dataset = open_with(ctx, &options);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert(says(dataset, "names no image in it"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("metadata");
    TCase *tcase = tcase_create("label files");
    tcase_add_loop_test(tcase, dialect, 0, sizeof dialects / sizeof dialects[0]);
    tcase_add_test(tcase, utf_16);
    tcase_add_test(tcase, unicode_forms_of_names);
    tcase_add_test(tcase, names_in_sub_folders);
    tcase_add_test(tcase, two_files_that_could_be_meant_are_none);
    tcase_add_test(tcase, lines_of_the_file_are_named);
    tcase_add_test(tcase, an_unknown_encoding_is_said);
    tcase_add_test(tcase, columns_that_cannot_be_told_apart);
    tcase_add_test(tcase, numbers_that_pandas_wrote_as_fractions);
    tcase_add_loop_test(tcase, explicitly_without_labels, 0, sizeof no_labels / sizeof no_labels[0]);
    tcase_add_loop_test(tcase, files_of_other_tools_are_passed_over, 0, sizeof foreign / sizeof foreign[0]);
    tcase_add_test(tcase, unused_tables_are_named);
    tcase_add_test(tcase, a_table_is_named);
    tcase_add_test(tcase, a_named_table_must_do);
    tcase_add_test(tcase, metadata_beside_archives);
    suite_add_tcase(suite, tcase);
    return suite;
}
