/* Finding and loading diffgen_mpi.so. */
#include "comm/comm_internal.h"

#include "core/fs.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char module_name[] = "diffgen_mpi.so";

/* The folder of the running program, malloc'ed; NULL if unknown. */
static char *program_folder(void) {
    char path[4096];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0)
        return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    return strdup(path);
}

/* Beside the program (a build folder), or where `cmake --install` puts it, seen from the program. */
static char *find_module(void) {
    static const char *const places[] = {"", DG_MODULE_FOLDER};
    char *folder = program_folder(), *found = NULL;
    for (size_t i = 0; folder && !found && i < sizeof places / sizeof *places; i++) {
        char *place = *places[i] ? dg_fs_join(folder, places[i]) : strdup(folder);
        char *path = place ? dg_fs_join(place, module_name) : NULL;
        if (path && dg_fs_is_file(path))
            found = path;
        else
            free(path);
        free(place);
    }
    free(folder);
    return found;
}

dg_status dg_comm_mpi_open(dg_ctx *ctx, dg_transport *out) {
    dg_status status = DG_OK;
    char why[DG_COMM_WHY] = "", *path = find_module();
    if (!path)
        DG_TRY(dg_fail(ctx, DG_ECONFIG,
                       "started by an MPI launcher, but %s is neither beside the program nor in %s: diffgen was built "
                       "without MPI; build it with one, or start it with torchrun's variables (docs/ranks.md)",
                       module_name, DG_MODULE_FOLDER));
    /* Open MPI's own plug-ins look for its symbols among the global ones. */
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    void *symbol = module ? dlsym(module, DG_COMM_MODULE_SYMBOL) : NULL;
    if (!symbol)
        DG_TRY(dg_fail(ctx, DG_ECONFIG, "started by an MPI launcher, but %s cannot be loaded: %s", path, dlerror()));
    dg_comm_module_open open_module;
    memcpy(&open_module, &symbol, sizeof open_module);
    if (open_module(out, why) != 0)
        DG_TRY(dg_fail(ctx, DG_ERUNTIME, "%s", why));
done:
    free(path);
    return status;
}
