/* From seconds per node to a table of ops. */
#include "bench/bench_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 64 };

typedef struct row {
    char name[NAME];
    int64_t calls;
    double seconds, flops; /* per image: flops */
} row;

static const char *const kind_names[] = {
    [DG_NODE_CONV2D] = "conv2d",     [DG_NODE_GROUP_NORM] = "group_norm", [DG_NODE_ATTENTION] = "attention",
    [DG_NODE_ACT] = "act",           [DG_NODE_DROPOUT] = "dropout",       [DG_NODE_UPSAMPLE] = "upsample",
    [DG_NODE_AVG_POOL] = "avg_pool", [DG_NODE_CONCAT] = "concat",         [DG_NODE_AFFINE] = "affine",
    [DG_NODE_ADD] = "add",           [DG_NODE_TIMESTEP] = "timestep",     [DG_NODE_EMBEDDING] = "embedding"};

double dg_bench_node_flops(const dg_graph *graph, int index, bool executed, bool backward) {
    const dg_node *node = &graph->nodes[index];
    const dg_value *y = &graph->values[node->y];
    const double pixels = (double)(y->h * y->w);
    double flops = 0;
    if (node->kind == DG_NODE_CONV2D) {
        flops = 2 * pixels * (double)(y->c * graph->values[node->x].c) * node->kernel * node->kernel;
        if (node->upsample && executed)
            flops *= 4.0 / 9.0;
        if (backward)
            flops *= graph->values[node->x].needs_grad ? 2 : 1;
    } else if (node->kind == DG_NODE_ATTENTION) {
        flops = 4 * pixels * pixels * (double)y->c * (backward ? 2 : 1);
    }
    return flops;
}

double dg_bench_flops(const dg_graph *graph, bool executed, bool training) {
    double flops = 0;
    for (int i = 0; i < graph->node_count; i++) {
        flops += dg_bench_node_flops(graph, i, executed, false);
        if (training)
            flops += dg_bench_node_flops(graph, i, executed, true);
    }
    return flops;
}

double dg_bench_again_flops(const dg_net *net) {
    const dg_graph *graph = dg_net_graph(net);
    double flops = 0;
    for (int i = 0; i < graph->node_count; i++)
        if (dg_net_computes_again(net, i))
            flops += dg_bench_node_flops(graph, i, true, false);
    return flops;
}

dg_status dg_bench_profile_start(dg_ctx *ctx, dg_net *net, int lanes, dg_bench_profile *out) {
    dg_status status = DG_OK;
    const size_t nodes = (size_t)dg_net_graph(net)->node_count;
    *out = (dg_bench_profile){.net = net, .lanes = lanes};
    DG_TRY(dg_alloc(ctx, &out->seconds, (size_t)lanes * DG_BENCH_DIRECTIONS * nodes, sizeof(double), "the profile"));
    for (int lane = 0; lane < lanes; lane++) {
        double *own = out->seconds + (size_t)lane * DG_BENCH_DIRECTIONS * nodes;
        dg_net_set_profile(net, lane,
                           (dg_net_profile){.forward_seconds = own + DG_BENCH_FORWARD * nodes,
                                            .backward_seconds = own + DG_BENCH_BACKWARD * nodes,
                                            .again_seconds = own + DG_BENCH_AGAIN * nodes});
    }
done:
    return status;
}

void dg_bench_profile_free(dg_bench_profile *profile) {
    for (int lane = 0; profile->seconds && lane < profile->lanes; lane++)
        dg_net_set_profile(profile->net, lane, (dg_net_profile){0});
    free(profile->seconds);
    *profile = (dg_bench_profile){0};
}

/* "conv2d 3x3 64->80 14x14 fwd" */
static void describe(const dg_graph *graph, int index, int direction, char name[NAME]) {
    static const char *const passes[DG_BENCH_DIRECTIONS] = {"fwd", "bwd", "again"};
    const dg_node *node = &graph->nodes[index];
    const dg_value *y = &graph->values[node->y];
    const char *pass = passes[direction];
    if (node->kind == DG_NODE_CONV2D)
        snprintf(name, NAME, "conv2d %dx%d%s%s %lld->%lld %lldx%lld %s", node->kernel, node->kernel,
                 node->stride > 1 ? " /2" : "", node->upsample ? " up" : "", (long long)graph->values[node->x].c,
                 (long long)y->c, (long long)y->h, (long long)y->w, pass);
    else
        snprintf(name, NAME, "%s %lld %lldx%lld %s", kind_names[node->kind], (long long)y->c, (long long)y->h,
                 (long long)y->w, pass);
}

static int slowest_first(const void *a, const void *b) {
    const double x = ((const row *)a)->seconds, y = ((const row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static row *row_of(row *rows, int *count, const char *name) {
    for (int i = 0; i < *count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    row *fresh = &rows[(*count)++];
    snprintf(fresh->name, NAME, "%s", name);
    return fresh;
}

static void gather(const dg_bench_profile *profile, int direction, row *rows, int *count) {
    const dg_graph *graph = dg_net_graph(profile->net);
    const size_t nodes = (size_t)graph->node_count;
    for (int i = 0; i < graph->node_count; i++) {
        char name[NAME];
        double seconds = 0;
        for (int lane = 0; lane < profile->lanes; lane++)
            seconds += profile->seconds[((size_t)lane * DG_BENCH_DIRECTIONS + (size_t)direction) * nodes + (size_t)i];
        if (seconds == 0)
            continue;
        describe(graph, i, direction, name);
        row *r = row_of(rows, count, name);
        r->calls++;
        r->seconds += seconds;
        r->flops += dg_bench_node_flops(graph, i, true, direction == DG_BENCH_BACKWARD);
    }
}

dg_status dg_bench_profile_rows(dg_bench *bench, const dg_bench_profile *profile, const char *phase, int64_t images,
                                int64_t passes, double wall, json_t **ops) {
    dg_status status = DG_OK;
    const char *wanted = bench->options->op;
    const double peak = dg_bench_phase_gflops(bench);
    row *rows = NULL;
    int count = 0;
    const size_t most = DG_BENCH_DIRECTIONS * (size_t)dg_net_graph(profile->net)->node_count;
    DG_TRY(dg_alloc(bench->ctx, &rows, most, sizeof *rows, "the table"));
    for (int direction = 0; direction < DG_BENCH_DIRECTIONS; direction++)
        gather(profile, direction, rows, &count);
    qsort(rows, (size_t)count, sizeof *rows, slowest_first);
    for (int i = 0; i < count; i++) {
        /* Lane seconds: with every lane busy all the time they add up to lanes * wall. */
        const double gflops = rows[i].flops * (double)images / rows[i].seconds * profile->lanes / 1e9;
        if (wanted && !strstr(rows[i].name, wanted))
            continue;
        json_t *fraction = rows[i].flops > 0 ? json_real(gflops / peak) : json_null();
        json_t *rate = rows[i].flops > 0 ? json_real(gflops) : json_null();
        dg_json_append(ops,
                       json_pack("{s:s, s:s, s:I, s:f, s:f, s:o, s:o}", "name", rows[i].name, "phase", phase, "calls",
                                 (json_int_t)rows[i].calls, "ms",
                                 rows[i].seconds / profile->lanes / (double)passes * 1e3, "share",
                                 rows[i].seconds / profile->lanes / wall, "gflops", rate, "peak_fraction", fraction));
    }
done:
    free(rows);
    return status;
}
