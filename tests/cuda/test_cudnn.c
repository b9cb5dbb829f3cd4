/* What cuDNN supports on compute capability 9.0, asked of the real library without a GPU: every convolution of the
 * presets that we would give it has an engine. And which graphs have none: the same questions are put to the
 * simulator's cuDNN in its build, which must give the same answers.
 *
 * cuDNN plans for a device whose properties it reads from a text (device_sm_90.json, filled in from the published
 * properties of an H100; of what is asked here, the answers follow from the compute capability alone). Skipped (77)
 * where there is no cuDNN. */
#include "core/fs.h"
#include "kernels/cuda/conv2d_library_internal.h"
#include "nn/graph.h"
#include "support/test_main.h"
#include "train/preset.h"

#include <cudnn.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dg_cudnn *open_cudnn(dg_ctx *ctx, char why[DG_LIBRARY_WHY]) {
#ifdef DG_CUDASIM
    dg_library_info info;
    dg_cudnn *cudnn = NULL;
    DG_CK(ctx, dg_cudnn_open(ctx, true, &info, &cudnn));
    snprintf(why, DG_LIBRARY_WHY, "%.150s", info.why_not);
    return cudnn;
#else
    char *text = NULL;
    size_t size = 0;
    DG_CK(ctx, dg_fs_read_file(ctx, DG_SOURCE_DIR "/tests/cuda/device_sm_90.json", 1 << 16, &text, &size));
    dg_cudnn *cudnn = NULL;
    DG_CK(ctx, dg_cudnn_open_for(ctx, text, &cudnn, why));
    free(text);
    return cudnn;
#endif
}

/* ---- the presets ---- */

static const struct {
    const char *preset;
    int64_t size;
} presets[] = {{"tiny", 28}, {"tiny", 32}, {"small", 32}, {"small", 64}, {"base", 64}, {"base", 128}};
enum { PRESETS = sizeof presets / sizeof *presets };

static void expect_engine(const dg_cudnn *cudnn, const dg_conv2d_desc *d, dg_library_role role) {
    dg_library_engine *engine = NULL;
    char why[DG_LIBRARY_WHY] = "";
    ck_assert_msg(dg_cudnn_engine(cudnn, d, role, &engine, why),
                  "role %d of %dx%d /%d, %lld->%lld channels at %lldx%lld: %s", (int)role, d->kernel, d->kernel,
                  d->stride, (long long)d->in_c, (long long)d->out_c, (long long)d->h, (long long)d->w, why);
    ck_assert_int_ge(engine->candidates, 1);
    ck_assert_uint_le(engine->workspace_bytes, DG_LIBRARY_WORKSPACE);
    engine->free(engine);
}

START_TEST(test_presets) {
    char why[DG_LIBRARY_WHY] = "";
    dg_ctx *ctx = dg_test_context();
    dg_cudnn *cudnn = open_cudnn(ctx, why);
    dg_preset preset = {0};
    dg_graph *graph = NULL;
    int asked = 0;
    ck_assert_msg(cudnn != NULL, "%s", why);
    const int64_t size = presets[_i].size;
    DG_CK(ctx, dg_preset_load(ctx, presets[_i].preset, &preset));
    DG_CK(ctx, dg_preset_fit(ctx, &preset, size, size, 3, 10, true));
    DG_CK(ctx, dg_unet_build(ctx, &preset.unet, size, size, &graph));
    for (int i = 0; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        if (node->kind != DG_NODE_CONV2D || node->kernel == 1)
            continue;
        dg_conv2d_desc d = dg_graph_conv2d(graph, node, preset.batch);
        d.training = true;
        d.precision = DG_PRECISION_BF16;
        if (!dg_conv2d_library_fits(&d))
            continue;
        for (int role = 0; role < DG_ROLES; role++)
            if (role != DG_ROLE_BWD_PARAMS_ADDED)
                expect_engine(cudnn, &d, (dg_library_role)role);
        asked++;
    }
    ck_assert_int_ge(asked, 8);
    dg_graph_free(graph);
    dg_preset_free(&preset);
    dg_cudnn_close(cudnn);
    dg_ctx_free(ctx);
}
END_TEST

/* ---- what is refused ---- */

typedef struct api {
    __typeof__(cudnnBackendCreateDescriptor) *create;
    __typeof__(cudnnBackendDestroyDescriptor) *destroy;
    __typeof__(cudnnBackendSetAttribute) *set;
    __typeof__(cudnnBackendGetAttribute) *get;
    __typeof__(cudnnBackendFinalize) *finalize;
    __typeof__(cudnnCreate) *create_handle;
    __typeof__(cudnnDestroy) *destroy_handle;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device;
    cudnnBackendDescriptor_t made[64];
    int count;
} api;

