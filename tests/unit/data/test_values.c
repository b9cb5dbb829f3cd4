/* What values images have, what is said about them, and windows that follow from them. */
#include "data/values.h"

#include "data/reading_options.h"
#include "unit/data/data_fixture.h"

enum { SIDE = 32, PIXELS = SIDE * SIDE };

/* A PGM of 16 bits. */
static void put_deep(const char *name, const int *values) {
    static uint8_t file[64 + 2 * PIXELS];
    const int header = sprintf((char *)file, "P5 %d %d 65535\n", SIDE, SIDE);
    for (int i = 0; i < PIXELS; i++) {
        file[header + 2 * i] = (uint8_t)((unsigned)values[i] >> 8);
        file[header + 2 * i + 1] = (uint8_t)values[i];
    }
    put(name, file, (size_t)header + 2 * PIXELS);
}

static void put_flat(const char *name, const int *values) {
    static uint8_t file[64 + PIXELS];
    const int header = sprintf((char *)file, "P5 %d %d 255\n", SIDE, SIDE);
    for (int i = 0; i < PIXELS; i++)
        file[header + i] = (uint8_t)values[i];
    put(name, file, (size_t)header + PIXELS);
}

static dg_dataset_options options_of_test(void) {
    dg_dataset_options options = dg_dataset_options_default();
    options.path = dg_test_dir();
    options.resolution = SIDE;
    return options;
}

static dg_dataset *open_set(dg_ctx *ctx, dg_dataset_options options) {
    dg_dataset *dataset = NULL;
    DG_CK(ctx, dg_dataset_open(ctx, &options, &dataset));
    return dataset;
}

/* All notes of the data set, one a line. */
static const char *notes_of(dg_ctx *ctx, dg_dataset_options options) {
    static char text[8192];
    dg_dataset *dataset = open_set(ctx, options);
    const dg_dataset_report *report = dg_dataset_get_report(dataset);
    text[0] = 0;
    for (size_t i = 0; i < report->note_count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", report->notes[i]);
    dg_dataset_free(dataset);
    return text;
}

static void has(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in: %s", part, text);
}
static void has_not(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) == NULL, "'%s' in: %s", part, text);
}

static void ramp(int *values, int lo, int hi) {
    for (int i = 0; i < PIXELS; i++)
        values[i] = lo + (int)((int64_t)i * (hi - lo) / (PIXELS - 1));
}

