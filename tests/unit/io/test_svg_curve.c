/* The loss curve: round ticks, coordinates inside the picture, gaps, escaping, sizes. */
#include "core/fs.h"
#include "io/svg_axis.h"
#include "io/svg_curve.h"
#include "support/test_main.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dg_ctx *ctx;

static void setup(void) {
    ctx = dg_test_context();
}

static void teardown(void) {
    dg_ctx_free(ctx);
}

static void check_ticks(double low, double high, bool logarithmic, bool tight, const char *expected) {
    dg_axis axis;
    char all[512] = "", label[32];
    dg_axis_init(&axis, low, high, logarithmic, tight);
    for (int i = 0; i < axis.num_ticks; i++) {
        const double position = dg_axis_position(&axis, axis.ticks[i]);
        ck_assert(position >= -1e-9 && position <= 1 + 1e-9);
        strcat(strcat(all, i ? " " : ""), dg_axis_label(&axis, i, label));
    }
    ck_assert_str_eq(all, expected);
}

START_TEST(test_ticks) {
    check_ticks(0, 1000, false, true, "0 200 400 600 800 1000");
    check_ticks(0, 20000, false, true, "0 5000 10k 15k 20k");
    check_ticks(100, 2500000, false, true, "500k 1M 1.5M 2M 2.5M");
    check_ticks(0.031, 0.18, false, false, "0.04 0.06 0.08 0.10 0.12 0.14 0.16 0.18");
    check_ticks(0.01, 1, true, false, "0.01 0.02 0.05 0.1 0.2 0.5 1");
    check_ticks(1e-6, 1, true, false, "1e-06 1e-05 0.0001 0.001 0.01 0.1 1");
    check_ticks(0.04, 0.06, true, true, "0.040 0.045 0.050 0.055 0.060");
    check_ticks(INFINITY, -INFINITY, false, true, "0 0.2 0.4 0.6 0.8 1.0");
    check_ticks(NAN, NAN, true, true, "0.1 0.2 0.5 1");
}
END_TEST

START_TEST(test_equal_values_have_an_axis) {
    dg_axis axis;
    dg_axis_init(&axis, 3, 3, false, true);
    ck_assert(axis.low < 3 && axis.high > 3 && axis.num_ticks >= 2);
    dg_axis_init(&axis, 0.2, 0.2, true, false);
    ck_assert(axis.low < log10(0.2) && axis.high > log10(0.2) && axis.num_ticks >= 2);
}
END_TEST

/* Every number in a path is a coordinate inside the picture. */
static int check_paths(const char *svg) {
    int paths = 0;
    for (const char *p = svg; (p = strstr(p, " d=\"")); paths++) {
        p += 4;
        while (*p != '"') {
            char *end;
            const double v = strtod(p, &end);
            if (end == p) {
                p++;
                continue;
            }
            ck_assert_double_ge(v, 0);
            ck_assert_double_le(v, 760);
            p = end;
        }
    }
    return paths;
}

START_TEST(test_curve) {
    enum { COUNT = 50000 };
    double *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    const double vx[3] = {0, 25000, 49999}, vy[3] = {1, 0.05, NAN};
    dg_str svg = {0};
    for (int i = 0; i < COUNT; i++) {
        x[i] = i;
        y[i] = i % 1000 == 5 ? NAN : i % 997 == 3 ? 1e9 : 0.03 + exp(-i / 3000.0) + 0.01 * sin(i * 1.7);
    }
    for (int i = 0; i < 2; i++) {
        const dg_curve curve = {.title = "a < b & c",
                                .x_label = "step",
                                .y_label = "loss",
                                .log_y = i == 1,
                                .x = x,
                                .y = y,
                                .count = COUNT,
                                .points_x = vx,
                                .points_y = vy,
                                .num_points = 3};
        DG_CK(ctx, dg_svg_curve(ctx, &curve, &svg));
        ck_assert_uint_lt(svg.length, 120000); /* however long the run */
        ck_assert_int_eq(check_paths(svg.data), 5);
        ck_assert_ptr_nonnull(strstr(svg.data, "a &lt; b &amp; c"));
        ck_assert_ptr_null(strstr(svg.data, "nan"));
        ck_assert_ptr_null(strstr(svg.data, "inf"));
        const char *dot = strstr(svg.data, "class=\"dot\" cx");
        ck_assert_ptr_nonnull(dot);
        char *path = dg_fs_join(dg_test_dir(), "curve.svg");
        DG_CK(ctx, dg_svg_curve_write(ctx, path, &curve));
        ck_assert(dg_fs_is_file(path));
        free(path);
    }
    free(x);
    free(y);
    dg_str_free(&svg);
}
END_TEST

START_TEST(test_nearly_empty_curves) {
    const double one = 1, none = NAN, zero = 0;
    const dg_curve curves[] = {
        {.x_label = "step"},
        {.x = &one, .y = &one, .count = 1},
        {.x = &one, .y = &none, .count = 1},
        {.x = &one, .y = &zero, .count = 1, .log_y = true},
        {.points_x = &one, .points_y = &one, .num_points = 1, .log_y = true},
    };
    dg_str svg = {0};
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        DG_CK(ctx, dg_svg_curve(ctx, &curves[i], &svg));
        check_paths(svg.data);
        ck_assert_ptr_null(strstr(svg.data, "nan"));
        ck_assert_str_eq(svg.data + svg.length - 7, "</svg>\n");
    }
    dg_str_free(&svg);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("svg_curve");
    TCase *tcase = tcase_create("svg_curve");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_ticks);
    tcase_add_test(tcase, test_equal_values_have_an_axis);
    tcase_add_test(tcase, test_curve);
    tcase_add_test(tcase, test_nearly_empty_curves);
    suite_add_tcase(suite, tcase);
    return suite;
}
