/* Names below the bars of a chart: whole where there is room, else cut between characters, whatever their bytes. */
#include "page/chart.h"
#include "support/test_main.h"

#include <stdio.h>
#include <string.h>

enum { MOST = 32 };

static dg_str svg;

/* The chart of so many bars that are all called so. */
static const char *bars(int count, const char *name) {
    const char *names[MOST];
    double y[MOST];
    for (int i = 0; i < count; i++) {
        names[i] = name;
        y[i] = i + 1;
    }
    const dg_series series = {.label = "größe", .y = y, .count = count};
    const dg_chart chart = {
        .title = "title", .x_label = "class", .y_label = "images", .series = &series, .num_series = 1};
    dg_str_clear(&svg);
    dg_chart_bars(&svg, &chart, names, NULL);
    ck_assert(dg_str_ok(&svg));
    ck_assert_msg(dg_utf8_valid(svg.data, svg.length), "not UTF-8: %s", svg.data);
    return svg.data;
}

static void expect_name(int count, const char *name, const char *shown) {
    char text[600];
    snprintf(text, sizeof text, " text-anchor=\"middle\">%s</text>", shown);
    const char *page = bars(count, name);
    ck_assert_msg(strstr(page, text) != NULL, "%d bars of '%s': no '%s'", count, name, shown);
}

/* 548 pixels are for names, 6.6 for a character: 20 bars leave 4 each, 10 leave 8. */
START_TEST(names) {
    expect_name(20, "boot", "boot");
    expect_name(20, "boots", "boo…");
    expect_name(20, "äöüß", "äöüß");
    expect_name(20, "äöüßä", "äöü…");
    expect_name(20, "a肺炎炎症", "a肺炎…");
    expect_name(20, "🦷🦷🦷🦷", "🦷🦷🦷🦷");
    expect_name(20, "🦷🦷🦷🦷🦷", "🦷🦷🦷…");
    expect_name(10, "Größe <5", "Größe &lt;5");
    expect_name(10, "Größe <50", "Größe &lt;…");
    expect_name(32, "äöüßä", "ä…"); /* 2 each */
    expect_name(10, "a\x1b\u202eb\xc2\x9b", "a??b?");
    /* one bar: room for 83 characters, of which 60 are 120 bytes */
    const char *const ten = "ääääääääää";
    char name[512];
    snprintf(name, sizeof name, "%s%s%s%s%s%s", ten, ten, ten, ten, ten, ten);
    expect_name(1, name, name);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("chart");
    TCase *tc = tcase_create("chart");
    tcase_add_test(tc, names);
    suite_add_tcase(suite, tc);
    return suite;
}
