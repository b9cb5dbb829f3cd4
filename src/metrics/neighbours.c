#include "metrics/neighbours.h"

#include "kernels/backend.h"
#include "metrics/frechet.h"
#include "nn/lanes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUERY_BLOCK = 256,
    REFERENCE_BLOCK = 1024,
    SPARE = 8, /* candidates kept beyond k, so that rounding cannot lose one of the k */
};

/* Bound on the rounding of a float product, relative to |q| |r|: generous, what it lets through is computed again. */
static const double product_error = 4e-6;

static void get_row(const void *user, int64_t i, float *out) {
    const dg_vectors *x = user;
    memcpy(out, dg_vectors_row(x, i), (size_t)x->d * sizeof *out);
}

dg_rows dg_rows_of_vectors(const dg_vectors *vectors) {
    return (dg_rows){.n = vectors->n, .d = vectors->d, .get = get_row, .user = vectors};
}

typedef struct candidate {
    float score; /* q.r - |r|^2/2: higher is nearer */
    int64_t index;
} candidate;

typedef struct lane_memory {
    dg_exec exec;
    float *queries, *scores; /* [QUERY_BLOCK,d], [QUERY_BLOCK,REFERENCE_BLOCK] */
    float *a, *b;            /* [d] two vectors for an exact distance */
    double *squares;         /* [QUERY_BLOCK] */
} lane_memory;

/* One search. Either `best` or `count` is wanted. */
typedef struct search {
    dg_ctx *ctx;
    const dg_backend *backend;
    const dg_rows *queries, *references;
    int lanes;
    bool self;
    float *centre; /* [d] subtracted from everything: smaller norms, less rounding */
    dg_plan *plan;
    void *packed;
    float *block, *bias;                   /* the references of the current block, and -|r|^2/2 */
    double block_squares[REFERENCE_BLOCK]; /* |r|^2 */
    int64_t first, rows;                   /* of the block */
    int kept;                              /* candidates per query */
    candidate *best;                       /* [n,kept] */
    const double *radius;
    bool closed;
    int64_t *count;
    lane_memory *memory;
} search;

static double exact_distance(const search *s, lane_memory *m, int64_t query, int64_t reference) {
    double sum = 0;
    s->queries->get(s->queries->user, query, m->a);
    s->references->get(s->references->user, reference, m->b);
    for (int64_t j = 0; j < s->queries->d; j++) {
        const double difference = (double)m->a[j] - (double)m->b[j];
        sum += difference * difference;
    }
    return sqrt(sum);
}

static double centred_row(const search *s, const dg_rows *rows, int64_t i, float *out) {
    double square = 0;
    rows->get(rows->user, i, out);
    for (int64_t j = 0; j < rows->d; j++) {
        out[j] -= s->centre[j];
        square += (double)out[j] * out[j];
    }
    return square;
}

/* ---- what is done with a row of scores ---- */

/* Keeps the best `kept`, sorted, the best first. */
static void keep_best(const search *s, int64_t query, const float *scores) {
    candidate *best = s->best + query * s->kept;
    for (int64_t j = 0; j < s->rows; j++) {
        if (!(scores[j] > best[s->kept - 1].score) || (s->self && s->first + j == query))
            continue;
        int at = s->kept - 1;
        for (; at > 0 && best[at - 1].score < scores[j]; at--)
            best[at] = best[at - 1];
        best[at] = (candidate){scores[j], s->first + j};
    }
}

static void count_balls(const search *s, lane_memory *m, int64_t query, double square, const float *scores) {
    for (int64_t j = 0; j < s->rows; j++) {
        const double r = s->radius[s->first + j], r2 = r * r, distance2 = square - 2 * (double)scores[j];
        const double margin = 2 * product_error * (square + s->block_squares[j]);
        bool inside = distance2 < r2;
        if (!(fabs(distance2 - r2) > margin)) {
            const double exact = exact_distance(s, m, query, s->first + j);
            inside = s->closed ? exact <= r : exact < r;
        }
        s->count[query] += inside;
    }
}