static void load_api(api *a) {
    static const char *const libraries[] = {"libcudnn.so.9", NULL};
    static const char *const names[] = {"cudnnBackendCreateDescriptor",
                                        "cudnnBackendDestroyDescriptor",
                                        "cudnnBackendSetAttribute",
                                        "cudnnBackendGetAttribute",
                                        "cudnnBackendFinalize",
                                        "cudnnCreate",
                                        "cudnnDestroy"};
    void *address[7];
    char why[DG_LIBRARY_WHY];
    void *library = dg_library_load(libraries, why);
    ck_assert_msg(library && dg_library_symbols(library, names, 7, address, why), "%s", why);
    memset(a, 0, sizeof *a);
    memcpy(a, address, sizeof address);
}

static cudnnBackendDescriptor_t make(api *a, cudnnBackendDescriptorType_t type) {
    ck_assert_int_lt(a->count, 64);
    ck_assert_int_eq(a->create(type, &a->made[a->count]), CUDNN_STATUS_SUCCESS);
    return a->made[a->count++];
}

static void set(api *a, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int64_t count, const void *values) {
    ck_assert_int_eq(a->set(d, name, type, count, values), CUDNN_STATUS_SUCCESS);
}

static void set_descriptor(api *a, cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value) {
    set(a, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static cudnnBackendDescriptor_t finish(api *a, cudnnBackendDescriptor_t d) {
    ck_assert_int_eq(a->finalize(d), CUDNN_STATUS_SUCCESS);
    return d;
}

static void open_device(api *a) {
#ifdef DG_CUDASIM
    ck_assert_int_eq(a->create_handle(&a->handle), CUDNN_STATUS_SUCCESS);
#else
    char *text = NULL;
    size_t size = 0;
    dg_ctx *ctx = dg_test_context();
    DG_CK(ctx, dg_fs_read_file(ctx, DG_SOURCE_DIR "/tests/cuda/device_sm_90.json", 1 << 16, &text, &size));
    a->device = make(a, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    set(a, a->device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)size, text);
    finish(a, a->device);
    free(text);
    dg_ctx_free(ctx);
#endif
}

static void close_api(api *a) {
    while (a->count > 0)
        a->destroy(a->made[--a->count]);
    if (a->handle)
        a->destroy_handle(a->handle);
}

enum { N = 4, C = 64, SIDE = 16 };

static cudnnBackendDescriptor_t tensor(api *a, int64_t name, cudnnDataType_t type, int64_t n, int64_t c, int64_t side,
                                       bool stored) {
    const int64_t dims[4] = {n, c, side, side}, strides[4] = {side * side * c, 1, side * c, c}, alignment = 16;
    const bool is_virtual = !stored;
    cudnnBackendDescriptor_t d = make(a, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(a, d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(a, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(a, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(a, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name);
    set(a, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(a, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    return finish(a, d);
}

static cudnnBackendDescriptor_t convolution(api *a, dg_library_role role, cudnnBackendDescriptor_t x,
                                            cudnnBackendDescriptor_t weight, cudnnBackendDescriptor_t y) {
    static const int types[] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                                CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
    /* x, weight, y, the convolution, alpha, beta */
    static const int names[][6] = {
        {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const int64_t axes = 2, one[2] = {1, 1};
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const float alpha = 1.0f, beta = 0.0f;
    cudnnBackendDescriptor_t how = make(a, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(a, how, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    set(a, how, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    set(a, how, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(a, how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, one);
    set(a, how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, one);
    set(a, how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, one);
    set(a, how, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    cudnnBackendDescriptor_t d = make(a, (cudnnBackendDescriptorType_t)types[role]), of[4] = {x, weight, y, NULL};
    of[3] = finish(a, how);
    for (int i = 0; i < 4; i++)
        set_descriptor(a, d, (cudnnBackendAttributeName_t)names[role][i], of[i]);
    set(a, d, (cudnnBackendAttributeName_t)names[role][4], CUDNN_TYPE_FLOAT, 1, &alpha);
    set(a, d, (cudnnBackendAttributeName_t)names[role][5], CUDNN_TYPE_FLOAT, 1, &beta);
    return finish(a, d);
}

static cudnnBackendDescriptor_t addition(api *a, cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                                         cudnnBackendDescriptor_t y) {
    const cudnnPointwiseMode_t mode = CUDNN_POINTWISE_ADD;
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    cudnnBackendDescriptor_t how = make(a, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(a, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(a, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    cudnnBackendDescriptor_t d = make(a, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(a, d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, finish(a, how));
    set_descriptor(a, d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    set_descriptor(a, d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_descriptor(a, d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    return finish(a, d);
}

/* How many configurations the heuristics name for a graph. */
static int64_t configurations(api *a, int count, const cudnnBackendDescriptor_t *operations) {
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    cudnnBackendDescriptor_t graph = make(a, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR), results[8];
    int64_t found = 0;
    if (a->handle)
        set(a, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &a->handle);
    set(a, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations);
    cudnnBackendDescriptor_t heuristics = make(a, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(a, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, finish(a, graph));
    set(a, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (a->device)
        set_descriptor(a, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, a->device);
    finish(a, heuristics);
    for (int i = 0; i < 8; i++)
        results[i] = make(a, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    ck_assert_int_eq(
        a->get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 8, &found, results),
        CUDNN_STATUS_SUCCESS);
    return found;
}

#define BF16 CUDNN_DATA_BFLOAT16
#define FP32 CUDNN_DATA_FLOAT
static const struct {
    const char *what;
    dg_library_role role;
    cudnnDataType_t x, weight, y;
    const char *added; /* b: a bias in bf16, f: in float, r: a residual; in this order */
    bool supported;
} questions[] = {
    {"a forward", DG_ROLE_FWD, BF16, BF16, BF16, "", true},
    {"a data gradient", DG_ROLE_BWD_DATA, BF16, BF16, BF16, "", true},
    {"a parameter gradient", DG_ROLE_BWD_PARAMS, BF16, BF16, BF16, "", true},
    {"a forward with bias", DG_ROLE_FWD, BF16, BF16, BF16, "b", true},
    {"a forward with residual and bias", DG_ROLE_FWD, BF16, BF16, BF16, "rb", true},
    {"a forward into float", DG_ROLE_FWD, BF16, BF16, FP32, "", false},
    {"a data gradient into float", DG_ROLE_BWD_DATA, FP32, BF16, BF16, "", false},
    {"a parameter gradient into float", DG_ROLE_BWD_PARAMS, BF16, FP32, BF16, "", false},
    {"a bias in float", DG_ROLE_FWD, BF16, BF16, BF16, "f", false},
    {"a residual and a bias in float", DG_ROLE_FWD, BF16, BF16, BF16, "rf", false},
    {"a residual after the bias", DG_ROLE_FWD, BF16, BF16, BF16, "br", false},
    {"a residual without bias", DG_ROLE_FWD, BF16, BF16, BF16, "r", false},
};
enum { QUESTIONS = sizeof questions / sizeof *questions };

START_TEST(test_support) {
    api a;
    cudnnBackendDescriptor_t operations[3];
    const char *added = questions[_i].added;
    const int additions = (int)strlen(added);
    load_api(&a);
    open_device(&a);
    cudnnBackendDescriptor_t x = tensor(&a, 1, questions[_i].x, N, C, SIDE, true);
    cudnnBackendDescriptor_t weight = tensor(&a, 2, questions[_i].weight, C, C, 3, true);
    cudnnBackendDescriptor_t last = tensor(&a, 3, additions ? FP32 : questions[_i].y, N, C, SIDE, additions == 0);
    operations[0] = convolution(&a, questions[_i].role, x, weight, last);
    for (int i = 0; i < additions; i++) {
        const bool is_last = i == additions - 1;
        cudnnBackendDescriptor_t sum = tensor(&a, 10 + i, is_last ? BF16 : FP32, N, C, SIDE, is_last);
        cudnnBackendDescriptor_t b = added[i] == 'r' ? tensor(&a, 20, BF16, N, C, SIDE, true)
                                                     : tensor(&a, 21, added[i] == 'f' ? FP32 : BF16, 1, C, 1, true);
        operations[1 + i] = addition(&a, last, b, sum);
        last = sum;
    }
    const int64_t found = configurations(&a, 1 + additions, operations);
    ck_assert_msg((found > 0) == questions[_i].supported, "%s: %lld engines", questions[_i].what, (long long)found);
    close_api(&a);
}
END_TEST

Suite *dg_test_suite(void) {
    static const char *const libraries[] = {"libcudnn.so.9", NULL};
    char why[DG_LIBRARY_WHY];
    Suite *suite = suite_create("cudnn");
    TCase *tests = tcase_create("support");
    if (!dg_library_load(libraries, why)) {
        printf("skipped: %s\n", why);
        exit(77);
    }
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, test_presets, 0, PRESETS);
    tcase_add_loop_test(tests, test_support, 0, QUESTIONS);
    suite_add_tcase(suite, tests);
    return suite;
}
