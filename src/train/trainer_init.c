/* --init: the weights of another model to start from. */
#include "core/text.h"
#include "io/model_folder.h"
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

#define CLASS_TABLE "class_embedding.weight"

static dg_status open_init(dg_trainer *t, dg_model_folder *folder, char **name) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_run_find_model(t->ctx, t->options->init, &path, name));
    DG_TRY(dg_model_folder_open(t->ctx, path, folder));
done:
    free(path);
    return status;
}

static bool same_shape(const dg_param *a, const dg_param *b) {
    return a->count == b->count && memcmp(a->dims, b->dims, sizeof a->dims) == 0;
}

/* ---- does it fit ---- */

static dg_status check_shapes(dg_trainer *t, const dg_model_folder *folder) {
    const dg_unet_config *ours = &t->plan.preset.unet;
    const dg_params *params = dg_stepper_params(t->stepper);
    if (folder->config.in_channels != ours->in_channels || folder->config.out_channels != ours->out_channels)
        return dg_fail(t->ctx, DG_EDATA,
                       "--init %s makes images of %lld channels, these have %lld; give --channels %lld",
                       t->options->init, (long long)folder->config.in_channels, (long long)ours->in_channels,
                       (long long)folder->config.in_channels);
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *to = &params->list[i], *from = dg_params_find(&folder->params, to->name);
        if (strcmp(to->name, CLASS_TABLE) != 0 && (!from || !same_shape(to, from)))
            return dg_fail(t->ctx, DG_EDATA, "--init %s: its '%s' does not fit this model; use the same --preset",
                           t->options->init, to->name);
    }
    return DG_OK;
}

/* A network that has learnt to answer another question would have to unlearn it. */
static dg_status check_prediction(dg_trainer *t, const dg_model_folder *folder) {
    dg_status status = DG_OK;
    static const char *const names[] = {"epsilon", "v", "sample"};
    const dg_scheduler_config *ours = &t->plan.preset.scheduler;
    dg_scheduler_config theirs;
    if (!folder->scheduler)
        return DG_OK;
    DG_TRY(dg_scheduler_config_from_json(t->ctx, folder->scheduler_path, folder->scheduler, &theirs));
    const bool edm = dg_scheduler_config_is_edm(&theirs), same = edm == dg_scheduler_config_is_edm(ours);
    const char *prediction = edm ? "edm" : names[theirs.prediction];
    const bool fits = same && theirs.prediction == ours->prediction;
    dg_scheduler_config_free(&theirs);
    if (!fits)
        DG_TRY(dg_fail(t->ctx, DG_EDATA, "--init %s was trained with --prediction %s; give the same", t->options->init,
                       prediction));
done:
    return status;
}

/* Paths stay out of it: the model's card may travel. */
static dg_status describe(dg_trainer *t, const dg_model_folder *folder, const char *name) {
    dg_status status = DG_OK;
    char sha256[DG_SHA256_HEX];
    DG_TRY(dg_model_sha256(t->ctx, folder, sha256));
    const json_t *training = json_object_get(folder->info, "training");
    json_decref(t->init);
    t->init = json_pack("{s:s, s:s, s:O*}", "name", name, "model_sha256", sha256, "privacy",
                        json_object_get(training, "privacy"));
    if (!t->init)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for --init"));
done:
    return status;
}

static dg_status check_weights(dg_trainer *t, const dg_model_folder *folder) {
    dg_status status = DG_OK;
    float *weights = NULL;
    DG_TRY(dg_alloc(t->ctx, &weights, (size_t)folder->params.total, sizeof *weights, "the initial weights"));
    DG_TRY(dg_model_folder_load(t->ctx, folder, weights));
done:
    free(weights);
    return status;
}

dg_status dg_trainer_check_init(dg_trainer *t) {
    dg_status status = DG_OK;
    dg_model_folder folder = {0};
    char *name = NULL;
    if (!t->options->init || t->resumed)
        return DG_OK;
    DG_TRY(open_init(t, &folder, &name));
    DG_TRY(check_shapes(t, &folder));
    DG_TRY(check_prediction(t, &folder));
    DG_TRY(describe(t, &folder, name));
    if (t->options->dry_run) /* the real call reads them once it has begun */
        DG_TRY(check_weights(t, &folder));
done:
    free(name);
    dg_model_folder_free(&folder);
    return status;
}

/* ---- weights ---- */

/* Class by class, by name: row i of ours from the row of the class of that name; the null class from the null class.
 * Others keep their random start. */
static void copy_classes(const dg_trainer *t, const dg_model_folder *folder, const float *from, float *to) {
    const dg_train_plan *plan = &t->plan;
    const dg_param *table = dg_params_find(dg_stepper_params(t->stepper), CLASS_TABLE);
    const dg_param *theirs = dg_params_find(&folder->params, CLASS_TABLE);
    int64_t found = 0;
    if (!table)
        return;
    const int64_t width = table->dims[1];
    for (int64_t i = 0; theirs && theirs->dims[1] == width && i < plan->num_classes; i++)
        for (int64_t k = 0; k < folder->num_classes; k++)
            if (strcmp(plan->class_names[i], folder->class_names[k]) == 0) {
                memcpy(to + table->offset + i * width, from + theirs->offset + k * width, (size_t)width * sizeof *to);
                found++;
            }
    if (theirs && theirs->dims[1] == width && plan->preset.unet.null_class >= 0 && folder->config.null_class >= 0)
        memcpy(to + table->offset + plan->preset.unet.null_class * width,
               from + theirs->offset + folder->config.null_class * width, (size_t)width * sizeof *to);
    if (found < plan->num_classes)
        dg_log(t->ctx, DG_LOG_INFO, "--init: knows %lld of the %lld classes; the others start afresh", (long long)found,
               (long long)plan->num_classes);
}

static dg_status load_init(dg_trainer *t, float *weights) {
    dg_status status = DG_OK;
    dg_model_folder folder = {0};
    char *name = NULL;
    float *loaded = NULL;
    const dg_params *params = dg_stepper_params(t->stepper);
    DG_TRY(open_init(t, &folder, &name));
    DG_TRY(check_shapes(t, &folder)); /* it may be another by now */
    DG_TRY(dg_alloc(t->ctx, &loaded, (size_t)folder.params.total, sizeof *loaded, "the initial weights"));
    DG_TRY(dg_model_folder_load(t->ctx, &folder, loaded));
    for (int64_t i = 0; i < params->count; i++) {
        const dg_param *to = &params->list[i], *from = dg_params_find(&folder.params, to->name);
        if (strcmp(to->name, CLASS_TABLE) != 0)
            memcpy(weights + to->offset, loaded + from->offset, (size_t)to->count * sizeof *weights);
    }
    copy_classes(t, &folder, loaded, weights);
done:
    free(loaded);
    free(name);
    dg_model_folder_free(&folder);
    return status;
}

dg_status dg_trainer_first_weights(dg_trainer *t, float *weights) {
    dg_params_init(dg_stepper_params(t->stepper), (uint64_t)t->options->seed, weights);
    return t->options->init ? load_init(t, weights) : DG_OK;
}
