/* DICOM: right values, whatever way they are stored; and nothing of a patient in what is kept. */
#include "data/dataset.h"
#include "decode/dicom.h"

#include "unit/data/data_fixture.h"

#include <math.h>

enum { WIDTH = 12, HEIGHT = 10 };
static const char planted[] = "PLANTED";

/* What tests/fixtures/data/make_dicom.py drew: 12 bits. */
static int deep(int x, int y) {
    return (5000 * x + 300 * y + 7) % 65536 / 16;
}

static int scaled(double value, double low, double high, int white) {
    double share = (value - low) / (high - low);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return (int)floor(share * white + 0.5);
}

static int by_table(int v) {
    return 65535 - v * 16;
}
static int by_bits(int v) {
    return scaled(v, 0, 4095, 65535);
}
static int inverted(int v) {
    return 65535 - by_bits(v);
}
static int by_window(int v) { /* centre 40, width 401, of v - 1024 */
    return scaled(v - 1024, 40 - 0.5 - 200, 40 - 0.5 + 200, 65535);
}
static int by_exact(int v) {
    return scaled(v, 1500, 2500, 65535);
}
static int by_sigmoid(int v) {
    return (int)floor(65535 / (1 + exp(-4 * (v - 2000.0) / 1000)) + 0.5);
}
static int by_groups(int v) { /* slope 2, intercept -1024; centre 1000, width 2001 */
    return scaled(2 * v - 1024, -0.5, 1999.5, 65535);
}
static int shallow(int v) {
    return v / 16;
}

static const struct {
    const char *file;
    int (*grey)(int);
    int bits, tolerance;
} greys[] = {
    {"plain.dcm", by_bits, 16, 0},         {"implicit.dcm", by_bits, 16, 0},  {"big_endian.dcm", by_bits, 16, 0},
    {"bare.dcm", by_bits, 16, 0},          {"inverted.dcm", inverted, 16, 0}, {"hounsfield.dcm", by_bits, 16, 0},
    {"fraction.dcm", by_bits, 16, 0},      {"signed.dcm", by_bits, 16, 0},    {"frames.dcm", by_bits, 16, 0},
    {"window.dcm", by_window, 16, 0},      {"exact.dcm", by_exact, 16, 0},    {"sigmoid.dcm", by_sigmoid, 16, 1},
    {"enhanced.dcm", by_groups, 16, 0},    {"table.dcm", by_table, 16, 16},   {"shallow.dcm", shallow, 8, 0},
    {"jpeg_lossless.dcm", by_bits, 16, 0}, {"jpeg_ls.dcm", by_bits, 16, 0},   {"rle.dcm", by_bits, 16, 0},
};

static uint8_t *load_dicom(const char *name, size_t *size) {
    char path[64];
    snprintf(path, sizeof path, "dicom/%s", name);
    return load_fixture(path, size);
}

START_TEST(grey_values) {
    size_t size;
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    dg_image_info info = {0};
    const char *file = greys[_i].file;
    uint8_t *bytes = load_dicom(file, &size);
    ck_assert_msg(dg_image_probe(bytes, size, NULL, &info, reason) == DG_OK, "%s: %s", file, reason);
    ck_assert_int_eq(info.width, WIDTH);
    ck_assert_int_eq(info.height, HEIGHT);
    ck_assert_int_eq(info.channels, 1);
    ck_assert_int_eq(info.bits, greys[_i].bits);
    ck_assert_int_eq(info.more_frames, strcmp(file, "frames.dcm") == 0);
    ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_OK, "%s: %s", file, reason);
    ck_assert_int_eq(image.bits, greys[_i].bits);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int got = image.bits == 16 ? ((uint16_t *)image.pixels)[i] : ((uint8_t *)image.pixels)[i];
        int want = greys[_i].grey(deep(i % WIDTH, i / WIDTH));
        ck_assert_msg(abs(got - want) <= greys[_i].tolerance, "%s: value %d is %d, not %d", file, i, got, want);
    }
    dg_image_free(&image);
    free(bytes);
}
END_TEST

START_TEST(colours) {
    static const struct {
        const char *file;
        int tolerance;
    } cases[] = {{"rgb.dcm", 0}, {"palette.dcm", 0}, {"jpeg.dcm", 40}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        size_t size;
        char reason[DG_REASON_BYTES] = "";
        dg_image image = {0};
        uint8_t *bytes = load_dicom(cases[k].file, &size);
        ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_OK, "%s: %s", cases[k].file, reason);
        ck_assert_int_eq(image.channels, 3);
        ck_assert_int_eq(image.bits, 8);
        for (int i = 0; i < WIDTH * HEIGHT; i++) {
            int v = deep(i % WIDTH, i / WIDTH) / 16, want[3] = {v, 255 - v, v / 2};
            for (int c = 0; c < 3; c++) {
                int got = ((uint8_t *)image.pixels)[3 * i + c];
                ck_assert_msg(abs(got - want[c]) <= cases[k].tolerance, "%s: pixel %d, %d: %d, not %d", cases[k].file,
                              i, c, got, want[c]);
            }
        }
        dg_image_free(&image);
        free(bytes);
    }
}
END_TEST

