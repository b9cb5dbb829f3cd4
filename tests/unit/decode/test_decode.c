#include "decode/decode.h"

#include "unit/data/data_fixture.h"

#include <zlib.h>

enum { WIDTH = 12, HEIGHT = 10 };

/* What tests/fixtures/data/make_fixtures.py drew. */
static int grey(int x, int y) {
    return (20 * x + 3 * y) % 256;
}
static int grey16(int x, int y) {
    return (5000 * x + 300 * y + 7) % 65536;
}
static int color(int x, int y, int c) {
    return c == 0 ? grey(x, y) : c == 1 ? 255 - grey(x, y) : 7 * y % 256;
}
static int color16(int x, int y, int c) {
    return c == 0 ? grey16(x, y) : c == 1 ? 65535 - grey16(x, y) : 7;
}
static int value_over_white(int value, int x) {
    int alpha = x < WIDTH / 2 ? 255 : 64;
    return (value * alpha + 255 * (255 - alpha) + 127) / 255;
}

typedef enum picture { GREY, COLOR, GREY_AS_COLOR, CHECKER, COLOR_ALPHA, GREY_ALPHA, GREY16, COLOR16, GREY12 } picture;

static int expected(picture p, int x, int y, int c) {
    switch (p) {
    case GREY:
    case GREY_AS_COLOR:
        return grey(x, y);
    case COLOR:
        return color(x, y, c);
    case CHECKER:
        return 255 * ((x + y) % 2);
    case COLOR_ALPHA:
        return value_over_white(color(x, y, c), x);
    case GREY_ALPHA:
        return value_over_white(grey(x, y), x);
    case GREY16:
        return grey16(x, y);
    case GREY12:
        return ((grey16(x, y) >> 4) * 65535 + 2047) / 4095;
    default:
        return color16(x, y, c);
    }
}

static const struct {
    const char *file;
    picture picture;
    int channels, bits, tolerance;
} formats[] = {
    {"grey.png", GREY, 1, 8, 0},
    {"color.png", COLOR, 3, 8, 0},
    {"palette.png", COLOR, 3, 8, 0},
    {"bits1.png", CHECKER, 1, 8, 0},
    {"alpha.png", COLOR_ALPHA, 3, 8, 0},
    {"opaque_alpha.png", COLOR, 3, 8, 0},
    {"grey_alpha.png", GREY_ALPHA, 1, 8, 0},
    {"grey16.png", GREY16, 1, 16, 0},
    {"color16.png", COLOR16, 3, 16, 0},
    {"grey.jpg", GREY, 1, 8, 8},
    {"color.jpg", COLOR, 3, 8, 12},
    {"progressive.jpg", COLOR, 3, 8, 12},
    {"restart.jpg", COLOR, 3, 8, 12},
    {"color.bmp", COLOR, 3, 8, 0},
    {"palette.bmp", GREY_AS_COLOR, 3, 8, 0},
    {"color.tga", COLOR, 3, 8, 0},
    {"rle.tga", COLOR, 3, 8, 0},
    {"grey.tga", GREY, 1, 8, 0},
    {"animated.gif", GREY_AS_COLOR, 3, 8, 0},
    {"color.webp", COLOR, 3, 8, 0},
    {"alpha.webp", COLOR_ALPHA, 3, 8, 0},
    {"animated.webp", COLOR, 3, 8, 0},
    {"grey.tif", GREY, 1, 8, 0},
    {"color.tif", COLOR, 3, 8, 0},
    {"planar.tif", COLOR, 3, 8, 0},
    {"tiled.tif", COLOR, 3, 8, 0},
    {"bigtiff.tif", GREY, 1, 8, 0},
    {"grey16.tif", GREY16, 1, 16, 0},
    {"big_endian16.tif", GREY16, 1, 16, 0},
    {"signed16.tif", GREY16, 1, 16, 0}, /* -32768 is black */
    {"packed12.tif", GREY12, 1, 16, 0},
    {"white_is_zero.tif", GREY, 1, 8, 0},
    {"straight_alpha.tif", COLOR_ALPHA, 3, 8, 0},
    {"palette.tif", COLOR, 3, 8, 0},
    {"bits1.tif", CHECKER, 1, 8, 0},
    {"jpeg.tif", COLOR, 3, 8, 24},
    {"pages.tif", GREY, 1, 8, 0},
};

