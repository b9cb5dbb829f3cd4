/* PNG: what is written reads back pixel for pixel with its texts, always the same bytes; hostile files are refused.
 * Contact sheets: geometry, enlargement, labels. */
#include "core/fs.h"
#include "io/font.h"
#include "io/grid.h"
#include "io/png.h"
#include "support/test_main.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static dg_ctx *ctx;

static void setup(void) {
    ctx = dg_test_context();
}

static void teardown(void) {
    dg_ctx_free(ctx);
}

typedef struct memory {
    const char *data;
    size_t size, position;
} memory;

static void read_memory(png_structp png, png_bytep out, size_t n) {
    memory *m = png_get_io_ptr(png);
    ck_assert_uint_le(n, m->size - m->position);
    memcpy(out, m->data + m->position, n);
    m->position += n;
}

/* Decodes with libpng to rows of host-order samples; *chunks the texts it found. */
static unsigned char *decode(const dg_str *file, png_uint_32 *w, png_uint_32 *h, int *bits, int *type,
                             char texts[512]) {
    memory m = {file->data, file->length, 0};
    png_textp list = NULL;
    int count = 0;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    ck_assert_int_eq(setjmp(png_jmpbuf(png)), 0);
    png_set_read_fn(png, &m, read_memory);
    png_read_png(png, info, PNG_TRANSFORM_SWAP_ENDIAN, NULL);
    png_get_IHDR(png, info, w, h, bits, type, NULL, NULL, NULL);
    const size_t row = png_get_rowbytes(png, info);
    unsigned char *pixels = malloc(row * *h);
    for (png_uint_32 y = 0; y < *h; y++)
        memcpy(pixels + y * row, png_get_rows(png, info)[y], row);
    texts[0] = '\0';
    png_get_text(png, info, &list, &count);
    for (int i = 0; i < count; i++)
        sprintf(texts + strlen(texts), "%d %s=%s;", list[i].compression, list[i].key, list[i].text);
    ck_assert_uint_eq(png_get_valid(png, info, PNG_INFO_tIME), 0);
    png_destroy_read_struct(&png, &info, NULL);
    return pixels;
}

static const struct {
    int64_t height, width;
    int channels, bits;
} kinds[] = {{1, 1, 1, 8}, {28, 28, 1, 8}, {5, 7, 3, 8}, {64, 64, 3, 8}, {9, 3, 1, 16}, {6, 5, 3, 16}};

START_TEST(test_round_trip) {
    const int64_t n = kinds[_i].height * kinds[_i].width * kinds[_i].channels * kinds[_i].bits / 8;
    unsigned char *pixels = malloc((size_t)n);
    for (int64_t i = 0; i < n; i++)
        pixels[i] = (unsigned char)(i * 37 + i / 11);
    const dg_png_image image = {.height = kinds[_i].height,
                                .width = kinds[_i].width,
                                .channels = kinds[_i].channels,
                                .bits = kinds[_i].bits,
                                .pixels = pixels};
    dg_str a = {0}, b = {0};
    char texts[512];
    png_uint_32 w, h;
    int bits, type;
    DG_CK(ctx, dg_png_encode(ctx, &image, "{\"class\":\"größe\"}", "Steps: 25", &a));
    DG_CK(ctx, dg_png_encode(ctx, &image, "{\"class\":\"größe\"}", "Steps: 25", &b));
    ck_assert_uint_eq(a.length, b.length);
    ck_assert_mem_eq(a.data, b.data, a.length);
    unsigned char *back = decode(&a, &w, &h, &bits, &type, texts);
    ck_assert_int_eq(w, kinds[_i].width);
    ck_assert_int_eq(h, kinds[_i].height);
    ck_assert_int_eq(bits, kinds[_i].bits);
    ck_assert_int_eq(type, kinds[_i].channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB);
    ck_assert_mem_eq(back, pixels, (size_t)n);
    ck_assert_ptr_nonnull(strstr(texts, "1 diffgen={\"class\":\"größe\"};"));
    ck_assert_ptr_nonnull(strstr(texts, "-1 parameters=Steps: 25;"));
    free(back);
    DG_CK(ctx, dg_png_encode(ctx, &image, NULL, NULL, &a));
    back = decode(&a, &w, &h, &bits, &type, texts);
    ck_assert_str_eq(texts, "");
    free(back);
    free(pixels);
    dg_str_free(&a);
    dg_str_free(&b);
}
END_TEST

