/* ZIP and TAR through libarchive. Members are read once, front to back, and kept compressed as they are (PNG, JPEG,
 * ...) in memory, because neither format gives cheap random access through the library. */
#include "data/legacy_names.h"
#include "data/own_output.h"
#include "data/table.h"
#include "data/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BLOCK_BYTES = 1 << 16, MAX_MEMBERS = 1 << 24 };

static bool is_label_file(const char *path) {
    const char *name = dg_path_name(path);
    return dg_path_ends_with(name, ".cls") || dg_path_is_table(name) || strcasecmp(name, "dataset.json") == 0 ||
           dg_path_ends_with(name, "idx3-ubyte") || dg_path_ends_with(name, "idx3-ubyte.gz") ||
           dg_path_ends_with(name, "idx1-ubyte") || dg_path_ends_with(name, "idx1-ubyte.gz");
}

/* What a member's name says about it. */
typedef enum member_use { USE_NONE, USE_NAME, USE_BYTES, USE_IF_IMAGE } member_use;

static member_use use_of(const char *path) {
    dg_file_kind kind;
    const dg_foreign *foreign;
    if (is_label_file(path) || dg_own_output_marks(path))
        return USE_BYTES;
    if (!dg_recognise_name(path, &kind, &foreign))
        return USE_IF_IMAGE;
    return kind == DG_FILE_IMAGE ? USE_BYTES : foreign || dg_path_ends_with(path, ".npz") ? USE_NAME : USE_NONE;
}

/* One member's bytes. The size in its header is not believed: memory grows with what is really there.
 * in    if_image  give up after the first bytes if they are not those of an image
 * out   *bytes NULL if given up, or with *problem
 *       *problem a text if the member is unusable but the archive goes on */
static dg_status read_member(dg_ctx *ctx, dg_tree *tree, struct archive *archive, const char *where, const char *name,
                             bool if_image, uint8_t **bytes, size_t *size, const char **problem) {
    dg_status status = DG_OK;
    uint8_t *data = NULL;
    size_t capacity = 0, used = 0;
    *problem = NULL;
    for (;;) {
        if (capacity - used < BLOCK_BYTES) {
            size_t wanted = capacity ? 2 * capacity : 2 * BLOCK_BYTES;
            uint8_t *grown = realloc(data, wanted);
            if (!grown) {
                status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for member %s", where, name);
                goto done;
            }
            data = grown;
            capacity = wanted;
        }
        la_ssize_t n = archive_read_data(archive, data + used, capacity - used);
        if (n == ARCHIVE_FATAL) {
            const char *why = archive_error_string(archive);
            status = dg_fail(ctx, DG_EDATA, "%s: damaged archive at member %s: %s", where, name, why ? why : "unknown");
            goto done;
        }
        if (n < 0) {
            *problem = "damaged or encrypted in the archive";
            goto done;
        }
        used += (size_t)n;
        if (if_image && (n == 0 || used >= DG_RECOGNISE_BYTES)) {
            const dg_foreign *foreign;
            if (dg_recognise_bytes(data, used, &foreign) == DG_FILE_OTHER)
                goto done;
            if_image = false;
        }
        if (n == 0)
            break;
        if ((int64_t)used > tree->held_limit - tree->held_bytes) {
            status = dg_fail(ctx, DG_EDATA,
                             "%s: its images take more than %" PRId64 " MiB of memory; unpack it into a folder", where,
                             tree->held_limit >> 20);
            goto done;
        }
        if (used > (size_t)DG_TREE_MAX_FILE_BYTES) {
            *problem = "larger than 256 MiB";
            goto done;
        }
    }
    uint8_t *exact = realloc(data, used + 1);
    if (exact)
        data = exact;
    data[used] = 0;
    *bytes = data;
    *size = used;
    data = NULL;
done:
    free(data);
    return status;
}

static struct archive *new_reader(void) {
    struct archive *archive = archive_read_new();
    if (!archive)
        return NULL;
    /* Named one by one: "all" would include filters that start other programs. */
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_format_tar(archive);
    archive_read_support_format_zip(archive);
    return archive;
}

