/* Where this user's own files lie that belong to no run: the privacy ledger, the ranks' key. */
#include "core/fs.h"

#include "core/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

dg_status dg_fs_state_path(dg_ctx *ctx, const char *name, const char *variable, char **path) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    dg_str text = {0};
    dg_status status = DG_OK;
    *path = NULL;
    if (state && *state == '/') /* the standard says to ignore a relative one */
        dg_str_printf(&text, "%s/diffgen/%s", state, name);
    else if (home && *home)
        dg_str_printf(&text, "%s/.local/state/diffgen/%s", home, name);
    else
        DG_TRY(dg_fail(ctx, DG_ECREATE,
                       "no place for %s: neither XDG_STATE_HOME nor HOME names a folder; set %s to the file's path",
                       name, variable));
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for the path of %s", name));
    *path = text.data;
    text.data = NULL;
done:
    dg_str_free(&text);
    return status;
}

dg_status dg_fs_make_private_parent(dg_ctx *ctx, const char *path, const char *variable) {
    dg_status status = DG_OK;
    char *folder = strdup(path), *parent = NULL;
    if (!folder)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    char *slash = strrchr(folder, '/');
    if (!slash || slash == folder)
        goto done;
    *slash = '\0';
    if (dg_fs_is_dir(folder))
        goto done;
    parent = strdup(folder);
    slash = parent ? strrchr(parent, '/') : NULL;
    if (slash && slash != parent) {
        *slash = '\0';
        DG_TRY(dg_fs_mkdirs(ctx, parent));
    }
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        status = dg_fail(ctx, DG_ECREATE, "%s: the folder %s cannot be created: %s; %s names another place", path,
                         folder, strerror(errno), variable);
done:
    free(parent);
    free(folder);
    return status;
}
