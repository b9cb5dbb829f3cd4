#include "core/options.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

typedef enum mode { MODE_AUTO, MODE_ONE, MODE_THREE } mode;

typedef struct sample_options {
    char *path;
    int64_t count, level, threads;
    double rate, limit;
    bool flip, metadata, quiet;
    mode channels;
    dg_string_list classes;
    dg_int_pair seeds, window;
    unsigned words;
    dg_every every;
} sample_options;

#define S sample_options
static const dg_option options[] = {
    {.name = "images",
     .aliases = "data,data-dir",
     DG_OPT_STRING(S, path),
     .flags = DG_OPTION_REQUIRED,
     .metavar = "PATH",
     .group = "Input",
     .help = "Where the images are."},
    {.name = "num-samples",
     .aliases = "n,count",
     DG_OPT_COUNT(S, count),
     .fallback = "16",
     .min = 1,
     .max = 1e9,
     .group = "Input",
     .help = "How many."},
    {.name = "level",
     DG_OPT_INT(S, level),
     .fallback = "-3",
     .min = -10,
     .max = 10,
     .group = "Input",
     .help = "A signed number."},
    {.name = "threads",
     DG_OPT_COUNT(S, threads),
     .fallback = "auto",
     .word = "auto",
     .min = 1,
     .max = 64,
     .flags = DG_OPTION_MUTABLE,
     .group = "Machine",
     .help = "Threads."},
    {.name = "lr",
     .aliases = "learning-rate",
     DG_OPT_NUMBER(S, rate),
     .fallback = "1e-4",
     .min = 1e-9,
     .max = 1,
     .group = "Machine",
     .help = "Rate."},
    {.name = "time-limit",
     DG_OPT_DURATION(S, limit),
     .fallback = "none",
     .word = "none",
     .min = 1,
     .max = 1e6,
     .group = "Machine",
     .help = "Time."},
    {.name = "hflip", DG_OPT_BOOL(S, flip), .group = "Machine", .help = "Mirror."},
    {.name = "metadata", DG_OPT_BOOL(S, metadata), .fallback = "true", .group = "Machine", .help = "Leave it out."},
    {.name = "quiet", .aliases = "q", DG_OPT_BOOL(S, quiet), .flags = DG_OPTION_LOCAL, .help = "Be quiet."},
    {.name = "channels", DG_OPT_CHOICE(S, channels), .fallback = "auto", .choices = "auto|1|3", .help = "Channels."},
    {.name = "class", DG_OPT_LIST(S, classes), .metavar = "NAME", .help = "Class."},
    {.name = "seeds",
     DG_OPT_PAIR(S, seeds),
     .flags = DG_OPTION_LONE,
     .separator = '-',
     .min = 0,
     .max = 1e6,
     .metavar = "A-B",
     .help = "Seeds."},
    {.name = "window", DG_OPT_PAIR(S, window), .separator = ':', .word = "auto", .metavar = "LO:HI", .help = "Window."},
    {.name = "public",
     DG_OPT_WORDS(S, words),
     .fallback = "auto",
     .choices = "auto|nothing|size|window",
     .help = "What is public."},
    {.name = "checkpoint-every",
     DG_OPT_EVERY(S, every),
     .fallback = "10m",
     .word = "never",
     .help = "How often; a long text that goes on and on, so that it has to be broken into several lines of which none "
             "may be longer than a hundred columns, whatever the words are."},
    {.name = "secret", DG_OPT_BOOL(S, quiet), .flags = DG_OPTION_HIDDEN | DG_OPTION_LOCAL, .help = "Not shown."},
};

static dg_status check(dg_ctx *ctx, const void *filled) {
    const sample_options *o = filled;
    return o->count == 13 ? dg_fail(ctx, DG_EDEVICE, "thirteen") : DG_OK;
}

static const dg_option_table table = {
    .command = "try",
    .summary = "try options",
    .usage = "--images PATH [options]",
    .details = "First paragraph.\n.Second paragraph.",
    .examples = "do it\tdiffgen try --images x\n",
    .positional = "images",
    .options = options,
    .count = sizeof options / sizeof *options,
    .struct_size = sizeof(sample_options),
    .check = check,
};

