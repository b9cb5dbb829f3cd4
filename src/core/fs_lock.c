/* flock rather than fcntl locks: it belongs to the open file, so that closing another descriptor of the same file in
 * this process does not drop it, and the kernel drops it when its owner dies in any way. The file itself stays:
 * removing it would let a waiting process lock a file that has no name any more. */
#include "core/fs_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OWNER_BYTES = 256 };

struct dg_lock {
    int fd;
};

/* "PID HOST START", each without blanks, filled up with blanks: every owner's text covers all of the last one's, so
 * that the file is never cut. */
static void describe_self(char owner[OWNER_BYTES]) {
    char host[128] = "", start[32] = "";
    struct tm utc;
    const time_t now = time(NULL);
    if (gethostname(host, sizeof host - 1) != 0 || !host[0])
        strcpy(host, "unknown-host");
    if (gmtime_r(&now, &utc))
        strftime(start, sizeof start, "%Y-%m-%dT%H:%M:%SZ", &utc);
    const int length = snprintf(owner, OWNER_BYTES, "%ld %s %s", (long)getpid(), host, start);
    memset(owner + length, ' ', (size_t)(OWNER_BYTES - 1 - length));
    owner[OWNER_BYTES - 1] = '\n';
}

/* The file may hold anything: only printable ASCII goes into a message. */
static void read_owner(int fd, char owner[OWNER_BYTES]) {
    ssize_t n = pread(fd, owner, OWNER_BYTES - 1, 0);
    n = n < 0 ? 0 : n;
    owner[n] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    for (char *p = owner; *p; p++) {
        if (!isprint((unsigned char)*p))
            *p = '?';
    }
}

static dg_status held(dg_ctx *ctx, const char *path, int fd) {
    char owner[OWNER_BYTES], host[OWNER_BYTES], start[OWNER_BYTES];
    long pid = 0;
    read_owner(fd, owner);
    if (sscanf(owner, "%ld %255s %255s", &pid, host, start) != 3)
        return dg_fail(ctx, DG_EINTERRUPTED, "%s: locked by another process that has not named itself; wait for it",
                       path);
    return dg_fail(ctx, DG_EINTERRUPTED, "%s: locked by process %ld on %s, running since %s; wait for it or stop it",
                   path, pid, host, start);
}

/* Is it what a lock leaves: nothing, blanks, or an owner's line, in a file of no other name? */
static bool is_lock_file(int fd) {
    struct stat info;
    char owner[OWNER_BYTES], host[OWNER_BYTES], start[OWNER_BYTES];
    long pid = 0;
    int used = 0;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink > 1 || info.st_size > OWNER_BYTES)
        return false;
    read_owner(fd, owner);
    if (owner[strspn(owner, " ")] == '\0')
        return true;
    return sscanf(owner, "%ld %255s %255[0-9TZ:-] %n", &pid, host, start, &used) == 3 && owner[used] == '\0';
}

/* true if path still names the open file: another process may have removed it between open and flock. */
static bool still_named(const char *path, int fd) {
    struct stat named, opened;
    return lstat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

static dg_status is_a_link(dg_ctx *ctx, const char *path) {
    return dg_fail(ctx, DG_ECREATE, "%s is a link; a lock file is expected there, remove the link", path);
}

static dg_status is_no_lock_file(dg_ctx *ctx, const char *path) {
    return dg_fail(ctx, DG_ECREATE, "%s is not a lock file of diffgen; move it out of the way", path);
}

static dg_status open_locked(dg_ctx *ctx, const char *path, int *out) {
    for (;;) {
        int result;
        *out = dg_fs_open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW, 0666);
        if (*out < 0)
            return errno == ELOOP ? is_a_link(ctx, path)
                                  : dg_fs_fail_errno(ctx, DG_ECREATE, path, "create the lock file");
        do
            result = flock(*out, LOCK_EX | LOCK_NB);
        while (result != 0 && errno == EINTR);
        if (result != 0)
            return errno == EWOULDBLOCK ? held(ctx, path, *out) : dg_fs_fail_errno(ctx, DG_ECREATE, path, "lock");
        if (!is_lock_file(*out))
            return is_no_lock_file(ctx, path);
        if (still_named(path, *out))
            return DG_OK;
        close(*out);
        *out = -1;
    }
}

dg_status dg_fs_lock(dg_ctx *ctx, const char *path, dg_lock **out) {
    char owner[OWNER_BYTES];
    dg_lock *lock = NULL;
    int fd = -1;
    dg_status status = DG_OK;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &lock, 1, sizeof *lock, "a lock"));
    DG_TRY(open_locked(ctx, path, &fd));
    describe_self(owner);
    if (pwrite(fd, owner, sizeof owner, 0) != (ssize_t)sizeof owner) {
        status = dg_fs_fail_errno(ctx, DG_EIO, path, "write the lock file");
        goto done;
    }
    lock->fd = fd;
    fd = -1;
    *out = lock;
    lock = NULL;

done:
    if (fd >= 0)
        close(fd);
    free(lock);
    return status;
}

void dg_fs_unlock(dg_lock *lock) {
    if (!lock)
        return;
    char nobody[OWNER_BYTES];
    memset(nobody, ' ', sizeof nobody - 1);
    nobody[sizeof nobody - 1] = '\n';
    /* a failure leaves a stale name in a file that is not locked: harmless */
    if (pwrite(lock->fd, nobody, sizeof nobody, 0) == (ssize_t)sizeof nobody)
        flock(lock->fd, LOCK_UN);
    close(lock->fd);
    free(lock);
}

dg_status dg_fs_lock_is_free(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    const int fd = dg_fs_open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0);
    if (fd < 0)
        return errno == ENOENT  ? DG_OK
               : errno == ELOOP ? is_a_link(ctx, path)
                                : dg_fs_fail_errno(ctx, DG_ECREATE, path, "open the lock file");
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        status = held(ctx, path, fd);
    else if (!is_lock_file(fd))
        status = is_no_lock_file(ctx, path);
    close(fd);
    return status;
}