START_TEST(a_set_that_uses_little_of_its_scale_is_said) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    ramp(values, 12, 4095);
    put_deep("a.pgm", values);
    put_deep("b.pgm", values);
    has(notes_of(ctx, options_of_test()), "--window 12:4095");
    /* Under a window it is as it should be. */
    dg_dataset_options options = options_of_test();
    options.window = true;
    options.window_lo = 12;
    options.window_hi = 4095;
    has_not(notes_of(ctx, options), "scale");
    /* The whole scale, or half of it, is nothing to speak of. */
    ramp(values, 0, 33000);
    put_deep("b.pgm", values);
    has_not(notes_of(ctx, options_of_test()), "--window");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_marker_does_not_hide_a_dark_set) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    ramp(values, 100, 1000);
    for (int k = 0; k < 8; k++) {
        char name[16];
        snprintf(name, sizeof name, "%d.pgm", k);
        values[17] = k == 0 ? 65535 : 300; /* a burnt pixel in one of them */
        put_deep(name, values);
    }
    has(notes_of(ctx, options_of_test()), "--window 100:1000");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(wrapped_negative_numbers_are_said_and_read) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        values[i] = (-1024 + 4 * i) & 0xffff; /* -1024..3068, written as uint16_t */
    put_deep("ct.pgm", values);
    has(notes_of(ctx, options_of_test()), "--window -1024:3068");
    dg_dataset_options options = options_of_test();
    for (int automatic = 0; automatic < 2; automatic++) {
        options.window = !automatic;
        options.auto_window = automatic;
        options.window_lo = -1024;
        options.window_hi = 3068;
        dg_dataset *dataset = open_set(ctx, options);
        uint16_t pixels[PIXELS];
        int lo, hi;
        DG_CK(ctx, dg_dataset_read(ctx, dataset, 0, pixels));
        for (int i = 0; i < PIXELS; i++)
            ck_assert_int_eq(pixels[i], ((int64_t)i * 4 * 65535 + 2046) / 4092);
        ck_assert(dg_dataset_window(dataset, &lo, &hi));
        ck_assert_int_eq(lo, -1024);
        ck_assert_int_eq(hi, 3068);
        dg_dataset_free(dataset);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(black_and_white_is_not_wrapped) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        values[i] = i / 5 % 2 ? 65535 : 0;
    put_deep("drawing.pgm", values);
    has_not(notes_of(ctx, options_of_test()), "negative");
    /* Nor is a radiograph with all values. */
    ramp(values, 0, 65535);
    put_deep("drawing.pgm", values);
    has_not(notes_of(ctx, options_of_test()), "negative");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(masks_and_constant_images_are_counted) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        values[i] = i / 7 % 2;
    put_flat("mask1.pgm", values);
    put_flat("mask2.pgm", values);
    const char *text = notes_of(ctx, options_of_test());
    has(text, "all 2 images hold only the values 0 and 1");
    has(text, "--window 0:1");
    for (int i = 0; i < PIXELS; i++)
        values[i] = 77;
    put_flat("empty.pgm", values);
    text = notes_of(ctx, options_of_test());
    has(text, "2 of 3 images hold only the values 0 and 1");
    has(text, "1 of 3 images is one colour all over, with nothing to be seen (the first: empty.pgm)");
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(white_borders_are_said_and_do_not_hide_what_is_inside) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const bool inside = y >= 4 && y < SIDE - 3 && x >= 2 && x < SIDE - 5;
            values[y * SIDE + x] = inside ? 10 + (x + y) % 50 : 255;
        }
    put_flat("scan.pgm", values);
    const char *text = notes_of(ctx, options_of_test());
    has(text, "the image has a white border");
    has(text, "--window 10:59");
    dg_dataset_options options = options_of_test();
    options.auto_window = true;
    dg_dataset *dataset = open_set(ctx, options);
    int lo, hi;
    ck_assert(dg_dataset_window(dataset, &lo, &hi));
    ck_assert_int_eq(lo, 10);
    ck_assert_int_eq(hi, 59);
    dg_dataset_free(dataset);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(an_automatic_window_is_the_same_however_it_is_found) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    uint16_t cached[PIXELS], decoded[PIXELS];
    for (int k = 0; k < 40; k++) {
        char name[16];
        snprintf(name, sizeof name, "%02d.pgm", k);
        ramp(values, 500 + k, 3000 + 7 * k);
        put_deep(name, values);
    }
    dg_dataset_options options = options_of_test();
    options.auto_window = true;
    options.threads = 1;
    dg_dataset *one = open_set(ctx, options);
    options.threads = 4;
    options.cache_bytes = 1; /* none */
    dg_dataset *four = open_set(ctx, options);
    ck_assert(dg_dataset_is_cached(one) && !dg_dataset_is_cached(four));
    int lo, hi;
    ck_assert(dg_dataset_window(one, &lo, &hi));
    ck_assert_int_eq(lo, 500);
    ck_assert_int_eq(hi, 3273);
    for (int k = 0; k < 40; k++) {
        DG_CK(ctx, dg_dataset_read(ctx, one, k, cached));
        DG_CK(ctx, dg_dataset_read(ctx, four, k, decoded));
        ck_assert_mem_eq(cached, decoded, sizeof cached);
    }
    /* Another set that is compared with it gets its window, not one of its own. */
    dg_dataset_options other = options_of_test();
    const dg_reading_options reading = {.window.word = true, .background = (char *)(uintptr_t) "black"};
    DG_CK(ctx, dg_reading_apply(ctx, &reading, &other));
    ck_assert(other.auto_window);
    dg_reading_follow(one, &other);
    ck_assert(other.window && !other.auto_window && other.window_lo == 500 && other.window_hi == 3273);
    dg_reading_synthetic(&other);
    ck_assert(!other.window && !other.auto_window);
    dg_dataset_free(one);
    dg_dataset_free(four);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_part_of_a_large_set_is_enough_to_see_its_values) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int k = 0; k < 30; k++) {
        char name[16];
        snprintf(name, sizeof name, "%02d.pgm", k);
        ramp(values, 0, 60);
        put_flat(name, values);
    }
    dg_dataset_options options = options_of_test();
    options.probe_only = true;
    options.look_at = 10;
    has(notes_of(ctx, options), "--window 0:60");
    dg_dataset *dataset = open_set(ctx, options);
    uint8_t pixels[PIXELS];
    ck_assert_int_eq(dg_dataset_get_report(dataset)->looked_at, 10);
    DG_CK(ctx, dg_dataset_read(ctx, dataset, 3, pixels)); /* whichever were looked at */
    ck_assert_int_eq(pixels[PIXELS - 1], 60);
    dg_dataset_free(dataset);
    options.look_at = 0;
    has_not(notes_of(ctx, options), "--window");
    dg_ctx_free(ctx);
}
END_TEST

