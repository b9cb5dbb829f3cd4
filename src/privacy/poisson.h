/* Poisson sampling: at each logical step every unit - an image, or all images of a group - takes part on its own with
 * probability q, decided by the secret stream. The number of units varies and may be 0; the step is made all the same.
 *
 * Exactness: a unit takes part if 64 random bits, as an integer, are below T = ceil(q 2^64). The probability is T/2^64,
 * which is q itself for every double q >= 2^-11 and more than q by less than 2^-64 otherwise; dg_poisson_rate gives it,
 * rounded up to a double, for the accountant.
 * Order: dg_secure_random_advance -> dg_poisson_draw once per logical step. Draws of one step are the same numbers: a
 * second call with a larger q gives a superset, not new luck. */
#ifndef DG_PRIVACY_POISSON_H
#define DG_PRIVACY_POISSON_H

#include "privacy/secure_random.h"

/* The probability that dg_poisson_draw really uses, not less than q. in 0 < q <= 1 */
double dg_poisson_rate(double q);

/* Which of `units` units take part in the current step, ascending.
 * in    0 < q <= 1, units >= 0
 * out   chosen  room for `units`; returns how many there are */
int64_t dg_poisson_draw(const dg_secure_random *random, int64_t units, double q, int64_t *chosen);

/* Records by group: group g owns members[offsets[g] .. offsets[g+1]-1], ascending. Groups are numbered by the smallest
 * record in them. */
typedef struct dg_groups {
    int64_t count, records;
    int64_t *offsets; /* count + 1 */
    int64_t *members; /* records */
} dg_groups;

/* in    keys (records) what a record's group is called: records with equal texts are one group, for example a patient.
 *       NULL or "" (nothing known of the record): a group of its own
 * err   DG_ENOMEM */
DG_MUST_CHECK dg_status dg_groups_create(dg_ctx *ctx, const char *const *keys, int64_t records, dg_groups *groups);
void dg_groups_free(dg_groups *groups); /* leaves it zeroed */

/* One step's draw over groups: each takes part with probability q, with all its records.
 * out   chosen   room for groups->count: the groups, ascending; *chosen_count
 *       records  room for groups->records: theirs, group by group; returns how many */
int64_t dg_poisson_draw_groups(const dg_secure_random *random, const dg_groups *groups, double q, int64_t *chosen,
                               int64_t *chosen_count, int64_t *records);

#endif
