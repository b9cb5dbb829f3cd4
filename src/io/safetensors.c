/* Reading safetensors. The header is attacker-controlled: sizes are compared, never added, before they are known to
 * fit, and the file is read through its descriptor, because a mapped file that is cut short kills the process. */
#include "io/safetensors.h"

#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor data is little-endian and read without conversion");

enum { LENGTH_BYTES = 8, CHUNK_BYTES = 1 << 15 };

struct dg_safetensors {
    int fd;
    char *path;
    uint64_t data_start, data_size;
    json_t *header; /* owns the names */
    dg_st_tensor *tensors;
    int64_t count;
};

static const struct {
    const char *name;
    uint64_t bits;
} dtypes[] = {
#define DG_X(enumerator, name, bits) {name, bits},
    DG_ST_DTYPES(DG_X)
#undef DG_X
};

const char *dg_st_dtype_name(dg_st_dtype dtype) {
    return (unsigned)dtype < DG_ST_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

static dg_status read_at(dg_ctx *ctx, const dg_safetensors *st, void *buffer, size_t size, uint64_t offset) {
    char *p = buffer;
    while (size > 0) {
        const ssize_t n = pread(st->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dg_fail(ctx, DG_EIO, "%s: cannot read: %s", st->path, strerror(errno));
        if (n == 0)
            return dg_fail(ctx, DG_EIO, "%s: became shorter while it was read", st->path);
        p += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return DG_OK;
}

static bool name_is_legal(const char *name) {
    const size_t length = strlen(name);
    if (length == 0 || length > DG_ST_MAX_NAME)
        return false;
    for (const unsigned char *p = (const unsigned char *)name; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return false;
    return true;
}

static dg_status bad_tensor(dg_ctx *ctx, const dg_safetensors *st, const char *name, const char *what) {
    return dg_fail(ctx, DG_EDATA, "%s: not a valid safetensors file: tensor \"%.100s\" %s", st->path, name, what);
}

static dg_status parse_dtype(dg_ctx *ctx, const dg_safetensors *st, const char *name, const json_t *value,
                             dg_st_dtype *out) {
    const char *text = json_string_value(value);
    for (int i = 0; text && i < DG_ST_DTYPE_COUNT; i++)
        if (strcmp(text, dtypes[i].name) == 0) {
            *out = (dg_st_dtype)i;
            return DG_OK;
        }
    return bad_tensor(ctx, st, name, "has no dtype, or one that is not in the format");
}

static dg_status parse_shape(dg_ctx *ctx, const dg_safetensors *st, const json_t *shape, dg_st_tensor *t) {
    if (!json_is_array(shape) || json_array_size(shape) > DG_ST_MAX_RANK)
        return bad_tensor(ctx, st, t->name, "has no shape, or one of more than 8 dimensions");
    t->rank = (int)json_array_size(shape);
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return bad_tensor(ctx, st, t->name, "has a dimension that is not a whole number");
        t->dims[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(t->count, t->dims[i], &t->count))
            return bad_tensor(ctx, st, t->name, "has more elements than can be counted");
    }
    return DG_OK;
}

static dg_status parse_tensor(dg_ctx *ctx, const dg_safetensors *st, const char *name, const json_t *entry,
                              dg_st_tensor *t) {
    dg_status status = DG_OK;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    uint64_t bits = 0;
    *t = (dg_st_tensor){.name = name};
    if (!name_is_legal(name))
        return bad_tensor(ctx, st, name, "has a name that is empty, too long or holds control characters");
    if (!json_is_object(entry))
        return bad_tensor(ctx, st, name, "is not described by an object");
    DG_TRY(parse_dtype(ctx, st, name, json_object_get(entry, "dtype"), &t->dtype));
    DG_TRY(parse_shape(ctx, st, json_object_get(entry, "shape"), t));
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return bad_tensor(ctx, st, name, "has no data_offsets [begin, end] with 0 <= begin <= end");
    t->begin = (uint64_t)json_integer_value(begin);
    t->end = (uint64_t)json_integer_value(end);
    if (__builtin_mul_overflow((uint64_t)t->count, dtypes[t->dtype].bits, &bits) || bits % 8 != 0 ||
        bits / 8 != t->end - t->begin)
        return bad_tensor(ctx, st, name, "has data_offsets that do not fit its shape and dtype");
done:
    return status;
}

static int by_offset(const void *a, const void *b) {
    const dg_st_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const dg_st_tensor *)a)->name, ((const dg_st_tensor *)b)->name);
}

