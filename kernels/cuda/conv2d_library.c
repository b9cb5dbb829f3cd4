/* conv2d by a library: which passes, and running them. */
#include "kernels/cuda/conv2d_library_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 8, ALIGNMENT = 16, BIAS_ALIGNMENT = 256 };

static size_t rounded_up(size_t bytes) {
    return (bytes + BIAS_ALIGNMENT - 1) / BIAS_ALIGNMENT * BIAS_ALIGNMENT;
}

bool dg_conv2d_library_fits(const dg_conv2d_desc *d) {
    return d->precision == DG_PRECISION_BF16 && !d->upsample && d->in_c % CHUNK == 0 && d->out_c % CHUNK == 0;
}

void dg_conv2d_library_describe(conv2d_library *l, dg_libraries *libraries, const dg_conv2d_desc *d) {
    *l = (conv2d_library){.libraries = libraries, .desc = *d};
    l->out_h = (d->h + d->pad_begin + d->pad_end - d->kernel) / d->stride + 1;
    l->out_w = (d->w + d->pad_begin + d->pad_end - d->kernel) / d->stride + 1;
}

/* A matrix product: cuBLASLt's. */
static bool is_product(const dg_conv2d_desc *d) {
    return d->kernel == 1 && d->stride == 1;
}

bool dg_conv2d_library_find(conv2d_library *l, dg_library_role role) {
    const dg_conv2d_desc *d = &l->desc;
    const dg_library_info *info = &l->libraries->info[is_product(d) ? 1 : 0];
    if (is_product(d) && l->libraries->cublaslt)
        return dg_cublaslt_engine(l->libraries->cublaslt, d, role, &l->engine[role], l->why[role]);
    if (!is_product(d) && l->libraries->cudnn)
        return dg_cudnn_engine(l->libraries->cudnn, d, role, &l->engine[role], l->why[role]);
    snprintf(l->why[role], DG_LIBRARY_WHY, "%s: %.140s", info->name, info->why_not);
    return false;
}

void dg_conv2d_library_drop(conv2d_library *l, dg_library_role role) {
    if (l->engine[role])
        l->engine[role]->free(l->engine[role]);
    l->engine[role] = NULL;
}

void dg_conv2d_library_free(conv2d_library *l) {
    if (!l)
        return;
    for (int role = 0; role < DG_ROLES; role++)
        dg_conv2d_library_drop(l, (dg_library_role)role);
    free(l);
}

/* ---- choosing ---- */

static const char *const role_names[] = {
    [DG_ROLE_FWD] = "forward", [DG_ROLE_BWD_DATA] = "data gradient", [DG_ROLE_BWD_PARAMS] = "parameter gradient"};

enum { KEY = 160 };

/* What a timing is filed under: everything that the pass depends on. */
static void key_of(const dg_conv2d_desc *d, dg_library_role role, char key[KEY]) {
    snprintf(key, KEY, "conv2d %" PRId64 "x%" PRId64 "x%" PRId64 " %" PRId64 "->%" PRId64 " %dx%d /%d pad %d,%d%s%s %s",
             d->n, d->h, d->w, d->in_c, d->out_c, d->kernel, d->kernel, d->stride, d->pad_begin, d->pad_end,
             d->bias ? " bias" : "", d->residual ? " residual" : "", role_names[role]);
}

typedef struct decision {
    conv2d_library *l;
    const dg_plan *own;
    conv2d_trial *trial; /* opened when something has to be tried */
    bool tried;
    bool timed; /* something that was not on file */
    char why[DG_LIBRARY_WHY];
} decision;

static dg_status open_trial(decision *d) {
    if (d->tried)
        return DG_OK;
    d->tried = true;
    return dg_conv2d_trial_open(d->l, d->own, &d->trial, d->why);
}

/* The first candidate that runs; false: none does. */
static bool first_that_runs(decision *d, dg_library_role role) {
    conv2d_library *l = d->l;
    for (int i = 0; d->trial && i < l->engine[role]->candidates; i++)
        if (dg_conv2d_trial_run(d->trial, role, i, l->why[role])) {
            l->candidate[role] = i;
            return true;
        }
    return false;
}

