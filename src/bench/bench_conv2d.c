/* Convolutions of the network as our kernels and as cuDNN and cuBLASLt compute them: a table per pass, a row per shape.
 * What it finds is what --libraries auto goes by from then on. */
#include "bench/bench_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const pass_names[DG_CONV2D_PASSES] = {"forward", "data_gradient", "parameter_gradient"};

typedef struct shape {
    dg_conv2d_desc desc;
    int64_t calls; /* in a step */
    bool needs_dx;
    bool joined; /* x is, so that no library takes it */
} shape;

bool dg_bench_wants_conv2d(const dg_bench *b) {
    const char *op = b->options->op;
    return op && *op && b->backend->libraries_compare && (strstr("conv2d", op) || strncmp(op, "conv2d", 6) == 0);
}

static bool same(const dg_conv2d_desc *a, const dg_conv2d_desc *b) {
    return a->h == b->h && a->w == b->w && a->in_c == b->in_c && a->out_c == b->out_c && a->kernel == b->kernel &&
           a->stride == b->stride && a->pad_begin == b->pad_begin && a->pad_end == b->pad_end && a->bias == b->bias &&
           a->upsample == b->upsample && a->residual == b->residual;
}

/* The distinct convolutions of the graph; returns how many. shapes [nodes] */
static int list_shapes(const dg_bench *b, const dg_graph *graph, shape *shapes) {
    int count = 0;
    for (int i = 0; i < graph->node_count; i++) {
        const dg_node *node = &graph->nodes[i];
        if (node->kind != DG_NODE_CONV2D)
            continue;
        dg_conv2d_desc desc = dg_graph_conv2d(graph, node, b->batch);
        desc.training = true;
        desc.precision = DG_PRECISION_BF16;
        int at = 0;
        const bool joined = dg_graph_joins(graph, node->x, b->backend->join_channels);
        while (at < count && !(same(&shapes[at].desc, &desc) && shapes[at].joined == joined))
            at++;
        if (at == count)
            shapes[count++] = (shape){.desc = desc, .joined = joined};
        shapes[at].calls++;
        shapes[at].needs_dx |= graph->values[node->x].needs_grad;
    }
    return count;
}

/* "3x3 /2 128->256 32x32 residual" */
static json_t *shape_text(const shape *s) {
    const dg_conv2d_desc *d = &s->desc;
    char text[96];
    snprintf(text, sizeof text, "%dx%d%s%s %lld->%lld %lldx%lld%s%s", d->kernel, d->kernel, d->stride > 1 ? " /2" : "",
             d->upsample ? " up" : "", (long long)d->in_c, (long long)d->out_c, (long long)d->h, (long long)d->w,
             d->residual ? " residual" : "", s->joined ? " joined" : "");
    return json_string(text);
}

typedef struct row {
    const shape *shape;
    dg_library_timing timing;
} row;

static json_t *row_json(const row *r) {
    const dg_library_timing *t = &r->timing;
    const bool measured = t->library_ms > 0;
    return json_pack("{s:o, s:I, s:f, s:s?, s:o, s:o, s:s, s:s}", "shape", shape_text(r->shape), "calls",
                     (json_int_t)r->shape->calls, "ours_ms", t->own_ms, "library", t->library, "library_ms",
                     measured ? json_real(t->library_ms) : json_null(), "ratio",
                     measured ? json_real(t->own_ms / t->library_ms) : json_null(), "auto",
                     t->faster ? t->library : "ours", "note", t->note);
}

static double step_ms(const row *r) {
    return (double)r->shape->calls * r->timing.own_ms;
}

/* In a step; the lists that people see are cut at their end. */
static int slowest_first(const void *a, const void *b) {
    const double x = step_ms(a), y = step_ms(b);
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The table of a pass, and its line of the sums over a step. */
static void add_pass(int pass, row *rows, int count, json_t **section, json_t **sums) {
    json_t *table = json_array();
    double ours_ms = 0, auto_ms = 0;
    qsort(rows, (size_t)count, sizeof *rows, slowest_first);
    for (int i = 0; i < count; i++) {
        const dg_library_timing *t = &rows[i].timing;
        if (pass == DG_CONV2D_BWD_DATA && !rows[i].shape->needs_dx)
            continue;
        dg_json_append(&table, row_json(&rows[i]));
        ours_ms += step_ms(&rows[i]);
        auto_ms += (double)rows[i].shape->calls * (t->faster ? t->library_ms : t->own_ms);
    }
    dg_json_set(section, pass_names[pass], table);
    dg_json_append(sums,
                   json_pack("{s:s, s:f, s:f}", "pass", pass_names[pass], "ours_ms", ours_ms, "auto_ms", auto_ms));
}

static dg_status compare(dg_bench *b, dg_libraries *libraries, const shape *shapes, int count, json_t **section) {
    dg_status status = DG_OK;
    row *rows = NULL;
    DG_TRY(dg_alloc(b->ctx, &rows, (size_t)count * DG_CONV2D_PASSES + 1, sizeof *rows, "the comparison"));
    for (int i = 0; i < count; i++) {
        dg_library_timing timing[DG_CONV2D_PASSES];
        if (dg_ctx_stop_requested(b->ctx))
            DG_TRY(dg_fail(b->ctx, DG_EINTERRUPTED, "stopped while measuring"));
        DG_TRY(b->backend->libraries_compare(libraries, &shapes[i].desc, timing));
        for (int pass = 0; pass < DG_CONV2D_PASSES; pass++) {
            row *r = &rows[pass * count + i];
            *r = (row){&shapes[i], timing[pass]};
            if (shapes[i].joined && r->timing.faster) {
                r->timing.faster = false;
                snprintf(r->timing.note, sizeof r->timing.note, "joined skips are ours");
            }
        }
    }
    json_t *sums = json_array();
    for (int pass = 0; pass < DG_CONV2D_PASSES; pass++)
        add_pass(pass, rows + pass * count, count, section, &sums);
    dg_json_set(section, "step", sums);
done:
    free(rows);
    return status;
}

dg_status dg_bench_conv2d(dg_bench *b, json_t **section) {
    dg_status status = DG_OK;
    dg_graph *graph = NULL;
    dg_libraries *libraries = NULL;
    shape *shapes = NULL;
    json_t *out = json_pack("{s:I, s:o}", "batch", (json_int_t)b->batch, "libraries", dg_compute_libraries());
    DG_TRY(dg_unet_build(b->ctx, &b->config, b->h, b->w, &graph));
    DG_TRY(dg_alloc(b->ctx, &shapes, (size_t)graph->node_count, sizeof *shapes, "the list of convolutions"));
    DG_TRY(b->backend->libraries_open(b->ctx, DG_LIBRARIES_AUTO, &libraries));
    DG_TRY(compare(b, libraries, shapes, list_shapes(b, graph, shapes), &out));
    *section = json_incref(out);
done:
    b->backend->libraries_close(libraries);
    free(shapes);
    dg_graph_free(graph);
    json_decref(out);
    return status;
}
