/* oneDNN 2.x and 3.x behind one face: the few calls whose C signatures changed between the two, and error conversion.
 * Memory descriptors are owned pointers in both. Everything else is called directly. */
#ifndef DG_KERNELS_CPU_DNNL_COMPAT_H
#define DG_KERNELS_CPU_DNNL_COMPAT_H

#include "core/context.h"

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t dg_dnnl_md;
#else
typedef dnnl_memory_desc_t *dg_dnnl_md;
#endif

/* Converts the library's status: DG_ENOMEM or DG_EDEVICE, with `what` and the library's code in the error text. */
DG_MUST_CHECK dg_status dg_dnnl_check(dg_ctx *ctx, dnnl_status_t code, const char *what);

/* Calls call(user). oneDNN is C++ and lets exceptions out of its C functions where memory runs out: none gets past this
 * call, they become dnnl_out_of_memory or dnnl_runtime_error. What `call` holds must be reachable through `user`, for
 * it does not return then. Built without a C++ compiler it calls and no more. */
dnnl_status_t dg_dnnl_guard(dnnl_status_t (*call)(void *user), void *user);

/* float32 of the given shape; a tag of dnnl_format_tag_any leaves the layout to the primitive. Free with md_free. */
dnnl_status_t dg_dnnl_md_create(dg_dnnl_md *out, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag);
/* A copy of what the primitive chose, e.g. dnnl_query_weights_md. */
dnnl_status_t dg_dnnl_md_query(dg_dnnl_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what);
void dg_dnnl_md_free(dg_dnnl_md md);
size_t dg_dnnl_md_bytes(dg_dnnl_md md);
bool dg_dnnl_md_equal(dg_dnnl_md a, dg_dnnl_md b);

/* A memory object without memory; dg_dnnl_memory_bind gives it some before each use. */
dnnl_status_t dg_dnnl_memory_create(dnnl_memory_t *out, dg_dnnl_md md, dnnl_engine_t engine);
dnnl_status_t dg_dnnl_memory_bind(dnnl_memory_t memory, const void *data);

/* The geometry shared by the three passes of a convolution. bias may be NULL. */
typedef struct dg_dnnl_conv_geometry {
    dg_dnnl_md src, weights, bias, dst;
    dnnl_dims_t strides, pad_begin, pad_end;
} dg_dnnl_conv_geometry;

dnnl_status_t dg_dnnl_conv_fwd_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const dg_dnnl_conv_geometry *g,
                                    const_dnnl_primitive_attr_t attr);
/* hint: the descriptor of the forward pass. */
dnnl_status_t dg_dnnl_conv_bwd_data_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                         const_dnnl_primitive_desc_t hint);
dnnl_status_t dg_dnnl_conv_bwd_weights_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                            const_dnnl_primitive_desc_t hint);
dnnl_status_t dg_dnnl_reorder_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dg_dnnl_md from, dg_dnnl_md to,
                                   const_dnnl_primitive_attr_t attr);
/* y += scale * (what y held), and y += another tensor shaped as `md`. */
dnnl_status_t dg_dnnl_append_sum(dnnl_post_ops_t post_ops, float scale);
dnnl_status_t dg_dnnl_append_add(dnnl_post_ops_t post_ops, dg_dnnl_md md);

#endif
