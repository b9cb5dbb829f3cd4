/* Gates: a policy of limits, applied to the report. */
#include "core/json.h"
#include "core/text.h"
#include "evaluate/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static dg_status check_rule(dg_ctx *ctx, const char *path, const json_t *rule, size_t index) {
    static const char *const known[] = {"metric", "min", "max", "bound"};
    const char *metric = json_string_value(json_object_get(rule, "metric")), *key;
    const json_t *min = json_object_get(rule, "min"), *max = json_object_get(rule, "max"),
                 *bound = json_object_get(rule, "bound"), *value;
    if (!json_is_object(rule) || !metric || (!min && !max) || (min && !json_is_number(min)) ||
        (max && !json_is_number(max)))
        return dg_fail(ctx, DG_ECONFIG,
                       "%s: gate %zu must be {\"metric\": \"fidelity.fd\", \"max\": 10} with a number as \"min\", "
                       "\"max\" or both",
                       path, index + 1);
    if (bound && (!json_is_string(bound) ||
                  (strcmp(json_string_value(bound), "low") != 0 && strcmp(json_string_value(bound), "high") != 0)))
        return dg_fail(ctx, DG_ECONFIG, "%s: gate %zu: \"bound\" must be \"low\" or \"high\"", path, index + 1);
    json_object_foreach((json_t *)rule, key, value) {
        bool found = false;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            found |= strcmp(known[k], key) == 0;
        if (!found)
            return dg_fail(ctx, DG_ECONFIG, "%s: gate %zu has an unknown key \"%s\"; known are metric, min, max, bound",
                           path, index + 1, key);
    }
    return DG_OK;
}

dg_status dg_gate_load(dg_ctx *ctx, const char *path, json_t **policy) {
    dg_status status = DG_OK;
    json_t *loaded = NULL, *gates, *rule;
    size_t i;
    status = dg_json_load(ctx, path, DG_JSON_STRICT, &loaded);
    if (status == DG_EDATA) /* a policy configures; the text says what is wrong with it */
        status = DG_ECONFIG;
    DG_TRY(status);
    gates = json_object_get(loaded, "gates");
    if (!json_is_array(gates) || json_array_size(gates) == 0 || json_object_size(loaded) != 1)
        DG_TRY(dg_fail(ctx, DG_ECONFIG,
                       "%s must be {\"gates\": [{\"metric\": ..., \"min\" or \"max\": ...}, ...]}, with no other key",
                       path));
    json_array_foreach(gates, i, rule) DG_TRY(check_rule(ctx, path, rule, i));
    *policy = json_incref(loaded);
done:
    json_decref(loaded);
    return status;
}

/* What a path names, and where it lies; all NULL: nothing. */
typedef struct place {
    const json_t *object; /* that holds it; NULL: a list does */
    const char *key;      /* there, up to the path's end */
    const json_t *value;
} place;

/* How much of the path is an entry's class or group, which may hold dots itself: 0 = it is another one's. */
static size_t matched_length(const json_t *entry, const char *path) {
    static const char *const keys[] = {"class", "group"};
    size_t longest = 0;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const char *name = json_string_value(json_object_get(entry, keys[k]));
        const size_t length = name ? strlen(name) : 0;
        if (length > longest && strncmp(path, name, length) == 0 && (path[length] == '.' || path[length] == '\0'))
            longest = length;
    }
    return longest;
}

/* An element of a list: the one whose class or group is most of the path, else that of a number. *length: of its name.
 */
static const json_t *find_element(const json_t *list, const char *path, size_t *length) {
    const json_t *entry, *found = NULL;
    size_t i, number = 0;
    *length = 0;
    json_array_foreach((json_t *)list, i, entry) {
        const size_t matched = matched_length(entry, path);
        if (matched > *length) {
            *length = matched;
            found = entry;
        }
    }
    if (found)
        return found;
    *length = strcspn(path, ".");
    for (size_t k = 0; k < *length; k++) {
        if (path[k] < '0' || path[k] > '9' || number > json_array_size(list))
            return NULL;
        number = 10 * number + (size_t)(path[k] - '0');
    }
    return *length ? json_array_get(list, number) : NULL;
}

static const json_t *member(const json_t *object, const char *path, size_t length) {
    char *key = strndup(path, length);
    const json_t *value = key ? json_object_get(object, key) : NULL;
    free(key);
    return value;
}

