/* The one door to DCMTK, which is C++: nothing thrown comes out of it. Internal to the decode room. */
#ifndef DG_DECODE_DCMTK_H
#define DG_DECODE_DCMTK_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dg_dcmtk_request {
    int columns, rows; /* what the header says: anything else is refused */
    bool grey;         /* else RGB */
    bool rendered;     /* grey: through the file's tables to values of `bits` bits; else stored values, int32_t */
    bool window;       /* rendered: by this window in place of the file's table */
    double center, width;
    int bits; /* 8 or 16 */
} dg_dcmtk_request;

/* The first frame of a DICOM file.
 * out   pixels  room for columns * rows values, three each if not grey
 * err   DG_EDATA *why is a constant text; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_dcmtk_frame(const uint8_t *file, size_t size, const dg_dcmtk_request *request, void *pixels,
                                       const char **why);

#ifdef __cplusplus
}
#endif

#endif