START_TEST(test_encode_refuses) {
    const unsigned char pixel[8] = {0};
    const dg_png_image wrong[] = {
        {0, 1, 1, 8, pixel}, {1, 0, 1, 8, pixel}, {1, 65536, 1, 8, pixel}, {1, 1, 2, 8, pixel}, {1, 1, 1, 4, pixel}};
    dg_str out = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(dg_png_encode(ctx, &wrong[i], NULL, NULL, &out), DG_EINVAL);
    dg_str_free(&out);
}
END_TEST

/* ---- reading --------------------------------------------------------------------------------------------------- */

static void chunk(dg_str *out, const char *type, const void *body, size_t n) {
    const uLong crc = crc32(crc32(0, (const Bytef *)type, 4), body, (uInt)n);
    const unsigned char length[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                     (unsigned char)n};
    const unsigned char sum[4] = {(unsigned char)(crc >> 24), (unsigned char)(crc >> 16), (unsigned char)(crc >> 8),
                                  (unsigned char)crc};
    dg_str_append_bytes(out, length, 4);
    dg_str_append_bytes(out, type, 4);
    dg_str_append_bytes(out, body, n);
    dg_str_append_bytes(out, sum, 4);
}

static dg_status read_made(const dg_str *file, dg_png_info *info) {
    char *path = dg_fs_join(dg_test_dir(), "made.png");
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, file->data, file->length));
    dg_ctx_clear_error(ctx);
    const dg_status status = dg_png_read_info(ctx, path, info);
    free(path);
    return status;
}

static const char signature[] = "\x89PNG\r\n\x1a\n";
static const char header[] = "\0\0\0\5\0\0\0\7\x10\2\0\0"; /* and the terminating zero: 5x7, 16 bits, RGB */

START_TEST(test_read_own_file) {
    unsigned char pixels[12] = {1, 2, 3};
    const dg_png_image image = {.height = 2, .width = 2, .channels = 3, .bits = 8, .pixels = pixels};
    dg_str file = {0};
    dg_png_info info = {0};
    DG_CK(ctx, dg_png_encode(ctx, &image, "{\"seed\":7}", "text", &file));
    DG_CK(ctx, read_made(&file, &info));
    ck_assert_int_eq(info.width, 2);
    ck_assert_int_eq(info.channels, 3);
    ck_assert_int_eq(info.bits, 8);
    ck_assert_int_eq(json_integer_value(json_object_get(info.provenance, "seed")), 7);
    ck_assert_str_eq(info.parameters, "text");
    dg_png_info_free(&info);
    /* Every cut is noticed. */
    for (size_t n = 0; n < file.length; n++) {
        const dg_str cut = {.data = file.data, .length = n};
        dg_png_info other = {0};
        ck_assert_int_eq(read_made(&cut, &other), DG_EDATA);
        dg_png_info_free(&other);
    }
    /* Text that is not ASCII reads back as well. */
    DG_CK(ctx, dg_png_encode(ctx, &image, NULL, "Class: größe", &file));
    DG_CK(ctx, read_made(&file, &info));
    ck_assert_ptr_null(info.provenance);
    ck_assert_str_eq(info.parameters, "Class: größe");
    dg_png_info_free(&info);
    dg_str_free(&file);
}
END_TEST

START_TEST(test_read_compressed_text) {
    static const char json[] = "{\"a\":[1,2,3]}";
    unsigned char body[256] = "diffgen\0\1\0\0\0";
    uLongf n = sizeof body - 12;
    dg_str file = {0};
    dg_png_info info = {0};
    ck_assert_int_eq(compress(body + 12, &n, (const Bytef *)json, sizeof json - 1), Z_OK);
    dg_str_append_bytes(&file, signature, 8);
    chunk(&file, "IHDR", header, 13);
    chunk(&file, "iTXt", body, 12 + n);
    chunk(&file, "IEND", "", 0);
    DG_CK(ctx, read_made(&file, &info));
    ck_assert_int_eq(info.width, 5);
    ck_assert_int_eq(info.height, 7);
    ck_assert_int_eq(info.bits, 16);
    ck_assert_uint_eq(json_array_size(json_object_get(info.provenance, "a")), 3);
    dg_png_info_free(&info);
    dg_str_free(&file);
}
END_TEST

