/* Gaussian noise for floating-point sums, from the secret stream of secure_random.h.
 *
 * Each sample is half the sum of four independent Box-Muller normals in double precision. A single floating-point
 * normal is a lattice of few points whose gaps differ from place to place, so that a sum plus one such normal can give
 * away which sum it was (Mironov 2012). Of a sum of 2n normals an attacker who sees the result has to guess 2n-1 of
 * them: with n = 2 and p = 53 bits of mantissa about 2^(p(2n-1)) = 2^159 work for one coordinate. Two neighbouring
 * coordinates share four radii and four angles (64 bits of randomness each, at least 52 of them kept); explaining both
 * at once takes three of the four pairs, which is more. This makes the attack infeasible; it is not a proof that the
 * floating-point mechanism has the ideal one's epsilon: that is what integer_noise.h is for.
 *
 * Values are accurate to a few units in the last place of a double; one of the four normals is at most 9.49 in
 * magnitude (the ideal tail beyond has probability 3e-21), a sample at most 18.98.
 * ref   Holohan, Braghin 2021, "Secure random sampling in differential privacy" (arXiv 2107.10138) */
#ifndef DG_PRIVACY_GAUSSIAN_NOISE_H
#define DG_PRIVACY_GAUSSIAN_NOISE_H

#include "privacy/secure_random.h"

/* sum[i] += std * z(first + i), i < count, with z independent standard normals: element e of the current logical step's
 * noise, the same bits however the elements are split into calls and threads. `first` numbers the parameters of the
 * whole model (0 <= first). The addition is made in double and rounded once.
 * in    std  noise_multiplier * max_grad_norm, finite, >= 0 */
void dg_dp_noise_add_float(const dg_secure_random *random, int64_t first, int64_t count, double std, float *sum);
void dg_dp_noise_add_double(const dg_secure_random *random, int64_t first, int64_t count, double std, double *sum);

#endif
