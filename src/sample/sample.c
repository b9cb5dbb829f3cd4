/* dg_sample_run: which images, which of them are there already, draw the rest, write them, finish the folder. */
#include "sample/sample.h"

#include "core/fs.h"
#include "core/system.h"
#include "io/grid.h"
#include "io/output.h"
#include "io/png.h"
#include "io/safetensors.h"
#include "sample/model.h"

#include <stdlib.h>
#include <string.h>

enum { GRID_COLUMNS = 10, GRID_ROWS = 24 };

/* One image of the run. */
typedef struct planned {
    int64_t class_index; /* -1: unconditional */
    int64_t number;
    int64_t noise;     /* row of --noise */
    int64_t grid_cell; /* -1: not on the sheet */
    bool there;        /* written by an earlier call */
} planned;

typedef struct sampling {
    dg_ctx *ctx;
    const dg_sample_options *options;
    const dg_sample_events *events;
    dg_sample_model model;
    dg_sampler sampler;
    const char *sampler_name;
    planned *images; /* of this shard */
    int64_t count;
    dg_sample_part *parts;
    int64_t num_parts;
    float *noise; /* --noise, [rows][C][H][W] */
    int64_t noise_rows;
    int bits;
    char *out;
    dg_output *output;
    uint8_t *grid; /* pixels of the sheet's cells, 8 bits */
    int64_t grid_rows, grid_columns;
    /* While drawing. */
    planned **todo;
    dg_generate_image *requests;
    int64_t todo_count;
    _Atomic int64_t done;
    int64_t reported;
    double started;
} sampling;

static size_t image_elements(const sampling *s) {
    return (size_t)(s->model.h * s->model.w * s->model.folder.config.out_channels);
}

/* ---- what to draw ---- */

/* Puts the first images of each class on the sheet, a row each. */
static void choose_grid_cells(sampling *s) {
    const int64_t rows = s->num_parts < GRID_ROWS ? s->num_parts : GRID_ROWS;
    s->grid_columns = s->parts[0].images < GRID_COLUMNS ? s->parts[0].images : GRID_COLUMNS;
    s->grid_rows = s->num_parts == 1 ? (s->parts[0].images + s->grid_columns - 1) / s->grid_columns : rows;
    if (s->grid_rows > GRID_ROWS)
        s->grid_rows = GRID_ROWS;
}

static int64_t grid_cell(const sampling *s, int64_t part, int64_t i) {
    if (!s->options->grid)
        return -1;
    if (s->num_parts == 1)
        return i < s->grid_rows * s->grid_columns ? i : -1;
    return part < s->grid_rows && i < s->grid_columns ? part * s->grid_columns + i : -1;
}

/* The shard's images: every shards-th of the run, so that each shard has some of every class. */
static dg_status plan_images(sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    const int64_t shards = o->shard.set ? o->shard.second : 1, shard = o->shard.set ? o->shard.first : 0;
    const int64_t first = o->seeds.set ? o->seeds.first : 0;
    int64_t total = 0, index = 0;
    DG_TRY(dg_sample_plan_parts(s->ctx, o, (const char *const *)s->model.folder.class_names,
                                s->model.folder.num_classes, &s->parts, &s->num_parts));
    for (int64_t p = 0; p < s->num_parts; p++)
        total += s->parts[p].images;
    choose_grid_cells(s);
    DG_TRY(dg_alloc(s->ctx, &s->images, (size_t)(total / shards + 1), sizeof *s->images, "the list of images"));
    for (int64_t p = 0; p < s->num_parts; p++)
        for (int64_t i = 0; i < s->parts[p].images; i++, index++)
            if (index % shards == shard)
                s->images[s->count++] = (planned){.class_index = s->parts[p].class_index,
                                                  .number = first + index,
                                                  .noise = index,
                                                  .grid_cell = grid_cell(s, p, i)};
    if (s->noise && s->noise_rows < total)
        DG_TRY(dg_fail(s->ctx, DG_EUSAGE, "--noise %s holds %lld images, %lld are asked for", o->noise,
                       (long long)s->noise_rows, (long long)total));
done:
    return status;
}

