#include "sample/sample_spans.h"

#include <stdlib.h>
#include <string.h>

void dg_spans_free(dg_spans *spans) {
    free(spans->list);
    *spans = (dg_spans){0};
}

dg_status dg_spans_add(dg_ctx *ctx, dg_spans *spans, dg_span span) {
    dg_span *grown = reallocarray(spans->list, (size_t)spans->count + 1, sizeof *grown);
    if (!grown)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the list of images");
    grown[spans->count++] = span;
    spans->list = grown;
    return DG_OK;
}

static int ascending(const void *a, const void *b) {
    const dg_span *x = a, *y = b;
    if (x->class_index != y->class_index)
        return x->class_index < y->class_index ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

void dg_spans_settle(dg_spans *spans) {
    int64_t kept = 0;
    if (spans->count > 0)
        qsort(spans->list, (size_t)spans->count, sizeof *spans->list, ascending);
    for (int64_t i = 0; i < spans->count; i++) {
        const dg_span span = spans->list[i];
        dg_span *last = kept ? &spans->list[kept - 1] : NULL;
        if (last && last->class_index == span.class_index && span.first <= last->last + 1)
            last->last = span.last > last->last ? span.last : last->last;
        else
            spans->list[kept++] = span;
    }
    spans->count = kept;
}

dg_status dg_spans_of_parts(dg_ctx *ctx, const dg_sample_part *parts, int64_t num_parts, int64_t first, dg_spans *out) {
    dg_status status = DG_OK;
    for (int64_t i = 0; i < num_parts; first += parts[i++].images)
        if (parts[i].images > 0)
            DG_TRY(dg_spans_add(ctx, out, (dg_span){parts[i].class_index, first, first + parts[i].images - 1}));
    dg_spans_settle(out);
done:
    return status;
}

int64_t dg_spans_images(const dg_spans *spans) {
    int64_t images = 0;
    for (int64_t i = 0; i < spans->count; i++)
        images += spans->list[i].last - spans->list[i].first + 1;
    return images;
}

bool dg_spans_hold(const dg_spans *spans, const dg_span *inner) {
    for (int64_t i = 0; i < spans->count; i++) {
        const dg_span *s = &spans->list[i];
        if (s->class_index == inner->class_index && s->first <= inner->first && inner->last <= s->last)
            return true;
    }
    return false;
}

bool dg_spans_hold_all(const dg_spans *outer, const dg_spans *inner) {
    for (int64_t i = 0; i < inner->count; i++)
        if (!dg_spans_hold(outer, &inner->list[i]))
            return false;
    return true;
}

dg_status dg_spans_unite(dg_ctx *ctx, const dg_spans *a, const dg_spans *b, dg_spans *out) {
    dg_status status = DG_OK;
    for (int64_t i = 0; i < a->count; i++)
        DG_TRY(dg_spans_add(ctx, out, a->list[i]));
    for (int64_t i = 0; i < b->count; i++)
        DG_TRY(dg_spans_add(ctx, out, b->list[i]));
    dg_spans_settle(out);
done:
    return status;
}

/* Of one class, does the one set lie in the other? */
static bool nested(const dg_spans *a, const dg_spans *b, int64_t class_index) {
    bool a_in_b = true, b_in_a = true;
    for (int64_t i = 0; i < a->count; i++)
        a_in_b &= a->list[i].class_index != class_index || dg_spans_hold(b, &a->list[i]);
    for (int64_t i = 0; i < b->count; i++)
        b_in_a &= b->list[i].class_index != class_index || dg_spans_hold(a, &b->list[i]);
    return a_in_b || b_in_a;
}

static bool is_of_one_class(const dg_spans *spans) {
    for (int64_t i = 1; i < spans->count; i++)
        if (spans->list[i].class_index != spans->list[0].class_index)
            return false;
    return true;
}

bool dg_spans_fit(const dg_spans *there, const dg_spans *wanted, bool numbers_given) {
    if (numbers_given && is_of_one_class(wanted))
        return true;
    for (int64_t i = 0; i < wanted->count; i++)
        if (!nested(there, wanted, wanted->list[i].class_index))
            return false;
    return true;
}

/* ---- JSON ---- */

static dg_status malformed(dg_ctx *ctx, const char *where) {
    return dg_fail(ctx, DG_EDATA, "%s: \"classes\", \"first_image\" or \"ranges\" of its options is malformed", where);
}

static dg_status read_ranges(dg_ctx *ctx, const char *where, const json_t *ranges, dg_spans *out) {
    dg_status status = DG_OK;
    for (size_t i = 0; i < json_array_size(ranges); i++) {
        const json_t *range = json_array_get(ranges, i);
        int64_t value[3];
        for (size_t k = 0; k < 3; k++) {
            const json_t *number = json_array_get(range, k);
            if (!json_is_integer(number))
                return malformed(ctx, where);
            value[k] = json_integer_value(number);
        }
        if (value[0] < -1 || value[1] < 0 || value[2] < value[1] || value[2] == INT64_MAX)
            return malformed(ctx, where);
        DG_TRY(dg_spans_add(ctx, out, (dg_span){value[0], value[1], value[2]}));
    }
done:
    return status;
}

static dg_status read_plan(dg_ctx *ctx, const char *where, const json_t *classes, int64_t first, dg_spans *out) {
    dg_status status = DG_OK;
    for (size_t i = 0; i < json_array_size(classes); i++) {
        const json_t *entry = json_array_get(classes, i), *class_index = json_object_get(entry, "class"),
                     *images = json_object_get(entry, "images");
        int64_t next;
        if (!json_is_integer(class_index) || !json_is_integer(images) || json_integer_value(images) < 0 ||
            __builtin_add_overflow(first, json_integer_value(images), &next))
            return malformed(ctx, where);
        if (next > first)
            DG_TRY(dg_spans_add(ctx, out, (dg_span){json_integer_value(class_index), first, next - 1}));
        first = next;
    }
done:
    return status;
}

dg_status dg_spans_from_json(dg_ctx *ctx, const char *where, const json_t *options, dg_spans *out) {
    dg_status status = DG_OK;
    const json_t *ranges = json_object_get(options, "ranges"), *classes = json_object_get(options, "classes"),
                 *first = json_object_get(options, "first_image");
    if (json_is_array(ranges))
        DG_TRY(read_ranges(ctx, where, ranges, out));
    else if (json_is_array(classes) && json_is_integer(first) && json_integer_value(first) >= 0)
        DG_TRY(read_plan(ctx, where, classes, json_integer_value(first), out));
    else
        DG_TRY(malformed(ctx, where));
    dg_spans_settle(out);
done:
    return status;
}

/* A plan's spans follow each other without a gap, class after class. */
static bool is_plan(const dg_spans *spans) {
    for (int64_t i = 1; i < spans->count; i++)
        if (spans->list[i].first != spans->list[i - 1].last + 1)
            return false;
    return spans->count > 0;
}

dg_status dg_spans_to_json(dg_ctx *ctx, const dg_spans *spans, json_t *options) {
    json_t *list = json_array();
    const bool plan = is_plan(spans);
    for (int64_t i = 0; i < spans->count; i++) {
        const dg_span *s = &spans->list[i];
        dg_json_append(&list, plan ? json_pack("{s:I, s:I}", "class", (json_int_t)s->class_index, "images",
                                               (json_int_t)(s->last - s->first + 1))
                                   : json_pack("[I, I, I]", (json_int_t)s->class_index, (json_int_t)s->first,
                                               (json_int_t)s->last));
    }
    int failed = !list || json_object_set_new(options, plan ? "classes" : "ranges", list) != 0;
    if (plan)
        failed |= json_object_set_new(options, "first_image", json_integer(spans->list[0].first)) != 0;
    return failed ? dg_fail(ctx, DG_ENOMEM, "out of memory for the list of images") : DG_OK;
}
