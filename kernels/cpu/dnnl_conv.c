#include "kernels/cpu/dnnl_conv.h"

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/dnnl_compat.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>

/* The arguments of one lane: memory objects are bound to new addresses before every call, so lanes cannot share them.
 */
typedef struct lane_args {
    dnnl_stream_t stream;
    dnnl_memory_t src, dst, residual, bias, weights_fwd, weights_bwd, dweights, plain, scratch;
} lane_args;

struct dg_dnnl_conv {
    dg_dnnl_conv_desc desc;
    dnnl_engine_t engine;
    dnnl_primitive_t fwd, bwd_data, bwd_weights;
    dnnl_primitive_t pack_fwd, pack_bwd, unpack; /* unpack: the layout of bwd_weights -> OIHW, NULL if it is OIHW */
    bool add_by_sum; /* the residual is first copied into y: the fast implementation takes no second tensor */
    const char *implementation;
    dg_dnnl_md src, dst, bias, any, plain, weights_fwd, weights_bwd, dweights, scratch;
    lane_args *lanes;
};

/* oneDNN fixes the number of threads when a primitive is made and asks again in some helpers when it runs. Ours run on
 * one thread always; the setting is thread-local, so the caller's is put back. */
static int enter_single_thread(void) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}

static void leave_single_thread(int before) {
    omp_set_num_threads(before);
}

static dg_status make_descriptors(dg_ctx *ctx, dg_dnnl_conv *c, dg_dnnl_conv_geometry *g) {
    const dg_dnnl_conv_desc *d = &c->desc;
    const dnnl_dims_t src = {d->n, d->in_c, d->h, d->w}, dst = {d->n, d->out_c, d->out_h, d->out_w};
    const dnnl_dims_t weights = {d->out_c, d->in_c, d->kernel, d->kernel}, bias = {d->out_c};
    dg_status status = DG_OK;
    DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_create(&c->src, 4, src, dnnl_nhwc), "convolution source"));
    DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_create(&c->dst, 4, dst, dnnl_nhwc), "convolution destination"));
    DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_create(&c->any, 4, weights, dnnl_format_tag_any), "convolution weights"));
    DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_create(&c->plain, 4, weights, dnnl_oihw), "convolution weights"));
    if (d->bias)
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_create(&c->bias, 1, bias, dnnl_a), "convolution bias"));
    *g = (dg_dnnl_conv_geometry){
        .src = c->src,
        .weights = c->any,
        .bias = c->bias,
        .dst = c->dst,
        .strides = {d->stride, d->stride},
        .pad_begin = {d->pad_top, d->pad_left},
        .pad_end = {(d->out_h - 1) * d->stride + d->kernel - d->h - d->pad_top,
                    (d->out_w - 1) * d->stride + d->kernel - d->w - d->pad_left},
    };
done:
    return status;
}

/* The scratch space of every primitive comes from one memory object as large as the largest: keep the larger. */
static dnnl_status_t keep_larger_scratch(dg_dnnl_conv *c, const_dnnl_primitive_desc_t desc) {
    dg_dnnl_md md = NULL;
    dnnl_status_t code = dg_dnnl_md_query(&md, desc, dnnl_query_scratchpad_md);
    if (code == dnnl_success && (!c->scratch || dg_dnnl_md_bytes(md) > dg_dnnl_md_bytes(c->scratch))) {
        dg_dnnl_md previous = c->scratch;
        c->scratch = md;
        md = previous;
    }
    dg_dnnl_md_free(md);
    return code;
}

/* Takes over desc: makes its primitive and destroys it. */
static dg_status make_primitive(dg_ctx *ctx, dg_dnnl_conv *c, dnnl_primitive_desc_t desc, dnnl_primitive_t *out) {
    dg_status status = DG_OK;
    if (!c->implementation)
        dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&c->implementation);
    DG_TRY(dg_dnnl_check(ctx, keep_larger_scratch(c, desc), "convolution scratch"));
    DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_create(out, desc), "convolution primitive"));
done:
    dnnl_primitive_desc_destroy(desc);
    return status;
}

static bool is_fast(const_dnnl_primitive_desc_t desc) {
    const char *name = "";
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, (void *)&name);
    return !strstr(name, "ref") && !strstr(name, "gemm");
}

