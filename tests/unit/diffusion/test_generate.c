/* Drawing: an image is the same bytes in any company, order and number of lanes; guidance and given noise do what they
 * say. */
#include "support/test_main.h"

#include "core/philox.h"
#include "diffusion/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, CHANNELS = 2, ELEMENTS = SIZE * SIZE * CHANNELS, IMAGES = 7, CLASSES = 3 };

typedef struct fixture {
    dg_ctx *ctx;
    dg_unet_config config;
    dg_scheduler_config scheduler;
    dg_noise_schedule schedule;
    dg_params params;
    float *weights;
} fixture;

static void open_fixture(fixture *f) {
    memset(f, 0, sizeof *f);
    f->ctx = dg_test_context();
    dg_unet_config_defaults(&f->config);
    f->config.levels = 2;
    f->config.channels[0] = 16, f->config.channels[1] = 32;
    f->config.down[0] = DG_BLOCK_PLAIN, f->config.down[1] = DG_BLOCK_ATTN;
    f->config.up[0] = DG_BLOCK_ATTN, f->config.up[1] = DG_BLOCK_PLAIN;
    f->config.layers_per_block = 1;
    f->config.norm_num_groups = 8;
    f->config.in_channels = f->config.out_channels = CHANNELS;
    f->config.time_embedding_dim = 32;
    f->config.class_embed = DG_CLASS_TABLE;
    f->config.num_class_embeds = CLASSES + 1;
    f->config.null_class = CLASSES;
    DG_CK(f->ctx, dg_params_list(f->ctx, &f->config, &f->params));
    f->weights = malloc((size_t)f->params.total * sizeof(float));
    dg_params_init(&f->params, 9, f->weights);
    dg_scheduler_config_defaults(&f->scheduler);
    DG_CK(f->ctx, dg_noise_schedule_create(f->ctx, &f->scheduler, &f->schedule));
}

static void close_fixture(fixture *f) {
    dg_noise_schedule_free(&f->schedule);
    dg_scheduler_config_free(&f->scheduler);
    dg_params_free(&f->params);
    free(f->weights);
    dg_ctx_free(f->ctx);
}

static dg_status keep(void *user, int thread, int64_t index, const void *image) {
    (void)thread;
    memcpy((float *)user + index * ELEMENTS, image, ELEMENTS * sizeof(float));
    return DG_OK;
}

typedef struct request {
    dg_sampler_kind kind;
    double eta, guidance;
    int lanes;
    const dg_generate_image *images;
    int64_t count;
} request;

static dg_status draw(fixture *f, const request *r, float *out) {
    dg_sampler sampler = {0};
    dg_generator *generator = NULL;
    const dg_sampler_options options = {.kind = r->kind, .steps = 4, .eta = r->eta, .churn = 4};
    DG_CK(f->ctx, dg_sampler_create(f->ctx, &options, &f->scheduler, &f->schedule, &sampler));
    DG_CK(f->ctx, dg_generator_create(
                      f->ctx, &f->config,
                      &(dg_generator_options){.backend = dg_backend_cpu(), .h = SIZE, .w = SIZE, .lanes = r->lanes},
                      &generator));
    DG_CK(f->ctx, dg_generator_allocate(generator));
    DG_CK(f->ctx, dg_generator_set_weights(generator, f->weights));
    const dg_generate_job job = {.sampler = &sampler,
                                 .guidance = r->guidance,
                                 .seed = 4,
                                 .images = r->images,
                                 .count = r->count,
                                 .done = keep,
                                 .user = out};
    const dg_status status = dg_generate(generator, &job);
    dg_generator_free(generator);
    dg_sampler_free(&sampler);
    return status;
}

static void list_images(dg_generate_image images[IMAGES]) {
    for (int i = 0; i < IMAGES; i++)
        images[i] = (dg_generate_image){.number = (uint64_t)(100 + i), .label = i % CLASSES};
}

