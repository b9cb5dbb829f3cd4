#include "data/csv.h"
#include "data/tree.h"

#include "unit/data/data_fixture.h"

static void open_csv(dg_ctx *ctx, dg_csv *csv, const char *text) {
    DG_CK(ctx, dg_csv_open(ctx, "x.csv", text, strlen(text), csv));
}

static void assert_row(dg_ctx *ctx, dg_csv *csv, size_t count, const char *const *want) {
    bool row = false;
    DG_CK(ctx, dg_csv_next(ctx, csv, &row));
    ck_assert(row);
    ck_assert_uint_eq(csv->count, count);
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(csv->fields[i], want[i]);
}

static void assert_end(dg_ctx *ctx, dg_csv *csv) {
    bool row = true;
    DG_CK(ctx, dg_csv_next(ctx, csv, &row));
    ck_assert(!row);
    dg_csv_close(csv);
}

START_TEST(rows_of_every_kind) {
    dg_ctx *ctx = dg_test_context();
    dg_csv csv;
    open_csv(ctx, &csv,
             "file_name,label\r\n"
             "a.png,\"cat, big\"\n"
             "\n"
             "b.png,\"say \"\"hi\"\"\"\r"
             "\"two\nlines\",\n"
             "c.png,Äpfel und Öl");
    assert_row(ctx, &csv, 2, (const char *[]){"file_name", "label"});
    assert_row(ctx, &csv, 2, (const char *[]){"a.png", "cat, big"});
    assert_row(ctx, &csv, 2, (const char *[]){"b.png", "say \"hi\""});
    ck_assert_int_eq(csv.line, 4);
    assert_row(ctx, &csv, 2, (const char *[]){"two\nlines", ""});
    assert_row(ctx, &csv, 2, (const char *[]){"c.png", "Äpfel und Öl"});
    ck_assert_int_eq(csv.line, 7);
    assert_end(ctx, &csv);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(a_trailing_comma_is_an_empty_field) {
    dg_ctx *ctx = dg_test_context();
    dg_csv csv;
    open_csv(ctx, &csv, "a,,");
    assert_row(ctx, &csv, 3, (const char *[]){"a", "", ""});
    assert_end(ctx, &csv);
    open_csv(ctx, &csv, "");
    assert_end(ctx, &csv);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(separators_are_found) {
    static const struct {
        const char *text;
        char separator;
    } cases[] = {
        {"file_name;label\na.png;cat, big\n", ';'},
        {"file_name\tlabel\na.png\tcat\n", '\t'},
        {"file_name|label\na.png|cat\n", '|'},
        {"file_name,label\n\"a;b;c.png\",cat;dog;bird\n", ','},
        {"file_name;label, said twice\na.png;cat\n", ';'}, /* the rows decide */
        {"file_name;x;y\na.png;1,5;2,5\n", ';'},           /* decimal commas */
        {"sep=;\r\nfile_name;a,b,c\r\n", ';'},
        {"\"sep=\t\"\nfile_name\ta\n", '\t'},
        {"file_name\na.png\n", ','},
        {"", ','},
    };
    dg_ctx *ctx = dg_test_context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_csv csv;
        bool row;
        open_csv(ctx, &csv, cases[i].text);
        ck_assert_msg(csv.separator == cases[i].separator, "%s: '%c'", cases[i].text, csv.separator);
        DG_CK(ctx, dg_csv_next(ctx, &csv, &row));
        ck_assert(!row || strcmp(csv.fields[0], "file_name") == 0);
        dg_csv_close(&csv);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(white_space_around_fields) {
    dg_ctx *ctx = dg_test_context();
    dg_csv csv;
    open_csv(ctx, &csv, "file_name , label\n a.png,\tcat \n\"b.png\" , \" dog \"\n;,;\n , ,\nc.png,\n");
    assert_row(ctx, &csv, 2, (const char *[]){"file_name", "label"});
    assert_row(ctx, &csv, 2, (const char *[]){"a.png", "cat"});
    assert_row(ctx, &csv, 2, (const char *[]){"b.png", " dog "});
    assert_row(ctx, &csv, 2, (const char *[]){";", ";"});
    assert_row(ctx, &csv, 2, (const char *[]){"c.png", ""}); /* behind a row of nothing but commas */
    ck_assert_int_eq(csv.line, 6);
    assert_end(ctx, &csv);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(lines_may_end_in_cr_alone) {
    dg_ctx *ctx = dg_test_context();
    dg_csv csv;
    open_csv(ctx, &csv, "a,b\r\"x\ry\",2\rz,3");
    assert_row(ctx, &csv, 2, (const char *[]){"a", "b"});
    assert_row(ctx, &csv, 2, (const char *[]){"x\ry", "2"});
    assert_row(ctx, &csv, 2, (const char *[]){"z", "3"});
    ck_assert_int_eq(csv.line, 4);
    assert_end(ctx, &csv);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(broken_rows_are_refused_with_their_line) {
    static const struct {
        const char *text;
        size_t size;
        const char *word;
    } cases[] = {{"a\n\"open", 7, "line 2"}, {"a\n\"b\"c\n", 7, "line 2"}, {"a\nb\0c\n", 6, "line 2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dg_ctx *ctx = dg_test_context();
        dg_csv csv;
        bool row;
        DG_CK(ctx, dg_csv_open(ctx, "x.csv", cases[i].text, cases[i].size, &csv));
        DG_CK(ctx, dg_csv_next(ctx, &csv, &row));
        ck_assert_int_eq(dg_csv_next(ctx, &csv, &row), DG_EDATA);
        ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), cases[i].word));
        dg_csv_close(&csv);
        dg_ctx_free(ctx);
    }
}
END_TEST

START_TEST(paths_are_normalised_or_refused) {
    static const char *const good[][2] = {{"a/b.png", "a/b.png"}, {"./a.png", "a.png"},
                                          {"a//b/./c", "a/b/c"},  {"a/", "a"},
                                          {"..a/b..", "..a/b.."}, {"ä b/c", "ä b/c"}};
    static const char *const bad[] = {"../a.png", "a/../b", "/etc/passwd", "", ".", "..", "a/.."};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char path[64];
        strcpy(path, good[i][0]);
        ck_assert_msg(dg_path_normalise(path), "%s", good[i][0]);
        ck_assert_str_eq(path, good[i][1]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[64];
        strcpy(path, bad[i]);
        ck_assert_msg(!dg_path_normalise(path), "%s", bad[i]);
    }
}
END_TEST

START_TEST(path_kinds) {
    ck_assert(dg_path_is_archive("x.tar.gz"));
    ck_assert(dg_path_hidden("a/.b/c.png"));
    ck_assert(dg_path_hidden("__MACOSX/a.png"));
    ck_assert(dg_path_hidden("x/@eaDir/a.png/thumb.jpg"));
    ck_assert(dg_path_hidden("$RECYCLE.BIN/a.png"));
    ck_assert(!dg_path_hidden("x/eaDir/a.png"));
    ck_assert(!dg_path_hidden("a/b.png"));
    ck_assert(dg_path_is_idx_images("d/train-images-idx3-ubyte.gz"));
    ck_assert(dg_path_is_idx_images("train-images.idx3-ubyte"));
    ck_assert(!dg_path_is_idx_images("train-labels-idx1-ubyte"));
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("csv");
    TCase *tcase = tcase_create("csv and paths");
    tcase_add_test(tcase, rows_of_every_kind);
    tcase_add_test(tcase, a_trailing_comma_is_an_empty_field);
    tcase_add_test(tcase, separators_are_found);
    tcase_add_test(tcase, white_space_around_fields);
    tcase_add_test(tcase, lines_may_end_in_cr_alone);
    tcase_add_test(tcase, broken_rows_are_refused_with_their_line);
    tcase_add_test(tcase, paths_are_normalised_or_refused);
    tcase_add_test(tcase, path_kinds);
    suite_add_tcase(suite, tcase);
    return suite;
}
