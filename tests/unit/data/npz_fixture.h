/* .npz files for the data room's tests, as numpy.savez writes them. */
#ifndef DG_TESTS_UNIT_DATA_NPZ_FIXTURE_H
#define DG_TESTS_UNIT_DATA_NPZ_FIXTURE_H

#include "unit/data/data_fixture.h"

#include <archive.h>
#include <archive_entry.h>

typedef struct npy {
    const char *name, *type, *shape; /* "train_images", "|u1", "(3, 8, 8)" */
    const void *values;
    size_t bytes;
} npy;

static inline const char *put_npz(const char *name, const npy *arrays, size_t count) {
    put(name, "", 0);
    struct archive *archive = archive_write_new();
    archive_write_set_format_zip(archive);
    ck_assert_int_eq(archive_write_open_filename(archive, in_dir(name)), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        char header[256] = "\x93NUMPY\x01\0", file_name[64];
        const int text =
            snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                     arrays[i].type, arrays[i].shape);
        const size_t size = (size_t)(10 + text + 1 + 63) / 64 * 64;
        memset(header + 10 + text, ' ', size - (size_t)text - 11);
        header[size - 1] = '\n';
        header[8] = (char)(size - 10);
        snprintf(file_name, sizeof file_name, "%s.npy", arrays[i].name);
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, file_name);
        archive_entry_set_size(entry, (la_int64_t)(size + arrays[i].bytes));
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        ck_assert_int_eq(archive_write_header(archive, entry), ARCHIVE_OK);
        ck_assert_int_eq(archive_write_data(archive, header, size), (la_ssize_t)size);
        ck_assert_int_eq(archive_write_data(archive, arrays[i].values, arrays[i].bytes), (la_ssize_t)arrays[i].bytes);
        archive_entry_free(entry);
    }
    ck_assert_int_eq(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
    return in_dir(name);
}

#endif
