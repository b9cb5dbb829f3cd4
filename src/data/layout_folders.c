/* Labels from names: ImageFolder (the first folder is the class) and WebDataset (key.png beside key.cls). */
#include "data/layout.h"
#include "data/split.h"
#include "data/words.h"
#include "decode/sniff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is no image is counted; what is an image of a kind that cannot be read is named. */
static dg_status note_other(dg_ctx *ctx, dg_layout *layout, const dg_tree *tree, size_t index) {
    const char *path = tree->files[index].path;
    if (tree->archive && dg_path_is_archive(path))
        return DG_OK; /* a shard: its members are listed */
    const dg_file *file = &tree->files[index];
    if (file->kind == DG_FILE_FOREIGN_IMAGE && !file->left_out)
        return dg_layout_skip(ctx, layout, path, "%s, which is not read; %s", file->foreign->name,
                              file->foreign->convert);
    layout->ignored++;
    return DG_OK;
}

/* A folder that only stores: "images", "data", "00000". */
static bool is_storage(const char *name, size_t length) {
    const dg_split_name read = dg_split_read(name, length);
    if (strspn(name, "0123456789") >= length)
        return length >= 5;
    return !read.rest[0];
}

/* Two different first folders, or one with a name that says something and no image beside it? */
static bool has_classes(const dg_tree *tree) {
    const char *first = NULL;
    size_t first_length = 0;
    bool beside = false;
    for (size_t i = 0; i < tree->count; i++) {
        const char *below = dg_layout_below(&tree->files[i]);
        if (!below || !dg_file_is_image(&tree->files[i]))
            continue;
        const char *slash = strchr(below, '/');
        size_t length = slash ? (size_t)(slash - below) : 0;
        beside |= !slash;
        if (!slash)
            continue;
        if (first && (length != first_length || strncmp(first, below, length) != 0))
            return true;
        first = below;
        first_length = length;
    }
    return first && !beside && !is_storage(first, first_length);
}

/* Has the name a word like "images" or "part"? */
static bool says_storage(const char *name, size_t length) {
    char copy[256];
    if (length >= sizeof copy)
        return false;
    memcpy(copy, name, length);
    copy[length] = 0;
    for (size_t at = 0, word; (word = dg_word_next(copy, &at)) > 0; at += word)
        if (dg_word_is_generic(copy + at, word))
            return true;
    return false;
}

/* Nothing but storage lies between the folder and its images: images_001/1.png, images_001/images/1.png. */
static bool is_plain_below(const char *slash) {
    const char *end = strchr(slash + 1, '/');
    return !end || (!strchr(end + 1, '/') && is_storage(slash + 1, (size_t)(end - slash - 1)));
}

/* Folders whose names differ in numbers only. */
typedef struct numbered {
    const char *last; /* not terminated; NULL: there are none, or other folders too */
    size_t length;
    bool storage; /* images_001, part_2: they say themselves that they are no classes */
} numbered;

static numbered find_numbered(const dg_tree *tree) {
    const numbered none = {0};
    numbered n = {.storage = true};
    dg_split_name rest = {0};
    bool differ = false;
    for (size_t i = 0; i < tree->count; i++) {
        const char *below = dg_layout_below(&tree->files[i]), *slash = below ? strchr(below, '/') : NULL;
        if (!below || !dg_file_is_image(&tree->files[i]))
            continue;
        if (!slash) {
            n.storage = false;
            continue;
        }
        const size_t length = (size_t)(slash - below);
        n.storage = n.storage && is_plain_below(slash);
        if (n.last && length == n.length && memcmp(n.last, below, length) == 0)
            continue;
        const dg_split_name read = dg_split_read(below, length);
        const bool number = strspn(below, "0123456789") >= length;
        if ((number && length < 5) || (n.last && strcmp(read.rest, rest.rest) != 0))
            return none;
        differ |= n.last != NULL;
        n.storage = n.storage && says_storage(below, length) && read.role == DG_SPLIT_NONE;
        n.last = below;
        n.length = length;
        rest = read;
    }
    return differ ? n : none;
}

