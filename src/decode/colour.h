/* Colours that a user names. */
#ifndef DG_DECODE_COLOUR_H
#define DG_DECODE_COLOUR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct dg_colour {
    uint8_t red, green, blue;
} dg_colour;

#define DG_COLOUR_NAMES "white, black, grey or #rrggbb" /* what dg_colour_parse takes, for messages */

/* Rec. 601 luma. */
static inline uint32_t dg_luma(uint32_t red, uint32_t green, uint32_t blue) {
    return (299 * red + 587 * green + 114 * blue + 500) / 1000;
}
static inline uint32_t dg_colour_luma(dg_colour colour) {
    return dg_luma(colour.red, colour.green, colour.blue);
}

static inline bool dg_colour_is_grey(dg_colour colour) {
    return colour.red == colour.green && colour.green == colour.blue;
}

/* false: none of DG_COLOUR_NAMES ("gray", three digits and a missing # are forgiven); *out is untouched. */
bool dg_colour_parse(const char *text, dg_colour *out);

#endif