/* The forward with its residual as a second tensor read in the same pass (measured: no slower than without), or, where
 * only a slow implementation does that, by adding to what y already holds. */
static dg_status make_fwd_desc(dg_ctx *ctx, dg_dnnl_conv *c, const dg_dnnl_conv_geometry *g,
                               dnnl_primitive_desc_t *out) {
    dg_status status = DG_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post_ops = NULL;
    for (int by_sum = 0; by_sum < 2; by_sum++) {
        DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_attr_create(&attr), "convolution attributes"));
        DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user),
                             "convolution attributes"));
        if (c->desc.residual) {
            DG_TRY(dg_dnnl_check(ctx, dnnl_post_ops_create(&post_ops), "convolution attributes"));
            DG_TRY(dg_dnnl_check(ctx,
                                 by_sum ? dg_dnnl_append_sum(post_ops, 1.0f) : dg_dnnl_append_add(post_ops, c->dst),
                                 "convolution residual"));
            DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_attr_set_post_ops(attr, post_ops), "convolution attributes"));
        }
        const dnnl_status_t code = dg_dnnl_conv_fwd_desc(out, c->engine, g, attr);
        const bool last = by_sum || !c->desc.residual;
        if (last)
            DG_TRY(dg_dnnl_check(ctx, code, "convolution"));
        if (last || (code == dnnl_success && is_fast(*out))) {
            c->add_by_sum = by_sum != 0;
            break;
        }
        if (code == dnnl_success)
            dnnl_primitive_desc_destroy(*out);
        *out = NULL;
        dnnl_post_ops_destroy(post_ops);
        dnnl_primitive_attr_destroy(attr);
        post_ops = NULL;
        attr = NULL;
    }
done:
    dnnl_post_ops_destroy(post_ops);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

static dg_status make_reorder(dg_ctx *ctx, dg_dnnl_conv *c, dnnl_primitive_attr_t attr, dg_dnnl_md from, dg_dnnl_md to,
                              dnnl_primitive_t *out) {
    dnnl_primitive_desc_t desc = NULL;
    dg_status status = dg_dnnl_check(ctx, dg_dnnl_reorder_desc(&desc, c->engine, from, to, attr), "reorder of weights");
    if (status != DG_OK)
        return status;
    return make_primitive(ctx, c, desc, out);
}

static dg_status make_primitives(dg_ctx *ctx, dg_dnnl_conv *c, const dg_dnnl_conv_geometry *g) {
    dg_status status = DG_OK;
    dnnl_primitive_desc_t fwd = NULL, desc = NULL;
    dnnl_primitive_attr_t attr = NULL;
    const unsigned passes = c->desc.passes;
    DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_attr_create(&attr), "convolution attributes"));
    DG_TRY(dg_dnnl_check(ctx, dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user),
                         "convolution attributes"));
    if (passes & DG_DNNL_FWD) {
        DG_TRY(make_fwd_desc(ctx, c, g, &desc));
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_query(&c->weights_fwd, desc, dnnl_query_weights_md), "convolution"));
        DG_TRY(make_primitive(ctx, c, desc, &c->fwd));
        DG_TRY(make_reorder(ctx, c, attr, c->plain, c->weights_fwd, &c->pack_fwd));
    }
    /* The hint of the backward passes: a forward without post-ops, whatever layout it likes. */
    if (passes & (DG_DNNL_BWD_DATA | DG_DNNL_BWD_WEIGHTS))
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_conv_fwd_desc(&fwd, c->engine, g, attr), "convolution"));
    if (passes & DG_DNNL_BWD_DATA) {
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_conv_bwd_data_desc(&desc, c->engine, g, attr, fwd), "backward convolution"));
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_query(&c->weights_bwd, desc, dnnl_query_weights_md), "convolution"));
        DG_TRY(make_primitive(ctx, c, desc, &c->bwd_data));
        DG_TRY(make_reorder(ctx, c, attr, c->plain, c->weights_bwd, &c->pack_bwd));
    }
    if (passes & DG_DNNL_BWD_WEIGHTS) {
        DG_TRY(
            dg_dnnl_check(ctx, dg_dnnl_conv_bwd_weights_desc(&desc, c->engine, g, attr, fwd), "backward convolution"));
        DG_TRY(dg_dnnl_check(ctx, dg_dnnl_md_query(&c->dweights, desc, dnnl_query_diff_weights_md), "convolution"));
        DG_TRY(make_primitive(ctx, c, desc, &c->bwd_weights));
        if (!dg_dnnl_md_equal(c->dweights, c->plain))
            DG_TRY(make_reorder(ctx, c, attr, c->dweights, c->plain, &c->unpack));
    }
