/* What a private step does besides an ordinary one. The gradients of an item's examples are made one beside the other
 * (DG_GRAD_EXAMPLES), and what is clipped is the very array that is added up: whatever rounding went on before, no
 * example moves the sum by more than max_grad_norm. An item is as many examples as fit in a pass, or one example whose
 * copies take several passes; so memory holds an item's gradients, never a batch's.
 *
 * Storing a gradient and reading it again costs a GPU more than making it twice, where an example is one image. There
 * the backward leaves the norms alone, and what clipping lets through is added up from what was kept for that
 * (book-keeping). What ops.h promises of the two modes makes it the same bound. */
#include "nn/lanes.h"
#include "train/step_internal.h"

#include <math.h>
#include <string.h>

void dg_stepper_lay_out(dg_stepper *s) {
    const int64_t copies = s->options.privacy.copies;
    int64_t *micro = &s->options.micro_batch;
    s->passes = 1;
    s->pass_copies = copies ? copies : 1;
    if (copies > *micro) {
        while (copies % *micro)
            --*micro;
        s->pass_copies = *micro;
        s->passes = (int)(copies / *micro);
    }
    s->item_images = *micro / s->pass_copies;
    *micro = s->item_images * s->pass_copies;
}

/* ---- clipping ---- */

static size_t examples_bytes(const dg_stepper *s) {
    const size_t total = (size_t)dg_net_graph(s->net)->params.total;
    return s->item_images > 1 && !s->options.privacy.book_keeping ? (size_t)s->item_images * total * sizeof(float) : 0;
}

size_t dg_stepper_private_bytes(const dg_stepper *s) {
    if (!s->options.privacy.copies)
        return 0;
    return examples_bytes(s) + sizeof(double) + (size_t)s->item_images * (sizeof(double) + sizeof(float));
}

/* The gradients come first, for their alignment. */
dg_status dg_stepper_allocate_private(dg_stepper *s, dg_step_lane *lane) {
    dg_status status = DG_OK;
    DG_TRY(s->options.backend->alloc(s->ctx, dg_stepper_private_bytes(s), "the gradients of examples",
                                     &lane->private_memory));
    lane->examples = examples_bytes(s) ? lane->private_memory : NULL;
    lane->sqnorms = (double *)((char *)lane->private_memory + examples_bytes(s));
    lane->left_out = lane->sqnorms + s->item_images;
    lane->example_weight = (float *)(lane->left_out + 1);
done:
    return status;
}

/* From squared norms to what each of the `present` examples counts for. */
static dg_status clip(dg_stepper *s, int lane, int64_t present) {
    const dg_step_privacy *privacy = &s->options.privacy;
    const dg_step_lane *l = &s->lanes[lane];
    const dg_clip_desc desc = {.examples = present, .max_norm = privacy->max_grad_norm, .gamma = privacy->clip_gamma};
    return s->options.backend->ops->clip_weights(dg_net_lane(s->net, lane)->exec, &desc, l->sqnorms, s->item_images,
                                                 l->example_weight, l->left_out);
}

static dg_status backward_twice(dg_stepper *s, int lane, int64_t present) {
    dg_status status = DG_OK;
    const dg_step_lane *l = &s->lanes[lane];
    float *sum = dg_grad_sum_lane(s->grad, lane);
    const dg_param_grad norms = {.mode = DG_GRAD_SQNORMS, .sqnorms = l->sqnorms},
                        weighted = {.mode = DG_GRAD_WEIGHTED, .example_weight = l->example_weight};
    DG_TRY(dg_net_backward(s->net, lane, s->optimiser.weights, &norms, sum));
    DG_TRY(clip(s, lane, present));
    DG_TRY(dg_net_backward_params(s->net, lane, &weighted, sum));
done:
    return status;
}

