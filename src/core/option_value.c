#include "core/option_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void *dg_option_field(const dg_option *option, void *options) {
    return (char *)options + option->offset;
}

const void *dg_option_field_const(const dg_option *option, const void *options) {
    return (const char *)options + option->offset;
}

bool dg_option_takes_value(const dg_option *option) {
    return option->type != DG_OPTION_BOOL;
}

const char *dg_option_part(const char *list, char separator, int index, size_t *length) {
    for (const char *start = list; start;) {
        const char *end = strchr(start, separator);
        *length = end ? (size_t)(end - start) : strlen(start);
        if (index-- == 0)
            return *length ? start : NULL;
        start = end ? end + 1 : NULL;
    }
    return NULL;
}

/* ---- reading one text ----------------------------------------------------------------------------------------------
 */

/* What a text turned out to be; decides the message. */
typedef enum outcome { FITS, MALFORMED, OUT_OF_RANGE, NO_MEMORY } outcome;

static bool in_range(const dg_option *option, double value) {
    return option->min == option->max ? isfinite(value) : value >= option->min && value <= option->max;
}

static bool is_word(const dg_option *option, const char *text) {
    return option->word && strcasecmp(text, option->word) == 0;
}

/* A whole number with an optional sign; *end is where it stopped. */
static bool read_int(const char *text, int64_t *out, const char **end) {
    char *stop = NULL;
    errno = 0;
    const char first = *text == '-' || *text == '+' ? text[1] : *text;
    if (first < '0' || first > '9')
        return false;
    *out = strtoll(text, &stop, 10);
    *end = stop;
    return errno == 0;
}

static outcome read_integer(const dg_option *option, const char *text, int64_t *field) {
    int64_t value = 0;
    const char *end = NULL;
    if (is_word(option, text)) {
        *field = (int64_t)option->word_value;
        return FITS;
    }
    bool good = option->type == DG_OPTION_COUNT ? dg_parse_count(text, &value) : read_int(text, &value, &end) && !*end;
    if (!good && option->type == DG_OPTION_COUNT) /* a negative count is a number, only too small a one */
        good = *text == '-' && read_int(text, &value, &end) && !*end;
    if (!good)
        return MALFORMED;
    if (!in_range(option, (double)value) || (option->type == DG_OPTION_COUNT && value < 0))
        return OUT_OF_RANGE;
    *field = value;
    return FITS;
}

static outcome read_real(const dg_option *option, const char *text, double *field) {
    double value = 0;
    if (is_word(option, text)) {
        *field = option->word_value;
        return FITS;
    }
    if (option->type == DG_OPTION_DURATION ? !dg_parse_duration(text, &value) : !dg_parse_number(text, &value))
        return MALFORMED;
    if (!in_range(option, value))
        return OUT_OF_RANGE;
    *field = value;
    return FITS;
}

static outcome read_bool(const char *text, bool *field) {
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *field = strcasecmp(text, yes[i]) == 0;
            return FITS;
        }
    }
    return MALFORMED;
}

/* The choice that the first `length` characters of text are; -1: none. */
static int find_choice(const dg_option *option, const char *text, size_t length) {
    size_t choice_length = 0;
    const char *part = NULL;
    for (int i = 0; (part = dg_option_part(option->choices, '|', i, &choice_length)); i++)
        if (choice_length == length && strncasecmp(text, part, length) == 0)
            return i;
    return -1;
}

static outcome read_choice(const dg_option *option, const char *text, int *field) {
    const int choice = find_choice(option, text, strlen(text));
    if (choice < 0)
        return MALFORMED;
    *field = choice;
    return FITS;
}

static outcome read_words(const dg_option *option, const char *text, unsigned *field) {
    unsigned words = 0;
    for (const char *word = text; word;) {
        const char *comma = strchr(word, ',');
        const int choice = find_choice(option, word, comma ? (size_t)(comma - word) : strlen(word));
        if (choice < 0)
            return MALFORMED;
        words |= 1u << choice;
        word = comma ? comma + 1 : NULL;
    }
    *field = words;
    return FITS;
}