static dg_status search_block(void *user, int lane, int64_t item) {
    dg_status status = DG_OK;
    search *s = user;
    lane_memory *m = &s->memory[lane];
    const int64_t first = item * QUERY_BLOCK, left = s->queries->n - first, d = s->queries->d;
    const int64_t rows = left < QUERY_BLOCK ? left : QUERY_BLOCK;
    if (dg_ctx_stop_requested(s->ctx))
        DG_TRY(dg_fail(s->ctx, DG_EINTERRUPTED, "stopped while comparing images"));
    for (int64_t i = 0; i < rows; i++)
        m->squares[i] = centred_row(s, s->queries, first + i, m->queries + i * d);
    memset(m->queries + rows * d, 0, (size_t)((QUERY_BLOCK - rows) * d) * sizeof(float));
    const dg_tensor x = {.data = m->queries, .dtype = DG_F32, .dims = {QUERY_BLOCK, 1, 1, d}};
    const dg_tensor y = {.data = m->scores, .dtype = DG_F32, .dims = {QUERY_BLOCK, 1, 1, REFERENCE_BLOCK}};
    m->exec.lane = lane;
    DG_TRY(s->backend->ops->conv2d_fwd(&m->exec, s->plan, &x, s->packed, s->bias, NULL, &y));
    for (int64_t i = 0; i < rows; i++) {
        const float *scores = m->scores + i * REFERENCE_BLOCK;
        if (s->best)
            keep_best(s, first + i, scores);
        else
            count_balls(s, m, first + i, m->squares[i], scores);
    }
done:
    return status;
}

/* ---- the blocks of references ---- */

static dg_status load_references(search *s, int64_t first) {
    const int64_t d = s->references->d, left = s->references->n - first;
    s->first = first;
    s->rows = left < REFERENCE_BLOCK ? left : REFERENCE_BLOCK;
    memset(s->block, 0, (size_t)(REFERENCE_BLOCK * d) * sizeof(float));
    for (int64_t j = 0; j < REFERENCE_BLOCK; j++) {
        s->block_squares[j] = j < s->rows ? centred_row(s, s->references, first + j, s->block + j * d) : 0;
        s->bias[j] = (float)(-0.5 * s->block_squares[j]);
    }
    return s->backend->ops->conv2d_pack(&s->memory[0].exec, s->plan, s->block, s->packed);
}

static dg_status find_centre(search *s) {
    dg_status status = DG_OK;
    const int64_t d = s->references->d;
    double *sum = NULL;
    float *row = NULL;
    DG_TRY(dg_alloc(s->ctx, &s->centre, (size_t)d, sizeof(float), "a search for neighbours"));
    DG_TRY(dg_alloc(s->ctx, &sum, (size_t)d, sizeof *sum, "a search for neighbours"));
    DG_TRY(dg_alloc(s->ctx, &row, (size_t)d, sizeof *row, "a search for neighbours"));
    for (int64_t i = 0; i < s->references->n; i++) {
        s->references->get(s->references->user, i, row);
        for (int64_t j = 0; j < d; j++)
            sum[j] += row[j];
    }
    for (int64_t j = 0; j < d; j++)
        s->centre[j] = (float)(sum[j] / (double)s->references->n);
done:
    free(sum);
    free(row);
    return status;
}

static dg_status allocate(search *s) {
    dg_status status = DG_OK;
    const int64_t d = s->queries->d;
    dg_exec exec = {.ctx = s->ctx};
    const dg_conv2d_desc desc = {.n = QUERY_BLOCK,
                                 .h = 1,
                                 .w = 1,
                                 .in_c = d,
                                 .out_c = REFERENCE_BLOCK,
                                 .kernel = 1,
                                 .stride = 1,
                                 .bias = true,
                                 .lanes = s->lanes};
    if (s->references->d != d)
        DG_TRY(dg_fail(s->ctx, DG_EINVAL, "vectors of %lld and of %lld numbers cannot be compared", (long long)d,
                       (long long)s->references->d));
    DG_TRY(find_centre(s));
    DG_TRY(s->backend->ops->conv2d_plan(&exec, &desc, &s->plan));
    DG_TRY(s->backend->alloc(s->ctx, s->plan->packed_bytes, "a search for neighbours", &s->packed));
    DG_TRY(dg_alloc(s->ctx, &s->block, (size_t)(REFERENCE_BLOCK * d), sizeof(float), "a search for neighbours"));
    DG_TRY(dg_alloc(s->ctx, &s->bias, REFERENCE_BLOCK, sizeof(float), "a search for neighbours"));
    DG_TRY(dg_alloc(s->ctx, &s->memory, (size_t)s->lanes, sizeof *s->memory, "a search for neighbours"));
    for (int i = 0; i < s->lanes; i++) {
        lane_memory *m = &s->memory[i];
        void *aligned;
        DG_TRY(s->backend->exec_create(s->ctx, s->plan->workspace_bytes, &m->exec));
        DG_TRY(s->backend->alloc(s->ctx, (size_t)(QUERY_BLOCK * d) * sizeof(float), "queries", &aligned));
        m->queries = aligned;
        DG_TRY(s->backend->alloc(s->ctx, (size_t)QUERY_BLOCK * REFERENCE_BLOCK * sizeof(float), "scores", &aligned));
        m->scores = aligned;
        DG_TRY(dg_alloc(s->ctx, &m->a, (size_t)d, sizeof(float), "queries"));
        DG_TRY(dg_alloc(s->ctx, &m->b, (size_t)d, sizeof(float), "queries"));
        DG_TRY(dg_alloc(s->ctx, &m->squares, QUERY_BLOCK, sizeof(double), "queries"));
    }
done:
    return status;
}

