#include "formats/npz.h"

#include "core/fs.h"
#include "core/text.h"
#include "formats/npy.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BLOCK = 1 << 16, MAX_MEMBERS = 4096 };

/* mean and covariance of 8192 features, and a little more */
static const int64_t max_statistics = INT64_C(1) << 30;

typedef struct reader {
    dg_ctx *ctx;
    struct archive *archive;
    const char *path;
    int64_t left; /* bytes of values that may still be kept */
    dg_npz_want_fn want;
    void *user;
    dg_npz *out;
} reader;

/* Up to `wanted` bytes of the member more; fewer are there at its end. */
static dg_status read_more(reader *r, size_t wanted, dg_str *out) {
    char block[READ_BLOCK];
    while (wanted > 0) {
        const la_ssize_t n = archive_read_data(r->archive, block, wanted < sizeof block ? wanted : sizeof block);
        if (n == 0)
            break;
        if (n < 0)
            return dg_fail(r->ctx, DG_EDATA, "%s: damaged archive: %s", r->path, archive_error_string(r->archive));
        dg_str_append_bytes(out, block, (size_t)n);
        wanted -= (size_t)n;
    }
    return dg_str_ok(out) ? DG_OK : dg_fail(r->ctx, DG_ENOMEM, "%s: out of memory", r->path);
}

static dg_status read_header(reader *r, const char *name, dg_npz_array *a, dg_npy_layout *layout) {
    dg_status status = DG_OK;
    dg_str header = {0};
    DG_TRY(read_more(r, DG_NPY_PREFIX_BYTES, &header));
    const size_t size = header.length == DG_NPY_PREFIX_BYTES ? dg_npy_header_bytes(header.data) : 0;
    if (size > header.length)
        DG_TRY(read_more(r, size - header.length, &header));
    if (size < DG_NPY_PREFIX_BYTES || header.length != size)
        DG_TRY(
            dg_fail(r->ctx, DG_EDATA, "%s: its member %s is no NumPy array, or its header is damaged", r->path, name));
    DG_TRY(dg_npy_parse(r->ctx, r->path, name, header.data, size, a, layout));
done:
    dg_str_free(&header);
    return status;
}

/* Memory grows with what is really there, whatever the header promises. */
static dg_status read_values(reader *r, const char *name, const dg_npy_layout *layout, dg_npz_array *a) {
    dg_status status = DG_OK;
    dg_str values = {0};
    const int64_t bytes = a->count * (int64_t)a->item_bytes; /* no overflow: counts are limited */
    if (bytes > r->left)
        DG_TRY(dg_fail(r->ctx, DG_EDATA, "%s: its array %s takes %lld MiB, of which %lld fit in memory", r->path,
                       a->name, (long long)(bytes >> 20), (long long)(r->left >> 20)));
    DG_TRY(read_more(r, (size_t)bytes + 1, &values));
    if (values.length != (size_t)bytes)
        DG_TRY(
            dg_fail(r->ctx, DG_EDATA, "%s: its member %s does not have the numbers its shape promises", r->path, name));
    r->left -= bytes;
    if (!values.data)
        dg_str_append_bytes(&values, "", 1);
    if (!dg_str_ok(&values))
        DG_TRY(dg_fail(r->ctx, DG_ENOMEM, "%s: out of memory", r->path));
    void *taken = values.data;
    values = (dg_str){0};
    DG_TRY(dg_npy_take(r->ctx, layout, taken, a));
done:
    dg_str_free(&values);
    return status;
}

static dg_status add_member(reader *r, const char *name) {
    dg_status status = DG_OK;
    dg_npz_array *a = &r->out->arrays[r->out->count];
    dg_npy_layout layout;
    const size_t length = strlen(name);
    if (r->out->count == DG_NPZ_MAX_ARRAYS || length < 4 || strcmp(name + length - 4, ".npy") != 0)
        return DG_OK;
    DG_TRY(read_header(r, name, a, &layout));
    a->name = strndup(name, length - 4);
    if (!a->name)
        DG_TRY(dg_fail(r->ctx, DG_ENOMEM, "%s: out of memory", r->path));
    r->out->count++;
    if (layout.readable && r->want(r->user, a))
        DG_TRY(read_values(r, name, &layout, a));
done:
    return status;
}

static dg_status open_archive(reader *r, const void *bytes, size_t size) {
    if (!bytes && !dg_fs_is_file(r->path))
        return dg_fail(r->ctx, DG_ENOINPUT, "%s: no such file", r->path);
    r->archive = archive_read_new();
    if (!r->archive)
        return dg_fail(r->ctx, DG_ENOMEM, "%s: out of memory", r->path);
    archive_read_support_format_zip(r->archive);
    const int code = bytes ? archive_read_open_memory(r->archive, bytes, size)
                           : archive_read_open_filename(r->archive, r->path, READ_BLOCK);
    if (code != ARCHIVE_OK)
        return dg_fail(r->ctx, DG_EDATA, "%s is no .npz file: %s", r->path, archive_error_string(r->archive));
    return DG_OK;
}