static dg_status note_numbered(dg_ctx *ctx, dg_layout *layout, numbered n) {
    if (n.last && n.storage)
        return dg_layout_note(ctx, layout,
                              "the names of the folders differ in numbers only (%.*s) and tell no classes; a table "
                              "(--metadata) could",
                              (int)n.length, n.last);
    if (n.last)
        return dg_layout_note(ctx, layout,
                              "the names of the folders differ in numbers only (%.*s); each is taken for a class "
                              "(--uncond takes none)",
                              (int)n.length, n.last);
    return DG_OK;
}

/* amazon/bike, amazon/mug, dslr/bike, ...: where every class is divided into folders again, these may have been meant.
 */
static dg_status note_divided(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout) {
    const char *first = NULL, *inner = NULL;
    size_t first_length = 0, inner_length = 0;
    bool several = true;
    for (size_t i = 0; i < layout->finished_count; i++) {
        const char *below = dg_layout_below(&tree->files[i]), *slash = below ? strchr(below, '/') : NULL;
        if (!slash || !dg_file_is_image(&tree->files[i]))
            continue;
        const char *end = strchr(slash + 1, '/');
        const size_t length = (size_t)(slash - below), size = end ? (size_t)(end - slash - 1) : 0;
        if (!end)
            return DG_OK;
        if (first && length == first_length && memcmp(first, below, length) == 0) {
            several |= size != inner_length || memcmp(inner, slash + 1, size) != 0;
            continue;
        }
        if (!several)
            return DG_OK;
        several = false;
        first = below;
        first_length = length;
        inner = slash + 1;
        inner_length = size;
    }
    if (!first || !several)
        return DG_OK;
    return dg_layout_note(ctx, layout,
                          "the classes are the outer folders (%.*s); those in them (%.*s) tell no classes, and a table "
                          "(--metadata) could",
                          (int)first_length, first, (int)inner_length, inner);
}

/* Is there an image below "folder/"? */
static bool holds_image(const dg_tree *tree, size_t finished_count, const char *folder) {
    size_t length = strlen(folder);
    for (size_t i = dg_tree_lower_bound(tree, finished_count, folder); i < finished_count; i++) {
        const char *path = tree->files[i].path;
        if (strncmp(path, folder, length) != 0)
            return false;
        if (dg_file_is_image(&tree->files[i]) || tree->files[i].left_out == DG_LEFT_OUTPUT)
            return true;
    }
    return false;
}

/* Folders where a class could be, without an image below. */
static dg_status note_empty_folders(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout) {
    dg_status status = DG_OK;
    const dg_file *first = NULL;
    char *folder = NULL;
    for (size_t i = 0; i < layout->finished_count && !first; i++)
        if (!tree->files[i].left_out && dg_file_is_image(&tree->files[i]))
            first = &tree->files[i];
    for (size_t f = 0; f < tree->folder_count && first; f++) {
        const char *name = tree->folders[f];
        if (strncmp(name, first->path, first->base) != 0 || strlen(name) <= first->base ||
            strchr(name + first->base, '/'))
            continue;
        if (asprintf(&folder, "%s/", name) < 0) {
            folder = NULL;
            status = dg_fail(ctx, DG_ENOMEM, "out of memory for folder names");
            goto done;
        }
        if (!holds_image(tree, layout->finished_count, folder))
            DG_TRY(dg_layout_note(ctx, layout, "folder %s holds no image; it is not a class", name));
        free(folder);
        folder = NULL;
    }
done:
    free(folder);
    return status;
}