static void free_search(search *s) {
    for (int i = 0; s->memory && i < s->lanes; i++) {
        lane_memory *m = &s->memory[i];
        s->backend->exec_free(&m->exec);
        s->backend->free(m->queries);
        s->backend->free(m->scores);
        free(m->a);
        free(m->b);
        free(m->squares);
    }
    free(s->memory);
    dg_plan_free(s->plan);
    s->backend->free(s->packed);
    free(s->block);
    free(s->bias);
    free(s->centre);
    free(s->best);
}

static dg_status run(search *s) {
    dg_status status = DG_OK;
    const dg_lanes_job job = {.work = search_block, .user = s};
    for (int64_t first = 0; first < s->references->n; first += REFERENCE_BLOCK) {
        DG_TRY(load_references(s, first));
        DG_TRY(dg_lanes_run(s->lanes, (s->queries->n + QUERY_BLOCK - 1) / QUERY_BLOCK, &job));
    }
done:
    return status;
}

/* ---- the k nearest ---- */

typedef struct near {
    double distance;
    int64_t index;
} near;

static int nearest_first(const void *a, const void *b) {
    const near *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

typedef struct refinement {
    search *s;
    int k;
    int64_t *index;
    double *distance;
} refinement;

/* Exact distances of a query's candidates; the first k of them. */
static dg_status refine(void *user, int lane, int64_t query) {
    const refinement *r = user;
    const search *s = r->s;
    near list[DG_NEIGHBOURS_MAX + SPARE];
    for (int i = 0; i < s->kept; i++) {
        const int64_t index = s->best[query * s->kept + i].index;
        list[i] = (near){index < 0 ? INFINITY : exact_distance(s, &s->memory[lane], query, index),
                         index < 0 ? INT64_MAX : index};
    }
    qsort(list, (size_t)s->kept, sizeof *list, nearest_first);
    for (int i = 0; i < r->k; i++) {
        if (r->index)
            r->index[query * r->k + i] = list[i].index == INT64_MAX ? -1 : list[i].index;
        if (r->distance)
            r->distance[query * r->k + i] = list[i].distance;
    }
    return DG_OK;
}

dg_status dg_neighbours_find(dg_ctx *ctx, int lanes, const dg_rows *queries, const dg_rows *references, int k,
                             bool self, int64_t *index, double *distance) {
    dg_status status = DG_OK;
    search s = {.ctx = ctx,
                .backend = dg_backend_cpu(),
                .queries = queries,
                .references = references,
                .lanes = lanes,
                .self = self,
                .kept = k + SPARE};
    DG_TRY(allocate(&s));
    DG_TRY(dg_alloc(ctx, &s.best, (size_t)(queries->n * s.kept) + 1, sizeof *s.best, "neighbours"));
    for (int64_t i = 0; i < queries->n * s.kept; i++)
        s.best[i] = (candidate){-INFINITY, -1};
    DG_TRY(run(&s));
    refinement r = {&s, k, index, distance};
    const dg_lanes_job job = {.work = refine, .user = &r};
    DG_TRY(dg_lanes_run(lanes, queries->n, &job));
done:
    free_search(&s);
    return status;
}

dg_status dg_neighbours_count_balls(dg_ctx *ctx, int lanes, const dg_rows *queries, const dg_rows *references,
                                    const double *radius, bool closed, int64_t *count) {
    dg_status status = DG_OK;
    search s = {.ctx = ctx,
                .backend = dg_backend_cpu(),
                .queries = queries,
                .references = references,
                .lanes = lanes,
                .radius = radius,
                .closed = closed,
                .count = count};
    memset(count, 0, (size_t)queries->n * sizeof *count);
    DG_TRY(allocate(&s));
    DG_TRY(run(&s));
done:
    free_search(&s);
    return status;
}