static outcome read_pair(const dg_option *option, const char *text, dg_int_pair *field) {
    dg_int_pair pair = {.set = true};
    const char *end = NULL;
    if (is_word(option, text)) {
        *field = (dg_int_pair){.word = true};
        return FITS;
    }
    if (!read_int(text, &pair.first, &end))
        return MALFORMED;
    if (*end == option->separator) {
        if (!read_int(end + 1, &pair.second, &end) || *end)
            return MALFORMED;
    } else if (*end || !(option->flags & DG_OPTION_LONE)) {
        return MALFORMED;
    } else {
        pair.second = pair.first;
    }
    if (!in_range(option, (double)pair.first) || !in_range(option, (double)pair.second))
        return OUT_OF_RANGE;
    *field = pair;
    return FITS;
}

/* A unit of time at the end makes it a duration; "5M" is five million steps, "5m" five minutes. */
static outcome read_every(const dg_option *option, const char *text, dg_every *field) {
    dg_every every = {0};
    if (is_word(option, text)) {
        *field = every;
        return FITS;
    }
    const size_t length = strlen(text);
    const bool is_time = length > 1 && strchr("smhd", text[length - 1]);
    if (is_time ? !dg_parse_duration(text, &every.seconds) : !dg_parse_count(text, &every.steps))
        return MALFORMED;
    if (every.seconds <= 0 && every.steps <= 0)
        return OUT_OF_RANGE;
    *field = every;
    return FITS;
}

static outcome read_string(const char *text, char **field) {
    if (!*text)
        return MALFORMED;
    char *copy = strdup(text);
    if (!copy)
        return NO_MEMORY;
    free(*field);
    *field = copy;
    return FITS;
}

static outcome append_item(const char *text, dg_string_list *list) {
    char *copy = NULL;
    outcome result = read_string(text, &copy);
    if (result != FITS)
        return result;
    char **items = realloc(list->items, (size_t)(list->count + 1) * sizeof *items);
    if (!items) {
        free(copy);
        return NO_MEMORY;
    }
    list->items = items;
    list->items[list->count++] = copy;
    return FITS;
}

static outcome read_value(const dg_option *option, const char *text, void *field) {
    switch (option->type) {
    case DG_OPTION_STRING:
        return read_string(text, field);
    case DG_OPTION_COUNT:
    case DG_OPTION_INT:
        return read_integer(option, text, field);
    case DG_OPTION_NUMBER:
    case DG_OPTION_DURATION:
        return read_real(option, text, field);
    case DG_OPTION_BOOL:
        return read_bool(text, field);
    case DG_OPTION_CHOICE:
        return read_choice(option, text, field);
    case DG_OPTION_WORDS:
        return read_words(option, text, field);
    case DG_OPTION_LIST:
        return append_item(text, field);
    case DG_OPTION_PAIR:
        return read_pair(option, text, field);
    case DG_OPTION_EVERY:
        return read_every(option, text, field);
    }
    return MALFORMED;
}

/* The choice a mistyped word was meant to be, or "". */
static void suggest_choice(const dg_option *option, const char *text, dg_str *out) {
    char words[16][32];
    const char *names[16];
    size_t count = 0, length = 0;
    const char *part = NULL;
    if (option->type != DG_OPTION_CHOICE)
        return;
    while (count < 16 && (part = dg_option_part(option->choices, '|', (int)count, &length))) {
        snprintf(words[count], sizeof words[count], "%.*s", (int)length, part);
        names[count] = words[count];
        count++;
    }
    const char *nearest = dg_nearest_name(text, names, count);
    if (nearest)
        dg_str_printf(out, "; did you mean %s?", nearest);
}

