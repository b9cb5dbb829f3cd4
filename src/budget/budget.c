#include "budget/budget.h"

#include "core/text.h"
#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* false for NaN: what cannot be bounded is over any limit */
static bool within(double epsilon, double limit) {
    return epsilon <= limit;
}

/* ---- one mechanism of one run ---- */

static bool is_only_one(const dg_ledger_list *list) {
    size_t ran = 0;
    for (size_t i = 0; i < list->count; i++)
        ran += list->entries[i].mechanism.steps > 0;
    return ran == 1;
}

/* Each entry's own epsilon; NaN where nothing ran. Equal mechanisms, as nightly jobs leave them, are computed once.
 * in    together: that of all of them, which is that of the only one */
static dg_status entry_epsilons(dg_ctx *ctx, const dg_ledger_list *list, dg_budget_compose_fn compose, double delta,
                                double together, double *epsilons) {
    const bool only_one = is_only_one(list);
    for (size_t i = 0; i < list->count; i++) {
        const dg_ledger_mechanism *m = &list->entries[i].mechanism, *other = NULL;
        size_t k = 0;
        for (; k < i; k++) {
            other = &list->entries[k].mechanism;
            if (other->kind == m->kind && other->sample_rate == m->sample_rate &&
                other->noise_multiplier == m->noise_multiplier && other->steps == m->steps)
                break;
        }
        epsilons[i] = k < i ? epsilons[k] : only_one && m->steps ? together : NAN;
        const dg_status status = k < i || only_one || m->steps == 0 ? DG_OK : compose(ctx, m, 1, delta, &epsilons[i]);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

static dg_status describe_entry(dg_ctx *ctx, const dg_ledger_entry *entry, double epsilon, json_t *runs) {
    const dg_ledger_mechanism *m = &entry->mechanism;
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:I, s:o, s:o, s:s, s:f, s:f, s:I, s:I, s:o, s:o}", "run",
                            entry->run, "started", entry->started, "ended", entry->ended, "state",
                            entry->running    ? "running"
                            : entry->ended[0] ? "ended"
                                              : "broken off",
                            "data_set", dg_json_text(entry->name), "data_set_fingerprint", entry->fingerprint,
                            "images_shared", (json_int_t)entry->shared, "unit", dg_json_text(entry->unit), "adjacency",
                            dg_json_text(entry->adjacency), "mechanism", dg_ledger_kind_name(m->kind), "sample_rate",
                            m->sample_rate, "noise_multiplier", m->noise_multiplier, "steps", (json_int_t)m->steps,
                            "steps_reserved", (json_int_t)entry->reserved, "epsilon", number(epsilon), "command",
                            dg_json_text(entry->command));
    if (!row || json_array_append_new(runs, row) != 0)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the list of runs");
    return DG_OK;
}

/* ---- reservations ---- */

static bool add_note(json_t *notes, dg_str *text) {
    const bool added = dg_str_ok(text) && json_array_append_new(notes, dg_json_text(text->data)) == 0;
    dg_str_clear(text);
    return added;
}

static bool note_run(const dg_ledger_entry *entry, json_t *notes, dg_str *text) {
    dg_str_printf(text, "Run %s, started %s, has reserved %lld further steps with noise multiplier %.4g.", entry->run,
                  entry->started, (long long)entry->reserved, entry->mechanism.noise_multiplier);
    return add_note(notes, text);
}

/* What "reserved" means, where something is: which runs hold it, and how it is given back. */
static dg_status explain_reservations(dg_ctx *ctx, const dg_ledger_list *list, json_t *notes) {
    dg_str text = {0};
    bool any = false, added = true;
    for (size_t i = 0; i < list->count && added; i++) {
        if (list->entries[i].reserved == 0)
            continue;
        added = note_run(&list->entries[i], notes, &text);
        any = true;
    }
    if (any && added) {
        dg_str_append(&text,
                      "Epsilon reserved is what would be spent if these steps were all made: it includes epsilon "
                      "spent, and no other run can have that part. A run that ends gives back what it has not "
                      "used. One that broke off on another host, or in another container, holds it until it is "
                      "resumed or `diffgen budget --release RUN` drops it.");
        added = add_note(notes, &text);
    }
    dg_str_free(&text);
    return added ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory for what is reserved");
}

/* ---- the images asked about ---- */

typedef struct asked {
    uint8_t *hashes;
    int64_t count;
} asked;

