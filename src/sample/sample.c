/* dg_sample_run, dg_sample_run_rank: which images, which of them are there already, draw the rest, write them, finish
 * the folder. */

#include "core/fs.h"
#include "core/system.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "sample/sampling.h"

#include <stdlib.h>
#include <string.h>

size_t dg_sampling_elements(const dg_sampling *s) {
    return (size_t)(s->model.h * s->model.w * s->model.folder.config.out_channels);
}

/* ---- what to draw ---- */

/* The shard's images: every shards-th of the run, so that each shard has some of every class. */
static dg_status plan_images(dg_sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    const int64_t first = o->seeds.set ? o->seeds.first : 0;
    int64_t total = 0, index = 0;
    DG_TRY(dg_sample_plan_parts(s->ctx, o, (const char *const *)s->model.folder.class_names,
                                s->model.folder.num_classes, &s->parts, &s->num_parts));
    for (int64_t p = 0; p < s->num_parts; p++)
        total += s->parts[p].images;
    dg_sampling_plan_grid(s);
    DG_TRY(dg_alloc(s->ctx, &s->images, (size_t)(total / s->shards + 1), sizeof *s->images, "the list of images"));
    for (int64_t p = 0; p < s->num_parts; p++)
        for (int64_t i = 0; i < s->parts[p].images; i++, index++)
            if (index % s->shards == s->shard)
                s->images[s->count++] = (dg_planned_image){.class_index = s->parts[p].class_index,
                                                           .number = first + index,
                                                           .noise = index,
                                                           .grid_cell = dg_sampling_grid_cell(s, p, i)};
    if (s->noise && s->noise_rows < total)
        DG_TRY(dg_fail(s->ctx, DG_EUSAGE, "--noise %s holds %lld images, %lld are asked for", o->noise,
                       (long long)s->noise_rows, (long long)total));
done:
    return status;
}

static dg_status read_noise(dg_sampling *s) {
    dg_status status = DG_OK;
    dg_safetensors *file = NULL;
    const dg_unet_config *c = &s->model.folder.config;
    if (!s->options->noise)
        return DG_OK;
    DG_TRY(dg_safetensors_open(s->ctx, s->options->noise, &file));
    const dg_st_tensor *tensor = dg_safetensors_find(file, "noise");
    if (!tensor || tensor->rank != 4 || tensor->dims[1] != c->in_channels || tensor->dims[2] != s->model.h ||
        tensor->dims[3] != s->model.w)
        DG_TRY(dg_fail(s->ctx, DG_EDATA, "--noise %s: needs a tensor \"noise\" of shape [N, %lld, %lld, %lld]",
                       s->options->noise, (long long)c->in_channels, (long long)s->model.h, (long long)s->model.w));
    s->noise_rows = tensor->dims[0];
    DG_TRY(
        dg_alloc(s->ctx, &s->noise, (size_t)s->noise_rows * dg_sampling_elements(s) + 1, sizeof *s->noise, "--noise"));
    DG_TRY(dg_safetensors_read_f32(s->ctx, file, "noise", -1, NULL, s->noise));
done:
    dg_safetensors_close(file);
    return status;
}

/* ---- the folder ---- */

/* Named where they may show in the bytes; NULL: not. */
static const char *libraries_name(const dg_sampling *s) {
    static const char *const names[] = {NULL, "auto", "always"};
    return names[s->model.compute.libraries];
}

/* What was said of noise levels: absent where nothing was. */
static void add_sigmas(const dg_sample_options *o, json_t **to) {
    const struct {
        const char *key;
        double value;
    } given[] = {{"sigma_min", o->sigma_min},
                 {"sigma_max", o->sigma_max},
                 {"rho", o->rho},
                 {"churn", o->churn},
                 {"churn_min", o->churn_min},
                 {"churn_max", o->churn_max},
                 {"churn_noise", o->churn_noise}};
    json_t *sigmas = json_object();
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i].value != 0)
            dg_json_set(&sigmas, given[i].key, json_real(given[i].value));
    if (sigmas && json_object_size(sigmas) == 0)
        json_decref(sigmas);
    else
        dg_json_set(to, "sigmas", sigmas);
}

