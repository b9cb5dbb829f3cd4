/* Ranks over MPI: the module diffgen_mpi.so, which comm_module.c loads where mpirun or srun speak of MPI. It uses no
 * more of MPI than sending and receiving, and nothing of diffgen but transport.h.
 *
 * Calls come from the thread that trains and from the one that sums gradients, never at once: MPI_THREAD_SERIALIZED. */
#include "comm/transport.h"

#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One tag does: messages between two ranks keep their order. */
enum { TAG = 7, SPINS = 2000 };

typedef struct mpi_state {
    MPI_Comm comm;
    MPI_Request *requests; /* [2 * size] */
    int size;
} mpi_state;

static int failed(int code, const char *call, char why[DG_COMM_WHY]) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(why, DG_COMM_WHY, "%s: %.*s", call, length < 200 ? length : 200, text);
    return 1;
}

/* Waits without holding a processor that another rank's work, or this one's own, could use: a rank may wait minutes for
 * rank 0 to draw a grid, while gradients come within microseconds of each other. */
static int wait_for_all(int count, MPI_Request *requests, char why[DG_COMM_WHY]) {
    for (int turn = 0;; turn++) {
        int done = 0;
        const int code = MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (code != MPI_SUCCESS)
            return failed(code, "MPI_Testall", why);
        if (done)
            return 0;
        if (turn < SPINS) {
            sched_yield();
        } else {
            const struct timespec pause = {.tv_nsec = turn < 2 * SPINS ? 20000 : 500000};
            nanosleep(&pause, NULL);
        }
    }
}

static int mpi_exchange(void *self, const dg_comm_part *send, const dg_comm_part *receive, int *lost,
                        char why[DG_COMM_WHY]) {
    mpi_state *s = self;
    *lost = -1;
    int count = 0;
    for (int i = 0; i < s->size; i++) {
        if (receive[i].size == 0)
            continue;
        const int code =
            MPI_Irecv(receive[i].data, (int)receive[i].size, MPI_BYTE, i, TAG, s->comm, &s->requests[count++]);
        if (code != MPI_SUCCESS)
            return failed(code, "MPI_Irecv", why);
    }
    for (int i = 0; i < s->size; i++) {
        if (send[i].size == 0)
            continue;
        const int code = MPI_Isend(send[i].data, (int)send[i].size, MPI_BYTE, i, TAG, s->comm, &s->requests[count++]);
        if (code != MPI_SUCCESS)
            return failed(code, "MPI_Isend", why);
    }
    return wait_for_all(count, s->requests, why);
}

static void mpi_abort(void *self, int code) {
    const mpi_state *s = self;
    MPI_Abort(s->comm, code);
}

/* MPI_Finalize waits for every rank, so a rank that leaves the others behind leaves MPI as it is. */
static void mpi_close(void *self, int all_is_well) {
    mpi_state *s = self;
    if (all_is_well) {
        MPI_Comm_free(&s->comm);
        MPI_Finalize();
    }
    free(s->requests);
    free(s);
}

int dg_comm_mpi_open(dg_transport *out, char why[DG_COMM_WHY]);

int dg_comm_mpi_open(dg_transport *out, char why[DG_COMM_WHY]) {
    int provided = 0, rank = 0, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (code != MPI_SUCCESS)
        return failed(code, "MPI_Init_thread", why);
    if (provided < MPI_THREAD_SERIALIZED) {
        snprintf(why, DG_COMM_WHY, "this MPI is not made for programs with threads");
        return 1;
    }
    mpi_state *s = calloc(1, sizeof *s);
    if (s && (code = MPI_Comm_dup(MPI_COMM_WORLD, &s->comm)) == MPI_SUCCESS) {
        MPI_Comm_set_errhandler(s->comm, MPI_ERRORS_RETURN);
        MPI_Comm_size(s->comm, &s->size);
        MPI_Comm_rank(s->comm, &rank);
        s->requests = calloc((size_t)s->size * 2, sizeof(MPI_Request));
    }
    if (!s || code != MPI_SUCCESS || !s->requests) {
        snprintf(why, DG_COMM_WHY, "MPI: out of memory");
        free(s);
        return 1;
    }
    *out = (dg_transport){.name = "MPI",
                          .self = s,
                          .rank = rank,
                          .size = s->size,
                          .exchange = mpi_exchange,
                          .abort = mpi_abort,
                          .close = mpi_close};
    return 0;
}