START_TEST(a_window_is_in_the_files_own_units) {
    size_t size;
    char reason[DG_REASON_BYTES] = "";
    uint8_t *bytes = load_dicom("window.dcm", &size);
    dg_decode_options options = {.window = true, .window_lo = -160, .window_hi = 240};
    dg_image image = {0};
    dg_image_info info = {0};
    ck_assert_int_eq(dg_image_probe(bytes, size, &options, &info, reason), DG_OK);
    ck_assert(info.own_scale);
    ck_assert_double_eq(info.low, -160);
    ck_assert_double_eq(info.high, 240);
    ck_assert_int_eq(dg_image_decode(bytes, size, &options, &image, reason), DG_OK);
    ck_assert(image.windowed);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        ck_assert_int_eq(((uint16_t *)image.pixels)[i], scaled(deep(i % WIDTH, i / WIDTH) - 1024, -160, 240, 65535));
    dg_image_free(&image);
    free(bytes);
}
END_TEST

/* A set with --window: the pixels come windowed, and negative bounds are right for such files alone. */
START_TEST(a_windowed_data_set) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset_options options = dg_dataset_options_default();
    dg_dataset *dataset = NULL;
    size_t size;
    uint16_t pixels[8 * 8];
    uint8_t *bytes = load_dicom("hounsfield.dcm", &size);
    put("ct/IM0001", bytes, size);
    free(bytes);
    options.path = in_dir("ct");
    options.resolution = 8;
    options.window = true;
    options.window_lo = -1000;
    options.window_hi = -900;
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_get_report(dataset)->own_scale, 1);
    ck_assert_int_eq(dg_dataset_bits(dataset), 16);
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
    int white = 0;
    for (int i = 0; i < 64; i++)
        white += pixels[i] == 65535;
    ck_assert_int_gt(white, 32); /* most values lie above -900 */
    dg_dataset_free(dataset);
    put_image("ct/photo.pgm", 1);
    options.window_lo = -40000;
    dataset = NULL;
    ck_assert_int_eq(dg_dataset_open(ctx, &options, &dataset), DG_EUSAGE);
    dg_ctx_free(ctx);
}
END_TEST

/* The range that is found is on the scale of the files, whatever windows stand in them and which way up grey is. */
START_TEST(an_automatic_window_is_in_the_files_own_units) {
    static const struct {
        const char *file;
        int intercept;
    } cases[] = {{"hounsfield.dcm", -1024}, {"window.dcm", -1024}, {"inverted.dcm", 0}, {"signed.dcm", -2048}};
    int least = 4095, most = 0;
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int v = deep(i % WIDTH, i / WIDTH);
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_ctx *ctx = dg_test_context();
        dg_dataset_options options = dg_dataset_options_default();
        dg_dataset *dataset = NULL;
        size_t size;
        int lo, hi;
        char name[32];
        uint8_t *bytes = load_dicom(cases[i].file, &size);
        snprintf(name, sizeof name, "auto%zu/IM0001", i);
        put(name, bytes, size);
        free(bytes);
        snprintf(name, sizeof name, "auto%zu", i);
        options.path = in_dir(name);
        options.auto_window = true;
        options.resolution = 8;
        DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
        ck_assert(dg_dataset_window(dataset, &lo, &hi));
        ck_assert_int_eq(lo, least + cases[i].intercept);
        ck_assert_int_eq(hi, most + cases[i].intercept);
        dg_dataset_free(dataset);
        dg_ctx_free(ctx);
    }
}
END_TEST