START_TEST(test_read_refuses) {
    static const struct {
        const char *text;
        size_t size;
    } texts[] = {
        {"diffgen\0\0\0\0", 11},                    /* no end of the translated keyword */
        {"diffgen\0\2\0\0\0{}", 14},                /* no such compression flag */
        {"diffgen\0\1\0\0\0not zlib", 20},          /* not zlib data */
        {"diffgen\0\0\0\0\0[1]", 15},               /* not an object */
        {"diffgen\0\0\0\0\0{\"a\":1,\"a\":2}", 25}, /* duplicate key */
        {"diffgen\0\0\0\0\0", 12},                  /* empty */
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dg_str file = {0};
        dg_png_info info = {0};
        dg_str_append_bytes(&file, signature, 8);
        chunk(&file, "IHDR", header, 13);
        chunk(&file, "iTXt", texts[i].text, texts[i].size);
        chunk(&file, "IEND", "", 0);
        ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
        dg_png_info_free(&info);
        dg_str_free(&file);
    }
}
END_TEST

START_TEST(test_read_refuses_structure) {
    static const char bomb_head[] = "diffgen\0\1\0\0\0";
    dg_str file = {0};
    dg_png_info info = {0};
    /* a deflate bomb: 4 MiB of spaces */
    char *spaces = malloc(4 << 20);
    memset(spaces, ' ', 4 << 20);
    uLongf n = compressBound(4 << 20);
    unsigned char *body = malloc(12 + n);
    memcpy(body, bomb_head, 12);
    compress(body + 12, &n, (const Bytef *)spaces, 4 << 20);
    dg_str_append_bytes(&file, signature, 8);
    chunk(&file, "IHDR", header, 13);
    chunk(&file, "iTXt", body, 12 + n);
    chunk(&file, "IEND", "", 0);
    ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
    /* a damaged checksum of the text */
    dg_str_clear(&file);
    dg_str_append_bytes(&file, signature, 8);
    chunk(&file, "IHDR", header, 13);
    chunk(&file, "tEXt", "parameters\0x", 12);
    file.data[file.length - 1] ^= 1;
    chunk(&file, "IEND", "", 0);
    ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
    /* a chunk that claims 2 GiB */
    dg_str_clear(&file);
    dg_str_append_bytes(&file, signature, 8);
    chunk(&file, "IHDR", header, 13);
    dg_str_append_bytes(&file, "\x7f\xff\xff\xffIDATxxxx", 12);
    ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
    /* the header is not first; not a PNG */
    dg_str_clear(&file);
    dg_str_append_bytes(&file, signature, 8);
    chunk(&file, "IEND", "", 0);
    ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
    dg_str_clear(&file);
    dg_str_append(&file, "GIF89a, not a PNG");
    ck_assert_int_eq(read_made(&file, &info), DG_EDATA);
    ck_assert_int_eq(dg_png_read_info(ctx, "/nowhere.png", &info), DG_ENOINPUT);
    dg_png_info_free(&info);
    dg_str_free(&file);
    free(spaces);
    free(body);
}
END_TEST

/* ---- contact sheets ------------------------------------------------------------------------------------------- */

START_TEST(test_grid_geometry) {
    uint8_t cells_data[4][4 * 4];
    const void *cells[6];
    for (int i = 0; i < 4; i++)
        memset(cells_data[i], 10 + 50 * i, sizeof cells_data[i]);
    cells_data[0][5] = 200; /* row 1, column 1 of the first image */
    cells[0] = cells_data[0], cells[1] = cells_data[1], cells[2] = NULL;
    cells[3] = cells_data[2], cells[4] = NULL, cells[5] = cells_data[3];
    const dg_grid_spec spec = {
        .rows = 2, .columns = 3, .height = 4, .width = 4, .channels = 1, .bits = 8, .cells = cells, .scale = 3};
    dg_str file = {0};
    png_uint_32 w, h;
    int bits, type;
    char texts[512];
    DG_CK(ctx, dg_grid_encode(ctx, &spec, &file));
    unsigned char *p = decode(&file, &w, &h, &bits, &type, texts);
    ck_assert_int_eq(w, 6 + 3 * 14 - 2 + 6);
    ck_assert_int_eq(h, 6 + 2 * 14 - 2 + 6);
#define AT(x, y) p[(y) * (int)w + (x)]
    ck_assert_int_eq(AT(0, 0), 0xf4);
    ck_assert_int_eq(AT(6, 6), 10);
    ck_assert_int_eq(AT(6 + 3, 6 + 3), 200); /* enlarged three times */
    ck_assert_int_eq(AT(6 + 5, 6 + 5), 200);
    ck_assert_int_eq(AT(6 + 6, 6 + 5), 10);
    ck_assert_int_eq(AT(6 + 14, 6), 60);
    ck_assert_int_eq(AT(6 + 12, 6), 0xf4); /* gap */
    ck_assert_int_eq(AT(6 + 28, 6), 0xf4); /* empty cell */
    ck_assert_int_eq(AT(6, 6 + 14), 110);
    ck_assert_int_eq(AT(6 + 28, 6 + 14), 160);
#undef AT
    free(p);
    dg_str_free(&file);
}
END_TEST