/* Everything the bytes depend on beside the model. */
static json_t *job_options(const dg_sampling *s) {
    const dg_sample_options *o = s->options;
    char noise_hash[DG_SHA256_HEX] = "";
    if (s->noise)
        dg_sha256_hex(s->noise, (size_t)s->noise_rows * dg_sampling_elements(s) * sizeof(float), noise_hash);
    json_t *classes = json_array();
    for (int64_t i = 0; i < s->num_parts; i++)
        dg_json_append(&classes, json_pack("{s:I, s:I}", "class", (json_int_t)s->parts[i].class_index, "images",
                                           (json_int_t)s->parts[i].images));
    json_t *json =
        json_pack("{s:o, s:I, s:I, s:s, s:I, s:f, s:f, s:i, s:b, s:s, s:s}", "classes", classes, "first_image",
                  (json_int_t)(o->seeds.set ? o->seeds.first : 0), "seed", (json_int_t)o->seed, "sampler",
                  s->sampler_name, "steps", (json_int_t)s->sampler.num_inference_steps, "eta", o->eta, "guidance",
                  o->guidance, "bits", s->bits, "metadata", o->metadata, "weights",
                  o->weights == DG_SAMPLE_WEIGHTS_RAW ? "raw" : "ema", "noise_sha256", noise_hash);
    add_sigmas(o, &json);
    if (libraries_name(s))
        dg_json_set(&json, "libraries", json_string(libraries_name(s)));
    return json;
}

/* Drawn images among those of the training set would be trained on next time. */
static dg_status check_folder(const dg_sampling *s) {
    dg_status status = DG_OK;
    char *images = NULL;
    if (!s->options->out)
        return DG_OK;
    DG_TRY(dg_run_images_folder(s->ctx, s->model.path, &images));
    if (images && dg_fs_is_inside(s->options->out, images))
        status = dg_fail(s->ctx, DG_EUSAGE,
                         "--out %s lies in %s, the images the model was trained on: what is drawn would be taken for "
                         "some of them; name another folder",
                         s->options->out, images);
done:
    free(images);
    return status;
}

static dg_status open_output(dg_sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    json_t *options = job_options(s), *earlier = NULL;
    s->out = o->out ? strdup(o->out) : dg_fs_join("synthetic", s->model.name);
    if (!options || !s->out)
        DG_TRY(dg_fail(s->ctx, DG_ENOMEM, "no memory for the output folder"));
    DG_TRY(dg_sampling_extend(s, &options, &earlier));
    const dg_output_job job = {.model_sha256 = s->model.sha256,
                               .options = options,
                               .replaces = earlier,
                               .class_names = (const char *const *)s->model.folder.class_names,
                               .num_classes = s->model.folder.num_classes,
                               .shard = s->shard,
                               .shards = s->shards,
                               .planned_images = s->count};
    DG_TRY(dg_output_open(s->ctx, s->out, &job, &s->output));
done:
    json_decref(options);
    json_decref(earlier);
    return status;
}

/* Lists what is still to be drawn; images that are there are drawn again only where the sheet shows them. */
static dg_status find_gaps(dg_sampling *s, int64_t *existing) {
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(s->ctx, &s->todo, (size_t)s->count + 1, sizeof *s->todo, "the list of images"));
    DG_TRY(dg_alloc(s->ctx, &s->requests, (size_t)s->count + 1, sizeof *s->requests, "the list of images"));
    *existing = 0;
    for (int64_t i = 0; i < s->count; i++) {
        dg_planned_image *image = &s->images[i];
        DG_TRY(dg_output_has(s->ctx, s->output, image->class_index, image->number, image->number, &image->there));
        *existing += image->there;
        if (image->there && image->grid_cell < 0)
            continue;
        s->requests[s->todo_count] =
            (dg_generate_image){.number = (uint64_t)image->number,
                                .label = (int32_t)(image->class_index < 0 ? 0 : image->class_index),
                                .noise = s->noise ? s->noise + (size_t)image->noise * dg_sampling_elements(s) : NULL};
        s->todo[s->todo_count++] = image;
    }
done:
    return status;
}

/* ---- one image ---- */

