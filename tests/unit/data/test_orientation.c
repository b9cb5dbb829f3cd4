/* Photos are read upright, whatever the container says it in. */
#include "data/dataset.h"
#include "decode/orientation.h"

#include "unit/data/data_fixture.h"

#include <zlib.h>

enum { WIDTH = 12, HEIGHT = 10 };

/* What stands at x, y once the picture that is stored with this orientation is turned upright, in words of the
 * standard: which edge of what is seen row 0 and column 0 of what is stored are. */
static void stored_position(int orientation, int x, int y, int *sx, int *sy) {
    switch (orientation) {
    case 2: /* row 0 top, column 0 right */
        *sx = WIDTH - 1 - x, *sy = y;
        break;
    case 3: /* bottom, right */
        *sx = WIDTH - 1 - x, *sy = HEIGHT - 1 - y;
        break;
    case 4: /* bottom, left */
        *sx = x, *sy = HEIGHT - 1 - y;
        break;
    case 5: /* row 0 left, column 0 top */
        *sx = y, *sy = x;
        break;
    case 6: /* right, top */
        *sx = y, *sy = HEIGHT - 1 - x;
        break;
    case 7: /* right, bottom */
        *sx = WIDTH - 1 - y, *sy = HEIGHT - 1 - x;
        break;
    case 8: /* left, bottom */
        *sx = WIDTH - 1 - y, *sy = x;
        break;
    default:
        *sx = x, *sy = y;
    }
}

static int grey(int x, int y) {
    return (20 * x + 3 * y) % 256;
}

static void assert_upright(const uint8_t *bytes, size_t size, int orientation, int tolerance, const char *what) {
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    dg_image_info info = {0};
    bool swaps = orientation >= 5;
    ck_assert_msg(dg_image_probe(bytes, size, NULL, &info, reason) == DG_OK, "%s: %s", what, reason);
    ck_assert_int_eq(info.orientation, orientation);
    ck_assert_int_eq(info.width, swaps ? HEIGHT : WIDTH);
    ck_assert_int_eq(info.height, swaps ? WIDTH : HEIGHT);
    ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_OK, "%s: %s", what, reason);
    ck_assert_int_eq(image.width, info.width);
    ck_assert_int_eq(image.height, info.height);
    for (int y = 0; y < image.height; y++) {
        for (int x = 0; x < image.width; x++) {
            int sx, sy, got = ((uint8_t *)image.pixels)[(y * image.width + x) * image.channels];
            stored_position(orientation, x, y, &sx, &sy);
            ck_assert_msg(abs(got - grey(sx, sy)) <= tolerance, "%s, orientation %d at %d, %d: %d, not %d", what,
                          orientation, x, y, got, grey(sx, sy));
        }
    }
    dg_image_free(&image);
}

/* EXIF data with one tag, in either byte order. */
static size_t exif(uint8_t *out, int orientation, bool big) {
    static const uint8_t motorola[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0,
                                       3,   0,   0, 0,  1, 0, 0, 0, 0, 0, 0, 0,    0},
                         intel[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3,
                                    0,   1,   0,  0, 0, 0, 0, 0, 0, 0, 0,    0, 0};
    memcpy(out, big ? motorola : intel, sizeof intel);
    out[big ? 19 : 18] = (uint8_t)orientation;
    return sizeof intel;
}

/* The file with `length` bytes put in at `at`. */
static uint8_t *insert(const uint8_t *bytes, size_t size, size_t at, const uint8_t *what, size_t length) {
    uint8_t *out = malloc(size + length);
    memcpy(out, bytes, at);
    memcpy(out + at, what, length);
    memcpy(out + at + length, bytes + at, size - at);
    return out;
}

static uint8_t *jpeg_with(int orientation, bool big, size_t *size) {
    uint8_t segment[64] = {0xff, 0xe1, 0, 0, 'E', 'x', 'i', 'f', 0, 0}, *bytes = load_fixture("grey.jpg", size);
    size_t length = 10 + exif(segment + 10, orientation, big);
    segment[3] = (uint8_t)(length - 2);
    uint8_t *out = insert(bytes, *size, 2, segment, length);
    free(bytes);
    *size += length;
    return out;
}

