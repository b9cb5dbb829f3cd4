/* What files are, by name and by contents, and what a data set of files that cannot be read says. */
#include "data/dataset.h"
#include "decode/recognise.h"

#include "unit/data/data_fixture.h"

static const struct {
    const char *path;
    bool sure;
    dg_file_kind kind;
    const char *foreign;
} names[] = {
    {"a/B.PNG", true, DG_FILE_IMAGE, NULL},
    {"scan.dcm", true, DG_FILE_IMAGE, NULL},
    {"a/b.TIFF", true, DG_FILE_IMAGE, NULL},
    {"photo.webp", true, DG_FILE_IMAGE, NULL},
    {"a.png/readme.txt", true, DG_FILE_OTHER, NULL},
    {"a.png/readme", false, DG_FILE_OTHER, NULL},
    {"1.2.840.113619.2.55.3", false, DG_FILE_OTHER, NULL},
    {"DICOMDIR", true, DG_FILE_OTHER, NULL},
    {"metadata.jsonl", true, DG_FILE_OTHER, NULL},
    {"train-images-idx3-ubyte", true, DG_FILE_OTHER, NULL},
    {"x.HEIC", true, DG_FILE_FOREIGN_IMAGE, "HEIC"},
    {"x.avif", true, DG_FILE_FOREIGN_IMAGE, "AVIF"},
    {"x.jp2", true, DG_FILE_FOREIGN_IMAGE, "JPEG 2000"},
    {"x.jxl", true, DG_FILE_FOREIGN_IMAGE, "JPEG XL"},
    {"x.nii.gz", true, DG_FILE_FOREIGN_IMAGE, "NIfTI"},
    {"x.mhd", true, DG_FILE_FOREIGN_IMAGE, "MetaImage"},
    {"x.svs", true, DG_FILE_FOREIGN_IMAGE, "whole-slide"},
    {"x.npy", true, DG_FILE_FOREIGN_DATA, "NumPy"},
    {"x.parquet", true, DG_FILE_FOREIGN_DATA, "Parquet"},
    {"x.mat", true, DG_FILE_FOREIGN_DATA, "MATLAB"},
    {"x.pkl", true, DG_FILE_FOREIGN_DATA, "pickle"},
    {"x.7z", true, DG_FILE_FOREIGN_DATA, "7z archive"},
    {"x.rar", true, DG_FILE_FOREIGN_DATA, "RAR archive"},
    {"set/data.mdb", true, DG_FILE_FOREIGN_DATA, "LMDB"},
    {"train.tfrecord-00003-of-00010", true, DG_FILE_FOREIGN_DATA, "TFRecord"},
};

START_TEST(names_say_what_they_can) {
    dg_file_kind kind;
    const dg_foreign *foreign;
    ck_assert_msg(dg_recognise_name(names[_i].path, &kind, &foreign) == names[_i].sure, "%s", names[_i].path);
    ck_assert_msg(kind == names[_i].kind, "%s", names[_i].path);
    ck_assert_msg((foreign != NULL) == (names[_i].foreign != NULL), "%s", names[_i].path);
    if (foreign)
        ck_assert_msg(strstr(foreign->name, names[_i].foreign) != NULL, "%s: %s", names[_i].path, foreign->name);
}
END_TEST

#define BYTES(text) text, sizeof(text) - 1
#define ZEROS4 "\0\0\0\0"
#define ZEROS16 ZEROS4 ZEROS4 ZEROS4 ZEROS4
#define ZEROS128 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16

