/* What a private run promises, for programs (privacy.json, diffgen.json) and for people (the model's README.md). Both
 * say the same figures, and what is not covered by them. */
#include "core/fs.h"
#include "core/printable.h"
#include "core/text.h"
#include "train/trainer_private.h"

#include <stdlib.h>

static const char *public_text(const dg_train_options *o) {
    const bool window = o->assume_public & DG_TRAIN_PUBLIC_WINDOW;
    if (o->assume_public & DG_TRAIN_PUBLIC_NOTHING)
        return window ? "the range of the pixels' values" : "nothing";
    if (o->assume_public & DG_TRAIN_PUBLIC_COUNTS)
        return window ? "the number of images of each class and the range of the pixels' values"
                      : "the number of images of each class";
    return window ? "the number of images and the range of the pixels' values" : "the number of images";
}

static const char *clipping_text(const dg_train_options *o) {
    return o->clipping == DG_TRAIN_CLIPPING_AUTOMATIC ? "automatic" : "abadi";
}

static const char *noise_text(const dg_train_options *o) {
    return o->secure_noise ? "ChaCha20 keyed by the operating system, exact discrete Gaussian on integer sums"
                           : "ChaCha20 keyed by the operating system, sums of four double-precision Gaussians";
}

/* At the end the ceilings of what was done; before it those of all that is planned, which are no lower. */
static json_t *attacks(const dg_trainer *t) {
    json_t *rows = json_array();
    const double *most = t->private->max_tpr[0] > 0 ? t->private->max_tpr : t->plan.private.max_tpr;
    for (int i = 0; rows && i < DG_ATTACK_FPRS; i++)
        dg_json_append(&rows, json_pack("{s:f, s:f}", "fpr", dg_attack_fprs[i], "max_tpr", most[i]));
    return rows;
}

static json_t *warm_up(const dg_trainer *t) {
    const dg_central_plan *c = &t->plan.private.central;
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f}", "mechanism",
                     "noisy central images (Poisson-subsampled Gaussian)", "queries", (json_int_t)c->queries,
                     "sample_rate", c->sample_rate, "noise_multiplier", c->noise_multiplier, "max_norm", c->max_norm,
                     "divided_by", c->expected);
}

static json_t *audit(const dg_trainer *t) {
    const dg_one_run_audit *a = &t->private->audit;
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "canaries", (json_int_t)a->canaries, "planted",
                     (json_int_t)a->planted, "guesses", (json_int_t)a->guesses, "correct", (json_int_t)a->correct,
                     "epsilon_at_least", a->epsilon, "confidence", 1 - a->error, "score_separation", a->separation);
}

static json_t *figures(const dg_trainer *t) {
    const dg_private_plan *p = &t->plan.private;
    const dg_train_options *o = t->options;
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:s, s:s, s:f, s:f, s:f, s:s, s:I, s:f, s:I, s:I, s:s, s:s, s:s}",
                     "mechanism", "Poisson-subsampled Gaussian (DP-SGD)", "adjacency", "add or remove one unit", "unit",
                     o->group_by ? o->group_by : "image", "epsilon", dg_trainer_private_epsilon(t), "delta", p->delta,
                     "accountant", o->accountant == DG_TRAIN_ACCOUNTANT_RDP ? "rdp" : "pld", "sampling", "Poisson",
                     "sample_rate", p->sample_rate, "noise_multiplier", p->noise_multiplier, "max_grad_norm",
                     o->max_grad_norm, "clipping", clipping_text(o), "noise_multiplicity", (json_int_t)p->copies,
                     "expected_batch", p->expected_batch, "steps", (json_int_t)t->step, "planned_steps",
                     (json_int_t)t->plan.total_steps, "assumed_public", public_text(o), "noise", noise_text(o),
                     "ledger_run", t->ledger_run);
}

json_t *dg_trainer_private_statement(const dg_trainer *t) {
    json_t *statement = figures(t);
    if (t->private->recorded_epsilon > 0)
        dg_json_set(&statement, "epsilon_on_record", json_real(t->private->recorded_epsilon));
    dg_json_set(&statement, "attacks", attacks(t));
    if (t->plan.private.central.queries)
        dg_json_set(&statement, "warm_up", warm_up(t));
    if (t->private->audit.canaries)
        dg_json_set(&statement, "audit", audit(t));
    if (t->init)
        dg_json_set(&statement, "init", json_incref(t->init));
    return statement;
}

dg_status dg_trainer_private_save(dg_trainer *t) {
    dg_status status = DG_OK;
    json_t *statement = dg_trainer_private_statement(t);
    char *path = dg_run_path(t->run, "privacy.json");
    if (!statement || !path)
        DG_TRY(dg_fail(t->ctx, DG_ENOMEM, "no memory for privacy.json"));
    DG_TRY(dg_json_save(t->ctx, path, statement));
done:
    json_decref(statement);
    free(path);
    return status;
}