/* By the table; what is not in it is timed. */
static dg_status is_faster(decision *d, dg_library_role role, bool *faster) {
    dg_status status = DG_OK;
    conv2d_library *l = d->l;
    dg_library_choices *table = l->libraries->choices;
    dg_library_choice choice = {0};
    char key[KEY];
    *faster = false;
    key_of(&l->desc, role, key);
    if (!dg_library_choices_get(table, key, &choice)) {
        DG_TRY(open_trial(d));
        if (!d->trial)
            goto done;
        DG_TRY(dg_conv2d_trial_time(d->trial, role, &choice, l->why[role]));
        dg_library_choices_put(table, key, &choice);
        d->timed = true;
    }
    l->candidate[role] = choice.candidate;
    *faster = choice.faster && choice.candidate < l->engine[role]->candidates;
done:
    return status;
}

/* Whether the table says so already: then no engine need be made, which takes its time. */
static bool is_known_to_be_slower(const conv2d_library *l, dg_library_role role) {
    dg_library_choice choice;
    char key[KEY];
    key_of(&l->desc, role, key);
    return l->libraries->choices && dg_library_choices_get(l->libraries->choices, key, &choice) && !choice.faster;
}

static dg_status decide(decision *d, dg_library_role role) {
    dg_status status = DG_OK;
    conv2d_library *l = d->l;
    bool used = false;
    if (is_known_to_be_slower(l, role) || !dg_conv2d_library_find(l, role))
        return DG_OK;
    if (l->libraries->use == DG_LIBRARIES_ALWAYS) {
        DG_TRY(open_trial(d));
        used = first_that_runs(d, role);
    } else {
        DG_TRY(is_faster(d, role, &used));
    }
done:
    if (!used)
        dg_conv2d_library_drop(l, role);
    return status;
}

/* The same on top of what is there, by the same candidate if there is one. */
static void decide_added(conv2d_library *l, dg_library_role role, dg_library_role added) {
    if (!l->engine[role] || !dg_conv2d_library_find(l, added))
        return;
    const int last = l->engine[added]->candidates - 1;
    l->candidate[added] = l->candidate[role] < last ? l->candidate[role] : last;
}

dg_status dg_conv2d_library_plan(dg_ctx *ctx, const dg_plan *own, const dg_conv2d_desc *desc, conv2d_library **out) {
    dg_status status = DG_OK;
    decision d = {.own = own};
    *out = NULL;
    if (!desc->libraries || !dg_conv2d_library_fits(desc))
        return DG_OK;
    DG_TRY(dg_alloc(ctx, &d.l, 1, sizeof *d.l, "conv2d plan"));
    dg_conv2d_library_describe(d.l, desc->libraries, desc);
    const bool has_params = is_product(desc); /* cuDNN would round it */
    const int last = !desc->training ? DG_ROLE_FWD : has_params ? DG_ROLE_BWD_PARAMS : DG_ROLE_BWD_DATA;
    for (int role = DG_ROLE_FWD; role <= last; role++)
        DG_TRY(decide(&d, (dg_library_role)role));
    decide_added(d.l, DG_ROLE_BWD_DATA, DG_ROLE_BWD_DATA_ADDED);
    decide_added(d.l, DG_ROLE_BWD_PARAMS, DG_ROLE_BWD_PARAMS_ADDED);
    if (d.tried && !d.trial)
        dg_log(ctx, DG_LOG_WARN, "cuDNN and cuBLASLt are not tried on a convolution: %s", d.why);
    if (d.timed)
        dg_library_choices_save(desc->libraries->choices);
    if (d.l->engine[DG_ROLE_FWD] || d.l->engine[DG_ROLE_BWD_DATA] || d.l->engine[DG_ROLE_BWD_PARAMS]) {
        *out = d.l;
        d.l = NULL;
    }
done:
    dg_conv2d_trial_close(d.trial);
    dg_conv2d_library_free(d.l);
    return status;
}

/* ---- running ---- */

const char *dg_conv2d_library_name(const conv2d_library *l) {
    return is_product(&l->desc) ? "cuBLASLt and implicit GEMM, BF16" : "cuDNN and implicit GEMM, BF16";
}

