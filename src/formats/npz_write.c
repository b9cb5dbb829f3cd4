#include "formats/npy.h"

#include "core/fs.h"
#include "core/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <stdio.h>

enum { ALIGN = 64 };

static void append_header(const dg_npz_array *a, dg_str *out) {
    dg_str text = {0};
    dg_str_append(&text, "{'descr': '<f8', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < a->rank; i++)
        dg_str_printf(&text, "%s%" PRId64 "%s", i ? " " : "", a->dims[i], i + 1 < a->rank || a->rank == 1 ? "," : "");
    dg_str_append(&text, "), }");
    while ((DG_NPY_MAGIC_BYTES + 4 + text.length + 1) % ALIGN)
        dg_str_append(&text, " ");
    dg_str_append(&text, "\n");
    const char length[2] = {(char)(text.length & 0xff), (char)(text.length >> 8)};
    dg_str_append_bytes(out, dg_npy_magic, DG_NPY_MAGIC_BYTES);
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
