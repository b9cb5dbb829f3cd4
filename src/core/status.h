/* Status codes inside the library: the public list (diffgen/status.h) and the macro that passes failures on.
 * Normal use: `DG_TRY(call())` inside a function with one `done:` label and a local `dg_status status = DG_OK`. */
#ifndef DG_CORE_STATUS_H
#define DG_CORE_STATUS_H

#include <diffgen/status.h>

/* Runs a fallible expression; on failure stores it in the local `status` and jumps to the local label `done`. */
#define DG_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status != DG_OK)                                                                                           \
            goto done;                                                                                                 \
    } while (0)

#endif
