#include "decode/decode_stb.h"

#include "decode/decode.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Allocation is the only thing stb_image lets a caller intervene in, and its hooks carry no user pointer. So the budget
 * of the decode in progress lives in its thread; it is set on entry, zero outside, and shared with nobody. */
typedef struct dg_stb_budget {
    size_t left;
    bool exhausted; /* malloc itself failed */
} dg_stb_budget;
static _Thread_local dg_stb_budget budget;

/* Every block begins with its size, so that freeing gives the bytes back to the budget. */
enum { BLOCK_HEADER = 16 };

static void *budget_malloc(size_t size) {
    if (size > budget.left)
        return NULL;
    /* Zeroed, because a damaged file can make the decoder use tables and pixels that it never wrote. What a decode
     * gives must not depend on, or show, what lay in this memory before. */
    unsigned char *block = calloc(1, BLOCK_HEADER + size);
    if (!block) {
        budget.exhausted = true;
        return NULL;
    }
    budget.left -= size;
    memcpy(block, &size, sizeof size);
    return block + BLOCK_HEADER;
}

static void budget_free(void *pointer) {
    if (!pointer)
        return;
    unsigned char *block = (unsigned char *)pointer - BLOCK_HEADER;
    size_t size;
    memcpy(&size, block, sizeof size);
    budget.left += size;
    free(block);
}

static void *budget_realloc(void *pointer, size_t old_size, size_t new_size) {
    void *grown = budget_malloc(new_size);
    if (grown && pointer) {
        memcpy(grown, pointer, old_size < new_size ? old_size : new_size);
        budget_free(pointer);
    }
    return grown;
}

#define STBI_MALLOC(size) budget_malloc(size)
#define STBI_REALLOC_SIZED(pointer, old_size, new_size) budget_realloc(pointer, old_size, new_size)
#define STBI_FREE(pointer) budget_free(pointer)
#define STBI_MAX_DIMENSIONS DG_IMAGE_MAX_SIDE
#define STBI_ASSERT(condition) ((void)0) /* its conditions are about the input, which must never end the process */
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_JPEG
#define STBI_NO_PSD
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#pragma GCC diagnostic ignored "-Wunused-function" /* told at the end of the file, so it is not popped */
#include <stb_image.h>

dg_status dg_stb_decode(const uint8_t *bytes, size_t size, int bits, size_t budget_bytes, void **pixels, int *width,
                        int *height, int *components, const char **why) {
    if (size > INT_MAX) {
        *why = "larger than 2 GiB";
        return DG_EDATA;
    }
    budget = (dg_stb_budget){.left = budget_bytes};
    if (bits == 16)
        *pixels = stbi_load_16_from_memory(bytes, (int)size, width, height, components, 0);
    else
        *pixels = stbi_load_from_memory(bytes, (int)size, width, height, components, 0);
    bool exhausted = budget.exhausted;
    budget = (dg_stb_budget){0};
    if (*pixels)
        return DG_OK;
    *why = stbi_failure_reason();
    if (!*why)
        *why = "damaged";
    return exhausted ? DG_ENOMEM : DG_EDATA;
}

void dg_stb_free(void *pixels) {
    budget_free(pixels);
    budget.left = 0;
}
