/* Writing safetensors: byte for byte what the reference writer makes of the same tensors. */
#include "core/fs.h"
#include "core/text.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t dtype_bits[] = {
#define DG_X(enumerator, name, bits) bits,
    DG_ST_DTYPES(DG_X)
#undef DG_X
};

static void append_json_string(dg_str *out, const char *text) {
    dg_str_append(out, "\"");
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\')
            dg_str_printf(out, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            dg_str_append(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c < 0x20)
            dg_str_printf(out, "\\u%04x", c);
        else
            dg_str_append_bytes(out, p, 1);
    }
    dg_str_append(out, "\"");
}

static int pair_by_key(const void *a, const void *b) {
    return strcmp(((const dg_st_pair *)a)->key, ((const dg_st_pair *)b)->key);
}

static dg_status append_metadata(dg_ctx *ctx, dg_str *header, const dg_st_pair *metadata, int64_t count) {
    dg_status status = DG_OK;
    dg_st_pair *sorted = NULL;
    if (count == 0)
        return DG_OK;
    DG_TRY(dg_alloc(ctx, &sorted, (size_t)count, sizeof *sorted, "safetensors metadata"));
    memcpy(sorted, metadata, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, pair_by_key);
    dg_str_append(header, "\"__metadata__\":{");
    for (int64_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(sorted[i].key, sorted[i - 1].key) == 0)
            DG_TRY(dg_fail(ctx, DG_EINVAL, "safetensors: metadata key \"%s\" twice", sorted[i].key));
        dg_str_append(header, i > 0 ? "," : "");
        append_json_string(header, sorted[i].key);
        dg_str_append(header, ":");
        append_json_string(header, sorted[i].value);
    }
    dg_str_append(header, "}");
done:
    free(sorted);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const dg_st_tensor *const *)a)->name, (*(const dg_st_tensor *const *)b)->name);
}

static int by_dtype_and_name(const void *a, const void *b) {
    const dg_st_tensor *x = *(const dg_st_tensor *const *)a, *y = *(const dg_st_tensor *const *)b;
    if (x->dtype != y->dtype)
        return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

static dg_status tensor_bytes(dg_ctx *ctx, const dg_st_tensor *t, uint64_t *bytes) {
    uint64_t bits = (unsigned)t->dtype < DG_ST_DTYPE_COUNT ? dtype_bits[t->dtype] : 1;
    bool overflow = t->rank < 0 || t->rank > DG_ST_MAX_RANK;
    for (int i = 0; !overflow && i < t->rank; i++)
        overflow = t->dims[i] < 0 || __builtin_mul_overflow(bits, (uint64_t)t->dims[i], &bits);
    if (overflow || bits % 8 != 0)
        return dg_fail(ctx, DG_EINVAL, "safetensors: tensor \"%s\" has an impossible shape or dtype", t->name);
    *bytes = bits / 8;
    return DG_OK;
}

static dg_status check_names(dg_ctx *ctx, const dg_st_tensor **order, int64_t count) {
    qsort(order, (size_t)count, sizeof *order, by_name);
    for (int64_t i = 0; i < count; i++) {
        const char *name = order[i]->name;
        bool legal = name[0] && strlen(name) <= DG_ST_MAX_NAME && strcmp(name, "__metadata__") != 0 &&
                     dg_utf8_valid(name, strlen(name));
        for (const char *p = name; legal && *p; p++)
            legal = (unsigned char)*p >= 0x20 && *p != 0x7f;
        if (!legal || (i > 0 && strcmp(name, order[i - 1]->name) == 0))
            return dg_fail(ctx, DG_EINVAL, "safetensors: tensor name \"%s\" is not legal or occurs twice", name);
    }
    return DG_OK;
}

static dg_status build_header(dg_ctx *ctx, const dg_st_tensor **order, int64_t count, const dg_st_pair *metadata,
                              int64_t num_metadata, dg_str *header) {
    dg_status status = DG_OK;
    uint64_t offset = 0;
    dg_str_append(header, "{");
    DG_TRY(append_metadata(ctx, header, metadata, num_metadata));
    for (int64_t i = 0; i < count; i++) {
        const dg_st_tensor *t = order[i];
        uint64_t bytes = 0;
        DG_TRY(tensor_bytes(ctx, t, &bytes));
        dg_str_append(header, i > 0 || num_metadata > 0 ? "," : "");
        append_json_string(header, t->name);
        dg_str_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", dg_st_dtype_name(t->dtype));
        for (int d = 0; d < t->rank; d++)
            dg_str_printf(header, "%s%lld", d > 0 ? "," : "", (long long)t->dims[d]);
        dg_str_printf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                      (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    dg_str_append(header, "}");
    while (header->length % 8 != 0 && dg_str_ok(header))
        dg_str_append(header, " ");
    if (!dg_str_ok(header))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a safetensors header"));
done:
    return status;
}

dg_status dg_safetensors_write(dg_ctx *ctx, const char *path, const dg_st_tensor *tensors, int64_t count,
                               const dg_st_pair *metadata, int64_t num_metadata) {
    dg_status status = DG_OK;
    dg_str header = {0};
    dg_atomic_file file = {0};
    const dg_st_tensor **order = NULL;
    DG_TRY(dg_alloc(ctx, &order, (size_t)count + 1, sizeof *order, "tensor list"));
    for (int64_t i = 0; i < count; i++)
        order[i] = &tensors[i];
    DG_TRY(check_names(ctx, order, count));
    qsort(order, (size_t)count, sizeof *order, by_dtype_and_name);
    DG_TRY(build_header(ctx, order, count, metadata, num_metadata, &header));
    const uint64_t length = header.length;
    DG_TRY(dg_fs_open_atomic(ctx, path, &file));
    DG_TRY(dg_fs_write(ctx, &file, &length, sizeof length));
    DG_TRY(dg_fs_write(ctx, &file, header.data, header.length));
    for (int64_t i = 0; i < count; i++) {
        uint64_t bytes = 0;
        DG_TRY(tensor_bytes(ctx, order[i], &bytes));
        if (bytes > 0)
            DG_TRY(dg_fs_write(ctx, &file, order[i]->data, (size_t)bytes));
    }
    DG_TRY(dg_fs_commit(ctx, &file));
done:
    dg_fs_abort(&file);
    dg_str_free(&header);
    free(order);
    return status;
}