START_TEST(every_format_has_the_right_pixels) {
    size_t size;
    uint8_t *bytes = load_fixture(formats[_i].file, &size);
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    dg_image_info info = {0};
    if (is_left_out(formats[_i].file))
        return;
    ck_assert_msg(dg_image_probe(bytes, size, NULL, &info, reason) == DG_OK, "%s: %s", formats[_i].file, reason);
    ck_assert_int_eq(info.width, WIDTH);
    ck_assert_int_eq(info.height, HEIGHT);
    ck_assert_int_eq(info.bits, formats[_i].bits);
    ck_assert_int_eq(info.channels, formats[_i].channels);
    ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_OK, "%s: %s", formats[_i].file, reason);
    ck_assert_int_eq(image.width, WIDTH);
    ck_assert_int_eq(image.height, HEIGHT);
    ck_assert_int_eq(image.channels, formats[_i].channels);
    ck_assert_int_eq(image.bits, formats[_i].bits);
    for (int i = 0; i < WIDTH * HEIGHT * image.channels; i++) {
        int pixel = i / image.channels, c = i % image.channels;
        int want = expected(formats[_i].picture, pixel % WIDTH, pixel / WIDTH, c);
        int got = image.bits == 16 ? ((uint16_t *)image.pixels)[i] : ((uint8_t *)image.pixels)[i];
        ck_assert_msg(abs(got - want) <= formats[_i].tolerance, "%s: value %d is %d, not %d", formats[_i].file, i, got,
                      want);
    }
    dg_image_free(&image);
    ck_assert_ptr_null(image.pixels);
    free(bytes);
}
END_TEST

START_TEST(every_truncation_is_noticed) {
    static const char *const files[] = {"color.png", "color.jpg",  "progressive.jpg",
                                        "color.bmp", "color.webp", "alpha.webp"};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        size_t size;
        uint8_t *bytes = load_fixture(files[f], &size);
        for (size_t cut = 0; cut < size; cut++) {
            char reason[DG_REASON_BYTES] = "";
            dg_image image = {0};
            uint8_t *exact = malloc(cut + 1); /* so that the sanitizer sees a read past the cut */
            memcpy(exact, bytes, cut);
            exact = realloc(exact, cut ? cut : 1);
            ck_assert_msg(dg_image_decode(exact, cut, NULL, &image, reason) == DG_EDATA, "%s cut to %zu bytes",
                          files[f], cut);
            ck_assert_str_ne(reason, "");
            ck_assert_ptr_null(image.pixels);
            free(exact);
        }
        free(bytes);
    }
}
END_TEST

