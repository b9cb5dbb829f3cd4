/* Safetensors files: named tensors behind a JSON header. The reader trusts nothing in the file: every offset is checked
 * against the open file before anything is allocated or read.
 * Order (read):  dg_safetensors_open -> dg_safetensors_find / _at -> dg_safetensors_read_f32 -> dg_safetensors_close.
 * Order (write): dg_safetensors_write. An open file may be read from several threads.
 * ref   huggingface/safetensors, format description of version 0.8 */
#ifndef DG_IO_SAFETENSORS_H
#define DG_IO_SAFETENSORS_H

#include "core/context.h"

#include <stdint.h>

enum { DG_ST_MAX_RANK = 8, DG_ST_MAX_NAME = 1024, DG_ST_MAX_TENSORS = 1000000, DG_ST_MAX_HEADER = 32 << 20 };

/* In the order the reference writer ranks them: files hold the highest first. X(enumerator, name, bits) */
#define DG_ST_DTYPES(X)                                                                                                \
    X(DG_ST_BOOL, "BOOL", 8)                                                                                           \
    X(DG_ST_F4, "F4", 4)                                                                                               \
    X(DG_ST_F6_E2M3, "F6_E2M3", 6)                                                                                     \
    X(DG_ST_F6_E3M2, "F6_E3M2", 6)                                                                                     \
    X(DG_ST_U8, "U8", 8)                                                                                               \
    X(DG_ST_I8, "I8", 8)                                                                                               \
    X(DG_ST_F8_E5M2, "F8_E5M2", 8)                                                                                     \
    X(DG_ST_F8_E4M3, "F8_E4M3", 8)                                                                                     \
    X(DG_ST_F8_E8M0, "F8_E8M0", 8)                                                                                     \
    X(DG_ST_F8_E4M3FNUZ, "F8_E4M3FNUZ", 8)                                                                             \
    X(DG_ST_F8_E5M2FNUZ, "F8_E5M2FNUZ", 8)                                                                             \
    X(DG_ST_I16, "I16", 16)                                                                                            \
    X(DG_ST_U16, "U16", 16)                                                                                            \
    X(DG_ST_F16, "F16", 16)                                                                                            \
    X(DG_ST_BF16, "BF16", 16)                                                                                          \
    X(DG_ST_I32, "I32", 32)                                                                                            \
    X(DG_ST_U32, "U32", 32)                                                                                            \
    X(DG_ST_F32, "F32", 32)                                                                                            \
    X(DG_ST_C64, "C64", 64)                                                                                            \
    X(DG_ST_F64, "F64", 64)                                                                                            \
    X(DG_ST_I64, "I64", 64)                                                                                            \
    X(DG_ST_U64, "U64", 64)

typedef enum dg_st_dtype {
#define DG_X(enumerator, name, bits) enumerator,
    DG_ST_DTYPES(DG_X)
#undef DG_X
        DG_ST_DTYPE_COUNT
} dg_st_dtype;

typedef struct dg_st_tensor {
    const char *name; /* when read: owned by the open file */
    dg_st_dtype dtype;
    int rank;
    int64_t dims[DG_ST_MAX_RANK];
    int64_t count;       /* elements; read only */
    uint64_t begin, end; /* bytes in the data part; read only */
    const void *data;    /* little-endian, contiguous; write only */
} dg_st_tensor;

typedef struct dg_st_pair {
    const char *key, *value;
} dg_st_pair;

typedef struct dg_safetensors dg_safetensors;

/* "F32"; "?" outside the list. */
const char *dg_st_dtype_name(dg_st_dtype dtype);

/* Opens and checks the whole header. Beyond the reference's rules it refuses duplicate names, names that are empty,
 * longer than DG_ST_MAX_NAME or hold control characters, ranks above DG_ST_MAX_RANK and headers above DG_ST_MAX_HEADER
 * bytes. out   *out close with dg_safetensors_close err   DG_ENOINPUT missing or not a regular file; DG_EDATA anything
 * malformed; DG_EIO; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_safetensors_open(dg_ctx *ctx, const char *path, dg_safetensors **out);
void dg_safetensors_close(dg_safetensors *st); /* NULL is legal */

int64_t dg_safetensors_count(const dg_safetensors *st);
/* The i-th tensor in bytewise order of the names. */
const dg_st_tensor *dg_safetensors_at(const dg_safetensors *st, int64_t i);
/* NULL if there is none of that name. */
const dg_st_tensor *dg_safetensors_find(const dg_safetensors *st, const char *name);
/* Value of a key of "__metadata__", NULL if there is none. */
const char *dg_safetensors_metadata(const dg_safetensors *st, const char *key);

/* Reads an F64, F32, F16 or BF16 tensor as float32.
 * in    rank, dims what the caller expects; rank -1 = any shape
 * out   dst [tensor's count], need not be aligned with the file in any way
 * err   DG_EDATA no such tensor, another shape, a dtype that is none of the four, a NaN or an infinity (F64 values
 *       beyond float32 included); DG_EIO the file has become shorter since it was opened */
DG_MUST_CHECK dg_status dg_safetensors_read_f32(dg_ctx *ctx, const dg_safetensors *st, const char *name, int rank,
                                                const int64_t *dims, float *dst);

/* Writes the bytes the reference writer would: tensors by dtype (highest first) and name, header padded to 8 bytes;
 * metadata in bytewise order of the keys. Streamed to a temporary file, then renamed.
 * in    tensors[count] with name, dtype, rank, dims and data set; order is free
 * err   DG_EINVAL a duplicate or illegal name; DG_ECREATE; DG_EIO; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_safetensors_write(dg_ctx *ctx, const char *path, const dg_st_tensor *tensors, int64_t count,
                                             const dg_st_pair *metadata, int64_t num_metadata);

#endif