dg_status dg_layout_folders(dg_ctx *ctx, dg_tree *tree, dg_layout *layout) {
    dg_status status = DG_OK;
    char *label = NULL;
    int64_t beside = 0;
    const numbered folders = layout->unconditional ? (numbered){0} : find_numbered(tree);
    const bool classes = !layout->unconditional && has_classes(tree) && !(folders.last && folders.storage);
    layout->name = classes ? "folders" : "flat";
    layout->folders = true;
    for (size_t i = 0; i < tree->count; i++) {
        const char *below = dg_layout_below(&tree->files[i]);
        if (!below && dg_file_is_image(&tree->files[i]))
            continue; /* another split: the note counts it */
        if (!below || !dg_file_is_image(&tree->files[i])) {
            DG_TRY(note_other(ctx, layout, tree, i));
            continue;
        }
        const char *slash = strchr(below, '/');
        if (classes && !slash) {
            beside++;
            continue;
        }
        if (classes) {
            label = strndup(below, (size_t)(slash - below));
            if (!label) {
                status = dg_fail(ctx, DG_ENOMEM, "out of memory for labels");
                goto done;
            }
            const char *problem = dg_label_problem(label);
            if (problem) {
                DG_TRY(dg_layout_skip(ctx, layout, tree->files[i].path, "the folder cannot name a class: %s", problem));
                free(label);
                label = NULL;
                continue;
            }
        }
        DG_TRY(dg_layout_add(ctx, layout, i, label));
        free(label);
        label = NULL;
    }
    if (beside > 0)
        DG_TRY(dg_layout_fall(ctx, layout, beside, "beside the class folders, of no class"));
    DG_TRY(note_numbered(ctx, layout, folders));
    if (classes)
        DG_TRY(note_divided(ctx, tree, layout));
    DG_TRY(note_empty_folders(ctx, tree, layout));
done:
    free(label);
    return status;
}

/* The label in key.cls: a whole number, or what one line of text says. */
static dg_status read_cls(dg_ctx *ctx, const dg_tree *tree, size_t index, char label[256], char *reason) {
    const uint8_t *bytes;
    size_t size;
    void *owned;
    dg_status status = dg_tree_load(tree, index, 4096, &bytes, &size, &owned, reason);
    if (status == DG_ENOMEM)
        return dg_fail(ctx, DG_ENOMEM, "out of memory while reading %s", tree->files[index].path);
    if (status != DG_OK)
        return status;
    size_t begin = 0;
    while (size > 0 && strchr(" \t\r\n", bytes[size - 1]) && bytes[size - 1])
        size--;
    while (begin < size && strchr(" \t\r\n", bytes[begin]) && bytes[begin])
        begin++;
    size_t length = size - begin;
    if (length > 255 || memchr(bytes + begin, 0, length)) {
        status = dg_image_refuse(reason, "its .cls file is not a label");
    } else {
        memcpy(label, bytes + begin, length);
        label[length] = 0;
        const char *problem = dg_label_problem(label);
        if (problem)
            status = dg_image_refuse(reason, "its .cls file is not a label: %s", problem);
    }
    free(owned);
    return status;
}

/* Length of a WebDataset key: up to the first dot of the last part. */
static size_t key_length(const char *path) {
    const char *name = dg_path_name(path);
    return (size_t)(name - path) + strcspn(name, ".");
}

dg_status dg_layout_webdataset(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, bool *found) {
    dg_status status = DG_OK;
    char *cls = NULL;
    *found = false;
    for (size_t i = 0; i < tree->count && !*found; i++)
        *found = dg_path_ends_with(tree->files[i].path, ".cls") && dg_layout_below(&tree->files[i]);
    if (!*found)
        return DG_OK;
    layout->name = "webdataset";
    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->files[i].path;
        char label[256], reason[DG_REASON_BYTES] = "";
        if (!dg_layout_below(&tree->files[i]) || !dg_file_is_image(&tree->files[i])) {
            if (!dg_path_ends_with(path, ".cls"))
                DG_TRY(note_other(ctx, layout, tree, i));
            continue;
        }
        if (asprintf(&cls, "%.*s.cls", (int)key_length(path), path) < 0) {
            cls = NULL;
            status = dg_fail(ctx, DG_ENOMEM, "out of memory for labels");
            goto done;
        }
        int64_t at = dg_tree_find(tree, layout->finished_count, cls);
        free(cls);
        cls = NULL;
        if (at < 0) {
            DG_TRY(dg_layout_skip(ctx, layout, path, "no .cls file beside it"));
            continue;
        }
        status = read_cls(ctx, tree, (size_t)at, label, reason);
        if (status == DG_EDATA) {
            status = DG_OK;
            DG_TRY(dg_layout_skip(ctx, layout, path, "%s", reason));
            continue;
        }
        if (status != DG_OK)
            goto done;
        DG_TRY(dg_layout_add(ctx, layout, i, label));
    }
done:
    free(cls);
    return status;
}
