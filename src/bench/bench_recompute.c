/* What --recompute costs and saves: steps that keep the forward pass's values and steps that compute them again take
 * turns. */
#include "bench/bench_internal.h"
#include "train/plan.h"

enum { KEPT, AGAIN, KINDS };

dg_status dg_bench_recompute(dg_bench *b, json_t **section) {
    dg_status status = DG_OK;
    dg_bench_contender of[KINDS] = {0};
    double activations[KINDS];
    int rounds;
    for (int kind = 0; kind < KINDS; kind++) {
        const dg_stepper_options options = dg_bench_stepper_options(b, kind == AGAIN);
        of[kind].images = b->batch;
        of[kind].grad_scale = 1;
        DG_TRY(dg_bench_create_stepper(b, &options, &of[kind].stepper));
        activations[kind] = (double)dg_stepper_activation_bytes(of[kind].stepper);
    }
    DG_TRY(dg_bench_contest(b, of, KINDS, &rounds));
    const size_t kept = dg_stepper_bytes(of[KEPT].stepper), again = dg_stepper_bytes(of[AGAIN].stepper);
    *section =
        json_pack("{s:i, s:f, s:f, s:f, s:I, s:I, s:f, s:I, s:I}", "rounds", rounds, "step_ms", of[AGAIN].step_ms,
                  "ordinary_step_ms", of[KEPT].step_ms, "time_ratio", of[AGAIN].step_ms / of[KEPT].step_ms,
                  "activation_bytes", (json_int_t)activations[AGAIN], "ordinary_activation_bytes",
                  (json_int_t)activations[KEPT], "activation_ratio", activations[AGAIN] / activations[KEPT],
                  "planned_bytes", (json_int_t)again, "ordinary_planned_bytes", (json_int_t)kept);
done:
    for (int kind = 0; kind < KINDS; kind++)
        dg_stepper_free(of[kind].stepper);
    return status;
}
