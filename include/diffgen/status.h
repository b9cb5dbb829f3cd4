/* Status codes: what every fallible function of diffgen returns.
 * One list gives the enum, the names, the texts and the exit codes of the program (README, "Exit codes"). */
#ifndef DIFFGEN_STATUS_H
#define DIFFGEN_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(enumerator, exit code, text) */
#define DG_STATUS_LIST(X)                                                                                              \
    X(DG_OK, 0, "ok")                                                                                                  \
    X(DG_ERUNTIME, 1, "runtime error")                                                                                 \
    X(DG_EINVAL, 1, "invalid argument")                                                                                \
    X(DG_ENOMEM, 1, "out of memory")                                                                                   \
    X(DG_EUSAGE, 2, "usage error")                                                                                     \
    X(DG_EGATE, 20, "a gate failed")                                                                                   \
    X(DG_EBUDGET, 21, "privacy budget exhausted")                                                                      \
    X(DG_EDATA, 65, "bad data")                                                                                        \
    X(DG_ENOINPUT, 66, "input not found")                                                                              \
    X(DG_EDEVICE, 69, "device not available")                                                                          \
    X(DG_ECREATE, 73, "cannot create output")                                                                          \
    X(DG_EIO, 74, "input/output error")                                                                                \
    X(DG_EINTERRUPTED, 75, "interrupted, resumable, or locked by another process")                                     \
    X(DG_ECONFIG, 78, "bad configuration")

typedef enum dg_status {
#define DG_X(name, exit_code, text) name,
    DG_STATUS_LIST(DG_X)
#undef DG_X
} dg_status;

#if defined(__GNUC__)
#define DG_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DG_MUST_CHECK
#endif

/* "DG_EDATA" for DG_EDATA; "DG_?" for a value outside the list. */
const char *dg_status_name(dg_status status);
/* "bad data" for DG_EDATA. */
const char *dg_status_text(dg_status status);
/* The process exit code that stands for this status. */
int dg_status_exit_code(dg_status status);

#ifdef __cplusplus
}
#endif

#endif
