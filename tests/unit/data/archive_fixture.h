/* Archives for the data room's tests. */
#ifndef DG_TESTS_UNIT_DATA_ARCHIVE_FIXTURE_H
#define DG_TESTS_UNIT_DATA_ARCHIVE_FIXTURE_H

#include "unit/data/data_fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

typedef struct member {
    const char *name;
    int image; /* >= 0: an image of that seed */
    const char *text;
} member;

static inline const char *put_archive(const char *name, bool zip, const member *members, size_t count) {
    put(name, "", 0);
    setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive crashes on UTF-8 names without; reading must do without it */
    struct archive *archive = archive_write_new();
    if (zip)
        archive_write_set_format_zip(archive);
    else
        archive_write_set_format_pax_restricted(archive);
    if (strstr(name, ".gz"))
        archive_write_add_filter_gzip(archive);
    archive_write_set_options(archive, "hdrcharset=UTF-8");
    ck_assert_int_eq(archive_write_open_filename(archive, in_dir(name)), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[256];
        size_t size = 0;
        if (members[i].text)
            memcpy(bytes, members[i].text, size = strlen(members[i].text));
        else
            size = pgm_bytes(bytes, 8, 8, members[i].image);
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname_utf8(entry, members[i].name);
        archive_entry_set_size(entry, (la_int64_t)size);
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, 0644);
        ck_assert_int_ge(archive_write_header(archive, entry), ARCHIVE_WARN);
        ck_assert_int_eq(archive_write_data(archive, bytes, size), (la_ssize_t)size);
        archive_entry_free(entry);
    }
    ck_assert_int_eq(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
    setlocale(LC_CTYPE, "C");
    return in_dir(name);
}

#endif
