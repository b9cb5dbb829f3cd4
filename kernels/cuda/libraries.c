/* Finding, opening and closing cuDNN and cuBLASLt. */
#include "kernels/cuda/libraries.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *dg_library_load(const char *const *names, char why[DG_LIBRARY_WHY]) {
    /* Toolkits that are unpacked rather than installed are not known to the loader. */
    static const char *const places[] = {"", "/usr/local/cuda/lib64/"};
    char path[96];
    *why = '\0';
    for (int i = 0; names[i]; i++)
        for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
            snprintf(path, sizeof path, "%s%s", places[k], names[i]);
            void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (library)
                return library;
            if (!*why)
                snprintf(why, DG_LIBRARY_WHY, "%s", dlerror());
        }
    return NULL;
}

bool dg_library_symbols(void *library, const char *const *names, int count, void **to, char why[DG_LIBRARY_WHY]) {
    for (int i = 0; i < count; i++) {
        to[i] = dlsym(library, names[i]);
        if (!to[i]) {
            snprintf(why, DG_LIBRARY_WHY, "it has no function %s", names[i]);
            return false;
        }
    }
    return true;
}

int dg_cuda_libraries(dg_library_info out[DG_CUDA_LIBRARIES]) {
    dg_ctx *ctx = NULL;
    dg_cudnn *cudnn = NULL;
    dg_cublaslt *cublaslt = NULL;
    memset(out, 0, DG_CUDA_LIBRARIES * sizeof *out);
    if (dg_ctx_create(&ctx) != DG_OK)
        return 0;
    const bool asked = dg_cudnn_open(ctx, false, &out[0], &cudnn) == DG_OK &&
                       dg_cublaslt_open(ctx, false, &out[1], &cublaslt) == DG_OK;
    dg_cudnn_close(cudnn);
    dg_cublaslt_close(cublaslt);
    dg_ctx_free(ctx);
    return asked ? DG_CUDA_LIBRARIES : 0;
}

dg_status dg_cuda_libraries_open(dg_ctx *ctx, dg_library_use use, dg_libraries **out) {
    dg_status status = DG_OK;
    dg_libraries *l = NULL;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &l, 1, sizeof *l, "the libraries"));
    l->ctx = ctx;
    l->use = use;
    DG_TRY(dg_cudnn_open(ctx, true, &l->info[0], &l->cudnn));
    DG_TRY(dg_cublaslt_open(ctx, true, &l->info[1], &l->cublaslt));
    if (use == DG_LIBRARIES_ALWAYS && !l->cudnn && !l->cublaslt)
        DG_TRY(dg_fail(ctx, DG_EDEVICE, "--libraries always: neither is to be had. %s: %s. %s: %s", l->info[0].name,
                       l->info[0].why_not, l->info[1].name, l->info[1].why_not));
    if (use == DG_LIBRARIES_AUTO)
        DG_TRY(dg_library_choices_open(ctx, l->info, DG_CUDA_LIBRARIES, &l->choices));
    *out = l;
    l = NULL;
done:
    dg_cuda_libraries_close(l);
    return status;
}

void dg_cuda_libraries_close(dg_libraries *l) {
    if (!l)
        return;
    dg_library_choices_close(l->choices);
    dg_cublaslt_close(l->cublaslt);
    dg_cudnn_close(l->cudnn);
    free(l);
}
