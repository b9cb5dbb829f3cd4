/* A slice of cuDNN's graph API: the descriptors that a convolution needs. Attributes are held to a table: one of
 * another type or count, one that is missing, one that refers to a descriptor not finalized, is refused as cuDNN
 * refuses it. */
#include "sim_cudnn.h"

#include <cstdio>
#include <cstdlib>

using namespace cudasim;

namespace {

struct Rule {
    int descriptor, name, type;
    int64_t least, most; /* count */
    bool required;
};

#define OPERATION(of, prefix, a, b, c)                                                                                 \
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR,                                                            \
     CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##a,                                                                  \
     CUDNN_TYPE_BACKEND_DESCRIPTOR,                                                                                    \
     1,                                                                                                                \
     1,                                                                                                                \
     true},                                                                                                            \
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR,                                                        \
         CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##b,                                                              \
         CUDNN_TYPE_BACKEND_DESCRIPTOR,                                                                                \
         1,                                                                                                            \
         1,                                                                                                            \
         true},                                                                                                        \
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR,                                                        \
         CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_##c,                                                              \
         CUDNN_TYPE_BACKEND_DESCRIPTOR,                                                                                \
         1,                                                                                                            \
         1,                                                                                                            \
         true},                                                                                                        \
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR,                                                        \
         CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_CONV_DESC,                                                        \
         CUDNN_TYPE_BACKEND_DESCRIPTOR,                                                                                \
         1,                                                                                                            \
         1,                                                                                                            \
         true},                                                                                                        \
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR,                                                        \
         CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_ALPHA,                                                            \
         CUDNN_TYPE_FLOAT,                                                                                             \
         1,                                                                                                            \
         1,                                                                                                            \
         true},                                                                                                        \
    {                                                                                                                  \
        CUDNN_BACKEND_OPERATION_CONVOLUTION_##of##_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_##prefix##_BETA,       \
            CUDNN_TYPE_FLOAT, 1, 1, true                                                                               \
    }

const Rule rules[] = {
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, 4, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, 4, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, 1, true},
    {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, false},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, 1, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, 2, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, 2, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, 2, true},
    {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, 2, true},
    OPERATION(FORWARD, FORWARD, X, W, Y),
    OPERATION(BACKWARD_DATA, BWD_DATA, DX, W, DY),
    OPERATION(BACKWARD_FILTER, BWD_FILTER, X, DW, DY),
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, 1, true},
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, 1, true},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR,
     1, 1, true},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, true},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 50,
     true},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1,
     true},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, 1, true},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, 1, true},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
     1, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, 50, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, 50, true},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1, true},
};

/* What configurations and engines hold besides attributes that can be set. */
enum { HELD_GRAPH = -1, HELD_ENGINE = -2 };

cudnnStatus_t refused(cudnnStatus_t status, const char *why, int number) {
    fprintf(stderr, "cudasim: cuDNN: %s (%d)\n", why, number);
    return status;
}

size_t bytes_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4;
    }
}

template <class T> void hold(Descriptor *d, int name, cudnnBackendAttributeType_t type, T value) {
    const char *bytes = reinterpret_cast<const char *>(&value);
    d->attributes[name] = {type, 1, std::vector<char>(bytes, bytes + sizeof value)};
}

bool is_operation(const Descriptor *d) {
    return d->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
           d->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
           d->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR ||
           d->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
}