/* Whatever model it is, its own promise is about other images than these. */
static void add_init(const json_t *init, dg_str *text) {
    const json_t *privacy = json_object_get(init, "privacy");
    const char *name = json_string_value(json_object_get(init, "name"));
    if (!init)
        return;
    dg_str_append(text, "| initial weights | model ");
    dg_str_append_printable(text, name ? name : "?");
    dg_str_printf(text, ", SHA-256 %.16s..., ", json_string_value(json_object_get(init, "model_sha256")));
    if (privacy)
        dg_str_printf(text, "trained with epsilon %.4g, delta %.3g on its own images |\n",
                      json_number_value(json_object_get(privacy, "epsilon")),
                      json_number_value(json_object_get(privacy, "delta")));
    else
        dg_str_append(text, "taken to be public: nothing here covers the images that it was trained on |\n");
}

static void add_audit(const dg_one_run_audit *a, dg_str *text) {
    if (a->canaries)
        dg_str_printf(
            text,
            "| audit of this run | %lld canaries, %lld of %lld guesses right: epsilon is at least %.3g (%.0f %% "
            "confidence) |\n",
            (long long)a->canaries, (long long)a->correct, (long long)a->guesses, a->epsilon, 100 * (1 - a->error));
}

static void add_figures(const dg_trainer *t, dg_str *text) {
    const dg_private_plan *p = &t->plan.private;
    const dg_train_options *o = t->options;
    dg_str_printf(text, "| | |\n|---|---|\n");
    dg_str_printf(text, "| unit of privacy | one %s |\n", o->group_by ? "group of images" : "image");
    dg_str_printf(text, "| adjacency | one unit is added or removed |\n");
    dg_str_printf(text, "| epsilon, delta | %.4g, %.3g |\n", dg_trainer_private_epsilon(t), p->delta);
    if (t->private->recorded_epsilon > 0)
        dg_str_printf(text, "| in the ledger, with steps undone by crashes | epsilon %.4g, run %s |\n",
                      t->private->recorded_epsilon, t->ledger_run);
    dg_str_printf(text, "| what no attack can beat |");
    for (int i = 0; i < DG_ATTACK_FPRS; i++)
        dg_str_printf(text, "%s %.3g %% of the members told at %g %% false alarms", i ? "," : "",
                      100 * t->private->max_tpr[i], 100 * dg_attack_fprs[i]);
    dg_str_printf(text, " |\n| accountant | %s |\n",
                  o->accountant == DG_TRAIN_ACCOUNTANT_RDP ? "Renyi divergences" : "privacy loss distributions");
    dg_str_printf(text, "| sampling | Poisson, rate %.6g per step |\n", p->sample_rate);
    dg_str_printf(text, "| noise multiplier | %.6g |\n", p->noise_multiplier);
    dg_str_printf(text, "| noise | %s |\n", noise_text(o));
    dg_str_printf(text, "| clipping | %s, to norm %g |\n", clipping_text(o), o->max_grad_norm);
    dg_str_printf(text, "| noise draws per image (K) | %lld |\n", (long long)p->copies);
    dg_str_printf(text, "| steps | %lld |\n", (long long)t->step);
    if (p->central.queries)
        dg_str_printf(
            text,
            "| warm-up | %lld noisy central images of each class, rate %.4g, noise multiplier %g; in the figures "
            "above |\n",
            (long long)p->central.queries, p->central.sample_rate, p->central.noise_multiplier);
    dg_str_printf(text, "| assumed to be public | %s |\n", public_text(o));
    add_init(t->init, text);
    add_audit(&t->private->audit, text);
}

char *dg_trainer_private_card(const dg_trainer *t) {
    dg_str text = {0};
    dg_str_append(&text,
                  "---\nlibrary_name: diffusers\ntags:\n- diffusion\n- differential-privacy\n---\n\n"
                  "# A diffusion model trained with differential privacy\n\n"
                  "Trained by diffgen " DIFFGEN_VERSION " with DP-SGD. Whoever has this model, and anything made with "
                  "it, learns about any single unit of the training images no more than the figures below "
                  "allow.\n\n");
    add_figures(t, &text);
    dg_str_append(
        &text, "\nThe guarantee is that of this run. Other runs on the same images add to it: `diffgen budget` tells "
               "what they have spent together. It does not cover the choice of options by looking at earlier "
               "results, metrics computed on the private images, the names of the classes, the images' size and "
               "number of channels, their depth in bits, nor the run folder beside this model, which holds logs and "
               "checkpoints.\n");
    if (!dg_str_ok(&text)) {
        dg_str_free(&text);
        return NULL;
    }
    return text.data;
}