dg_status dg_stepper_private_backward(dg_stepper *s, int lane, int pass, int64_t present) {
    dg_status status = DG_OK;
    const dg_step_lane *l = &s->lanes[lane];
    const int64_t total = s->optimiser.total;
    float *sum = dg_grad_sum_lane(s->grad, lane), *examples = l->examples ? l->examples : sum;
    const bool last = pass == s->passes - 1;
    const dg_param_grad mode = {.mode = DG_GRAD_EXAMPLES,
                                .accumulate = pass > 0,
                                .copies = s->pass_copies,
                                .example_stride = total,
                                .sqnorms = last ? l->sqnorms : NULL};
    if (s->options.privacy.book_keeping)
        return backward_twice(s, lane, present);
    DG_TRY(dg_net_backward(s->net, lane, s->optimiser.weights, &mode, examples));
    if (!last)
        goto done;
    DG_TRY(clip(s, lane, present));
    if (s->options.privacy.grid)
        dg_stepper_grid_add(s, lane, present, l->example_weight, examples);
    else
        DG_TRY(s->options.backend->ops->sum_examples(dg_net_lane(s->net, lane)->exec, present, total, l->example_weight,
                                                     total, examples, sum));
done:
    return status;
}

dg_status dg_stepper_empty_sum(dg_stepper *s, float **grad) {
    *grad = dg_grad_sum_lane(s->grad, 0);
    return s->options.backend->ops->sum_examples(dg_net_lane(s->net, 0)->exec, 0, 0, s->lanes[0].example_weight,
                                                 s->optimiser.total, *grad, *grad);
}

dg_status dg_stepper_left_out(dg_stepper *s, int64_t *count) {
    dg_status status = DG_OK;
    *count = 0;
    for (int i = 0; s->options.privacy.copies && i < s->options.lanes; i++) {
        double left_out;
        dg_exec *exec = dg_net_lane(s->net, i)->exec;
        DG_TRY(s->options.backend->download(exec, &left_out, s->lanes[i].left_out, sizeof left_out));
        DG_TRY(s->options.backend->synchronise(exec));
        *count += (int64_t)left_out;
    }
done:
    return status;
}

/* ---- noise ---- */

/* Where the sum lies on a device, the host draws the noise while the device still computes, each number rounded to
 * float by itself, and the device adds it as it comes over the bus. */

typedef struct noise_job {
    const dg_stepper *stepper;
    int64_t step;
    float *sum;
    bool alone; /* the noise by itself, not added to anything */
} noise_job;

/* Only parameters get noise: what lies between them must stay zero. */
static dg_status add_to_param(void *user, int lane, int64_t item) {
    const noise_job *job = user;
    const dg_step_privacy *privacy = &job->stepper->options.privacy;
    const dg_param *param = &dg_net_graph(job->stepper->net)->params.list[item];
    float *to = job->sum + param->offset;
    (void)lane;
    if (job->alone)
        memset(to, 0, (size_t)param->count * sizeof *to);
    return privacy->add_noise(privacy->user, job->step, param->offset, param->count, to);
}

dg_status dg_stepper_allocate_noise(dg_stepper *s) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    const size_t bytes = (size_t)s->optimiser.total * sizeof(float);
    void *memory;
    if (backend->host_memory)
        return DG_OK;
    DG_TRY(backend->alloc_shared(s->ctx, bytes, "a step's noise", &memory));
    s->host_noise = memset(memory, 0, bytes);
    DG_TRY(backend->event_create(s->ctx, &s->noise_taken));
done:
    return status;
}

dg_status dg_stepper_add_noise(dg_stepper *s, int64_t step, float *grad) {
    dg_status status = DG_OK;
    const dg_backend *backend = s->options.backend;
    dg_exec *exec = dg_net_lane(s->net, 0)->exec;
    noise_job noise = {
        .stepper = s, .step = step, .sum = s->host_noise ? s->host_noise : grad, .alone = s->host_noise != NULL};
    const dg_lanes_job job = {.work = add_to_param, .user = &noise};
    if (noise.alone)
        DG_TRY(backend->event_wait(s->ctx, s->noise_taken));
    DG_TRY(dg_lanes_run(s->options.threads ? s->options.threads : s->options.lanes, dg_net_graph(s->net)->params.count,
                        &job));
    if (noise.alone) {
        DG_TRY(backend->ops->accumulate(exec, s->optimiser.total, s->host_noise, grad));
        DG_TRY(backend->event_record(exec, s->noise_taken));
    }
done:
    return status;
}
