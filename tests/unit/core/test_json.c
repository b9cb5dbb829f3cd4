#include "core/fs.h"
#include "core/json.h"
#include "support/test_main.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static dg_status parse(dg_ctx *ctx, const char *text, dg_json_dialect dialect, json_t **out) {
    dg_ctx_clear_error(ctx);
    return dg_json_parse(ctx, "x.json", text, strlen(text), dialect, out);
}

START_TEST(strict_json_is_read) {
    static const char *const good[] = {"{}",
                                       "[]",
                                       " [1, -2.5e3, \"a\\u00e9\\n\", true, false, null] ",
                                       "{\"a\": {\"b\": []}}",
                                       "3",
                                       "\"x\"",
                                       "[\"NaN [[[[\"]"};
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        for (int dialect = DG_JSON_STRICT; dialect <= DG_JSON_PYTHON; dialect++) {
            json_t *value = NULL;
            DG_CK(ctx, parse(ctx, good[i], (dg_json_dialect)dialect, &value));
            ck_assert_ptr_nonnull(value);
            json_decref(value);
        }
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_is_not_json_is_refused_with_its_place) {
    static const struct {
        const char *text, *place;
    } bad[] = {
        {"", "line 1, column 1"},
        {"{", "line 1"},
        {"[1,]", "line 1, column 5"},
        {"{\"a\": 1,\n \"b\" 2}", "line 2, column 7"},
        {"[1] x", "line 1, column 6"},
        {"[1] [2]", "line 1, column 6"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"[\"\xff\"]", "byte 0xff"},
        {"[\"\xed\xa0\x80\"]", "byte 0xed"},
        {"[\"a\\u0000b\"]", "line 1"},
        {"[\"\\ud800\"]", "line 1"},
        {"[1e999]", "line 1"},
        {"[99999999999999999999]", "line 1"},
        {"[01]", "line 1"},
        {"[+1]", "line 1"},
        {"['a']", "line 1"},
        {"[\"a\nb\"]", "line 1"},
        {"\xef\xbb\xbf[]", "line 1"},
        {"[infinity]", "line 1"},
        {"// x\n[]", "line 1"},
    };
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (int dialect = DG_JSON_STRICT; dialect <= DG_JSON_PYTHON; dialect++) {
            json_t *value = (json_t *)ctx;
            ck_assert_msg(parse(ctx, bad[i].text, (dg_json_dialect)dialect, &value) == DG_EDATA, "%s", bad[i].text);
            ck_assert_ptr_null(value);
            ck_assert_msg(strncmp(dg_last_error(ctx), "x.json: ", 8) == 0, "%s", dg_last_error(ctx));
            ck_assert_msg(strstr(dg_last_error(ctx), bad[i].place) != NULL, "%s: %s", bad[i].text, dg_last_error(ctx));
        }
    }
    json_t *value = NULL;
    ck_assert_int_eq(dg_json_parse(ctx, "x.json", "[]\0", 3, DG_JSON_STRICT, &value), DG_EDATA);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(nesting_and_size_are_bounded) {
    dg_ctx *ctx = dg_test_context();
    enum { DEEP = 1000000 };
    char *text = malloc(DEEP + 1);
    json_t *value = NULL;
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        dg_ctx_clear_error(ctx);
        ck_assert_int_eq(dg_json_parse(ctx, "x", text, 2 * (size_t)depth, DG_JSON_STRICT, &value),
                         depth == 64 ? DG_OK : DG_EDATA);
        json_decref(value);
        value = NULL;
    }
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "line 1, column 65"));
    memset(text, '[', DEEP);
    ck_assert_int_eq(dg_json_parse(ctx, "x", text, DEEP, DG_JSON_PYTHON, &value), DG_EDATA);
    for (int i = 0; i + 5 <= DEEP; i += 5)
        memcpy(text + i, "{\"\":\n", 5);
    ck_assert_int_eq(dg_json_parse(ctx, "x", text, DEEP, DG_JSON_STRICT, &value), DG_EDATA);
    /* refused before a byte of the text is read */
    ck_assert_int_eq(dg_json_parse(ctx, "x", text, (size_t)DG_JSON_MAX_BYTES + 1, DG_JSON_STRICT, &value), DG_EDATA);
    free(text);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(tokens_of_python) {
    dg_ctx *ctx = dg_test_context();
    json_t *value = NULL;
    double number = 0;
    const char *text = "{\"a\": NaN, \"b\":[Infinity,-Infinity , 1,2.5],\"NaN\": \"-Infinity \\\" NaN\"}";
    ck_assert_int_eq(parse(ctx, text, DG_JSON_STRICT, &value), DG_EDATA);
    DG_CK(ctx, parse(ctx, text, DG_JSON_PYTHON, &value));
    ck_assert(dg_json_number(json_object_get(value, "a"), &number) && isnan(number));
    const json_t *b = json_object_get(value, "b");
    ck_assert(dg_json_number(json_array_get(b, 0), &number) && number == INFINITY);
    ck_assert(dg_json_number(json_array_get(b, 1), &number) && number == -INFINITY);
    ck_assert(dg_json_number(json_array_get(b, 2), &number) && number == 1);
    ck_assert(dg_json_number(json_array_get(b, 3), &number) && number == 2.5);
    ck_assert_str_eq(json_string_value(json_object_get(value, "NaN")), "-Infinity \" NaN");
    ck_assert(!dg_json_number(json_object_get(value, "NaN"), &number));
    ck_assert(!dg_json_number(NULL, &number));
    json_decref(value);
    DG_CK(ctx, parse(ctx, "NaN", DG_JSON_PYTHON, &value));
    json_decref(value);
    DG_CK(ctx, parse(ctx, "[1.7976931348623157e308]", DG_JSON_PYTHON, &value));
    ck_assert(dg_json_number(json_array_get(value, 0), &number) && number == DBL_MAX);
    json_decref(value);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(tokens_stand_alone) {
    static const char *const bad[] = {
        "[-NaN]",       "[1NaN]", "[NaN1]",   "[NaNNaN]", "[Infinit]", "[- Infinity]", "[+Infinity]", "[1.Infinity]",
        "[--Infinity]", "NaN:",   "{NaN: 1}", "[nan]",    "[-]",       "[N",           "[NaN",        "\"NaN"};
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *value = NULL;
        ck_assert_msg(parse(ctx, bad[i], DG_JSON_PYTHON, &value) == DG_EDATA, "%s", bad[i]);
    }
    /* the place of an error is counted in the user's text, not in what jansson was given */
    json_t *value = NULL;
    ck_assert_int_eq(parse(ctx, "[NaN, Infinity,\n NaN, ?]", DG_JSON_PYTHON, &value), DG_EDATA);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "line 2, column 8"));
    dg_ctx_free(ctx);
}
END_TEST

