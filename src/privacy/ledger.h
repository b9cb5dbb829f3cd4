/* The privacy ledger: what has been spent on which images, by which runs, kept beside no run and surviving all of them.
 * docs/privacy-ledger.md says what it promises and what it cannot.
 *
 * Order, for a run that spends:
 *   dg_ledger_open -> dg_ledger_register (the images) -> dg_ledger_begin (the budget is checked, the run is on record)
 *   -> before each noisy release dg_ledger_step -> at a clean end dg_ledger_settle -> dg_ledger_run_free
 *   -> dg_ledger_close
 * To ask: dg_ledger_open -> dg_ledger_spent or dg_ledger_sets -> dg_ledger_list_free ... -> dg_ledger_close.
 *
 * Nothing is released that is not on record: dg_ledger_step books steps in blocks, and returns after the booking is on
 * the disk. A process that dies leaves its block booked, so a crash over-counts by less than a block and never
 * under-counts; only a clean end gives the rest of a block back.
 *
 * Overlap: a data set is the set of its images' content hashes. What was spent on a set is the composition of every
 * mechanism that ran on any registered set that shares an image with it: each image's true spending is at most that.
 *
 * A ledger object belongs to one thread at a time. Any number of processes may use one file. */
#ifndef DG_PRIVACY_LEDGER_H
#define DG_PRIVACY_LEDGER_H

#include "core/context.h"
#include "core/hash.h"

#include <stdint.h>

enum {
    DG_LEDGER_HASH_BYTES = 32, /* of one image: SHA-256, as dg_item has it */
    DG_LEDGER_ID = 33,         /* a run's name: 32 hex digits and a NUL */
    DG_LEDGER_TOKEN_BYTES = 16,
    DG_LEDGER_BLOCK_STEPS = 16
};

typedef enum dg_ledger_kind {
    DG_LEDGER_GAUSSIAN,          /* Poisson-sampled Gaussian mechanism; sample_rate 1: plain Gaussian */
    DG_LEDGER_DISCRETE_GAUSSIAN, /* the same with integer noise: accounted for as the continuous one */
    DG_LEDGER_LAPLACE,           /* Poisson-sampled Laplace mechanism */
    DG_LEDGER_KINDS
} dg_ledger_kind;

/* A mechanism and how often it ran (or is to run). What an accountant composes. */
typedef struct dg_ledger_mechanism {
    dg_ledger_kind kind;
    double sample_rate;      /* (0, 1] */
    double noise_multiplier; /* standard deviation (Laplace: scale) over sensitivity, > 0 */
    int64_t steps;           /* >= 0 */
} dg_ledger_mechanism;

/* "sampled-gaussian", ...; NULL outside. */
const char *dg_ledger_kind_name(dg_ledger_kind kind);

/* One mechanism of one run. Texts are owned by the list. */
typedef struct dg_ledger_entry {
    dg_ledger_mechanism mechanism; /* steps: spent, which is booked */
    int64_t reserved;              /* further steps that a run still going on means to make */
    char run[DG_LEDGER_ID];
    char fingerprint[DG_SHA256_HEX]; /* of the data set it ran on */
    char *name;                      /* of the data set: its path when it was last registered */
    int64_t shared;                  /* images that set and the one asked about have in common */
    char *command, *adjacency, *unit;
    char *started, *ended; /* UTC, "2026-03-01T02:00:05Z"; ended "" while running and after a crash */
    double delta;          /* the delta the run was planned with */
    bool running;          /* its process is alive, or on another host and not settled */
} dg_ledger_entry;

typedef struct dg_ledger_list {
    dg_ledger_entry *entries; /* by start of the run */
    size_t count;
} dg_ledger_list;

/* A registered data set. */
typedef struct dg_ledger_set {
    int64_t id;
    char fingerprint[DG_SHA256_HEX];
    char *name, *first_seen;
    int64_t images;
} dg_ledger_set;

typedef struct dg_ledger dg_ledger;
typedef struct dg_ledger_run dg_ledger_run;

typedef enum dg_ledger_access {
    DG_LEDGER_READ, /* a missing file is an empty ledger and is not made */
    DG_LEDGER_WRITE /* a missing file is made, mode 0600, and its directory, mode 0700 */
} dg_ledger_access;

/* $DIFFGEN_LEDGER, else $XDG_STATE_HOME/diffgen/privacy-ledger.sqlite, else the same in ~/.local/state.
 * out   *path malloc'ed; err DG_ECREATE none of the three is set; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_ledger_default_path(dg_ctx *ctx, char **path);
/* in    path  NULL: the default path
 * err   DG_EDATA damaged, or not a ledger, or made by a newer diffgen; DG_ECREATE cannot be made, read or written;
 *       DG_EIO; DG_EINTERRUPTED another process holds it for a minute; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_ledger_open(dg_ctx *ctx, const char *path, dg_ledger_access access, dg_ledger **out);
void dg_ledger_close(dg_ledger *ledger); /* NULL is legal; after its runs have been freed */
const char *dg_ledger_path(const dg_ledger *ledger);

/* All calls below fail as dg_ledger_open does, and as they say. */

/* Content hash of a group (a patient, say), to be put among the hashes of a set whose unit of privacy is the group:
 * sets that share a group then overlap, even with no image in common. */
