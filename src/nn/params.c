#include "nn/params.h"

#include "nn/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

dg_status dg_params_list(dg_ctx *ctx, const dg_unet_config *config, dg_params *out) {
    /* Parameters do not depend on the image size, so the smallest legal one will do. */
    const int64_t size = (int64_t)1 << (config->levels - 1);
    dg_graph *graph = NULL;
    dg_status status = dg_unet_build(ctx, config, size, size, &graph);
    if (status != DG_OK)
        return status;
    *out = graph->params;
    graph->params = (dg_params){0};
    dg_graph_free(graph);
    return DG_OK;
}

void dg_params_free(dg_params *params) {
    free(params->list);
    *params = (dg_params){0};
}

const dg_param *dg_params_find(const dg_params *params, const char *name) {
    for (int64_t i = 0; i < params->count; i++)
        if (strcmp(params->list[i].name, name) == 0)
            return &params->list[i];
    return NULL;
}

static void init_uniform(const dg_random *random, float bound, int64_t count, float *w) {
    for (int64_t k = 0; k < count; k++)
        w[k] = (2 * dg_random_uniform(random, (uint32_t)(k / 4), (int)(k % 4)) - 1) * bound;
}

void dg_params_init(const dg_params *params, uint64_t seed, float *weights) {
    memset(weights, 0, (size_t)params->total * sizeof *weights);
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *p = &params->list[i];
        const dg_random random = {.seed = seed, .image = (uint64_t)i, .purpose = DG_PURPOSE_INIT};
        float *w = weights + p->offset;
        const size_t length = strlen(p->name);
        const bool is_bias = length > 5 && strcmp(p->name + length - 5, ".bias") == 0;
        if (p->fan_in)
            init_uniform(&random, 1 / sqrtf((float)p->fan_in), p->count, w);
        else if (p->rank == 2)
            dg_random_normal(&random, 0, p->count, w);
        else
            for (int64_t k = 0; k < p->count; k++)
                w[k] = is_bias ? 0.0f : 1.0f;
    }
}
