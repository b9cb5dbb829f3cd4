/* The model folder's README.md: what the caller has to say of the model, and how to draw from it, here and in Python.
 */
#include "core/printable.h"
#include "io/model_internal.h"

#include <stdlib.h>
#include <string.h>

static const char plain[] = "---\nlibrary_name: diffusers\ntags:\n- diffusion\n---\n\n"
                            "# A diffusion model\n\nTrained by diffgen " DIFFGEN_VERSION
                            ", without differential privacy: nothing bounds what it tells of the images that it was "
                            "trained on, and it may draw some that resemble single ones of them. `diffgen audit` "
                            "measures that.\n";

/* A class may be called by anything: here it is a cell of a table, and no markup. */
static void add_name(const char *name, dg_str *text) {
    char piece[DG_PRINTABLE_BYTES];
    size_t length;
    while ((length = dg_printable_next(&name, piece)) > 0) {
        if (length == 1 && strchr("|\\`*_<>[]&#~$", piece[0]))
            dg_str_append(text, "\\");
        dg_str_append_bytes(text, piece, length);
    }
}

static void add_classes(const dg_model_contents *c, dg_str *text) {
    enum { MOST = 100 };
    dg_str_append(text, "\nThe class numbers that `class_labels` takes:\n\n| number | class |\n|---|---|\n");
    for (int64_t i = 0; i < c->num_classes && i < MOST; i++) {
        dg_str_printf(text, "| %lld | ", (long long)i);
        add_name(c->class_names[i], text);
        dg_str_append(text, " |\n");
    }
    if (c->num_classes > MOST)
        dg_str_printf(text, "\nand so on: `diffgen.json` lists all %lld.\n", (long long)c->num_classes);
}

/* DDPMPipeline's call has no argument for labels, so of a class-conditional model only its parts can be used. An EDM
 * scheduler scales what the network sees, and its first noise. */
static void add_loop(const dg_model_contents *c, const char *scheduler_class, dg_str *text) {
    const dg_unet_config *u = c->config;
    const bool edm = strncmp(scheduler_class, "EDM", 3) == 0;
    dg_str_printf(text,
                  "```python\nimport torch\nfrom diffusers import UNet2DModel, %s\n\n"
                  "unet = UNet2DModel.from_pretrained(\".\", subfolder=\"unet\")\n"
                  "scheduler = %s.from_pretrained(\".\", subfolder=\"scheduler\")\n"
                  "scheduler.set_timesteps(%d)\n",
                  scheduler_class, scheduler_class, edm ? 18 : 250);
    dg_str_printf(text, "x = torch.randn(8, %lld, %lld, %lld)%s\n", (long long)u->in_channels, (long long)u->sample_h,
                  (long long)u->sample_w, edm ? " * scheduler.init_noise_sigma" : "");
    if (c->num_classes)
        dg_str_append(text, "labels = torch.full((8,), 0)  # the number of a class, from the table below\n");
    dg_str_append(text, "with torch.no_grad():\n    for t in scheduler.timesteps:\n");
    dg_str_printf(text, "        out = unet(%s, t%s).sample\n", edm ? "scheduler.scale_model_input(x, t)" : "x",
                  c->num_classes ? ", class_labels=labels" : "");
    dg_str_append(text, "        x = scheduler.step(out, t, x).prev_sample\n"
                        "images = (x.clamp(-1, 1) + 1) / 2  # [8, channels, height, width], from 0 to 1\n```\n");
}

static void add_usage(const dg_model_contents *c, const char *scheduler_class, dg_str *text) {
    const bool pipeline = strncmp(scheduler_class, "EDM", 3) != 0;
    dg_str_append(
        text, "\n## Drawing from it\n\n```sh\ndiffgen sample --model . -n 64\n```\n\nIn Python, with diffusers:\n\n");
    if (pipeline && c->num_classes == 0) {
        dg_str_append(
            text, "```python\nfrom diffusers import DDPMPipeline\n\n"
                  "images = DDPMPipeline.from_pretrained(\".\")(batch_size=8, num_inference_steps=250).images\n```\n");
        return;
    }
    if (pipeline)
        dg_str_append(
            text, "`DDPMPipeline.from_pretrained` loads this folder, but the pipeline cannot be called: it has no way "
                  "to pass the class, without which a class-conditional network refuses to run. The loop is "
                  "short:\n\n");
    add_loop(c, scheduler_class, text);
    if (c->num_classes)
        add_classes(c, text);
}

dg_status dg_model_card_text(dg_ctx *ctx, const dg_model_contents *contents, dg_str *out) {
    const char *scheduler_class = json_string_value(json_object_get(contents->scheduler, "_class_name"));
    dg_str_append(out, contents->card ? contents->card : plain);
    add_usage(contents, scheduler_class ? scheduler_class : "DDPMScheduler", out);
    return dg_str_ok(out) ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory for README.md");
}
