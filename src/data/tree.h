/* A tree of files, whether on disk or inside archives, as one sorted list of relative paths. What a data set is read
 * from; says nothing about labels. Internal to the data room.
 * Order: dg_tree_open, or a zeroed dg_tree and dg_tree_add_*; then dg_tree_finish; then look-ups and loads from any
 * thread; then dg_tree_free. */
#ifndef DG_DATA_TREE_H
#define DG_DATA_TREE_H

#include "core/context.h"
#include "decode/recognise.h"
#include "formats/path.h"

#include <stdint.h>

enum { DG_TREE_MAX_FILE_BYTES = 256 << 20, DG_TREE_MAX_FILES = 1 << 26 };

/* Why a file is no part of the set that was asked for. */
typedef enum dg_left_out {
    DG_LEFT_NOT,
    DG_LEFT_SPLIT,  /* of another split */
    DG_LEFT_PART,   /* another part of a sample: a mask */
    DG_LEFT_OUTPUT, /* diffgen wrote it */
    DG_LEFT_BESIDE  /* lies beside the folders that were descended into */
} dg_left_out;

typedef struct dg_file {
    char *path;  /* relative to the root, '/' between folders, no "." or ".." */
    size_t skip; /* length of the archive's own name at its front ("shard-0.tar/"), else 0 */
    size_t base; /* length of what says nothing about classes: archive, wrapping folders, split (layout_place.h) */
    dg_left_out left_out;
    uint8_t *held; /* archive member: its bytes, owned; NULL: a file on disk */
    size_t held_size;
    const uint8_t *raw; /* pixels of an image of an IDX or .npz file, inside a blob of the tree */
    int raw_width, raw_height, raw_channels, raw_bits;
    bool said;     /* a label file or table that was read or named in a note */
    char *problem; /* why it cannot be read, known already; else NULL */
    bool folder;   /* a folder that cannot be listed, with its problem */
    dg_file_kind kind;
    const dg_foreign *foreign; /* what it is if its kind is one of the foreign ones, else NULL */
} dg_file;

typedef struct dg_tree {
    char *root;   /* folder that paths are relative to; NULL: nothing on disk */
    bool archive; /* some of it came out of an archive */
    dg_file *files;
    size_t count, capacity;
    char **folders; /* relative paths of all folders seen on disk, sorted */
    size_t folder_count, folder_capacity;
    char **remarks; /* what a person should know about how it was read */
    size_t remark_count;
    int64_t nested;     /* archives that are not opened: in archives, or beside images */
    char **own_folders; /* "runs/a/": what diffgen wrote, whose files are left out (own_output.h) */
    size_t own_count;
    void **blobs; /* owned memory that files point into */
    size_t blob_count, blob_capacity;
    int64_t hidden; /* hidden files and what is not a regular file: left out */
    int64_t held_bytes, held_limit;
} dg_tree;

/* A folder, an archive, an IDX file, or a folder of nothing but archives.
 * in    held_limit  bytes of archive members and IDX pixels to keep in memory at most
 * err   DG_ENOINPUT, DG_EDATA (hostile or damaged archive, over the limit), DG_EIO, DG_ENOMEM */
DG_MUST_CHECK dg_status dg_tree_open(dg_ctx *ctx, const char *path, int64_t held_limit, dg_tree *tree);
/* Every regular file below `path`. Symbolic links are followed, except to a folder being walked already. */
DG_MUST_CHECK dg_status dg_tree_add_folder(dg_ctx *ctx, dg_tree *tree, const char *path);
/* The members of an archive a data set can use; `prefix` ("" or "name.tar/") is put before their names.
 * in    bytes, size  the archive in memory; or bytes NULL: the file `path`; path names it in errors either way */
DG_MUST_CHECK dg_status dg_tree_add_archive(dg_ctx *ctx, dg_tree *tree, const char *path, const void *bytes,
                                            size_t size, const char *prefix);
/* Takes ownership of held, also on failure. err DG_EDATA unsafe path or over the limits; DG_ENOMEM */
DG_MUST_CHECK dg_status dg_tree_add_file(dg_ctx *ctx, dg_tree *tree, const char *path, size_t skip, uint8_t *held,
                                         size_t held_size);
/* Gives the tree ownership of memory, also on failure. */
DG_MUST_CHECK dg_status dg_tree_add_blob(dg_ctx *ctx, dg_tree *tree, void *blob);
DG_MUST_CHECK dg_status dg_tree_remark(dg_ctx *ctx, dg_tree *tree, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Sorts by path; of several archive members with one name the last stays. */
DG_MUST_CHECK dg_status dg_tree_finish(dg_ctx *ctx, dg_tree *tree); /* err DG_ENOMEM */
void dg_tree_free(dg_tree *tree);                                   /* also half built; leaves it zeroed */
/* Frees what archives and IDX files left in memory. Files stay listed. */
void dg_tree_drop_held(dg_tree *tree);

static inline size_t dg_file_raw_bytes(const dg_file *file) {
    return (size_t)file->raw_width * (size_t)file->raw_height * (size_t)file->raw_channels * (size_t)file->raw_bits / 8;
}
/* Index by path, or -1. Only among what was there at dg_tree_finish. */
int64_t dg_tree_find(const dg_tree *tree, size_t finished_count, const char *path);
/* Index of the first path that is not before `path`: where the files below "folder/" begin. */
size_t dg_tree_lower_bound(const dg_tree *tree, size_t finished_count, const char *path);
/* Is it of a format that has a decoder, by its name or, where that says nothing, by its contents? */
static inline bool dg_file_is_image(const dg_file *file) {
    return file->kind == DG_FILE_IMAGE;
}
/* The bytes of a file: *owned is what to free (NULL if they belong to the tree).
 * err   DG_EDATA too large, unreadable or changed: reason filled (DG_REASON_BYTES); DG_ENOMEM */
DG_MUST_CHECK dg_status dg_tree_load(const dg_tree *tree, size_t index, size_t max_bytes, const uint8_t **bytes,
                                     size_t *size, void **owned, char *reason);

/* The first bytes of a file, at most max_bytes, without reading the rest. */
DG_MUST_CHECK dg_status dg_tree_peek(const dg_tree *tree, size_t index, size_t max_bytes, const uint8_t **bytes,
                                     size_t *size, void **owned, char *reason);

#endif