static dg_ctx *ctx;
static sample_options o;

static void set_up(void) {
    ctx = dg_test_context();
    DG_CK(ctx, dg_options_init(ctx, &table, &o));
}

static void tear_down(void) {
    dg_options_free(&table, &o);
    dg_ctx_free(ctx);
}

static void set(const char *name, const char *text) {
    DG_CK(ctx, dg_options_set(ctx, &table, &o, name, text));
}

/* The text must be refused with DG_EUSAGE and a message that holds `part`. */
static void refuse(const char *name, const char *text, const char *part) {
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_options_set(ctx, &table, &o, name, text), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

static dg_status parse(const char *line, bool *help) {
    char copy[512], *argv[32];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save = NULL, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    dg_ctx_clear_error(ctx);
    return dg_options_parse(ctx, &table, argc, argv, &o, help);
}

static void parse_ok(const char *line) {
    bool help = true;
    DG_CK(ctx, parse(line, &help));
    ck_assert(!help);
}

static void parse_refused(const char *line, const char *part) {
    bool help = false;
    ck_assert_int_eq(parse(line, &help), DG_EUSAGE);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
}

START_TEST(defaults) {
    ck_assert_ptr_null(o.path);
    ck_assert_int_eq(o.count, 16);
    ck_assert_int_eq(o.level, -3);
    ck_assert_int_eq(o.threads, 0);
    ck_assert_double_eq(o.rate, 1e-4);
    ck_assert_double_eq(o.limit, 0);
    ck_assert(!o.flip && o.metadata && !o.quiet);
    ck_assert_int_eq(o.channels, MODE_AUTO);
    ck_assert_int_eq(o.classes.count, 0);
    ck_assert(!o.seeds.set && !o.window.set);
    ck_assert_double_eq(o.every.seconds, 600);
    ck_assert_int_eq(o.every.steps, 0);
}
END_TEST

START_TEST(every_type_is_read) {
    set("images", "faces/");
    set("images", "other faces"); /* replaces */
    ck_assert_str_eq(o.path, "other faces");
    set("num-samples", "5k");
    ck_assert_int_eq(o.count, 5000);
    set("num-samples", "2Ki");
    ck_assert_int_eq(o.count, 2048);
    set("level", "-10");
    ck_assert_int_eq(o.level, -10);
    set("threads", "4");
    ck_assert_int_eq(o.threads, 4);
    set("threads", "AUTO");
    ck_assert_int_eq(o.threads, 0);
    set("lr", "3e-4");
    ck_assert_double_eq(o.rate, 3e-4);
    set("time-limit", "1h30m");
    ck_assert_double_eq(o.limit, 5400);
    set("time-limit", "none");
    ck_assert_double_eq(o.limit, 0);
    set("hflip", NULL);
    ck_assert(o.flip);
    set("no-hflip", NULL);
    ck_assert(!o.flip);
    set("hflip", "yes");
    ck_assert(o.flip);
    set("hflip", "false");
    ck_assert(!o.flip);
    set("channels", "3");
    ck_assert_int_eq(o.channels, MODE_THREE);
    set("class", "a b");
    set("class", "c:12");
    ck_assert_int_eq(o.classes.count, 2);
    ck_assert_str_eq(o.classes.items[0], "a b");
    ck_assert_str_eq(o.classes.items[1], "c:12");
    set("seeds", "3-99");
    ck_assert(o.seeds.set && o.seeds.first == 3 && o.seeds.second == 99);
    set("seeds", "7");
    ck_assert(o.seeds.first == 7 && o.seeds.second == 7);
    set("window", "-1000:400");
    ck_assert(o.window.set && o.window.first == -1000 && o.window.second == 400);
    set("window", "auto");
    ck_assert(o.window.word && !o.window.set);
    set("window", "1:2");
    ck_assert(!o.window.word && o.window.set);
    set("public", "size");
    ck_assert_uint_eq(o.words, 4);
    set("public", "Window,nothing");
    ck_assert_uint_eq(o.words, 2 | 8);
    set("checkpoint-every", "5k");
    ck_assert(o.every.steps == 5000 && o.every.seconds == 0);
    set("checkpoint-every", "90s");
    ck_assert(o.every.steps == 0 && o.every.seconds == 90);
    set("checkpoint-every", "2M"); /* steps: the unit of time is a small m */
    ck_assert(o.every.steps == 2000000 && o.every.seconds == 0);
    set("checkpoint-every", "never");
    ck_assert(o.every.steps == 0 && o.every.seconds == 0);
}
END_TEST

START_TEST(names_have_aliases_and_snake_case) {
    const dg_option *option = dg_options_find(&table, "num-samples");
    ck_assert_ptr_nonnull(option);
    ck_assert_ptr_eq(dg_options_find(&table, "num_samples"), option);
    ck_assert_ptr_eq(dg_options_find(&table, "count"), option);
    ck_assert_ptr_eq(dg_options_find(&table, "n"), option);
    ck_assert_ptr_eq(dg_options_find(&table, "data_dir"), &options[0]);
    ck_assert_ptr_null(dg_options_find(&table, "data-di"));
    ck_assert_ptr_null(dg_options_find(&table, "data,data-dir"));
    ck_assert_ptr_null(dg_options_find(&table, ""));
    ck_assert_ptr_null(dg_options_find(&table, "NUM-SAMPLES"));
}
END_TEST

START_TEST(bad_values_name_what_fits) {
    refuse("num-samples", "0", "1 to 1000000000");
    refuse("num-samples", "0", "--num-samples: 0 is out of range");
    refuse("num-samples", "-5", "out of range");
    refuse("num-samples", "5x", "'5x' is not valid");
    refuse("num-samples", "", "not valid");
    refuse("num-samples", "99999999999999999999", "not valid");
    refuse("level", "11", "-10 to 10");
    refuse("level", "3.5", "whole number");
    refuse("threads", "65", "1 to 64, or auto");
    refuse("threads", "many", "or auto");
    refuse("lr", "nan", "not valid");
    refuse("lr", "inf", "not valid");
    refuse("lr", "1e-4x", "not valid");
    refuse("lr", "2", "1e-09 to 1");
    refuse("time-limit", "fast", "1h30m");
    refuse("hflip", "maybe", "true or false");
    refuse("channels", "4", "one of auto, 1, 3");
    refuse("channels", "aut", "did you mean auto?");
    refuse("seeds", "5-", "A-B");
    refuse("seeds", "-5", "out of range");
    refuse("seeds", "1-2000000", "out of range");
    refuse("window", "5", "A:B");
    refuse("window", "5:6:7", "A:B, or auto");
    refuse("public", "size,", "one or several of auto, nothing, size, window");
    refuse("public", "size;window", "'size;window' is not valid");
    refuse("public", "", "not valid");
    refuse("checkpoint-every", "0", "out of range");
    refuse("checkpoint-every", "5q", "or never");
    refuse("images", "", "not empty");
    refuse("images", NULL, "--images needs a value");
    refuse("no-hflip", "true", "takes no value");
    /* What failed left everything as it was. */
    ck_assert_int_eq(o.count, 16);
    ck_assert_double_eq(o.rate, 1e-4);
    ck_assert_double_eq(o.every.seconds, 600);
    ck_assert(!o.seeds.set);
}
END_TEST

START_TEST(unknown_names_suggest_the_nearest) {
    refuse("num-sampels", "3", "did you mean --num-samples?");
    refuse("chanels", "3", "did you mean --channels?");
    refuse("check_point_every", "3", "did you mean --checkpoint-every?");
    refuse("lerning-rate", "3", "did you mean --lr?");
    refuse("xyzzyplugh", "3", "diffgen try --help");
    refuse("no-images", NULL, "unknown option --no-images");
    refuse("no-hflp", NULL, "did you mean --hflip?");
    ck_assert_ptr_null(dg_options_nearest(&table, "secre")); /* hidden ones are not advertised */
}
END_TEST

START_TEST(command_lines) {
    parse_ok("--images faces --num_samples=20 --hflip --class a --class=b --channels 1 -q");
    ck_assert_str_eq(o.path, "faces");
    ck_assert_int_eq(o.count, 20);
    ck_assert(o.flip && o.quiet);
    ck_assert_int_eq(o.classes.count, 2);
    ck_assert_int_eq(o.channels, MODE_ONE);
    parse_ok("-n 30");
    ck_assert_int_eq(o.count, 30);
    parse_ok("-n31");
    ck_assert_int_eq(o.count, 31);
    parse_ok("-n=32");
    ck_assert_int_eq(o.count, 32);
    parse_ok("--window -5:10 --level -7 --no-metadata --no_hflip");
    ck_assert_int_eq(o.window.first, -5);
    ck_assert_int_eq(o.level, -7);
    ck_assert(!o.metadata && !o.flip);
    parse_ok("--images=a=b");
    ck_assert_str_eq(o.path, "a=b");
    parse_ok("plain");
    ck_assert_str_eq(o.path, "plain");
    parse_ok("-- --odd");
    ck_assert_str_eq(o.path, "--odd");
    parse_ok("");
}
END_TEST

START_TEST(bad_command_lines) {
    parse_refused("--images --hflip", "--images needs a value");
    parse_refused("--images", "--images needs a value");
    parse_refused("--imagse x", "did you mean --images?");
    parse_refused("-hflip", "did you mean --hflip?");
    parse_refused("-x", "unknown option -x");
    parse_refused("one two", "'two': 'one' was given already");
    parse_refused("--hflip=perhaps", "true or false");
    parse_refused("--=5", "unknown option");
    parse_refused("-n", "--num-samples needs a value");
}
END_TEST

START_TEST(help_is_asked_for) {
    bool help = false;
    DG_CK(ctx, parse("--num-samples 5 --help --nonsense", &help));
    ck_assert(help);
    DG_CK(ctx, parse("-h", &help));
    ck_assert(help);
    DG_CK(ctx, parse("-- --help", &help));
    ck_assert(!help);
}
END_TEST

START_TEST(check_runs_the_rules) {
    ck_assert_int_eq(dg_options_check(ctx, &table, &o), DG_EUSAGE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--images is missing"));
    set("images", "x");
    DG_CK(ctx, dg_options_check(ctx, &table, &o));
    set("num-samples", "13");
    ck_assert_int_eq(dg_options_check(ctx, &table, &o), DG_EDEVICE);
}
END_TEST

START_TEST(json_round_trip) {
    sample_options back = {0};
    set("images", "Gesicht – ü");
    set("num-samples", "2Ki");
    set("lr", "0.1");
    set("time-limit", "1h");
    set("hflip", NULL);
    set("metadata", "false");
    set("channels", "3");
    set("class", "T-shirt: top");
    set("class", "b");
    set("window", "-5:10");
    set("public", "size,window");
    set("checkpoint-every", "90s");
    set("quiet", NULL);
    json_t *json = dg_options_to_json(&table, &o);
    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json_string_value(json_object_get(json, "images")), "Gesicht – ü");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "num_samples")), 2048);
    ck_assert_str_eq(json_string_value(json_object_get(json, "threads")), "auto");
    ck_assert_double_eq(json_real_value(json_object_get(json, "time_limit")), 3600);
    ck_assert(json_is_true(json_object_get(json, "hflip")));
    ck_assert_str_eq(json_string_value(json_object_get(json, "channels")), "3");
    ck_assert_int_eq((int)json_array_size(json_object_get(json, "class")), 2);
    ck_assert_str_eq(json_string_value(json_object_get(json, "window")), "-5:10");
    ck_assert_str_eq(json_string_value(json_object_get(json, "public")), "size,window");
    ck_assert(json_is_null(json_object_get(json, "seeds")));
    ck_assert_str_eq(json_string_value(json_object_get(json, "checkpoint_every")), "1m30s");
    ck_assert_ptr_null(json_object_get(json, "quiet")); /* LOCAL */

    DG_CK(ctx, dg_options_init(ctx, &table, &back));
    DG_CK(ctx, dg_options_from_json(ctx, &table, "config.json", json, &back));
    json_t *again = dg_options_to_json(&table, &back);
    ck_assert(json_equal(json, again));
    ck_assert_double_eq(back.rate, 0.1);
    ck_assert_double_eq(back.every.seconds, 90);
    ck_assert(!back.metadata && !back.quiet);
    json_decref(again);
    json_decref(json);
    dg_options_free(&table, &back);
}
END_TEST

