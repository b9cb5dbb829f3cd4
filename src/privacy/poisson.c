#include "privacy/poisson.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 64, WORDS_PER_BLOCK = DG_SECURE_BLOCK_BYTES / 8, PIECE = BLOCKS * WORDS_PER_BLOCK };

/* ceil(q 2^64) for q < 1: the product is a power of two away from q, so exact, and below 2^64. */
static uint64_t threshold(double q) {
    return (uint64_t)ceil(q * 0x1p64);
}

double dg_poisson_rate(double q) {
    assert(q > 0 && q <= 1);
    if (q == 1)
        return 1;
    /* below 2^53 the threshold is a double; above, q 2^64 was whole and this is q */
    return (double)threshold(q) * 0x1p-64;
}

int64_t dg_poisson_draw(const dg_secure_random *random, int64_t units, double q, int64_t *chosen) {
    uint64_t words[PIECE];
    const uint64_t limit = q < 1 ? threshold(q) : 0;
    int64_t count = 0;
    assert(units >= 0 && q > 0 && q <= 1);
    for (int64_t first = 0; first < units; first += PIECE) {
        const int64_t n = PIECE < units - first ? PIECE : units - first;
        const int64_t blocks = (n + WORDS_PER_BLOCK - 1) / WORDS_PER_BLOCK;
        dg_secure_random_blocks(random, DG_SECURE_SAMPLING, (uint64_t)(first / WORDS_PER_BLOCK), (size_t)blocks, words);
        for (int64_t i = 0; i < n; i++)
            if (q == 1 || words[i] < limit)
                chosen[count++] = first + i;
    }
    sodium_memzero(words, sizeof words);
    return count;
}

/* ---- groups ---- */

typedef struct named_record {
    const char *key;
    int64_t record;
    int64_t first; /* smallest record of its group */
} named_record;

static bool has_key(const char *key) {
    return key && *key;
}

/* Records without a name are equal to nothing, so each by its own number, before the named ones. */
static int by_key(const void *a, const void *b) {
    const named_record *x = a, *y = b;
    int order = has_key(x->key) - has_key(y->key);
    if (order == 0 && has_key(x->key))
        order = strcmp(x->key, y->key);
    return order ? order : (x->record > y->record) - (x->record < y->record);
}

static int by_first(const void *a, const void *b) {
    const named_record *x = a, *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

dg_status dg_groups_create(dg_ctx *ctx, const char *const *keys, int64_t records, dg_groups *groups) {
    dg_status status = DG_OK;
    named_record *sorted = NULL;
    memset(groups, 0, sizeof *groups);
    DG_TRY(dg_alloc(ctx, &sorted, (size_t)records + 1, sizeof *sorted, "groups of images"));
    DG_TRY(dg_alloc(ctx, &groups->offsets, (size_t)records + 1, sizeof *groups->offsets, "groups of images"));
    DG_TRY(dg_alloc(ctx, &groups->members, (size_t)records + 1, sizeof *groups->members, "groups of images"));
    for (int64_t i = 0; i < records; i++)
        sorted[i] = (named_record){keys[i], i, i};
    qsort(sorted, (size_t)records, sizeof *sorted, by_key);
    for (int64_t i = 1; i < records; i++)
        if (has_key(sorted[i].key) && has_key(sorted[i - 1].key) && strcmp(sorted[i].key, sorted[i - 1].key) == 0)
            sorted[i].first = sorted[i - 1].first;
    qsort(sorted, (size_t)records, sizeof *sorted, by_first);
    for (int64_t i = 0; i < records; i++) {
        if (sorted[i].record == sorted[i].first)
            groups->offsets[groups->count++] = i;
        groups->members[i] = sorted[i].record;
    }
    groups->offsets[groups->count] = records;
    groups->records = records;
done:
    free(sorted);
    if (status != DG_OK)
        dg_groups_free(groups);
    return status;
}

void dg_groups_free(dg_groups *groups) {
    free(groups->offsets);
    free(groups->members);
    memset(groups, 0, sizeof *groups);
}

int64_t dg_poisson_draw_groups(const dg_secure_random *random, const dg_groups *groups, double q, int64_t *chosen,
                               int64_t *chosen_count, int64_t *records) {
    int64_t count = 0;
    *chosen_count = dg_poisson_draw(random, groups->count, q, chosen);
    for (int64_t i = 0; i < *chosen_count; i++)
        for (int64_t k = groups->offsets[chosen[i]]; k < groups->offsets[chosen[i] + 1]; k++)
            records[count++] = groups->members[k];
    return count;
}