done:
    dnnl_primitive_desc_destroy(fwd);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

static dg_status make_memory(dg_ctx *ctx, dg_dnnl_conv *c, dg_dnnl_md md, dnnl_memory_t *out) {
    return md ? dg_dnnl_check(ctx, dg_dnnl_memory_create(out, md, c->engine), "convolution argument") : DG_OK;
}

static dg_status make_lane(dg_ctx *ctx, dg_dnnl_conv *c, lane_args *lane) {
    dg_status status = DG_OK;
    DG_TRY(dg_dnnl_check(ctx, dnnl_stream_create(&lane->stream, c->engine, dnnl_stream_default_flags), "stream"));
    DG_TRY(make_memory(ctx, c, c->src, &lane->src));
    DG_TRY(make_memory(ctx, c, c->dst, &lane->dst));
    DG_TRY(make_memory(ctx, c, c->desc.residual ? c->dst : NULL, &lane->residual));
    DG_TRY(make_memory(ctx, c, c->bias, &lane->bias));
    DG_TRY(make_memory(ctx, c, c->weights_fwd, &lane->weights_fwd));
    DG_TRY(make_memory(ctx, c, c->weights_bwd, &lane->weights_bwd));
    DG_TRY(make_memory(ctx, c, c->dweights, &lane->dweights));
    DG_TRY(make_memory(ctx, c, c->plain, &lane->plain));
    DG_TRY(make_memory(ctx, c, c->scratch, &lane->scratch));
done:
    return status;
}

typedef struct creation {
    dg_ctx *ctx;
    dg_dnnl_conv *conv;
    dg_status status;
} creation;

static dnnl_status_t make_everything(void *user) {
    creation *job = user;
    dg_dnnl_conv *c = job->conv;
    dg_dnnl_conv_geometry geometry;
    dg_status status = DG_OK;
    DG_TRY(dg_dnnl_check(job->ctx, dnnl_engine_create(&c->engine, dnnl_cpu, 0), "engine"));
    DG_TRY(make_descriptors(job->ctx, c, &geometry));
    DG_TRY(make_primitives(job->ctx, c, &geometry));
    for (int i = 0; i < c->desc.lanes; i++)
        DG_TRY(make_lane(job->ctx, c, &c->lanes[i]));
done:
    job->status = status;
    return dnnl_success;
}

dg_status dg_dnnl_conv_create(dg_ctx *ctx, const dg_dnnl_conv_desc *desc, dg_dnnl_conv **out) {
    dg_status status = DG_OK;
    dg_dnnl_conv *c = NULL;
    const int threads = enter_single_thread();
    DG_TRY(dg_alloc(ctx, &c, 1, sizeof *c, "convolution plan"));
    c->desc = *desc;
    DG_TRY(dg_alloc(ctx, &c->lanes, (size_t)desc->lanes, sizeof *c->lanes, "convolution arguments"));
    creation job = {.ctx = ctx, .conv = c};
    DG_TRY(dg_dnnl_check(ctx, dg_dnnl_guard(make_everything, &job), "convolution"));
    DG_TRY(job.status);
    *out = c;
    c = NULL;
done:
    dg_dnnl_conv_free(c);
    leave_single_thread(threads);
    return status;
}

static void free_lane(lane_args *lane) {
    dnnl_memory_t memories[] = {lane->src,         lane->dst,      lane->residual, lane->bias,   lane->weights_fwd,
                                lane->weights_bwd, lane->dweights, lane->plain,    lane->scratch};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        dnnl_memory_destroy(memories[i]);
    dnnl_stream_destroy(lane->stream);
}

