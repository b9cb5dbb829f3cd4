/* The public calls that need no job: options by name, the version. */
#include "sample/sample.h"
#include "train/train.h"

#include <diffgen/diffgen.h>
#include <stdlib.h>

const char *dg_version(void) {
    return DIFFGEN_VERSION;
}

static dg_status create(dg_ctx *ctx, const dg_option_table *table, void **out) {
    void *options = NULL;
    dg_status status = DG_OK;
    DG_TRY(dg_alloc(ctx, &options, 1, table->struct_size, "options"));
    DG_TRY(dg_options_init(ctx, table, options));
    *out = options;
    options = NULL;
done:
    free(options);
    return status;
}

dg_status dg_train_options_create(dg_ctx *ctx, dg_train_options **out) {
    void *options = NULL;
    dg_status status = create(ctx, &dg_train_option_table, &options);
    *out = options;
    return status;
}

dg_status dg_train_options_set(dg_ctx *ctx, dg_train_options *options, const char *name, const char *text) {
    return dg_options_set(ctx, &dg_train_option_table, options, name, text);
}

void dg_train_options_free(dg_train_options *options) {
    dg_options_free(&dg_train_option_table, options);
    free(options);
}

dg_status dg_sample_options_create(dg_ctx *ctx, dg_sample_options **out) {
    void *options = NULL;
    dg_status status = create(ctx, &dg_sample_option_table, &options);
    *out = options;
    return status;
}

dg_status dg_sample_options_set(dg_ctx *ctx, dg_sample_options *options, const char *name, const char *text) {
    return dg_options_set(ctx, &dg_sample_option_table, options, name, text);
}

void dg_sample_options_free(dg_sample_options *options) {
    dg_options_free(&dg_sample_option_table, options);
    free(options);
}
