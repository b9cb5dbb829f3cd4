/* What the ledger's tests share: a ledger in the test's own directory, images by number, one mechanism. */
#ifndef DG_TESTS_LEDGER_FIXTURE_H
#define DG_TESTS_LEDGER_FIXTURE_H

#include "privacy/ledger.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const char *ledger_at(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", dg_test_dir(), name);
    return path;
}

/* Content hashes of images first..first+count-1; free. */
static inline uint8_t *images(int first, int count) {
    uint8_t *hashes = calloc((size_t)count + 1, DG_LEDGER_HASH_BYTES);
    for (int i = 0; i < count; i++) {
        char text[DG_SHA256_HEX];
        const int image = first + i;
        dg_sha256_hex(&image, sizeof image, text);
        memcpy(hashes + i * DG_LEDGER_HASH_BYTES, text, DG_LEDGER_HASH_BYTES);
    }
    return hashes;
}

static inline int64_t register_images(dg_ctx *ctx, dg_ledger *ledger, const char *name, int first, int count) {
    uint8_t *hashes = images(first, count);
    int64_t set = -1;
    DG_CK(ctx, dg_ledger_register(ctx, ledger, name, hashes, count, &set));
    free(hashes);
    return set;
}

static const dg_ledger_mechanism dp_sgd = {DG_LEDGER_GAUSSIAN, 1.0 / 15, 2.36, 100};

static inline dg_ledger_run_info run_info(int64_t set) {
    return (dg_ledger_run_info){.set = set,
                                .command = "diffgen train --dp",
                                .adjacency = "add-or-remove-one",
                                .unit = "image",
                                .delta = 1e-5,
                                .planned = &dp_sgd,
                                .planned_count = 1};
}

static inline void make_steps(dg_ctx *ctx, dg_ledger_run *run, int count) {
    for (int i = 0; i < count; i++)
        DG_CK(ctx, dg_ledger_step(ctx, run, 0));
}

/* Steps on record for these images, all mechanisms together. */
static inline int64_t steps_spent(dg_ctx *ctx, dg_ledger *ledger, int first, int count) {
    uint8_t *hashes = images(first, count);
    dg_ledger_list list;
    int64_t steps = 0;
    DG_CK(ctx, dg_ledger_spent(ctx, ledger, hashes, count, &list));
    for (size_t i = 0; i < list.count; i++)
        steps += list.entries[i].mechanism.steps;
    dg_ledger_list_free(&list);
    free(hashes);
    return steps;
}

#endif
