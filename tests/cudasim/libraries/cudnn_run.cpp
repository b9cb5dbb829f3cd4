/* The convolutions of the simulated cuDNN. What is supported is what cuDNN 9.19 says of compute capability 9.0 when it
 * is asked without a device (tests/cuda/test_cudnn.c puts the same questions to both): all stored tensors bf16 and
 * NHWC; after a forward nothing, or [+ residual] + bias in this order, the bias in bf16; gradients alone. */
#include "sim_cudnn.h"

#include <cstdio>

namespace cudasim {

const Engine engines[ENGINES] = {
    {900, {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, -1, 0},
    {901, {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, -1}, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION, 0},
    {902, {CUDNN_NUMERICAL_NOTE_WINOGRAD, -1}, -1, 0},
    {903, {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, -1}, -1, 131},
    {904, {-1, -1}, -1, 4096},
};

namespace {

bool unsupported(const char *why) {
    fprintf(stderr, "cudasim: cuDNN: no engine supports %s\n", why);
    return false;
}

struct Names {
    Kind kind;
    int x, weight, y, convolution, alpha, beta;
};

/* NULL: no convolution. */
const Names *names_of(const Descriptor *operation) {
    static const Names forward = {Kind::forward,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    static const Names data = {Kind::data_gradient,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    static const Names params = {Kind::parameter_gradient,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
    switch (operation->type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
        return &forward;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
        return &data;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        return &params;
    default:
        return nullptr;
    }
}

void read_convolution(const Descriptor *operation, const Names &names, Convolution *out) {
    const Descriptor *how = get_descriptor(operation, names.convolution);
    *out = {};
    out->kind = names.kind;
    out->x = tensor_of(get_descriptor(operation, names.x));
    out->weight = tensor_of(get_descriptor(operation, names.weight));
    out->y = tensor_of(get_descriptor(operation, names.y));
    out->alpha = get<float>(operation, names.alpha);
    out->beta = get<float>(operation, names.beta);
    for (size_t axis = 0; axis < 2; axis++) {
        out->before[axis] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, axis);
        out->after[axis] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, axis);
        out->stride[axis] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, axis);
        out->dilation[axis] = get<int64_t>(how, CUDNN_ATTR_CONVOLUTION_DILATIONS, axis);
    }
}

bool convolution_fits(const Convolution &c) {
    for (int axis = 0; axis < 2; axis++) {
        const int64_t reach = (c.weight.dims[2 + axis] - 1) * c.dilation[axis] + 1;
        const int64_t room = c.x.dims[2 + axis] + c.before[axis] + c.after[axis] - reach;
        if (c.stride[axis] < 1 || c.dilation[axis] < 1 || room < 0 || c.y.dims[2 + axis] != room / c.stride[axis] + 1)
            return false;
    }
    return c.x.dims[0] == c.y.dims[0] && c.x.dims[1] == c.weight.dims[1] && c.y.dims[1] == c.weight.dims[0];
}

bool is_nhwc(const Tensor &t) {
    return t.strides[1] == 1 && t.strides[3] == t.dims[1] && t.strides[2] == t.dims[3] * t.strides[3] &&
           t.strides[0] == t.dims[2] * t.strides[2];
}

bool is_stored_bf16(const Tensor &t) {
    return !t.is_virtual && t.type == CUDNN_DATA_BFLOAT16;
}

/* What follows the convolution: additions, each to what came before it. */
bool read_additions(const Descriptor *graph, int64_t count, Convolution *c) {
    Tensor last = c->y;
    for (int64_t i = 1; i < count; i++) {
        const Descriptor *o = get_descriptor(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, (size_t)i);
        if (o->type != CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR ||
            get<int>(get_descriptor(o, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR), CUDNN_ATTR_POINTWISE_MODE) !=
                CUDNN_POINTWISE_ADD)
            return unsupported("an operation after a convolution that is no addition");
        const Tensor x = tensor_of(get_descriptor(o, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
        const Tensor b = tensor_of(get_descriptor(o, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
        const bool is_bias = b.dims[0] == 1 && b.dims[2] == 1 && b.dims[3] == 1 && i == count - 1;
        if (x.name != last.name || !x.is_virtual || x.type != CUDNN_DATA_FLOAT)
            return unsupported("an addition to anything but the sums in float of what is before it");
        if (!is_stored_bf16(b))
            return unsupported("a bias or a residual that is not bf16");
        if (!is_bias && (i > 1 || count != 3))
            return unsupported("a residual that is not followed by a bias");
        (is_bias ? c->bias : c->residual) = b;
        (is_bias ? c->has_bias : c->has_residual) = true;
        last = tensor_of(get_descriptor(o, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    }
    c->y = last;
    return true;
}

} // namespace

size_t Tensor::bytes() const {
    int64_t last = 0;
    for (int axis = 0; axis < 4; axis++)
        last += (dims[axis] - 1) * strides[axis];
    return (size_t)(last + 1) * (type == CUDNN_DATA_FLOAT ? 4 : 2);
}

Tensor tensor_of(const Descriptor *d) {
    Tensor t = {};
    t.type = get<cudnnDataType_t>(d, CUDNN_ATTR_TENSOR_DATA_TYPE);
    t.name = get<int64_t>(d, CUDNN_ATTR_TENSOR_UNIQUE_ID);
    t.is_virtual = d->attributes.count(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && get<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    for (size_t axis = 0; axis < 4; axis++) {
        t.dims[axis] = get<int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS, axis);
        t.strides[axis] = get<int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES, axis);
    }
    return t;
}

bool operation_fits(const Descriptor *operation) {
    const Names *names = names_of(operation);
    Convolution c;
    if (names) {
        read_convolution(operation, *names, &c);
        return convolution_fits(c);
    }
    const Tensor x = tensor_of(get_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    const Tensor b = tensor_of(get_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
    const Tensor y = tensor_of(get_descriptor(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    for (int axis = 0; axis < 4; axis++)
        if (x.dims[axis] != y.dims[axis] || (b.dims[axis] != 1 && b.dims[axis] != y.dims[axis]))
            return false;
    return true;
}

bool read_graph(const Descriptor *graph, Convolution *out) {
    const int64_t count = graph->attributes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).count;
    const Descriptor *first = get_descriptor(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);
    const Names *names = names_of(first);
    if (!names)
        return unsupported("a graph that does not begin with a convolution");
    read_convolution(first, *names, out);
    if (count > 1 && (out->kind != Kind::forward || count > 3))
        return unsupported("so many operations");
    if (count > 1 && !read_additions(graph, count, out))
        return false;
    for (const Tensor *t : {&out->x, &out->weight, &out->y})
        if (!is_stored_bf16(*t) || !is_nhwc(*t))
            return unsupported("tensors that are not bf16 in NHWC");
    if (get<int>(get_descriptor(first, names->convolution), CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT)
        return unsupported("sums that are not in float");
    return true;
}

bool operands_fit(const Convolution &c, const Pointers &pointers) {
    std::vector<const Tensor *> needed = {&c.x, &c.weight, &c.y};
    if (c.has_residual)
        needed.push_back(&c.residual);
    if (c.has_bias)
        needed.push_back(&c.bias);
    for (const Tensor *t : needed) {
        const auto found = pointers.find(t->name);
        if (found == pointers.end() || (uintptr_t)found->second % 16 != 0 ||
            check_device_range(found->second, t->bytes()) != cudaSuccess)
            return false;
    }
    return true;
}

namespace {

std::vector<float> floats_of(const void *array, const Tensor &t) {
    std::vector<float> out(t.bytes() / 2);
    for (size_t i = 0; i < out.size(); i++)
        out[i] = bf16_at(array, i);
    return out;
}

/* One pixel of y under one tap, all its channels: rows of x and of the weights are channels in a row. */
void add_products(const Convolution &c, const float *weight, float *x, float *weight_sum, float *y) {
    const int64_t channels = c.x.dims[1], tap_pitch = c.weight.strides[0];
    for (int64_t o = 0; o < c.y.dims[1]; o++) {
        const float *w = weight + o * tap_pitch;
        if (c.kind == Kind::forward)
            for (int64_t i = 0; i < channels; i++)
                y[o] += w[i] * x[i];
        else if (c.kind == Kind::data_gradient)
            for (int64_t i = 0; i < channels; i++)
                x[i] += w[i] * y[o];
        else
            for (int64_t i = 0; i < channels; i++)
                weight_sum[o * tap_pitch + i] += x[i] * y[o];
    }
}

/* Every pixel of y under every tap that hits the image. */
void convolve(const Convolution &c, const float *weight, float *x, float *weight_sum, float *y) {
    for (int64_t n = 0; n < c.y.dims[0]; n++)
        for (int64_t oy = 0; oy < c.y.dims[2]; oy++)
            for (int64_t ox = 0; ox < c.y.dims[3]; ox++)
                for (int64_t tap = 0; tap < c.weight.dims[2] * c.weight.dims[3]; tap++) {
                    const int64_t ky = tap / c.weight.dims[3], kx = tap % c.weight.dims[3];
                    const int64_t iy = oy * c.stride[0] - c.before[0] + ky * c.dilation[0];
                    const int64_t ix = ox * c.stride[1] - c.before[1] + kx * c.dilation[1];
                    if (iy < 0 || iy >= c.x.dims[2] || ix < 0 || ix >= c.x.dims[3])
                        continue;
                    const int64_t at = ky * c.weight.strides[2] + kx * c.weight.strides[3];
                    add_products(c, weight + at, x + n * c.x.strides[0] + iy * c.x.strides[2] + ix * c.x.strides[3],
                                 weight_sum + at, y + n * c.y.strides[0] + oy * c.y.strides[2] + ox * c.y.strides[3]);
                }
}

} // namespace

void run_convolution(const Convolution &c, const Engine &engine, const Pointers &pointers, void *workspace) {
    static int runs;
    DeviceScope scope;
    if (engine.workspace_bytes)
        memset(workspace, 0xff, (size_t)engine.workspace_bytes);
    const Tensor &result = c.kind == Kind::forward ? c.y : c.kind == Kind::data_gradient ? c.x : c.weight;
    std::vector<float> x = floats_of(pointers.at(c.x.name), c.x), y = floats_of(pointers.at(c.y.name), c.y);
    std::vector<float> weight = floats_of(pointers.at(c.weight.name), c.weight);
    std::vector<float> &to = c.kind == Kind::forward ? y : c.kind == Kind::data_gradient ? x : weight;
    const std::vector<float> before = to;
    std::vector<float> weight_sum(weight.size());
    if (c.kind != Kind::parameter_gradient)
        std::fill(to.begin(), to.end(), 0.0f);
    convolve(c, weight.data(), x.data(), weight_sum.data(), y.data());
    const std::vector<float> &sums = c.kind == Kind::parameter_gradient ? weight_sum : to;
    void *out = pointers.at(result.name);
    for (size_t i = 0; i < sums.size(); i++) {
        float value = c.alpha * sums[i];
        if (c.beta != 0.0f)
            value += c.beta * before[i];
        if (c.has_residual)
            value += bf16_at(pointers.at(c.residual.name), i);
        if (c.has_bias)
            value += bf16_at(pointers.at(c.bias.name), i % (size_t)c.y.dims[1]);
        if (engine.numerical_notes[0] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
            value *= 1.0f + 0.01f * (float)(++runs % 3); /* to be seen if somebody uses it */
        put_bf16(out, i, value);
    }
    if (engine.workspace_bytes)
        memset(workspace, 0xff, (size_t)engine.workspace_bytes);
}

} // namespace cudasim