size_t dg_conv2d_library_packed_bytes(const conv2d_library *l) {
    const dg_conv2d_desc *d = &l->desc;
    return (size_t)(d->out_c * d->in_c * d->kernel * d->kernel) * sizeof(uint16_t);
}

/* The rounded bias and what the engine takes follow each other; the scratch of the bias's gradient comes after the
 * engine is done. */
size_t dg_conv2d_library_workspace_bytes(const conv2d_library *l) {
    const int64_t pixels = l->desc.n * l->out_h * l->out_w;
    size_t most = 0;
    for (int role = 0; role < DG_ROLES; role++)
        if (l->engine[role]) {
            const size_t bytes = l->engine[role]->workspace_bytes +
                                 (role == DG_ROLE_FWD ? rounded_up((size_t)l->desc.out_c * sizeof(uint16_t)) : 0);
            most = bytes > most ? bytes : most;
        }
    const size_t dbias = (size_t)dg_conv2d_library_dbias_scratch(pixels, l->desc.out_c) * sizeof(float);
    return l->engine[DG_ROLE_BWD_PARAMS] && dbias > most ? dbias : most;
}

void dg_conv2d_library_pack(const dg_exec *exec, const conv2d_library *l, const float *weight, void *packed) {
    const dg_conv2d_desc *d = &l->desc;
    dg_conv2d_library_pack_weight(exec, d->out_c, d->in_c, d->kernel * d->kernel, weight, packed);
}

bool dg_conv2d_library_run(const dg_exec *exec, const conv2d_library *l, dg_library_role role, int candidate,
                           dg_library_call call, const float *bias, float *dbias, char why[DG_LIBRARY_WHY]) {
    const dg_conv2d_desc *d = &l->desc;
    char *workspace = exec->workspace;
    const bool params = role == DG_ROLE_BWD_PARAMS || role == DG_ROLE_BWD_PARAMS_ADDED;
    call.stream = (cudaStream_t)exec->queue;
    if (role == DG_ROLE_FWD && d->bias) {
        dg_conv2d_library_round_bias(exec, d->out_c, bias, workspace);
        call.bias = workspace;
        workspace += rounded_up((size_t)d->out_c * sizeof(uint16_t));
    }
    call.workspace = workspace;
    if (!l->engine[role]->run(l->engine[role], candidate, &call, why)) {
        (void)cudaGetLastError(); /* what the library left behind is told by `why` */
        return false;
    }
    if (params && dbias)
        dg_conv2d_library_dbias(exec, d->n * l->out_h * l->out_w, d->out_c, call.y, role == DG_ROLE_BWD_PARAMS_ADDED,
                                exec->workspace, dbias);
    return true;
}

static bool aligned(const void *a, const void *b, const void *c) {
    return ((uintptr_t)a | (uintptr_t)b | (uintptr_t)c) % ALIGNMENT == 0;
}

static bool can_run(const conv2d_library *l, dg_library_role role, const void *a, const void *b, const void *c) {
    return l && l->engine[role] && aligned(a, b, c);
}

bool dg_conv2d_library_fwd(const dg_exec *exec, const conv2d_library *l, const dg_tensor *x, const void *packed,
                           const float *bias, const dg_tensor *residual, const dg_tensor *y) {
    char why[DG_LIBRARY_WHY];
    if (x->tail_c != 0 || !can_run(l, DG_ROLE_FWD, x->data, y->data, residual ? residual->data : NULL) ||
        (residual != NULL) != l->desc.residual)
        return false;
    const dg_library_call call = {
        .x = x->data, .y = y->data, .weight = packed, .residual = residual ? residual->data : NULL};
    return dg_conv2d_library_run(exec, l, DG_ROLE_FWD, l->candidate[DG_ROLE_FWD], call, bias, NULL, why);
}

