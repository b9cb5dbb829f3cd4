/* Labels from metadata, EDM, WebDataset and IDX, and all of it inside archives. */
#include "data/dataset.h"

#include "unit/data/archive_fixture.h"

#include <unistd.h>
#include <zlib.h>

static dg_dataset *open_path(dg_ctx *ctx, const char *path, const char *column) {
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.label_column = column;
    options.allow_skips = true;
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    return dataset;
}

static void assert_refused(const char *path, const char *column, dg_status want, const char *word) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.label_column = column;
    ck_assert_int_eq(dg_dataset_open(ctx, &options, &dataset), want);
    ck_assert_ptr_null(dataset);
    ck_assert_msg(strstr(dg_last_error(ctx), word) != NULL, "'%s' should be in: %s", word, dg_last_error(ctx));
    dg_ctx_free(ctx);
}

static const char *label_of(const dg_dataset *dataset, const char *path) {
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++)
        if (strcmp(dg_dataset_item(dataset, i)->path, path) == 0)
            return dg_dataset_class_name(dataset, dg_dataset_item(dataset, i)->label);
    return "(not there)";
}

START_TEST(metadata_csv) {
    dg_ctx *ctx = dg_test_context();
    put_image("images/a.png", 1);
    put_image("images/b, c.png", 2);
    put_image("d.png", 3);
    put_image("unlisted.png", 4);
    put_image("nolabel.png", 5);
    put_image("twice.png", 6);
    put_text("metadata.csv", "\xef\xbb\xbf"
                             "file_name,text,label,ward\r\n"
                             "images/a.png,\"one, two\",Äpfel,7\r\n"
                             "\"images/b, c.png\",x,\"cat \"\"big\"\"\",10\r\n"
                             "./d.png,,Äpfel,9\r\n"
                             "nolabel.png,,,9\r\n"
                             "gone.png,,cat,9\r\n"
                             "twice.png,,cat,9\r\n"
                             "twice.png,,dog,9\r\n");
    dg_dataset *dataset = open_path(ctx, dg_test_dir(), NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "metadata.csv");
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(label_of(dataset, "images/a.png"), "Äpfel");
    ck_assert_str_eq(label_of(dataset, "images/b, c.png"), "cat \"big\"");
    ck_assert_str_eq(label_of(dataset, "d.png"), "Äpfel");
    ck_assert_int_eq(dg_dataset_get_report(dataset)->skipped, 3); /* no label, gone, two labels */
    dg_dataset_free(dataset);
    /* Whole numbers are ordered by value. */
    dataset = open_path(ctx, dg_test_dir(), "ward");
    ck_assert_int_eq(dg_dataset_class_count(dataset), 3);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "7");
    ck_assert_str_eq(dg_dataset_class_name(dataset, 2), "10");
    dg_dataset_free(dataset);
    assert_refused(dg_test_dir(), "wrad", DG_EUSAGE, "did you mean ward");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(metadata_jsonl) {
    dg_ctx *ctx = dg_test_context();
    put_image("train/a.png", 1);
    put_image("train/b.png", 2);
    put_image("test/c.png", 3);
    put_text("train/metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": 11, \"x\": [1]}\n\n"
                                     "{\"file_name\": \"b.png\", \"label\": \"2\"}\r\n");
    put_text("test/metadata.jsonl", "{\"file_name\": \"c.png\", \"label\": 5}\n");
    dg_dataset *dataset = open_path(ctx, dg_test_dir(), NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "metadata.jsonl");
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "2");
    ck_assert_str_eq(label_of(dataset, "train/a.png"), "11");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(metadata_without_labels_falls_back_to_folders) {
    dg_ctx *ctx = dg_test_context();
    put_image("x/a.png", 1);
    put_image("y/b.png", 2);
    put_text("metadata.csv", "file_name,text\nx/a.png,hello\n");
    dg_dataset *dataset = open_path(ctx, dg_test_dir(), NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "folders");
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(label_of(dataset, "y/b.png"), "y");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(hostile_or_broken_metadata) {
    put_image("a.png", 1);
    static const struct {
        const char *name, *text, *word;
    } cases[] = {
        {"metadata.csv", "file_name,label\n../a.png,x\n", "../a.png"},
        {"metadata.csv", "file_name,label\n/etc/passwd,x\n", "/etc/passwd"},
        {"metadata.csv", "name,label\na.png,x\n", "file_name"},
        {"metadata.csv", "file_name,label\na.png\n", "line 2"},
        {"metadata.csv", "file_name,label\n\"a.png,x\n", "line 2"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": 1}\n{broken\n", "metadata.jsonl"},
        {"metadata.jsonl", "{\"file_name\": \"../../a.png\", \"label\": 1}\n", "../../a.png"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"label\": {}}\n", "whole number"},
        {"dataset.json", "{\"labels\": [[\"../a.png\", 1]]}", "../a.png"},
        {"dataset.json", "{\"labels\": [[\"a.png\", [0.5, 0.5]]]}", "vector"},
        {"dataset.json", "{\"labels\": [[\"a.png\", 1], \"b.png\"]}", "entry 1"},
        {"dataset.json", "{\"labels\": nul}", "not valid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text(cases[i].name, cases[i].text);
        assert_refused(dg_test_dir(), NULL, DG_EDATA, cases[i].word);
        unlink(in_dir(cases[i].name));
    }
}
END_TEST

START_TEST(edm_dataset_json) {
    dg_ctx *ctx = dg_test_context();
    put_image("00000/img00000000.png", 1);
    put_image("00000/img00000001.png", 2);
    put_image("00001/img00000002.png", 3);
    put_text("dataset.json", "{\"labels\": [[\"00000/img00000000.png\", 6], [\"00000/img00000001.png\", 10],"
                             "[\"00001/img00000002.png\", 6]]}");
    dg_dataset *dataset = open_path(ctx, dg_test_dir(), NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "dataset.json");
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "6");
    ck_assert_int_eq(dg_dataset_class_images(dataset, 0), 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* IDX */

static size_t idx_bytes(uint8_t *out, bool images, int count) {
    uint8_t header[16] = {0, 0, 8, images ? 3 : 1, 0, 0, 0, (uint8_t)count, 0, 0, 0, 4, 0, 0, 0, 5};
    size_t size = images ? 16 : 8;
    memcpy(out, header, size);
    for (int i = 0; i < count * (images ? 20 : 1); i++)
        out[size++] = (uint8_t)(images ? i : i % 3);
    return size;
}

static void put_gzip(const char *name, const void *bytes, size_t size) {
    put(name, "", 0);
    gzFile file = gzopen(in_dir(name), "wb");
    ck_assert_int_eq(gzwrite(file, bytes, (unsigned)size), (int)size);
    gzclose(file);
}

static void assert_idx(dg_ctx *ctx, const char *path) {
    dg_dataset *dataset = open_path(ctx, path, NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "idx");
    ck_assert_int_eq(dg_dataset_count(dataset), 12);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 3);
    ck_assert_int_eq(dg_dataset_item(dataset, 11)->label, 2);
    ck_assert_int_eq(dg_dataset_item(dataset, 0)->width, 5);
    ck_assert_int_eq(dg_dataset_item(dataset, 0)->height, 4);
    dg_dataset_free(dataset);
    dg_dataset_options options = dg_dataset_options_default();
    options.path = path;
    options.resolution = 4;
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    uint8_t pixels[16];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, pixels));
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(pixels[i], 20 + 5 * (i / 4) + i % 4);
    dg_dataset_free(dataset);
}