START_TEST(jpeg) {
    for (int big = 0; big < 2; big++) {
        size_t size;
        uint8_t *bytes = jpeg_with(_i, big, &size);
        assert_upright(bytes, size, _i, 8, "JPEG");
        free(bytes);
    }
}
END_TEST

START_TEST(png) {
    uint8_t chunk[64] = {0, 0, 0, 0, 'e', 'X', 'I', 'f'};
    size_t size, length = exif(chunk + 8, _i, true);
    chunk[3] = (uint8_t)length;
    uint32_t sum = (uint32_t)crc32(0, chunk + 4, (uInt)length + 4);
    for (int i = 0; i < 4; i++)
        chunk[8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
    uint8_t *bytes = load_fixture("grey.png", &size), *out = insert(bytes, size, 33, chunk, length + 12);
    assert_upright(out, size + length + 12, _i, 0, "PNG");
    free(bytes);
    free(out);
}
END_TEST

START_TEST(webp_and_tiff) {
    static const char *const files[] = {"exif.webp", "oriented.tif"};
    for (int i = 0; i < 2; i++) {
        size_t size;
        uint8_t *bytes = load_fixture(files[i], &size);
        if (!is_left_out(files[i]))
            assert_upright(bytes, size, 6, 0, files[i]);
        free(bytes);
    }
}
END_TEST

/* 16 bits and three channels move as a whole. */
START_TEST(wide_pixels) {
    uint16_t *pixels = malloc(2 * 3 * 3 * sizeof *pixels);
    dg_image image = {.width = 3, .height = 2, .channels = 3, .bits = 16, .pixels = pixels};
    for (int i = 0; i < 18; i++)
        pixels[i] = (uint16_t)(1000 * i);
    ck_assert_int_eq(dg_image_orient(&image, 6), DG_OK);
    const uint16_t *turned = image.pixels;
    ck_assert_int_eq(image.width, 2);
    ck_assert_int_eq(image.height, 3);
    for (int c = 0; c < 3; c++) {
        ck_assert_int_eq(turned[c], 1000 * (9 + c)); /* bottom left is top left now */
        ck_assert_int_eq(turned[3 + c], 1000 * c);
    }
    dg_image_free(&image);
}
END_TEST

START_TEST(damaged_exif_is_no_orientation) {
    uint8_t block[64];
    size_t size = exif(block, 6, true);
    ck_assert_int_eq(dg_exif_orientation(block, size), 6);
    ck_assert_int_eq(dg_exif_orientation(block, 21), 1); /* its entry is cut */
    block[19] = 9;
    ck_assert_int_eq(dg_exif_orientation(block, size), 1);
    memset(block + 4, 0xff, 4); /* a directory behind the end */
    ck_assert_int_eq(dg_exif_orientation(block, size), 1);
    ck_assert_int_eq(dg_exif_orientation(block, 0), 1);
}
END_TEST

START_TEST(a_data_set_counts_them) {
    dg_ctx *ctx = dg_test_context();
    dg_dataset_options options = dg_dataset_options_default();
    dg_dataset *dataset = NULL;
    for (int i = 0; i < 3; i++) {
        size_t size;
        char name[32];
        uint8_t *bytes = jpeg_with(i == 0 ? 1 : 6, true, &size);
        snprintf(name, sizeof name, "photos/%d.jpg", i);
        put(name, bytes, size);
        free(bytes);
    }
    options.path = in_dir("photos");
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    ck_assert_int_eq(dg_dataset_get_report(dataset)->oriented, 2);
    ck_assert_int_eq(dg_dataset_item(dataset, 0)->width, WIDTH);
    ck_assert_int_eq(dg_dataset_item(dataset, 1)->width, HEIGHT);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("orientation");
    TCase *tcase = tcase_create("orientation");
    tcase_add_loop_test(tcase, jpeg, 1, 9);
    tcase_add_loop_test(tcase, png, 1, 9);
    tcase_add_test(tcase, webp_and_tiff);
    tcase_add_test(tcase, wide_pixels);
    tcase_add_test(tcase, damaged_exif_is_no_orientation);
    tcase_add_test(tcase, a_data_set_counts_them);
    suite_add_tcase(suite, tcase);
    return suite;
}
