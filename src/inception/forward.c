/* Inception-2015, block by block. Names are torchvision's, under which the converter stores the tensors. */
#include "inception/walk.h"

#include <stdio.h>

static const dg_inception_kernel k1x1 = {1, 1, 1, 0, 0}, k3x3 = {3, 3, 1, 1, 1}, k3x3_valid = {3, 3, 1, 0, 0},
                                 k3x3_half = {3, 3, 2, 0, 0}, k5x5 = {5, 5, 1, 2, 2}, k1x7 = {1, 7, 1, 0, 3},
                                 k7x1 = {7, 1, 1, 3, 0}, k1x3 = {1, 3, 1, 0, 1}, k3x1 = {3, 1, 1, 1, 0};

/* One layer of a branch. */
typedef struct step {
    const char *name;
    dg_inception_kernel kernel;
    int out_c;
} step;

/* Buffers: 0 and 1 are taken in turns by the blocks' inputs and outputs, 2 and 3 inside a branch, 4 by pools. */
static dg_inception_value in_buffer(const dg_inception_walk *walk, int buffer, int c) {
    return (dg_inception_value){.data = walk->lane ? walk->lane->buffers[buffer] : NULL, .c = c};
}

/* The steps one after the other; the last one goes to channels offset.. of y. */
static dg_status branch(dg_inception_walk *walk, const char *block, const dg_inception_value *x, const step *steps,
                        int count, dg_inception_value *y, int *offset) {
    dg_status status = DG_OK;
    dg_inception_value value = *x;
    char name[96];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s.%s", block, steps[i].name);
        if (i + 1 == count) {
            DG_TRY(dg_inception_conv(walk, name, &value, steps[i].kernel, steps[i].out_c, y, *offset));
            *offset += steps[i].out_c;
        } else {
            dg_inception_value next = in_buffer(walk, 2 + i % 2, steps[i].out_c);
            DG_TRY(dg_inception_conv(walk, name, &value, steps[i].kernel, steps[i].out_c, &next, 0));
            value = next;
        }
    }
done:
    return status;
}

/* A pool and a 1 x 1 convolution after it. */
static dg_status pool_branch(dg_inception_walk *walk, const char *block, const dg_inception_value *x, int out_c,
                             bool maximum, dg_inception_value *y, int *offset) {
    dg_inception_value pooled = in_buffer(walk, 4, x->c);
    const step steps[] = {{"branch_pool", k1x1, out_c}};
    if (maximum)
        dg_inception_max_pool(walk, x, 1, &pooled, 0);
    else
        dg_inception_average_pool(walk, x, &pooled);
    return branch(walk, block, &pooled, steps, 1, y, offset);
}

#define BRANCH(...)                                                                                                    \
    do {                                                                                                               \
        const step list[] = {__VA_ARGS__};                                                                             \
        DG_TRY(branch(walk, block, x, list, (int)(sizeof list / sizeof *list), y, &offset));                           \
    } while (0)

static dg_status block_a(dg_inception_walk *walk, const char *block, const dg_inception_value *x, int pool_c,
                         dg_inception_value *y) {
    dg_status status = DG_OK;
    int offset = 0;
    y->c = 64 + 64 + 96 + pool_c;
    BRANCH({"branch1x1", k1x1, 64});
    BRANCH({"branch5x5_1", k1x1, 48}, {"branch5x5_2", k5x5, 64});
    BRANCH({"branch3x3dbl_1", k1x1, 64}, {"branch3x3dbl_2", k3x3, 96}, {"branch3x3dbl_3", k3x3, 96});
    DG_TRY(pool_branch(walk, block, x, pool_c, false, y, &offset));
done:
    return status;
}

static dg_status block_b(dg_inception_walk *walk, const char *block, const dg_inception_value *x,
                         dg_inception_value *y) {
    dg_status status = DG_OK;
    int offset = 0;
    y->c = 384 + 96 + x->c;
    BRANCH({"branch3x3", k3x3_half, 384});
    BRANCH({"branch3x3dbl_1", k1x1, 64}, {"branch3x3dbl_2", k3x3, 96}, {"branch3x3dbl_3", k3x3_half, 96});
    dg_inception_max_pool(walk, x, 2, y, offset);
done:
    return status;
}

static dg_status block_c(dg_inception_walk *walk, const char *block, const dg_inception_value *x, int c7,
                         dg_inception_value *y) {
    dg_status status = DG_OK;
    int offset = 0;
    y->c = 4 * 192;
    BRANCH({"branch1x1", k1x1, 192});
    BRANCH({"branch7x7_1", k1x1, c7}, {"branch7x7_2", k1x7, c7}, {"branch7x7_3", k7x1, 192});
    BRANCH({"branch7x7dbl_1", k1x1, c7}, {"branch7x7dbl_2", k7x1, c7}, {"branch7x7dbl_3", k1x7, c7},
           {"branch7x7dbl_4", k7x1, c7}, {"branch7x7dbl_5", k1x7, 192});
    DG_TRY(pool_branch(walk, block, x, 192, false, y, &offset));
done:
    return status;
}