START_TEST(idx_pairs) {
    dg_ctx *ctx = dg_test_context();
    uint8_t bytes[512];
    size_t size = idx_bytes(bytes, true, 12);
    put("plain/train-images-idx3-ubyte", bytes, size);
    put_gzip("gz/train-images-idx3-ubyte.gz", bytes, size);
    put_gzip("gz/t10k-images-idx3-ubyte.gz", bytes, size);
    size = idx_bytes(bytes, false, 12);
    put("plain/train-labels-idx1-ubyte", bytes, size);
    put_gzip("gz/train-labels-idx1-ubyte.gz", bytes, size);
    assert_idx(ctx, in_dir("plain"));
    assert_idx(ctx, in_dir("plain/train-images-idx3-ubyte"));
    assert_idx(ctx, in_dir("gz"));
    assert_idx(ctx, in_dir("gz/train-images-idx3-ubyte.gz"));
    dg_dataset *dataset = open_path(ctx, in_dir("gz/t10k-images-idx3-ubyte.gz"), NULL);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 1);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* The same words of splits as for folders; "t10k" is what the MNIST family calls its test images. */
START_TEST(idx_splits) {
    static const struct {
        const char *split, *file;
    } cases[] = {{NULL, "train-images-idx3-ubyte/00"},
                 {"train", "train-images-idx3-ubyte/00"},
                 {"test", "t10k-images-idx3-ubyte/0"},
                 {"t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte/0"}};
    dg_ctx *ctx = dg_test_context();
    uint8_t bytes[512];
    size_t size = idx_bytes(bytes, true, 12);
    put("m/train-images-idx3-ubyte", bytes, size);
    size = idx_bytes(bytes, true, 5);
    put("m/t10k-images-idx3-ubyte", bytes, size);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_dataset *dataset = NULL;
        dg_dataset_options options = dg_dataset_options_default();
        options.path = in_dir("m");
        options.split = cases[i].split;
        DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
        ck_assert_str_eq(dg_dataset_item(dataset, 0)->path, cases[i].file);
        ck_assert_int_eq(dg_dataset_count(dataset), i < 2 ? 12 : 5);
        dg_dataset_free(dataset);
    }
    put("v/x-val-images-idx3-ubyte", bytes, size);
    put("v/x-test-images-idx3-ubyte", bytes, size);
    assert_refused(in_dir("v"), NULL, DG_EDATA, "0 of them of the split train");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(bad_idx) {
    uint8_t bytes[512];
    size_t size = idx_bytes(bytes, true, 12);
    put("short/train-images-idx3-ubyte", bytes, size - 1);
    assert_refused(in_dir("short"), NULL, DG_EDATA, "header claims");
    bytes[4] = 0xff; /* four billion images */
    put("huge/train-images-idx3-ubyte", bytes, size);
    assert_refused(in_dir("huge"), NULL, DG_EDATA, "header claims");
    size = idx_bytes(bytes, true, 12);
    put("count/train-images-idx3-ubyte", bytes, size);
    size = idx_bytes(bytes, false, 11);
    put("count/train-labels-idx1-ubyte", bytes, size);
    assert_refused(in_dir("count"), NULL, DG_EDATA, "11 labels for 12");
    put("gz/train-images-idx3-ubyte.gz", "\x1f\x8b garbage", 10);
    assert_refused(in_dir("gz"), NULL, DG_EDATA, "gzip");
    put("magic/train-images-idx3-ubyte", "hello, world, hello, world", 26);
    assert_refused(in_dir("magic"), NULL, DG_EDATA, "magic");
}
END_TEST

