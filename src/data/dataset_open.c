/* Opening a data set: list -> label -> probe every header and hash every file -> settle resolution, depth, channels ->
 * decode everything once, into the cache if it fits -> keep what survived. */
#include "data/dataset_internal.h"
#include "data/own_scale.h"
#include "data/parallel.h"
#include "decode/sniff.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct opening {
    dg_ctx *ctx;
    const dg_dataset_options *options;
    dg_dataset *dataset;
    dg_layout layout;
    dg_own_scale own;
    dg_candidate *candidates;
    size_t count;
    uint8_t *cache;                              /* while decoding: one slot per candidate */
    dg_values *values;                           /* of the pixels of all of them */
    _Atomic int64_t first_bad;                   /* under strict: nothing after it matters */
    int64_t progress_base, progress_total, told; /* the last: in images, as the callback gets it */
} opening;

static dg_status mark_bad(opening *o, int64_t index, const char *reason) {
    dg_candidate *c = &o->candidates[index];
    c->bad = true;
    c->reason = strdup(reason);
    int64_t first = atomic_load(&o->first_bad);
    while (index < first && !atomic_compare_exchange_weak(&o->first_bad, &first, index))
        ;
    return c->reason ? DG_OK : dg_fail(o->ctx, DG_ENOMEM, "out of memory for a message");
}

static bool is_moot(const opening *o, int64_t index) {
    return o->candidates[index].bad || (o->options->strict && index > atomic_load(&o->first_bad));
}

static dg_status out_of_memory(opening *o, int64_t index) {
    return dg_fail(o->ctx, DG_ENOMEM, "out of memory while reading %s",
                   o->dataset->tree.files[o->candidates[index].file].path);
}

static dg_status probe_one(void *user, int64_t index) {
    opening *o = user;
    dg_candidate *c = &o->candidates[index];
    const dg_file *file = &o->dataset->tree.files[c->file];
    const uint8_t *bytes = NULL;
    size_t size = 0;
    void *owned = NULL;
    char reason[DG_REASON_BYTES] = "";
    if (is_moot(o, index))
        return DG_OK;
    if (file->raw) {
        c->info = (dg_image_info){.width = file->raw_width,
                                  .height = file->raw_height,
                                  .channels = file->raw_channels,
                                  .bits = file->raw_bits};
        c->grey = file->raw_channels == 1;
        crypto_hash_sha256(c->sha256, file->raw, dg_file_raw_bytes(file));
        return DG_OK;
    }
    dg_status status = dg_tree_load(&o->dataset->tree, c->file, DG_TREE_MAX_FILE_BYTES, &bytes, &size, &owned, reason);
    if (status == DG_OK)
        status = dg_image_probe(bytes, size, &o->dataset->decode, &c->info, reason);
    if (status == DG_OK)
        crypto_hash_sha256(c->sha256, bytes, size);
    c->grey = c->info.channels == 1;
    free(owned);
    if (status == DG_ENOMEM)
        return out_of_memory(o, index);
    return status == DG_OK ? DG_OK : mark_bad(o, index, reason);
}

/* Of `count` things `picked` are picked, evenly spread. */
static bool is_picked(int64_t index, int64_t count, int64_t picked) {
    return picked >= count || (index + 1) * picked / count > index * picked / count;
}

/* Learns what kind of image it is, and keeps it where there is a cache. */
static dg_status decode_one(void *user, int64_t index) {
    opening *o = user;
    dg_candidate *c = &o->candidates[index];
    dg_resize_spec *spec = &o->dataset->spec;
    char reason[DG_REASON_BYTES] = "";
    dg_image image = {0};
    if (is_moot(o, index) || (o->options->probe_only && !is_picked(index, (int64_t)o->count, o->options->look_at)))
        return DG_OK;
    dg_status status = dg_dataset_load(o->dataset, c->file, &image, reason);
    if (status == DG_OK && image.bits > spec->bits)
        status = dg_image_refuse(reason, "the file changed while it was being read");
    if (status == DG_OK && !c->values.seen) {
        c->grey = dg_image_is_grey(&image);
        c->values = dg_values_add(o->values, &image);
    }
    if (status == DG_OK && o->cache)
        status = dg_image_fit(&image, spec, o->cache + (size_t)index * dg_resize_bytes(spec));
    dg_image_free(&image);
    if (status == DG_EDATA)
        return mark_bad(o, index, reason);
    return status == DG_ENOMEM ? out_of_memory(o, index) : status;
}

