/* SHA-256 (libsodium) of buffers and files, as 64 lower-case hex digits. */
#ifndef DG_CORE_HASH_H
#define DG_CORE_HASH_H

#include "core/context.h"

enum { DG_SHA256_HEX = 65 }; /* with the NUL */

void dg_sha256_hex(const void *data, size_t size, char out[DG_SHA256_HEX]);
/* err DG_ENOINPUT, DG_EIO */
DG_MUST_CHECK dg_status dg_sha256_file(dg_ctx *ctx, const char *path, char out[DG_SHA256_HEX]);

#endif