START_TEST(fashion_mnist_of_the_distribution) {
    const char *path = "/usr/share/datasets/fashion-mnist";
    if (access(path, R_OK) != 0)
        return; /* package dataset-fashion-mnist is not installed */
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = open_path(ctx, path, NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 60000);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 10);
    ck_assert_int_eq(dg_dataset_resolution(dataset), 28);
    ck_assert_int_eq(dg_dataset_channels(dataset), 1);
    for (int32_t c = 0; c < 10; c++)
        ck_assert_int_eq(dg_dataset_class_images(dataset, c), 6000);
    ck_assert_int_eq(dg_dataset_memory_bytes(dataset), 60000 * 784);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* Archives */

START_TEST(class_folders_in_archives) {
    static const member members[] = {{"pets/dog/2.png", 2, NULL},   {"pets/Äpfel und Öl/1.png", 1, NULL},
                                     {"pets/dog/1.png", 3, NULL},   {"__MACOSX/pets/dog/1.png", 4, NULL},
                                     {"pets/dog/._1.png", 5, NULL}, {"pets/readme.txt", -1, "hello"}};
    static const char *const names[] = {"a.zip", "a.tar", "a.tar.gz"};
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < 3; i++) {
        dg_dataset *dataset = open_path(ctx, put_archive(names[i], i == 0, members, 6), NULL);
        ck_assert_int_eq(dg_dataset_count(dataset), 3);
        ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
        ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "dog");
        ck_assert_str_eq(dg_dataset_class_name(dataset, 1), "Äpfel und Öl");
        ck_assert_int_eq(dg_dataset_get_report(dataset)->ignored, 3);
        uint8_t pixels[64];
        DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
        ck_assert_int_eq(pixels[0], 3);
        ck_assert_int_eq(dg_dataset_memory_bytes(dataset), 3 * 64); /* the members are released once decoded */
        dg_dataset_free(dataset);
    }
    /* Not cached: decoded from the members again. */
    dg_dataset *dataset = NULL;
    dg_dataset_options options = {.path = in_dir("a.zip"), .cache_bytes = 1};
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert(!dg_dataset_is_cached(dataset));
    uint8_t pixels[64];
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 1, pixels));
    ck_assert_int_eq(pixels[0], 2);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(metadata_in_archives) {
    dg_ctx *ctx = dg_test_context();
    static const member csv[] = {
        {"d/metadata.csv", -1, "file_name,label\nx.png,a\ny.png,b\n"}, {"d/x.png", 1, NULL}, {"d/y.png", 2, NULL}};
    dg_dataset *dataset = open_path(ctx, put_archive("csv.zip", true, csv, 3), NULL);
    ck_assert_str_eq(label_of(dataset, "d/y.png"), "b");
    dg_dataset_free(dataset);
    static const member edm[] = {{"00000/a.png", 1, NULL},
                                 {"00000/b.png", 2, NULL},
                                 {"dataset.json", -1, "{\"labels\": [[\"00000/a.png\", 0], [\"00000/b.png\", 1]]}"}};
    dataset = open_path(ctx, put_archive("edm.zip", true, edm, 3), NULL);
    ck_assert_str_eq(label_of(dataset, "00000/b.png"), "1");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(webdataset_shards) {
    dg_ctx *ctx = dg_test_context();
    static const member zero[] = {
        {"s0.png", 1, NULL}, {"s0.cls", -1, "7"}, {"s1.png", 2, NULL}, {"s1.cls", -1, "10\n"}};
    static const member one[] = {{"s2.png", 3, NULL}, {"s2.cls", -1, "7"}, {"s2.json", -1, "{}"}, {"s3.png", 4, NULL}};
    dg_dataset *dataset = open_path(ctx, put_archive("w/shard-000000.tar", false, zero, 4), NULL);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->layout, "webdataset");
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "7");
    dg_dataset_free(dataset);
    put_archive("w/shard-000001.tar", false, one, 4);
    dataset = open_path(ctx, in_dir("w"), NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 3);
    ck_assert_int_eq(dg_dataset_class_images(dataset, 0), 2);
    ck_assert_str_eq(dg_dataset_item(dataset, 2)->path, "shard-000001.tar/s2.png");
    ck_assert_int_eq(dg_dataset_get_report(dataset)->skipped, 1); /* s3 has no label */
    ck_assert_str_eq(dg_dataset_get_report(dataset)->skips[0].path, "shard-000001.tar/s3.png");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(hostile_and_broken_archives) {
    static const member up[] = {{"a.png", 1, NULL}, {"../../evil.png", 2, NULL}};
    assert_refused(put_archive("up.tar", false, up, 2), NULL, DG_EDATA, "unsafe path");
    assert_refused(put_archive("up.zip", true, up, 2), NULL, DG_EDATA, "unsafe path");
    static const member absolute[] = {{"/etc/evil.png", 2, NULL}};
    assert_refused(put_archive("abs.tar", false, absolute, 1), NULL, DG_EDATA, "unsafe path");
    /* A truncated archive. */
    static const member good[] = {{"a.png", 1, NULL}, {"b.png", 2, NULL}};
    const char *path = put_archive("cut.tar", false, good, 2);
    ck_assert_int_eq(truncate(path, 1024 + 512 + 30), 0);
    assert_refused(path, NULL, DG_EDATA, "cut.tar");
    put_text("text.zip", "this is not an archive at all, whatever its name says");
    assert_refused(in_dir("text.zip"), NULL, DG_EDATA, "text.zip");
}
END_TEST