START_TEST(truncated_pixel_data_without_an_end_mark) {
    static const struct {
        const char *file;
        size_t cut;
    } cases[] = {{"color.tga", 18 + WIDTH * HEIGHT * 3 - 1}, {"rle.tga", 100}, {"animated.gif", 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *bytes = load_fixture(cases[i].file, &size);
        char reason[DG_REASON_BYTES] = "";
        dg_image_info info;
        ck_assert_uint_gt(size, cases[i].cut);
        ck_assert_int_eq(dg_image_probe(bytes, cases[i].cut, NULL, &info, reason), DG_EDATA);
        ck_assert_msg(strstr(reason, "truncated") != NULL, "%s: %s", cases[i].file, reason);
        free(bytes);
    }
}
END_TEST

static void assert_refused(const uint8_t *bytes, size_t size, const char *word) {
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    dg_image_info info;
    ck_assert_int_eq(dg_image_probe(bytes, size, NULL, &info, reason), DG_EDATA);
    ck_assert_msg(strstr(reason, word) != NULL, "'%s' should be in: %s", word, reason);
    ck_assert_int_eq(dg_image_decode(bytes, size, NULL, &image, reason), DG_EDATA);
    ck_assert_ptr_null(image.pixels);
}

START_TEST(bad_files_are_refused_with_the_reason) {
    static const struct {
        const char *file, *word;
    } cases[] = {{"cmyk.jpg", "CMYK"},
                 {"float.tif", "floating-point"},
                 {"bands.tif", "5 bands"},
                 {"one.png", "1 x 1 pixels is too small"},
                 {"lying.png", "60000 x 60000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *bytes = load_fixture(cases[i].file, &size);
        if (!is_left_out(cases[i].file))
            assert_refused(bytes, size, cases[i].word);
        free(bytes);
    }
    assert_refused((const uint8_t *)"", 0, "empty");
    assert_refused((const uint8_t *)"hello, world: this is no image", 30, "known kind");
    assert_refused((const uint8_t *)"version https://git-lfs.github.com/spec/v1", 42, "Git LFS");
}
END_TEST

static size_t last_scan(const uint8_t *bytes, size_t size) {
    size_t at = size - 2;
    while (bytes[at] != 0xff || bytes[at + 1] != 0xda)
        at--;
    return at + 2 + (size_t)(bytes[at + 2] << 8 | bytes[at + 3]);
}

static void assert_damaged_jpeg(const uint8_t *bytes, size_t size, const char *what, size_t cut) {
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_EDATA, "%s cut at %zu", what, cut);
    ck_assert_msg(strstr(reason, "damaged JPEG") != NULL, "%s", reason);
    ck_assert_ptr_null(image.pixels);
}

/* Pixel data that end early are damage, also if the file is closed as it should be, or goes on behind the gap. */
START_TEST(a_short_jpeg_scan_is_noticed) {
    static const char *const files[] = {"color.jpg", "grey.jpg", "restart.jpg", "progressive.jpg"};
    size_t size;
    uint8_t *bytes = load_fixture(files[_i], &size), *short_file = malloc(size + 8);
    for (size_t cut = last_scan(bytes, size); cut + 4 < size; cut++) {
        memcpy(short_file, bytes, cut);
        memcpy(short_file + cut, "\xff\xd9", 2);
        assert_damaged_jpeg(short_file, cut + 2, files[_i], cut);
        memcpy(short_file + cut, "\xff\xfe\0\4hi\xff\xd9", 8); /* a comment is no pixel either */
        assert_damaged_jpeg(short_file, cut + 8, files[_i], cut);
    }
    free(short_file);
    free(bytes);
}
END_TEST

START_TEST(a_missing_progressive_scan_is_noticed) {
    size_t size;
    uint8_t *bytes = load_fixture("progressive.jpg", &size);
    size_t cut = last_scan(bytes, size), scans = 0;
    while (bytes[cut - 1] != 0xda || bytes[cut - 2] != 0xff)
        cut--;
    cut -= 2; /* where the last scan began; its tables before it harm nobody */
    for (size_t i = 0; i < cut; i++)
        scans += bytes[i] == 0xff && bytes[i + 1] == 0xda;
    ck_assert_uint_gt(scans, 2);
    memcpy(bytes + cut, "\xff\xd9", 2);
    assert_damaged_jpeg(bytes, cut + 2, "progressive.jpg without its last scan", cut);
    free(bytes);
}
END_TEST

START_TEST(a_lost_restart_interval_is_noticed) {
    size_t size, from, to;
    uint8_t *bytes = load_fixture("restart.jpg", &size);
    for (from = last_scan(bytes, size); bytes[from] != 0xff || bytes[from + 1] != 0xd0; from++)
        ;
    for (to = from + 2; bytes[to] != 0xff || bytes[to + 1] != 0xd1; to++)
        ;
    memmove(bytes + from, bytes + to, size - to);
    assert_damaged_jpeg(bytes, size - (to - from), "restart.jpg", from);
    free(bytes);
}
END_TEST

/* A TIFF may end with tags or with pixels; cut anywhere but in its last words it must not decode. */
START_TEST(a_cut_tiff_is_noticed) {
    static const char *const files[] = {"color.tif", "planar.tif", "tiled.tif", "grey16.tif", "bits1.tif", "jpeg.tif"};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        size_t size;
        uint8_t *bytes = load_fixture(files[f], &size);
        for (size_t cut = 0; cut + 8 < size; cut += 1 + cut / 64) {
            char reason[DG_REASON_BYTES] = "";
            dg_image image = {0};
            uint8_t *exact = malloc(cut ? cut : 1);
            memcpy(exact, bytes, cut);
            ck_assert_msg(dg_image_decode(exact, cut, NULL, &image, reason) == DG_EDATA, "%s cut to %zu of %zu bytes",
                          files[f], cut, size);
            ck_assert_str_ne(reason, "");
            free(exact);
        }
        free(bytes);
    }
}
END_TEST