static const char *class_name(const dg_sampling *s, const dg_planned_image *image) {
    return image->class_index < 0 ? NULL : s->model.folder.class_names[image->class_index];
}

/* The texts that travel inside the PNG: what made it, and nothing about where or by whom. */
static dg_status describe(const dg_sampling *s, const dg_planned_image *image, dg_str *provenance, dg_str *parameters) {
    const dg_sample_options *o = s->options;
    const char *name = class_name(s, image);
    json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:s, s:I, s:f, s:f}", "version", DIFFGEN_VERSION, "model_sha256",
                             s->model.sha256, "seed", (json_int_t)o->seed, "image", (json_int_t)image->number,
                             "sampler", s->sampler_name, "steps", (json_int_t)s->sampler.num_inference_steps, "eta",
                             o->eta, "guidance", o->guidance);
    if (name)
        dg_json_set(&json, "class", json_string(name));
    add_sigmas(o, &json);
    if (libraries_name(s))
        dg_json_set(&json, "libraries", json_string(libraries_name(s)));
    dg_str_append_json(provenance, json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    dg_str_printf(parameters,
                  "%s\nSteps: %lld, Sampler: %s, CFG scale: %g, Seed: %lld, Image: %lld, Size: %lldx%lld, "
                  "Model hash: %.10s, Version: diffgen " DIFFGEN_VERSION,
                  name ? name : "", (long long)s->sampler.num_inference_steps, s->sampler_name, o->guidance,
                  (long long)o->seed, (long long)image->number, (long long)s->model.w, (long long)s->model.h,
                  s->model.sha256);
    return dg_str_ok(provenance) && dg_str_ok(parameters)
               ? DG_OK
               : dg_fail(s->ctx, DG_ENOMEM, "no memory for an image's texts");
}

static dg_status write_png(const dg_sampling *s, const dg_planned_image *image, const void *pixels) {
    dg_status status = DG_OK;
    dg_str provenance = {0}, parameters = {0}, png = {0};
    const dg_png_image spec = {.height = s->model.h,
                               .width = s->model.w,
                               .channels = (int)s->model.folder.config.out_channels,
                               .bits = s->bits,
                               .pixels = pixels};
    if (s->options->metadata)
        DG_TRY(describe(s, image, &provenance, &parameters));
    DG_TRY(dg_png_encode(s->ctx, &spec, provenance.data, parameters.data, &png));
    DG_TRY(dg_output_write(s->ctx, s->output, image->class_index, image->number, image->number, png.data, png.length));
done:
    dg_str_free(&provenance);
    dg_str_free(&parameters);
    dg_str_free(&png);
    return status;
}

static double speed(const dg_sampling *s) {
    const double spent = dg_clock_seconds() - s->started;
    return spent > 0 ? (double)s->done / spent : 0;
}

/* Thread 0 is the one that called dg_sample_run: the only one to report. */
static void report(dg_sampling *s, int thread) {
    const int64_t done = s->done;
    if (thread != 0 || !s->events->on_progress || done == s->reported)
        return;
    const double rate = speed(s);
    const dg_sample_progress progress = {.done = done,
                                         .total = s->todo_count,
                                         .images_per_second = rate,
                                         .seconds_left = rate > 0 ? (double)(s->todo_count - done) / rate : -1};
    s->reported = done;
    s->events->on_progress(s->events->user, &progress);
}

/* On the sheet an image has 8 bits a channel. */
static void put_on_sheet(const dg_sampling *s, const dg_planned_image *image, const void *pixels) {
    uint8_t *cell = s->grid + (size_t)image->grid_cell * dg_sampling_elements(s);
    if (s->bits == 8)
        memcpy(cell, pixels, dg_sampling_elements(s));
    for (size_t i = 0; s->bits == 16 && i < dg_sampling_elements(s); i++)
        cell[i] = (uint8_t)((((const uint16_t *)pixels)[i] + 128u) / 257u);
}

