#include "kernels/cpu/dnnl_compat.h"

#include <stdlib.h>

dg_status dg_dnnl_check(dg_ctx *ctx, dnnl_status_t code, const char *what) {
    if (code == dnnl_success)
        return DG_OK;
    if (code == dnnl_out_of_memory)
        return dg_fail(ctx, DG_ENOMEM, "%s: oneDNN is out of memory", what);
    return dg_fail(ctx, DG_EDEVICE, "%s: oneDNN %d.%d failed with status %d", what, dnnl_version()->major,
                   dnnl_version()->minor, (int)code);
}

#ifndef DG_HAS_DNNL_GUARD
dnnl_status_t dg_dnnl_guard(dnnl_status_t (*call)(void *user), void *user) {
    return call(user);
}
#endif

#if DNNL_VERSION_MAJOR >= 3

static const dnnl_dims_t no_dilation = {0, 0};

dnnl_status_t dg_dnnl_md_create(dg_dnnl_md *out, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(out, rank, dims, dnnl_f32, tag);
}

dnnl_status_t dg_dnnl_md_query(dg_dnnl_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what) {
    const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, what, 0);
    return md ? dnnl_memory_desc_clone(out, md) : dnnl_unimplemented;
}

void dg_dnnl_md_free(dg_dnnl_md md) {
    if (md)
        dnnl_memory_desc_destroy(md);
}

dnnl_status_t dg_dnnl_memory_bind(dnnl_memory_t memory, const void *data) {
    void *held = NULL;
    dnnl_status_t code = dnnl_memory_get_data_handle(memory, &held);
    return code != dnnl_success || held == data ? code : dnnl_memory_set_data_handle(memory, (void *)data);
}

dnnl_status_t dg_dnnl_conv_fwd_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const dg_dnnl_conv_geometry *g,
                                    const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_forward_primitive_desc_create(out, engine, dnnl_forward_training, dnnl_convolution_direct,
                                                          g->src, g->weights, g->bias, g->dst, g->strides, no_dilation,
                                                          g->pad_begin, g->pad_end, attr);
}

dnnl_status_t dg_dnnl_conv_bwd_data_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                         const_dnnl_primitive_desc_t hint) {
    return dnnl_convolution_backward_data_primitive_desc_create(out, engine, dnnl_convolution_direct, g->src,
                                                                g->weights, g->dst, g->strides, no_dilation,
                                                                g->pad_begin, g->pad_end, hint, attr);
}

dnnl_status_t dg_dnnl_conv_bwd_weights_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                            const_dnnl_primitive_desc_t hint) {
    return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, dnnl_convolution_direct, g->src,
                                                                   g->weights, g->bias, g->dst, g->strides, no_dilation,
                                                                   g->pad_begin, g->pad_end, hint, attr);
}

dnnl_status_t dg_dnnl_append_sum(dnnl_post_ops_t post_ops, float scale) {
    return dnnl_post_ops_append_sum(post_ops, scale, 0, dnnl_data_type_undef);
}

#else

dnnl_status_t dg_dnnl_md_create(dg_dnnl_md *out, int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag) {
    *out = calloc(1, sizeof **out);
    return *out ? dnnl_memory_desc_init_by_tag(*out, rank, dims, dnnl_f32, tag) : dnnl_out_of_memory;
}

dnnl_status_t dg_dnnl_md_query(dg_dnnl_md *out, const_dnnl_primitive_desc_t desc, dnnl_query_t what) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, what, 0);
    if (!md)
        return dnnl_unimplemented;
    *out = malloc(sizeof **out);
    if (!*out)
        return dnnl_out_of_memory;
    **out = *md;
    return dnnl_success;
}

void dg_dnnl_md_free(dg_dnnl_md md) {
    free(md);
}

dnnl_status_t dg_dnnl_memory_bind(dnnl_memory_t memory, const void *data) {
    void *held = NULL;
    dnnl_status_t code = dnnl_memory_get_data_handle(memory, &held);
    /* Setting a handle makes the library clear the padding of a blocked layout: skipped when nothing changes. */
    return code != dnnl_success || held == data ? code : dnnl_memory_set_data_handle(memory, (void *)data);
}

dnnl_status_t dg_dnnl_conv_fwd_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, const dg_dnnl_conv_geometry *g,
                                    const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code =
        dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, dnnl_convolution_direct, g->src, g->weights,
                                           g->bias, g->dst, g->strides, g->pad_begin, g->pad_end);
    return code == dnnl_success ? dnnl_primitive_desc_create(out, &desc, attr, engine, NULL) : code;
}

dnnl_status_t dg_dnnl_conv_bwd_data_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                         const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                         const_dnnl_primitive_desc_t hint) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code = dnnl_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, g->src, g->weights,
                                                                  g->dst, g->strides, g->pad_begin, g->pad_end);
    return code == dnnl_success ? dnnl_primitive_desc_create(out, &desc, attr, engine, hint) : code;
}

dnnl_status_t dg_dnnl_conv_bwd_weights_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                            const dg_dnnl_conv_geometry *g, const_dnnl_primitive_attr_t attr,
                                            const_dnnl_primitive_desc_t hint) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t code = dnnl_convolution_backward_weights_desc_init(
        &desc, dnnl_convolution_direct, g->src, g->weights, g->bias, g->dst, g->strides, g->pad_begin, g->pad_end);
    return code == dnnl_success ? dnnl_primitive_desc_create(out, &desc, attr, engine, hint) : code;
}

dnnl_status_t dg_dnnl_append_sum(dnnl_post_ops_t post_ops, float scale) {
    return dnnl_post_ops_append_sum(post_ops, scale);
}

#endif

size_t dg_dnnl_md_bytes(dg_dnnl_md md) {
    return md ? dnnl_memory_desc_get_size(md) : 0;
}

bool dg_dnnl_md_equal(dg_dnnl_md a, dg_dnnl_md b) {
    return dnnl_memory_desc_equal(a, b) != 0;
}

dnnl_status_t dg_dnnl_memory_create(dnnl_memory_t *out, dg_dnnl_md md, dnnl_engine_t engine) {
    return dnnl_memory_create(out, md, engine, DNNL_MEMORY_NONE);
}

dnnl_status_t dg_dnnl_reorder_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dg_dnnl_md from, dg_dnnl_md to,
                                   const_dnnl_primitive_attr_t attr) {
    return dnnl_reorder_primitive_desc_create(out, from, engine, to, engine, attr);
}

dnnl_status_t dg_dnnl_append_add(dnnl_post_ops_t post_ops, dg_dnnl_md md) {
    return dnnl_post_ops_append_binary(post_ops, dnnl_binary_add, md);
}
