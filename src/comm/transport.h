/* What carries bytes between ranks. A transport is a table of functions, so that MPI can live in a module of its own
 * that is loaded only where the launcher asks for it: the program starts on machines without MPI.
 * The module knows nothing of diffgen but this header. */
#ifndef DG_COMM_TRANSPORT_H
#define DG_COMM_TRANSPORT_H

#include <stddef.h>

/* Bytes for, or from, one rank; size 0: none. */
typedef struct dg_comm_part {
    void *data;
    size_t size; /* at most DG_COMM_PART_MAX */
} dg_comm_part;
#define DG_COMM_PART_MAX ((size_t)1 << 30)

enum { DG_COMM_WHY = 256 };

typedef struct dg_transport {
    const char *name;
    void *self;
    int rank, size;
    /* Sends send[i] to rank i and receives receive[i] from it, for all i but the own rank, at once. Both sides know the
     * sizes. 0: done; else `why` says what happened, *lost which rank is gone, if it is known, and nothing more can be
     * exchanged. */
    int (*exchange)(void *self, const dg_comm_part *send, const dg_comm_part *receive, int *lost,
                    char why[DG_COMM_WHY]);
    void (*abort)(void *self, int code);        /* ends the job; may end the process */
    void (*close)(void *self, int all_is_well); /* all_is_well 0: do not wait for the others */
} dg_transport;

/* The module's one symbol, DG_COMM_MODULE_SYMBOL: 0 and *out, or `why`. */
typedef int (*dg_comm_module_open)(dg_transport *out, char why[DG_COMM_WHY]);
#define DG_COMM_MODULE_SYMBOL "dg_comm_mpi_open"

#endif
