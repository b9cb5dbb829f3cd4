/* A tiny bitmap font for labels in contact sheets. */
#ifndef DG_IO_FONT_H
#define DG_IO_FONT_H

#include <stdbool.h>

enum { DG_FONT_WIDTH = 5, DG_FONT_HEIGHT = 7 };

/* Is this pixel of the character's glyph set? Characters outside printable ASCII look like '?'. */
bool dg_font_pixel(unsigned char character, int row, int column);

#endif
