/* From what a launcher leaves in the environment to ranks that talk. */
#include "comm/comm_internal.h"

#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE = 300, SILENCE = 120, SLURM_FIRST_PORT = 20000, SLURM_PORTS = 12000 };

/* ---- reading variables ---- */

/* A whole number from `low` to `high`. out *value; unset and empty give `fallback`, if that is not below `low` */
static dg_status read_number(dg_ctx *ctx, dg_comm_getter get, const char *name, int low, int high, int fallback,
                             int *value) {
    const char *text = get(name);
    int64_t number;
    *value = fallback;
    if (!text || !*text) {
        if (fallback >= low)
            return DG_OK;
        return dg_fail(ctx, DG_ECONFIG, "the launcher's variable %s is not set (docs/ranks.md)", name);
    }
    if (!dg_parse_count(text, &number) || number < low || number > high)
        return dg_fail(ctx, DG_ECONFIG, "%s=%s: a number from %d to %d is expected", name, text, low, high);
    *value = (int)number;
    return DG_OK;
}

static bool above_one(dg_comm_getter get, const char *name) {
    const char *text = get(name);
    int64_t number;
    return text && dg_parse_count(text, &number) && number > 1;
}

/* ---- launchers ---- */

/* torchrun keeps MASTER_PORT for a store of its own; the next one is ours. */
static dg_status read_torchrun(dg_ctx *ctx, dg_comm_getter get, dg_comm_launch *out) {
    dg_status status = DG_OK;
    const char *host = get("MASTER_ADDR");
    DG_TRY(read_number(ctx, get, "WORLD_SIZE", 1, 65536, 0, &out->meeting.size));
    DG_TRY(read_number(ctx, get, "RANK", 0, out->meeting.size - 1, -1, &out->meeting.rank));
    DG_TRY(read_number(ctx, get, "MASTER_PORT", 1, 65534, 0, &out->meeting.port));
    if (!host || !*host)
        DG_TRY(dg_fail(ctx, DG_ECONFIG, "RANK and WORLD_SIZE are set, but not MASTER_ADDR, the host of rank 0"));
    snprintf(out->host, sizeof out->host, "%s", host);
    out->meeting.port += get("TORCHELASTIC_RUN_ID") != NULL;
done:
    return status;
}

/* "gpu[03-07,12],login" -> "gpu03" */
static void first_host(const char *list, char *host, size_t size) {
    const size_t name = strcspn(list, "[,");
    size_t length = (size_t)snprintf(host, size, "%.*s", (int)name, list);
    if (list[name] == '[' && length < size)
        snprintf(host + length, size - length, "%.*s", (int)strcspn(list + name + 1, "-,]"), list + name + 1);
}

/* Rank 0 is on the first host of the step. The port follows from the job, so that two jobs on a host do not meet. */
static dg_status read_slurm(dg_ctx *ctx, dg_comm_getter get, dg_comm_launch *out) {
    dg_status status = DG_OK;
    const char *address = get("MASTER_ADDR"), *nodes = get("SLURM_STEP_NODELIST");
    int job, step;
    DG_TRY(read_number(ctx, get, "SLURM_STEP_NUM_TASKS", 1, 65536, 0, &out->meeting.size));
    DG_TRY(read_number(ctx, get, "SLURM_PROCID", 0, out->meeting.size - 1, -1, &out->meeting.rank));
    DG_TRY(read_number(ctx, get, "SLURM_JOB_ID", 0, 2147483647, 0, &job));
    DG_TRY(read_number(ctx, get, "SLURM_STEP_ID", 0, 2147483647, 0, &step));
    DG_TRY(read_number(ctx, get, "MASTER_PORT", 1, 65535, SLURM_FIRST_PORT + (int)((7LL * job + step) % SLURM_PORTS),
                       &out->meeting.port));
    if (!nodes)
        nodes = get("SLURM_JOB_NODELIST");
    if (!address && !nodes)
        address = get("SLURM_LAUNCH_NODE_IPADDR");
    if (address)
        snprintf(out->host, sizeof out->host, "%s", address);
    else if (nodes)
        first_host(nodes, out->host, sizeof out->host);
    else
        DG_TRY(dg_fail(ctx, DG_ECONFIG, "Slurm's variables do not say on which host rank 0 is; set MASTER_ADDR"));
done:
    return status;
}

/* A script that Slurm runs has SLURM_NTASKS as well, though nobody runs beside it; only srun's tasks know of a step. */
dg_status dg_comm_read_launch(dg_ctx *ctx, dg_comm_getter get, dg_comm_launch *out) {
    *out = (dg_comm_launch){.meeting = {.patience = PATIENCE, .silence = SILENCE}};
    out->meeting.host = out->host;
    dg_status status = DG_OK;
    if (above_one(get, "OMPI_COMM_WORLD_SIZE") || above_one(get, "PMI_SIZE")) {
        out->launcher = DG_COMM_MPI;
    } else if (above_one(get, "WORLD_SIZE") && get("RANK")) {
        out->launcher = DG_COMM_TCP;
        DG_TRY(read_torchrun(ctx, get, out));
    } else if (above_one(get, "SLURM_STEP_NUM_TASKS")) {
        out->launcher = get("PMIX_RANK") ? DG_COMM_MPI : DG_COMM_TCP;
        DG_TRY(read_slurm(ctx, get, out));
    }
done:
    return status;
}

static const char *environment(const char *name) {
    return getenv(name);
}

static dg_status open_tcp(dg_ctx *ctx, dg_comm_meeting *meeting, dg_comm **out) {
    dg_status status = DG_OK;
    dg_transport transport;
    dg_job_key *key = NULL;
    DG_TRY(dg_comm_read_key(ctx, environment, meeting, &key));
    meeting->key = key;
    DG_TRY(dg_comm_tcp_open(ctx, meeting, &transport));
    DG_TRY(dg_comm_create(ctx, &transport, out));
    (*out)->key = key->chosen ? DG_COMM_KEY_CHOSEN : DG_COMM_KEY_OWN;
done:
    meeting->key = NULL;
    sodium_free(key);
    return status;
}

static dg_status open_ranks(dg_ctx *ctx, dg_comm **out) {
    dg_status status = DG_OK;
    dg_comm_launch launch;
    dg_transport transport;
    DG_TRY(dg_comm_read_launch(ctx, environment, &launch));
    if (launch.launcher == DG_COMM_ALONE)
        return DG_OK;
    if (launch.launcher == DG_COMM_MPI)
        status = dg_comm_mpi_open(ctx, &transport);
    /* srun has what TCP needs too. */
    if (launch.launcher == DG_COMM_TCP || (status == DG_ECONFIG && launch.meeting.size > 1)) {
        dg_ctx_clear_error(ctx);
        return open_tcp(ctx, &launch.meeting, out);
    }
    DG_TRY(status);
    DG_TRY(dg_comm_create(ctx, &transport, out));
done:
    return status;
}

dg_status dg_comm_open(dg_ctx *ctx, dg_comm **out) {
    *out = NULL;
    const dg_status status = open_ranks(ctx, out);
    dg_comm_forget_key();
    return status;
}
