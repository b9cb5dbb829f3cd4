/* Options: one typed table per subcommand drives the command line, --help, the man page, config.json and the C API.
 * Order: dg_options_init -> dg_options_parse / dg_options_set / dg_options_from_json, any mix -> dg_options_check ->
 * use the struct -> dg_options_free.
 *
 * Texts are what a user writes: "5k" or "2Ki" for a count, "1h30m" for a duration. Names are kebab-case; snake_case and
 * the aliases are accepted wherever a name is. A later value replaces an earlier one, except in lists, which grow. */
#ifndef DG_CORE_OPTIONS_H
#define DG_CORE_OPTIONS_H

#include "core/json.h"
#include "core/text.h"

typedef enum dg_option_type {
    DG_OPTION_STRING,   /* char *, NULL = not given */
    DG_OPTION_COUNT,    /* int64_t; "5000", "5k", "2Ki" */
    DG_OPTION_INT,      /* int64_t; digits and sign only */
    DG_OPTION_NUMBER,   /* double, finite */
    DG_OPTION_DURATION, /* double, seconds; "90s", "15m", "1h30m" */
    DG_OPTION_BOOL,     /* bool; --name, --no-name, --name=true|false */
    DG_OPTION_CHOICE,   /* int (or an enum of that size): position in .choices */
    DG_OPTION_WORDS,    /* unsigned: one or several of .choices with commas between them, bit i for the i-th */
    DG_OPTION_LIST,     /* dg_string_list; the option may be repeated */
    DG_OPTION_PAIR,     /* dg_int_pair; "A<separator>B" or the word; with DG_OPTION_LONE "A" alone means A,A */
    DG_OPTION_EVERY,    /* dg_every; "500" or "5k" = steps, "10m" or "90s" = time */
} dg_option_type;

typedef struct dg_string_list {
    char **items;
    int64_t count;
} dg_string_list;

typedef struct dg_int_pair {
    int64_t first, second;
    bool set;  /* two numbers were given */
    bool word; /* the option's word was given in their place */
} dg_int_pair;

/* An interval: in steps or in seconds, never both; both zero = never. */
typedef struct dg_every {
    int64_t steps;
    double seconds;
} dg_every;

typedef enum dg_option_flag {
    DG_OPTION_LOCAL = 1,    /* about this call, not about its result: left out of config.json */
    DG_OPTION_MUTABLE = 2,  /* may differ when a run is resumed: dg_options_conflict passes over it */
    DG_OPTION_REQUIRED = 4, /* dg_options_check refuses a missing STRING or an empty LIST */
    DG_OPTION_HIDDEN = 8,   /* accepted, not shown in --help and man page */
    DG_OPTION_LONE = 16,    /* PAIR: one number alone stands for both */
} dg_option_flag;

typedef struct dg_option {
    const char *name;    /* "label-dropout" */
    const char *aliases; /* "data,data-dir"; one of a single character is a short option: "n"; NULL = none */
    dg_option_type type;
    unsigned flags;
    size_t offset;        /* of the field; use the DG_OPT_ macros, which also check its type */
    const char *fallback; /* the default, as a user would write it; NULL = unset, zero, false, empty */
    double min, max;      /* inclusive, in the field's unit; min == max: no limit */
    const char *choices;  /* CHOICE, WORDS: "auto|1|3" */
    const char *word;     /* numbers: a word that stands for word_value, whatever the range: "auto", "off" */
    double word_value;
    char separator;      /* PAIR: ':', '-' or '/' */
    const char *metavar; /* "PATH"; NULL = made from the type */
    const char *group;   /* heading in --help; options of one group stand together */
    const char *help;    /* one or more sentences; the default and the range are added by the printer */
} dg_option;

typedef struct dg_option_table {
    const char *command;    /* "train" */
    const char *summary;    /* one line, for `diffgen --help` and the man page's NAME */
    const char *usage;      /* what follows the command in the usage line: "--images PATH [options]" */
    const char *details;    /* paragraphs ('\n' between them) shown after the usage line; NULL = none */
    const char *examples;   /* "what it does\tcommand line\n" for each */
    const char *positional; /* name of the STRING or LIST option that takes arguments without a flag; NULL = none */
    const dg_option *options;
    size_t count;
    size_t struct_size;
    /* Rules that concern several options; `options` is the filled struct. Records its text with dg_fail. May be NULL.
     */
    dg_status (*check)(dg_ctx *ctx, const void *options);
} dg_option_table;

