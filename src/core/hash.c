#include "core/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18 };

static void to_hex(const unsigned char digest[crypto_hash_sha256_BYTES], char out[DG_SHA256_HEX]) {
    sodium_bin2hex(out, DG_SHA256_HEX, digest, crypto_hash_sha256_BYTES);
}

void dg_sha256_hex(const void *data, size_t size, char out[DG_SHA256_HEX]) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, data, size);
    to_hex(digest, out);
}

dg_status dg_sha256_file(dg_ctx *ctx, const char *path, char out[DG_SHA256_HEX]) {
    dg_status status = DG_OK;
    struct stat st;
    unsigned char *buffer = NULL;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    out[0] = '\0';
    /* O_NONBLOCK: opening a named pipe must not wait for its writer */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return dg_fail(ctx, DG_ENOINPUT, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        status = dg_fail(ctx, DG_ENOINPUT, "%s: not a regular file", path);
        goto done;
    }
    DG_TRY(dg_alloc(ctx, &buffer, READ_BYTES, 1, "hashing a file"));
    crypto_hash_sha256_init(&state);
    for (;;) {
        const ssize_t got = read(fd, buffer, READ_BYTES);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            status = dg_fail(ctx, DG_EIO, "%s: cannot read: %s", path, strerror(errno));
            goto done;
        }
        crypto_hash_sha256_update(&state, buffer, (unsigned long long)got);
    }
    crypto_hash_sha256_final(&state, digest);
    to_hex(digest, out);

done:
    free(buffer);
    close(fd);
    return status;
}
