/* The job's key: what the ranks of a TCP job know and nobody else. From DIFFGEN_JOB_KEY, from the file that
 * DIFFGEN_JOB_KEY_FILE names, or from this user's own file, which rank 0 makes the first time. A file's place and mode
 * have to keep others out: whoever reads it can join the job. */
#include "comm/comm_internal.h"

#include "core/fs.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SHORTEST = 32, LONGEST = 4096, FEWEST_CHARACTERS = 8 };

static const char text_variable[] = "DIFFGEN_JOB_KEY", file_variable[] = "DIFFGEN_JOB_KEY_FILE";
#define HOW_TO_MAKE "`openssl rand -hex 32` makes one"

/* in    name: of the variable or file, for messages; the key itself is in none of them */
static dg_status key_of_text(dg_ctx *ctx, const char *text, size_t length, const char *name, dg_job_key *key) {
    static const unsigned char domain[] = "diffgen: the key of a job";
    bool seen[256] = {0};
    int different = 0;
    if (length < SHORTEST || length > LONGEST)
        return dg_fail(ctx, DG_ECONFIG, "%s: a job's key has %d to %d characters, this one has %zu; " HOW_TO_MAKE, name,
                       SHORTEST, LONGEST, length);
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c > 0x7e)
            return dg_fail(ctx, DG_ECONFIG, "%s: a job's key is one line of printable ASCII characters; " HOW_TO_MAKE,
                           name);
        different += !seen[c];
        seen[c] = true;
    }
    if (different < FEWEST_CHARACTERS)
        return dg_fail(ctx, DG_ECONFIG,
                       "%s: this key has only %d different characters and can be guessed; " HOW_TO_MAKE, name,
                       different);
    crypto_generichash(key->bytes, sizeof key->bytes, (const unsigned char *)text, length, domain, sizeof domain - 1);
    snprintf(key->origin, sizeof key->origin, "%s", name);
    return DG_OK;
}

/* ---- files ---- */

/* Not over a file that is there: whoever comes first has made it. It gets its name when it is whole. */
static dg_status make_file(dg_ctx *ctx, const char *path) {
    dg_status status = DG_OK;
    unsigned char random[32];
    char digits[2 * sizeof random + 1], line[2 * sizeof random + 2], *temporary = NULL;
    int fd = -1;
    dg_str name = {0};
    randombytes_buf(random, sizeof random);
    snprintf(line, sizeof line, "%s\n", sodium_bin2hex(digits, sizeof digits, random, sizeof random));
    dg_str_printf(&name, "%s.tmp-XXXXXX", path);
    if (!dg_str_ok(&name))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "%s: out of memory", path));
    fd = mkostemp(name.data, O_CLOEXEC); /* mode 0600 */
    temporary = fd >= 0 ? name.data : NULL;
    const ssize_t length = (ssize_t)strlen(line);
    if (fd < 0 || write(fd, line, (size_t)length) != length || fsync(fd) != 0 ||
        (link(name.data, path) != 0 && errno != EEXIST))
        DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: the job's key cannot be written: %s; set %s for all ranks instead", path,
                       strerror(errno), text_variable));
done:
    if (temporary)
        unlink(temporary);
    if (fd >= 0)
        close(fd);
    sodium_memzero(random, sizeof random);
    sodium_memzero(digits, sizeof digits);
    sodium_memzero(line, sizeof line);
    dg_str_free(&name);
    return status;
}