/* A ZIP whose names hold the bytes `legacy` where the members have '@'s. */
static const char *put_legacy_zip(const char *name, const char *legacy, const member *members, size_t count) {
    const char *path = put_archive(name, true, members, count);
    static char bytes[65536];
    FILE *file = fopen(path, "rb");
    const size_t size = fread(bytes, 1, sizeof bytes, file), length = strlen(legacy);
    fclose(file);
    ck_assert_uint_lt(size, sizeof bytes);
    for (size_t i = 0; i + length <= size; i++)
        if (strncmp(bytes + i, "@@@@@@@@", length) == 0)
            memcpy(bytes + i, legacy, length);
    return put(name, bytes, size);
}

START_TEST(legacy_names_in_zip) {
    static const struct {
        const char *legacy, *members[2], *label, *encoding;
    } cases[] = {
        {"\x81", {"kat@/1.png", "kat@/2.png"}, "katü", "CP437"},
        {"\x94\xe1", {"gr@@e/1.png", "gr@@e/2.png"}, "größe", "CP437"},
        {"\xe4", {"k@fer/1.png", "k@fer/2.png"}, "käfer", "CP1252"},
        {"\x94\x4c", {"@@/1.png", "@@/2.png"}, "猫", "CP932"},
        {"\x83\x6c\x83\x52", {"@@@@/1.png", "@@@@/2.png"}, "ネコ", "CP932"},
        {"\xc3\xa8\xb9\xb7", {"@@@@/1.png", "@@@@/2.png"}, "猫狗", "GBK"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_ctx *ctx = dg_test_context();
        const member members[] = {
            {cases[i].members[0], 1, NULL}, {cases[i].members[1], 2, NULL}, {"dog/1.png", 3, NULL}};
        dg_dataset *dataset = open_path(ctx, put_legacy_zip("l.zip", cases[i].legacy, members, 3), NULL);
        const dg_dataset_report *report = dg_dataset_get_report(dataset);
        ck_assert_int_eq(dg_dataset_count(dataset), 3);
        ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
        ck_assert_msg(strcmp(dg_dataset_class_name(dataset, 0), cases[i].label) == 0 ||
                          strcmp(dg_dataset_class_name(dataset, 1), cases[i].label) == 0,
                      "%s: %s, %s", cases[i].label, dg_dataset_class_name(dataset, 0),
                      dg_dataset_class_name(dataset, 1));
        ck_assert_uint_ge(report->note_count, 1);
        ck_assert_msg(strstr(report->notes[0], cases[i].encoding) != NULL, "%s", report->notes[0]);
        dg_dataset_free(dataset);
        dg_ctx_free(ctx);
    }
    /* In no encoding known here: named, and not silently lost. */
    const member unknown[] = {{"@@/1.png", 1, NULL}, {"@@/2.png", 2, NULL}, {"dog/1.png", 3, NULL}};
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = put_legacy_zip("u.zip", "\xff\x80", unknown, 3);
    ck_assert_int_eq(dg_dataset_open(ctx, &options, &dataset), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "2 of 3 images are left out"));
    dg_ctx_free(ctx);
}
END_TEST

