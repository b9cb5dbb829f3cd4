/* Membership scores of images under a diffusion model: higher speaks for a training image. Internal to the audit room.
 *
 * With abar_t the noise schedule of T steps, e(x, t) the model's estimate of the noise in x at step t, and x0 the image
 * in [-1,1]; the published steps for T = 1000 are scaled to other T:
 *   loss   -mean over K noises n of |n - e(sqrt(abar_t) x0 + sqrt(1-abar_t) n, t)|^2 / d, t = 100; the same K noises
 * for every image (Yeom et al. 2018; Carlini et al. 2023, sec. 4) secmi  -|x_t - x~_t|^2: x_t by deterministic DDIM
 * from x0 in steps of 10 up to t = 100; x~_t by one such step further and back (Duan et al. 2023, SecMI_stat) pia -|e0
 * - e(sqrt(abar_t) x0 + sqrt(1-abar_t) e0, t)|_4^4, e0 = e(x0, 0), t = 200 (Kong et al. 2024) sima   -|e(x0, t)|_4 of
 * the clean image, t = 100 (Rao et al. 2025) One query of the network each: K + 12 + 2 + 1. */
#ifndef DG_AUDIT_ATTACK_H
#define DG_AUDIT_ATTACK_H

#include "data/image_set.h"
#include "sample/model.h"

typedef enum dg_attack { DG_ATTACK_LOSS, DG_ATTACK_SECMI, DG_ATTACK_PIA, DG_ATTACK_SIMA, DG_ATTACKS } dg_attack;

/* An image to score: its pixels, and the row of the model's class table. */
typedef struct dg_attack_image {
    const dg_image_set *set;
    int64_t image;
    int32_t label;
} dg_attack_image;

typedef struct dg_attack_options {
    int64_t noises; /* K */
    uint64_t seed;
    bool loss_only;
    void (*progress)(void *user, int64_t images); /* on the calling thread, images just done */
    void *user;
} dg_attack_options;

/* scores [DG_ATTACKS][count]; those that are not wanted stay as they are. The network is made for this call and runs on
 * the model's device.
 * err   DG_EDEVICE, DG_EINTERRUPTED, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_attack_run(dg_ctx *ctx, const dg_sample_model *model, const dg_attack_image *images,
                                      int64_t count, const dg_attack_options *options, double *scores[DG_ATTACKS]);

#endif