void dg_dnnl_conv_free(dg_dnnl_conv *conv) {
    if (!conv)
        return;
    for (int i = 0; conv->lanes && i < conv->desc.lanes; i++)
        free_lane(&conv->lanes[i]);
    free(conv->lanes);
    dnnl_primitive_t primitives[] = {conv->fwd,      conv->bwd_data, conv->bwd_weights,
                                     conv->pack_fwd, conv->pack_bwd, conv->unpack};
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        dnnl_primitive_destroy(primitives[i]);
    dg_dnnl_md descriptors[] = {conv->src,         conv->dst,         conv->bias,     conv->any,    conv->plain,
                                conv->weights_fwd, conv->weights_bwd, conv->dweights, conv->scratch};
    for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
        dg_dnnl_md_free(descriptors[i]);
    dnnl_engine_destroy(conv->engine);
    free(conv);
}

size_t dg_dnnl_conv_packed_bytes(const dg_dnnl_conv *conv) {
    return dg_cpu_align(dg_dnnl_md_bytes(conv->weights_fwd)) + dg_cpu_align(dg_dnnl_md_bytes(conv->weights_bwd));
}

static size_t scratch_bytes(const dg_dnnl_conv *conv) {
    return dg_cpu_align(dg_dnnl_md_bytes(conv->scratch));
}

/* [scratch][dweights as the primitive wants them][dweights OIHW][dbias] */
size_t dg_dnnl_conv_workspace_bytes(const dg_dnnl_conv *conv) {
    size_t bytes = scratch_bytes(conv);
    if (conv->bwd_weights)
        bytes += dg_cpu_align(dg_dnnl_md_bytes(conv->dweights)) + dg_cpu_align(dg_dnnl_md_bytes(conv->plain)) +
                 dg_cpu_align(dg_dnnl_md_bytes(conv->bias));
    return bytes;
}

const char *dg_dnnl_conv_implementation(const dg_dnnl_conv *conv) {
    return conv->implementation;
}

static lane_args *lane_of(const dg_dnnl_conv *conv, const dg_exec *exec) {
    assert(exec->lane >= 0 && exec->lane < conv->desc.lanes);
    return &conv->lanes[exec->lane];
}

typedef struct argument {
    int index;
    dnnl_memory_t memory;
    const void *data;
} argument;

typedef struct execution {
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    const argument *arguments;
    int count;
} execution;

/* Binds and runs; arguments without data are left out. */
static dnnl_status_t bind_and_run(void *user) {
    const execution *e = user;
    dnnl_exec_arg_t bound[8];
    int used = 0;
    dnnl_status_t code = dnnl_success;
    for (int i = 0; i < e->count && code == dnnl_success; i++) {
        if (!e->arguments[i].data)
            continue;
        code = dg_dnnl_memory_bind(e->arguments[i].memory, e->arguments[i].data);
        bound[used++] = (dnnl_exec_arg_t){e->arguments[i].index, e->arguments[i].memory};
    }
    if (code == dnnl_success)
        code = dnnl_primitive_execute(e->primitive, e->stream, used, bound);
    return code == dnnl_success ? dnnl_stream_wait(e->stream) : code;
}

static dg_status execute(dg_exec *exec, lane_args *lane, dnnl_primitive_t primitive, const argument *arguments,
                         int count, const char *what) {
    execution job = {lane->stream, primitive, arguments, count};
    assert(count <= 8);
    const int threads = enter_single_thread();
    const dnnl_status_t code = dg_dnnl_guard(bind_and_run, &job);
    leave_single_thread(threads);
    return dg_dnnl_check(exec->ctx, code, what);
}

static dg_status reorder(dg_exec *exec, lane_args *lane, dnnl_primitive_t primitive, dnnl_memory_t from,
                         const void *from_data, dnnl_memory_t to, void *to_data) {
    const argument arguments[] = {{DNNL_ARG_FROM, from, from_data}, {DNNL_ARG_TO, to, to_data}};
    return execute(exec, lane, primitive, arguments, 2, "reorder of weights");
}

static const void *packed_bwd(const dg_dnnl_conv *conv, const void *packed) {
    return (const char *)packed + dg_cpu_align(dg_dnnl_md_bytes(conv->weights_fwd));
}

