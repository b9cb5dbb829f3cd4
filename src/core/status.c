#include "core/status.h"

static const struct {
    const char *name;
    const char *text;
    int exit_code;
} statuses[] = {
#define DG_X(name, exit_code, text) [name] = {#name, text, exit_code},
    DG_STATUS_LIST(DG_X)
#undef DG_X
};

static int known(dg_status status) {
    return (unsigned)status < sizeof statuses / sizeof *statuses;
}

const char *dg_status_name(dg_status status) {
    return known(status) ? statuses[status].name : "DG_?";
}

const char *dg_status_text(dg_status status) {
    return known(status) ? statuses[status].text : "unknown status";
}

int dg_status_exit_code(dg_status status) {
    return known(status) ? statuses[status].exit_code : 1;
}