void dg_ledger_group_hash(const char *column, const char *value, uint8_t hash[DG_LEDGER_HASH_BYTES]);
/* SHA-256 over the sorted, distinct hashes: the same for renamed, reordered, relabelled and repeated images. */
DG_MUST_CHECK dg_status dg_ledger_fingerprint(dg_ctx *ctx, const uint8_t *hashes, int64_t count,
                                              char fingerprint[DG_SHA256_HEX]);
/* Puts a data set on record, or finds it there, and works out with which others it overlaps.
 * in    hashes (count, DG_LEDGER_HASH_BYTES), any order, count >= 1; name  for people
 * out   *set its number in this file
 * err   DG_EINVAL no hashes */
DG_MUST_CHECK dg_status dg_ledger_register(dg_ctx *ctx, dg_ledger *ledger, const char *name, const uint8_t *hashes,
                                           int64_t count, int64_t *set);

/* Every mechanism that ran on a set that shares a hash with these, registered or not. out *list, also when empty */
DG_MUST_CHECK dg_status dg_ledger_spent(dg_ctx *ctx, dg_ledger *ledger, const uint8_t *hashes, int64_t count,
                                        dg_ledger_list *list);
/* The same for a registered set. */
DG_MUST_CHECK dg_status dg_ledger_spent_on(dg_ctx *ctx, dg_ledger *ledger, int64_t set, dg_ledger_list *list);
void dg_ledger_list_free(dg_ledger_list *list);
/* All data sets, by first registration. out *sets malloc'ed, free with dg_ledger_sets_free */
DG_MUST_CHECK dg_status dg_ledger_sets(dg_ctx *ctx, dg_ledger *ledger, dg_ledger_set **sets, size_t *count);
void dg_ledger_sets_free(dg_ledger_set *sets, size_t count);

/* Decides whether a run may begin: composes what is spent and reserved on its images with what it plans. Called with
 * the ledger locked, so that two runs cannot both get the last of a budget. err   DG_EBUDGET recorded with dg_fail: too
 * much; anything else fails the beginning as well */
typedef dg_status (*dg_ledger_check_fn)(dg_ctx *ctx, void *user, const dg_ledger_list *spent,
                                        const dg_ledger_mechanism *planned, size_t count);

typedef struct dg_ledger_run_info {
    const char *resume; /* the run to go on with; NULL: a new one */
    const uint8_t
        *resume_token; /* DG_LEDGER_TOKEN_BYTES: of the state to go on from (dg_secure_random_token); or NULL */
    int64_t set;
    const char *command;                /* the command line, for people */
    const char *adjacency;              /* "add-or-remove-one" */
    const char *unit;                   /* of privacy: "image", or the column that groups them */
    double delta;                       /* (0, 1) */
    const dg_ledger_mechanism *planned; /* steps: still to be made; distinct in kind, rate and multiplier */
    size_t planned_count;
    int64_t block_steps;      /* booked at a time, while that many are planned; 0: DG_LEDGER_BLOCK_STEPS */
    dg_ledger_check_fn check; /* NULL: no limit */
    void *check_user;
} dg_ledger_run_info;

/* Checks the budget, puts the run and what it plans on record. A resumed run keeps what it has booked and gets new
 * reservations. `info` is not needed afterwards.
 * err   what check returns; DG_EINVAL a value out of range; DG_EINTERRUPTED the run to resume is being made by a living
 *       process of this host; DG_EDATA no such run, or it belongs to another data set */
DG_MUST_CHECK dg_status dg_ledger_begin(dg_ctx *ctx, dg_ledger *ledger, const dg_ledger_run_info *info,
                                        dg_ledger_run **out);
const char *dg_ledger_run_id(const dg_ledger_run *run);
/* The resumed run had been settled with exactly the token given, and nobody has gone on from it since: its secret key
 * may be used further (dg_secure_random_resume's `clean`). True at most once per settlement. */
bool dg_ledger_run_is_clean(const dg_ledger_run *run);
/* To be called before each release of a noisy result; the release may happen once it has returned DG_OK.
 * in    mechanism  index in info->planned
 * err   DG_EINTERRUPTED the run was taken over or released (`diffgen budget --release`) in the meantime: stop */
DG_MUST_CHECK dg_status dg_ledger_step(dg_ctx *ctx, dg_ledger_run *run, size_t mechanism);
/* A clean end: unused bookings and all reservations are given back.
 * in    token  DG_LEDGER_TOKEN_BYTES of the newest checkpoint's secret state, on disk already; NULL: finished for good
 */
DG_MUST_CHECK dg_status dg_ledger_settle(dg_ctx *ctx, dg_ledger_run *run, const uint8_t *token);
void dg_ledger_run_free(dg_ledger_run *run); /* NULL is legal. Without settling it leaves what a crash leaves */

/* Drops the reservations of a run that will not go on (it crashed on another host); what it booked stays spent.
 * err   DG_ENOINPUT no such run; DG_EINTERRUPTED it is alive on this host */
DG_MUST_CHECK dg_status dg_ledger_release(dg_ctx *ctx, dg_ledger *ledger, const char *run);

#endif