dg_status dg_dnnl_conv_pack(const dg_dnnl_conv *conv, dg_exec *exec, const float *weight, void *packed) {
    lane_args *lane = lane_of(conv, exec);
    dg_status status = DG_OK;
    if (conv->pack_fwd)
        DG_TRY(reorder(exec, lane, conv->pack_fwd, lane->plain, weight, lane->weights_fwd, packed));
    if (conv->pack_bwd)
        DG_TRY(reorder(exec, lane, conv->pack_bwd, lane->plain, weight, lane->weights_bwd,
                       (void *)packed_bwd(conv, packed)));
done:
    return status;
}

dg_status dg_dnnl_conv_fwd(const dg_dnnl_conv *conv, dg_exec *exec, const float *x, const void *packed,
                           const float *bias, const float *residual, float *y, void *workspace) {
    lane_args *lane = lane_of(conv, exec);
    if (conv->add_by_sum)
        memcpy(y, residual, dg_dnnl_md_bytes(conv->dst));
    const argument arguments[] = {
        {DNNL_ARG_SRC, lane->src, x},
        {DNNL_ARG_WEIGHTS, lane->weights_fwd, packed},
        {DNNL_ARG_BIAS, lane->bias, conv->desc.bias ? bias : NULL},
        {DNNL_ARG_DST, lane->dst, y},
        {DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, lane->residual,
         conv->desc.residual && !conv->add_by_sum ? residual : NULL},
        {DNNL_ARG_SCRATCHPAD, lane->scratch, workspace},
    };
    return execute(exec, lane, conv->fwd, arguments, 6, "convolution");
}

dg_status dg_dnnl_conv_bwd_data(const dg_dnnl_conv *conv, dg_exec *exec, const float *dy, const void *packed, float *dx,
                                void *workspace) {
    lane_args *lane = lane_of(conv, exec);
    const argument arguments[] = {
        {DNNL_ARG_DIFF_DST, lane->dst, dy},
        {DNNL_ARG_WEIGHTS, lane->weights_bwd, packed_bwd(conv, packed)},
        {DNNL_ARG_DIFF_SRC, lane->src, dx},
        {DNNL_ARG_SCRATCHPAD, lane->scratch, workspace},
    };
    return execute(exec, lane, conv->bwd_data, arguments, 4, "backward convolution (data)");
}

static void add(int64_t count, const float *from, float *to) {
    for (int64_t i = 0; i < count; i++)
        to[i] += from[i];
}

dg_status dg_dnnl_conv_bwd_weights(const dg_dnnl_conv *conv, dg_exec *exec, const float *x, const float *dy,
                                   bool accumulate, float *dweight, float *dbias, void *workspace) {
    lane_args *lane = lane_of(conv, exec);
    char *native = (char *)workspace + scratch_bytes(conv);
    char *plain = native + dg_cpu_align(dg_dnnl_md_bytes(conv->dweights));
    char *bias = plain + dg_cpu_align(dg_dnnl_md_bytes(conv->plain));
    float *plain_out = accumulate ? (float *)plain : dweight;
    float *bias_out = accumulate ? (float *)bias : dbias;
    dg_status status = DG_OK;
    const argument arguments[] = {
        {DNNL_ARG_SRC, lane->src, x},
        {DNNL_ARG_DIFF_DST, lane->dst, dy},
        {DNNL_ARG_DIFF_WEIGHTS, lane->dweights, conv->unpack ? (float *)native : plain_out},
        {DNNL_ARG_DIFF_BIAS, lane->bias, conv->desc.bias ? bias_out : NULL},
        {DNNL_ARG_SCRATCHPAD, lane->scratch, workspace},
    };
    DG_TRY(execute(exec, lane, conv->bwd_weights, arguments, 5, "backward convolution (weights)"));
    if (conv->unpack)
        DG_TRY(reorder(exec, lane, conv->unpack, lane->dweights, native, lane->plain, plain_out));
    if (accumulate) {
        const int64_t taps = (int64_t)conv->desc.kernel * conv->desc.kernel;
        add(conv->desc.out_c * conv->desc.in_c * taps, plain_out, dweight);
        if (conv->desc.bias)
            add(conv->desc.out_c, bias_out, dbias);
    }
done:
    return status;
}
