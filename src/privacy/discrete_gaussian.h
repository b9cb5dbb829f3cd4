/* The exact sampler behind integer_noise.h, and its coin. Internal to the privacy room. */
#ifndef DG_PRIVACY_DISCRETE_GAUSSIAN_H
#define DG_PRIVACY_DISCRETE_GAUSSIAN_H

#include "privacy/secure_random.h"

#define DG_DISCRETE_MAX_STD (INT64_C(1) << 40)

__extension__ typedef unsigned __int128 dg_uint128;

enum { DG_DISCRETE_CHUNK = 256, DG_DISCRETE_WORDS = 1024 };

/* Random words of one chunk of elements, taken in order. */
typedef struct dg_discrete_stream {
    const dg_secure_random *random;
    uint64_t next_block;
    int used; /* words taken of the buffer */
    uint32_t words[DG_DISCRETE_WORDS];
} dg_discrete_stream;

void dg_discrete_begin(dg_discrete_stream *stream, const dg_secure_random *random, uint64_t chunk);
/* One draw of N_Z(0, std^2), 1 <= std <= DG_DISCRETE_MAX_STD. */
int64_t dg_discrete_gaussian(dg_discrete_stream *stream, int64_t std);

/* Compares a uniform real in [0,1), whose first 32 bits are `word` and whose others follow from the stream when needed,
 * with n/d: true if it is below. 0 <= n < d < 2^96. By integers alone. */
bool dg_discrete_below(dg_discrete_stream *stream, uint32_t word, dg_uint128 n, dg_uint128 d);

#endif