static char *saved_text(dg_ctx *ctx, const json_t *value) {
    char path[256], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/saved.json", dg_test_dir());
    DG_CK(ctx, dg_json_save(ctx, path, value));
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 20, &text, &size));
    ck_assert_uint_eq(strlen(text), size);
    return text;
}

/* The expected text is what Python 3.11 printed. */
START_TEST(files_look_as_python_writes_them) {
    static const char expected[] =
        "{\n"
        "  \"_class_name\": \"UNet2DModel\",\n"
        "  \"a\": [],\n"
        "  \"act_fn\": \"silu\",\n"
        "  \"b\": {},\n"
        "  \"big\": -9223372036854775808,\n"
        "  \"block_out_channels\": [\n"
        "    128,\n"
        "    256\n"
        "  ],\n"
        "  \"eps\": 1e-05,\n"
        "  \"inf\": -Infinity,\n"
        "  \"nan\": NaN,\n"
        "  \"nested\": [\n"
        "    {\n"
        "      \"x\": [\n"
        "        null,\n"
        "        true,\n"
        "        false\n"
        "      ]\n"
        "    }\n"
        "  ],\n"
        "  \"text\": \"caf\\u00e9 \\u65e5\\ud83d\\ude00 \\\"q\\\" \\\\ / \\b\\f\\n\\r\\t\\u0001\\u007f\",\n"
        "  \"\\u00e9\": 1.0,\n"
        "  \"\\uffff\": 2,\n"
        "  \"\\ud83d\\ude00\": 3\n"
        "}\n";
    static const char source[] =
        "{\"\xf0\x9f\x98\x80\":3,\"\xef\xbf\xbf\":2,\"\xc3\xa9\":1.0,\"text\":\"caf\xc3\xa9 \\u65e5\xf0\x9f\x98\x80 "
        "\\\"q\\\" "
        "\\\\ \\/ \\b\\f\\n\\r\\t\\u0001\\u007f\",\"nested\":[{\"x\":[null,true,false]}],\"nan\":NaN,\"inf\":-Infinity,"
        "\"eps\":1e-5,\"block_out_channels\":[128,256],\"big\":-9223372036854775808,\"b\":{},\"act_fn\":\"silu\",\"a\":"
        "[],"
        "\"_class_name\":\"UNet2DModel\"}";
    dg_ctx *ctx = dg_test_context();
    json_t *value = NULL, *again = NULL;
    DG_CK(ctx, parse(ctx, source, DG_JSON_PYTHON, &value));
    char *text = saved_text(ctx, value);
    ck_assert_str_eq(text, expected);
    DG_CK(ctx, parse(ctx, text, DG_JSON_PYTHON, &again));
    ck_assert(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    free(text);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(reals_look_as_python_writes_them) {
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.0, "0.0"},
                 {-0.0, "-0.0"},
                 {1.0, "1.0"},
                 {-1.5, "-1.5"},
                 {0.1, "0.1"},
                 {0.02, "0.02"},
                 {0.0001, "0.0001"},
                 {1e-5, "1e-05"},
                 {0.00012345, "0.00012345"},
                 {1.5e-7, "1.5e-07"},
                 {1e15, "1000000000000000.0"},
                 {1e16, "1e+16"},
                 {123456789012345678.0, "1.2345678901234568e+17"},
                 {9007199254740993.0, "9007199254740992.0"},
                 {1234567890123456.7, "1234567890123456.8"},
                 {1e22, "1e+22"},
                 {1e100, "1e+100"},
                 {1e-100, "1e-100"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {2.0 / 3, "0.6666666666666666"},
                 {100.0, "100.0"},
                 {120000.0, "120000.0"},
                 {5e-324, "5e-324"},
                 {2.2250738585072014e-308, "2.2250738585072014e-308"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {0x1p-44, "5.684341886080802e-14"},
                 {0.9999, "0.9999"},
                 {(double)0.1f, "0.10000000149011612"},
                 {2.2250738585072009e-308, "2.225073858507201e-308"}};
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[64];
        json_t *value = json_real(cases[i].value);
        char *text = saved_text(ctx, value);
        snprintf(expected, sizeof expected, "%s\n", cases[i].text);
        ck_assert_str_eq(text, expected);
        free(text);
        json_decref(value);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(reals_read_back_as_the_same_double) {
    enum { N = 20000 };
    dg_ctx *ctx = dg_test_context();
    json_t *values = json_array(), *again = NULL;
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < N; i++) {
        double value;
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        memcpy(&value, &state, sizeof value);
        if (isfinite(value))
            dg_json_append(&values, json_real(value));
    }
    char path[256];
    snprintf(path, sizeof path, "%s/reals.json", dg_test_dir());
    DG_CK(ctx, dg_json_save(ctx, path, values));
    DG_CK(ctx, dg_json_load(ctx, path, DG_JSON_STRICT, &again));
    ck_assert(json_equal(values, again));
    json_decref(values);
    json_decref(again);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(what_cannot_be_saved_leaves_no_file) {
    dg_ctx *ctx = dg_test_context();
    char path[256];
    snprintf(path, sizeof path, "%s/none.json", dg_test_dir());
    ck_assert_int_eq(dg_json_save(ctx, path, NULL), DG_EINVAL);
    json_t *bad = json_string_nocheck("\xff");
    ck_assert_int_eq(dg_json_save(ctx, path, bad), DG_EINVAL);
    json_decref(bad);
    ck_assert(!dg_fs_exists(path));
    dg_ctx_clear_error(ctx);
    json_t *value = NULL;
    ck_assert_int_eq(dg_json_load(ctx, path, DG_JSON_STRICT, &value), DG_ENOINPUT);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), path));
    dg_ctx_free(ctx);
}
END_TEST

