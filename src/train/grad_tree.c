#include "train/grad_tree.h"

#include <assert.h>

/* With i added there are as many open sums as the binary number i has ones; the last micro-batch is never added. */
int dg_grad_tree_buffers(int64_t items) {
    int buffers = 0;
    while (((int64_t)2 << buffers) <= items)
        buffers++;
    return buffers;
}

void dg_grad_tree_give(dg_grad_tree *tree, float *buffer) {
    assert(tree->spares < DG_GRAD_TREE_LEVELS);
    tree->spare[tree->spares++] = buffer;
}

void dg_grad_tree_clear(dg_grad_tree *tree) {
    for (int k = 0; k < DG_GRAD_TREE_LEVELS; k++)
        if (tree->level[k]) {
            dg_grad_tree_give(tree, tree->level[k]);
            tree->level[k] = NULL;
        }
}

dg_status dg_grad_tree_add(dg_grad_tree *tree, dg_exec *exec, float **grad) {
    dg_status status = DG_OK;
    float *sum = *grad;
    int k = 0;
    for (; tree->level[k]; k++) {
        DG_TRY(tree->backend->ops->accumulate(exec, tree->total, sum, tree->level[k]));
        if (sum != *grad)
            dg_grad_tree_give(tree, sum);
        sum = tree->level[k];
        tree->level[k] = NULL;
    }
    tree->level[k] = sum;
    if (sum == *grad) {
        assert(tree->spares > 0);
        *grad = tree->spare[--tree->spares];
    }
done:
    return status;
}

dg_status dg_grad_tree_fold(const dg_grad_tree *tree, dg_exec *exec, const float *last, int64_t first, int64_t count) {
    dg_status status = DG_OK;
    const float *sum = last;
    for (int k = 0; k < DG_GRAD_TREE_LEVELS; k++) {
        if (!tree->level[k])
            continue;
        DG_TRY(tree->backend->ops->accumulate(exec, count, sum + first, tree->level[k] + first));
        sum = tree->level[k];
    }
done:
    return status;
}

float *dg_grad_tree_root(const dg_grad_tree *tree, float *last) {
    float *root = last;
    for (int k = 0; k < DG_GRAD_TREE_LEVELS; k++)
        if (tree->level[k])
            root = tree->level[k];
    return root;
}