static dg_status read_images(dg_ctx *ctx, const dg_budget_options *asked_options, asked *images) {
    dg_status status = DG_OK;
    dg_dataset *dataset = NULL;
    dg_dataset_options options = dg_dataset_options_default();
    DG_TRY(dg_reading_apply(ctx, &asked_options->reading, &options));
    options.path = asked_options->images;
    options.probe_only = true;
    options.unconditional = true; /* whatever the labels are */
    DG_TRY(dg_dataset_open(ctx, &options, &dataset));
    dg_dataset_say(ctx, dataset, NULL);
    images->count = dg_dataset_count(dataset);
    DG_TRY(dg_alloc(ctx, &images->hashes, (size_t)images->count + 1, DG_LEDGER_HASH_BYTES, "content hashes"));
    for (int64_t i = 0; i < images->count; i++)
        memcpy(images->hashes + i * DG_LEDGER_HASH_BYTES, dg_dataset_item(dataset, i)->sha256, DG_LEDGER_HASH_BYTES);
done:
    dg_dataset_free(dataset);
    return status;
}

/* NULL: there is no bound, or nothing was spent. err DG_ENOMEM, DG_EDEVICE and the like */
static dg_status attacks(dg_ctx *ctx, const dg_ledger_list *list, double spent, json_t **out) {
    double max_tpr[DG_ATTACK_FPRS];
    *out = NULL;
    if (list->count == 0 || !isfinite(spent))
        return DG_OK;
    const dg_status status = dg_budget_ceilings(ctx, list, max_tpr);
    if (status != DG_OK)
        return status;
    *out = json_array();
    for (int i = 0; i < DG_ATTACK_FPRS; i++)
        dg_json_append(out, json_pack("{s:f, s:f}", "fpr", dg_attack_fprs[i], "max_tpr", max_tpr[i]));
    return DG_OK;
}

static dg_status describe_images(dg_ctx *ctx, dg_ledger *ledger, const dg_budget_options *options,
                                 dg_budget_compose_fn compose, json_t **result) {
    dg_status status = DG_OK;
    dg_ledger_list list = {0};
    asked images = {0};
    char fingerprint[DG_SHA256_HEX];
    double spent = NAN, reserved = NAN, *epsilons = NULL;
    json_t *runs = json_array(), *notes = json_array(), *rows = NULL;
    DG_TRY(read_images(ctx, options, &images));
    const double delta = options->delta > 0 ? options->delta : dg_budget_delta(images.count);
    DG_TRY(dg_ledger_fingerprint(ctx, images.hashes, images.count, fingerprint));
    DG_TRY(dg_ledger_spent(ctx, ledger, images.hashes, images.count, &list));
    DG_TRY(dg_budget_epsilon(ctx, compose, &list, NULL, 0, delta, &spent, &reserved));
    DG_TRY(dg_alloc(ctx, &epsilons, list.count + 1, sizeof *epsilons, "the list of runs"));
    DG_TRY(entry_epsilons(ctx, &list, compose, delta, spent, epsilons));
    for (size_t i = 0; i < list.count; i++)
        DG_TRY(describe_entry(ctx, &list.entries[i], epsilons[i], runs));
    DG_TRY(explain_reservations(ctx, &list, notes));
    DG_TRY(attacks(ctx, &list, spent, &rows));
    const double total = options->epsilon_total;
    const bool exceeded = total > 0 && !within(spent, total);
    *result = json_pack(
        "{s:o, s:I, s:s, s:o, s:f, s:o, s:o, s:o, s:o, s:b, s:b, s:O*, s:O, s:O}", "images_path",
        dg_json_text(options->images), "images", (json_int_t)images.count, "fingerprint", fingerprint, "ledger",
        dg_json_text(dg_ledger_path(ledger)), "delta", delta, "epsilon_spent", number(spent), "epsilon_reserved",
        number(reserved), "epsilon_total", total > 0 ? number(total) : json_null(), "epsilon_left",
        total > 0 && isfinite(reserved) ? number(fmax(total - reserved, 0)) : json_null(), "exceeded", exceeded,
        "composable", dg_budget_composable(&list), "attacks", rows, "runs", runs, "notes", notes);
    if (!*result)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for what the ledger says");
done:
    json_decref(runs);
    json_decref(notes);
    json_decref(rows);
    free(epsilons);
    dg_ledger_list_free(&list);
    free(images.hashes);
    return status;
}

