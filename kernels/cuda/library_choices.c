/* The table of what was faster on this machine, and the file that keeps it. */
#include "kernels/cuda/libraries.h"

#include "core/fs.h"
#include "core/hash.h"
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 4 << 20 };

struct dg_library_choices {
    dg_ctx *ctx;
    json_t *made_for; /* what the timings depend on */
    json_t *timings;  /* {key: {"library", "candidate", "own_ms", "library_ms", "faster"}} */
    char *path;       /* NULL: nowhere to keep it */
};

/* $XDG_CACHE_HOME/diffgen, else ~/.cache/diffgen (XDG Base Directory Specification), malloc'ed; NULL: neither is set.
 */
static char *cache_folder(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/')
        return dg_fs_join(cache, "diffgen");
    return home && *home == '/' ? dg_fs_join(home, ".cache/diffgen") : NULL;
}

static dg_status describe(dg_ctx *ctx, const dg_library_info *libraries, int count, json_t **out) {
    struct cudaDeviceProp gpu;
    int device = 0, driver = 0;
    if (cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&gpu, device) != cudaSuccess ||
        cudaDriverGetVersion(&driver) != cudaSuccess)
        return dg_fail(ctx, DG_EDEVICE, "CUDA: the GPU does not say what it is: %s",
                       cudaGetErrorString(cudaGetLastError()));
    json_t *made_for = json_pack("{s:s, s:s, s:i, s:i}", "diffgen", DIFFGEN_VERSION, "gpu", gpu.name, "multiprocessors",
                                 gpu.multiProcessorCount, "driver", driver);
    for (int i = 0; i < count; i++)
        dg_json_set(&made_for, libraries[i].name, json_string(libraries[i].version));
    *out = made_for;
    return made_for ? DG_OK : dg_fail(ctx, DG_ENOMEM, "no memory for the table of timings");
}

/* A file for each machine and version, so that a home directory that several share holds all of theirs. */
static char *path_of(const json_t *made_for) {
    char hex[DG_SHA256_HEX], name[64];
    dg_str text = {0};
    char *folder = cache_folder(), *path = NULL;
    dg_str_append_json(&text, made_for, JSON_COMPACT | JSON_SORT_KEYS);
    if (dg_str_ok(&text) && folder) {
        dg_sha256_hex(text.data, text.length, hex);
        snprintf(name, sizeof name, "libraries-%.16s.json", hex);
        path = dg_fs_join(folder, name);
    }
    dg_str_free(&text);
    free(folder);
    return path;
}

/* Those of the file, a new reference; NULL: no such file, or one that is damaged or made for something else. */
static json_t *read_timings(const dg_library_choices *c) {
    json_t *file = NULL, *timings = NULL;
    char *text = NULL;
    size_t size = 0;
    if (!c->path || !dg_fs_is_file(c->path))
        return NULL;
    if (dg_fs_read_file(c->ctx, c->path, MOST_BYTES, &text, &size) == DG_OK &&
        dg_json_parse(c->ctx, c->path, text, size, DG_JSON_STRICT, &file) == DG_OK &&
        json_equal(json_object_get(file, "made_for"), c->made_for) &&
        json_is_object(json_object_get(file, "timings"))) {
        timings = json_incref(json_object_get(file, "timings"));
    } else {
        dg_log(c->ctx, DG_LOG_WARN, "%s is damaged; it is made anew", c->path);
        dg_ctx_clear_error(c->ctx);
    }
    json_decref(file);
    free(text);
    return timings;
}

dg_status dg_library_choices_open(dg_ctx *ctx, const dg_library_info *libraries, int count, dg_library_choices **out) {
    dg_status status = DG_OK;
    dg_library_choices *c = NULL;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &c, 1, sizeof *c, "the table of timings"));
    c->ctx = ctx;
    DG_TRY(describe(ctx, libraries, count, &c->made_for));
    c->path = path_of(c->made_for);
    c->timings = read_timings(c);
    if (!c->timings)
        c->timings = json_object();
    *out = c;
    c = NULL;
done:
    dg_library_choices_close(c);
    return status;
}

void dg_library_choices_close(dg_library_choices *c) {
    if (!c)
        return;
    json_decref(c->made_for);
    json_decref(c->timings);
    free(c->path);
    free(c);
}

bool dg_library_choices_get(const dg_library_choices *c, const char *key, dg_library_choice *out) {
    json_error_t error;
    const char *library = NULL;
    int faster = 0;
    dg_library_choice found = {0};
    json_t *timing = json_object_get(c->timings, key);
    if (!timing || json_unpack_ex(timing, &error, 0, "{s:s, s:i, s:F, s:F, s:b}", "library", &library, "candidate",
                                  &found.candidate, "own_ms", &found.own_ms, "library_ms", &found.library_ms, "faster",
                                  &faster) != 0)
        return false;
    if (strlen(library) >= sizeof found.library || found.candidate < 0)
        return false;
    strcpy(found.library, library);
    found.faster = faster != 0;
    *out = found;
    return true;
}

void dg_library_choices_put(dg_library_choices *c, const char *key, const dg_library_choice *choice) {
    dg_json_set(&c->timings, key,
                json_pack("{s:s, s:i, s:f, s:f, s:b}", "library", choice->library, "candidate", choice->candidate,
                          "own_ms", choice->own_ms, "library_ms", choice->library_ms, "faster", choice->faster));
}

void dg_library_choices_save(dg_library_choices *c) {
    dg_status status = DG_OK;
    char *folder = cache_folder();
    json_t *file = NULL, *others = read_timings(c);
    if (!c->path || !folder)
        goto done;
    if (others)
        json_object_update_missing(c->timings, others);
    file = json_pack("{s:O, s:O}", "made_for", c->made_for, "timings", c->timings);
    DG_TRY(dg_fs_mkdirs(c->ctx, folder));
    DG_TRY(dg_json_save(c->ctx, c->path, file));
done:
    if (status != DG_OK) {
        dg_log(c->ctx, DG_LOG_WARN, "the timings of cuDNN and cuBLASLt are not kept: %s", dg_last_error(c->ctx));
        dg_ctx_clear_error(c->ctx);
    }
    json_decref(others);
    json_decref(file);
    free(folder);
}