static dg_status finished_image(void *user, int thread, int64_t index, const void *pixels) {
    dg_status status = DG_OK;
    dg_sampling *s = user;
    const dg_planned_image *image = s->todo[index];
    if (!image->there)
        DG_TRY(write_png(s, image, pixels));
    if (image->grid_cell >= 0)
        put_on_sheet(s, image, pixels);
    s->done++;
    report(s, thread);
done:
    return status;
}

/* ---- the job ---- */

static void announce(const dg_sampling *s, int64_t existing) {
    char device[64];
    snprintf(device, sizeof device, "%s (%s)", s->model.compute.backend->name,
             s->model.compute.backend->instruction_set);
    const dg_sample_start start = {.model_folder = s->model.path,
                                   .model_sha256 = s->model.sha256,
                                   .out_folder = s->out,
                                   .device = device,
                                   .sampler = s->sampler_name,
                                   .steps = s->sampler.num_inference_steps,
                                   .guidance = s->options->guidance,
                                   .height = s->model.h,
                                   .width = s->model.w,
                                   .channels = s->model.folder.config.out_channels,
                                   .bits = s->bits,
                                   .images = s->count,
                                   .existing = existing,
                                   .batch = s->model.compute.lanes * s->model.compute.backend->generate_chunk,
                                   .threads = s->model.compute.lanes,
                                   .planned_bytes =
                                       dg_system_resident_bytes() + (int64_t)dg_generator_bytes(s->model.generator)};
    if (s->events->on_start)
        s->events->on_start(s->events->user, &start);
}

static dg_status open_model(dg_sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    const dg_sampler_options sampler = dg_sample_sampler(o);
    dg_compute compute;
    DG_TRY(dg_compute_open_rank(s->ctx, s->comm, o->device, o->precision, (int)o->threads, &compute));
    DG_TRY(dg_compute_use_libraries(s->ctx, o->libraries, &compute));
    DG_TRY(dg_sample_model_open(s->ctx, o->model, o->weights, &compute, o->batch, &s->model));
    s->sampler_name = dg_sampler_name(o->sampler);
    s->bits = o->bits == DG_SAMPLE_BITS_AUTO ? s->model.folder.image_bits : o->bits == DG_SAMPLE_BITS_16 ? 16 : 8;
    DG_TRY(dg_sample_model_sampler(s->ctx, &s->model, &sampler, &s->sampler));
    if (o->guidance != 1 && s->model.folder.config.null_class < 0)
        DG_TRY(dg_fail(s->ctx, DG_EUSAGE,
                       "--guidance %g: this model learnt no null class to guide away from; leave the "
                       "option out, or train with --label-dropout above 0",
                       o->guidance));
done:
    return status;
}

/* A rank is a shard. */
static dg_status choose_shard(dg_sampling *s) {
    const dg_int_pair *asked = &s->options->shard;
    const int ranks = dg_comm_size(s->comm);
    if (asked->set && ranks > 1)
        return dg_fail(s->ctx, DG_EUSAGE,
                       "--shard %lld/%lld: %d ranks were started, which are the shards; leave it out",
                       (long long)asked->first, (long long)asked->second, ranks);
    s->shard = asked->set ? asked->first : dg_comm_rank(s->comm);
    s->shards = asked->set ? asked->second : ranks;
    return DG_OK;
}

static dg_status set_up(dg_sampling *s) {
    dg_status status = DG_OK;
    DG_TRY(dg_options_check(s->ctx, &dg_sample_option_table, s->options));
    DG_TRY(choose_shard(s));
    DG_TRY(open_model(s));
    DG_TRY(check_folder(s));
    DG_TRY(read_noise(s));
    DG_TRY(plan_images(s));
    if (s->options->grid)
        DG_TRY(
            dg_alloc(s->ctx, &s->grid, (size_t)(s->grid_rows * s->grid_columns), dg_sampling_elements(s), "the grid"));
done:
    return status;
}

/* Rank 0 creates the folder, or says why not, before the others look into it. */
static dg_status open_folder(dg_sampling *s, int64_t *existing) {
    dg_status status = DG_OK;
    DG_TRY(dg_comm_agree(s->comm, dg_comm_leads(s->comm) ? open_output(s) : DG_OK));
    if (!dg_comm_leads(s->comm))
        status = open_output(s);
    if (status == DG_OK)
        status = find_gaps(s, existing);
    DG_TRY(dg_comm_agree(s->comm, status));
done:
    return status;
}

