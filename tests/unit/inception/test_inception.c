/* Inception's features against pytorch-fid's network with the same made-up weights, with both ways to resize. */
#include "inception/inception.h"
#include "support/inception_weights.h"

#include <stdio.h>
#include <stdlib.h>

static dg_ctx *ctx;
static char path[512];

static void compare(dg_inception *net, const char *name, int side, int channels) {
    static const char *const inputs[] = {"torch_fidelity", "pytorch_fid"};
    char key[64];
    const int64_t count = 2 * (int64_t)side * side * channels, dims[2] = {2, DG_INCEPTION_FEATURES};
    uint8_t *pixels = malloc((size_t)count);
    dg_image_set set = {.n = 2, .h = side, .w = side, .channels = channels, .bits = 8, .pixels = pixels};
    float *got = malloc(2 * DG_INCEPTION_FEATURES * sizeof *got),
          *want = malloc(2 * DG_INCEPTION_FEATURES * sizeof *want);
    dg_safetensors *golden = NULL;
    DG_CK(ctx, dg_safetensors_open(ctx, DG_SOURCE_DIR "/tests/golden/inception.safetensors", &golden));
    snprintf(key, sizeof key, "inception.%s", name);
    for (int64_t i = 0; i < count; i++)
        pixels[i] = (uint8_t)floor(golden_uniform(golden_hash(key), i) * 256);
    for (int input = 0; input < 2; input++) {
        double error = 0, size = 0;
        snprintf(key, sizeof key, "%s.%s", name, inputs[input]);
        DG_CK(ctx, dg_safetensors_read_f32(ctx, golden, key, 2, dims, want));
        DG_CK(ctx, dg_inception_features(net, &set, (dg_inception_input)input, NULL, NULL, got));
        for (int i = 0; i < 2 * DG_INCEPTION_FEATURES; i++) {
            error += pow(got[i] - want[i], 2);
            size += pow(want[i], 2);
        }
        ck_assert_msg(error <= 1e-8 * size, "%s: relative error %g", key, sqrt(error / size));
        ck_assert(size > 0);
    }
    dg_safetensors_close(golden);
    free(pixels);
    free(got);
    free(want);
}

START_TEST(as_pytorch_fid_and_torch_fidelity) {
    dg_inception *net = NULL, *none = NULL;
    ctx = dg_test_context();
    snprintf(path, sizeof path, "%s/inception.safetensors", dg_test_dir());
    ck_assert_int_eq(dg_inception_open(ctx, path, 1, &none), DG_ENOINPUT);
    ck_assert_int_eq(dg_inception_open(ctx, DG_SOURCE_DIR "/tests/golden/unet_plain.safetensors", 1, &none), DG_EDATA);
    dg_ctx_clear_error(ctx);
    write_weights(ctx, path);
    DG_CK(ctx, dg_inception_open(ctx, path, 2, &net));
    compare(net, "colour", 32, 3);
    compare(net, "grey", 28, 1);
    dg_inception_close(net);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("inception");
    TCase *tc = tcase_create("inception");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, as_pytorch_fid_and_torch_fidelity);
    suite_add_tcase(suite, tc);
    return suite;
}