static dg_status read_noise(sampling *s) {
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
    DG_TRY(dg_alloc(s->ctx, &s->noise, (size_t)s->noise_rows * image_elements(s) + 1, sizeof *s->noise, "--noise"));
    DG_TRY(dg_safetensors_read_f32(s->ctx, file, "noise", -1, NULL, s->noise));
done:
    dg_safetensors_close(file);
    return status;
}

/* ---- the folder ---- */

/* Everything the bytes depend on beside the model. */
static json_t *job_options(const sampling *s) {
    const dg_sample_options *o = s->options;
    char noise_hash[DG_SHA256_HEX] = "";
    if (s->noise)
        dg_sha256_hex(s->noise, (size_t)s->noise_rows * image_elements(s) * sizeof(float), noise_hash);
    json_t *classes = json_array();
    for (int64_t i = 0; i < s->num_parts; i++)
        json_array_append_new(classes, json_pack("{s:I, s:I}", "class", (json_int_t)s->parts[i].class_index, "images",
                                                 (json_int_t)s->parts[i].images));
    return json_pack("{s:o, s:I, s:I, s:s, s:I, s:f, s:f, s:i, s:b, s:s, s:s}", "classes", classes, "first_image",
                     (json_int_t)(o->seeds.set ? o->seeds.first : 0), "seed", (json_int_t)o->seed, "sampler",
                     s->sampler_name, "steps", (json_int_t)s->sampler.count, "eta", o->eta, "guidance", o->guidance,
                     "bits", s->bits, "metadata", o->metadata, "weights",
                     o->weights == DG_SAMPLE_WEIGHTS_RAW ? "raw" : "ema", "noise_sha256", noise_hash);
}

static dg_status open_output(sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    json_t *options = job_options(s);
    s->out = o->out ? strdup(o->out) : dg_fs_join("synthetic", s->model.name);
    if (!options || !s->out)
        DG_TRY(dg_fail(s->ctx, DG_ENOMEM, "no memory for the output folder"));
    const dg_output_job job = {.model_sha256 = s->model.sha256,
                               .options = options,
                               .class_names = (const char *const *)s->model.folder.class_names,
                               .num_classes = s->model.folder.num_classes,
                               .shard = o->shard.set ? o->shard.first : 0,
                               .shards = o->shard.set ? o->shard.second : 1,
                               .planned_images = s->count};
    DG_TRY(dg_output_open(s->ctx, s->out, &job, &s->output));
done:
    json_decref(options);
    return status;
}

/* Lists what is still to be drawn; images that are there are drawn again only where the sheet shows them. */
static dg_status find_gaps(sampling *s, int64_t *existing) {
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(s->ctx, &s->todo, (size_t)s->count + 1, sizeof *s->todo, "the list of images"));
    DG_TRY(dg_alloc(s->ctx, &s->requests, (size_t)s->count + 1, sizeof *s->requests, "the list of images"));
    *existing = 0;
    for (int64_t i = 0; i < s->count; i++) {
        planned *image = &s->images[i];
        DG_TRY(dg_output_has(s->ctx, s->output, image->class_index, image->number, image->number, &image->there));
        *existing += image->there;
        if (image->there && image->grid_cell < 0)
            continue;
        s->requests[s->todo_count] =
            (dg_generate_image){.number = (uint64_t)image->number,
                                .label = (int32_t)(image->class_index < 0 ? 0 : image->class_index),
                                .noise = s->noise ? s->noise + (size_t)image->noise * image_elements(s) : NULL};
        s->todo[s->todo_count++] = image;
    }
done:
    return status;
}

/* ---- one image ---- */

static const char *class_name(const sampling *s, const planned *image) {
    return image->class_index < 0 ? NULL : s->model.folder.class_names[image->class_index];
}