static dg_status draw(dg_sampling *s) {
    const dg_generate_job job = {.sampler = &s->sampler,
                                 .guidance = s->options->guidance,
                                 .seed = (uint64_t)s->options->seed,
                                 .images = s->requests,
                                 .count = s->todo_count,
                                 .dtype = s->bits == 16 ? DG_U16 : DG_U8,
                                 .done = finished_image,
                                 .user = s};
    dg_status status = DG_OK;
    DG_TRY(dg_sample_model_allocate(s->ctx, &s->model));
    s->started = dg_clock_seconds();
    DG_TRY(dg_generate(s->model.generator, &job));
    report(s, 0);
done:
    return status;
}

static void close_sampling(dg_sampling *s) {
    dg_output_close(s->output);
    dg_sampler_free(&s->sampler);
    dg_sample_model_close(&s->model);
    free(s->images);
    free(s->parts);
    free(s->noise);
    free(s->grid);
    free(s->todo);
    free(s->requests);
    free(s->out);
}

/* The last to finish a folder writes its manifest: rank 0. */
static dg_status finish(dg_sampling *s) {
    dg_status status = DG_OK;
    bool complete;
    if (!dg_comm_leads(s->comm))
        status = dg_output_finish(s->ctx, s->output, &complete);
    DG_TRY(dg_comm_agree(s->comm, status));
    if (dg_comm_leads(s->comm))
        status = dg_output_finish(s->ctx, s->output, &complete);
    DG_TRY(dg_comm_agree(s->comm, status));
    if (dg_comm_leads(s->comm) && !complete)
        dg_log(s->ctx, DG_LOG_INFO, "this shard is complete; other shards of %s are still to come", s->out);
done:
    return status;
}

typedef struct counts {
    int64_t written, existing;
} counts;

/* Of all ranks together. */
static dg_status count_images(const dg_sampling *s, int64_t existing, dg_sample_result *result) {
    counts mine = {0, existing}, *all = NULL;
    const int size = dg_comm_size(s->comm);
    for (int64_t i = 0; i < s->count; i++)
        mine.written += !s->images[i].there;
    dg_status status = dg_alloc(s->ctx, &all, (size_t)size, sizeof *all, "the result");
    DG_TRY(dg_comm_agree_with(s->comm, status, &mine, sizeof mine, all));
    result->existing = 0;
    for (int i = 0; i < size; i++) {
        result->written += all[i].written;
        result->existing += all[i].existing;
    }
done:
    free(all);
    return status;
}

dg_status dg_sample_run_rank(dg_ctx *ctx, dg_comm *comm, const dg_sample_options *options,
                             const dg_sample_events *events, dg_sample_result *result) {
    dg_status status = DG_OK;
    const dg_sample_events none = {0};
    dg_sampling s = {
        .ctx = ctx, .comm = comm, .options = options, .events = events && dg_comm_leads(comm) ? events : &none};
    DG_TRY(dg_comm_agree(comm, set_up(&s)));
    DG_TRY(open_folder(&s, &result->existing));
    announce(&s, result->existing);
    DG_TRY(dg_comm_agree(comm, s.todo_count ? draw(&s) : DG_OK));
    DG_TRY(dg_sampling_write_grid(&s, &result->grid_path));
    DG_TRY(finish(&s));
    DG_TRY(count_images(&s, result->existing, result));
done:
    result->out_folder = s.out ? strdup(s.out) : NULL;
    result->seconds = s.started > 0 ? dg_clock_seconds() - s.started : 0;
    result->images_per_second = s.started > 0 ? speed(&s) * dg_comm_size(comm) : 0;
    close_sampling(&s);
    return status;
}

dg_status dg_sample_run(dg_ctx *ctx, const dg_sample_options *options, const dg_sample_events *events,
                        dg_sample_result *result) {
    return dg_sample_run_rank(ctx, NULL, options, events, result);
}

void dg_sample_result_free(dg_sample_result *result) {
    free(result->out_folder);
    free(result->grid_path);
    *result = (dg_sample_result){0};
}