dg_status dg_npz_scan(dg_ctx *ctx, const char *path, const void *bytes, size_t size, int64_t limit, dg_npz_want_fn want,
                      void *user, dg_npz *out) {
    dg_status status = DG_OK;
    reader r = {.ctx = ctx, .path = path, .left = limit, .want = want, .user = user, .out = out};
    struct archive_entry *entry;
    int code = ARCHIVE_OK;
    *out = (dg_npz){0};
    DG_TRY(dg_alloc(ctx, &out->arrays, DG_NPZ_MAX_ARRAYS + 1, sizeof *out->arrays, "arrays"));
    DG_TRY(open_archive(&r, bytes, size));
    for (int members = 0; members < MAX_MEMBERS; members++) {
        code = archive_read_next_header(r.archive, &entry);
        if (code != ARCHIVE_OK)
            break;
        const char *name = archive_entry_pathname(entry);
        if (name)
            DG_TRY(add_member(&r, name));
    }
    if (code != ARCHIVE_EOF)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s is no .npz file: %s", path,
                       code == ARCHIVE_OK ? "it has too many members" : archive_error_string(r.archive)));
done:
    if (r.archive)
        archive_read_free(r.archive);
    if (status != DG_OK)
        dg_npz_free(out);
    return status;
}

/* ---- statistics ---- */

static bool is_float(void *user, const dg_npz_array *array) {
    (void)user;
    return array->type[0] == 'f';
}

static void note_passed_over(dg_npz *npz, const dg_npz_array *a) {
    dg_str text = {0};
    dg_str_printf(&text, "%s%s%s.npy (%s)", npz->passed_over ? npz->passed_over : "", npz->passed_over ? ", " : "",
                  a->name, a->type);
    free(npz->passed_over);
    npz->passed_over = text.data;
}

static dg_status make_double(dg_ctx *ctx, dg_npz_array *a) {
    if (a->item_bytes == sizeof(double)) {
        a->data = a->values;
        a->values = NULL;
        return DG_OK;
    }
    dg_status status = dg_alloc(ctx, &a->data, (size_t)a->count + 1, sizeof(double), "an array");
    for (int64_t i = 0; i < a->count && status == DG_OK; i++)
        a->data[i] = ((const float *)a->values)[i];
    return status;
}

static void free_array(dg_npz_array *a) {
    free(a->name);
    free(a->data);
    free(a->values);
    *a = (dg_npz_array){0};
}

dg_status dg_npz_read(dg_ctx *ctx, const char *path, dg_npz *out) {
    dg_status status = DG_OK;
    int64_t kept = 0;
    DG_TRY(dg_npz_scan(ctx, path, NULL, 0, max_statistics, is_float, NULL, out));
    for (int64_t i = 0; i < out->count; i++) {
        dg_npz_array a = out->arrays[i];
        out->arrays[i] = (dg_npz_array){0};
        if (!a.values) {
            note_passed_over(out, &a);
            free_array(&a);
            continue;
        }
        out->arrays[kept] = a;
        DG_TRY(make_double(ctx, &out->arrays[kept++]));
    }
    out->count = kept;
done:
    if (status != DG_OK)
        dg_npz_free(out);
    return status;
}

/* ---- looking ---- */

const dg_npz_array *dg_npz_find(const dg_npz *npz, const char *name) {
    for (int64_t i = 0; i < npz->count; i++)
        if (strcmp(npz->arrays[i].name, name) == 0)
            return &npz->arrays[i];
    return NULL;
}

bool dg_npz_integer(const dg_npz_array *array, int64_t i, int64_t *out) {
    const uint8_t *at = array->values;
    const bool is_signed = array->type[0] == 'i';
    uint64_t value = 0;
    if (!at || i < 0 || i >= array->count || !strchr("uib", array->type[0]))
        return false;
    at += (size_t)i * array->item_bytes;
    switch (array->item_bytes) {
    case 1:
        value = *at;
        break;
    case 2:
        value = *(const uint16_t *)(const void *)at;
        break;
    case 4:
        value = *(const uint32_t *)(const void *)at;
        break;
    default:
        value = *(const uint64_t *)(const void *)at;
    }
    const unsigned unused = 64 - 8 * (unsigned)array->item_bytes;
    *out = is_signed ? (int64_t)(value << unused) >> unused : (int64_t)value;
    return is_signed || value <= INT64_MAX;
}

void dg_npz_free(dg_npz *npz) {
    for (int64_t i = 0; npz->arrays && i <= DG_NPZ_MAX_ARRAYS; i++)
        free_array(&npz->arrays[i]);
    free(npz->arrays);
    free(npz->passed_over);
    *npz = (dg_npz){0};
}
