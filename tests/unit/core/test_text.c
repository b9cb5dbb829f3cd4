#include "core/printable.h"
#include "support/test_main.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

START_TEST(strings_grow) {
    dg_str s = {0};
    ck_assert(dg_str_ok(&s));
    dg_str_append(&s, "");
    ck_assert_str_eq(s.data, "");
    for (int i = 0; i < 1000; i++)
        dg_str_printf(&s, "%03d,", i);
    ck_assert_uint_eq(s.length, 4000);
    ck_assert_int_eq(memcmp(s.data + 3996, "999,", 5), 0);
    dg_str_append_bytes(&s, "a\0b", 3);
    ck_assert_uint_eq(s.length, 4003);
    ck_assert_int_eq(memcmp(s.data + 4000, "a\0b", 4), 0);
    const size_t capacity = s.capacity;
    dg_str_clear(&s);
    ck_assert_uint_eq(s.length, 0);
    ck_assert_uint_eq(s.capacity, capacity);
    ck_assert_str_eq(s.data, "");
    dg_str_free(&s);
    ck_assert_ptr_null(s.data);
    dg_str_free(NULL);
}
END_TEST

START_TEST(a_failed_string_stays_failed) {
    dg_str s = {0};
    dg_str_append(&s, "kept");
    dg_str_append_bytes(&s, "x", SIZE_MAX / 2); /* refused before a byte is read */
    ck_assert(!dg_str_ok(&s));
    dg_str_append(&s, " lost");
    ck_assert(!dg_str_ok(&s));
    ck_assert_str_eq(s.data, "kept");
    dg_str_clear(&s);
    ck_assert(!dg_str_ok(&s));
    dg_str_free(&s);
    ck_assert(dg_str_ok(&s));
}
END_TEST

START_TEST(counts) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},           {"5000", 5000},         {"5k", 5000},     {"5K", 5000},
                {"5Ki", 5120},      {"2M", 2000000},        {"1Mi", 1048576}, {"1Gi", 1073741824},
                {"3G", 3000000000}, {"1Ti", 1099511627776}, {"007", 7},       {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "k",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "1.5k",
                                      "5kk",
                                      "5kB",
                                      "5i",
                                      "0x10",
                                      " 5",
                                      "5 ",
                                      "5Kib",
                                      "1e3",
                                      "9223372036854775808",
                                      "9223372036854775807k",
                                      "99999999999T",
                                      "٥"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t value = -1;
        ck_assert_msg(dg_parse_count(good[i].text, &value), "%s", good[i].text);
        ck_assert_int_eq(value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t value = -7;
        ck_assert_msg(!dg_parse_count(bad[i], &value), "%s", bad[i]);
        ck_assert_int_eq(value, -7);
    }
}
END_TEST

