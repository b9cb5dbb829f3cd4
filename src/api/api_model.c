/* A model in memory: dg_sample's model and generator, with the pixels going to the caller instead of to files. */
#include "sample/model.h"

#include <diffgen/model.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dg_model {
    dg_ctx *ctx;
    dg_sample_model sample;
};

dg_status dg_model_open(dg_ctx *ctx, const char *path, int threads, dg_model **out) {
    dg_compute compute;
    dg_model *model = NULL;
    dg_status status = DG_OK;
    *out = NULL;
    if (threads < 0)
        DG_TRY(dg_fail(ctx, DG_EUSAGE, "threads is %d; 0 means every core, else it is a number of threads", threads));
    DG_TRY(dg_alloc(ctx, &model, 1, sizeof *model, "a model"));
    model->ctx = ctx;
    DG_TRY(dg_compute_open(ctx, DG_DEVICE_AUTO, DG_PRECISION_CHOICE_AUTO, threads, &compute));
    DG_TRY(dg_sample_model_open(ctx, path, DG_SAMPLE_WEIGHTS_EMA, &compute, 0, &model->sample));
    DG_TRY(dg_sample_model_allocate(ctx, &model->sample));
    *out = model;
    model = NULL;
done:
    dg_model_free(model);
    return status;
}

void dg_model_free(dg_model *model) {
    if (!model)
        return;
    dg_sample_model_close(&model->sample);
    free(model);
}

dg_model_info dg_model_get_info(const dg_model *model) {
    const dg_model_folder *folder = &model->sample.folder;
    return (dg_model_info){.sha256 = model->sample.sha256,
                           .height = model->sample.h,
                           .width = model->sample.w,
                           .channels = folder->config.out_channels,
                           .num_classes = folder->num_classes,
                           .class_names = (const char *const *)folder->class_names,
                           .parameters = folder->params.elements,
                           .can_guide = folder->config.null_class >= 0};
}

int64_t dg_model_find_class(const dg_model *model, const char *name) {
    const dg_model_folder *folder = &model->sample.folder;
    for (int64_t i = 0; i < folder->num_classes; i++)
        if (strcmp(folder->class_names[i], name) == 0)
            return i;
    return -1;
}

dg_sample_request dg_sample_request_defaults(void) {
    return (dg_sample_request){.count = 1, .sampler = "dpmsolver++", .guidance = 1};
}

/* ---- one request ---- */

/* Where the finished images of a call go. */
typedef struct sink {
    uint8_t *pixels; /* of the slice's first image */
    int64_t image_elements;
} sink;

static dg_status finished_image(void *user, int thread, int64_t index, const void *pixels) {
    const sink *to = user;
    (void)thread;
    memcpy(to->pixels + index * to->image_elements, pixels, (size_t)to->image_elements);
    return DG_OK;
}

static dg_status find_sampler(dg_ctx *ctx, const char *name, dg_sampler_kind *out) {
    for (int kind = 0; name && kind < DG_SAMPLER_KINDS; kind++)
        if (strcmp(dg_sampler_name((dg_sampler_kind)kind), name) == 0) {
            *out = (dg_sampler_kind)kind;
            return DG_OK;
        }
    return dg_fail(ctx, DG_EUSAGE, "no sampler '%s'; there are ddpm, ddim, dpmsolver++, euler, heun and churn",
                   name ? name : "(null)");
}

/* The same limits as the options of `diffgen sample`; written so that NaN is refused. */
static dg_status check_numbers(const dg_model *model, const dg_sample_request *r, dg_sampler_kind sampler) {
    dg_ctx *ctx = model->ctx;
    if (r->count < 0 || r->first_image < 0 || r->first_image > INT64_MAX - r->count)
        return dg_fail(ctx, DG_EUSAGE, "images %lld, first image %lld: neither may be negative, nor their sum overflow",
                       (long long)r->count, (long long)r->first_image);
    if (r->steps < 0 || r->batch < 0)
        return dg_fail(ctx, DG_EUSAGE, "steps %lld, batch %lld: 0 means chosen, neither may be negative",
                       (long long)r->steps, (long long)r->batch);
    if (!(r->eta >= 0 && r->eta <= 1))
        return dg_fail(ctx, DG_EUSAGE, "eta is %g; it must be from 0 to 1", r->eta);
    if (r->eta > 0 && sampler != DG_SAMPLER_DDIM)
        return dg_fail(ctx, DG_EUSAGE, "eta is %g; the sampler %s has no such noise, ddim has", r->eta, r->sampler);
    if (!(r->guidance >= 0 && r->guidance <= 100))
        return dg_fail(ctx, DG_EUSAGE, "guidance is %g; it must be from 0 to 100, 1 means none", r->guidance);
    if (r->guidance != 1 && model->sample.folder.config.null_class < 0)
        return dg_fail(ctx, DG_EUSAGE,
                       "guidance is %g; this model learnt no null class to guide away from, so it must be 1",
                       r->guidance);
    return DG_OK;
}

static dg_status list_images(const dg_model *model, const dg_sample_request *r, dg_generate_image *images) {
    const int64_t num_classes = model->sample.folder.num_classes;
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t label = num_classes == 0 ? 0 : r->classes ? r->classes[i] : r->class_index;
        if (num_classes && (label < 0 || label >= num_classes))
            return dg_fail(model->ctx, DG_EUSAGE,
                           "image %lld is to be of class %lld; the model's classes are 0 to %lld", (long long)i,
                           (long long)label, (long long)num_classes - 1);
        images[i] = (dg_generate_image){.number = (uint64_t)(r->first_image + i), .label = (int32_t)label};
    }
    return DG_OK;
}

dg_status dg_model_sample(dg_model *model, const dg_sample_request *request, uint8_t *pixels) {
    dg_status status = DG_OK;
    dg_sampler sampler = {0};
    dg_sampler_options how = {.steps = request->steps,
                              .eta = request->eta,
                              .sigma_min = request->sigma_min,
                              .sigma_max = request->sigma_max,
                              .rho = request->rho,
                              .churn = request->churn,
                              .churn_min = request->churn_min,
                              .churn_max = request->churn_max,
                              .churn_noise = request->churn_noise};
    dg_generate_image *images = NULL;
    const dg_unet_config *config = &model->sample.folder.config;
    sink to = {.image_elements = model->sample.h * model->sample.w * config->out_channels};
    const int64_t slice = request->batch > 0 && request->batch < request->count ? request->batch : request->count;
    DG_TRY(find_sampler(model->ctx, request->sampler, &how.kind));
    DG_TRY(check_numbers(model, request, how.kind));
    DG_TRY(dg_sample_model_sampler(model->ctx, &model->sample, &how, &sampler));
    DG_TRY(dg_alloc(model->ctx, &images, (size_t)request->count + 1, sizeof *images, "the list of images"));
    DG_TRY(list_images(model, request, images));
    for (int64_t first = 0; first < request->count; first += slice) {
        to.pixels = pixels + first * to.image_elements;
        const dg_generate_job job = {.sampler = &sampler,
                                     .guidance = request->guidance,
                                     .seed = request->seed,
                                     .images = images + first,
                                     .count = request->count - first < slice ? request->count - first : slice,
                                     .dtype = DG_U8,
                                     .done = finished_image,
                                     .user = &to};
        DG_TRY(dg_generate(model->sample.generator, &job));
    }
done:
    dg_sampler_free(&sampler);
    free(images);
    return status;
}