/* The size in a WebP's header is not believed; found by tests/fuzz/fuzz_image.c. */
START_TEST(a_webp_of_no_size_is_refused) {
    size_t size;
    uint8_t *bytes = load_fixture("color.webp", &size);
    for (int length = 0; length < 4 && !is_left_out("color.webp"); length++) {
        memcpy(bytes + 4, (uint8_t[]){(uint8_t)length, 0, 0, 0}, 4);
        assert_refused(bytes, size, "WebP");
    }
    free(bytes);
}
END_TEST

START_TEST(further_frames_and_pages_are_noticed) {
    static const struct {
        const char *file;
        bool more;
    } cases[] = {{"animated.gif", true}, {"animated.webp", true}, {"color.webp", false},
                 {"pages.tif", true},    {"grey.tif", false},     {"grey.png", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        char reason[DG_REASON_BYTES] = "";
        dg_image_info info = {0};
        uint8_t *bytes = load_fixture(cases[i].file, &size);
        if (is_left_out(cases[i].file))
            continue;
        ck_assert_msg(dg_image_probe(bytes, size, NULL, &info, reason) == DG_OK, "%s: %s", cases[i].file, reason);
        ck_assert_msg(info.more_frames == cases[i].more, "%s", cases[i].file);
        free(bytes);
    }
}
END_TEST

START_TEST(the_limit_of_pixels_can_be_set) {
    size_t size;
    char reason[DG_REASON_BYTES] = "";
    dg_image_info info = {0};
    uint8_t *bytes = load_fixture("color.png", &size);
    dg_decode_options options = {.max_pixels = WIDTH * HEIGHT};
    ck_assert_int_eq(dg_image_probe(bytes, size, &options, &info, reason), DG_OK);
    options.max_pixels--;
    ck_assert_int_eq(dg_image_probe(bytes, size, &options, &info, reason), DG_EDATA);
    ck_assert_str_eq(reason, "too large: 12 x 10 pixels, the limit is 119 together (--max-pixels)");
    free(bytes);
}
END_TEST

START_TEST(a_flipped_bit_in_a_png_is_noticed) {
    size_t size;
    uint8_t *bytes = load_fixture("grey16.png", &size);
    bytes[60] ^= 1;
    assert_refused(bytes, size, "checksum");
    free(bytes);
}
END_TEST

/* stb_image 2.27 writes past an array for a table of more than 256 codes; found by tests/fuzz/fuzz_image.c. */
START_TEST(an_oversized_huffman_table_is_refused) {
    size_t size;
    uint8_t *bytes = load_fixture("color.jpg", &size);
    size_t at = 0;
    while (bytes[at] != 0xff || bytes[at + 1] != 0xc4)
        at++;
    memset(bytes + at + 5, 255, 16);
    assert_refused(bytes, size, "Huffman");
    free(bytes);
}
END_TEST

static void put_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static uint8_t *put_chunk(uint8_t *at, const char *type, const uint8_t *data, uint32_t length) {
    put_be32(at, length);
    memcpy(at + 4, type, 4);
    if (length)
        memcpy(at + 8, data, length);
    put_be32(at + 8 + length, (uint32_t)crc32(0, at + 4, length + 4));
    return at + 12 + length;
}

/* A grey PNG of the given size whose IDAT holds `inflated` zero bytes. */
static size_t make_png(uint8_t *out, size_t room, uint32_t width, uint32_t height, size_t inflated) {
    uint8_t header[13] = {0}, *zeros = calloc(1, inflated), *packed = malloc(room);
    uLongf length = room;
    put_be32(header, width);
    put_be32(header + 4, height);
    header[8] = 8;
    ck_assert_int_eq(compress2(packed, &length, zeros, inflated, 9), Z_OK);
    memcpy(out, "\x89PNG\r\n\x1a\n", 8);
    uint8_t *end = put_chunk(out + 8, "IHDR", header, 13);
    end = put_chunk(end, "IDAT", packed, (uint32_t)length);
    end = put_chunk(end, "IEND", NULL, 0);
    free(zeros);
    free(packed);
    return (size_t)(end - out);
}

START_TEST(a_deflate_bomb_is_refused) {
    enum { ROOM = 1 << 20 };
    uint8_t *png = malloc(ROOM);
    char reason[DG_REASON_BYTES];
    dg_image image = {0};
    size_t size = make_png(png, ROOM, 12, 10, 13 * 10);
    ck_assert_int_eq(dg_image_decode(png, size, NULL, &image, reason), DG_OK);
    dg_image_free(&image);
    size = make_png(png, ROOM, 12, 10, (size_t)64 << 20);
    ck_assert_int_eq(dg_image_decode(png, size, NULL, &image, reason), DG_EDATA);
    /* The header's size fits the limits, but not the file. */
    size = make_png(png, ROOM, 8000, 8000, 1000);
    assert_refused(png, size, "header lies");
    free(png);
}
END_TEST

START_TEST(pnm_in_all_its_kinds) {
    static const struct {
        const char *bytes;
        size_t size;
        int channels, bits;
        int first[4]; /* the first values of row 0 */
    } cases[] = {
#define CASE(text) text, sizeof(text) - 1
        {CASE("P1\n4 4\n1010\n0000\n1 1 1 1\n0000\n"), 1, 8, {0, 255, 0, 255}},
        {CASE("P2\n# a comment\n4 4 15\n0 5 10 15 1 1 1 1 1 1 1 1 1 1 1 1\n"), 1, 8, {0, 85, 170, 255}},
        {CASE("P3 4 4 255\n9 8 7 6 5 4 3 2 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 "
              "0 0 "),
         3,
         8,
         {9, 8, 7, 6}},
        {CASE("P4 4 4\n\x50\x00\xf0\x00"), 1, 8, {255, 0, 255, 0}},
        {CASE("P5 4 4 255\nabcdefghijklmnop"), 1, 8, {'a', 'b', 'c', 'd'}},
        {CASE("P5 4 4 65535\n\x01\x02\xff\xff\x00\x00\x80\x00................................"),
         1,
         16,
         {0x102, 0xffff, 0, 0x8000}},
        {CASE("P5 4 4 4095\n\x0f\xff\x00\x00\x08\x00\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
         1,
         16,
         {65535, 0, 32776, 16}},
        {CASE("P6 4 4 255\nabcdefghijklmnopabcdefghijklmnopabcdefghijklmnop"), 3, 8, {'a', 'b', 'c', 'd'}},
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[DG_REASON_BYTES] = "";
        dg_image image = {0};
        ck_assert_msg(dg_image_decode(cases[i].bytes, cases[i].size, NULL, &image, reason) == DG_OK, "case %zu: %s", i,
                      reason);
        ck_assert_int_eq(image.channels, cases[i].channels);
        ck_assert_int_eq(image.bits, cases[i].bits);
        for (int k = 0; k < 4; k++) {
            int got = image.bits == 16 ? ((uint16_t *)image.pixels)[k] : ((uint8_t *)image.pixels)[k];
            ck_assert_msg(got == cases[i].first[k], "case %zu: value %d is %d, not %d", i, k, got, cases[i].first[k]);
        }
        dg_image_free(&image);
    }
}
END_TEST

START_TEST(bad_pnm_is_refused) {
    static const char *const cases[] = {"P5 4 4 255\nabcdefghijklmno",
                                        "P2 4 4 9\n1 2 3 4 5 6 7 8 9 10 1 1 1 1 1 1 ",
                                        "P5 4 4 70000\nabcdefghijklmnopabcdefghijklmnop",
                                        "P5 4 x 255\nabcdefghijklmnop",
                                        "P2 4 4 9\n1 2 3 4 5 6 7 8 9 x 1 1 1 1 1 1 ",
                                        "P5 99999 99999 255\nabc"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[DG_REASON_BYTES] = "";
        dg_image image = {0};
        ck_assert_msg(dg_image_decode(cases[i], strlen(cases[i]), NULL, &image, reason) == DG_EDATA, "%s", cases[i]);
        ck_assert_str_ne(reason, "");
    }
}
END_TEST

START_TEST(transparency_shows_the_background) {
    static const struct {
        const char *file;
        int channels;
    } files[] = {{"alpha.png", 3}, {"alpha.webp", 3}, {"grey_alpha.png", 3}}; /* grey over a colour is coloured */
    const dg_colour background = {200, 100, 0};
    const int below[3] = {200, 100, 0};
    const dg_decode_options options = {.background = &background};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        dg_image image = {0};
        char reason[DG_REASON_BYTES] = "";
        size_t size;
        uint8_t *bytes = load_fixture(files[f].file, &size);
        dg_image_info info;
        if (dg_image_probe(bytes, size, &options, &info, reason) == DG_OK)
            ck_assert_int_eq(info.channels, files[f].channels);
        const dg_status status = dg_image_decode(bytes, size, &options, &image, reason);
        free(bytes);
        if (is_left_out(files[f].file))
            continue;
        ck_assert_msg(status == DG_OK, "%s: %s", files[f].file, reason);
        ck_assert_int_eq(image.channels, files[f].channels);
        for (int i = 0; i < WIDTH * HEIGHT * image.channels; i++) {
            const int c = i % image.channels, x = i / image.channels % WIDTH, y = i / image.channels / WIDTH;
            const int value = strcmp(files[f].file, "grey_alpha.png") == 0 ? grey(x, y) : color(x, y, c);
            const int alpha = x < WIDTH / 2 ? 255 : 64, under = below[c];
            ck_assert_msg(((uint8_t *)image.pixels)[i] == (value * alpha + under * (255 - alpha) + 127) / 255,
                          "%s: value %d is %d", files[f].file, i, ((uint8_t *)image.pixels)[i]);
        }
        dg_image_free(&image);
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("decode");
    TCase *tcase = tcase_create("decode");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, every_format_has_the_right_pixels, 0, sizeof formats / sizeof formats[0]);
    tcase_add_test(tcase, every_truncation_is_noticed);
    tcase_add_test(tcase, truncated_pixel_data_without_an_end_mark);
    tcase_add_test(tcase, bad_files_are_refused_with_the_reason);
    tcase_add_loop_test(tcase, a_short_jpeg_scan_is_noticed, 0, 4);
    tcase_add_test(tcase, a_missing_progressive_scan_is_noticed);
    tcase_add_test(tcase, a_lost_restart_interval_is_noticed);
    tcase_add_test(tcase, a_cut_tiff_is_noticed);
    tcase_add_test(tcase, a_webp_of_no_size_is_refused);
    tcase_add_test(tcase, further_frames_and_pages_are_noticed);
    tcase_add_test(tcase, the_limit_of_pixels_can_be_set);
    tcase_add_test(tcase, a_flipped_bit_in_a_png_is_noticed);
    tcase_add_test(tcase, an_oversized_huffman_table_is_refused);
    tcase_add_test(tcase, a_deflate_bomb_is_refused);
    tcase_add_test(tcase, pnm_in_all_its_kinds);
    tcase_add_test(tcase, bad_pnm_is_refused);
    tcase_add_test(tcase, transparency_shows_the_background);
    suite_add_tcase(suite, tcase);
    return suite;
}