START_TEST(numbers) {
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},       {"-1.5", -1.5}, {"+2", 2},
                {".5", 0.5},    {"5.", 5},      {"1e-4", 1e-4},
                {"1E+3", 1000}, {"0.1", 0.1},   {"-0", 0},
                {"2e0", 2},     {"1e-400", 0},  {"123456789012345678901234567890", 123456789012345678901234567890.0}};
    static const char *const bad[] = {"",     "-",  ".",  "1e",  "1e+",   "nan",   "inf",
                                      "0x10", " 1", "1 ", "1,5", "1.2.3", "1e400", "e5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = -99;
        ck_assert_msg(dg_parse_number(good[i].text, &value), "%s", good[i].text);
        ck_assert_msg(value == good[i].value, "%s: %.17g", good[i].text, value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = -99;
        ck_assert_msg(!dg_parse_number(bad[i], &value), "%s", bad[i]);
        ck_assert_msg(value == -99, "%s", bad[i]);
    }
    char longest[600];
    memset(longest, '1', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    double value;
    ck_assert(!dg_parse_number(longest, &value));
}
END_TEST

START_TEST(durations) {
    static const struct {
        const char *text;
        double value;
    } good[] = {{"90", 90},
                {"90s", 90},
                {"15m", 900},
                {"2h", 7200},
                {"1h30m", 5400},
                {"2d", 172800},
                {"1d2h3m4.5s", 93784.5},
                {"0.5", 0.5},
                {"1.5h", 5400}};
    static const char *const bad[] = {"",     "0",    "0s", "-5",    "-5m", "5x",    "30m1h",
                                      "1h1h", "1h30", "h",  "1h-5m", "nan", "1e400", " 5"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = -99;
        ck_assert_msg(dg_parse_duration(good[i].text, &value), "%s", good[i].text);
        ck_assert_msg(value == good[i].value, "%s: %.17g", good[i].text, value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value = -99;
        ck_assert_msg(!dg_parse_duration(bad[i], &value), "%s", bad[i]);
        ck_assert_msg(value == -99, "%s", bad[i]);
    }
}
END_TEST

START_TEST(nearest_names) {
    static const char *const names[] = {"images", "label-dropout", "guidance", "steps", "seed", "pneumonia", "lr"};
    const size_t n = sizeof names / sizeof *names;
    ck_assert_pstr_eq(dg_nearest_name("image", names, n), "images");
    ck_assert_pstr_eq(dg_nearest_name("label_dropuot", names, n), "label-dropout");
    ck_assert_pstr_eq(dg_nearest_name("Guidence", names, n), "guidance");
    ck_assert_pstr_eq(dg_nearest_name("setps", names, n), "steps");
    ck_assert_pstr_eq(dg_nearest_name("PNUEMONIA", names, n), "pneumonia");
    ck_assert_pstr_eq(dg_nearest_name("seeds", names, n), "seed");
    ck_assert_pstr_eq(dg_nearest_name("rl", names, n), "lr");
    ck_assert_ptr_null(dg_nearest_name("colour", names, n));
    ck_assert_ptr_null(dg_nearest_name("", names, n));
    ck_assert_ptr_null(dg_nearest_name("x", names, n));
    ck_assert_ptr_null(dg_nearest_name("images", names, 0));
    char word[5000];
    memset(word, 's', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    ck_assert_ptr_null(dg_nearest_name(word, names, n));
}
END_TEST

START_TEST(utf8) {
    static const char *const good[] = {
        "", "abc", "é", "日本", "😀", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF", "\xED\x9F\xBF", "\xE0\xA0\x80"};
    static const char *const bad[] = {"\x80",
                                      "\xC3",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x80\x80",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xE2\x82",
                                      "\xE2\x28\xA1",
                                      "a\xFF",
                                      "\xC3\x28",
                                      "\xF0\x9F\x98",
                                      "\xF0\x9F\x98\x28"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(dg_utf8_valid(good[i], strlen(good[i])), "%zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!dg_utf8_valid(bad[i], strlen(bad[i])), "%zu", i);
    ck_assert(dg_utf8_valid("a\0b", 3));
}
END_TEST

/* The name as it is shown, in one piece and in place. */
static void expect_shown(const char *name, const char *shown) {
    char copy[128];
    dg_str text = {0};
    snprintf(copy, sizeof copy, "%s", name);
    dg_make_printable(copy);
    ck_assert_str_eq(copy, shown);
    dg_str_append_printable(&text, name);
    ck_assert_str_eq(text.data ? text.data : "", shown);
    dg_make_printable(copy); /* what is printable stays */
    ck_assert_str_eq(copy, shown);
    dg_str_free(&text);
}

START_TEST(foreign_text_is_made_printable) {
    expect_shown("", "");
    expect_shown("Äpfel 肺炎 🦷 ❤\uFE0F", "Äpfel 肺炎 🦷 ❤\uFE0F");
    expect_shown("a\x1b[1mb\nc\td\x7f", "a?[1mb?c?d?");
    expect_shown("C1 \x9b"
                 "1m as a byte",
                 "C1 ?1m as a byte");
    expect_shown("C1 \xc2\x9b"
                 "1m, \xc2\x80 and \xc2\x9f",
                 "C1 ?1m, ? and ?");
    expect_shown("no-break\xc2\xa0space, soft\xc2\xadhyphen", "no-break\xc2\xa0space, soft?hyphen");
    expect_shown("\u202a\u202b\u202c\u202d\u202e", "?????");
    expect_shown("\u2066\u2067\u2068\u2069", "????");
    expect_shown("\u200e\u200f\u061c", "???");
    expect_shown("a\u200bb\u200cc\u200dd\u2060e\ufefff", "a?b?c?d?e?f");
    expect_shown("\u2028\u2029", "??");
    expect_shown("\U000e0041\U000e007f", "??");
    expect_shown("\xff\xfe", "??");
    expect_shown("cut \xe8\x82", "cut ??");
    expect_shown("overlong \xc0\x9b, surrogate \xed\xa0\x80", "overlong ??, surrogate ???");
}
END_TEST

START_TEST(text_is_made_utf8) {
    char text[] = "\xc3\xa9\xff.\x1b\xe8\x82";
    dg_make_utf8(text);
    ck_assert_str_eq(text, "é?.\x1b??");
    ck_assert_uint_eq(dg_utf8_length("🦷x"), 4);
    ck_assert_uint_eq(dg_utf8_length("\x9b"), 0);
    ck_assert_uint_eq(dg_utf8_length(""), 0);
}
END_TEST

START_TEST(sizes_and_times_for_people) {
    char b[32];
    ck_assert_str_eq(dg_format_bytes(b, 0), "0 B");
    ck_assert_str_eq(dg_format_bytes(b, 1023), "1023 B");
    ck_assert_str_eq(dg_format_bytes(b, 1024), "1.0 KiB");
    ck_assert_str_eq(dg_format_bytes(b, 12 * 1024), "12 KiB");
    ck_assert_str_eq(dg_format_bytes(b, 1.5 * (1 << 30)), "1.5 GiB");
    ck_assert_str_eq(dg_format_bytes(b, 1048575), "1.0 MiB");
    ck_assert_str_eq(dg_format_bytes(b, -1), "?");
    ck_assert_str_eq(dg_format_bytes(b, NAN), "?");
    ck_assert_uint_lt(strlen(dg_format_bytes(b, 1e300)), 32);
    ck_assert_str_eq(dg_format_duration(b, 0.44), "0.4s");
    ck_assert_str_eq(dg_format_duration(b, 45), "45s");
    ck_assert_str_eq(dg_format_duration(b, 59.7), "1m 00s");
    ck_assert_str_eq(dg_format_duration(b, 125), "2m 05s");
    ck_assert_str_eq(dg_format_duration(b, 7380), "2h 03m");
    ck_assert_str_eq(dg_format_duration(b, 90000), "1d 01h");
    ck_assert_str_eq(dg_format_duration(b, INFINITY), "?");
}
END_TEST

START_TEST(the_clock_goes_forward) {
    const double a = dg_clock_seconds(), b = dg_clock_seconds();
    ck_assert(b >= a && a > 0 && b - a < 10);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("text");
    TCase *t = tcase_create("text");
    tcase_add_test(t, strings_grow);
    tcase_add_test(t, a_failed_string_stays_failed);
    tcase_add_test(t, counts);
    tcase_add_test(t, numbers);
    tcase_add_test(t, durations);
    tcase_add_test(t, nearest_names);
    tcase_add_test(t, utf8);
    tcase_add_test(t, foreign_text_is_made_printable);
    tcase_add_test(t, text_is_made_utf8);
    tcase_add_test(t, sizes_and_times_for_people);
    tcase_add_test(t, the_clock_goes_forward);
    suite_add_tcase(suite, t);
    return suite;
}
