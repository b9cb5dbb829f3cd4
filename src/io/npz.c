#include "io/npz.h"

#include "core/fs.h"
#include "core/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 6, MAX_HEADER = 1 << 16, READ_BLOCK = 1 << 16, ALIGN = 64 };

/* mean and covariance of 8192 features, and a little more */
static const int64_t max_bytes = INT64_C(1) << 30;

static const char magic[] = "\x93NUMPY";

/* ---- one array ---- */

/* The text after "'key':" in the header's dictionary, NULL if there is none. */
static const char *value_of(const char *header, const char *key) {
    const char *found = strstr(header, key);
    if (!found)
        return NULL;
    found += strlen(key);
    return found + strspn(found, ": ");
}

static bool parse_shape(const char *text, dg_npz_array *a) {
    if (!text || *text != '(')
        return false;
    a->rank = 0;
    a->count = 1;
    text++;
    for (;;) {
        text += strspn(text, ", ");
        if (*text == ')')
            return true;
        char *end;
        const long long n = strtoll(text, &end, 10);
        if (end == text || n < 0 || a->rank == DG_NPZ_MAX_RANK || (n > 0 && a->count > max_bytes / n))
            return false;
        a->dims[a->rank++] = n;
        a->count *= n;
        text = end;
    }
}

/* Where element i of the file goes: the first dimension runs fastest there. */
static int64_t c_order(const dg_npz_array *a, int64_t i) {
    int64_t to = 0, stride = a->count;
    for (int k = 0; k < a->rank; k++) {
        stride /= a->dims[k];
        to += i % a->dims[k] * stride;
        i /= a->dims[k];
    }
    return to;
}

static void note_passed_over(dg_npz *npz, const char *name, const char *type) {
    dg_str text = {0};
    const size_t shown = type ? strcspn(type, ",}\n") : 0;
    dg_str_printf(&text, "%s%s%s (%.*s)", npz->passed_over ? npz->passed_over : "", npz->passed_over ? ", " : "", name,
                  type ? (int)(shown < 40 ? shown : 40) : 12, type ? type : "unknown type");
    free(npz->passed_over);
    npz->passed_over = text.data;
}

/* The .npy file in `bytes`. *taken false: a type that is passed over. */
static dg_status parse_array(dg_ctx *ctx, const char *path, const char *name, const char *bytes, size_t size,
                             dg_npz *npz, dg_npz_array *a, bool *taken) {
    dg_status status = DG_OK;
    char *header = NULL;
    size_t start = MAGIC + 4, length;
    const unsigned char *u = (const unsigned char *)bytes;
    *taken = false;
    if (size < MAGIC + 6 || memcmp(bytes, magic, MAGIC) != 0)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: its member %s is no NumPy array", path, name));
    length = u[8] | (size_t)u[9] << 8;
    if (u[6] > 1) {
        length |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
        start += 2;
    }
    if (length > MAX_HEADER || start + length > size)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: the header of its member %s is damaged", path, name));
    header = strndup(bytes + start, length);
    if (!header)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path));
    const char *type = value_of(header, "'descr'"), *fortran = value_of(header, "'fortran_order'");
    const bool wide = type && strncmp(type, "'<f8'", 5) == 0, narrow = type && strncmp(type, "'<f4'", 5) == 0;
    const bool turned = fortran && strncmp(fortran, "True", 4) == 0;
    if ((!wide && !narrow) || (!turned && (!fortran || strncmp(fortran, "False", 5) != 0))) {
        note_passed_over(npz, name, type);
        goto done;
    }
    if (!parse_shape(value_of(header, "'shape'"), a) || (size_t)a->count != (size - start - length) / (wide ? 8 : 4))
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: its member %s does not have the numbers its shape promises", path, name));
    DG_TRY(dg_alloc(ctx, &a->data, (size_t)a->count + 1, sizeof(double), "an array"));
    for (int64_t i = 0; i < a->count; i++) {
        const char *at = bytes + start + length + (size_t)i * (wide ? 8 : 4);
        double *to = &a->data[turned ? c_order(a, i) : i];
        float single;
        if (wide)
            memcpy(to, at, sizeof(double));
        else {
            memcpy(&single, at, sizeof single);
            *to = single;
        }
    }
    *taken = true;
done:
    free(header);
    return status;
}

/* ---- the archive ---- */

static dg_status read_member(dg_ctx *ctx, struct archive *archive, const char *path, dg_str *out) {
    char block[READ_BLOCK];
    for (;;) {
        const la_ssize_t n = archive_read_data(archive, block, sizeof block);
        if (n == 0)
            return dg_str_ok(out) ? DG_OK : dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
        if (n < 0)
            return dg_fail(ctx, DG_EDATA, "%s: damaged archive: %s", path, archive_error_string(archive));
        dg_str_append_bytes(out, block, (size_t)n);
        if ((int64_t)out->length > max_bytes)
            return dg_fail(ctx, DG_EDATA, "%s holds an array of more than 1 GiB", path);
    }
}

