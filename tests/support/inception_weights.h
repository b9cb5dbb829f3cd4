/* Made-up weights for Inception, the fill of tests/golden/README.md, as a safetensors file. */
#ifndef DG_TESTS_INCEPTION_WEIGHTS_H
#define DG_TESTS_INCEPTION_WEIGHTS_H

#include "inception/walk.h"
#include "io/safetensors.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdio.h>
#include <stdlib.h>

/* Layer by layer in the walk's order, as forward.c names them; shapes [out, in, kh, kw]. */
typedef struct tensor_list {
    dg_st_tensor tensors[2 * DG_INCEPTION_LAYERS];
    char names[2 * DG_INCEPTION_LAYERS][64];
    int64_t count;
} tensor_list;

static void add(tensor_list *list, const char *name, int rank, const int64_t *dims, double scale) {
    dg_st_tensor *t = &list->tensors[list->count];
    int64_t count = 1;
    snprintf(list->names[list->count], sizeof list->names[0], "%s", name);
    *t = (dg_st_tensor){.name = list->names[list->count++], .dtype = DG_ST_F32, .rank = rank};
    for (int i = 0; i < rank; i++) {
        t->dims[i] = dims[i];
        count *= dims[i];
    }
    float *data = malloc((size_t)count * sizeof *data);
    golden_fill(name, scale, 0, count, data);
    t->data = data;
}

static void add_layer(tensor_list *list, const char *block, const char *name, int out_c, int in_c, int kh, int kw) {
    char full[64];
    const int64_t dims[4] = {out_c, in_c, kh, kw};
    snprintf(full, sizeof full, "%s%s%s.weight", block, *name ? "." : "", name);
    add(list, full, 4, dims, sqrt(6.0 / (in_c * kh * kw)));
    snprintf(full, sizeof full, "%s%s%s.bias", block, *name ? "." : "", name);
    add(list, full, 1, dims, 0.1);
}

static void add_a(tensor_list *l, const char *b, int c, int pool) {
    add_layer(l, b, "branch1x1", 64, c, 1, 1);
    add_layer(l, b, "branch5x5_1", 48, c, 1, 1);
    add_layer(l, b, "branch5x5_2", 64, 48, 5, 5);
    add_layer(l, b, "branch3x3dbl_1", 64, c, 1, 1);
    add_layer(l, b, "branch3x3dbl_2", 96, 64, 3, 3);
    add_layer(l, b, "branch3x3dbl_3", 96, 96, 3, 3);
    add_layer(l, b, "branch_pool", pool, c, 1, 1);
}

static void add_c(tensor_list *l, const char *b, int c7) {
    add_layer(l, b, "branch1x1", 192, 768, 1, 1);
    add_layer(l, b, "branch7x7_1", c7, 768, 1, 1);
    add_layer(l, b, "branch7x7_2", c7, c7, 1, 7);
    add_layer(l, b, "branch7x7_3", 192, c7, 7, 1);
    add_layer(l, b, "branch7x7dbl_1", c7, 768, 1, 1);
    add_layer(l, b, "branch7x7dbl_2", c7, c7, 7, 1);
    add_layer(l, b, "branch7x7dbl_3", c7, c7, 1, 7);
    add_layer(l, b, "branch7x7dbl_4", c7, c7, 7, 1);
    add_layer(l, b, "branch7x7dbl_5", 192, c7, 1, 7);
    add_layer(l, b, "branch_pool", 192, 768, 1, 1);
}

static void add_e(tensor_list *l, const char *b, int c) {
    add_layer(l, b, "branch1x1", 320, c, 1, 1);
    add_layer(l, b, "branch3x3_1", 384, c, 1, 1);
    add_layer(l, b, "branch3x3_2a", 384, 384, 1, 3);
    add_layer(l, b, "branch3x3_2b", 384, 384, 3, 1);
    add_layer(l, b, "branch3x3dbl_1", 448, c, 1, 1);
    add_layer(l, b, "branch3x3dbl_2", 384, 448, 3, 3);
    add_layer(l, b, "branch3x3dbl_3a", 384, 384, 1, 3);
    add_layer(l, b, "branch3x3dbl_3b", 384, 384, 3, 1);
    add_layer(l, b, "branch_pool", 192, c, 1, 1);
}

static void add_b_and_d(tensor_list *l) {
    add_layer(l, "Mixed_6a", "branch3x3", 384, 288, 3, 3);
    add_layer(l, "Mixed_6a", "branch3x3dbl_1", 64, 288, 1, 1);
    add_layer(l, "Mixed_6a", "branch3x3dbl_2", 96, 64, 3, 3);
    add_layer(l, "Mixed_6a", "branch3x3dbl_3", 96, 96, 3, 3);
    add_layer(l, "Mixed_7a", "branch3x3_1", 192, 768, 1, 1);
    add_layer(l, "Mixed_7a", "branch3x3_2", 320, 192, 3, 3);
    add_layer(l, "Mixed_7a", "branch7x7x3_1", 192, 768, 1, 1);
    add_layer(l, "Mixed_7a", "branch7x7x3_2", 192, 192, 1, 7);
    add_layer(l, "Mixed_7a", "branch7x7x3_3", 192, 192, 7, 1);
    add_layer(l, "Mixed_7a", "branch7x7x3_4", 192, 192, 3, 3);
}

static void write_weights(dg_ctx *ctx, const char *path) {
    tensor_list *l = calloc(1, sizeof *l);
    ck_assert_ptr_nonnull(l);
    add_layer(l, "Conv2d_1a_3x3", "", 32, 3, 3, 3);
    add_layer(l, "Conv2d_2a_3x3", "", 32, 32, 3, 3);
    add_layer(l, "Conv2d_2b_3x3", "", 64, 32, 3, 3);
    add_layer(l, "Conv2d_3b_1x1", "", 80, 64, 1, 1);
    add_layer(l, "Conv2d_4a_3x3", "", 192, 80, 3, 3);
    add_a(l, "Mixed_5b", 192, 32);
    add_a(l, "Mixed_5c", 256, 64);
    add_a(l, "Mixed_5d", 288, 64);
    add_b_and_d(l);
    add_c(l, "Mixed_6b", 128);
    add_c(l, "Mixed_6c", 160);
    add_c(l, "Mixed_6d", 160);
    add_c(l, "Mixed_6e", 192);
    add_e(l, "Mixed_7b", 1280);
    add_e(l, "Mixed_7c", 2048);
    ck_assert_int_eq(l->count, 2 * DG_INCEPTION_LAYERS);
    DG_CK(ctx, dg_safetensors_write(ctx, path, l->tensors, l->count, NULL, 0));
    for (int64_t i = 0; i < l->count; i++)
        free((void *)(uintptr_t)l->tensors[i].data);
    free(l);
}

#endif
