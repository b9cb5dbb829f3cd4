/* What launchers' variables mean. */
#include "comm/comm_internal.h"
#include "support/test_main.h"

#include <string.h>

typedef struct variable {
    const char *name, *value;
} variable;

static const variable *environment; /* ends with a NULL name */

static const char *get(const char *name) {
    for (const variable *v = environment; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v->value;
    return NULL;
}

static dg_comm_launch launch;

static dg_status read_launch(dg_ctx *ctx, const variable *variables) {
    environment = variables;
    dg_ctx_clear_error(ctx);
    return dg_comm_read_launch(ctx, get, &launch);
}

static void expect_tcp(dg_ctx *ctx, const variable *variables, int rank, int size, const char *host, int port) {
    DG_CK(ctx, read_launch(ctx, variables));
    ck_assert_int_eq(launch.launcher, DG_COMM_TCP);
    ck_assert_int_eq(launch.meeting.rank, rank);
    ck_assert_int_eq(launch.meeting.size, size);
    ck_assert_int_eq(launch.meeting.port, port);
    ck_assert_str_eq(launch.meeting.host, host);
}

START_TEST(started_alone) {
    dg_ctx *ctx = dg_test_context();
    const variable nothing[] = {{0}}, one[] = {{"OMPI_COMM_WORLD_SIZE", "1"}, {"WORLD_SIZE", "1"}, {"RANK", "0"}, {0}};
    /* What a batch script itself sees, before any srun. */
    const variable script[] = {{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "77"}, {0}};
    const variable *const all[] = {nothing, one, script};
    for (int i = 0; i < 3; i++) {
        DG_CK(ctx, read_launch(ctx, all[i]));
        ck_assert_int_eq(launch.launcher, DG_COMM_ALONE);
    }
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(started_by_mpi) {
    dg_ctx *ctx = dg_test_context();
    const variable open_mpi[] = {{"OMPI_COMM_WORLD_SIZE", "2"}, {0}}, mpich[] = {{"PMI_SIZE", "8"}, {0}};
    DG_CK(ctx, read_launch(ctx, open_mpi));
    ck_assert_int_eq(launch.launcher, DG_COMM_MPI);
    DG_CK(ctx, read_launch(ctx, mpich));
    ck_assert_int_eq(launch.launcher, DG_COMM_MPI);
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(started_by_torchrun) {
    dg_ctx *ctx = dg_test_context();
    variable v[] = {{"WORLD_SIZE", "4"},
                    {"RANK", "3"},
                    {"LOCAL_RANK", "1"},
                    {"MASTER_ADDR", "gpu1"},
                    {"MASTER_PORT", "29500"},
                    {"none", ""},
                    {0}};
    expect_tcp(ctx, v, 3, 4, "gpu1", 29500);
    v[5] = (variable){"TORCHELASTIC_RUN_ID", "abc"}; /* the port itself is torchrun's */
    expect_tcp(ctx, v, 3, 4, "gpu1", 29501);
    v[1].value = "4";
    ck_assert_int_eq(read_launch(ctx, v), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "RANK=4: a number from 0 to 3"), "%s", dg_last_error(ctx));
    v[1].value = "0";
    v[4].name = "none";
    ck_assert_int_eq(read_launch(ctx, v), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "MASTER_PORT is not set"), "%s", dg_last_error(ctx));
    v[4].name = "MASTER_PORT";
    v[3].value = "";
    ck_assert_int_eq(read_launch(ctx, v), DG_ECONFIG);
    ck_assert_msg(strstr(dg_last_error(ctx), "MASTER_ADDR"), "%s", dg_last_error(ctx));
    dg_ctx_free(ctx);
}
END_TEST

START_TEST(started_by_srun) {
    dg_ctx *ctx = dg_test_context();
    variable v[] = {{"SLURM_STEP_NUM_TASKS", "8"},
                    {"SLURM_PROCID", "5"},
                    {"SLURM_JOB_ID", "1000"},
                    {"SLURM_STEP_ID", "2"},
                    {"SLURM_STEP_NODELIST", "gpu[03-07,12],cpu1"},
                    {"none", ""},
                    {0}};
    expect_tcp(ctx, v, 5, 8, "gpu03", 20000 + 7002);
    v[4].value = "gpu[9,12]";
    expect_tcp(ctx, v, 5, 8, "gpu9", 27002);
    v[4].value = "login,gpu1";
    v[5] = (variable){"MASTER_PORT", "4000"};
    expect_tcp(ctx, v, 5, 8, "login", 4000);
    v[5] = (variable){"MASTER_ADDR", "10.0.0.1"};
    expect_tcp(ctx, v, 5, 8, "10.0.0.1", 27002);
    v[4] = (variable){"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.9"};
    v[5].name = "none";
    expect_tcp(ctx, v, 5, 8, "10.0.0.9", 27002);
    v[5] = (variable){"PMIX_RANK", "5"};
    DG_CK(ctx, read_launch(ctx, v));
    ck_assert_int_eq(launch.launcher, DG_COMM_MPI);
    dg_ctx_free(ctx);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("launch");
    TCase *tcase = tcase_create("launch");
    tcase_add_test(tcase, started_alone);
    tcase_add_test(tcase, started_by_mpi);
    tcase_add_test(tcase, started_by_torchrun);
    tcase_add_test(tcase, started_by_srun);
    suite_add_tcase(suite, tcase);
    return suite;
}