static void report_progress(void *user, int64_t done) {
    opening *o = user;
    const int64_t images = (int64_t)((double)(o->progress_base + done) * (double)o->count / (double)o->progress_total);
    if (images <= o->told)
        return;
    o->told = images;
    if (o->options->progress)
        o->options->progress(o->options->progress_user, images, (int64_t)o->count);
    else
        dg_ctx_progress(o->ctx, "reading the images", images, (int64_t)o->count);
}

/* parallel.h hands its user pointer to both callbacks, and the first failure's text is in the context already. */
static dg_status for_all(opening *o, dg_parallel_fn fn) {
    dg_status status = dg_parallel_for(o->ctx, o->options->threads, (int64_t)o->count, fn, o, report_progress);
    o->progress_base += (int64_t)o->count;
    if (status != DG_OK)
        return status;
    int64_t first = atomic_load(&o->first_bad);
    if (o->options->strict && first < (int64_t)o->count)
        status = dg_fail(o->ctx, DG_EDATA, "%s: %s (--strict: nothing is skipped)",
                         o->dataset->tree.files[o->candidates[first].file].path, o->candidates[first].reason);
    return status;
}

/* The commonest shorter side (of several the smallest), limited and rounded to what U-Nets halve well. */
static dg_status choose_resolution(const opening *o, int *out) {
    int64_t *sides = NULL;
    int best = 32;
    const dg_status status = dg_alloc(o->ctx, &sides, DG_IMAGE_MAX_SIDE + 1, sizeof *sides, "the images' sizes");
    if (status != DG_OK)
        return status;
    for (size_t i = 0; i < o->count; i++) {
        const dg_image_info *info = &o->candidates[i].info;
        if (!o->candidates[i].bad)
            sides[info->width < info->height ? info->width : info->height]++;
    }
    for (int side = 1, most = 0; side <= DG_IMAGE_MAX_SIDE; side++) {
        if (sides[side] > most) {
            most = (int)sides[side];
            best = side;
        }
    }
    free(sides);
    int limit = o->options->auto_limit > 0 ? o->options->auto_limit : 128;
    best = best < limit ? best : limit;
    best -= best % (best < 64 ? 4 : 16);
    *out = best < 8 ? 8 : best;
    return DG_OK;
}

static dg_status set_window(opening *o, int lo, int hi) {
    if (o->own.all) {
        o->dataset->decode.window = lo != hi;
        o->dataset->decode.window_lo = lo;
        o->dataset->decode.window_hi = hi;
        return DG_OK;
    }
    dg_resize_spec *spec = &o->dataset->spec;
    const int max = dg_depth_max(spec->bits), min = spec->bits == 16 ? INT16_MIN : 0;
    if (lo == hi || lo < min || lo > max || hi < min || hi > max)
        return dg_fail(o->ctx, DG_EUSAGE,
                       "window %d:%d on images of %d bits: two different values in %d..%d are expected", lo, hi,
                       spec->bits, min, max);
    spec->window_lo = lo;
    spec->window_hi = hi;
    return DG_OK;
}

static dg_status settle_spec(opening *o) {
    dg_resize_spec *spec = &o->dataset->spec;
    bool all_grey = true;
    o->own = dg_own_scale_of(o->candidates, o->count);
    spec->bits = 8;
    for (size_t i = 0; i < o->count; i++) {
        if (o->candidates[i].bad)
            continue;
        all_grey &= o->candidates[i].info.channels == 1;
        if (o->candidates[i].info.bits == 16)
            spec->bits = 16;
    }
    spec->channels = o->options->channels ? o->options->channels : all_grey ? 1 : 3;
    spec->resolution = o->options->resolution;
    if (spec->resolution == 0) {
        const dg_status status = choose_resolution(o, &spec->resolution);
        if (status != DG_OK)
            return status;
    }
    spec->fit = o->options->fit;
    if (o->options->window)
        return set_window(o, o->options->window_lo, o->options->window_hi);
    return DG_OK;
}

