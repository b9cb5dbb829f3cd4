/* .npz: what is written is read back, numpy's own file is read, and damage is refused. */
#include "core/fs.h"
#include "formats/npz.h"
#include "support/test_main.h"

#include <stdlib.h>
#include <string.h>

static dg_ctx *ctx;

static char *file(const char *name) {
    return dg_fs_join(dg_test_dir(), name);
}

START_TEST(round_trip) {
    ctx = dg_test_context();
    double mu[3] = {1, -2.5, 1e300}, sigma[9] = {1, 2, 3, 2, 5, 6, 3, 6, 9.25};
    char mu_name[] = "mu", sigma_name[] = "sigma", *path = file("a.npz"), *again = file("b.npz"), *bytes[2];
    size_t size[2];
    const dg_npz_array arrays[2] = {{.name = mu_name, .rank = 1, .dims = {3}, .count = 3, .data = mu},
                                    {.name = sigma_name, .rank = 2, .dims = {3, 3}, .count = 9, .data = sigma}};
    dg_npz npz;
    DG_CK(ctx, dg_npz_write(ctx, path, arrays, 2));
    DG_CK(ctx, dg_npz_read(ctx, path, &npz));
    ck_assert_int_eq(npz.count, 2);
    const dg_npz_array *m = dg_npz_find(&npz, "mu"), *s = dg_npz_find(&npz, "sigma");
    ck_assert(m && s && m->rank == 1 && s->rank == 2 && s->dims[1] == 3);
    ck_assert_mem_eq(m->data, mu, sizeof mu);
    ck_assert_mem_eq(s->data, sigma, sizeof sigma);
    ck_assert_ptr_null(dg_npz_find(&npz, "other"));
    dg_npz_free(&npz);
    DG_CK(ctx, dg_npz_write(ctx, again, arrays, 2));
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 20, &bytes[0], &size[0]));
    DG_CK(ctx, dg_fs_read_file(ctx, again, 1 << 20, &bytes[1], &size[1]));
    ck_assert(size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0);
    free(bytes[0]);
    free(bytes[1]);
    free(path);
    free(again);
}
END_TEST

/* numpy.savez_compressed(mu=arange(4.0), sigma=eye(4, dtype=float32), names=["a", "b"]) */
START_TEST(of_numpy) {
    ctx = dg_test_context();
    dg_npz npz;
    DG_CK(ctx, dg_npz_read(ctx, DG_SOURCE_DIR "/tests/golden/numpy.npz", &npz));
    ck_assert_int_eq(npz.count, 2);
    const dg_npz_array *m = dg_npz_find(&npz, "mu"), *s = dg_npz_find(&npz, "sigma");
    ck_assert(m && s && m->dims[0] == 4 && s->count == 16);
    for (int i = 0; i < 4; i++)
        ck_assert(m->data[i] == i && s->data[5 * i] == 1);
    ck_assert_str_eq(npz.passed_over, "names.npy ('<U1')");
    dg_npz_free(&npz);
}
END_TEST

/* Arrays 0, 1, 2, ... in C order, which the file holds in Fortran order. */
START_TEST(fortran_order) {
    ctx = dg_test_context();
    dg_npz npz;
    DG_CK(ctx, dg_npz_read(ctx, DG_SOURCE_DIR "/tests/golden/numpy_fortran.npz", &npz));
    const dg_npz_array *sigma = dg_npz_find(&npz, "sigma"), *cube = dg_npz_find(&npz, "cube");
    ck_assert(sigma && cube && sigma->dims[1] == 3 && cube->dims[2] == 4 && cube->count == 24);
    for (int i = 0; i < 24; i++)
        ck_assert(cube->data[i] == i && (i >= 6 || sigma->data[i] == i));
    ck_assert_ptr_null(dg_npz_find(&npz, "whole"));
    ck_assert_str_eq(npz.passed_over, "whole.npy (i8)");
    dg_npz_free(&npz);
}
END_TEST

START_TEST(damaged) {
    ctx = dg_test_context();
    char *bytes, *path = file("torn.npz");
    size_t size;
    dg_npz npz;
    DG_CK(ctx, dg_fs_read_file(ctx, DG_SOURCE_DIR "/tests/golden/numpy.npz", 1 << 20, &bytes, &size));
    ck_assert_int_eq(dg_npz_read(ctx, path, &npz), DG_ENOINPUT);
    DG_CK(ctx, dg_fs_write_atomic(ctx, path, "no archive at all, only text", 28));
    ck_assert_int_eq(dg_npz_read(ctx, path, &npz), DG_EDATA);
    for (size_t cut = 1; cut < size; cut += 7) { /* never a crash; nothing half-read is called good with both arrays */
        DG_CK(ctx, dg_fs_write_atomic(ctx, path, bytes, cut));
        dg_ctx_clear_error(ctx);
        if (dg_npz_read(ctx, path, &npz) == DG_OK)
            dg_npz_free(&npz);
    }
    free(bytes);
    free(path);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("npz");
    TCase *tc = tcase_create("npz");
    tcase_add_test(tc, round_trip);
    tcase_add_test(tc, of_numpy);
    tcase_add_test(tc, fortran_order);
    tcase_add_test(tc, damaged);
    suite_add_tcase(suite, tc);
    return suite;
}
