/* What falls away of a data set: counted by reason, said once and, where it is much, loudly or as an error. */
#include "core/text.h"
#include "data/dataset_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FILES_BY_NAME = 5, REASONS = 6 };

/* Reasons that differ in numbers only are one: "line 7: no label". */
static bool same_reason(const char *a, const char *b) {
    static const char digits[] = "0123456789";
    for (;;) {
        const size_t m = strspn(a, digits), n = strspn(b, digits);
        if ((m > 0) != (n > 0))
            return false;
        a += m;
        b += n;
        if (*a != *b)
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

static dg_status count_skips(dg_ctx *ctx, dg_layout *layout) {
    for (size_t i = 0; i < layout->skip_count; i++) {
        const char *reason = layout->skips[i].reason;
        dg_fall *known = NULL;
        for (size_t k = 0; k < layout->fall_count && !known; k++)
            if (same_reason(layout->falls[k].reason, reason))
                known = &layout->falls[k];
        if (known) {
            known->images++;
            continue;
        }
        dg_status status = dg_layout_fall(ctx, layout, 1, "%s", reason);
        if (status != DG_OK)
            return status;
    }
    return DG_OK;
}

static int most_first(const void *a, const void *b) {
    const dg_fall *x = a, *y = b;
    return x->images != y->images ? (x->images < y->images) - (x->images > y->images) : strcmp(x->reason, y->reason);
}

/* "12 not listed in metadata.csv; 3 damaged; ..." */
static void list_reasons(const dg_dataset_report *report, dg_str *out) {
    int64_t more = 0;
    for (size_t i = 0; i < report->fall_count; i++) {
        if (i < REASONS)
            dg_str_printf(out, "%s%lld %s", i ? "; " : "", (long long)report->falls[i].images, report->falls[i].reason);
        else
            more += report->falls[i].images;
    }
    if (more > 0)
        dg_str_printf(out, "; %lld for other reasons", (long long)more);
}

dg_status dg_dataset_weigh_falls(dg_ctx *ctx, dg_dataset *dataset, dg_layout *layout, const dg_dataset_options *options,
                                 const char *lost_classes) {
    dg_status status = DG_OK;
    dg_dataset_report *report = &dataset->report;
    dg_str reasons = {0}, text = {0};
    DG_TRY(count_skips(ctx, layout));
    if (layout->fall_count > 0)
        qsort(layout->falls, layout->fall_count, sizeof *layout->falls, most_first);
    report->falls = layout->falls;
    report->fall_count = layout->fall_count;
    layout->falls = NULL;
    layout->fall_count = 0;
    for (size_t i = 0; i < report->fall_count; i++)
        report->fallen += report->falls[i].images;
    const int64_t all = dataset->count + report->fallen;
    if (report->fallen == 0)
        goto done;
    list_reasons(report, &reasons);
    dg_str_printf(&text, "%lld of %lld images are left out", (long long)report->fallen, (long long)all);
    if (lost_classes)
        dg_str_printf(&text, ", of these classes all (%s)", lost_classes);
    dg_str_printf(&text, ": %s", dg_str_ok(&reasons) ? reasons.data : "");
    if (!dg_str_ok(&reasons) || !dg_str_ok(&text)) {
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for a message");
        goto done;
    }
    DG_TRY(dg_layout_note(ctx, layout, "%s", text.data));
    report->fall_note = layout->notes[layout->note_count - 1];
    report->loud = 10 * report->fallen > all || lost_classes;
    if (2 * report->fallen > all && dataset->count > 0 && !options->allow_skips)
        status = dg_fail(ctx, DG_EDATA, "%s: %s. That is more than half; --allow-skips goes on with the other %lld",
                         options->path, report->fall_note, (long long)dataset->count);
done:
    dg_str_free(&reasons);
    dg_str_free(&text);
    return status;
}

void dg_dataset_say(dg_ctx *ctx, const dg_dataset *dataset, const char *which) {
    const dg_dataset_report *report = &dataset->report;
    const char *colon = which ? ": " : "";
    which = which ? which : "";
    for (size_t i = 0; i < report->skips_kept && i < FILES_BY_NAME; i++)
        dg_log(ctx, DG_LOG_WARN, "%s%sskipped %s: %s", which, colon, report->skips[i].path, report->skips[i].reason);
    for (size_t i = 0; i < report->note_count; i++)
        dg_log(ctx, report->loud && report->notes[i] == report->fall_note ? DG_LOG_WARN : DG_LOG_INFO, "%s%s%s", which,
               colon, report->notes[i]);
}
