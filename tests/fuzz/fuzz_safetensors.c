/* Any bytes as a safetensors file: opened, and every tensor that can be is read into a buffer of exactly its size. */
#include "io/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(dg_ctx *ctx, const dg_safetensors *st) {
    for (int64_t i = 0; i < dg_safetensors_count(st); i++) {
        const dg_st_tensor *t = dg_safetensors_at(st, i);
        if (dg_safetensors_find(st, t->name) != t)
            abort();
        float *values = malloc((size_t)t->count * sizeof *values + 1);
        if (values && dg_safetensors_read_f32(ctx, st, t->name, t->rank, t->dims, values) == DG_OK)
            for (int64_t k = 0; k < t->count; k++)
                if (!(values[k] - values[k] == 0))
                    abort(); /* not finite */
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    dg_ctx *ctx = NULL;
    dg_safetensors *st = NULL;
    char path[64];
    const int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || dg_ctx_create(&ctx) != DG_OK)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (dg_safetensors_open(ctx, path, &st) == DG_OK)
        read_all(ctx, st);
    dg_safetensors_close(st);
    dg_ctx_free(ctx);
    close(fd);
    return 0;
}
