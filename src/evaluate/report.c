/* Numbers as JSON. */
#include "evaluate/evaluation.h"

#include <math.h>

json_t *dg_report_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *dg_report_interval(dg_interval interval) {
    if (!isfinite(interval.low) || !isfinite(interval.high))
        return json_null();
    return json_pack("[f, f]", interval.low, interval.high);
}

json_t *dg_metric_json(const dg_metric *m) {
    json_t *ceiling = isfinite(m->ceiling)
                          ? json_pack("{s:f, s:I, s:o}", "value", m->ceiling, "n", (json_int_t)m->ceiling_n,
                                      "synthetic_at_this_n", dg_report_number(m->matched))
                          : json_null();
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:b}", "title", m->title, "variant", m->variant,
                  "meaning", m->meaning, "better", m->better, "value", dg_report_number(m->value), "interval_95",
                  dg_report_interval(m->interval_95), "n_real", (json_int_t)m->n_real, "n_synthetic",
                  (json_int_t)m->n_synthetic, "ceiling", ceiling, "dp_covered", 0);
    if (isfinite(m->interval_95.low) && m->interval_kind)
        dg_json_set(&json, "interval_kind", json_string(m->interval_kind));
    return json;
}

json_t *dg_report_skipped(const char *why) {
    return json_pack("{s:s}", "skipped", why);
}

dg_status dg_report_add(dg_evaluation *e, const char *name, json_t *section) {
    if (!section || json_object_set_new(e->report, name, section) != 0)
        return dg_fail(e->ctx, DG_ENOMEM, "no memory for the report");
    return DG_OK;
}

dg_status dg_evaluation_blame(const dg_evaluation *e, dg_status status, const char *option, const char *value) {
    dg_str text = {0};
    dg_str_append(&text, dg_last_error(e->ctx));
    dg_ctx_clear_error(e->ctx);
    status = dg_fail(e->ctx, status, "%s %s: %s", option, value, dg_str_ok(&text) ? text.data : "");
    dg_str_free(&text);
    return status;
}

void dg_evaluation_progress(const dg_evaluation *e, const char *part, int64_t done, int64_t total) {
    if (e->events && e->events->on_progress)
        e->events->on_progress(e->events->user, part, done, total);
}
