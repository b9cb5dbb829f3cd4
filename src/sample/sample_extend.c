/* A folder that holds images of the same job already: what a call with other numbers makes of it. */
#include "core/fs.h"
#include "sample/sampling.h"

#include <stdlib.h>
#include <string.h>

/* The plan alone may differ; everything else decides the bytes of each image. */
static dg_status compare_but_for_plan(dg_ctx *ctx, const json_t *a, const json_t *b, bool *same) {
    json_t *x = dg_json_copy(a), *y = dg_json_copy(b);
    const dg_status status = x && y ? DG_OK : dg_fail(ctx, DG_ENOMEM, "no memory for the output folder");
    dg_output_strip_plan(x);
    dg_output_strip_plan(y);
    *same = json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return status;
}

/* out *earlier the options of the job that the folder was made by; NULL: there is none that could be added to */
static dg_status read_earlier(dg_sampling *s, const json_t *wanted, json_t **earlier) {
    dg_status status = DG_OK;
    dg_manifest there = {0};
    char *path = dg_fs_join(s->out, "job.json");
    bool same = false;
    *earlier = NULL;
    if (!path)
        DG_TRY(dg_fail(s->ctx, DG_ENOMEM, "no memory for the output folder"));
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_manifest_load(s->ctx, path, &there));
    DG_TRY(compare_but_for_plan(s->ctx, there.options, wanted, &same));
    if (same && strcmp(there.model_sha256, s->model.sha256) == 0)
        *earlier = json_incref(there.options);
done:
    dg_manifest_free(&there);
    free(path);
    return status;
}

static dg_status refuse(const dg_sampling *s, const dg_spans *there) {
    return dg_fail(
        s->ctx, DG_ECREATE,
        "%s holds %lld images of a set that counts its images through all classes: in a set of another size "
        "they would be others. Draw the other set into another --out, or add to a class with --class NAME and "
        "--seeds, or remove the folder",
        s->out, (long long)dg_spans_images(there));
}

static int64_t first_of(const dg_sampling *s) {
    return s->options->seeds.set ? s->options->seeds.first : 0;
}

/* Row k of --noise is of the k-th image of a plan: two plans give an image the same row only if they begin alike. */
static bool same_rows(const dg_sampling *s, const json_t *earlier) {
    const json_t *first = json_object_get(earlier, "first_image");
    return !s->noise || (json_is_integer(first) && json_integer_value(first) == first_of(s));
}

/* Position of an image in this call's plan; false: it is not in it. */
static bool find_in_plan(const dg_sampling *s, int64_t class_index, int64_t number, int64_t *part, int64_t *i) {
    int64_t first = first_of(s);
    for (int64_t p = 0; p < s->num_parts; first += s->parts[p++].images)
        if (s->parts[p].class_index == class_index && number >= first && number < first + s->parts[p].images) {
            *part = p;
            *i = number - first;
            return true;
        }
    return false;
}

/* The shard's part of all the images that the folder is to hold, instead of this call's alone. */
static dg_status replan(dg_sampling *s, const dg_spans *all) {
    dg_status status = DG_OK;
    int64_t index = 0;
    free(s->images);
    s->images = NULL;
    s->count = 0;
    DG_TRY(dg_alloc(s->ctx, &s->images, (size_t)(dg_spans_images(all) / s->shards + 1), sizeof *s->images,
                    "the list of images"));
    for (int64_t k = 0; k < all->count; k++)
        for (int64_t number = all->list[k].first; number <= all->list[k].last; number++, index++) {
            int64_t part, i;
            if (index % s->shards != s->shard)
                continue;
            dg_planned_image *image = &s->images[s->count++];
            *image = (dg_planned_image){.class_index = all->list[k].class_index,
                                        .number = number,
                                        .noise = number - first_of(s),
                                        .grid_cell = -1};
            if (s->noise && image->noise >= s->noise_rows)
                DG_TRY(dg_fail(s->ctx, DG_EDATA, "%s: its job.json asks for more images than --noise %s has", s->out,
                               s->options->noise));
            if (find_in_plan(s, image->class_index, number, &part, &i))
                image->grid_cell = dg_sampling_grid_cell(s, part, i);
        }
done:
    return status;
}

/* The options of a job for all images together. */
static dg_status unite_options(dg_sampling *s, const dg_spans *all, json_t **options) {
    json_t *copy = dg_json_copy(*options);
    dg_output_strip_plan(copy);
    const dg_status status =
        copy ? dg_spans_to_json(s->ctx, all, copy) : dg_fail(s->ctx, DG_ENOMEM, "no memory for the output folder");
    json_decref(*options);
    *options = copy;
    return status;
}

/* The folder's plan is the larger one. Whether all of it was drawn is another matter: a call for it may have ended
 * early. */
static dg_status say_what_stays(const dg_sampling *s, const dg_spans *all, const dg_spans *wanted) {
    char *mark = dg_fs_join(s->out, "DONE");
    const long long asked = dg_spans_images(wanted), more = dg_spans_images(all) - asked;
    if (!mark)
        return dg_fail(s->ctx, DG_ENOMEM, "no memory for the output folder");
    if (dg_fs_is_file(mark))
        dg_log(s->ctx, DG_LOG_INFO, "%s holds the %lld images asked for and %lld more, which stay", s->out, asked,
               more);
    else
        dg_log(s->ctx, DG_LOG_INFO, "%s was begun for the %lld images asked for and %lld more: it is finished", s->out,
               asked, more);
    free(mark);
    return DG_OK;
}

dg_status dg_sampling_extend(dg_sampling *s, json_t **options, json_t **earlier) {
    dg_status status = DG_OK;
    dg_spans there = {0}, wanted = {0}, all = {0};
    DG_TRY(read_earlier(s, *options, earlier));
    if (*earlier && !same_rows(s, *earlier)) {
        json_decref(*earlier);
        *earlier = NULL;
    }
    if (!*earlier || json_equal(*earlier, *options))
        goto done;
    DG_TRY(dg_spans_from_json(s->ctx, s->out, *earlier, &there));
    DG_TRY(dg_spans_of_parts(s->ctx, s->parts, s->num_parts, first_of(s), &wanted));
    if (!dg_spans_fit(&there, &wanted, s->options->seeds.set))
        DG_TRY(refuse(s, &there));
    DG_TRY(dg_spans_unite(s->ctx, &there, &wanted, &all));
    if (dg_spans_hold_all(&wanted, &all))
        goto done; /* this call's plan is all there will be */
    if (dg_spans_hold_all(&there, &all)) {
        json_decref(*options);
        *options = json_incref(*earlier);
        DG_TRY(say_what_stays(s, &all, &wanted));
    } else {
        DG_TRY(unite_options(s, &all, options));
    }
    DG_TRY(replan(s, &all));
done:
    dg_spans_free(&there);
    dg_spans_free(&wanted);
    dg_spans_free(&all);
    return status;
}