static void json_refused(const char *text, const char *part) {
    json_t *json = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(json);
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_options_from_json(ctx, &table, "config.json", json, &o), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), part) != NULL, "'%s' is not in '%s'", part, dg_last_error(ctx));
    json_decref(json);
}

START_TEST(json_is_checked) {
    json_refused("[]", "JSON object");
    json_refused("{\"num_sampels\": 3}", "did you mean \"num-samples\"?");
    json_refused("{\"num_samples\": 0}", "config.json: num-samples: 0 is out of range");
    json_refused("{\"num_samples\": true}", "wrong type");
    json_refused("{\"num_samples\": 1.5}", "not valid");
    json_refused("{\"hflip\": 1}", "wrong type");
    json_refused("{\"images\": 1}", "wrong type");
    json_refused("{\"class\": \"a\"}", "wrong type");
    json_refused("{\"class\": [\"a\", 1]}", "wrong type");
    json_refused("{\"lr\": {}}", "wrong type");
}
END_TEST

START_TEST(json_takes_native_and_text) {
    json_t *json = json_loads("{\"num-samples\": \"5k\", \"level\": 7, \"time_limit\": 90, \"lr\": 1, \"channels\": 3,"
                              " \"checkpoint_every\": 500, \"threads\": null, \"class\": [\"x\"]}",
                              0, NULL);
    set("threads", "3");
    set("class", "replaced");
    DG_CK(ctx, dg_options_from_json(ctx, &table, "config.json", json, &o));
    ck_assert_int_eq(o.count, 5000);
    ck_assert_int_eq(o.level, 7);
    ck_assert_double_eq(o.limit, 90);
    ck_assert_double_eq(o.rate, 1);
    ck_assert_int_eq(o.channels, MODE_THREE);
    ck_assert_int_eq(o.every.steps, 500);
    ck_assert_int_eq(o.threads, 0);
    ck_assert_int_eq(o.classes.count, 1);
    ck_assert_str_eq(o.classes.items[0], "x");
    json_decref(json);
}
END_TEST