dg_status dg_option_value_set(dg_ctx *ctx, const dg_option *option, void *options, const char *text, dg_status failure,
                              const char *where) {
    dg_str expected = {0}, source = {0};
    dg_status status = DG_OK;
    const outcome result = read_value(option, text, dg_option_field(option, options));
    if (result == FITS)
        return DG_OK;
    dg_option_expects(option, &expected);
    suggest_choice(option, text, &expected);
    dg_str_printf(&source, where ? "%s: %s" : "%s--%s", where ? where : "", option->name);
    if (result == NO_MEMORY || !dg_str_ok(&expected) || !dg_str_ok(&source))
        status = dg_fail(ctx, DG_ENOMEM, "--%s: out of memory", option->name);
    else
        status = dg_fail(ctx, failure,
                         result == MALFORMED ? "%s: '%s' is not valid here; it takes %s"
                                             : "%s: %s is out of range; it takes %s",
                         source.data, text, expected.data);
    dg_str_free(&expected);
    dg_str_free(&source);
    return status;
}

void dg_option_value_free(const dg_option *option, void *options) {
    if (option->type == DG_OPTION_STRING) {
        char **field = dg_option_field(option, options);
        free(*field);
        *field = NULL;
    } else if (option->type == DG_OPTION_LIST) {
        dg_string_list *list = dg_option_field(option, options);
        for (int64_t i = 0; i < list->count; i++)
            free(list->items[i]);
        free(list->items);
        *list = (dg_string_list){0};
    } else if (option->type == DG_OPTION_PAIR) {
        *(dg_int_pair *)dg_option_field(option, options) = (dg_int_pair){0};
    } else if (option->type == DG_OPTION_EVERY) {
        *(dg_every *)dg_option_field(option, options) = (dg_every){0};
    } else if (option->type == DG_OPTION_WORDS) {
        *(unsigned *)dg_option_field(option, options) = 0;
    } else if (option->type == DG_OPTION_BOOL) {
        *(bool *)dg_option_field(option, options) = false;
    }
}

dg_status dg_option_value_reset(dg_ctx *ctx, const dg_option *option, void *options) {
    dg_option_value_free(option, options);
    return option->fallback ? dg_option_value_set(ctx, option, options, option->fallback, DG_EINVAL, NULL) : DG_OK;
}

/* ---- messages and texts --------------------------------------------------------------------------------------------
 */

char *dg_format_double(char buffer[32], double value) {
    for (int digits = 15; digits <= 17; digits++) {
        const int length = snprintf(buffer, 32, "%.*g", digits, value);
        if (length < 32 && strtod(buffer, NULL) == value)
            break;
    }
    return buffer;
}

static void append_duration(double seconds, dg_str *out) {
    static const struct {
        int64_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    char buffer[32];
    if (seconds != floor(seconds) || seconds < 1 || seconds > 1e9) {
        dg_str_printf(out, "%ss", dg_format_double(buffer, seconds));
        return;
    }
    int64_t rest = (int64_t)seconds;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (rest >= units[i].seconds)
            dg_str_printf(out, "%lld%c", (long long)(rest / units[i].seconds), units[i].letter);
        rest %= units[i].seconds;
    }
}

static void append_bound(const dg_option *option, double bound, dg_str *out) {
    char buffer[32];
    if (option->type == DG_OPTION_DURATION)
        append_duration(bound, out);
    else
        dg_str_append(out, dg_format_double(buffer, bound));
}