typedef struct heard {
    int64_t done, total, calls;
    bool backwards;
} heard;

static void hear(void *user, const char *part, int64_t done, int64_t total) {
    heard *h = user;
    ck_assert_str_eq(part, "reading the images");
    h->backwards |= done < h->done;
    h->done = done;
    h->total = total;
    h->calls++;
}

START_TEST(reading_tells_how_far_it_is) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    for (int k = 0; k < 30; k++) {
        char name[16];
        snprintf(name, sizeof name, "%02d.pgm", k);
        ramp(values, 0, 60 + k);
        put_flat(name, values);
    }
    for (int kind = 0; kind < 4; kind++) { /* decoded once; twice; in part; headers alone */
        heard h = {0};
        dg_dataset_options options = options_of_test();
        options.auto_window = kind == 1;
        options.probe_only = kind >= 2;
        options.look_at = kind == 2 ? 10 : 0;
        dg_ctx_set_progress(ctx, hear, &h);
        dg_dataset_free(open_set(ctx, options));
        ck_assert_int_gt(h.calls, 10);
        ck_assert_int_eq(h.total, 30);
        ck_assert_int_eq(h.done, 30);
        ck_assert(!h.backwards);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_is_cut_off_and_what_is_transparent_is_said) {
    dg_ctx *ctx = dg_test_context();
    uint8_t wide[512];
    put("flag.pgm", wide, pgm_bytes(wide, 24, 16, 0));
    put("nearly.pgm", wide, pgm_bytes(wide, 17, 16, 5));
    has(notes_of(ctx, options_of_test()), "1 of 2 images are far from square");
    dg_dataset_options options = options_of_test();
    options.fit = DG_FIT_PAD;
    has_not(notes_of(ctx, options), "far from square");
    size_t size;
    uint8_t *bytes = load_fixture("alpha.png", &size);
    put("alpha.png", bytes, size);
    free(bytes);
    has(notes_of(ctx, options), "1 of 3 images have transparency and show the background there (white");
    options.background = "#ff0000";
    has(notes_of(ctx, options), "(#ff0000)");
    dg_ctx_free(ctx);
}
END_TEST

