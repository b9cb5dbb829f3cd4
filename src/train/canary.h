/* Canaries: units that do not exist, planted to see what a private run gives away of a unit. Each was planted or not by
 * a secret coin; a planted one takes part in steps by the same Poisson sampling as everybody, its gradient goes through
 * the same clipping factor, and it points along a weight of its own. Who sees the noisy sums adds up how much more
 * likely what happened to that weight is if the canary was planted, and guesses from it (privacy/audit.h). It is the
 * strongest attack there is on a unit that nothing is known to cover for: what it finds comes close to what is proven,
 * unless something is wrong. Private to the room.
 *
 * Order: dg_canaries_create -> _flip, or _from_json -> per step: _draw; then on parts of the sum, from any threads:
 * _add, the noise, _watch -> _judge -> _free.
 * ref  Steinke, Nasr, Jagielski 2023, sec. 6 (Dirac canaries); Nasr et al. 2023 */
#ifndef DG_TRAIN_CANARY_H
#define DG_TRAIN_CANARY_H

#include "core/json.h"
#include "nn/params.h"
#include "privacy/audit.h"
#include "privacy/integer_noise.h"

typedef struct dg_canaries {
    int64_t count;
    int64_t *places;  /* [count] elements of the whole gradient, ascending: where from follows from the seed */
    uint8_t *planted; /* [count] the coins */
    uint8_t *present; /* [count] in this step */
    int64_t *chosen;  /* [count] scratch */
    double *scores;   /* [count] log likelihood ratios of what happened to their weights */
    double sample_rate, noise_std;
    double contribution; /* of one that is present: what clipping leaves of its gradient */
} dg_canaries;

/* in    clip, sample_rate, noise_std  max_norm and gamma, the rate and the noise on the sum, as the run's; params its
 *       layout
 * err   DG_EUSAGE more canaries than weights; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_canaries_create(dg_ctx *ctx, const dg_params *params, const dg_clip_desc *clip,
                                           double sample_rate, double noise_std, int64_t count, uint64_t seed,
                                           dg_canaries **out);
void dg_canaries_free(dg_canaries *canaries); /* NULL is legal */
/* Once, at a position of the stream that nothing else uses. */
DG_MUST_CHECK dg_status dg_canaries_flip(dg_ctx *ctx, dg_canaries *canaries, const dg_secure_random *random);
/* Coins and scores, for a checkpoint. NULL: no memory; err DG_EDATA not of so many canaries */
json_t *dg_canaries_to_json(const dg_canaries *canaries);
DG_MUST_CHECK dg_status dg_canaries_from_json(dg_ctx *ctx, const json_t *json, dg_canaries *canaries);
/* Who takes part in the step that the stream is at; the draw is not used for anybody else. */
void dg_canaries_draw(dg_canaries *canaries, const dg_secure_random *random);
/* On elements first.. of the sum of clipped gradients. */
void dg_canaries_add(const dg_canaries *canaries, int64_t first, int64_t count, float *sum);
void dg_canaries_watch(dg_canaries *canaries, int64_t first, int64_t count, const float *noisy);
/* The same on the integer grid. */
void dg_canaries_add_integers(const dg_canaries *canaries, const dg_grid *grid, int64_t first, int64_t count,
                              int64_t *sum);
void dg_canaries_watch_integers(dg_canaries *canaries, const dg_grid *grid, int64_t first, int64_t count,
                                const int64_t *noisy);
/* At 95 % confidence. */
DG_MUST_CHECK dg_status dg_canaries_judge(dg_ctx *ctx, const dg_canaries *canaries, double delta,
                                          dg_one_run_audit *out);

#endif