/* The tensors must tile the data part: no hole, no overlap, nothing after the last. */
static dg_status check_tiling(dg_ctx *ctx, dg_safetensors *st) {
    uint64_t position = 0;
    qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_offset);
    for (int64_t i = 0; i < st->count; i++) {
        if (st->tensors[i].begin != position)
            return bad_tensor(ctx, st, st->tensors[i].name,
                              st->tensors[i].begin < position ? "overlaps another" : "has unused bytes before it");
        position = st->tensors[i].end;
    }
    if (position != st->data_size)
        return dg_fail(ctx, DG_EDATA,
                       "%s: not a valid safetensors file: the header describes %llu data bytes, there are %llu",
                       st->path, (unsigned long long)position, (unsigned long long)st->data_size);
    return DG_OK;
}

static dg_status parse_header(dg_ctx *ctx, dg_safetensors *st, const char *text, size_t size) {
    dg_status status = DG_OK;
    const char *name;
    json_t *entry;
    if (size == 0 || text[0] != '{')
        return dg_fail(ctx, DG_EDATA, "%s: not a safetensors file: the header does not begin with '{'", st->path);
    DG_TRY(dg_json_parse(ctx, st->path, text, size, DG_JSON_STRICT, &st->header));
    if (!json_is_object(st->header) || json_object_size(st->header) > DG_ST_MAX_TENSORS)
        return dg_fail(ctx, DG_EDATA, "%s: not a safetensors file: the header is not an object of at most %d tensors",
                       st->path, DG_ST_MAX_TENSORS);
    DG_TRY(dg_alloc(ctx, &st->tensors, json_object_size(st->header) + 1, sizeof *st->tensors, "tensor list"));
    json_object_foreach(st->header, name, entry) {
        if (strcmp(name, "__metadata__") != 0) {
            DG_TRY(parse_tensor(ctx, st, name, entry, &st->tensors[st->count]));
            st->count++;
            continue;
        }
        const char *key;
        json_t *value;
        if (!json_is_object(entry))
            return dg_fail(ctx, DG_EDATA, "%s: __metadata__ is not an object", st->path);
        json_object_foreach(entry, key, value) {
            if (!json_is_string(value))
                return dg_fail(ctx, DG_EDATA, "%s: __metadata__ holds a value that is not a string", st->path);
        }
    }
    DG_TRY(check_tiling(ctx, st));
    qsort(st->tensors, (size_t)st->count, sizeof *st->tensors, by_name);
done:
    return status;
}

static dg_status open_regular(dg_ctx *ctx, dg_safetensors *st, uint64_t *file_size) {
    struct stat info;
    /* O_NONBLOCK: opening a named pipe must not wait for a writer. */
    st->fd = open(st->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (st->fd < 0)
        return dg_fail(ctx, errno == ENOENT || errno == ENOTDIR ? DG_ENOINPUT : DG_EIO, "%s: cannot open: %s", st->path,
                       strerror(errno));
    if (fstat(st->fd, &info) != 0)
        return dg_fail(ctx, DG_EIO, "%s: %s", st->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return dg_fail(ctx, DG_ENOINPUT, "%s: not a regular file", st->path);
    *file_size = (uint64_t)info.st_size;
    return DG_OK;
}

dg_status dg_safetensors_open(dg_ctx *ctx, const char *path, dg_safetensors **out) {
    dg_status status = DG_OK;
    dg_safetensors *st = NULL;
    char *text = NULL;
    uint64_t file_size = 0, header_size = 0;
    *out = NULL;
    DG_TRY(dg_alloc(ctx, &st, 1, sizeof *st, "safetensors file"));
    st->fd = -1;
    DG_TRY(dg_alloc(ctx, &st->path, strlen(path) + 1, 1, "file name"));
    memcpy(st->path, path, strlen(path));
    DG_TRY(open_regular(ctx, st, &file_size));
    if (file_size < LENGTH_BYTES)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a safetensors file: shorter than 8 bytes", path));
    DG_TRY(read_at(ctx, st, &header_size, LENGTH_BYTES, 0));
    if (header_size > file_size - LENGTH_BYTES)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: not a safetensors file, or cut short: its header would need %llu bytes",
                       path, (unsigned long long)header_size));
    if (header_size > DG_ST_MAX_HEADER)
        DG_TRY(dg_fail(ctx, DG_EDATA, "%s: safetensors header of %llu bytes; at most %d are accepted", path,
                       (unsigned long long)header_size, DG_ST_MAX_HEADER));
    st->data_start = LENGTH_BYTES + header_size;
    st->data_size = file_size - st->data_start;
    DG_TRY(dg_alloc(ctx, &text, (size_t)header_size + 1, 1, "safetensors header"));
    DG_TRY(read_at(ctx, st, text, (size_t)header_size, LENGTH_BYTES));
    DG_TRY(parse_header(ctx, st, text, (size_t)header_size));
    *out = st;
    st = NULL;
done:
    free(text);
    dg_safetensors_close(st);
    return status;
}

