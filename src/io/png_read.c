/* Header and texts of a PNG file. Chunks are walked by hand: pixels are skipped unread, so the cost and the risk of a
 * hostile file do not depend on what its header claims. */
#include "io/png.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { MAX_TEXT_BYTES = 1 << 20, MAX_CHUNKS = 1 << 20, HEADER_BYTES = 13 };

typedef struct reader {
    dg_ctx *ctx;
    const char *path;
    int fd;
    uint64_t size, position;
} reader;

static dg_status damaged(const reader *r, const char *what) {
    return dg_fail(r->ctx, DG_EDATA, "%s: not a valid PNG file: %s", r->path, what);
}

static dg_status read_bytes(reader *r, void *buffer, size_t size) {
    if (size > r->size - r->position)
        return damaged(r, "it ends in the middle of a chunk");
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(r->fd, (char *)buffer + done, size - done, (off_t)(r->position + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dg_fail(r->ctx, DG_EIO, "%s: cannot read: %s", r->path,
                           n < 0 ? strerror(errno) : "it became shorter");
        done += (size_t)n;
    }
    r->position += size;
    return DG_OK;
}

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Body of the chunk at hand plus a NUL, its CRC checked. */
static dg_status read_body(reader *r, const unsigned char *type, uint32_t length, unsigned char **body) {
    dg_status status = DG_OK;
    unsigned char crc[4];
    DG_TRY(dg_alloc(r->ctx, body, (size_t)length + 1, 1, "PNG chunk"));
    DG_TRY(read_bytes(r, *body, length));
    DG_TRY(read_bytes(r, crc, sizeof crc));
    if (crc32(crc32(0, type, 4), *body, length) != big_endian(crc))
        DG_TRY(damaged(r, "the checksum of a chunk does not match"));
done:
    if (status != DG_OK) {
        free(*body);
        *body = NULL;
    }
    return status;
}

static dg_status parse_header(const reader *r, const unsigned char *body, dg_png_info *info) {
    static const int channels_of[7] = {1, 0, 3, 1, 2, 0, 4};
    info->width = big_endian(body);
    info->height = big_endian(body + 4);
    info->bits = body[8];
    info->channels = body[9] < 7 ? channels_of[body[9]] : 0;
    if (info->width < 1 || info->height < 1 || info->width > INT32_MAX || info->height > INT32_MAX ||
        info->channels == 0 || info->bits < 1 || info->bits > 16)
        return damaged(r, "impossible values in its header");
    return DG_OK;
}

/* zlib data to at most MAX_TEXT_BYTES of text. */
static dg_status inflate_text(const reader *r, const unsigned char *data, size_t size, char **out, size_t *out_size) {
    uLongf length = MAX_TEXT_BYTES;
    char *text = NULL;
    dg_status status = dg_alloc(r->ctx, &text, MAX_TEXT_BYTES + 1, 1, "PNG text");
    if (status != DG_OK)
        return status;
    if (uncompress((Bytef *)text, &length, data, size) != Z_OK) {
        free(text);
        return damaged(r, "a compressed text is damaged or too long");
    }
    text[length] = '\0';
    *out = text;
    *out_size = length;
    return DG_OK;
}

static dg_status parse_provenance(const reader *r, const char *text, size_t size, dg_png_info *info) {
    dg_status status = DG_OK;
    json_t *json = NULL;
    DG_TRY(dg_json_parse(r->ctx, r->path, text, size, DG_JSON_STRICT, &json));
    if (!json_is_object(json))
        DG_TRY(damaged(r, "its \"diffgen\" text is not a JSON object"));
    json_decref(info->provenance);
    info->provenance = json;
    json = NULL;
done:
    json_decref(json);
    return status;
}

static dg_status take_parameters(const reader *r, const char *text, size_t size, dg_png_info *info) {
    if (memchr(text, 0, size))
        return damaged(r, "a text chunk is malformed");
    free(info->parameters);
    info->parameters = strdup(text); /* a NUL follows every chunk and every inflated text */
    return info->parameters ? DG_OK : dg_fail(r->ctx, DG_ENOMEM, "out of memory");
}

static bool has_keyword(const unsigned char *body, size_t length, const char *keyword) {
    return length > strlen(keyword) && memcmp(body, keyword, strlen(keyword) + 1) == 0;
}

/* iTXt: keyword NUL, compression flag, method, language NUL, translated keyword NUL, text. */
static dg_status parse_itxt(const reader *r, const unsigned char *body, size_t length, dg_png_info *info) {
    dg_status status = DG_OK;
    char *inflated = NULL;
    size_t inflated_size = 0;
    const bool provenance = has_keyword(body, length, "diffgen");
    if (!provenance && !has_keyword(body, length, "parameters"))
        return DG_OK;
    size_t position = strlen((const char *)body) + 1;
    if (length - position < 2 || body[position] > 1 || body[position + 1] != 0)
        return damaged(r, "a text chunk is malformed");
    const bool compressed = body[position] == 1;
    position += 2;
    for (int i = 0; i < 2; i++) {
        const unsigned char *end = memchr(body + position, 0, length - position);
        if (!end)
            return damaged(r, "a text chunk is malformed");
        position = (size_t)(end - body) + 1;
    }
    const char *text = (const char *)body + position;
    size_t size = length - position;
    if (compressed) {
        DG_TRY(inflate_text(r, body + position, size, &inflated, &inflated_size));
        text = inflated;
        size = inflated_size;
    }
    DG_TRY(provenance ? parse_provenance(r, text, size, info) : take_parameters(r, text, size, info));
done:
    free(inflated);
    return status;
}

/* tEXt: keyword NUL text. */
static dg_status parse_text(const reader *r, const unsigned char *body, size_t length, dg_png_info *info) {
    const size_t begin = sizeof "parameters";
    if (!has_keyword(body, length, "parameters"))
        return DG_OK;
    return take_parameters(r, (const char *)body + begin, length - begin, info);
}

static dg_status walk_chunks(reader *r, dg_png_info *info) {
    dg_status status = DG_OK;
    unsigned char *body = NULL, head[8];
    for (int chunk = 0; chunk < MAX_CHUNKS; chunk++) {
        DG_TRY(read_bytes(r, head, sizeof head));
        const uint32_t length = big_endian(head);
        const bool is_header = memcmp(head + 4, "IHDR", 4) == 0, is_itxt = memcmp(head + 4, "iTXt", 4) == 0;
        const bool is_text = memcmp(head + 4, "tEXt", 4) == 0;
        if (length > INT32_MAX || (chunk == 0) != is_header || (is_header && length != HEADER_BYTES))
            DG_TRY(damaged(r, "its chunks are not in order"));
        if (memcmp(head + 4, "IEND", 4) == 0) {
            DG_TRY(read_bytes(r, head, 4)); /* its checksum must be there */
            goto done;
        }
        if (!is_header && ((!is_itxt && !is_text) || length > MAX_TEXT_BYTES)) {
            if (length > r->size - r->position || r->size - r->position - length < 4)
                DG_TRY(damaged(r, "it ends in the middle of a chunk"));
            r->position += (uint64_t)length + 4;
            continue;
        }
        DG_TRY(read_body(r, head + 4, length, &body));
        DG_TRY(is_header ? parse_header(r, body, info)
               : is_itxt ? parse_itxt(r, body, length, info)
                         : parse_text(r, body, length, info));
        free(body);
        body = NULL;
    }
    DG_TRY(damaged(r, "it has too many chunks"));
done:
    free(body);
    return status;
}

dg_status dg_png_read_info(dg_ctx *ctx, const char *path, dg_png_info *info) {
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    dg_status status = DG_OK;
    reader r = {.ctx = ctx, .path = path};
    unsigned char begin[8];
    struct stat file;
    r.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r.fd < 0)
        return dg_fail(ctx, errno == ENOENT || errno == ENOTDIR ? DG_ENOINPUT : DG_EIO, "%s: cannot open: %s", path,
                       strerror(errno));
    if (fstat(r.fd, &file) != 0 || !S_ISREG(file.st_mode))
        DG_TRY(dg_fail(ctx, DG_ENOINPUT, "%s: not a regular file", path));
    r.size = (uint64_t)file.st_size;
    if (r.size < sizeof signature)
        DG_TRY(damaged(&r, "it is shorter than a PNG signature"));
    DG_TRY(read_bytes(&r, begin, sizeof begin));
    if (memcmp(begin, signature, sizeof signature) != 0)
        DG_TRY(damaged(&r, "it does not begin with a PNG signature"));
    DG_TRY(walk_chunks(&r, info));
done:
    close(r.fd);
    return status;
}

void dg_png_info_free(dg_png_info *info) {
    if (!info)
        return;
    json_decref(info->provenance);
    free(info->parameters);
    memset(info, 0, sizeof *info);
}
