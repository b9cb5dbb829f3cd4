/* A network on the CPU with its weights, for tests of nn and of the rooms above. */
#ifndef DG_TESTS_NET_FIXTURE_H
#define DG_TESTS_NET_FIXTURE_H

#include "core/json.h"
#include "nn/net.h"
#include "nn/optimiser.h"
#include "support/golden_fill.h"
#include "support/test_main.h"

#include <stdlib.h>

typedef struct net_fixture {
    dg_ctx *ctx;
    dg_unet_config config;
    dg_net *net;
    const dg_params *params; /* the net's */
    float *weights, *grad;   /* [params->total], grad zeroed */
} net_fixture;

static inline dg_unet_config net_fixture_config(dg_ctx *ctx, const char *text) {
    dg_unet_config config;
    json_t *json = NULL;
    DG_CK(ctx, dg_json_parse(ctx, "test config", text, strlen(text), DG_JSON_STRICT, &json));
    DG_CK(ctx, dg_unet_config_from_json(ctx, "test config", json, &config));
    json_decref(json);
    return config;
}

/* Weights are the golden fill, packed. options->backend NULL: the CPU. */
static inline net_fixture net_fixture_open(dg_ctx *ctx, const dg_unet_config *config, const dg_net_options *options) {
    net_fixture f = {.ctx = ctx, .config = *config};
    dg_net_options o = *options;
    if (!o.backend)
        o.backend = dg_backend_cpu();
    DG_CK(ctx, dg_net_create(ctx, config, &o, &f.net));
    DG_CK(ctx, dg_net_allocate(f.net));
    f.params = &dg_net_graph(f.net)->params;
    f.weights = calloc((size_t)f.params->total, sizeof *f.weights);
    f.grad = calloc((size_t)f.params->total, sizeof *f.grad);
    ck_assert(f.weights != NULL && f.grad != NULL);
    for (int64_t i = 0; i < f.params->count; i++) {
        const dg_param *p = &f.params->list[i];
        golden_fill_param(p->name, p->rank, p->dims[0], p->count, f.weights + p->offset);
    }
    DG_CK(ctx, dg_optimiser_pack(f.net, 1, f.weights));
    return f;
}

static inline void net_fixture_close(net_fixture *f) {
    dg_net_free(f->net);
    free(f->weights);
    free(f->grad);
}

#endif