/* The texts that travel inside the PNG: what made it, and nothing about where or by whom. */
static dg_status describe(const sampling *s, const planned *image, char **provenance, dg_str *parameters) {
    const dg_sample_options *o = s->options;
    const char *name = class_name(s, image);
    json_t *json = json_pack("{s:s, s:s, s:s*, s:I, s:I, s:s, s:I, s:f, s:f}", "version", DIFFGEN_VERSION,
                             "model_sha256", s->model.sha256, "class", name, "seed", (json_int_t)o->seed, "image",
                             (json_int_t)image->number, "sampler", s->sampler_name, "steps",
                             (json_int_t)s->sampler.count, "eta", o->eta, "guidance", o->guidance);
    *provenance = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(json);
    dg_str_printf(parameters,
                  "%s\nSteps: %lld, Sampler: %s, CFG scale: %g, Seed: %lld, Image: %lld, Size: %lldx%lld, "
                  "Model hash: %.10s, Version: diffgen " DIFFGEN_VERSION,
                  name ? name : "", (long long)s->sampler.count, s->sampler_name, o->guidance, (long long)o->seed,
                  (long long)image->number, (long long)s->model.w, (long long)s->model.h, s->model.sha256);
    return *provenance && dg_str_ok(parameters) ? DG_OK : dg_fail(s->ctx, DG_ENOMEM, "no memory for an image's texts");
}

static dg_status write_png(const sampling *s, const planned *image, const void *pixels) {
    dg_status status = DG_OK;
    char *provenance = NULL;
    dg_str parameters = {0}, png = {0};
    const dg_png_image spec = {.height = s->model.h,
                               .width = s->model.w,
                               .channels = (int)s->model.folder.config.out_channels,
                               .bits = s->bits,
                               .pixels = pixels};
    if (s->options->metadata)
        DG_TRY(describe(s, image, &provenance, &parameters));
    DG_TRY(dg_png_encode(s->ctx, &spec, provenance, parameters.data, &png));
    DG_TRY(dg_output_write(s->ctx, s->output, image->class_index, image->number, image->number, png.data, png.length));
done:
    free(provenance);
    dg_str_free(&parameters);
    dg_str_free(&png);
    return status;
}

static double speed(const sampling *s) {
    const double spent = dg_clock_seconds() - s->started;
    return spent > 0 ? (double)s->done / spent : 0;
}

