/* The order in which gradients are added up: the tree's, however the micro-batches are shared out over ranks. */
#include "support/test_main.h"

#include "train/grad_tree.h"
#include "train/share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 33, MOST = 70 };

/* Values of very different sizes: another order of additions gives other bits. */
static float value(int64_t item, int64_t i) {
    return (float)sin((double)(i * 7 + item * 1001 + 1)) * powf(10, (float)((i + item) % 9 - 4));
}

/* The sum of items first..first+count-1 that are below `items`, as an aligned tree defines it. */
static float by_definition(int64_t i, int64_t first, int64_t count, int64_t items) {
    if (count == 1)
        return value(first, i);
    const int64_t half = count / 2;
    const float left = by_definition(i, first, half, items);
    return first + half < items ? left + by_definition(i, first + half, half, items) : left;
}

/* Items first..first+count-1 through a tree with no more buffers than it says. out sum[WIDTH] */
static void add_up(dg_ctx *ctx, int64_t first, int64_t count, float *sum) {
    dg_exec exec = {0};
    const dg_backend *backend = dg_backend_cpu();
    const int buffers = dg_grad_tree_buffers(count);
    float *memory = calloc((size_t)(buffers + 1) * WIDTH, sizeof *memory), *grad = memory;
    dg_grad_tree tree = {.backend = backend, .total = WIDTH};
    for (int i = 0; i < buffers; i++)
        dg_grad_tree_give(&tree, memory + (i + 1) * WIDTH);
    for (int round = 0; round < 2; round++) { /* twice: a tree is used again in every step */
        dg_grad_tree_clear(&tree);
        ck_assert_int_eq(tree.spares, buffers);
        for (int64_t item = first; item < first + count; item++) {
            for (int64_t i = 0; i < WIDTH; i++)
                grad[i] = value(item, i);
            if (item < first + count - 1)
                DG_CK(ctx, dg_grad_tree_add(&tree, &exec, &grad));
        }
        for (int64_t from = WIDTH; from > 0; from -= 11)
            DG_CK(ctx, dg_grad_tree_fold(&tree, &exec, grad, from - 11, 11));
        memcpy(sum, dg_grad_tree_root(&tree, grad), WIDTH * sizeof *sum);
    }
    free(memory);
}

START_TEST(sums_are_those_of_the_tree) {
    dg_ctx *ctx = dg_test_context();
    float sum[WIDTH];
    for (int64_t items = 1; items <= MOST; items++) {
        add_up(ctx, 0, items, sum);
        for (int64_t i = 0; i < WIDTH; i++) {
            const float want = by_definition(i, 0, 128, items);
            ck_assert_mem_eq(&sum[i], &want, sizeof want);
        }
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(shares_cover_the_batch_and_are_branches) {
    dg_ctx *ctx = dg_test_context();
    for (int64_t batch = 1; batch <= MOST; batch += 3)
        for (int64_t micro = 1; micro <= 8 && micro <= batch; micro++)
            for (int ranks = 1; ranks <= 7; ranks++) {
                int64_t next = 0;
                float sums[8][WIDTH], whole[WIDTH];
                const int parts = dg_train_share(batch, micro, 0, ranks).ranks;
                for (int rank = 0; rank < ranks; rank++) {
                    const dg_share share = dg_train_share(batch, micro, rank, ranks);
                    ck_assert_int_eq(share.first, next);
                    ck_assert_int_eq(share.images > 0, rank < parts);
                    ck_assert_int_eq(share.first % micro == 0 || share.images == 0, 1);
                    next += share.images;
                    if (share.images)
                        add_up(ctx, share.first / micro, (share.images + micro - 1) / micro, sums[rank]);
                }
                ck_assert_int_eq(next, batch);
                for (int step = 1; step < parts; step *= 2)
                    for (int rank = 0; rank + step < parts; rank += 2 * step)
                        for (int i = 0; i < WIDTH; i++)
                            sums[rank][i] += sums[rank + step][i];
                add_up(ctx, 0, (batch + micro - 1) / micro, whole);
                ck_assert_mem_eq(sums[0], whole, sizeof whole);
            }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(auto_gives_every_rank_work) {
    ck_assert_int_eq(dg_train_share_micro_batch(64, 8, 1), 8);
    ck_assert_int_eq(dg_train_share_micro_batch(64, 8, 2), 8);
    ck_assert_int_eq(dg_train_share_micro_batch(64, 8, 8), 8);
    ck_assert_int_eq(dg_train_share_micro_batch(64, 64, 2), 32); /* a GPU each */
    for (int ranks = 1; ranks <= 64; ranks++) {
        const int64_t micro = dg_train_share_micro_batch(64, 8, ranks);
        const dg_share share = dg_train_share(64, micro, 0, ranks);
        ck_assert_msg(share.images * ranks < 64 * 2, "%d ranks: the first has %lld images", ranks,
                      (long long)share.images);
    }
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("gradient tree");
    TCase *tcase = tcase_create("tree");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, sums_are_those_of_the_tree);
    tcase_add_test(tcase, shares_cover_the_batch_and_are_branches);
    tcase_add_test(tcase, auto_gives_every_rank_work);
    suite_add_tcase(suite, tcase);
    return suite;
}
