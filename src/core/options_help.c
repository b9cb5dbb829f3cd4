/* --help and the man page, from the same table the parser reads. */
#include "core/option_value.h"

#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMNS = 100, HELP_INDENT = 30, HELP_METAVAR = 26, HELP_LARGE = 1000000 };

/* ---- what both say about an option ---------------------------------------------------------------------------------
 */

static bool choices_fit(const dg_option *option) {
    return strlen(option->choices) <= HELP_METAVAR;
}

static void append_metavar(const dg_option *option, dg_str *out) {
    static const char *const names[] = {
        [DG_OPTION_STRING] = "TEXT",       [DG_OPTION_COUNT] = "COUNT",   [DG_OPTION_INT] = "N",
        [DG_OPTION_NUMBER] = "NUMBER",     [DG_OPTION_BOOL] = "",         [DG_OPTION_CHOICE] = "CHOICE",
        [DG_OPTION_DURATION] = "DURATION", [DG_OPTION_LIST] = "TEXT",     [DG_OPTION_PAIR] = "A:B",
        [DG_OPTION_EVERY] = "STEPS|TIME",  [DG_OPTION_WORDS] = "WORD,..."};
    if (option->type == DG_OPTION_CHOICE && !option->metavar && choices_fit(option))
        dg_str_append(out, option->choices);
    else
        dg_str_append(out, option->metavar ? option->metavar : names[option->type]);
}

/* A flag that is on by default is shown by the spelling that changes something: --no-name. */
static bool shown_negated(const dg_option *option) {
    return option->type == DG_OPTION_BOOL && option->fallback && strcmp(option->fallback, "true") == 0;
}

/* "-n, --num-samples COUNT" */
static void append_flags(const dg_option *option, dg_str *out) {
    size_t length = 0;
    const char *part = NULL;
    for (int i = 0; option->aliases && (part = dg_option_part(option->aliases, ',', i, &length)); i++)
        if (length == 1)
            dg_str_printf(out, "-%c, ", *part);
    dg_str_printf(out, "--%s%s", shown_negated(option) ? "no-" : "", option->name);
    if (dg_option_takes_value(option)) {
        dg_str_append(out, " ");
        append_metavar(option, out);
    }
}

/* A limit nobody meets by accident is not worth a reader's time. */
static void append_range(const dg_option *option, dg_str *note) {
    char low[32], high[32];
    if (option->min == option->max || option->type == DG_OPTION_DURATION || option->max >= HELP_LARGE)
        return;
    dg_str_printf(note, "%s%s to %s", note->length ? "; " : "", dg_format_double(low, option->min),
                  dg_format_double(high, option->max));
}

/* The option's text, then what the table knows: choices, default, range, other names. */
static void append_description(const dg_option *option, dg_str *out) {
    dg_str note = {0};
    size_t length = 0;
    const char *part = NULL;
    dg_str_append(out, option->help);
    if (option->type == DG_OPTION_CHOICE && (option->metavar || !choices_fit(option))) {
        dg_str_append(out, " One of ");
        for (int i = 0; (part = dg_option_part(option->choices, '|', i, &length)); i++)
            dg_str_printf(out, "%s%.*s", i ? ", " : "", (int)length, part);
        dg_str_append(out, ".");
    }
    if (option->fallback && option->type != DG_OPTION_BOOL)
        dg_str_printf(&note, "default %s", option->fallback);
    append_range(option, &note);
    if (option->type == DG_OPTION_LIST)
        dg_str_printf(&note, "%srepeatable", note.length ? "; " : "");
    bool first = true;
    for (int i = 0; option->aliases && (part = dg_option_part(option->aliases, ',', i, &length)); i++) {
        if (length == 1)
            continue;
        dg_str_printf(&note, "%s--%.*s", !first ? ", " : note.length ? "; also " : "also ", (int)length, part);
        first = false;
    }
    if (note.length && dg_str_ok(&note))
        dg_str_printf(out, " [%s]", note.data);
    out->failed |= note.failed;
    dg_str_free(&note);
}

/* Calls `emit` for each shown option, groups in the order of their first option, and `heading` before each group. */
static void each_option(const dg_option_table *table, void (*heading)(const char *group, dg_str *out),
                        void (*emit)(const dg_option *option, dg_str *out), dg_str *out) {
    const char *previous = "";
    for (size_t i = 0; i < table->count; i++) {
        const dg_option *option = &table->options[i];
        const char *group = option->group ? option->group : "Options";
        if (option->flags & DG_OPTION_HIDDEN)
            continue;
        if (strcmp(group, previous) != 0)
            heading(group, out);
        previous = group;
        emit(option, out);
    }
}

/* ---- --help --------------------------------------------------------------------------------------------------------
 */

/* Appends words, broken at HELP_COLUMNS, later lines indented; `column` is where the first word goes. */
static void append_wrapped(const char *text, size_t indent, size_t column, dg_str *out) {
    bool line_is_empty = true;
    while (*text) {
        const size_t length = strcspn(text, " \n");
        if (length && !line_is_empty && column + 1 + length > HELP_COLUMNS) {
            dg_str_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            line_is_empty = true;
        }
        if (length) {
            dg_str_append(out, line_is_empty ? "" : " ");
            dg_str_append_bytes(out, text, length);
            column += length + !line_is_empty;
            line_is_empty = false;
        }
        text += length;
        if (*text == '\n') {
            dg_str_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            line_is_empty = true;
        }
        text += *text != '\0';
    }
    dg_str_append(out, "\n");
}

