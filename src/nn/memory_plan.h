/* Lays buffers with known lifetimes out in one block of memory: greedy by size, each at the lowest offset that is free
 * of every buffer alive at the same time (Pisarchyk & Lee 2020, "Efficient memory management for deep neural net
 * inference", greedy by size). */
#ifndef DG_NN_MEMORY_PLAN_H
#define DG_NN_MEMORY_PLAN_H

#include "core/context.h"

enum { DG_SLOT_ALIGNMENT = 64 };

typedef struct dg_slot {
    size_t bytes;
    int first, last; /* steps of the schedule it is alive in, both included; first > last: unused */
    size_t offset;   /* result */
} dg_slot;

/* Fills every slot's offset and *total, the size of the block. err DG_ENOMEM */
DG_MUST_CHECK dg_status dg_memory_plan(dg_ctx *ctx, dg_slot *slots, int count, size_t *total);

#endif