void dg_safetensors_close(dg_safetensors *st) {
    if (!st)
        return;
    if (st->fd >= 0)
        close(st->fd);
    json_decref(st->header);
    free(st->tensors);
    free(st->path);
    free(st);
}

int64_t dg_safetensors_count(const dg_safetensors *st) {
    return st->count;
}

const dg_st_tensor *dg_safetensors_at(const dg_safetensors *st, int64_t i) {
    return &st->tensors[i];
}

const dg_st_tensor *dg_safetensors_find(const dg_safetensors *st, const char *name) {
    const dg_st_tensor key = {.name = name};
    return bsearch(&key, st->tensors, (size_t)st->count, sizeof key, by_name);
}

const char *dg_safetensors_metadata(const dg_safetensors *st, const char *key) {
    return json_string_value(json_object_get(json_object_get(st->header, "__metadata__"), key));
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_f16(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3ff;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) /* zero or subnormal: mantissa * 2^-24 */
        return copysignf((float)mantissa * 0x1p-24f, sign ? -1.0f : 1.0f);
    return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* n elements from a byte buffer of any alignment. */
static void convert(dg_st_dtype dtype, const unsigned char *bytes, int64_t n, float *dst) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t half;
        double wide;
        if (dtype == DG_ST_F64) {
            memcpy(&wide, bytes + i * 8, 8);
            dst[i] = (float)wide;
        } else {
            memcpy(&half, bytes + i * 2, 2);
            dst[i] = dtype == DG_ST_F16 ? from_f16(half) : from_bits((uint32_t)half << 16);
        }
    }
}

static dg_status check_finite(dg_ctx *ctx, const dg_safetensors *st, const dg_st_tensor *t, const float *values,
                              int64_t first, int64_t n) {
    bool finite = true;
    for (int64_t i = 0; i < n; i++)
        finite &= isfinite(values[i]) != 0;
    if (finite)
        return DG_OK;
    while (isfinite(*values)) {
        values++;
        first++;
    }
    return dg_fail(ctx, DG_EDATA,
                   "%s: tensor \"%.100s\" holds %s at element %lld; every value must be a finite float32", st->path,
                   t->name, isnan(*values) ? "NaN" : "an infinite value", (long long)first);
}

static dg_status check_shape(dg_ctx *ctx, const dg_safetensors *st, const dg_st_tensor *t, int rank,
                             const int64_t *dims) {
    if (rank < 0 || (rank == t->rank && (rank == 0 || memcmp(dims, t->dims, (size_t)rank * sizeof *dims) == 0)))
        return DG_OK;
    return dg_fail(ctx, DG_EDATA, "%s: tensor \"%.100s\" has another shape than expected", st->path, t->name);
}

dg_status dg_safetensors_read_f32(dg_ctx *ctx, const dg_safetensors *st, const char *name, int rank,
                                  const int64_t *dims, float *dst) {
    dg_status status = DG_OK;
    unsigned char chunk[CHUNK_BYTES];
    const dg_st_tensor *t = dg_safetensors_find(st, name);
    if (!t)
        return dg_fail(ctx, DG_EDATA, "%s: there is no tensor \"%.100s\"", st->path, name);
    if (t->dtype != DG_ST_F32 && t->dtype != DG_ST_F64 && t->dtype != DG_ST_F16 && t->dtype != DG_ST_BF16)
        return dg_fail(ctx, DG_EDATA, "%s: tensor \"%.100s\" is of type %s; supported: F64, F32, F16, BF16", st->path,
                       name, dg_st_dtype_name(t->dtype));
    DG_TRY(check_shape(ctx, st, t, rank, dims));
    const int64_t width = (int64_t)dtypes[t->dtype].bits / 8;
    const int64_t step = CHUNK_BYTES / width;
    for (int64_t i = 0; i < t->count; i += step) {
        const int64_t n = t->count - i < step ? t->count - i : step;
        const uint64_t offset = st->data_start + t->begin + (uint64_t)(i * width);
        if (t->dtype == DG_ST_F32) {
            DG_TRY(read_at(ctx, st, dst + i, (size_t)n * sizeof *dst, offset));
        } else {
            DG_TRY(read_at(ctx, st, chunk, (size_t)(n * width), offset));
            convert(t->dtype, chunk, n, dst + i);
        }
        DG_TRY(check_finite(ctx, st, t, dst + i, i, n));
    }
done:
    return status;
}
