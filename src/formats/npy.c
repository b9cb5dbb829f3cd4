#include "formats/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char dg_npy_magic[] = "\x93NUMPY";

size_t dg_npy_header_bytes(const char *prefix) {
    const unsigned char *u = (const unsigned char *)prefix;
    if (memcmp(prefix, dg_npy_magic, DG_NPY_MAGIC_BYTES) != 0)
        return 0;
    size_t length = u[8] | (size_t)u[9] << 8;
    if (u[6] > 1)
        length |= (size_t)u[10] << 16 | (size_t)u[11] << 24;
    return length <= DG_NPY_MAX_HEADER ? length + DG_NPY_MAGIC_BYTES + (u[6] > 1 ? 6 : 4) : 0;
}

/* The text after "'key':" in the header's dictionary, NULL if there is none. */
static const char *value_of(const char *header, const char *key) {
    const char *found = strstr(header, key);
    if (!found)
        return NULL;
    found += strlen(key);
    return found + strspn(found, ": ");
}

/* "(3, 28, 28)". false: no shape, or one of more dimensions than are kept, or of more values than can be counted */
static bool parse_shape(const char *text, dg_npz_array *a) {
    if (!text || *text != '(')
        return false;
    a->rank = 0;
    a->count = 1;
    text++;
    for (;;) {
        text += strspn(text, ", ");
        if (*text == ')')
            return true;
        char *end;
        const long long n = strtoll(text, &end, 10);
        if (end == text || n < 0 || a->rank == DG_NPZ_MAX_RANK || (n > 0 && a->count > INT64_MAX / 64 / n))
            return false;
        a->dims[a->rank++] = n;
        a->count *= n;
        text = end;
    }
}

/* "'<f8'" -> "f8", 8 bytes. Texts, objects and records keep their description, and no size. */
static void parse_type(const char *text, dg_npz_array *a, dg_npy_layout *layout) {
    static const char *const numbers[] = {"f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "b1"};
    const size_t shown = text ? strcspn(text, ",}\n") : 0;
    layout->readable = false;
    layout->swapped = text && text[0] == '\'' && text[1] == '>';
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && shown == 5; i++) {
        if (strncmp(text + 2, numbers[i], 2) != 0 || !strchr("<>|=", text[1]))
            continue;
        snprintf(a->type, sizeof a->type, "%s", numbers[i]);
        a->item_bytes = (size_t)(numbers[i][1] - '0');
        layout->readable = true;
        return;
    }
    snprintf(a->type, sizeof a->type, "%.*s", (int)shown, text ? text : "unknown type");
}

dg_status dg_npy_parse(dg_ctx *ctx, const char *where, const char *name, const char *header, size_t size,
                       dg_npz_array *a, dg_npy_layout *layout) {
    dg_status status = DG_OK;
    const size_t start = (unsigned char)header[6] > 1 ? DG_NPY_MAGIC_BYTES + 6 : DG_NPY_MAGIC_BYTES + 4;
    char *text = strndup(header + start, size - start);
    if (!text)
        return dg_fail(ctx, DG_ENOMEM, "%s: out of memory", where);
    *layout = (dg_npy_layout){.data = size};
    parse_type(value_of(text, "'descr'"), a, layout);
    const char *fortran = value_of(text, "'fortran_order'");
    layout->fortran = fortran && strncmp(fortran, "True", 4) == 0;
    if (!parse_shape(value_of(text, "'shape'"), a) ||
        (!layout->fortran && (!fortran || strncmp(fortran, "False", 5) != 0)))
        status = dg_fail(ctx, DG_EDATA, "%s: the header of its member %s does not say what is in it", where, name);
    free(text);
    return status;
}

/* Where value i of a file in Fortran order goes. */
static int64_t c_order(const dg_npz_array *a, int64_t i) {
    int64_t to = 0, stride = a->count;
    for (int k = 0; k < a->rank; k++) {
        stride /= a->dims[k];
        to += i % a->dims[k] * stride;
        i /= a->dims[k];
    }
    return to;
}

static void swap_bytes(uint8_t *item, size_t size) {
    for (size_t i = 0; i < size / 2; i++) {
        const uint8_t first = item[i];
        item[i] = item[size - 1 - i];
        item[size - 1 - i] = first;
    }
}

dg_status dg_npy_take(dg_ctx *ctx, const dg_npy_layout *layout, void *values, dg_npz_array *a) {
    uint8_t *from = values, *turned = NULL;
    const size_t item = a->item_bytes;
    for (int64_t i = 0; i < a->count && layout->swapped; i++)
        swap_bytes(from + (size_t)i * item, item);
    a->values = values;
    if (!layout->fortran || a->rank < 2)
        return DG_OK;
    dg_status status = dg_alloc(ctx, &turned, (size_t)a->count + 1, item, "an array");
    if (status != DG_OK)
        return status;
    for (int64_t i = 0; i < a->count; i++)
        memcpy(turned + (size_t)c_order(a, i) * item, from + (size_t)i * item, item);
    free(values);
    a->values = turned;
    return DG_OK;
}