START_TEST(test_grid_labels_and_16_bits) {
    static const char *const labels[2] = {"I", "größe: a very long class name"};
    uint16_t image[64 * 64 * 3];
    const void *cells[2] = {image, image};
    for (size_t i = 0; i < sizeof image / sizeof *image; i++)
        image[i] = 0xabcd;
    const dg_grid_spec spec = {.rows = 2,
                               .columns = 1,
                               .height = 64,
                               .width = 64,
                               .channels = 3,
                               .bits = 16,
                               .cells = cells,
                               .row_labels = labels};
    dg_str file = {0};
    png_uint_32 w, h;
    int bits, type, ink = 0;
    char texts[512];
    DG_CK(ctx, dg_grid_encode(ctx, &spec, &file));
    unsigned char *p = decode(&file, &w, &h, &bits, &type, texts);
    const int left = 6 + 20 * 12 + 6;
    ck_assert_int_eq(type, PNG_COLOR_TYPE_RGB);
    ck_assert_int_eq(bits, 8);
    ck_assert_int_eq(w, left + 64 + 6); /* scale 1: wide enough as it is */
    ck_assert_int_eq(p[(6 * (int)w + left) * 3], 0xab);
    for (int y = 6; y < 70; y++)
        for (int x = 0; x < left; x++)
            ink += p[(y * (int)w + x) * 3] == 0x28;
    int expected = 0;
    for (int y = 0; y < DG_FONT_HEIGHT; y++)
        for (int x = 0; x < DG_FONT_WIDTH; x++)
            expected += dg_font_pixel('I', y, x);
    ck_assert_int_eq(ink, expected * 4);
    free(p);
    dg_str_free(&file);
}
END_TEST

START_TEST(test_grid_refuses) {
    const void *cells[1] = {NULL};
    dg_grid_spec spec = {.rows = 1, .columns = 1, .height = 4, .width = 4, .channels = 1, .bits = 8, .cells = cells};
    dg_str file = {0};
    spec.channels = 2;
    ck_assert_int_eq(dg_grid_encode(ctx, &spec, &file), DG_EINVAL);
    spec.channels = 1;
    spec.rows = 0;
    ck_assert_int_eq(dg_grid_encode(ctx, &spec, &file), DG_EINVAL);
    spec.rows = 2000; /* 2000 rows of 66 pixels */
    ck_assert_int_eq(dg_grid_encode(ctx, &spec, &file), DG_EINVAL);
    spec.rows = 1;
    DG_CK(ctx, dg_grid_encode(ctx, &spec, &file));
    ck_assert_int_eq(dg_grid_write_png(ctx, "/proc/nowhere/x.png", &spec), DG_ECREATE);
    dg_str_free(&file);
}
END_TEST

/* No two characters may look alike, none but the space may be empty. */
START_TEST(test_font) {
    for (int a = 32; a < 127; a++) {
        int set = 0;
        for (int b = 32; b <= a; b++) {
            int differ = 0;
            for (int y = 0; y < DG_FONT_HEIGHT; y++)
                for (int x = 0; x < DG_FONT_WIDTH; x++) {
                    differ += dg_font_pixel((unsigned char)a, y, x) != dg_font_pixel((unsigned char)b, y, x);
                    set += a == b && dg_font_pixel((unsigned char)a, y, x);
                }
            ck_assert_msg(a == b || differ > 0, "%c and %c", a, b);
        }
        ck_assert((set > 0) == (a != ' '));
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("png");
    TCase *tcase = tcase_create("png");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_round_trip, 0, sizeof kinds / sizeof *kinds);
    tcase_add_test(tcase, test_encode_refuses);
    tcase_add_test(tcase, test_read_own_file);
    tcase_add_test(tcase, test_read_compressed_text);
    tcase_add_test(tcase, test_read_refuses);
    tcase_add_test(tcase, test_read_refuses_structure);
    tcase_add_test(tcase, test_grid_geometry);
    tcase_add_test(tcase, test_grid_labels_and_16_bits);
    tcase_add_test(tcase, test_grid_refuses);
    tcase_add_test(tcase, test_font);
    suite_add_tcase(suite, tcase);
    return suite;
}
