#include "core/option_value.h"

#include <string.h>

/* ---- one value -----------------------------------------------------------------------------------------------------
 */

static json_t *list_to_json(const dg_string_list *list) {
    json_t *array = json_array();
    for (int64_t i = 0; array && i < list->count; i++) {
        if (json_array_append_new(array, json_string(list->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *text_to_json(const dg_option *option, const void *options) {
    dg_str text = {0};
    dg_options_text(option, options, &text);
    json_t *value = NULL;
    if (dg_str_ok(&text))
        value = text.length ? json_string(text.data) : json_null();
    dg_str_free(&text);
    return value;
}

json_t *dg_option_value_to_json(const dg_option *option, const void *options) {
    const void *field = dg_option_field_const(option, options);
    switch (option->type) {
    case DG_OPTION_COUNT:
    case DG_OPTION_INT:
        if (option->word && *(const int64_t *)field == (int64_t)option->word_value)
            return json_string(option->word);
        return json_integer(*(const int64_t *)field);
    case DG_OPTION_NUMBER:
    case DG_OPTION_DURATION:
        if (option->word && *(const double *)field == option->word_value)
            return json_string(option->word);
        return json_real(*(const double *)field);
    case DG_OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case DG_OPTION_LIST:
        return list_to_json(field);
    case DG_OPTION_EVERY:
        if (((const dg_every *)field)->steps > 0)
            return json_integer(((const dg_every *)field)->steps);
        return text_to_json(option, options);
    case DG_OPTION_STRING:
    case DG_OPTION_CHOICE:
    case DG_OPTION_WORDS:
    case DG_OPTION_PAIR:
        break;
    }
    return text_to_json(option, options);
}

static dg_status wrong_type(dg_ctx *ctx, const dg_option *option, const char *where) {
    dg_str expected = {0};
    dg_option_expects(option, &expected);
    dg_status status = dg_fail(ctx, DG_ECONFIG, "%s: %s: wrong type of value; it takes %s", where, option->name,
                               dg_str_ok(&expected) ? expected.data : "something else");
    dg_str_free(&expected);
    return status;
}

static dg_status set_number(dg_ctx *ctx, const dg_option *option, const char *where, double number, void *options) {
    char text[40], digits[32];
    if (option->word && number == option->word_value) /* "none" is 0 seconds, which no duration text can say */
        return dg_option_value_set(ctx, option, options, option->word, DG_ECONFIG, where);
    snprintf(text, sizeof text, "%s%s", dg_format_double(digits, number),
             option->type == DG_OPTION_DURATION ? "s" : "");
    return dg_option_value_set(ctx, option, options, text, DG_ECONFIG, where);
}

static dg_status set_list(dg_ctx *ctx, const dg_option *option, const char *where, const json_t *array, void *options) {
    size_t i = 0;
    const json_t *item = NULL;
    dg_option_value_free(option, options);
    json_array_foreach((json_t *)array, i, item) {
        if (!json_is_string(item))
            return wrong_type(ctx, option, where);
        dg_status status = dg_option_value_set(ctx, option, options, json_string_value(item), DG_ECONFIG, where);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

dg_status dg_option_value_from_json(dg_ctx *ctx, const dg_option *option, const char *where, const json_t *value,
                                    void *options) {
    const dg_option_type type = option->type;
    if (json_is_null(value))
        return dg_option_value_reset(ctx, option, options);
    if (type == DG_OPTION_LIST && json_is_array(value))
        return set_list(ctx, option, where, value, options);
    if (type == DG_OPTION_LIST)
        return wrong_type(ctx, option, where);
    if (json_is_string(value))
        return dg_option_value_set(ctx, option, options, json_string_value(value), DG_ECONFIG, where);
    if (type == DG_OPTION_BOOL && json_is_boolean(value))
        return dg_option_value_set(ctx, option, options, json_is_true(value) ? "true" : "false", DG_ECONFIG, where);
    const bool numeric = type == DG_OPTION_COUNT || type == DG_OPTION_INT || type == DG_OPTION_NUMBER ||
                         type == DG_OPTION_DURATION || type == DG_OPTION_EVERY || type == DG_OPTION_CHOICE;
    if (numeric && json_is_integer(value) && type != DG_OPTION_DURATION) { /* not through double: 64 bits stay exact */
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        return dg_option_value_set(ctx, option, options, text, DG_ECONFIG, where);
    }
    if (numeric && json_is_number(value))
        return set_number(ctx, option, where, json_number_value(value), options);
    return wrong_type(ctx, option, where);
}

/* ---- a whole struct ------------------------------------------------------------------------------------------------
 */

static void snake_case(const char *name, char key[64]) {
    snprintf(key, 64, "%s", name);
    for (char *c = key; *c; c++)
        if (*c == '-')
            *c = '_';
}

json_t *dg_options_to_json(const dg_option_table *table, const void *options) {
    json_t *object = json_object();
    for (size_t i = 0; object && i < table->count; i++) {
        const dg_option *option = &table->options[i];
        char key[64];
        if (option->flags & DG_OPTION_LOCAL)
            continue;
        snake_case(option->name, key);
        if (json_object_set_new(object, key, dg_option_value_to_json(option, options)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

dg_status dg_options_from_json(dg_ctx *ctx, const dg_option_table *table, const char *where, const json_t *object,
                               void *options) {
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(object))
        return dg_fail(ctx, DG_ECONFIG, "%s: expected a JSON object of options", where);
    json_object_foreach((json_t *)object, key, value) {
        const dg_option *option = dg_options_find(table, key);
        if (!option) {
            const char *nearest = dg_options_nearest(table, key);
            return dg_fail(ctx, DG_ECONFIG, "%s: unknown key \"%s\"%s%s%s", where, key,
                           nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
        }
        dg_status status = dg_option_value_from_json(ctx, option, where, value, options);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

dg_status dg_options_conflict(dg_ctx *ctx, const dg_option_table *table, const void *before, const void *now) {
    dg_str text = {0};
    dg_status status = DG_OK;
    for (size_t i = 0; i < table->count && status == DG_OK; i++) {
        const dg_option *option = &table->options[i];
        if (option->flags & (DG_OPTION_LOCAL | DG_OPTION_MUTABLE))
            continue;
        json_t *a = dg_option_value_to_json(option, before), *b = dg_option_value_to_json(option, now);
        if (!a || !b)
            status = dg_fail(ctx, DG_ENOMEM, "--%s: out of memory", option->name);
        else if (!json_equal(a, b)) {
            dg_str_printf(&text, "%s--%s was ", text.length ? "; " : "", option->name);
            dg_options_text(option, before, &text);
            dg_str_append(&text, json_is_null(a) ? "not given, is now " : ", is now ");
            dg_options_text(option, now, &text);
            if (json_is_null(b))
                dg_str_append(&text, "not given");
        }
        json_decref(a);
        json_decref(b);
    }
    if (status == DG_OK && !dg_str_ok(&text))
        status = dg_fail(ctx, DG_ENOMEM, "comparing options: out of memory");
    if (status == DG_OK && text.length)
        status = dg_fail(ctx, DG_ECONFIG, "the options differ from those the run was started with: %s", text.data);
    dg_str_free(&text);
    return status;
}