/* Thread 0 is the one that called dg_sample_run: the only one to report. */
static void report(sampling *s, int thread) {
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
static void put_on_sheet(const sampling *s, const planned *image, const void *pixels) {
    uint8_t *cell = s->grid + (size_t)image->grid_cell * image_elements(s);
    if (s->bits == 8)
        memcpy(cell, pixels, image_elements(s));
    for (size_t i = 0; s->bits == 16 && i < image_elements(s); i++)
        cell[i] = (uint8_t)((((const uint16_t *)pixels)[i] + 128u) / 257u);
}

static dg_status finished_image(void *user, int thread, int64_t index, const void *pixels) {
    dg_status status = DG_OK;
    sampling *s = user;
    const planned *image = s->todo[index];
    if (!image->there)
        DG_TRY(write_png(s, image, pixels));
    if (image->grid_cell >= 0)
        put_on_sheet(s, image, pixels);
    s->done++;
    report(s, thread);
done:
    return status;
}

/* ---- the sheet ---- */

/* Beside the folder, not in it: data-set loaders take every picture in the folder for data. */
static dg_status write_grid(sampling *s, char **path) {
    dg_status status = DG_OK;
    const int64_t cells = s->grid_rows * s->grid_columns;
    const void **pixels = NULL;
    const char **labels = NULL;
    size_t length = strlen(s->out);
    if (!s->options->grid)
        return DG_OK;
    DG_TRY(dg_alloc(s->ctx, &pixels, (size_t)cells, sizeof *pixels, "the grid"));
    DG_TRY(dg_alloc(s->ctx, &labels, (size_t)s->grid_rows, sizeof *labels, "the grid"));
    for (int64_t i = 0; i < s->todo_count; i++)
        if (s->todo[i]->grid_cell >= 0)
            pixels[s->todo[i]->grid_cell] = s->grid + (size_t)s->todo[i]->grid_cell * image_elements(s);
    for (int64_t r = 0; r < s->grid_rows; r++) {
        const int64_t c = s->parts[s->num_parts == 1 ? 0 : r].class_index;
        labels[r] = c < 0 || (s->num_parts == 1 && r > 0) ? "" : s->model.folder.class_names[c];
    }
    const dg_grid_spec spec = {.rows = s->grid_rows,
                               .columns = s->grid_columns,
                               .height = s->model.h,
                               .width = s->model.w,
                               .channels = (int)s->model.folder.config.out_channels,
                               .bits = 8,
                               .cells = pixels,
                               .row_labels = s->model.folder.num_classes ? labels : NULL};
    while (length > 1 && s->out[length - 1] == '/')
        length--;
    if (asprintf(path, "%.*s-grid.png", (int)length, s->out) < 0) {
        *path = NULL;
        DG_TRY(dg_fail(s->ctx, DG_ENOMEM, "no memory for the grid"));
    }
    DG_TRY(dg_grid_write_png(s->ctx, *path, &spec));
done:
    free(pixels);
    free(labels);
    return status;
}

/* ---- the job ---- */

static void announce(const sampling *s, int64_t existing) {
    char device[64];
    snprintf(device, sizeof device, "%s (%s)", s->model.compute.backend->name,
             s->model.compute.backend->instruction_set);
    const dg_sample_start start = {.model_folder = s->model.path,
                                   .model_sha256 = s->model.sha256,
                                   .out_folder = s->out,
                                   .device = device,
                                   .sampler = s->sampler_name,
                                   .steps = s->sampler.count,
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

static dg_status set_up(sampling *s) {
    dg_status status = DG_OK;
    const dg_sample_options *o = s->options;
    const char *const names[] = {"ddpm", "ddim", "dpmsolver++"};
    dg_compute compute;
    DG_TRY(dg_options_check(s->ctx, &dg_sample_option_table, o));
    DG_TRY(dg_compute_open(s->ctx, o->device, o->precision, (int)o->threads, &compute));
    DG_TRY(dg_sample_model_open(s->ctx, o->model, o->weights, &compute, o->batch, &s->model));
    s->sampler_name = names[o->sampler];
    s->bits = o->bits == DG_SAMPLE_BITS_AUTO ? s->model.folder.image_bits : o->bits == DG_SAMPLE_BITS_16 ? 16 : 8;
    DG_TRY(dg_sample_model_sampler(s->ctx, &s->model, o->sampler, o->steps, o->eta, &s->sampler));
    if (o->guidance != 1 && s->model.folder.config.null_class < 0)
        DG_TRY(dg_fail(s->ctx, DG_EUSAGE,
                       "--guidance %g: this model learnt no null class to guide away from; leave the "
                       "option out, or train with --label-dropout above 0",
                       o->guidance));
    DG_TRY(read_noise(s));
    DG_TRY(plan_images(s));
    DG_TRY(open_output(s));
    if (o->grid)
        DG_TRY(dg_alloc(s->ctx, &s->grid, (size_t)(s->grid_rows * s->grid_columns), image_elements(s), "the grid"));
done:
    return status;
}

static dg_status draw(sampling *s) {
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

static void close_sampling(sampling *s) {
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

dg_status dg_sample_run(dg_ctx *ctx, const dg_sample_options *options, const dg_sample_events *events,
                        dg_sample_result *result) {
    dg_status status = DG_OK;
    const dg_sample_events none = {0};
    sampling s = {.ctx = ctx, .options = options, .events = events ? events : &none};
    int64_t existing = 0;
    bool complete;
    DG_TRY(set_up(&s));
    DG_TRY(find_gaps(&s, &existing));
    announce(&s, existing);
    if (s.todo_count)
        DG_TRY(draw(&s));
    DG_TRY(write_grid(&s, &result->grid_path));
    DG_TRY(dg_output_finish(ctx, s.output, &complete));
    if (!complete)
        dg_log(ctx, DG_LOG_INFO, "this shard is complete; other shards of %s are still to come", s.out);
done:
    result->out_folder = s.out ? strdup(s.out) : NULL;
    result->existing = existing;
    for (int64_t i = 0; status == DG_OK && i < s.count; i++)
        result->written += !s.images[i].there;
    result->seconds = s.started > 0 ? dg_clock_seconds() - s.started : 0;
    result->images_per_second = s.started > 0 ? speed(&s) : 0;
    close_sampling(&s);
    return status;
}

void dg_sample_result_free(dg_sample_result *result) {
    free(result->out_folder);
    free(result->grid_path);
    *result = (dg_sample_result){0};
}