/* What may be kept in memory when the user does not say: a quarter of the machine's. */
static int64_t memory_limit(const dg_dataset_options *options) {
    if (options->cache_bytes > 0)
        return options->cache_bytes;
    const int processes = options->processes > 1 ? options->processes : 1;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (int64_t)pages * page / 4 / processes : (int64_t)1 << 30;
}

/* Closes the gaps that bad images left and, where every image turned out grey, goes from three channels to one: all
 * in place, front to back, never writing past what was read. */
static void compact_cache(opening *o, int channels) {
    dg_resize_spec *spec = &o->dataset->spec;
    size_t from_bytes = dg_resize_bytes(spec), value = (size_t)spec->bits / 8;
    size_t step = spec->channels == 3 && channels == 1 ? 3 : 1;
    spec->channels = channels;
    size_t to_bytes = dg_resize_bytes(spec), kept = 0;
    for (size_t i = 0; i < o->count && o->cache; i++) {
        if (o->candidates[i].bad)
            continue;
        uint8_t *to = o->cache + kept++ * to_bytes, *from = o->cache + i * from_bytes;
        if (step == 1) {
            memmove(to, from, to_bytes);
        } else {
            for (size_t k = 0; k < to_bytes / value; k++)
                memmove(to + k * value, from + k * step * value, value);
        }
    }
    if (o->cache && kept > 0) {
        uint8_t *exact = realloc(o->cache, kept * to_bytes);
        o->cache = exact ? exact : o->cache;
    }
}

/* true: every image is grey. Where not all were looked at, colour files are like those that were: many are grey. */
static bool settle_grey(opening *o) {
    bool colour = false, grey_as_colour = false, unknown = false;
    for (size_t i = 0; i < o->count; i++) {
        const dg_candidate *c = &o->candidates[i];
        if (c->bad || c->info.channels == 1)
            continue;
        colour |= c->values.seen && !c->grey;
        grey_as_colour |= c->values.seen && c->grey;
        unknown |= !c->values.seen;
    }
    const bool grey = !colour && (!unknown || grey_as_colour);
    for (size_t i = 0; i < o->count; i++)
        o->candidates[i].grey |= grey && !o->candidates[i].values.seen;
    return grey;
}

static dg_decode_options with_window(const dg_decode_options *options, double lo, double hi) {
    dg_decode_options changed = *options;
    changed.window = lo < hi;
    changed.window_lo = lo;
    changed.window_hi = hi;
    return changed;
}

/* Once over all images; twice where the window must be known before the first of them can be kept. If memory is
 * refused images are decoded on demand, as if they did not fit. */
static dg_status decode_all(opening *o) {
    dg_status status = DG_OK;
    size_t bytes = dg_resize_bytes(&o->dataset->spec);
    const bool keep = !o->options->probe_only && bytes * o->count <= (size_t)memory_limit(o->options);
    DG_TRY(dg_values_create(o->ctx, o->dataset->spec.bits, &o->values));
    if (o->options->auto_window) {
        const dg_own_scale *own = &o->own;
        /* On a scale of their own the images are looked at as they would be without the windows in their files. */
        if (own->all)
            o->dataset->decode = with_window(&o->dataset->decode, own->least, own->most);
        DG_TRY(for_all(o, decode_one));
        dg_window window = dg_values_window(o->values);
        if (own->all && own->mixed)
            window = (dg_window){0, 0};
        else if (own->all && window.lo != window.hi)
            window = dg_own_scale_window(own, own->least, own->most, window, dg_depth_max(o->dataset->spec.bits));
        if (own->all)
            DG_TRY(set_window(o, 0, 0));
        if (window.lo != window.hi) {
            DG_TRY(set_window(o, window.lo, window.hi));
            DG_TRY(dg_layout_note(o->ctx, &o->layout, "the images use the values from %d to %d: window %d:%d",
                                  window.lo, window.hi, window.lo, window.hi));
        }
    }
    if (keep)
        o->cache = malloc(bytes * o->count);
    if (o->cache || !o->options->auto_window)
        DG_TRY(for_all(o, decode_one));
    compact_cache(o, o->options->channels == 0 && settle_grey(o) ? 1 : o->dataset->spec.channels);
done:
    return status;
}

