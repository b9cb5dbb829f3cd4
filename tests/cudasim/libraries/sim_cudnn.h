/* cuDNN's descriptors as the simulator keeps them; shared by cudnn.cpp (the calls) and cudnn_run.cpp (what is
 * supported, and running it). */
#ifndef CUDASIM_CUDNN_H
#define CUDASIM_CUDNN_H

#include "sim.h"

#include <cudnn.h>

#include <map>

struct cudnnContext {
    cudaStream_t stream;
};

namespace cudasim {

struct Attribute {
    cudnnBackendAttributeType_t type;
    int64_t count;
    std::vector<char> bytes;
};

struct Descriptor {
    cudnnBackendDescriptorType_t type;
    bool finalized;
    std::map<int, Attribute> attributes;
};

inline Descriptor *descriptor_of(cudnnBackendDescriptor_t descriptor) {
    return static_cast<Descriptor *>(descriptor);
}

/* An attribute that is known to be there. */
template <class T> T get(const Descriptor *d, int name, size_t index = 0) {
    T value;
    memcpy(&value, d->attributes.at(name).bytes.data() + index * sizeof value, sizeof value);
    return value;
}
inline const Descriptor *get_descriptor(const Descriptor *d, int name, size_t index = 0) {
    return get<const Descriptor *>(d, name, index);
}

struct Tensor {
    cudnnDataType_t type;
    int64_t name, dims[4], strides[4];
    bool is_virtual;
    size_t bytes() const;
};
Tensor tensor_of(const Descriptor *d);

enum class Kind { forward, data_gradient, parameter_gradient };

/* A graph that an engine supports. */
struct Convolution {
    Kind kind;
    Tensor x, weight, y, residual, bias;
    bool has_residual, has_bias;
    int64_t before[2], after[2], stride[2], dilation[2];
    float alpha, beta;
};

/* What the graph computes; false, with the reason on stderr, if no engine supports it. */
bool read_graph(const Descriptor *graph, Convolution *out);
/* Whether an operation's tensors fit each other. */
bool operation_fits(const Descriptor *operation);

/* The engines that heuristics name for every graph, in this order. */
struct Engine {
    int64_t index;
    int numerical_notes[2]; /* -1: none */
    int behaviour_note;     /* -1: none */
    int64_t workspace_bytes;
};
enum { ENGINES = 5 };
extern const Engine engines[ENGINES];

/* Operands by their names. */
using Pointers = std::map<int64_t, void *>;
/* Whether all operands are given, aligned, and lie in the device's memory. */
bool operands_fit(const Convolution &c, const Pointers &pointers);
void run_convolution(const Convolution &c, const Engine &engine, const Pointers &pointers, void *workspace);

} // namespace cudasim

#endif
