/* Which images a folder holds, or is to hold: spans of numbers, class by class. What lets a later call add to a folder.
 * Private to the room. */
#ifndef DG_SAMPLE_SAMPLE_SPANS_H
#define DG_SAMPLE_SAMPLE_SPANS_H

#include "core/json.h"
#include "sample/sample_options.h"

typedef struct dg_span {
    int64_t class_index; /* -1: unconditional */
    int64_t first, last; /* numbers of images, both included */
} dg_span;

/* Zero-initialise; free with dg_spans_free. Ascending, and merged where they touch, after dg_spans_settle. */
typedef struct dg_spans {
    dg_span *list;
    int64_t count;
} dg_spans;

void dg_spans_free(dg_spans *spans);
/* Appends. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_spans_add(dg_ctx *ctx, dg_spans *spans, dg_span span);
void dg_spans_settle(dg_spans *spans);
/* The images of a plan: parts one after the other, from number `first` on. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_spans_of_parts(dg_ctx *ctx, const dg_sample_part *parts, int64_t num_parts, int64_t first,
                                          dg_spans *out);
/* Settled sets. */
int64_t dg_spans_images(const dg_spans *spans);
bool dg_spans_hold(const dg_spans *spans, const dg_span *inner);
bool dg_spans_hold_all(const dg_spans *outer, const dg_spans *inner);
DG_MUST_CHECK dg_status dg_spans_unite(dg_ctx *ctx, const dg_spans *a, const dg_spans *b, dg_spans *out);
/* May images be added where class by class one set continues the other? Not where a class's images would be others of
 * the same set: the plan of several classes numbers images by their place in all of it. */
bool dg_spans_fit(const dg_spans *there, const dg_spans *wanted, bool numbers_given);

/* "classes" and "first_image" of a job's options; "ranges" [[class, first, last], ...] instead where a set is no
 * plan's. err DG_EDATA malformed, overlapping; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_spans_from_json(dg_ctx *ctx, const char *where, const json_t *options, dg_spans *out);
/* Puts them into a job's options, as a plan has them if one has. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_spans_to_json(dg_ctx *ctx, const dg_spans *spans, json_t *options);

#endif