static const struct {
    const char *bytes;
    size_t size;
    dg_file_kind kind;
    const char *foreign;
} contents[] = {
    {BYTES("\x89PNG\r\n\x1a\n"), DG_FILE_IMAGE, NULL},
    {BYTES("\xff\xd8\xff\xe0"), DG_FILE_IMAGE, NULL},
    {BYTES("RIFF\x10\0\0\0WEBPVP8 "), DG_FILE_IMAGE, NULL},
    {BYTES("II*\0\x08\0\0\0"), DG_FILE_IMAGE, NULL},
    {BYTES("MM\0*\0\0\0\x08"), DG_FILE_IMAGE, NULL},
    {BYTES("P5\n# made by a scanner\n8 8\n255\n"), DG_FILE_IMAGE, NULL},
    {BYTES("P1 is the first patient, aged 45"), DG_FILE_OTHER, NULL},
    {BYTES("BM is a unit of nothing at all, says this text"), DG_FILE_OTHER, NULL},
    {BYTES(ZEROS128 "DICM\2\0\0\0"), DG_FILE_IMAGE, NULL},
    {BYTES("\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x16\0UI\x1a\0" ZEROS128), DG_FILE_IMAGE, NULL},
    {BYTES("\x08\0\0\0\x7c\0\0\0" ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS4 ZEROS4 ZEROS4 "\x08"),
     DG_FILE_OTHER, NULL}, /* ends where the next element would begin */
    {BYTES("\0\0\0\x1c"
           "ftypavif\0\0\0\0avifmif1"),
     DG_FILE_FOREIGN_IMAGE, "AVIF"},
    {BYTES("\0\0\0\x1c"
           "ftypmif1\0\0\0\0mif1avif0000"),
     DG_FILE_FOREIGN_IMAGE, "AVIF"},
    {BYTES("\0\0\0\x18"
           "ftypheic\0\0\0\0mif1heic"),
     DG_FILE_FOREIGN_IMAGE, "HEIC"},
    {BYTES("\0\0\0\x18"
           "ftypisom\0\0\0\0mif1heic"),
     DG_FILE_FOREIGN_DATA, "video"},
    {BYTES("\0\0\0\x0cjP  \r\n\x87\n"), DG_FILE_FOREIGN_IMAGE, "JPEG 2000"},
    {BYTES("\xff\x4f\xff\x51\0\x2f"), DG_FILE_FOREIGN_IMAGE, "JPEG 2000"},
    {BYTES("\xff\x0a\xfa\x7f"), DG_FILE_FOREIGN_IMAGE, "JPEG XL"},
    {BYTES("\x5c\1\0\0" ZEROS128 ZEROS128 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS16 ZEROS4 "n+1\0"),
     DG_FILE_FOREIGN_IMAGE, "NIfTI"},
    {BYTES("ObjectType = Image\nNDims = 3\n"), DG_FILE_FOREIGN_IMAGE, "MetaImage"},
    {BYTES("\x93NUMPY\1\0v\0"), DG_FILE_FOREIGN_DATA, "NumPy"},
    {BYTES("PAR1\x15\x04"), DG_FILE_FOREIGN_DATA, "Parquet"},
    {BYTES(ZEROS16 "\xde\xc0\xef\xbe"), DG_FILE_FOREIGN_DATA, "LMDB"},
    {BYTES("\x05\0\0\0\0\0\0\0\xea\xb2\x04\x3ehello\x99\x99\x99\x99"), DG_FILE_FOREIGN_DATA, "TFRecord"},
    {BYTES("\x05\0\0\0\0\0\0\0\xea\xb2\x04\x3fhello\x99\x99\x99\x99"), DG_FILE_OTHER, NULL},
    {BYTES("hello, world"), DG_FILE_OTHER, NULL},
    {BYTES(""), DG_FILE_OTHER, NULL},
};

START_TEST(contents_say_the_rest) {
    const dg_foreign *foreign;
    size_t size = contents[_i].size;
    uint8_t *exact = malloc(size ? size : 1);
    memcpy(exact, contents[_i].bytes, size);
    ck_assert_msg(dg_recognise_bytes(exact, size, &foreign) == contents[_i].kind, "case %d", _i);
    ck_assert_msg((foreign != NULL) == (contents[_i].foreign != NULL), "case %d", _i);
    if (foreign)
        ck_assert_msg(strstr(foreign->name, contents[_i].foreign) != NULL, "case %d: %s", _i, foreign->name);
    free(exact);
}
END_TEST

static dg_dataset *open_set(dg_ctx *ctx, const char *path, dg_status expected) {
    dg_dataset_options options = dg_dataset_options_default();
    dg_dataset *dataset = NULL;
    options.path = path;
    ck_assert_msg(dg_dataset_open(ctx, &options, &dataset) == expected, "%s", dg_last_error(ctx));
    return dataset;
}

