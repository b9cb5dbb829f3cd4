#include "nn/memory_plan.h"

#include <stdlib.h>

static int by_size_then_start(const void *a, const void *b) {
    const dg_slot *x = *(dg_slot *const *)a, *y = *(dg_slot *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y;
}

static bool alive_together(const dg_slot *a, const dg_slot *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset where `slot` fits beside placed[0..n), which are sorted by offset. */
static size_t lowest_gap(const dg_slot *slot, dg_slot *const *placed, int n) {
    size_t offset = 0;
    for (int i = 0; i < n; i++) {
        if (!alive_together(slot, placed[i]))
            continue;
        if (offset + slot->bytes <= placed[i]->offset)
            break;
        const size_t end = placed[i]->offset + placed[i]->bytes;
        if (end > offset)
            offset = end;
    }
    return offset;
}

static void insert_by_offset(dg_slot **placed, int n, dg_slot *slot) {
    int i = n;
    for (; i > 0 && placed[i - 1]->offset > slot->offset; i--)
        placed[i] = placed[i - 1];
    placed[i] = slot;
}

dg_status dg_memory_plan(dg_ctx *ctx, dg_slot *slots, int count, size_t *total) {
    dg_slot **order = NULL, **placed = NULL;
    dg_status status = DG_OK;
    int n = 0, done_count = 0;
    *total = 0;
    DG_TRY(dg_alloc(ctx, &order, (size_t)count + 1, sizeof *order, "the memory plan"));
    DG_TRY(dg_alloc(ctx, &placed, (size_t)count + 1, sizeof *placed, "the memory plan"));
    for (int i = 0; i < count; i++) {
        slots[i].bytes = (slots[i].bytes + DG_SLOT_ALIGNMENT - 1) / DG_SLOT_ALIGNMENT * DG_SLOT_ALIGNMENT;
        if (slots[i].bytes && slots[i].first <= slots[i].last)
            order[n++] = &slots[i];
    }
    qsort(order, (size_t)n, sizeof *order, by_size_then_start);
    for (; done_count < n; done_count++) {
        dg_slot *slot = order[done_count];
        slot->offset = lowest_gap(slot, placed, done_count);
        insert_by_offset(placed, done_count, slot);
        if (slot->offset + slot->bytes > *total)
            *total = slot->offset + slot->bytes;
    }
done:
    free(order);
    free(placed);
    return status;
}