static dg_status block_d(dg_inception_walk *walk, const char *block, const dg_inception_value *x,
                         dg_inception_value *y) {
    dg_status status = DG_OK;
    int offset = 0;
    y->c = 320 + 192 + x->c;
    BRANCH({"branch3x3_1", k1x1, 192}, {"branch3x3_2", k3x3_half, 320});
    BRANCH({"branch7x7x3_1", k1x1, 192}, {"branch7x7x3_2", k1x7, 192}, {"branch7x7x3_3", k7x1, 192},
           {"branch7x7x3_4", k3x3_half, 192});
    dg_inception_max_pool(walk, x, 2, y, offset);
done:
    return status;
}

/* A branch that ends in two convolutions side by side: the shared part once, its result twice. */
static dg_status forked(dg_inception_walk *walk, const char *block, const dg_inception_value *x, const step *steps,
                        int count, const step fork[2], dg_inception_value *y, int *offset) {
    dg_status status = DG_OK;
    dg_inception_value shared = in_buffer(walk, 4, steps[count - 1].out_c);
    int none = 0;
    DG_TRY(branch(walk, block, x, steps, count, &shared, &none));
    for (int i = 0; i < 2; i++)
        DG_TRY(branch(walk, block, &shared, &fork[i], 1, y, offset));
done:
    return status;
}

static dg_status block_e(dg_inception_walk *walk, const char *block, const dg_inception_value *x, bool maximum,
                         dg_inception_value *y) {
    dg_status status = DG_OK;
    const step one[] = {{"branch3x3_1", k1x1, 384}},
               two[] = {{"branch3x3dbl_1", k1x1, 448}, {"branch3x3dbl_2", k3x3, 384}},
               fork_one[] = {{"branch3x3_2a", k1x3, 384}, {"branch3x3_2b", k3x1, 384}},
               fork_two[] = {{"branch3x3dbl_3a", k1x3, 384}, {"branch3x3dbl_3b", k3x1, 384}};
    int offset = 0;
    y->c = 320 + 4 * 384 + 192;
    BRANCH({"branch1x1", k1x1, 320});
    DG_TRY(forked(walk, block, x, one, 1, fork_one, y, &offset));
    DG_TRY(forked(walk, block, x, two, 2, fork_two, y, &offset));
    DG_TRY(pool_branch(walk, block, x, 192, maximum, y, &offset));
done:
    return status;
}

static dg_status stem(dg_inception_walk *walk, const dg_inception_value *image, dg_inception_value *out) {
    dg_status status = DG_OK;
    dg_inception_value a = in_buffer(walk, 1, 32), b = in_buffer(walk, 2, 32), c = in_buffer(walk, 3, 64),
                       d = in_buffer(walk, 1, 64), e = in_buffer(walk, 2, 80), f = in_buffer(walk, 3, 192);
    DG_TRY(dg_inception_conv(walk, "Conv2d_1a_3x3", image, k3x3_half, 32, &a, 0));
    DG_TRY(dg_inception_conv(walk, "Conv2d_2a_3x3", &a, k3x3_valid, 32, &b, 0));
    DG_TRY(dg_inception_conv(walk, "Conv2d_2b_3x3", &b, k3x3, 64, &c, 0));
    dg_inception_max_pool(walk, &c, 2, &d, 0);
    DG_TRY(dg_inception_conv(walk, "Conv2d_3b_1x1", &d, k1x1, 80, &e, 0));
    DG_TRY(dg_inception_conv(walk, "Conv2d_4a_3x3", &e, k3x3_valid, 192, &f, 0));
    out->c = 192;
    dg_inception_max_pool(walk, &f, 2, out, 0);
done:
    return status;
}

static void global_average(const dg_inception_value *x, float *features) {
    for (int c = 0; c < x->c; c++) {
        double sum = 0;
        for (int p = 0; p < x->h * x->w; p++)
            sum += x->data[(int64_t)p * x->c + c];
        features[c] = (float)(sum / (x->h * x->w));
    }
}

dg_status dg_inception_forward(dg_inception_walk *walk, float *image, float *features) {
    dg_status status = DG_OK;
    dg_inception_value x = {image, DG_INCEPTION_SIDE, DG_INCEPTION_SIDE, 3};
    dg_inception_value v[2] = {in_buffer(walk, 0, 0), in_buffer(walk, 1, 0)};
    DG_TRY(stem(walk, &x, &v[0]));
    DG_TRY(block_a(walk, "Mixed_5b", &v[0], 32, &v[1]));
    DG_TRY(block_a(walk, "Mixed_5c", &v[1], 64, &v[0]));
    DG_TRY(block_a(walk, "Mixed_5d", &v[0], 64, &v[1]));
    DG_TRY(block_b(walk, "Mixed_6a", &v[1], &v[0]));
    DG_TRY(block_c(walk, "Mixed_6b", &v[0], 128, &v[1]));
    DG_TRY(block_c(walk, "Mixed_6c", &v[1], 160, &v[0]));
    DG_TRY(block_c(walk, "Mixed_6d", &v[0], 160, &v[1]));
    DG_TRY(block_c(walk, "Mixed_6e", &v[1], 192, &v[0]));
    DG_TRY(block_d(walk, "Mixed_7a", &v[0], &v[1]));
    DG_TRY(block_e(walk, "Mixed_7b", &v[1], false, &v[0]));
    DG_TRY(block_e(walk, "Mixed_7c", &v[0], true, &v[1]));
    if (walk->lane)
        global_average(&v[1], features);
done:
    return status;
}