static dg_status add_member(dg_ctx *ctx, dg_tree *tree, struct archive *archive, struct archive_entry *entry,
                            const char *where, const char *prefix) {
    dg_status status = DG_OK;
    char *path = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0, skip = strlen(prefix);
    const char *problem = NULL, *name = archive_entry_pathname_utf8(entry);
    if (!name)
        name = archive_entry_pathname(entry);
    if (!name || !*name) {
        tree->hidden++;
        return DG_OK;
    }
    if (asprintf(&path, "%s%s", prefix, name) < 0) {
        path = NULL;
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory for member names", where);
    }
    bool folder = archive_entry_filetype(entry) == AE_IFDIR;
    if (!dg_path_normalise(path + skip) && !(folder && path[skip] == 0)) {
        status = dg_fail(ctx, DG_EDATA, "%s: member %s has an unsafe path; refusing the archive", where, name);
        goto done;
    }
    if (folder)
        goto done;
    tree->nested += dg_path_is_archive(path) && !dg_path_hidden(path + skip);
    member_use use = use_of(path);
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || dg_path_hidden(path + skip) ||
        use == USE_NONE) {
        tree->hidden++;
        goto done;
    }
    if (use == USE_NAME) {
        status = dg_tree_add_file(ctx, tree, path, skip, NULL, 0);
        goto done;
    }
    DG_TRY(read_member(ctx, tree, archive, where, name, use == USE_IF_IMAGE, &bytes, &size, &problem));
    if (problem) {
        DG_TRY(dg_tree_add_file(ctx, tree, path, skip, NULL, 0));
        tree->files[tree->count - 1].problem = strdup(problem);
    } else if (!bytes) {
        tree->hidden++;
    } else {
        status = dg_tree_add_file(ctx, tree, path, skip, bytes, size);
        bytes = NULL;
    }
done:
    free(bytes);
    free(path);
    return status;
}

static dg_status read_members(dg_ctx *ctx, dg_tree *tree, struct archive *archive, const char *where,
                              const char *prefix) {
    for (int64_t members = 0;; members++) {
        struct archive_entry *entry = NULL;
        int result = archive_read_next_header(archive, &entry);
        if (result == ARCHIVE_EOF)
            return DG_OK;
        if (result == ARCHIVE_RETRY || result == ARCHIVE_FAILED || result == ARCHIVE_FATAL) {
            const char *why = archive_error_string(archive);
            return dg_fail(ctx, DG_EDATA, "%s: not a readable ZIP or TAR archive: %s", where, why ? why : "unknown");
        }
        if (members >= MAX_MEMBERS)
            return dg_fail(ctx, DG_EDATA, "%s: more than %d members", where, MAX_MEMBERS);
        if (dg_ctx_stop_requested(ctx))
            return dg_fail(ctx, DG_EINTERRUPTED, "stopped while reading %s", where);
        dg_status status = add_member(ctx, tree, archive, entry, where, prefix);
        if (status != DG_OK)
            return status;
    }
}

/* A TAR ends with blocks of zeros. One that was cut between two members has none, and reads like a smaller one. */
static bool lacks_end(struct archive *archive, const char *path, const void *bytes, size_t size) {
    enum { TAR_BLOCK = 512 };
    uint8_t last[TAR_BLOCK] = {0};
    if ((archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) != ARCHIVE_FORMAT_TAR ||
        archive_filter_code(archive, 0) != ARCHIVE_FILTER_NONE)
        return false;
    if (bytes) {
        if (size >= sizeof last)
            memcpy(last, (const uint8_t *)bytes + size - sizeof last, sizeof last);
    } else {
        FILE *file = fopen(path, "rbe");
        const bool got =
            file && fseek(file, -(long)sizeof last, SEEK_END) == 0 && fread(last, sizeof last, 1, file) == 1;
        if (file)
            fclose(file);
        if (!got)
            return false;
    }
    for (size_t i = 0; i < sizeof last; i++)
        if (last[i])
            return true;
    return false;
}

dg_status dg_tree_add_archive(dg_ctx *ctx, dg_tree *tree, const char *path, const void *bytes, size_t size,
                              const char *prefix) {
    dg_status status = DG_OK;
    const size_t first = tree->count;
    const int64_t nested = tree->nested;
    tree->archive = true;
    /* libarchive converts member names to the locale's encoding; only this thread's locale is set, for this call. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    struct archive *archive = new_reader();
    if (!archive) {
        status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for the archive reader", path);
        goto done;
    }
    int result =
        bytes ? archive_read_open_memory(archive, bytes, size) : archive_read_open_filename(archive, path, BLOCK_BYTES);
    if (result != ARCHIVE_OK) {
        const char *why = archive_error_string(archive);
        status = dg_fail(ctx, DG_EDATA, "%s: not a folder, nor a readable ZIP or TAR archive: %s", path,
                         why ? why : "unknown");
        goto done;
    }
    DG_TRY(read_members(ctx, tree, archive, path, prefix));
    DG_TRY(dg_legacy_names_decode(ctx, tree, first, path));
    if (lacks_end(archive, path, bytes, size))
        DG_TRY(dg_tree_remark(ctx, tree, "%s has no mark of its end: it may be cut off, and members may be missing",
                              path));
    if (tree->nested > nested)
        status = dg_tree_remark(ctx, tree, "%s holds %lld archives, which are not opened", path,
                                (long long)(tree->nested - nested));
done:
    archive_read_free(archive);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    return status;
}