/* Only a plain file that nobody else can read or have put there. */
static dg_status check_file(dg_ctx *ctx, const char *path, int fd) {
    struct stat s;
    if (fstat(fd, &s) != 0)
        return dg_fail(ctx, DG_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return dg_fail(ctx, DG_ECONFIG, "%s: a job's key is in a plain file, not in a folder, pipe or device", path);
    if (s.st_uid != geteuid() && s.st_uid != 0)
        return dg_fail(ctx, DG_ECONFIG, "%s: the file with the job's key belongs to another user, who knows it", path);
    if (s.st_mode & 077)
        return dg_fail(ctx, DG_ECONFIG,
                       "%s: others may read the file with the job's key (mode %04o); make a new one with mode 0600",
                       path, (unsigned)s.st_mode & 07777);
    return DG_OK;
}

/* out   *there false: no such file, which is no error */
static dg_status read_file(dg_ctx *ctx, const char *path, dg_job_key *key, bool *there) {
    dg_status status = DG_OK;
    char text[LONGEST + 3];
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    *there = fd >= 0;
    if (fd < 0 && errno == ENOENT)
        return DG_OK;
    if (fd < 0)
        return dg_fail(ctx, DG_ECONFIG, "%s: the job's key cannot be read: %s", path,
                       errno == ELOOP ? "it is a symbolic link" : strerror(errno));
    DG_TRY(check_file(ctx, path, fd));
    ssize_t length = read(fd, text, sizeof text);
    if (length < 0)
        DG_TRY(dg_fail(ctx, DG_EIO, "%s: the job's key cannot be read: %s", path, strerror(errno)));
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    DG_TRY(key_of_text(ctx, text, (size_t)length, path, key));
done:
    sodium_memzero(text, sizeof text);
    close(fd);
    return status;
}

/* Rank 0 makes the file if it is not there; the others wait until it is. */
static dg_status key_of_file(dg_ctx *ctx, const char *path, const dg_comm_meeting *m, dg_job_key *key) {
    dg_status status = DG_OK;
    bool there = false, said = false;
    const double start = dg_clock_seconds();
    if (m->rank == 0) {
        DG_TRY(read_file(ctx, path, key, &there));
        if (there)
            return DG_OK;
        DG_TRY(dg_fs_make_private_parent(ctx, path, file_variable));
        DG_TRY(make_file(ctx, path));
    }
    for (;;) {
        const double waited = dg_clock_seconds() - start;
        DG_TRY(read_file(ctx, path, key, &there));
        if (there)
            return DG_OK;
        if (waited >= m->patience)
            DG_TRY(dg_fail(ctx, DG_ECONFIG,
                           "rank %d has no key for this job: rank 0 has not made %s, or on another file system; set %s "
                           "to the same secret for all ranks (" HOW_TO_MAKE "; docs/ranks.md)",
                           m->rank, path, text_variable));
        if (waited > 10 && !said)
            dg_log(ctx, DG_LOG_WARN,
                   "rank %d waits for rank 0 to make %s; where the ranks have no file system in "
                   "common, set %s to the same secret for all of them",
                   m->rank, path, text_variable);
        said |= waited > 10;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
done:
    return status;
}

/* ---- all sources ---- */

static dg_status read_key(dg_ctx *ctx, dg_comm_getter get, const dg_comm_meeting *m, dg_job_key *key) {
    const char *text = get(text_variable), *file = get(file_variable);
    char *path = NULL;
    dg_status status = DG_OK;
    if (text && file)
        return dg_fail(ctx, DG_ECONFIG, "%s and %s are both set; which one is this job's key? Unset one", text_variable,
                       file_variable);
    if ((text && !*text) || (file && !*file))
        return dg_fail(ctx, DG_ECONFIG, "%s is set, but empty", text ? text_variable : file_variable);
    key->chosen = text || file;
    if (text)
        return key_of_text(ctx, text, strlen(text), text_variable, key);
    if (file)
        return key_of_file(ctx, file, m, key);
    DG_TRY(dg_fs_state_path(ctx, "ranks.key", file_variable, &path));
    DG_TRY(key_of_file(ctx, path, m, key));
done:
    free(path);
    return status;
}

dg_status dg_comm_read_key(dg_ctx *ctx, dg_comm_getter get, const dg_comm_meeting *meeting, dg_job_key **out) {
    dg_status status = DG_OK;
    *out = NULL;
    if (sodium_init() < 0)
        return dg_fail(ctx, DG_ERUNTIME, "libsodium cannot be initialised");
    dg_job_key *key = sodium_malloc(sizeof *key);
    if (!key)
        return dg_fail(ctx, DG_ENOMEM, "out of memory for the job's key");
    memset(key, 0, sizeof *key);
    DG_TRY(read_key(ctx, get, meeting, key));
    *out = key;
    key = NULL;
done:
    sodium_free(key);
    return status;
}

void dg_comm_forget_key(void) {
    char *text = getenv(text_variable);
    if (text)
        sodium_memzero(text, strlen(text));
    unsetenv(text_variable);
}