/* A dotted path: members of objects, and elements of lists by number or by their "class" or "group". */
static place find(const json_t *report, const char *path) {
    place at = {.value = report};
    for (;;) {
        size_t length = strcspn(path, ".");
        at.key = path;
        if (json_is_array(at.value)) {
            at.value = find_element(at.value, path, &length);
            at.object = NULL;
        } else {
            at.object = at.value;
            at.value = member(at.object, path, length);
        }
        if (!at.value)
            return (place){0};
        if (path[length] == '\0')
            return at;
        path += length + 1;
    }
}

/* The number a rule is about, or NaN and why: an object stands for its value, and has an interval; a plain number may
 * have one beside it ("accuracy", "accuracy_95"). */
static double measured(const place *found, const char *bound, const char **why) {
    const json_t *number = found->value;
    if (!number) {
        *why = "no such metric";
        return NAN;
    }
    *why = "the report has no number there";
    if (bound) {
        const json_t *interval = json_object_get(number, "interval_95");
        dg_str beside = {0};
        if (!json_is_object(number)) {
            dg_str_printf(&beside, "%s_95", found->key);
            interval = dg_str_ok(&beside) ? json_object_get(found->object, beside.data) : NULL;
        }
        dg_str_free(&beside);
        number = json_array_get(interval, strcmp(bound, "high") == 0);
        *why = "has no interval";
    } else if (json_is_object(number)) {
        number = json_object_get(number, "value");
    }
    return json_is_number(number) ? json_number_value(number) : NAN;
}

dg_status dg_gate_apply(dg_ctx *ctx, const json_t *policy, json_t *report) {
    json_t *checks = json_array(), *rule;
    bool all = true;
    size_t i;
    json_array_foreach(json_object_get(policy, "gates"), i, rule) {
        const char *metric = json_string_value(json_object_get(rule, "metric")),
                   *bound = json_string_value(json_object_get(rule, "bound"));
        const json_t *min = json_object_get(rule, "min"), *max = json_object_get(rule, "max");
        const place found = find(report, metric);
        const char *why;
        const double value = measured(&found, bound, &why);
        /* Written so that a number that is not there fails. */
        const bool passed =
            isfinite(value) && (!min || value >= json_number_value(min)) && (!max || value <= json_number_value(max));
        json_t *check = json_deep_copy(rule);
        dg_json_set(&check, "value", dg_report_number(value));
        dg_json_set(&check, "passed", json_boolean(passed));
        if (!isfinite(value))
            dg_json_set(&check, "why", json_string(why));
        dg_json_append(&checks, check);
        all = all && passed;
    }
    if (json_object_set_new(report, "gates", json_pack("{s:b, s:o}", "passed", all, "checks", checks)) != 0)
        return dg_fail(ctx, DG_ENOMEM, "no memory for the gates");
    return DG_OK;
}

static void describe_failure(const json_t *check, dg_str *out) {
    const json_t *value = json_object_get(check, "value"), *min = json_object_get(check, "min"),
                 *max = json_object_get(check, "max");
    const char *bound = json_string_value(json_object_get(check, "bound"));
    dg_str_printf(out, "%s%s%s%s", out->length ? "; " : "", json_string_value(json_object_get(check, "metric")),
                  bound ? " " : "", bound ? bound : "");
    if (!json_is_number(value))
        dg_str_printf(out, ": %s", json_string_value(json_object_get(check, "why")));
    else
        dg_str_printf(out, " is %.4g", json_number_value(value));
    if (min)
        dg_str_printf(out, ", at least %g is asked for", json_number_value(min));
    if (max)
        dg_str_printf(out, ", at most %g is allowed", json_number_value(max));
}

dg_status dg_evaluate_verdict(dg_ctx *ctx, const json_t *report) {
    const json_t *gates = json_object_get(report, "gates"), *check;
    dg_status status = DG_OK;
    dg_str text = {0};
    size_t i, failed = 0;
    json_array_foreach(json_object_get(gates, "checks"), i, check) {
        if (json_is_true(json_object_get(check, "passed")))
            continue;
        failed++;
        describe_failure(check, &text);
    }
    if (failed)
        status = dg_fail(ctx, DG_EGATE, "%zu of %zu gates failed: %s", failed,
                         json_array_size(json_object_get(gates, "checks")), dg_str_ok(&text) ? text.data : "");
    dg_str_free(&text);
    return status;
}