/* Field and type together: a field of another C type does not compile. */
#define DG_OPT_FIELD_(S, field, ctype) (offsetof(S, field) + 0 * sizeof(_Generic(&((S *)0)->field, ctype * : 1)))
#define DG_OPT_STRING(S, field) .type = DG_OPTION_STRING, .offset = DG_OPT_FIELD_(S, field, char *)
#define DG_OPT_COUNT(S, field) .type = DG_OPTION_COUNT, .offset = DG_OPT_FIELD_(S, field, int64_t)
#define DG_OPT_INT(S, field) .type = DG_OPTION_INT, .offset = DG_OPT_FIELD_(S, field, int64_t)
#define DG_OPT_NUMBER(S, field) .type = DG_OPTION_NUMBER, .offset = DG_OPT_FIELD_(S, field, double)
#define DG_OPT_DURATION(S, field) .type = DG_OPTION_DURATION, .offset = DG_OPT_FIELD_(S, field, double)
#define DG_OPT_BOOL(S, field) .type = DG_OPTION_BOOL, .offset = DG_OPT_FIELD_(S, field, bool)
#define DG_OPT_CHOICE(S, field)                                                                                        \
    .type = DG_OPTION_CHOICE,                                                                                          \
    .offset = offsetof(S, field) + 0 * sizeof(char[sizeof(((S *)0)->field) == sizeof(int) ? 1 : -1])
#define DG_OPT_WORDS(S, field) .type = DG_OPTION_WORDS, .offset = DG_OPT_FIELD_(S, field, unsigned)
#define DG_OPT_LIST(S, field) .type = DG_OPTION_LIST, .offset = DG_OPT_FIELD_(S, field, dg_string_list)
#define DG_OPT_PAIR(S, field) .type = DG_OPTION_PAIR, .offset = DG_OPT_FIELD_(S, field, dg_int_pair)
#define DG_OPT_EVERY(S, field) .type = DG_OPTION_EVERY, .offset = DG_OPT_FIELD_(S, field, dg_every)

/* Every field set to its default; the rest of the struct zeroed. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_options_init(dg_ctx *ctx, const dg_option_table *table, void *options);
/* Frees strings and lists and zeroes the struct, not the struct itself; NULL is legal. */
void dg_options_free(const dg_option_table *table, void *options);

/* The option of that name, alias or snake_case spelling (no leading dashes); NULL if there is none. */
const dg_option *dg_options_find(const dg_option_table *table, const char *name);
/* The known name most like `name`, NULL if none is near. Borrowed from the table. */
const char *dg_options_nearest(const dg_option_table *table, const char *name);

/* Sets one option from text; name without dashes, also "no-hflip". text NULL: a boolean without a value. For a list,
 * appends one item.
 * err   DG_EUSAGE unknown name (the text names the nearest), malformed value or out of range (the text holds both) */
DG_MUST_CHECK dg_status dg_options_set(dg_ctx *ctx, const dg_option_table *table, void *options, const char *name,
                                       const char *text);

/* Reads a command line after the subcommand: argv[0] is its first argument. `--name value`, `--name=value`, `-n value`,
 * `-n5`, `--` ends the options. dg_options_check is not called.
 * out   *help_wanted true if --help or -h was met: parsing stopped there
 * err   DG_EUSAGE as dg_options_set, a missing value, an argument that fits nothing */
DG_MUST_CHECK dg_status dg_options_parse(dg_ctx *ctx, const dg_option_table *table, int argc, char *const *argv,
                                         void *options, bool *help_wanted);

/* Required options and the table's own rules. err DG_EUSAGE, or what the table's check returns */
DG_MUST_CHECK dg_status dg_options_check(dg_ctx *ctx, const dg_option_table *table, const void *options);

/* {"images": "faces/", "label_dropout": 0.1, ...}: every option that is not LOCAL, snake_case keys, native types; a
 * value that equals its word is that word; an unset string or pair is null. NULL: no memory. */
json_t *dg_options_to_json(const dg_option_table *table, const void *options);
/* Sets what `object` holds (null: back to the default); values may be native or as a user writes them.
 * where  names the file in errors
 * err    DG_ECONFIG unknown key, wrong type, out of range */
DG_MUST_CHECK dg_status dg_options_from_json(dg_ctx *ctx, const dg_option_table *table, const char *where,
                                             const json_t *object, void *options);
/* Refuses `now` where an option that is neither LOCAL nor MUTABLE differs from `before`.
 * err   DG_ECONFIG the text names each such option with both values */
DG_MUST_CHECK dg_status dg_options_conflict(dg_ctx *ctx, const dg_option_table *table, const void *before,
                                            const void *now);

/* The value of one option as a user would write it ("2h", "auto", "0.1"); "" if unset. A list: items joined by ", ". */
void dg_options_text(const dg_option *option, const void *options, dg_str *out);
/* The i-th of "auto|1|3", for a CHOICE field; written into buffer, "?" outside. */
const char *dg_option_choice(const dg_option *option, int value, char buffer[32]);

/* Text of --help, at most 100 columns; every option that is not HIDDEN under its group. */
void dg_options_help(const dg_option_table *table, dg_str *out);
/* Man page, section 1, in the man(7) macros. */
void dg_options_man(const dg_option_table *table, const char *version, dg_str *out);

#endif