static void expect_config_error(dg_ctx *ctx, dg_status status, const char *key, const char *part) {
    ck_assert_int_eq(status, DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "c.json") != NULL, "%s", dg_last_error(ctx));
    ck_assert_msg(strstr(dg_last_error(ctx), key) != NULL, "%s", dg_last_error(ctx));
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "%s", dg_last_error(ctx));
    dg_ctx_clear_error(ctx);
}

START_TEST(typed_members) {
    dg_ctx *ctx = dg_test_context();
    json_t *o = NULL;
    int64_t i = 7;
    double d = 7;
    bool flag = true;
    const char *s = "default";
    DG_CK(ctx,
          parse(ctx, "{\"i\": 5, \"d\": 0.5, \"t\": true, \"s\": \"x\", \"n\": null, \"nan\": NaN, \"inf\": Infinity}",
                DG_JSON_PYTHON, &o));
    DG_CK(ctx, dg_json_get_int(ctx, "c.json", o, "i", 0, 5, &i));
    ck_assert_int_eq(i, 5);
    DG_CK(ctx, dg_json_get_int(ctx, "c.json", o, "n", 0, 1, &i));
    DG_CK(ctx, dg_json_get_int(ctx, "c.json", o, "missing", 0, 1, &i));
    DG_CK(ctx, dg_json_get_int(ctx, "c.json", NULL, "i", 0, 1, &i));
    ck_assert_int_eq(i, 5);
    expect_config_error(ctx, dg_json_get_int(ctx, "c.json", o, "i", 6, 10, &i), "\"i\" is 5",
                        "an integer from 6 to 10");
    expect_config_error(ctx, dg_json_get_int(ctx, "c.json", o, "d", 0, 10, &i), "\"d\"", "an integer");
    expect_config_error(ctx, dg_json_get_int(ctx, "c.json", o, "t", 0, 10, &i), "\"t\" is true", "an integer");
    ck_assert_int_eq(i, 5);

    DG_CK(ctx, dg_json_get_double(ctx, "c.json", o, "d", 0, 1, &d));
    ck_assert(d == 0.5);
    DG_CK(ctx, dg_json_get_double(ctx, "c.json", o, "i", 0, 10, &d));
    ck_assert(d == 5);
    DG_CK(ctx, dg_json_get_double(ctx, "c.json", o, "inf", 0, INFINITY, &d));
    ck_assert(d == INFINITY);
    expect_config_error(ctx, dg_json_get_double(ctx, "c.json", o, "inf", 0, 10, &d), "\"inf\" is Infinity",
                        "a number from 0 to 10");
    expect_config_error(ctx, dg_json_get_double(ctx, "c.json", o, "nan", -INFINITY, INFINITY, &d), "\"nan\" is NaN",
                        "a number");
    expect_config_error(ctx, dg_json_get_double(ctx, "c.json", o, "s", 0, 1, &d), "\"s\"", "a number");

    DG_CK(ctx, dg_json_get_bool(ctx, "c.json", o, "n", &flag));
    ck_assert(flag);
    flag = false;
    DG_CK(ctx, dg_json_get_bool(ctx, "c.json", o, "t", &flag));
    ck_assert(flag);
    expect_config_error(ctx, dg_json_get_bool(ctx, "c.json", o, "i", &flag), "\"i\"", "true or false");

    DG_CK(ctx, dg_json_get_string(ctx, "c.json", o, "n", &s));
    ck_assert_str_eq(s, "default");
    DG_CK(ctx, dg_json_get_string(ctx, "c.json", o, "s", &s));
    ck_assert_str_eq(s, "x");
    expect_config_error(ctx, dg_json_get_string(ctx, "c.json", o, "i", &s), "\"i\"", "a string");
    expect_config_error(ctx, dg_json_get_string(ctx, "c.json", json_object_get(o, "s"), "k", &s), "\"k\"", "an object");
    json_decref(o);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(bytes_from_outside_become_text) {
    static const char *const texts[][2] = {{"", ""},
                                           {"a/b.png", "a/b.png"},
                                           {"\xc3\xa9.png", "\xc3\xa9.png"},
                                           {"\xc3\xa9\xff.png", "\xc3\xa9?.png"},
                                           {"a\x1b\xc2\x9b", "a\x1b\xc2\x9b"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *text = dg_json_text(texts[i][0]);
        ck_assert_str_eq(json_string_value(text), texts[i][1]);
        json_decref(text);
    }
    ck_assert(json_is_null(dg_json_text(NULL)));
}
END_TEST

/* NaN stands for what memory ran out for: jansson makes no value of it either. */
START_TEST(a_part_that_could_not_be_made_is_not_left_out) {
    json_t *object = json_object(), *array = json_array();
    dg_json_set(&object, "a", json_integer(1));
    dg_json_append(&array, json_integer(2));
    ck_assert_int_eq(json_integer_value(json_object_get(object, "a")), 1);
    ck_assert_uint_eq(json_array_size(array), 1);
    dg_json_append(&array, json_real(NAN));
    ck_assert_ptr_null(array);
    dg_json_append(&array, json_integer(3)); /* sticky */
    ck_assert_ptr_null(array);
    dg_json_set(&object, "array", array);
    ck_assert_ptr_null(object);
    dg_json_set(&object, "b", json_integer(4));
    ck_assert_ptr_null(object);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, strict_json_is_read);
    tcase_add_test(t, what_is_not_json_is_refused_with_its_place);
    tcase_add_test(t, nesting_and_size_are_bounded);
    tcase_add_test(t, tokens_of_python);
    tcase_add_test(t, tokens_stand_alone);
    tcase_add_test(t, files_look_as_python_writes_them);
    tcase_add_test(t, reals_look_as_python_writes_them);
    tcase_add_test(t, reals_read_back_as_the_same_double);
    tcase_add_test(t, what_cannot_be_saved_leaves_no_file);
    tcase_add_test(t, typed_members);
    tcase_add_test(t, bytes_from_outside_become_text);
    tcase_add_test(t, a_part_that_could_not_be_made_is_not_left_out);
    suite_add_tcase(suite, t);
    return suite;
}
