#include "core/option_value.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

dg_status dg_options_init(dg_ctx *ctx, const dg_option_table *table, void *options) {
    memset(options, 0, table->struct_size);
    for (size_t i = 0; i < table->count; i++) {
        dg_status status = dg_option_value_reset(ctx, &table->options[i], options);
        if (status != DG_OK) {
            dg_options_free(table, options);
            return status;
        }
    }
    return DG_OK;
}

void dg_options_free(const dg_option_table *table, void *options) {
    if (!options)
        return;
    for (size_t i = 0; i < table->count; i++)
        dg_option_value_free(&table->options[i], options);
    memset(options, 0, table->struct_size);
}

/* ---- names ---------------------------------------------------------------------------------------------------------
 */

/* Equal but for '_' written for '-'; `name` has no end of its own: it is `length` long. */
static bool same_name(const char *wanted, const char *name, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (wanted[i] != name[i] && !(wanted[i] == '_' && name[i] == '-'))
            return false;
    return wanted[length] == '\0';
}

static bool has_alias(const dg_option *option, const char *name) {
    size_t length = 0;
    const char *part = NULL;
    for (int i = 0; option->aliases && (part = dg_option_part(option->aliases, ',', i, &length)); i++)
        if (same_name(name, part, length))
            return true;
    return false;
}

const dg_option *dg_options_find(const dg_option_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++) {
        const dg_option *option = &table->options[i];
        if (same_name(name, option->name, strlen(option->name)) || has_alias(option, name))
            return option;
    }
    return NULL;
}

/* As dg_options_find, also "no-hflip" for a boolean; *negated tells. */
static const dg_option *find_negatable(const dg_option_table *table, const char *name, bool *negated) {
    const dg_option *option = dg_options_find(table, name);
    *negated = false;
    if (option || (strncmp(name, "no-", 3) != 0 && strncmp(name, "no_", 3) != 0))
        return option;
    option = dg_options_find(table, name + 3);
    *negated = true;
    return option && option->type == DG_OPTION_BOOL ? option : NULL;
}

