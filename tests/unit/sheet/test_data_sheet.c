/* Real images as the model sees them: which are shown, where, and what they look like. */
#include "sheet/data_sheet.h"

#include "unit/data/data_fixture.h"

enum { CELL = 64, STEP = CELL + 2, MARGIN = 6, LETTER = 12 };

static dg_ctx *ctx;

static void set_up(void) {
    ctx = dg_test_context();
}

static void tear_down(void) {
    dg_ctx_free(ctx);
}

/* A grey image of one value. */
static void put_grey(const char *name, int value, int width, int height) {
    uint8_t bytes[1024];
    const int header = sprintf((char *)bytes, "P5 %d %d 255\n", width, height);
    memset(bytes + header, value, (size_t)(width * height));
    put(name, bytes, (size_t)(header + width * height));
}

static dg_dataset *open_set(const char *name, dg_fit fit) {
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    options.path = in_dir(name);
    options.resolution = 8;
    options.fit = fit;
    options.background = "#404040";
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    return dataset;
}

static dg_image read_sheet(const dg_dataset *dataset, bool private) {
    static uint8_t bytes[1 << 22];
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    DG_CK(ctx, dg_data_sheet_write(ctx, in_dir("sheet.png"), dataset, private));
    FILE *file = fopen(in_dir("sheet.png"), "rb");
    ck_assert_ptr_nonnull(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    ck_assert_msg(dg_image_decode(bytes, size, NULL, &image, reason) == DG_OK, "%s", reason);
    ck_assert_int_eq(image.channels, 1);
    return image;
}

static int at(const dg_image *image, int x, int y) {
    ck_assert(x < image->width && y < image->height);
    return ((const uint8_t *)image->pixels)[y * image->width + x];
}

START_TEST(each_class_has_a_row) {
    char name[32];
    put_grey("set/a/1.pgm", 10, 8, 8);
    put_grey("set/a/2.pgm", 20, 8, 8);
    for (int k = 0; k < 30; k++) {
        snprintf(name, sizeof name, "set/b/%02d.pgm", k);
        put_grey(name, 100 + k, 8, 8);
    }
    dg_dataset *dataset = open_set("set", DG_FIT_CROP);
    dg_image sheet = read_sheet(dataset, false);
    const int left = 2 * MARGIN + LETTER, middle = MARGIN + CELL / 2;
    ck_assert_int_eq(sheet.width, left + 10 * STEP - 2 + MARGIN);
    ck_assert_int_eq(sheet.height, 2 * MARGIN + 2 * STEP - 2);
    ck_assert_int_eq(at(&sheet, left + CELL / 2, middle), 10);
    ck_assert_int_eq(at(&sheet, left + STEP + CELL / 2, middle), 20);
    ck_assert_int_eq(at(&sheet, left + 2 * STEP + CELL / 2, middle), 0xf4); /* the class has no third image */
    for (int c = 0; c < 10; c++)
        ck_assert_int_eq(at(&sheet, left + c * STEP + CELL / 2, middle + STEP), 100 + 3 * c);
    dg_image_free(&sheet);
    dg_dataset_free(dataset);
}
END_TEST

START_TEST(images_are_shown_as_they_are_read) {
    put_grey("wide/1.pgm", 200, 16, 8);
    put_grey("wide/2.pgm", 210, 16, 8);
    dg_dataset *dataset = open_set("wide", DG_FIT_PAD);
    dg_image sheet = read_sheet(dataset, false);
    ck_assert_int_eq(at(&sheet, MARGIN + CELL / 2, MARGIN + CELL / 2), 200);
    ck_assert_int_eq(at(&sheet, MARGIN + STEP + CELL / 2, MARGIN + CELL / 2), 210);
    ck_assert_int_eq(at(&sheet, MARGIN + CELL / 2, MARGIN + 2), 0x40); /* the bars */
    ck_assert_int_eq(at(&sheet, MARGIN + CELL / 2, MARGIN + CELL - 3), 0x40);
    dg_image_free(&sheet);
    dg_dataset_free(dataset);
}
END_TEST

START_TEST(a_private_sheet_says_so) {
    put_grey("one/1.pgm", 200, 8, 8);
    put_grey("one/2.pgm", 210, 8, 8);
    dg_dataset *dataset = open_set("one", DG_FIT_CROP);
    dg_image open_sheet = read_sheet(dataset, false), sheet = read_sheet(dataset, true);
    const int caption = 2 * 7 + MARGIN; /* its letters, and a margin below them */
    int ink = 0;
    ck_assert_int_eq(sheet.height, open_sheet.height + caption);
    for (int y = MARGIN; y < MARGIN + 14; y++)
        for (int x = 0; x < sheet.width; x++)
            ink += at(&sheet, x, y) == 0x28;
    ck_assert_int_gt(ink, 500);
    ck_assert_int_eq(at(&sheet, MARGIN + CELL / 2, MARGIN + caption + CELL / 2), 200);
    dg_image_free(&sheet);
    dg_image_free(&open_sheet);
    dg_dataset_free(dataset);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("data_sheet");
    TCase *tcase = tcase_create("data_sheet");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, each_class_has_a_row);
    tcase_add_test(tcase, images_are_shown_as_they_are_read);
    tcase_add_test(tcase, a_private_sheet_says_so);
    suite_add_tcase(suite, tcase);
    return suite;
}