cudnnStatus_t heuristics(const Descriptor *d, int64_t requested, int64_t *count, void *out) {
    const Descriptor *graph = get_descriptor(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    Convolution ignored;
    *count = 0;
    if (!read_graph(graph, &ignored))
        return CUDNN_STATUS_SUCCESS; /* as cuDNN does: no result is no failure */
    for (int i = 0; i < ENGINES && i < requested; i++) {
        Descriptor *configuration = static_cast<Descriptor **>(out)[i];
        if (configuration->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
            return refused(CUDNN_STATUS_BAD_PARAM, "results of heuristics go into configurations", configuration->type);
        hold(configuration, HELD_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, graph);
        hold(configuration, HELD_ENGINE, CUDNN_TYPE_INT64, (int64_t)i);
        configuration->finalized = true;
        ++*count;
    }
    return CUDNN_STATUS_SUCCESS;
}

template <class T> cudnnStatus_t answer(const T *values, int64_t held, int64_t requested, int64_t *count, void *out) {
    *count = held;
    if (out)
        memcpy(out, values, (size_t)(held < requested ? held : requested) * sizeof *values);
    return CUDNN_STATUS_SUCCESS;
}

const Engine &engine_of(const Descriptor *d) {
    return engines[get<int64_t>(d, HELD_ENGINE)];
}

} // namespace

extern "C" {

size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}
void cudnnGetLastErrorString(char *text, size_t size) {
    snprintf(text, size, "an error of the simulator, described on stderr");
}
cudnnStatus_t cudnnCreate(cudnnHandle_t *out) {
    *out = new cudnnContext{nullptr};
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out) {
    *out = new Descriptor{type, false, {}};
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    delete descriptor_of(descriptor);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *values) {
    Descriptor *d = descriptor_of(descriptor);
    const Rule *rule = nullptr;
    for (const Rule &r : rules)
        if (r.descriptor == d->type && r.name == name)
            rule = &r;
    if (d->finalized)
        return refused(CUDNN_STATUS_NOT_SUPPORTED, "an attribute set after the descriptor was finalized", name);
    if (!rule)
        return refused(CUDNN_STATUS_NOT_SUPPORTED, "an attribute that is not simulated", name);
    if (type != rule->type || count < rule->least || count > rule->most)
        return refused(CUDNN_STATUS_BAD_PARAM, "an attribute of another type or count", name);
    for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < count; i++)
        if (!static_cast<const Descriptor *const *>(values)[i]->finalized)
            return refused(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a descriptor that has not been finalized", name);
    const char *bytes = static_cast<const char *>(values);
    d->attributes[name] = {type, count, std::vector<char>(bytes, bytes + (size_t)count * bytes_of(type))};
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    Descriptor *d = descriptor_of(descriptor);
    for (const Rule &r : rules)
        if (r.descriptor == d->type && r.required && !d->attributes.count(r.name))
            return refused(CUDNN_STATUS_BAD_PARAM, "an attribute is missing", r.name);
    if (is_operation(d) && !operation_fits(d))
        return refused(CUDNN_STATUS_BAD_PARAM, "the tensors of an operation do not fit each other", d->type);
    if (d->type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR &&
        d->attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count !=
            d->attributes.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count)
        return refused(CUDNN_STATUS_BAD_PARAM, "as many names as pointers are needed", d->type);
    d->finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t requested, int64_t *count, void *out) {
    const Descriptor *d = descriptor_of(descriptor);
    if (!d->finalized)
        return refused(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "an attribute read before the descriptor was finalized",
                       name);
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
        return heuristics(d, requested, count, out);
    if (name == CUDNN_ATTR_ENGINECFG_ENGINE) {
        Descriptor *engine = *static_cast<Descriptor **>(out);
        hold(engine, HELD_ENGINE, CUDNN_TYPE_INT64, get<int64_t>(d, HELD_ENGINE));
        engine->finalized = true;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
        const int *notes = engine_of(d).numerical_notes;
        return answer(notes, (notes[0] >= 0) + (notes[1] >= 0), requested, count, out);
    }
    if (name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE)
        return answer(&engine_of(d).behaviour_note, engine_of(d).behaviour_note >= 0, requested, count, out);
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        return answer(&engine_of(get_descriptor(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)).workspace_bytes, 1,
                      requested, count, out);
    return refused(CUDNN_STATUS_NOT_SUPPORTED, "an attribute that is not simulated", name);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    const Descriptor *p = descriptor_of(plan), *v = descriptor_of(pack);
    if (!p->finalized || !v->finalized)
        return refused(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan or its operands have not been finalized", 0);
    const Descriptor *configuration = get_descriptor(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    const Engine &engine = engine_of(configuration);
    void *workspace = get<void *>(v, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    Convolution c;
    Pointers pointers;
    for (int64_t i = 0; i < v->attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count; i++)
        pointers[get<int64_t>(v, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, (size_t)i)] =
            get<void *>(v, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, (size_t)i);
    if (options().libraries_fail)
        return refused(CUDNN_STATUS_EXECUTION_FAILED, "told to fail", 0);
    if (!read_graph(get_descriptor(configuration, HELD_GRAPH), &c) || !operands_fit(c, pointers))
        return refused(CUDNN_STATUS_BAD_PARAM, "an operand is missing, not aligned or outside the device's memory", 0);
    if (engine.workspace_bytes && check_device_range(workspace, (size_t)engine.workspace_bytes) != cudaSuccess)
        return refused(CUDNN_STATUS_BAD_PARAM, "the workspace is too small", (int)engine.workspace_bytes);
    const Engine *by = &engine;
    return submit(handle->stream, [=] { run_convolution(c, *by, pointers, workspace); }) == cudaSuccess
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_EXECUTION_FAILED;
}
}

namespace cudasim {

#define SYMBOL(name)                                                                                                   \
    { #name, (void *)name }
const Symbol cudnn_symbols[] = {SYMBOL(cudnnGetVersion),
                                SYMBOL(cudnnGetLastErrorString),
                                SYMBOL(cudnnCreate),
                                SYMBOL(cudnnDestroy),
                                SYMBOL(cudnnSetStream),
                                SYMBOL(cudnnBackendCreateDescriptor),
                                SYMBOL(cudnnBackendDestroyDescriptor),
                                SYMBOL(cudnnBackendSetAttribute),
                                SYMBOL(cudnnBackendGetAttribute),
                                SYMBOL(cudnnBackendFinalize),
                                SYMBOL(cudnnBackendExecute),
                                {nullptr, nullptr}};

} // namespace cudasim
