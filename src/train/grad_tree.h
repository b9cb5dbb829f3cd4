/* The gradient of a batch as a sum over its micro-batches in the order of a binary tree over their numbers: pairs of
 * neighbours first, then pairs of pairs. Of the sums that are not yet part of a larger one there is at most one for
 * each power of two, as there is one digit for each in the number of micro-batches added so far. Private to the room.
 *
 * Why a tree: a branch of it can be added up anywhere (share.h). It also rounds less than adding one after the other.
 */
#ifndef DG_TRAIN_GRAD_TREE_H
#define DG_TRAIN_GRAD_TREE_H

#include "kernels/backend.h"

enum { DG_GRAD_TREE_LEVELS = 20 }; /* 2^19 micro-batches; --batch ends at 2^16 */

typedef struct dg_grad_tree {
    const dg_backend *backend;
    int64_t total;                     /* floats of a gradient */
    float *level[DG_GRAD_TREE_LEVELS]; /* the sum of an aligned block of 2^k micro-batches, NULL = none is open */
    float *spare[DG_GRAD_TREE_LEVELS];
    int spares;
} dg_grad_tree;

/* Buffers to be given to a tree before it adds up `items` micro-batches. */
int dg_grad_tree_buffers(int64_t items);
void dg_grad_tree_give(dg_grad_tree *tree, float *buffer);
/* Forgets all sums; every buffer is spare again. */
void dg_grad_tree_clear(dg_grad_tree *tree);

/* Adds the gradient of the next micro-batch; takes the buffer *grad and gives another for it where that saves a copy.
 * err   DG_EDEVICE */
DG_MUST_CHECK dg_status dg_grad_tree_add(dg_grad_tree *tree, dg_exec *exec, float **grad);
/* Adds [first, first+count) of the last micro-batch's gradient and brings all open sums together there, in the tree's
 * order. After every range has been through, dg_grad_tree_root is the whole sum. Ranges may come in any order, and
 * while `last` is still being written elsewhere.
 * err   DG_EDEVICE */
DG_MUST_CHECK dg_status dg_grad_tree_fold(const dg_grad_tree *tree, dg_exec *exec, const float *last, int64_t first,
                                          int64_t count);
/* Where the sum is: `last` itself if it is the only one. */
float *dg_grad_tree_root(const dg_grad_tree *tree, float *last);

#endif