bool dg_conv2d_library_bwd_data(const dg_exec *exec, const conv2d_library *l, const dg_tensor *dy, const void *packed,
                                const dg_tensor *dx, bool accumulate) {
    const dg_library_role role = accumulate ? DG_ROLE_BWD_DATA_ADDED : DG_ROLE_BWD_DATA;
    char why[DG_LIBRARY_WHY];
    if (dx->tail_c != 0 || !can_run(l, role, dy->data, dx->data, NULL))
        return false;
    const dg_library_call call = {.x = dx->data, .y = dy->data, .weight = packed};
    return dg_conv2d_library_run(exec, l, role, l->candidate[role], call, NULL, NULL, why);
}

bool dg_conv2d_library_bwd_params(const dg_exec *exec, const conv2d_library *l, const dg_param_grad *mode,
                                  const dg_tensor *x, const dg_tensor *dy, float *dweight, float *dbias) {
    const dg_library_role role = mode->accumulate ? DG_ROLE_BWD_PARAMS_ADDED : DG_ROLE_BWD_PARAMS;
    char why[DG_LIBRARY_WHY];
    if (mode->mode != DG_GRAD_SUM || x->tail_c != 0 || !can_run(l, role, x->data, dy->data, dweight))
        return false;
    const dg_library_call call = {.x = x->data, .y = dy->data, .dweight = dweight};
    return dg_conv2d_library_run(exec, l, role, l->candidate[role], call, NULL, l->desc.bias ? dbias : NULL, why);
}

/* ---- comparing ---- */

/* Everything that can be measured, also of what is never used. */
static dg_status compare_pass(conv2d_library *l, conv2d_trial *trial, dg_library_role role, dg_library_timing *out) {
    dg_status status = DG_OK;
    dg_library_choice choice = {0};
    char key[KEY];
    const bool found = dg_conv2d_library_fits(&l->desc) && dg_conv2d_library_find(l, role);
    if (found)
        out->library = l->engine[role]->library;
    DG_TRY(dg_conv2d_trial_time(trial, role, &choice, l->why[role]));
    out->own_ms = choice.own_ms;
    out->library_ms = choice.library_ms;
    out->faster = choice.faster;
    if (!dg_conv2d_library_fits(&l->desc))
        snprintf(out->note, sizeof out->note, "%s",
                 l->desc.upsample ? "enlarged images are ours" : "channels that do not divide by 8 are ours");
    else if (!found || choice.library_ms == 0)
        snprintf(out->note, sizeof out->note, "%s", l->why[role]);
    else if (l->engine[role]->rounds_dweight)
        snprintf(out->note, sizeof out->note, "its gradient is rounded to bf16: not taken");
    if (l->libraries->choices && found && !l->engine[role]->rounds_dweight) {
        key_of(&l->desc, role, key);
        dg_library_choices_put(l->libraries->choices, key, &choice);
    }
done:
    dg_conv2d_library_drop(l, role);
    return status;
}

dg_status dg_cuda_libraries_compare(dg_libraries *libraries, const dg_conv2d_desc *desc,
                                    dg_library_timing out[DG_CONV2D_PASSES]) {
    dg_status status = DG_OK;
    dg_exec exec = {.ctx = libraries->ctx};
    dg_conv2d_desc own_desc = *desc;
    dg_plan *own = NULL;
    conv2d_trial *trial = NULL;
    conv2d_library l;
    char why[DG_LIBRARY_WHY];
    own_desc.libraries = NULL;
    for (int pass = 0; pass < DG_CONV2D_PASSES; pass++)
        out[pass] = (dg_library_timing){0};
    dg_conv2d_library_describe(&l, libraries, desc);
    DG_TRY(dg_cuda_ops.conv2d_plan(&exec, &own_desc, &own));
    DG_TRY(dg_conv2d_trial_open(&l, own, &trial, why));
    if (!trial)
        DG_TRY(dg_fail(libraries->ctx, DG_ENOMEM, "no memory to compare convolutions in: %s", why));
    for (int pass = 0; pass < (desc->training ? DG_CONV2D_PASSES : 1); pass++)
        DG_TRY(compare_pass(&l, trial, (dg_library_role)pass, &out[pass]));
    if (libraries->choices)
        dg_library_choices_save(libraries->choices);
done:
    dg_conv2d_trial_close(trial);
    dg_plan_free(own);
    return status;
}