static bool notes_say(const dg_dataset *dataset, const char *word) {
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        if (strstr(report->notes[i], word))
            return true;
    return false;
}

/* The bytes of 猫 in GBK are those of another letter in UTF-8; the other name of the archive tells. */
START_TEST(legacy_name_that_is_utf8_by_chance) {
    const member members[] = {{"@@@@/1.png", 1, NULL}, {"\xc3\xa8/2.png", 2, NULL}};
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = open_path(ctx, put_legacy_zip("chance.zip", "\xc3\xa8\xb9\xb7", members, 2), NULL);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_str_eq(dg_dataset_class_name(dataset, 0), "猫");
    ck_assert_str_eq(dg_dataset_class_name(dataset, 1), "猫狗");
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

/* Cut between two members it reads like a smaller one. */
START_TEST(tar_without_its_end) {
    static const member members[] = {{"a/1.png", 1, NULL}, {"b/2.png", 2, NULL}};
    enum { TWO_MEMBERS = 2 * 1024 };
    dg_ctx *ctx = dg_test_context();
    const char *path = put_archive("end.tar", false, members, 2);
    dg_dataset *dataset = open_path(ctx, path, NULL);
    ck_assert(!notes_say(dataset, "may be cut off"));
    dg_dataset_free(dataset);
    ck_assert_int_eq(truncate(path, TWO_MEMBERS), 0);
    dataset = open_path(ctx, path, NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert(notes_say(dataset, "may be cut off"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(archives_in_archives) {
    static const member inner[] = {{"images.zip", -1, "PK"}, {"README.txt", -1, "hello"}};
    assert_refused(put_archive("outer.zip", true, inner, 2), NULL, DG_EDATA, "1 archive inside the archive");
    assert_refused(put_archive("outer.tar", false, inner, 2), NULL, DG_EDATA, "1 archive inside the archive");
    static const member beside[] = {{"a/1.png", 1, NULL}, {"b/2.png", 2, NULL}, {"more.zip", -1, "PK"}};
    dg_ctx *ctx = dg_test_context();
    dg_dataset *dataset = open_path(ctx, put_archive("beside.zip", true, beside, 3), NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_ptr_nonnull(strstr(dg_dataset_get_report(dataset)->notes[0], "1 archives, which are not opened"));
    dg_dataset_free(dataset);
    put_image("f/a/1.png", 1);
    put_image("f/b/2.png", 2);
    put_archive("f/more.zip", true, beside, 2);
    dataset = open_path(ctx, in_dir("f"), NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 2);
    ck_assert_ptr_nonnull(strstr(dg_dataset_get_report(dataset)->notes[0], "1 archives beside the images"));
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(unreadable_folders_are_skipped) {
    dg_ctx *ctx = dg_test_context();
    for (int i = 0; i < 12; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%d.png", i % 2 ? "cat" : "dog", i);
        put_image(name, i);
    }
    mkdir(in_dir("lost+found"), 0700);
    chmod(in_dir("lost+found"), 0);
    chmod(dg_test_dir(), 0777);
    if (geteuid() == 0)
        ck_assert_int_eq(seteuid(65534), 0); /* permissions do not bind root */
    dg_dataset *dataset = open_path(ctx, dg_test_dir(), NULL);
    ck_assert_int_eq(dg_dataset_count(dataset), 12);
    ck_assert_int_eq(dg_dataset_class_count(dataset), 2);
    ck_assert_int_eq(dg_dataset_get_report(dataset)->skipped, 1);
    ck_assert_str_eq(dg_dataset_get_report(dataset)->skips[0].path, "lost+found");
    ck_assert_ptr_nonnull(strstr(dg_dataset_get_report(dataset)->skips[0].reason, "Permission denied"));
    dg_dataset_free(dataset);
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
    chmod(in_dir("lost+found"), 0700);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("dataset layouts");
    TCase *tcase = tcase_create("labels");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, metadata_csv);
    tcase_add_test(tcase, metadata_jsonl);
    tcase_add_test(tcase, metadata_without_labels_falls_back_to_folders);
    tcase_add_test(tcase, hostile_or_broken_metadata);
    tcase_add_test(tcase, edm_dataset_json);
    tcase_add_test(tcase, idx_pairs);
    tcase_add_test(tcase, idx_splits);
    tcase_add_test(tcase, bad_idx);
    tcase_add_test(tcase, fashion_mnist_of_the_distribution);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("archives");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, class_folders_in_archives);
    tcase_add_test(tcase, metadata_in_archives);
    tcase_add_test(tcase, webdataset_shards);
    tcase_add_test(tcase, hostile_and_broken_archives);
    tcase_add_test(tcase, legacy_names_in_zip);
    tcase_add_test(tcase, legacy_name_that_is_utf8_by_chance);
    tcase_add_test(tcase, tar_without_its_end);
    tcase_add_test(tcase, archives_in_archives);
    tcase_add_test(tcase, unreadable_folders_are_skipped);
    suite_add_tcase(suite, tcase);
    return suite;
}