static dg_status add_member(dg_ctx *ctx, struct archive *archive, const char *path, const char *name, dg_npz *npz) {
    dg_status status = DG_OK;
    dg_str bytes = {0};
    dg_npz_array *a = &npz->arrays[npz->count];
    const size_t length = strlen(name);
    bool taken;
    if (npz->count == DG_NPZ_MAX_ARRAYS || length < 4 || strcmp(name + length - 4, ".npy") != 0)
        return DG_OK;
    DG_TRY(read_member(ctx, archive, path, &bytes));
    DG_TRY(parse_array(ctx, path, name, bytes.data ? bytes.data : "", bytes.length, npz, a, &taken));
    if (taken) {
        a->name = strndup(name, length - 4);
        npz->count++;
        if (!a->name)
            DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path));
    }
done:
    dg_str_free(&bytes);
    return status;
}

dg_status dg_npz_read(dg_ctx *ctx, const char *path, dg_npz *out) {
    dg_status status = DG_OK;
    struct archive_entry *entry;
    struct archive *archive = archive_read_new();
    int code = ARCHIVE_OK;
    *out = (dg_npz){0};
    if (!dg_fs_is_file(path))
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: no such file", path));
    DG_TRY(dg_alloc(ctx, &out->arrays, DG_NPZ_MAX_ARRAYS + 1, sizeof *out->arrays, "arrays"));
    if (!archive)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path));
    archive_read_support_format_zip(archive);
    if (archive_read_open_filename(archive, path, READ_BLOCK) != ARCHIVE_OK)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s is no .npz file: %s", path, archive_error_string(archive)));
    while ((code = archive_read_next_header(archive, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        if (name)
            DG_TRY(add_member(ctx, archive, path, name, out));
    }
    if (code != ARCHIVE_EOF)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s is no .npz file: %s", path, archive_error_string(archive)));
done:
    if (archive)
        archive_read_free(archive);
    if (status != DG_OK)
        dg_npz_free(out);
    return status;
}

const dg_npz_array *dg_npz_find(const dg_npz *npz, const char *name) {
    for (int64_t i = 0; i < npz->count; i++)
        if (strcmp(npz->arrays[i].name, name) == 0)
            return &npz->arrays[i];
    return NULL;
}

void dg_npz_free(dg_npz *npz) {
    for (int64_t i = 0; npz->arrays && i <= DG_NPZ_MAX_ARRAYS; i++) {
        free(npz->arrays[i].name);
        free(npz->arrays[i].data);
    }
    free(npz->arrays);
    free(npz->passed_over);
    *npz = (dg_npz){0};
}

/* ---- writing ---- */

static void append_header(const dg_npz_array *a, dg_str *out) {
    dg_str text = {0};
    dg_str_append(&text, "{'descr': '<f8', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < a->rank; i++)
        dg_str_printf(&text, "%s%" PRId64 "%s", i ? " " : "", a->dims[i], i + 1 < a->rank || a->rank == 1 ? "," : "");
    dg_str_append(&text, "), }");
    while ((MAGIC + 4 + text.length + 1) % ALIGN)
        dg_str_append(&text, " ");
    dg_str_append(&text, "\n");
    const char length[2] = {(char)(text.length & 0xff), (char)(text.length >> 8)};
    dg_str_append_bytes(out, magic, MAGIC);
    dg_str_append_bytes(out, "\x01\x00", 2);
    dg_str_append_bytes(out, length, 2);
    dg_str_append_bytes(out, text.data, text.length);
    out->failed |= text.failed;
    dg_str_free(&text);
}

static bool write_member(struct archive *archive, const dg_npz_array *a) {
    char name[128];
    dg_str bytes = {0};
    struct archive_entry *entry = archive_entry_new();
    append_header(a, &bytes);
    dg_str_append_bytes(&bytes, a->data, (size_t)a->count * sizeof *a->data);
    snprintf(name, sizeof name, "%s.npy", a->name);
    bool good = entry && dg_str_ok(&bytes);
    if (good) {
        archive_entry_set_pathname(entry, name);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_size(entry, (la_int64_t)bytes.length);
        archive_entry_set_mtime(entry, 315532800, 0); /* 1980, the least a zip can say */
        good = archive_write_header(archive, entry) == ARCHIVE_OK &&
               archive_write_data(archive, bytes.data, bytes.length) == (la_ssize_t)bytes.length;
    }
    archive_entry_free(entry);
    dg_str_free(&bytes);
    return good;
}

static la_ssize_t collect(struct archive *archive, void *user, const void *data, size_t size) {
    dg_str *out = user;
    (void)archive;
    dg_str_append_bytes(out, data, size);
    return out->failed ? -1 : (la_ssize_t)size;
}

dg_status dg_npz_write(dg_ctx *ctx, const char *path, const dg_npz_array *arrays, int64_t count) {
    dg_status status = DG_OK;
    dg_str out = {0};
    struct archive *archive = archive_write_new();
    bool good = archive && archive_write_set_format_zip(archive) == ARCHIVE_OK &&
                archive_write_zip_set_compression_store(archive) == ARCHIVE_OK &&
                archive_write_open(archive, &out, NULL, collect, NULL) == ARCHIVE_OK;
    for (int64_t i = 0; good && i < count; i++)
        good = write_member(archive, &arrays[i]);
    good = good && archive_write_close(archive) == ARCHIVE_OK;
    if (!good || !dg_str_ok(&out))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: the archive could not be put together", path));
    DG_TRY(dg_fs_write_atomic(ctx, path, out.data, out.length));
done:
    if (archive)
        archive_write_free(archive);
    dg_str_free(&out);
    return status;
}