START_TEST(conflicts_are_named) {
    sample_options now = {0};
    DG_CK(ctx, dg_options_init(ctx, &table, &now));
    DG_CK(ctx, dg_options_conflict(ctx, &table, &o, &now));
    DG_CK(ctx, dg_options_set(ctx, &table, &now, "threads", "2")); /* MUTABLE */
    DG_CK(ctx, dg_options_set(ctx, &table, &now, "quiet", NULL));  /* LOCAL */
    DG_CK(ctx, dg_options_conflict(ctx, &table, &o, &now));
    DG_CK(ctx, dg_options_set(ctx, &table, &now, "lr", "0.01"));
    DG_CK(ctx, dg_options_set(ctx, &table, &now, "images", "x"));
    ck_assert_int_eq(dg_options_conflict(ctx, &table, &o, &now), DG_ECONFIG);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--lr was 0.0001, is now 0.01"));
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "--images was not given, is now x"));
    dg_options_free(&table, &now);
}
END_TEST

START_TEST(texts_read_back) {
    static const char *const names[] = {"num-samples", "level", "lr", "time-limit", "channels", "checkpoint-every"};
    set("lr", "0.30000000000000004");
    set("time-limit", "1d1h1m1s");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dg_str first = {0}, second = {0};
        const dg_option *option = dg_options_find(&table, names[i]);
        dg_options_text(option, &o, &first);
        set(names[i], first.data);
        dg_options_text(option, &o, &second);
        ck_assert_str_eq(first.data, second.data);
        dg_str_free(&first);
        dg_str_free(&second);
    }
    ck_assert_double_eq(o.rate, 0.30000000000000004);
    ck_assert_double_eq(o.limit, 90061);
}
END_TEST

