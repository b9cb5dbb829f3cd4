/* Which images a folder holds and may be given besides. */
#include "sample/sample_spans.h"
#include "support/test_main.h"

static dg_ctx *ctx;

static void set_up(void) {
    ctx = dg_test_context();
}

static void tear_down(void) {
    dg_ctx_free(ctx);
}

/* Triples class, first, last; n of them. */
static dg_spans spans(int64_t n, const int64_t (*triples)[3]) {
    dg_spans out = {0};
    for (int64_t i = 0; i < n; i++)
        DG_CK(ctx, dg_spans_add(ctx, &out, (dg_span){triples[i][0], triples[i][1], triples[i][2]}));
    dg_spans_settle(&out);
    return out;
}
#define SPANS(...) spans(sizeof((const int64_t[][3]){__VA_ARGS__}) / 24, (const int64_t[][3]){__VA_ARGS__})

static bool equal(const dg_spans *a, const dg_spans *b) {
    return dg_spans_hold_all(a, b) && dg_spans_hold_all(b, a);
}

START_TEST(touching_spans_become_one) {
    dg_spans s = SPANS({-1, 4, 7}, {-1, 0, 3}, {-1, 9, 9});
    ck_assert_int_eq(s.count, 2);
    ck_assert_int_eq(s.list[0].first, 0);
    ck_assert_int_eq(s.list[0].last, 7);
    ck_assert_int_eq(dg_spans_images(&s), 9);
    dg_spans other_class = SPANS({0, 0, 3}, {1, 4, 7});
    ck_assert_int_eq(other_class.count, 2);
    dg_spans_free(&s);
    dg_spans_free(&other_class);
}
END_TEST

START_TEST(parts_follow_each_other) {
    const dg_sample_part parts[] = {{.class_index = 2, .images = 3}, {.class_index = 0, .images = 2}};
    dg_spans s = {0}, expected = SPANS({2, 10, 12}, {0, 13, 14});
    DG_CK(ctx, dg_spans_of_parts(ctx, parts, 2, 10, &s));
    ck_assert(equal(&s, &expected));
    dg_spans_free(&s);
    dg_spans_free(&expected);
}
END_TEST

static bool fit(dg_spans there, dg_spans wanted, bool numbers_given) {
    const bool fits = dg_spans_fit(&there, &wanted, numbers_given);
    dg_spans_free(&there);
    dg_spans_free(&wanted);
    return fits;
}

START_TEST(a_set_grows_where_no_image_would_be_another) {
    ck_assert(fit(SPANS({-1, 0, 3}), SPANS({-1, 0, 7}), false));  /* -n 4, then -n 8 */
    ck_assert(fit(SPANS({-1, 0, 7}), SPANS({-1, 0, 3}), false));  /* fewer */
    ck_assert(fit(SPANS({-1, 0, 3}), SPANS({-1, 8, 9}), true));   /* --seeds 8-9 */
    ck_assert(!fit(SPANS({-1, 8, 9}), SPANS({-1, 0, 3}), false)); /* -n 4 of a set that begins later */
    ck_assert(fit(SPANS({0, 0, 3}), SPANS({1, 0, 3}), false));    /* another class */
    ck_assert(!fit(SPANS({0, 0, 1}, {1, 2, 3}), SPANS({0, 0, 3}, {1, 4, 7}), false)); /* numbered through all classes */
    ck_assert(!fit(SPANS({0, 0, 1}, {1, 2, 3}), SPANS({0, 0, 3}, {1, 4, 7}), true));
}
END_TEST

START_TEST(what_is_written_is_read_back) {
    const struct {
        dg_spans spans;
        bool plan;
    } cases[] = {{SPANS({-1, 0, 7}), true},
                 {SPANS({0, 5, 6}, {1, 7, 9}), true},
                 {SPANS({-1, 0, 3}, {-1, 8, 9}), false},
                 {SPANS({0, 0, 3}, {1, 0, 3}), false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dg_spans s = cases[i].spans, read = {0};
        json_t *options = json_object();
        DG_CK(ctx, dg_spans_to_json(ctx, &s, options));
        ck_assert(cases[i].plan == (json_object_get(options, "classes") != NULL));
        ck_assert(cases[i].plan == (json_object_get(options, "ranges") == NULL));
        DG_CK(ctx, dg_spans_from_json(ctx, "here", options, &read));
        ck_assert(equal(&s, &read));
        dg_spans_free(&s);
        dg_spans_free(&read);
        json_decref(options);
    }
}
END_TEST

START_TEST(malformed_options_are_refused) {
    static const char *const texts[] = {"{}",
                                        "{\"classes\": [{\"class\": 0}], \"first_image\": 0}",
                                        "{\"classes\": [{\"class\": 0, \"images\": -1}], \"first_image\": 0}",
                                        "{\"classes\": [{\"class\": 0, \"images\": 9223372036854775807}, "
                                        "{\"class\": 1, \"images\": 9}], \"first_image\": 0}",
                                        "{\"classes\": [], \"first_image\": -1}",
                                        "{\"ranges\": [[0, 5, 4]]}",
                                        "{\"ranges\": [[0, 5]]}",
                                        "{\"ranges\": [[0, -1, 4]]}",
                                        "{\"ranges\": [3]}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        dg_spans s = {0};
        json_t *options = json_loads(texts[i], 0, NULL);
        ck_assert_int_eq(dg_spans_from_json(ctx, "here", options, &s), DG_EDATA);
        dg_ctx_clear_error(ctx);
        dg_spans_free(&s);
        json_decref(options);
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("sample spans");
    TCase *tc = tcase_create("spans");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, touching_spans_become_one);
    tcase_add_test(tc, parts_follow_each_other);
    tcase_add_test(tc, a_set_grows_where_no_image_would_be_another);
    tcase_add_test(tc, what_is_written_is_read_back);
    tcase_add_test(tc, malformed_options_are_refused);
    suite_add_tcase(suite, tc);
    return suite;
}