START_TEST(different_scales_are_said) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset_options options = dg_dataset_options_default();
    dg_dataset *dataset = NULL;
    static const char *const files[] = {"window.dcm", "hounsfield.dcm"};
    for (int i = 0; i < 2; i++) {
        size_t size;
        char name[32];
        uint8_t *bytes = load_dicom(files[i], &size);
        snprintf(name, sizeof name, "mixed/%d", i);
        put(name, bytes, size);
        free(bytes);
    }
    options.path = in_dir("mixed");
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    bool said = false;
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    for (size_t i = 0; i < report->note_count; i++)
        said |= strstr(report->notes[i], "-160.5 to 239.5 in one, -1024 to 3071 in another") != NULL;
    ck_assert(said);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(the_decoder_never_sees_a_patient) {
    static const char *const files[] = {"plain.dcm",    "implicit.dcm", "big_endian.dcm", "bare.dcm",
                                        "enhanced.dcm", "table.dcm",    "palette.dcm",    "jpeg.dcm",
                                        "jpeg_ls.dcm",  "rle.dcm",      "frames.dcm",     "rgb.dcm"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t size, extract_size;
        char reason[DG_REASON_BYTES] = "";
        dg_dicom dicom;
        uint8_t *bytes = load_dicom(files[i], &size), *extract = NULL;
        ck_assert_ptr_nonnull(memmem(bytes, size, planted, strlen(planted)));
        ck_assert_msg(dg_dicom_parse(bytes, size, &dicom, reason) == DG_OK, "%s: %s", files[i], reason);
        ck_assert_int_eq(dg_dicom_extract(bytes, &dicom, &extract, &extract_size, reason), DG_OK);
        ck_assert_ptr_null(memmem(extract, extract_size, planted, strlen(planted)));
        dicom.pixels = NULL; /* the rest of what was read holds no text of the file but UID and colour model */
        ck_assert_ptr_null(memmem(&dicom, sizeof dicom, planted, strlen(planted)));
        free(extract);
        free(bytes);
    }
}
END_TEST

/* Cut anywhere, and with every byte of the beginning changed: refused or decoded, and no reason quotes the file. */
START_TEST(damage_is_noticed_and_not_quoted) {
    static const char *const files[] = {"plain.dcm", "enhanced.dcm", "jpeg_lossless.dcm", "rle.dcm", "table.dcm"};
    size_t size;
    uint8_t *bytes = load_dicom(files[_i], &size);
    size_t last = size - 24; /* behind the pixels stand 24 bytes of padding */
    for (size_t cut = 0; cut < last; cut += 1 + cut / 100) {
        char reason[DG_REASON_BYTES] = "";
        dg_image image = {0};
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, bytes, cut);
        ck_assert_msg(dg_image_decode(exact, cut, NULL, &image, reason) == DG_EDATA, "%s cut to %zu of %zu", files[_i],
                      cut, size);
        ck_assert_str_ne(reason, "");
        ck_assert_ptr_null(strstr(reason, planted));
        free(exact);
    }
    for (size_t at = 132; at < size && at < 1200; at++) {
        char reason[DG_REASON_BYTES] = "";
        dg_image image = {0};
        uint8_t *changed = malloc(size);
        memcpy(changed, bytes, size);
        changed[at] ^= 0x5a;
        (void)!dg_image_decode(changed, size, NULL, &image, reason);
        ck_assert_ptr_null(strstr(reason, planted));
        dg_image_free(&image);
        free(changed);
    }
    free(bytes);
}
END_TEST

START_TEST(forms_that_are_not_read_are_named) {
    size_t size;
    char reason[DG_REASON_BYTES] = "";
    dg_image_info info;
    uint8_t *jpeg = load_dicom("jpeg_ls.dcm", &size);
    uint8_t *uid = memmem(jpeg, size, "1.2.840.10008.1.2.4.80", 22);
    memcpy(uid, "1.2.840.10008.1.2.4.90", 22);
    ck_assert_int_eq(dg_image_probe(jpeg, size, NULL, &info, reason), DG_EDATA);
    ck_assert_msg(strstr(reason, "JPEG 2000") != NULL, "%s", reason);
    free(jpeg);
}
END_TEST

/* Or was this program built without DCMTK? Then there is nothing to test. */
static bool dicom_is_read(void) {
    char reason[DG_REASON_BYTES] = "";
    uint8_t head[200] = {[128] = 'D', 'I', 'C', 'M'};
    dg_image_info info;
    (void)!dg_image_probe(head, sizeof head, NULL, &info, reason);
    return strstr(reason, "this build of diffgen") == NULL;
}

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("dicom");
    TCase *tcase = tcase_create("dicom");
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    if (!dicom_is_read())
        return suite;
    tcase_add_loop_test(tcase, grey_values, 0, sizeof greys / sizeof greys[0]);
    tcase_add_test(tcase, colours);
    tcase_add_test(tcase, a_window_is_in_the_files_own_units);
    tcase_add_test(tcase, a_windowed_data_set);
    tcase_add_test(tcase, an_automatic_window_is_in_the_files_own_units);
    tcase_add_test(tcase, different_scales_are_said);
    tcase_add_test(tcase, the_decoder_never_sees_a_patient);
    tcase_add_loop_test(tcase, damage_is_noticed_and_not_quoted, 0, 5);
    tcase_add_test(tcase, forms_that_are_not_read_are_named);
    return suite;
}
