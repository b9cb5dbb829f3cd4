#include "data/layout_level.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The part of a path that is a name at the depth: true, *name and *length; false: the file lies directly in a level
 * above. */
static bool component(const dg_file *file, int depth, const char **name, size_t *length) {
    const char *at = file->path + file->base;
    for (; depth > 0; depth--) {
        const char *slash = strchr(at, '/');
        if (!slash)
            return false;
        at = slash + 1;
    }
    const char *slash = strchr(at, '/');
    if (!slash)
        return false;
    *name = at;
    *length = (size_t)(slash - at);
    return true;
}

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length) {
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int by_name(const void *a, const void *b) {
    const dg_child *x = a, *y = b;
    return compare_names(x->name, x->length, y->name, y->length);
}

static dg_child *find(const dg_level *level, const char *name, size_t length) {
    const dg_child key = {.name = name, .length = length};
    return level->count ? bsearch(&key, level->children, level->count, sizeof key, by_name) : NULL;
}

/* Adds an image's folder, or counts the image in the last one: neighbours mostly share it. */
static dg_status add(dg_ctx *ctx, dg_level *level, size_t *capacity, const dg_file *file, const char *name,
                     size_t length) {
    const bool direct = strchr(name + length + 1, '/') == NULL;
    dg_child *last = level->count ? &level->children[level->count - 1] : NULL;
    if (!last || compare_names(last->name, last->length, name, length) != 0) {
        if (level->count == *capacity) {
            size_t wanted = *capacity ? 2 * *capacity : 64;
            dg_child *grown = reallocarray(level->children, wanted, sizeof *grown);
            if (!grown)
                return dg_fail(ctx, DG_ENOMEM, "out of memory for a list of %zu folders", wanted);
            level->children = grown;
            *capacity = wanted;
        }
        last = &level->children[level->count++];
        *last = (dg_child){.name = name, .length = length};
        last->archive = (size_t)(name + length + 1 - file->path) == file->skip;
        last->split = dg_split_read(name, length);
    }
    last->images++;
    last->direct += direct;
    return DG_OK;
}

static void merge(dg_level *level) {
    size_t kept = 0;
    if (level->count > 0)
        qsort(level->children, level->count, sizeof *level->children, by_name);
    for (size_t i = 0; i < level->count; i++) {
        if (kept > 0 && by_name(&level->children[kept - 1], &level->children[i]) == 0) {
            level->children[kept - 1].images += level->children[i].images;
            level->children[kept - 1].direct += level->children[i].direct;
        } else {
            level->children[kept++] = level->children[i];
        }
    }
    level->count = kept;
}

/* Which children have files that give labels. */
static void mark_labelled(const dg_tree *tree, int depth, dg_level *level) {
    for (size_t i = 0; i < tree->count; i++) {
        const dg_file *file = &tree->files[i];
        const char *name = dg_path_name(file->path), *part;
        size_t length;
        if (file->left_out || !component(file, depth, &part, &length))
            continue;
        if (strncasecmp(name, "metadata.", 9) != 0 && strcasecmp(name, "dataset.json") != 0 &&
            !dg_path_ends_with(name, ".cls"))
            continue;
        dg_child *child = find(level, part, length);
        if (child)
            child->labelled = true;
    }
}

dg_status dg_level_collect(dg_ctx *ctx, const dg_tree *tree, int depth, dg_level *level) {
    dg_status status = DG_OK;
    size_t capacity = 0;
    const char *parent = NULL;
    size_t parent_length = 0;
    *level = (dg_level){0};
    for (size_t i = 0; i < tree->count; i++) {
        const dg_file *file = &tree->files[i];
        const char *name;
        size_t length;
        if (!dg_layout_is_image(file) || file->left_out)
            continue;
        if (!level->prefix && !(level->prefix = strndup(file->path, file->base)))
            return dg_fail(ctx, DG_ENOMEM, "out of memory for a list of folders");
        if (!component(file, depth, &name, &length)) {
            level->beside += depth == 0 || strchr(file->path + file->base, '/') != NULL;
            continue;
        }
        DG_TRY(add(ctx, level, &capacity, file, name, length));
        const char *above = file->path + file->base;
        if (depth > 0 &&
            (!parent || parent_length != (size_t)(name - above) || strncmp(parent, above, parent_length) != 0)) {
            parent = above;
            parent_length = (size_t)(name - above);
            level->parents++;
        }
    }
    merge(level);
    mark_labelled(tree, depth, level);
done:
    return status;
}

void dg_level_apply(dg_tree *tree, int depth, const dg_level *level, bool beside) {
    for (size_t i = 0; i < tree->count; i++) {
        dg_file *file = &tree->files[i];
        const char *name;
        size_t length;
        if (file->left_out)
            continue;
        if (!component(file, depth, &name, &length)) {
            if (beside && dg_layout_is_image(file) && (depth == 0 || strchr(file->path + file->base, '/')))
                file->left_out = DG_LEFT_BESIDE;
            continue;
        }
        const dg_child *child = find(level, name, length);
        if (child && child->fate == DG_FATE_LEAVE)
            file->left_out = child->why;
        else if (child && child->fate == DG_FATE_DESCEND && depth == 0)
            file->base = (size_t)(name + length + 1 - file->path);
    }
}

void dg_level_free(dg_level *level) {
    free(level->children);
    free(level->prefix);
    *level = (dg_level){0};
}

void dg_level_list(const dg_level *level, dg_fate fate, dg_str *out) {
    enum { SHOWN = 6 };
    int64_t listed = 0, images = 0, more = 0;
    for (size_t i = 0; i < level->count; i++) {
        const dg_child *child = &level->children[i];
        if (child->fate != fate)
            continue;
        if (listed == SHOWN) {
            more++;
            images += child->images;
            continue;
        }
        dg_str_printf(out, "%s%.*s%s (%lld image%s)", listed ? ", " : "", (int)child->length, child->name,
                      child->archive ? "" : "/", (long long)child->images, child->images == 1 ? "" : "s");
        listed++;
    }
    if (more > 0)
        dg_str_printf(out, " and %lld more (%lld images)", (long long)more, (long long)images);
}

const dg_child *dg_level_repeated(const dg_tree *tree, dg_level *level) {
    for (size_t i = 0; i < tree->count && level->count > 2; i++) {
        const dg_file *file = &tree->files[i];
        const char *above, *name;
        size_t above_length, length;
        if (file->left_out || !dg_layout_is_image(file) || !component(file, 0, &above, &above_length) ||
            !component(file, 1, &name, &length))
            continue;
        dg_child *child = find(level, above, above_length), *same = find(level, name, length);
        if (!child || !same || child == same)
            continue;
        const size_t index = (size_t)(same - level->children);
        child->several |= child->repeats > 0 && child->repeated != index;
        child->repeated = index;
        child->repeats++;
    }
    for (size_t i = 0; i < level->count; i++)
        if (level->children[i].several && level->children[i].repeats == level->children[i].images)
            return &level->children[i];
    return NULL;
}

const char *dg_level_empty_split(const dg_tree *tree, const dg_level *level, dg_split_role role) {
    const size_t front = level->prefix ? strlen(level->prefix) : 0;
    for (size_t i = 0; i < tree->folder_count; i++) {
        const char *folder = tree->folders[i];
        if (strncmp(folder, level->prefix ? level->prefix : "", front) != 0 || strchr(folder + front, '/'))
            continue;
        const size_t length = strlen(folder + front);
        if (!find(level, folder + front, length) && dg_split_read(folder + front, length).role == role)
            return folder;
    }
    return NULL;
}