START_TEST(test_company_and_lanes_change_nothing) {
    const dg_sampler_kind kinds[] = {DG_SAMPLER_DDPM, DG_SAMPLER_DDIM, DG_SAMPLER_DPMSOLVER, DG_SAMPLER_CHURN};
    fixture f;
    open_fixture(&f);
    dg_generate_image images[IMAGES];
    float together[IMAGES * ELEMENTS], alone[ELEMENTS];
    list_images(images);
    const request all = {kinds[_i], 1, 2, 1, images, IMAGES};
    DG_CK(f.ctx, draw(&f, &all, together));
    for (int i = 0; i < IMAGES; i++) {
        const request one = {kinds[_i], 1, 2, 1 + i % 3, &images[i], 1};
        DG_CK(f.ctx, draw(&f, &one, alone));
        ck_assert_msg(memcmp(alone, together + i * ELEMENTS, sizeof alone) == 0, "image %d differs", i);
        for (int k = 0; k < ELEMENTS; k++)
            ck_assert(isfinite(alone[k]));
    }
    close_fixture(&f);
}
END_TEST

START_TEST(test_class_and_number_matter) {
    fixture f;
    open_fixture(&f);
    const dg_generate_image images[3] = {
        {.number = 1, .label = 0}, {.number = 1, .label = 1}, {.number = 2, .label = 0}};
    float out[3 * ELEMENTS];
    const request r = {DG_SAMPLER_DDIM, 0, 1, 2, images, 3};
    DG_CK(f.ctx, draw(&f, &r, out));
    ck_assert(memcmp(out, out + ELEMENTS, ELEMENTS * sizeof(float)) != 0);
    ck_assert(memcmp(out, out + 2 * ELEMENTS, ELEMENTS * sizeof(float)) != 0);
    close_fixture(&f);
}
END_TEST

/* Noise given as (C,H,W) equal to what would have been drawn gives the same image. */
START_TEST(test_given_noise) {
    fixture f;
    open_fixture(&f);
    const dg_random random = {.seed = 4, .image = 100, .purpose = DG_PURPOSE_SAMPLE};
    float drawn[ELEMENTS], planes[ELEMENTS], plain[ELEMENTS], given[ELEMENTS];
    dg_random_normal(&random, 0, ELEMENTS, drawn);
    for (int p = 0; p < SIZE * SIZE; p++)
        for (int c = 0; c < CHANNELS; c++)
            planes[c * SIZE * SIZE + p] = drawn[p * CHANNELS + c];
    const dg_generate_image image = {.number = 100}, with_noise = {.number = 100, .noise = planes};
    request r = {DG_SAMPLER_DDIM, 0, 1, 1, &image, 1};
    DG_CK(f.ctx, draw(&f, &r, plain));
    r.images = &with_noise;
    DG_CK(f.ctx, draw(&f, &r, given));
    ck_assert(memcmp(plain, given, sizeof plain) == 0);
    planes[3] += 0.5f;
    DG_CK(f.ctx, draw(&f, &r, given));
    ck_assert(memcmp(plain, given, sizeof plain) != 0);
    close_fixture(&f);
}
END_TEST

START_TEST(test_refusals) {
    fixture f;
    open_fixture(&f);
    float out[ELEMENTS];
    const dg_generate_image image = {.number = 0, .label = CLASSES + 1};
    request r = {DG_SAMPLER_DDIM, 0, 1, 1, &image, 1};
    ck_assert_int_eq(draw(&f, &r, out), DG_EINVAL);
    ck_assert_ptr_nonnull(strstr(dg_last_error(f.ctx), "class label 4"));
    dg_ctx_clear_error(f.ctx);
    f.config.null_class = -1;
    const dg_generate_image fine = {.number = 0};
    r = (request){DG_SAMPLER_DDIM, 0, 2, 1, &fine, 1};
    ck_assert_int_eq(draw(&f, &r, out), DG_EINVAL);
    ck_assert_ptr_nonnull(strstr(dg_last_error(f.ctx), "null class"));
    dg_ctx_request_stop(f.ctx);
    r.guidance = 1;
    ck_assert_int_eq(draw(&f, &r, out), DG_EINTERRUPTED);
    close_fixture(&f);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("generate");
    TCase *tests = tcase_create("generate");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, test_company_and_lanes_change_nothing, 0, 4);
    tcase_add_test(tests, test_class_and_number_matter);
    tcase_add_test(tests, test_given_noise);
    tcase_add_test(tests, test_refusals);
    suite_add_tcase(suite, tests);
    return suite;
}