/* Files that hold many images in a form that is not read: beside images they are a note, alone they are the reason why
 * there is nothing to read. */
static dg_status name_foreign_data(opening *o) {
    const dg_tree *tree = &o->dataset->tree;
    const dg_file *first = NULL;
    long long files = 0;
    for (size_t i = 0; i < tree->count; i++) {
        if (tree->files[i].kind != DG_FILE_FOREIGN_DATA || tree->files[i].left_out)
            continue;
        first = files++ == 0 ? &tree->files[i] : first;
    }
    if (!first)
        return DG_OK;
    if (o->layout.count == 0 && o->layout.skip_count == 0)
        return dg_fail(o->ctx, DG_EDATA, "%s: no image that can be read; %s is %s: %s", o->options->path, first->path,
                       first->foreign->name, first->foreign->convert);
    return dg_layout_note(o->ctx, &o->layout,
                          "%lld files hold data in a form that is not read and are left alone; the first, %s, is %s",
                          files, first->path, first->foreign->name);
}

static dg_status none_found(opening *o) {
    const dg_tree *tree = &o->dataset->tree;
    if (tree->own_count > 0)
        return dg_fail(o->ctx, DG_ENOINPUT,
                       "%s: no image in it but what diffgen wrote itself (%s%s); name that folder if it is meant",
                       o->options->path, tree->own_folders[0], tree->own_count > 1 ? ", ..." : "");
    if (tree->nested > 0)
        return dg_fail(
            o->ctx, DG_EDATA,
            "%s: no image in it, but %lld archive%s inside the archive, which %s not opened; unpack the outer "
            "one and give the folder or the inner archive",
            o->options->path, (long long)tree->nested, tree->nested == 1 ? "" : "s", tree->nested == 1 ? "is" : "are");
    return dg_fail(o->ctx, DG_ENOINPUT,
                   "%s: no image in it (%lld other files); PNG, JPEG, WebP, TIFF, DICOM, BMP, TGA, PNM "
                   "and GIF are read, in folders, ZIP, TAR, IDX or MedMNIST's .npz",
                   o->options->path, (long long)o->layout.ignored);
}

static dg_status begin(opening *o) {
    dg_status status = DG_OK;
    dg_dataset *dataset = o->dataset;
    const dg_dataset_options *options = o->options;
    /* Archive members and IDX pixels have no other place to be, however small the cache is to be. */
    dg_dataset_options automatic = {.processes = options->processes};
    int64_t held_limit = memory_limit(&automatic);
    held_limit = options->cache_bytes > held_limit ? options->cache_bytes : held_limit;
    DG_TRY(dg_tree_open(o->ctx, options->path, held_limit, &dataset->tree));
    DG_TRY(dg_layout_detect(o->ctx, &dataset->tree, options, &o->layout));
    DG_TRY(name_foreign_data(o));
    if (o->layout.count == 0 && o->layout.skip_count == 0 && o->layout.fall_count == 0) {
        status = none_found(o);
        goto done;
    }
    if (options->strict && o->layout.skip_count > 0) {
        status = dg_fail(o->ctx, DG_EDATA, "%s: %s (--strict: nothing is skipped)", o->layout.skips[0].path,
                         o->layout.skips[0].reason);
        goto done;
    }
    o->count = o->layout.count;
    DG_TRY(dg_alloc(o->ctx, &o->candidates, o->count + 1, sizeof *o->candidates, "the list of images"));
    for (size_t i = 0; i < o->count; i++) {
        o->candidates[i].file = o->layout.samples[i].file;
        o->candidates[i].label = o->layout.samples[i].label;
    }
    atomic_store(&o->first_bad, (int64_t)o->count);
    o->progress_total =
        (int64_t)o->count * (1 + (options->probe_only ? options->look_at > 0 : 1 + options->auto_window));
done:
    return status;
}

