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
    DG_TRY(dg_json_load(ctx, path, DG_JSON_STRICT, &loaded));
    gates = json_object_get(loaded, "gates");
    if (!json_is_array(gates) || json_array_size(gates) == 0)
        DG_TRY(dg_fail(ctx, DG_ECONFIG, "%s must be {\"gates\": [{\"metric\": ..., \"min\" or \"max\": ...}, ...]}",
                       path));
    json_array_foreach(gates, i, rule) DG_TRY(check_rule(ctx, path, rule, i));
    *policy = json_incref(loaded);
done:
    json_decref(loaded);
    return status;
}

/* What a dotted path names: members of objects, and elements of lists by number or by their "class" or "group". */
static const json_t *find(const json_t *report, const char *path) {
    char name[256];
    const json_t *at = report;
    while (at && *path) {
        const size_t length = strcspn(path, ".");
        if (length >= sizeof name)
            return NULL;
        memcpy(name, path, length);
        name[length] = '\0';
        path += length + (path[length] == '.');
        if (json_is_array(at)) {
            const json_t *entry, *found = NULL;
            char *end;
            size_t i;
            const long number = strtol(name, &end, 10);
            json_array_foreach((json_t *)at, i, entry) {
                const char *class_name = json_string_value(json_object_get(entry, "class")),
                           *group = json_string_value(json_object_get(entry, "group"));
                if ((class_name && strcmp(class_name, name) == 0) || (group && strcmp(group, name) == 0))
                    found = entry;
            }
            at = found ? found : *end == '\0' && number >= 0 ? json_array_get(at, (size_t)number) : NULL;
        } else {
            at = json_object_get(at, name);
        }
    }
    return at;
}

/* The number a rule is about; NaN where the report has none (a part that was skipped). */
static double measured(const json_t *found, const char *bound) {
    if (json_is_object(found)) {
        if (bound)
            found = json_array_get(json_object_get(found, "interval_95"), strcmp(bound, "high") == 0);
        else
            found = json_object_get(found, "value");
    }
    return json_is_number(found) ? json_number_value(found) : NAN;
}

dg_status dg_gate_apply(dg_ctx *ctx, const json_t *policy, json_t *report) {
    json_t *checks = json_array(), *rule;
    bool all = true;
    size_t i;
    json_array_foreach(json_object_get(policy, "gates"), i, rule) {
        const char *metric = json_string_value(json_object_get(rule, "metric")),
                   *bound = json_string_value(json_object_get(rule, "bound"));
        const json_t *min = json_object_get(rule, "min"), *max = json_object_get(rule, "max"),
                     *found = find(report, metric);
        const double value = measured(found, bound);
        /* Written so that a number that is not there fails. */
        const bool passed =
            isfinite(value) && (!min || value >= json_number_value(min)) && (!max || value <= json_number_value(max));
        json_t *check = json_deep_copy(rule);
        json_object_set_new(check, "value", dg_report_number(value));
        json_object_set_new(check, "passed", json_boolean(passed));
        if (!isfinite(value))
            json_object_set_new(check, "why", json_string(found ? "the report has no number there" : "no such metric"));
        json_array_append_new(checks, check);
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
