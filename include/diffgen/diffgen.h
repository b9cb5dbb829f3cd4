/* diffgen: train diffusion models on folders of images and draw labelled synthetic images, from C and C++.
 *
 *     dg_ctx *ctx = NULL;
 *     dg_train_options *options = NULL;
 *     dg_train_result result = {0};
 *     if (dg_ctx_create(&ctx) == DG_OK && dg_train_options_create(ctx, &options) == DG_OK &&
 *         dg_train_options_set(ctx, options, "images", "faces/") == DG_OK &&
 *         dg_train_options_set(ctx, options, "time-limit", "2h") == DG_OK &&
 *         dg_train_run(ctx, options, NULL, &result) == DG_OK)
 *         puts(result.model_folder);
 *     else
 *         fprintf(stderr, "%s\n", dg_last_error(ctx));
 *     dg_train_result_free(&result);
 *     dg_train_options_free(options);
 *     dg_ctx_free(ctx);
 *
 * Nothing prints, exits or keeps global state; every failure is a status with a text at dg_last_error. */
#ifndef DIFFGEN_DIFFGEN_H
#define DIFFGEN_DIFFGEN_H

#include <diffgen/context.h>
#include <diffgen/model.h>
#include <diffgen/sample.h>
#include <diffgen/status.h>
#include <diffgen/train.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "0.1.0" */
const char *dg_version(void);

#ifdef __cplusplus
}
#endif

#endif
