/* A sampling job while it runs, shared by the files of this room that look after it. Private to the room. */
#ifndef DG_SAMPLE_SAMPLING_H
#define DG_SAMPLE_SAMPLING_H

#include "comm/comm.h"
#include "io/output.h"
#include "io/run_folder.h"
#include "sample/model.h"
#include "sample/sample.h"
#include "sample/sample_spans.h"

/* One image of the run. */
typedef struct dg_planned_image {
    int64_t class_index; /* -1: unconditional */
    int64_t number;
    int64_t noise;     /* row of --noise */
    int64_t grid_cell; /* -1: not on the sheet */
    bool there;        /* written by an earlier call */
} dg_planned_image;

typedef struct dg_sampling {
    dg_ctx *ctx;
    dg_comm *comm; /* NULL = one rank */
    const dg_sample_options *options;
    const dg_sample_events *events;
    dg_sample_model model;
    dg_sampler sampler;
    const char *sampler_name;
    int64_t shard, shards;    /* this rank draws every shards-th image */
    dg_planned_image *images; /* of this shard */
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
    dg_planned_image **todo;
    dg_generate_image *requests;
    int64_t todo_count;
    _Atomic int64_t done;
    int64_t reported;
    double started;
} dg_sampling;

/* Of an image, in all channels. */
size_t dg_sampling_elements(const dg_sampling *sampling);

/* sample_extend.c: where the folder holds images of the same job already, this call's are added to them.
 * in    *options of this call's job, a reference that is replaced by those of the job for all images together
 * out   *earlier what the folder has now, a new reference; NULL: nothing that could be added to. s->images are all
 *       images the folder is to hold
 * err   DG_ECREATE images of several classes that the other plan numbers otherwise; DG_EDATA, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_sampling_extend(dg_sampling *sampling, json_t **options, json_t **earlier);

/* sample_grid.c: the sheet of the first images of each class. */

/* Its size; after the parts are known. */
void dg_sampling_plan_grid(dg_sampling *sampling);
/* The cell of image i of a part, -1 = none. */
int64_t dg_sampling_grid_cell(const dg_sampling *sampling, int64_t part, int64_t i);
/* Writes the sheet; with several ranks a collective that brings their cells to rank 0.
 * out   *path malloc'ed, NULL if no sheet was asked for or another rank writes it
 * err   DG_ECREATE, DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_sampling_write_grid(dg_sampling *sampling, char **path);

#endif