START_TEST(help_shows_every_option) {
    dg_str help = {0};
    dg_options_help(&table, &help);
    ck_assert(dg_str_ok(&help));
    for (size_t i = 0; i < table.count; i++) {
        char flag[64];
        snprintf(flag, sizeof flag, "--%s", options[i].name);
        if (strcmp(options[i].name, "metadata") == 0)
            snprintf(flag, sizeof flag, "--no-metadata");
        if (options[i].flags & DG_OPTION_HIDDEN)
            ck_assert_msg(!strstr(help.data, flag), "%s is shown", flag);
        else
            ck_assert_msg(strstr(help.data, flag) != NULL, "%s is not shown", flag);
    }
    for (const char *line = help.data; *line;) {
        const size_t length = strcspn(line, "\n");
        ck_assert_msg(length <= 100, "%zu columns: %.*s", length, (int)length, line);
        ck_assert_msg(length == 0 || line[length - 1] != ' ', "trailing space: %.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
    ck_assert_ptr_nonnull(strstr(help.data, "Usage: diffgen try --images PATH [options]\n"));
    ck_assert_ptr_nonnull(strstr(help.data, "\nInput:\n  --images PATH"));
    ck_assert_ptr_nonnull(strstr(help.data, "  -n, --num-samples COUNT     How many. [default 16; also "
                                            "--count]\n"));
    ck_assert_ptr_nonnull(strstr(help.data, "  --channels auto|1|3         Channels. [default auto]\n"));
    dg_str_free(&help);
}
END_TEST

START_TEST(man_page_is_roff) {
    dg_str man = {0};
    dg_options_man(&table, "1.2.3", &man);
    ck_assert(dg_str_ok(&man));
    ck_assert_ptr_eq(strstr(man.data, ".TH DIFFGEN\\-TRY 1 \"\" \"diffgen 1.2.3\""), man.data);
    for (size_t i = 0; i < table.count; i++) {
        if (!(options[i].flags & DG_OPTION_HIDDEN) && !strchr(options[i].name, '-'))
            ck_assert_ptr_nonnull(strstr(man.data, options[i].name));
    }
    ck_assert_ptr_nonnull(strstr(man.data, "\\-\\-num\\-samples COUNT"));
    ck_assert_ptr_nonnull(strstr(man.data, "\n\\&.Second paragraph.\n"));
    ck_assert_ptr_nonnull(strstr(man.data, ".SH EXAMPLES"));
    ck_assert_ptr_null(strstr(man.data, "secret"));
    dg_str_free(&man);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("options");
    TCase *tc = tcase_create("options");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, defaults);
    tcase_add_test(tc, every_type_is_read);
    tcase_add_test(tc, names_have_aliases_and_snake_case);
    tcase_add_test(tc, bad_values_name_what_fits);
    tcase_add_test(tc, unknown_names_suggest_the_nearest);
    tcase_add_test(tc, command_lines);
    tcase_add_test(tc, bad_command_lines);
    tcase_add_test(tc, help_is_asked_for);
    tcase_add_test(tc, check_runs_the_rules);
    tcase_add_test(tc, json_round_trip);
    tcase_add_test(tc, json_is_checked);
    tcase_add_test(tc, json_takes_native_and_text);
    tcase_add_test(tc, conflicts_are_named);
    tcase_add_test(tc, texts_read_back);
    tcase_add_test(tc, help_shows_every_option);
    tcase_add_test(tc, man_page_is_roff);
    suite_add_tcase(suite, tc);
    return suite;
}