const char *dg_options_nearest(const dg_option_table *table, const char *name) {
    const char *names[256];
    size_t count = 0;
    for (size_t i = 0; i < table->count && count < sizeof names / sizeof *names; i++)
        if (!(table->options[i].flags & DG_OPTION_HIDDEN))
            names[count++] = table->options[i].name;
    const char *nearest = dg_nearest_name(name, names, count);
    if (nearest)
        return nearest;
    /* Near an alias: say the primary name. A flag cut short or written long ("--data-folder") counts as near, too. */
    for (size_t i = 0; i < table->count; i++) {
        char alias[64];
        const char *one = alias;
        size_t length = 0;
        const char *part = NULL;
        const dg_option *option = &table->options[i];
        for (int k = 0; option->aliases && (part = dg_option_part(option->aliases, ',', k, &length)); k++) {
            snprintf(alias, sizeof alias, "%.*s", (int)length, part);
            if (length > 2 && dg_nearest_name(name, &one, 1))
                return option->name;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (strlen(name) >= 3 && strncmp(names[i], name, strlen(name)) == 0)
            return names[i];
    return NULL;
}

static dg_status unknown_option(dg_ctx *ctx, const dg_option_table *table, const char *name) {
    const char *dashes = strlen(name) == 1 ? "-" : "--";
    const char *bare = strncmp(name, "no-", 3) == 0 ? name + 3 : name;
    const char *nearest = dg_options_nearest(table, bare);
    if (nearest)
        return dg_fail(ctx, DG_EUSAGE, "unknown option %s%s; did you mean --%s?", dashes, name, nearest);
    return dg_fail(ctx, DG_EUSAGE, "unknown option %s%s; `diffgen %s --help` lists all of them", dashes, name,
                   table->command);
}

/* ---- setting -------------------------------------------------------------------------------------------------------
 */

dg_status dg_options_set(dg_ctx *ctx, const dg_option_table *table, void *options, const char *name, const char *text) {
    bool negated = false;
    const dg_option *option = find_negatable(table, name, &negated);
    if (!option)
        return unknown_option(ctx, table, name);
    if (negated && text)
        return dg_fail(ctx, DG_EUSAGE, "--no-%s takes no value", option->name);
    if (negated)
        text = "false";
    if (!text && dg_option_takes_value(option)) {
        dg_str expected = {0};
        dg_option_expects(option, &expected);
        dg_status status = dg_fail(ctx, DG_EUSAGE, "--%s needs a value: %s", option->name,
                                   dg_str_ok(&expected) ? expected.data : "see --help");
        dg_str_free(&expected);
        return status;
    }
    return dg_option_value_set(ctx, option, options, text ? text : "true", DG_EUSAGE, NULL);
}

static bool is_missing(const dg_option *option, const void *options) {
    const void *field = dg_option_field_const(option, options);
    return option->type == DG_OPTION_STRING ? *(char *const *)field == NULL
                                            : ((const dg_string_list *)field)->count == 0;
}

dg_status dg_options_check(dg_ctx *ctx, const dg_option_table *table, const void *options) {
    for (size_t i = 0; i < table->count; i++) {
        const dg_option *option = &table->options[i];
        if (!(option->flags & DG_OPTION_REQUIRED) || !is_missing(option, options))
            continue;
        if (table->positional && strcmp(option->name, table->positional) == 0 && option->flags & DG_OPTION_HIDDEN)
            return dg_fail(ctx, DG_EUSAGE, "nothing to work on; usage: diffgen %s %s", table->command, table->usage);
        return dg_fail(ctx, DG_EUSAGE, "--%s is missing; usage: diffgen %s %s", option->name, table->command,
                       table->usage);
    }
    return table->check ? table->check(ctx, options) : DG_OK;
}

/* ---- the command line ----------------------------------------------------------------------------------------------
 */

typedef struct reader {
    dg_ctx *ctx;
    const dg_option_table *table;
    void *options;
    int argc, at; /* at: the argument being read */
    char *const *argv;
    bool positional_given;
} reader;

/* true for "--x" and "-x", false for "-", "-5" and "-.5", which are values. */
static bool looks_like_option(const char *argument) {
    return argument[0] == '-' && argument[1] && !isdigit((unsigned char)argument[1]) && argument[1] != '.';
}

/* Takes the next argument as the value of `name` where one is needed. */
static dg_status set_with_next(reader *in, const char *name) {
    bool negated = false;
    const dg_option *option = find_negatable(in->table, name, &negated);
    const char *value = NULL;
    if (option && dg_option_takes_value(option) && in->at + 1 < in->argc && !looks_like_option(in->argv[in->at + 1]))
        value = in->argv[++in->at];
    return dg_options_set(in->ctx, in->table, in->options, name, value);
}

/* "--name", "--name=value". */
static dg_status read_long(reader *in, const char *argument) {
    const char *equals = strchr(argument, '=');
    if (!equals)
        return set_with_next(in, argument);
    char *name = strndup(argument, (size_t)(equals - argument));
    if (!name)
        return dg_fail(in->ctx, DG_ENOMEM, "reading the command line: out of memory");
    dg_status status = dg_options_set(in->ctx, in->table, in->options, name, equals + 1);
    free(name);
    return status;
}

/* "-n 5", "-n5", "-n=5", "-q"; flags do not cluster. */
static dg_status read_short(reader *in, const char *argument) {
    const char name[2] = {argument[0], '\0'};
    const dg_option *option = dg_options_find(in->table, name);
    if (!argument[1])
        return set_with_next(in, name);
    if (option && dg_option_takes_value(option))
        return dg_options_set(in->ctx, in->table, in->options, name, argument + 1 + (argument[1] == '='));
    option = dg_options_find(in->table, argument); /* "-steps": one dash forgotten */
    if (option)
        return dg_fail(in->ctx, DG_EUSAGE, "unknown option -%s; did you mean --%s?", argument, option->name);
    return unknown_option(in->ctx, in->table, argument);
}

static dg_status read_positional(reader *in, const char *argument) {
    const dg_option *option = in->table->positional ? dg_options_find(in->table, in->table->positional) : NULL;
    if (!option)
        return dg_fail(in->ctx, DG_EUSAGE,
                       "unexpected argument '%s'; values belong to an option, and those that hold spaces need quotes",
                       argument);
    if (option->type == DG_OPTION_STRING && in->positional_given)
        return dg_fail(in->ctx, DG_EUSAGE, "unexpected argument '%s': '%s' was given already", argument,
                       *(char **)dg_option_field(option, in->options));
    in->positional_given = true;
    return dg_options_set(in->ctx, in->table, in->options, option->name, argument);
}

dg_status dg_options_parse(dg_ctx *ctx, const dg_option_table *table, int argc, char *const *argv, void *options,
                           bool *help_wanted) {
    reader in = {.ctx = ctx, .table = table, .options = options, .argc = argc, .argv = argv};
    bool only_values = false;
    *help_wanted = false;
    for (; in.at < argc; in.at++) {
        const char *argument = argv[in.at];
        dg_status status = DG_OK;
        if (!only_values && strcmp(argument, "--") == 0) {
            only_values = true;
            continue;
        }
        if (!only_values && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            *help_wanted = true;
            return DG_OK;
        }
        if (!only_values && strncmp(argument, "--", 2) == 0)
            status = read_long(&in, argument + 2);
        else if (!only_values && looks_like_option(argument))
            status = read_short(&in, argument + 1);
        else
            status = read_positional(&in, argument);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}
