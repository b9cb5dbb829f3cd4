#include "decode/resize.h"

#include "unit/data/data_fixture.h"

static dg_image image8(int width, int height, int channels, uint8_t *pixels) {
    return (dg_image){.width = width, .height = height, .channels = channels, .bits = 8, .pixels = pixels};
}
static dg_image image16(int width, int height, int channels, uint16_t *pixels) {
    return (dg_image){.width = width, .height = height, .channels = channels, .bits = 16, .pixels = pixels};
}

START_TEST(the_right_size_is_copied) {
    uint8_t pixels[16 * 3], out[16 * 3];
    for (int i = 0; i < 48; i++)
        pixels[i] = (uint8_t)(i * 5);
    dg_image image = image8(4, 4, 3, pixels);
    dg_resize_spec spec = {.resolution = 4, .channels = 3, .bits = 8};
    ck_assert_uint_eq(dg_resize_bytes(&spec), 48);
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    ck_assert_mem_eq(out, pixels, 48);
}
END_TEST

START_TEST(the_centre_is_cropped) {
    uint8_t wide[4 * 10], tall[10 * 4], out[16];
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 10; x++) {
            wide[y * 10 + x] = (uint8_t)(16 * y + x);
            tall[x * 4 + y] = (uint8_t)(16 * y + x);
        }
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 8};
    dg_image image = image8(10, 4, 1, wide);
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(out[i], 16 * (i / 4) + 3 + i % 4);
    image = image8(4, 10, 1, tall);
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(out[i], 16 * (i % 4) + 3 + i / 4);
}
END_TEST

START_TEST(an_image_is_padded_with_the_background) {
    uint8_t wide[4 * 8], out[64 * 3];
    for (int i = 0; i < 32; i++)
        wide[i] = (uint8_t)(i + 1);
    dg_image image = image8(8, 4, 1, wide);
    dg_resize_spec spec = {.resolution = 8, .channels = 1, .bits = 8, .fit = DG_FIT_PAD, .background = {255, 0, 0}};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 64; i++) /* 2 rows of the background's brightness, 4 of the image, 2 more */
        ck_assert_int_eq(out[i], i < 16 || i >= 48 ? 76 : i - 15);
    /* Bars of a tall image lie left and right, and are coloured in a coloured one. */
    image = image8(4, 8, 1, wide);
    spec.channels = 3;
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 64; i++) {
        const int x = i % 8, value = x < 2 || x >= 6 ? -1 : i / 8 * 4 + x - 1;
        ck_assert_int_eq(out[3 * i], value < 0 ? 255 : value);
        ck_assert_int_eq(out[3 * i + 1], value < 0 ? 0 : value);
    }
    /* A constant image stays constant when it is made smaller, up to the bars; the window applies to those as well. */
    memset(wide, 100, sizeof wide);
    image = image8(8, 4, 1, wide);
    spec = (dg_resize_spec){.resolution = 4, .channels = 1, .bits = 8, .fit = DG_FIT_PAD, .background = {50, 50, 50}};
    spec.window_hi = 100;
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(out[i], i < 4 || i >= 12 ? 128 : 255);
    /* A line of pixels is still there. */
    uint8_t line[4 * 4096];
    memset(line, 9, sizeof line);
    image = image8(4096, 4, 1, line);
    spec = (dg_resize_spec){.resolution = 8, .channels = 1, .bits = 8, .fit = DG_FIT_PAD};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    int nines = 0;
    for (int i = 0; i < 64; i++)
        nines += out[i] == 9;
    ck_assert_int_eq(nines, 8);
}
END_TEST

START_TEST(an_image_is_stretched) {
    uint8_t wide[4 * 8], out[16];
    for (int i = 0; i < 32; i++)
        wide[i] = (uint8_t)(i % 8 < 2 ? 40 : i % 8 < 6 ? 80 : 120);
    dg_image image = image8(8, 4, 1, wide);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 8, .fit = DG_FIT_STRETCH};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 16; i++) /* each two columns in one; a crop would have lost the 40 and the 120 */
        ck_assert_int_eq(out[i], i % 4 == 0 ? 40 : i % 4 == 3 ? 120 : 80);
}
END_TEST

START_TEST(downscaling_is_the_area_mean) {
    uint8_t pixels[8 * 8], out[16];
    for (int i = 0; i < 64; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    dg_image image = image8(8, 8, 1, pixels);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 8};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++) {
            const uint8_t *p = pixels + 16 * y + 2 * x;
            double mean = (p[0] + p[1] + p[8] + p[9]) / 4.0;
            ck_assert_msg(abs((int)(out[4 * y + x] * 4) - (int)(mean * 4)) <= 2, "pixel %d,%d", x, y);
        }
}
END_TEST

START_TEST(sixteen_bits_keep_their_precision) {
    /* Values within one 8-bit step of each other, and a mean that 8 bits could not hold. */
    uint16_t pixels[8 * 8], out[16];
    for (int i = 0; i < 64; i++)
        pixels[i] = (uint16_t)(30000 + (i % 2) * 10 + (i / 8 % 2) * 4);
    dg_image image = image16(8, 8, 1, pixels);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 16};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(out[i], 30007);
}
END_TEST

START_TEST(upscaling_keeps_constants_and_range) {
    uint8_t flat[16], steps[16], out[16 * 16];
    memset(flat, 77, sizeof flat);
    for (int i = 0; i < 16; i++)
        steps[i] = i % 4 < 2 ? 0 : 255;
    dg_resize_spec spec = {.resolution = 16, .channels = 1, .bits = 8};
    dg_image image = image8(4, 4, 1, flat);
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 256; i++)
        ck_assert_int_eq(out[i], 77);
    image = image8(4, 4, 1, steps);
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 0);
    ck_assert_int_eq(out[15], 255);
    ck_assert_int_gt(out[8], out[7]);
}
END_TEST

