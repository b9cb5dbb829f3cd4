/* Files of an output folder. All temporaries live in a hidden folder of their own, so that a killed run leaves nothing
 * behind that the next one has to search for. */
#include "io/output_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOURNAL "journal.jsonl"

dg_status dg_output_join(dg_ctx *ctx, const char *folder, const char *name, char **out) {
    *out = dg_fs_join(folder, name);
    return *out ? DG_OK : dg_fail(ctx, DG_ENOMEM, "out of memory");
}

dg_status dg_output_errno(dg_ctx *ctx, const char *path, int error) {
    const bool denied = error == EACCES || error == EPERM || error == EROFS || error == ENOTDIR || error == EISDIR ||
                        error == ENOENT || error == ENAMETOOLONG;
    return dg_fail(ctx, denied ? DG_ECREATE : DG_EIO, "%s: cannot write: %s", path, strerror(error));
}

static int write_all(int fd, const void *data, size_t size) {
    const char *p = data;
    while (size > 0) {
        const ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* What lies under the name is a killed process's, or somebody's trap: it is removed, not written into. 0 or an errno.
 */
static int write_new(const char *path, const void *data, size_t size, bool durable) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags, 0666);
    if (fd < 0 && errno == EEXIST && unlink(path) == 0)
        fd = open(path, flags, 0666);
    if (fd < 0)
        return errno;
    int error = write_all(fd, data, size);
    if (error == 0 && durable && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

static int sync_folder(const char *path) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const int error = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    return error;
}

static dg_status temporary_name(dg_ctx *ctx, dg_output *o, char **out) {
    pthread_mutex_lock(&o->mutex);
    const int64_t number = o->temporaries++;
    pthread_mutex_unlock(&o->mutex);
    if (asprintf(out, "%s/%lld.tmp", o->work_path, (long long)number) < 0) {
        *out = NULL;
        return dg_fail(ctx, DG_ENOMEM, "out of memory");
    }
    return DG_OK;
}

dg_status dg_output_place(dg_ctx *ctx, dg_output *o, const char *name, const void *data, size_t size, bool durable) {
    dg_status status = DG_OK;
    char *path = NULL, *temporary = NULL;
    DG_TRY(dg_output_join(ctx, o->path, name, &path));
    DG_TRY(temporary_name(ctx, o, &temporary));
    int error = write_new(temporary, data, size, durable);
    if (error == 0 && rename(temporary, path) != 0)
        error = errno;
    if (error == 0 && durable)
        error = sync_folder(o->path);
    if (error != 0) {
        unlink(temporary);
        DG_TRY(dg_output_errno(ctx, path, error));
    }
done:
    free(path);
    free(temporary);
    return status;
}

dg_status dg_output_withdraw(dg_ctx *ctx, dg_output *o) {
    dg_status status = DG_OK;
    char *mark = NULL;
    DG_TRY(dg_output_join(ctx, o->path, "DONE", &mark));
    if (unlink(mark) != 0 && errno != ENOENT)
        DG_TRY(dg_output_errno(ctx, mark, errno));
    o->dirty = true;
done:
    free(mark);
    return status;
}

dg_status dg_output_place_if_changed(dg_ctx *ctx, dg_output *o, const char *name, const dg_str *text) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_output_join(ctx, o->path, name, &path));
    if (dg_fs_is_file(path)) {
        char there[DG_SHA256_HEX], wanted[DG_SHA256_HEX];
        DG_TRY(dg_sha256_file(ctx, path, there));
        dg_sha256_hex(text->data, text->length, wanted);
        if (strcmp(there, wanted) == 0)
            goto done;
    }
    DG_TRY(dg_output_withdraw(ctx, o));
    DG_TRY(dg_output_place(ctx, o, name, text->data, text->length, true));
done:
    free(path);
    return status;
}

/* ---- the journal ---------------------------------------------------------------------------------------------- */

/* One whole line; anything malformed, such as the torn end of a killed run, is passed over: that image is drawn again.
 */
static dg_status read_journal_line(dg_ctx *ctx, dg_output *o, const char *line, size_t size) {
    dg_manifest_image image;
    bool no_memory = false;
    json_t *json = dg_json_line(line, size, &no_memory);
    dg_status status = no_memory ? dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its journal", o->path) : DG_OK;
    if (json) {
        status = dg_manifest_parse_image(ctx, "journal", &o->known, json, &image);
        if (status == DG_OK)
            status = dg_manifest_add(ctx, &o->known, &image);
    }
    if (status != DG_ENOMEM && (!json || status != DG_OK)) {
        dg_ctx_clear_error(ctx);
        dg_log(ctx, DG_LOG_DEBUG, "%s: a line of the journal is malformed and passed over", o->path);
        status = DG_OK;
    }
    json_decref(json);
    return status;
}

static dg_status read_journal(dg_ctx *ctx, dg_output *o, const char *path) {
    dg_status status = DG_OK;
    char *text = NULL;
    size_t size = 0;
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_fs_read_file(ctx, path, DG_JSON_MAX_BYTES, &text, &size));
    for (const char *line = text, *end; (end = memchr(line, '\n', size - (size_t)(line - text))); line = end + 1)
        DG_TRY(read_journal_line(ctx, o, line, (size_t)(end - line)));
done:
    free(text);
    return status;
}

/* Removes what killed processes left in the work folder. */
static dg_status remove_temporaries(dg_ctx *ctx, const dg_output *o) {
    dg_status status = DG_OK;
    char **names = NULL, *path = NULL;
    size_t count = 0;
    DG_TRY(dg_fs_list(ctx, o->work_path, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], JOURNAL) == 0)
            continue;
        DG_TRY(dg_output_join(ctx, o->work_path, names[i], &path));
        DG_TRY(dg_fs_remove_tree(ctx, path));
        free(path);
        path = NULL;
    }
done:
    free(path);
    dg_fs_free_list(names, count);
    return status;
}

dg_status dg_output_open_journal(dg_ctx *ctx, dg_output *o) {
    dg_status status = DG_OK;
    char *path = NULL;
    DG_TRY(dg_fs_make_real_dir(ctx, o->work_path));
    DG_TRY(remove_temporaries(ctx, o));
    DG_TRY(dg_output_join(ctx, o->work_path, JOURNAL, &path));
    DG_TRY(read_journal(ctx, o, path));
    o->journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (o->journal < 0)
        DG_TRY(dg_output_errno(ctx, path, errno));
    /* Ends a torn last line, so that the next entry has a line of its own. */
    const int error = write_all(o->journal, "\n", 1);
    if (error != 0)
        DG_TRY(dg_output_errno(ctx, path, error));
done:
    free(path);
    return status;
}

dg_status dg_output_journal_add(dg_ctx *ctx, dg_output *o, const dg_manifest_image *image) {
    dg_status status = DG_OK;
    dg_str line = {0};
    DG_TRY(dg_manifest_image_line(ctx, &o->confirmed, image, &line));
    dg_str_append(&line, "\n");
    if (!dg_str_ok(&line))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    const int error = write_all(o->journal, line.data, line.length);
    if (error != 0)
        DG_TRY(dg_output_errno(ctx, o->work_path, error));
done:
    dg_str_free(&line);
    return status;
}

dg_status dg_output_drop_journal(dg_ctx *ctx, dg_output *o) {
    if (o->journal >= 0)
        close(o->journal);
    o->journal = -1;
    return dg_fs_remove_tree(ctx, o->work_path);
}