/* A model says how its images were read, and whoever shows it images follows unless told otherwise. */
START_TEST(reading_is_recorded) {
    dg_ctx *ctx = dg_test_context();
    int values[PIXELS];
    ramp(values, 12, 4095);
    put_deep("a.pgm", values);
    dg_dataset_options options = options_of_test();
    options.auto_window = true;
    options.fit = DG_FIT_STRETCH;
    options.background = "f80";
    dg_dataset *dataset = open_set(ctx, options);
    json_t *json = dg_reading_to_json(dataset);
    ck_assert_str_eq(json_string_value(json_object_get(json, "fit")), "stretch");
    ck_assert_str_eq(json_string_value(json_object_get(json, "background")), "#ff8800");
    dg_dataset_free(dataset);
    dg_reading_options nothing = {0};
    dg_dataset_options other = options_of_test();
    DG_CK(ctx, dg_reading_apply(ctx, &nothing, &other));
    dg_reading_from_json(json, &nothing, &other);
    ck_assert_int_eq(other.fit, DG_FIT_STRETCH);
    ck_assert_str_eq(other.background, "#ff8800");
    ck_assert(other.window && other.window_lo == 12 && other.window_hi == 4095);
    const dg_reading_options given = {
        .window = {.first = 0, .second = 9, .set = true}, .fit = DG_FIT_PAD, .background = (char *)(uintptr_t) "black"};
    DG_CK(ctx, dg_reading_apply(ctx, &given, &other));
    dg_reading_from_json(json, &given, &other);
    ck_assert_int_eq(other.fit, DG_FIT_PAD);
    ck_assert_str_eq(other.background, "black");
    ck_assert(other.window && other.window_lo == 0 && other.window_hi == 9);
    json_decref(json);
    /* Of a model that says nothing, or nonsense, nothing is taken. */
    json = json_pack("{s:i, s:s, s:[s, i]}", "fit", 3, "background", "mauve", "window", "a", 4);
    other = options_of_test();
    DG_CK(ctx, dg_reading_apply(ctx, &nothing, &other));
    dg_reading_from_json(json, &nothing, &other);
    dg_reading_from_json(NULL, &nothing, &other);
    ck_assert(other.fit == DG_FIT_CROP && !other.background && !other.window);
    json_decref(json);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(colours_are_read) {
    dg_colour c = {9, 9, 9};
    const char *const bad[] = {"", "#", "whit", "#12", "#12345", "#gg0000", "#1234567", "1,2,3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!dg_colour_parse(bad[i], &c), "'%s' was taken", bad[i]);
    ck_assert(c.red == 9 && c.green == 9 && c.blue == 9);
    ck_assert(dg_colour_parse("White", &c) && c.red == 255 && c.green == 255 && c.blue == 255);
    ck_assert(dg_colour_parse("black", &c) && c.red == 0);
    ck_assert(dg_colour_parse("#fF8001", &c) && c.red == 255 && c.green == 128 && c.blue == 1);
    ck_assert(dg_colour_parse("f80", &c) && c.red == 255 && c.green == 0x88 && c.blue == 0);
    dg_ctx *ctx = dg_test_context();
    const dg_reading_options reading = {.background = (char *)(uintptr_t) "mauve-ish"};
    ck_assert_int_eq(dg_reading_check(ctx, &reading), DG_EUSAGE);
    has(dg_last_error(ctx), "--background mauve-ish");
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("values");
    TCase *tcase = tcase_create("values");
    tcase_add_test(tcase, a_set_that_uses_little_of_its_scale_is_said);
    tcase_add_test(tcase, a_marker_does_not_hide_a_dark_set);
    tcase_add_test(tcase, wrapped_negative_numbers_are_said_and_read);
    tcase_add_test(tcase, black_and_white_is_not_wrapped);
    tcase_add_test(tcase, masks_and_constant_images_are_counted);
    tcase_add_test(tcase, white_borders_are_said_and_do_not_hide_what_is_inside);
    tcase_add_test(tcase, an_automatic_window_is_the_same_however_it_is_found);
    tcase_add_test(tcase, a_part_of_a_large_set_is_enough_to_see_its_values);
    tcase_add_test(tcase, reading_tells_how_far_it_is);
    tcase_add_test(tcase, what_is_cut_off_and_what_is_transparent_is_said);
    tcase_add_test(tcase, reading_is_recorded);
    tcase_add_test(tcase, colours_are_read);
    suite_add_tcase(suite, tcase);
    return suite;
}