/* ---- every data set ---- */

static int64_t count_runs(const dg_ledger_list *list, int64_t *steps) {
    int64_t runs = 0;
    *steps = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = strcmp(list->entries[k].run, list->entries[i].run) != 0;
        runs += first;
        *steps += list->entries[i].mechanism.steps;
    }
    return runs;
}

static dg_status describe_set(dg_ctx *ctx, dg_ledger *ledger, const dg_ledger_set *set,
                              const dg_budget_options *options, dg_budget_compose_fn compose, json_t *sets,
                              bool *exceeded) {
    dg_status status = DG_OK;
    dg_ledger_list list = {0};
    double spent = NAN, reserved = NAN;
    int64_t steps = 0;
    const double delta = options->delta > 0 ? options->delta : dg_budget_delta(set->images);
    DG_TRY(dg_ledger_spent_on(ctx, ledger, set->id, &list));
    DG_TRY(dg_budget_epsilon(ctx, compose, &list, NULL, 0, delta, &spent, &reserved));
    const bool over = options->epsilon_total > 0 && !within(spent, options->epsilon_total);
    const int64_t runs = count_runs(&list, &steps);
    *exceeded |= over;
    json_t *row = json_pack("{s:o, s:s, s:I, s:s, s:I, s:I, s:f, s:o, s:b}", "name", dg_json_text(set->name),
                            "fingerprint", set->fingerprint, "images", (json_int_t)set->images, "first_seen",
                            set->first_seen, "runs", (json_int_t)runs, "steps", (json_int_t)steps, "delta", delta,
                            "epsilon_spent", number(spent), "exceeded", over);
    if (!row || json_array_append_new(sets, row) != 0)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for the list of data sets");
done:
    dg_ledger_list_free(&list);
    return status;
}

static dg_status describe_all(dg_ctx *ctx, dg_ledger *ledger, const dg_budget_options *options,
                              dg_budget_compose_fn compose, json_t **result) {
    dg_status status = DG_OK;
    dg_ledger_set *sets = NULL;
    size_t count = 0;
    bool exceeded = false;
    json_t *rows = json_array();
    DG_TRY(dg_ledger_sets(ctx, ledger, &sets, &count));
    for (size_t i = 0; i < count; i++)
        DG_TRY(describe_set(ctx, ledger, &sets[i], options, compose, rows, &exceeded));
    *result = json_pack("{s:o, s:O, s:b}", "ledger", dg_json_text(dg_ledger_path(ledger)), "data_sets", rows,
                        "exceeded", exceeded);
    if (!*result)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for what the ledger says");
done:
    json_decref(rows);
    dg_ledger_sets_free(sets, count);
    return status;
}

dg_status dg_budget(dg_ctx *ctx, const dg_budget_options *options, dg_budget_compose_fn compose, json_t **result) {
    dg_status status = DG_OK;
    dg_ledger *ledger = NULL;
    *result = NULL;
    DG_TRY(dg_ledger_open(ctx, options->ledger, options->release ? DG_LEDGER_WRITE : DG_LEDGER_READ, &ledger));
    if (options->release)
        DG_TRY(dg_ledger_release(ctx, ledger, options->release));
    DG_TRY(options->images ? describe_images(ctx, ledger, options, compose, result)
                           : describe_all(ctx, ledger, options, compose, result));
done:
    dg_ledger_close(ledger);
    return status;
}

dg_status dg_budget_verdict(dg_ctx *ctx, const dg_budget_options *options, const json_t *result) {
    double spent = 0;
    if (!json_is_true(json_object_get(result, "exceeded")))
        return DG_OK;
    if (!options->images)
        return dg_fail(ctx, DG_EBUDGET, "more than epsilon %g has been spent on at least one data set",
                       options->epsilon_total);
    if (json_is_false(json_object_get(result, "composable")))
        return dg_fail(ctx, DG_EBUDGET,
                       "%s: runs with different units of privacy or adjacencies do not add up to one epsilon, so that "
                       "%g cannot be certified",
                       options->images, options->epsilon_total);
    if (!dg_json_number(json_object_get(result, "epsilon_spent"), &spent))
        return dg_fail(ctx, DG_EBUDGET, "%s: what has been spent has no bound at this delta", options->images);
    return dg_fail(ctx, DG_EBUDGET, "%s: epsilon %.4g has been spent, more than the total of %g", options->images,
                   spent, options->epsilon_total);
}
