/* Reading, listing, making and removing; fs_atomic.c writes and publishes, fs_path.c works on names, fs_lock.c locks.
 */
#include "core/fs_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dg_status dg_fs_fail_errno(dg_ctx *ctx, dg_status usual, const char *path, const char *action) {
    const int code = errno;
    dg_status status = usual;
    if (code == ENOMEM)
        status = DG_ENOMEM;
    else if (code == ENOSPC || code == EDQUOT || code == EIO || code == EFBIG || code == EMFILE || code == ENFILE)
        status = DG_EIO;
    return dg_fail(ctx, status, "%s: cannot %s: %s", path, action, strerrordesc_np(code));
}

int dg_fs_open(const char *path, int flags, unsigned mode) {
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

bool dg_fs_sync_fd(int fd) {
    int result;
    do
        result = fsync(fd);
    while (result != 0 && errno == EINTR);
    return result == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS;
}

/* ---- reading ---- */

/* Up to `size` bytes; fewer only at the end of the file. -1 and errno on failure. */
static ssize_t read_full(int fd, char *data, size_t size) {
    size_t done = 0;
    while (done < size) {
        const ssize_t got = read(fd, data + done, size - done);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

dg_status dg_fs_read_file(dg_ctx *ctx, const char *path, size_t max_bytes, char **data, size_t *size) {
    dg_status status = DG_OK;
    struct stat st;
    char *bytes = NULL, extra;
    *data = NULL;
    *size = 0;
    /* O_NONBLOCK: opening a named pipe must not wait for its writer */
    const int fd = dg_fs_open(path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return dg_fs_fail_errno(ctx, DG_ENOINPUT, path, "open");
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        status = dg_fail(ctx, DG_ENOINPUT, "%s: not a regular file", path);
        goto done;
    }
    if ((uint64_t)st.st_size > max_bytes || (uint64_t)st.st_size > PTRDIFF_MAX - 1) {
        status = dg_fail(ctx, DG_EDATA, "%s: %lld bytes, at most %zu are read", path, (long long)st.st_size, max_bytes);
        goto done;
    }
    DG_TRY(dg_alloc(ctx, &bytes, (size_t)st.st_size + 1, 1, path));
    const ssize_t got = read_full(fd, bytes, (size_t)st.st_size);
    if (got < 0) {
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "read");
        goto done;
    }
    /* a file that somebody writes to just now is neither the old nor the new one */
    if (got != (ssize_t)st.st_size || read_full(fd, &extra, 1) > 0) {
        status = dg_fail(ctx, DG_EIO, "%s: changed its size while being read", path);
        goto done;
    }
    *data = bytes;
    *size = (size_t)got;
    bytes = NULL;

done:
    free(bytes);
    close(fd);
    return status;
}

bool dg_fs_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool dg_fs_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool dg_fs_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- listing ---- */

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

dg_status dg_fs_list(dg_ctx *ctx, const char *path, char ***names, size_t *count) {
    dg_status status = DG_OK;
    char **list = NULL;
    size_t n = 0, capacity = 0;
    struct dirent *entry;
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return dg_fs_fail_errno(ctx, DG_ENOINPUT, path, "list");
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (is_dots(entry->d_name))
            continue;
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            char **larger = realloc(list, capacity * sizeof *list);
            if (!larger) {
                status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its list of names", path);
                goto done;
            }
            list = larger;
        }
        list[n] = strdup(entry->d_name);
        if (!list[n]) {
            status = dg_fail(ctx, DG_ENOMEM, "%s: out of memory for its list of names", path);
            goto done;
        }
        n++;
    }
    if (errno != 0) {
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "list");
        goto done;
    }
    if (n > 1)
        qsort(list, n, sizeof *list, compare_names);
    *names = list;
    *count = n;
    list = NULL;

done:
    dg_fs_free_list(list, n);
    closedir(dir);
    return status;
}

void dg_fs_free_list(char **names, size_t count) {
    if (!names)
        return;
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

/* ---- making and removing ---- */

dg_status dg_fs_mkdirs(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    char *copy = strdup(path);
    if (!copy)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    for (char *p = copy + (*copy == '/');; p++) {
        const char end = *p;
        if (end != '/' && end != '\0')
            continue;
        *p = '\0';
        if (*copy && mkdir(copy, 0777) != 0 && errno != EEXIST) {
            const int code = errno;
            if (!dg_fs_is_dir(copy)) { /* a parent on a read-only file system gives EROFS, not EEXIST */
                errno = code;
                status = dg_fs_fail_errno(ctx, DG_ECREATE, copy, "create the directory");
                goto done;
            }
        }
        if (end == '\0')
            break;
        *p = end;
    }
    if (!dg_fs_is_dir(path))
        status = dg_fail(ctx, DG_ECREATE, "%s: exists and is not a directory", path);

done:
    free(copy);
    return status;
}

dg_status dg_fs_make_real_dir(dg_ctx *ctx, const char *path) {
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return DG_OK;
    if (errno != EEXIST)
        return dg_fs_fail_errno(ctx, DG_ECREATE, path, "create the directory");
    if (lstat(path, &st) != 0 || S_ISLNK(st.st_mode))
        return dg_fail(ctx, DG_ECREATE, "%s: is a link, and nothing is written through it; remove it", path);
    return S_ISDIR(st.st_mode) ? DG_OK : dg_fail(ctx, DG_ECREATE, "%s: exists and is not a directory", path);
}

/* Empties and removes the directory `name` in `parent`. false and errno on failure. */
static bool remove_dir_at(int parent, const char *name) {
    struct dirent *entry;
    bool good = true;
    int saved = 0;
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        saved = errno;
        if (fd >= 0)
            close(fd);
        errno = saved;
        return false;
    }
    while (good && (errno = 0, (entry = readdir(dir)) != NULL)) {
        if (is_dots(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        /* Linux says EISDIR, POSIX EPERM for a directory */
        good = (errno == EISDIR || errno == EPERM) && remove_dir_at(fd, entry->d_name);
    }
    saved = errno;
    good = good && saved == 0;
    closedir(dir);
    if (!good) {
        errno = saved;
        return false;
    }
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

dg_status dg_fs_remove_tree(dg_ctx *ctx, const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') /* "link/" would be followed */
        length--;
    char *copy = strndup(path, length);
    if (!copy)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path);
    const bool gone =
        unlink(copy) == 0 || errno == ENOENT || ((errno == EISDIR || errno == EPERM) && remove_dir_at(AT_FDCWD, copy));
    free(copy);
    return gone ? DG_OK : dg_fs_fail_errno(ctx, DG_EIO, path, "remove");
}