START_TEST(channels_are_converted) {
    uint8_t rgb[16 * 3], grey[16], out[16 * 3];
    for (int i = 0; i < 16; i++) {
        rgb[3 * i] = 200;
        rgb[3 * i + 1] = 100;
        rgb[3 * i + 2] = 50;
        grey[i] = (uint8_t)i;
    }
    dg_image image = image8(4, 4, 3, rgb);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 8};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 124); /* 0.299*200 + 0.587*100 + 0.114*50 = 124.2 */
    ck_assert(!dg_image_is_grey(&image));
    memset(rgb, 9, sizeof rgb);
    ck_assert(dg_image_is_grey(&image));
    rgb[47] = 8;
    ck_assert(!dg_image_is_grey(&image));
    image = image8(4, 4, 1, grey);
    ck_assert(dg_image_is_grey(&image));
    spec.channels = 3;
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    for (int i = 0; i < 48; i++)
        ck_assert_int_eq(out[i], i / 3);
    /* Luma of equal channels is that value, in both depths. */
    spec.channels = 1;
    for (int v = 0; v < 256; v++) {
        memset(rgb, v, sizeof rgb);
        image = image8(4, 4, 3, rgb);
        ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
        ck_assert_int_eq(out[5], v);
    }
}
END_TEST

START_TEST(depth_is_converted) {
    uint8_t small[16] = {0, 1, 128, 255}, narrow[16];
    uint16_t wide[16], large[16] = {0, 257, 300, 65535, 128 * 257};
    dg_image image = image8(4, 4, 1, small);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 16};
    ck_assert_int_eq(dg_image_fit(&image, &spec, wide), DG_OK);
    ck_assert_int_eq(wide[1], 257);
    ck_assert_int_eq(wide[2], 128 * 257);
    ck_assert_int_eq(wide[3], 65535);
    image = image16(4, 4, 1, large);
    spec.bits = 8;
    ck_assert_int_eq(dg_image_fit(&image, &spec, narrow), DG_OK);
    ck_assert_int_eq(narrow[0], 0);
    ck_assert_int_eq(narrow[1], 1);
    ck_assert_int_eq(narrow[2], 1);
    ck_assert_int_eq(narrow[3], 255);
    ck_assert_int_eq(narrow[4], 128);
}
END_TEST

START_TEST(a_window_maps_and_clamps) {
    uint16_t pixels[16] = {0, 1000, 1500, 2000, 40000, 1001}, out[16];
    dg_image image = image16(4, 4, 1, pixels);
    dg_resize_spec spec = {.resolution = 4, .channels = 1, .bits = 16, .window_lo = 1000, .window_hi = 2000};
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 0);
    ck_assert_int_eq(out[1], 0);
    ck_assert_int_eq(out[2], 32768);
    ck_assert_int_eq(out[3], 65535);
    ck_assert_int_eq(out[4], 65535);
    ck_assert_int_eq(out[5], 66);
    /* Below zero values are signed: 65535 is -1; a stretched image of 8 bits has no sign. */
    uint16_t wrapped[16] = {65535, 0, 64536, 1000, 32767, 32768};
    uint8_t bytes[16] = {255};
    dg_image signed_image = image16(4, 4, 1, wrapped);
    spec.window_lo = -1000;
    spec.window_hi = 1000;
    ck_assert_int_eq(dg_image_fit(&signed_image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 32735);
    ck_assert_int_eq(out[1], 32768);
    ck_assert_int_eq(out[2], 0);
    ck_assert_int_eq(out[3], 65535);
    ck_assert_int_eq(out[4], 65535);
    ck_assert_int_eq(out[5], 0);
    signed_image = image8(4, 4, 1, bytes);
    ck_assert_int_eq(dg_image_fit(&signed_image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 65535);
    spec.window_lo = 2000;
    spec.window_hi = 1000;
    ck_assert_int_eq(dg_image_fit(&image, &spec, out), DG_OK);
    ck_assert_int_eq(out[0], 65535);
    ck_assert_int_eq(out[3], 0);
    ck_assert_int_eq(out[4], 0);
}
END_TEST

START_TEST(a_bad_spec_is_refused) {
    uint8_t pixels[16] = {0}, out[64];
    dg_image image = image8(4, 4, 1, pixels);
    dg_resize_spec bad[] = {{.resolution = 0, .channels = 1, .bits = 8},
                            {.resolution = 4, .channels = 2, .bits = 8},
                            {.resolution = 4, .channels = 1, .bits = 12},
                            {.resolution = 4, .channels = 1, .bits = 8, .window_hi = 256}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(dg_image_fit(&image, &bad[i], out), DG_EINVAL);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("resize");
    TCase *tcase = tcase_create("resize");
    tcase_add_test(tcase, the_right_size_is_copied);
    tcase_add_test(tcase, the_centre_is_cropped);
    tcase_add_test(tcase, an_image_is_padded_with_the_background);
    tcase_add_test(tcase, an_image_is_stretched);
    tcase_add_test(tcase, downscaling_is_the_area_mean);
    tcase_add_test(tcase, sixteen_bits_keep_their_precision);
    tcase_add_test(tcase, upscaling_keeps_constants_and_range);
    tcase_add_test(tcase, channels_are_converted);
    tcase_add_test(tcase, depth_is_converted);
    tcase_add_test(tcase, a_window_maps_and_clamps);
    tcase_add_test(tcase, a_bad_spec_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