void dg_option_expects(const dg_option *option, dg_str *out) {
    const char sep = option->separator;
    size_t length = 0;
    const char *part = NULL;
    switch (option->type) {
    case DG_OPTION_STRING:
    case DG_OPTION_LIST:
        dg_str_append(out, "a text that is not empty");
        break;
    case DG_OPTION_COUNT:
        dg_str_append(out, "a whole number such as 5000, 5k or 2Ki");
        break;
    case DG_OPTION_INT:
        dg_str_append(out, "a whole number");
        break;
    case DG_OPTION_NUMBER:
        dg_str_append(out, "a number");
        break;
    case DG_OPTION_DURATION:
        dg_str_append(out, "a duration such as 90s, 15m or 1h30m");
        break;
    case DG_OPTION_BOOL:
        dg_str_append(out, "true or false, or nothing");
        break;
    case DG_OPTION_CHOICE:
    case DG_OPTION_WORDS:
        dg_str_append(out,
                      option->type == DG_OPTION_WORDS ? "with commas between them, one or several of " : "one of ");
        for (int i = 0; (part = dg_option_part(option->choices, '|', i, &length)); i++)
            dg_str_printf(out, "%s%.*s", i ? ", " : "", (int)length, part);
        break;
    case DG_OPTION_PAIR:
        dg_str_printf(out, "two whole numbers, A%cB%s", sep, option->flags & DG_OPTION_LONE ? ", or one" : "");
        break;
    case DG_OPTION_EVERY:
        dg_str_append(out, "a number of steps such as 500 or 5k, or a time such as 10m");
        break;
    }
    if (option->min != option->max) {
        dg_str_append(out, " from ");
        append_bound(option, option->min, out);
        dg_str_append(out, " to ");
        append_bound(option, option->max, out);
    }
    if (option->word)
        dg_str_printf(out, ", or %s", option->word);
}

const char *dg_option_choice(const dg_option *option, int value, char buffer[32]) {
    size_t length = 0;
    const char *part = value < 0 ? NULL : dg_option_part(option->choices, '|', value, &length);
    snprintf(buffer, 32, "%.*s", part ? (int)length : 1, part ? part : "?");
    return buffer;
}

static void append_every(const dg_every *every, const char *word, dg_str *out) {
    if (every->seconds > 0)
        append_duration(every->seconds, out);
    else if (every->steps > 0)
        dg_str_printf(out, "%lld", (long long)every->steps);
    else
        dg_str_append(out, word ? word : "0");
}

static void append_words(const dg_option *option, unsigned words, dg_str *out) {
    char buffer[32];
    const char *comma = "";
    for (int i = 0; words >> i; i++) {
        if (!(words >> i & 1))
            continue;
        dg_str_printf(out, "%s%s", comma, dg_option_choice(option, i, buffer));
        comma = ",";
    }
}

void dg_options_text(const dg_option *option, const void *options, dg_str *out) {
    const void *field = dg_option_field_const(option, options);
    char buffer[32];
    switch (option->type) {
    case DG_OPTION_STRING:
        dg_str_append(out, *(char *const *)field ? *(char *const *)field : "");
        break;
    case DG_OPTION_COUNT:
    case DG_OPTION_INT:
        if (option->word && *(const int64_t *)field == (int64_t)option->word_value)
            dg_str_append(out, option->word);
        else
            dg_str_printf(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case DG_OPTION_NUMBER:
    case DG_OPTION_DURATION:
        if (option->word && *(const double *)field == option->word_value)
            dg_str_append(out, option->word);
        else if (option->type == DG_OPTION_NUMBER)
            dg_str_append(out, dg_format_double(buffer, *(const double *)field));
        else
            append_duration(*(const double *)field, out);
        break;
    case DG_OPTION_BOOL:
        dg_str_append(out, *(const bool *)field ? "true" : "false");
        break;
    case DG_OPTION_CHOICE:
        dg_str_append(out, dg_option_choice(option, *(const int *)field, buffer));
        break;
    case DG_OPTION_WORDS:
        append_words(option, *(const unsigned *)field, out);
        break;
    case DG_OPTION_LIST: {
        const dg_string_list *list = field;
        for (int64_t i = 0; i < list->count; i++)
            dg_str_printf(out, "%s%s", i ? ", " : "", list->items[i]);
        break;
    }
    case DG_OPTION_PAIR: {
        const dg_int_pair *pair = field;
        if (pair->word)
            dg_str_append(out, option->word);
        else if (pair->set)
            dg_str_printf(out, "%lld%c%lld", (long long)pair->first, option->separator, (long long)pair->second);
        break;
    }
    case DG_OPTION_EVERY:
        append_every(field, option->word, out);
        break;
    }
}