START_TEST(images_without_an_extension_are_read) {
    dg_ctx *ctx = dg_test_context();
    put_image("set/cat/IM0001", 1);
    put_image("set/cat/1.2.840.5", 2);
    put_image("set/dog/IM0002.bin", 3);
    put_text("set/dog/README", "P1 is the first patient");
    put_text("set/dog/empty", "");
    dg_dataset *dataset = open_set(ctx, in_dir("set"), DG_OK);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_int_eq(dg_dataset_get_report(dataset)->skipped, 0);
    ck_assert_int_eq(dg_dataset_get_report(dataset)->ignored, 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(they_are_read_from_an_archive_too) {
    dg_ctx *ctx = dg_test_context();
    char command[4096];
    put_image("plain/cat/IM0001", 1);
    put_image("plain/dog/IM0002", 3);
    put_text("plain/dog/README", "no image");
    snprintf(command, sizeof command, "tar -cf %s -C %s .", in_dir("set.tar"), in_dir("plain"));
    ck_assert_int_eq(system(command), 0);
    dg_dataset *dataset = open_set(ctx, in_dir("set.tar"), DG_OK);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* Alone in a folder, and as the path itself: named, with what to do, and bad data (exit code 65). */
START_TEST(foreign_files_are_named_with_what_to_do) {
    static const struct {
        const char *file, *bytes;
        size_t size;
        const char *says[2];
    } cases[] = {
        {"photo.heic",
         BYTES("\0\0\0\x18"
               "ftypheic"),
         {"HEIC", "heif-convert"}},
        {"photo",
         BYTES("\0\0\0\x1c"
               "ftypavif"),
         {"AVIF", "avifdec"}},
        {"brain.nii.gz", BYTES("\x1f\x8b"), {"NIfTI", "slices"}},
        {"x.npy", BYTES("\x93NUMPY"), {"NumPy", "PNG"}},
        {"x.parquet", BYTES("PAR1"), {"Parquet", "one folder for each class"}},
        {"unnamed", BYTES("PAR1"), {"Parquet", "one folder for each class"}},
        {"data_batch_1", BYTES("\x80\x02}q\x01"), {"Python pickle", "one folder for each class"}},
        {"train_32x32.mat", BYTES("MATLAB 5.0 MAT-file"), {"MATLAB file", "loadmat"}},
        {"data.mdb", BYTES(ZEROS16 "\xde\xc0\xef\xbe"), {"LMDB", "one folder for each class"}},
    };
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "foreign%zu/%s", i, cases[i].file);
        const char *file = put(name, cases[i].bytes, cases[i].size);
        snprintf(name, sizeof name, "foreign%zu", i);
        for (int alone = 0; alone < 2; alone++) {
            dg_ctx_clear_error(ctx);
            open_set(ctx, alone ? file : in_dir(name), DG_EDATA);
            for (int k = 0; k < 2; k++)
                ck_assert_msg(strstr(dg_last_error(ctx), cases[i].says[k]) != NULL, "%s", dg_last_error(ctx));
        }
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(foreign_data_beside_images_is_a_note) {
    dg_ctx *ctx = dg_test_context();
    put_image("beside/a.pgm", 1);
    put_image("beside/b.pgm", 2);
    put("beside/embeddings.npy", "\x93NUMPY", 6);
    dg_dataset *dataset = open_set(ctx, in_dir("beside"), DG_OK);
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    ck_assert_int_eq(report->skipped, 0);
    bool said = false;
    for (size_t i = 0; i < report->note_count; i++)
        said |= strstr(report->notes[i], "embeddings.npy, is a NumPy array") != NULL;
    ck_assert(said);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(one_image_is_no_set) {
    dg_ctx *ctx = dg_test_context();
    put_image("alone", 1);
    open_set(ctx, in_dir("alone"), DG_EDATA);
    ck_assert_msg(strstr(dg_last_error(ctx), "is one image") != NULL, "%s", dg_last_error(ctx));
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("recognise");
    TCase *tcase = tcase_create("recognise");
    tcase_add_loop_test(tcase, names_say_what_they_can, 0, sizeof names / sizeof names[0]);
    tcase_add_loop_test(tcase, contents_say_the_rest, 0, sizeof contents / sizeof contents[0]);
    tcase_add_test(tcase, images_without_an_extension_are_read);
    tcase_add_test(tcase, they_are_read_from_an_archive_too);
    tcase_add_test(tcase, foreign_files_are_named_with_what_to_do);
    tcase_add_test(tcase, foreign_data_beside_images_is_a_note);
    tcase_add_test(tcase, one_image_is_no_set);
    suite_add_tcase(suite, tcase);
    return suite;
}
