/* The folder of a report: some files that belong together, of which the last, the JSON one, says that all are there.
 * Order: dg_report_open (locks it) -> dg_report_begin -> the other files -> the last one -> dg_report_close. */
#ifndef DG_IO_REPORT_FOLDER_H
#define DG_IO_REPORT_FOLDER_H

#include "core/fs.h"

typedef struct dg_report {
    char *folder;
    const char *last;
    dg_lock *lock;
} dg_report;

/* Makes the folder, locks it, and removes what killed processes left half-written of these files; the folder may hold
 * anything else as well.
 * in    names [count], of which the last is to be written last; they outlive the report
 * err   DG_ECREATE; DG_EINTERRUPTED another process makes its report there; DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_report_open(dg_ctx *ctx, const char *folder, const char *const *names, size_t count,
                                       dg_report *out);
/* Before the first file: removes the last one of an earlier report. err DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_report_begin(dg_ctx *ctx, const dg_report *report);
void dg_report_close(dg_report *report); /* unlocks; zeros are legal */

#endif
