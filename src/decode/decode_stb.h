/* The one door to stb_image. Internal to the decode room. */
#ifndef DG_DECODE_DECODE_STB_H
#define DG_DECODE_DECODE_STB_H

#include "core/status.h"

#include <stddef.h>
#include <stdint.h>

/* Decodes PNG, BMP, GIF (first frame) or TGA, already checked by sniff.h.
 * in    budget_bytes  the decoder's allocations together never exceed it: what the pixel data claims (a deflate bomb
 *                     behind a small header) cannot make it take more
 * out   *pixels released with dg_stb_free; values of `bits` bits; *components 1..4
 * err   DG_EDATA *why is a constant text; DG_ENOMEM the system, not the budget, is exhausted */
DG_MUST_CHECK dg_status dg_stb_decode(const uint8_t *bytes, size_t size, int bits, size_t budget_bytes, void **pixels,
                                      int *width, int *height, int *components, const char **why);
void dg_stb_free(void *pixels);

#endif