static dg_status note_values(opening *o) {
    dg_status status = DG_OK;
    dg_valued_image *images = NULL;
    dg_window window;
    (void)dg_dataset_window(o->dataset, &window.lo, &window.hi);
    if (window.lo == window.hi)
        DG_TRY(dg_own_scale_note(o->ctx, o->candidates, o->count, &o->layout));
    DG_TRY(dg_alloc(o->ctx, &images, o->count + 1, sizeof *images, "the images' values"));
    for (size_t i = 0; i < o->count; i++) {
        const dg_candidate *c = &o->candidates[i];
        images[i] = (dg_valued_image){
            .path = o->dataset->tree.files[c->file].path, .values = c->bad ? NULL : &c->values, .alpha = c->info.alpha};
    }
    DG_TRY(dg_values_note(o->ctx, o->values, images, o->count, window, &o->own, &o->layout));
done:
    free(images);
    return status;
}

static dg_status none_readable(opening *o) {
    const dg_dataset_report *report = &o->dataset->report;
    if (report->skips_kept == 0)
        return dg_fail(o->ctx, DG_EDATA, "%s: none of its %lld images can be used: %s", o->options->path,
                       (long long)report->fallen, report->fall_count ? report->falls[0].reason : "?");
    return dg_fail(o->ctx, DG_EDATA, "%s: none of its %lld images can be used; the first, %s: %s", o->options->path,
                   (long long)report->fallen, report->skips[0].path, report->skips[0].reason);
}

static dg_status check_options(dg_ctx *ctx, const dg_dataset_options *options) {
    dg_colour colour;
    if (!options->path || !*options->path)
        return dg_fail(ctx, DG_EUSAGE, "no data set given; a folder of images is expected");
    if (options->resolution < 0 || options->resolution > 4096 || (options->resolution > 0 && options->resolution < 4))
        return dg_fail(ctx, DG_EUSAGE, "resolution %d; 4..4096 is expected", options->resolution);
    if (options->channels != 0 && options->channels != 1 && options->channels != 3)
        return dg_fail(ctx, DG_EUSAGE, "%d channels; auto, 1 or 3 is expected", options->channels);
    if (options->background && !dg_colour_parse(options->background, &colour))
        return dg_fail(ctx, DG_EUSAGE, "background %s: %s is expected", options->background, DG_COLOUR_NAMES);
    return DG_OK;
}

dg_status dg_dataset_open(dg_ctx *ctx, const dg_dataset_options *options, dg_dataset **out) {
    dg_status status = DG_OK;
    opening o = {.ctx = ctx, .options = options};
    DG_TRY(check_options(ctx, options));
    DG_TRY(dg_alloc(ctx, &o.dataset, 1, sizeof *o.dataset, "a data set"));
    o.dataset->probe_only = options->probe_only && options->look_at == 0;
    o.dataset->decode = (dg_decode_options){.max_pixels = options->max_pixels,
                                            .background = &o.dataset->spec.background,
                                            .window = options->window && options->window_lo != options->window_hi,
                                            .window_lo = options->window_lo,
                                            .window_hi = options->window_hi};
    o.dataset->spec.background = (dg_colour){255, 255, 255};
    if (options->background)
        (void)dg_colour_parse(options->background, &o.dataset->spec.background); /* check_options has seen to it */
    DG_TRY(begin(&o));
    DG_TRY(for_all(&o, probe_one));
    DG_TRY(settle_spec(&o));
    if (!o.dataset->probe_only)
        DG_TRY(decode_all(&o));
    DG_TRY(dg_dataset_assemble(ctx, o.dataset, &o.layout, o.candidates, o.count));
    if (!o.dataset->probe_only)
        DG_TRY(note_values(&o));
    DG_TRY(dg_dataset_fill_report(ctx, o.dataset, &o.layout, o.candidates, o.count, options));
    if (o.dataset->count == 0) {
        status = none_readable(&o);
        goto done;
    }
    o.dataset->cache = o.cache;
    o.cache = NULL;
    if (o.dataset->cache || o.dataset->probe_only)
        dg_tree_drop_held(&o.dataset->tree);
    *out = o.dataset;
    o.dataset = NULL;
done:
    for (size_t i = 0; i < o.count && o.candidates; i++)
        free(o.candidates[i].reason);
    free(o.candidates);
    free(o.cache);
    dg_values_free(o.values);
    dg_layout_free(&o.layout);
    dg_dataset_free(o.dataset);
    return status;
}