static void help_heading(const char *group, dg_str *out) {
    dg_str_printf(out, "\n%s:\n", group);
}

static void help_entry(const char *flags, const char *description, dg_str *out) {
    dg_str_printf(out, "  %s", flags);
    size_t column = 2 + strlen(flags);
    if (column + 2 > HELP_INDENT) {
        dg_str_append(out, "\n");
        column = 0;
    }
    dg_str_printf(out, "%*s", (int)(HELP_INDENT - column), "");
    append_wrapped(description, HELP_INDENT, HELP_INDENT, out);
}

static void help_option(const dg_option *option, dg_str *out) {
    dg_str flags = {0}, description = {0};
    append_flags(option, &flags);
    append_description(option, &description);
    if (dg_str_ok(&flags) && dg_str_ok(&description))
        help_entry(flags.data, description.data, out);
    else
        out->failed = true;
    dg_str_free(&flags);
    dg_str_free(&description);
}

/* Each example: what it does, a tab, the command. */
static void help_examples(const char *examples, dg_str *out) {
    dg_str_append(out, "\nExamples:\n");
    while (*examples) {
        const char *tab = strchr(examples, '\t'), *end = strchr(examples, '\n');
        dg_str_printf(out, "  %.*s\n      # %.*s\n", (int)(end - tab - 1), tab + 1, (int)(tab - examples), examples);
        examples = end + 1;
    }
}

void dg_options_help(const dg_option_table *table, dg_str *out) {
    dg_str_printf(out, "Usage: diffgen %s %s\n\n", table->command, table->usage);
    append_wrapped(table->details ? table->details : table->summary, 0, 0, out);
    each_option(table, help_heading, help_option, out);
    help_entry("-h, --help", "Show this text and exit.", out);
    if (table->examples)
        help_examples(table->examples, out);
}

/* ---- man page ------------------------------------------------------------------------------------------------------
 */

/* Text for roff: backslashes and hyphens escaped, no line starts with a control character. */
static void append_roff(const char *text, dg_str *out) {
    for (bool line_start = true; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            dg_str_append(out, "\\&");
        if (*text == '\\')
            dg_str_append(out, "\\e");
        else if (*text == '-')
            dg_str_append(out, "\\-");
        else
            dg_str_append_bytes(out, text, 1);
        line_start = *text == '\n';
    }
}

static void man_heading(const char *group, dg_str *out) {
    dg_str_printf(out, ".SS %s\n", group);
}

static void man_option(const dg_option *option, dg_str *out) {
    dg_str flags = {0}, description = {0};
    append_flags(option, &flags);
    append_description(option, &description);
    if (dg_str_ok(&flags) && dg_str_ok(&description)) {
        dg_str_append(out, ".TP\n\\fB");
        append_roff(flags.data, out);
        dg_str_append(out, "\\fR\n");
        append_roff(description.data, out);
        dg_str_append(out, "\n");
    } else {
        out->failed = true;
    }
    dg_str_free(&flags);
    dg_str_free(&description);
}

static void man_paragraphs(const char *text, dg_str *out) {
    while (text && *text) {
        const size_t length = strcspn(text, "\n");
        char *paragraph = strndup(text, length);
        if (!paragraph) {
            out->failed = true;
            return;
        }
        dg_str_append(out, ".PP\n");
        append_roff(paragraph, out);
        dg_str_append(out, "\n");
        free(paragraph);
        text += length + (text[length] == '\n');
    }
}

static void man_examples(const char *examples, dg_str *out) {
    dg_str_append(out, ".SH EXAMPLES\n");
    while (*examples) {
        const char *tab = strchr(examples, '\t'), *end = strchr(examples, '\n');
        char *what = strndup(examples, (size_t)(tab - examples)), *command = strndup(tab + 1, (size_t)(end - tab - 1));
        if (what && command) {
            dg_str_append(out, ".TP\n\\fB");
            append_roff(command, out);
            dg_str_append(out, "\\fR\n");
            append_roff(what, out);
            dg_str_append(out, "\n");
        } else {
            out->failed = true;
        }
        free(what);
        free(command);
        examples = end + 1;
    }
}

void dg_options_man(const dg_option_table *table, const char *version, dg_str *out) {
    dg_str_append(out, ".TH DIFFGEN\\-");
    for (const char *c = table->command; *c; c++)
        dg_str_printf(out, "%c", *c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    dg_str_printf(out, " 1 \"\" \"diffgen %s\" \"diffgen manual\"\n", version);
    dg_str_printf(out, ".SH NAME\ndiffgen\\-%s \\- ", table->command);
    append_roff(table->summary, out);
    dg_str_printf(out, "\n.SH SYNOPSIS\n\\fBdiffgen %s\\fR ", table->command);
    append_roff(table->usage, out);
    dg_str_append(out, "\n.SH DESCRIPTION\n");
    man_paragraphs(table->details ? table->details : table->summary, out);
    dg_str_append(out, ".SH OPTIONS\n");
    each_option(table, man_heading, man_option, out);
    dg_str_append(out, ".TP\n\\fB\\-h, \\-\\-help\\fR\nShow the options and exit.\n");
    if (table->examples)
        man_examples(table->examples, out);
    dg_str_append(out, ".SH EXIT STATUS\nThe codes are listed in \\fBdiffgen\\fR(1).\n");
    dg_str_append(out, ".SH SEE ALSO\n\\fBdiffgen\\fR(1)\n");
}
