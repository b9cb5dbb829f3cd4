#include "data/layout_place.h"

#include "core/text.h"

#include <string.h>
#include <strings.h>

enum { MAX_LEVELS = 64 };

/* Images that lie beside a folder are worth no class where the folder holds several. */
static bool is_wrapper(const dg_level *level, const dg_level *below) {
    const dg_child *only = &level->children[0];
    if (only->images == only->direct)
        return false;
    return (level->beside == 0 && only->direct == 0) || below->count >= 2;
}

static dg_status descend(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level) {
    dg_status status = DG_OK;
    dg_child *only = &level->children[0];
    only->fate = DG_FATE_DESCEND;
    if (level->beside > 0)
        DG_TRY(dg_layout_fall(ctx, place->layout, level->beside, "beside the folder that holds the classes"));
    DG_TRY(dg_layout_note(ctx, place->layout, "%s%.*s/ holds everything and is no class; what is in it is read",
                          level->prefix ? level->prefix : "", (int)only->length, only->name));
    dg_level_apply(tree, 0, level, true);
done:
    return status;
}

/* Archives are read as one set: from here on only paths inside them count. */
static dg_status enter_archives(dg_ctx *ctx, dg_tree *tree, dg_layout *layout, const dg_level *level, bool *entered) {
    int64_t archives = 0;
    bool differ = false;
    *entered = false;
    for (size_t i = 0; i < level->count; i++) {
        archives += level->children[i].archive;
        differ |= i > 0 && strcmp(level->children[i].split.rest, level->children[0].split.rest) != 0;
    }
    for (size_t i = 0; i < tree->count; i++) {
        dg_file *file = &tree->files[i];
        if (file->left_out || file->base >= file->skip)
            continue;
        *entered |= dg_layout_is_image(file);
        file->base = file->skip;
    }
    if (*entered && differ && archives > 1)
        return dg_layout_note(ctx, layout, "%lld archives are read as one data set; their names are no classes",
                              (long long)archives);
    return DG_OK;
}

/* Some archives hold their tree twice (yes/, no/, brain/yes, brain/no): the second copy is no class. */
static dg_status refuse_repeated(dg_ctx *ctx, const dg_tree *tree, const dg_place *place, dg_level *level) {
    const dg_child *c = place->split || place->layout->unconditional ? NULL : dg_level_repeated(tree, level);
    if (!c)
        return DG_OK;
    const int length = (int)c->length;
    return dg_fail(
        ctx, DG_EDATA,
        "%s: two readings of %s%.*s/ (%lld images): the same set once more, for all folders in it are called "
        "like folders beside it (--split %.*s reads it alone; take it away to read the others), or a class "
        "like those (--split none); say which",
        place->path, level->prefix ? level->prefix : "", length, c->name, (long long)c->images, length, c->name);
}

/* The one question after the other, until one is answered: *again if there is more to look at. */
static dg_status ask_level(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level, dg_level *below, bool *again) {
    dg_status status = DG_OK;
    DG_TRY(dg_place_part(ctx, tree, place, level, NULL, again));
    if (!*again)
        DG_TRY(dg_place_split(ctx, tree, place, level, NULL, again));
    if (*again)
        goto done;
    DG_TRY(dg_level_collect(ctx, tree, 1, below));
    if (level->count < 2)
        goto done;
    DG_TRY(dg_place_part(ctx, tree, place, below, level, again));
    if (!*again)
        DG_TRY(dg_place_split(ctx, tree, place, below, level, again));
    if (!*again)
        DG_TRY(refuse_repeated(ctx, tree, place, level));
done:
    return status;
}

/* One level: *again if a deeper one is to be looked at. */
static dg_status place_level(dg_ctx *ctx, dg_tree *tree, dg_place *place, bool *again) {
    dg_status status = DG_OK;
    dg_level level = {0}, below = {0};
    *again = false;
    DG_TRY(dg_level_collect(ctx, tree, 0, &level));
    if (level.count == 0)
        goto done;
    DG_TRY(ask_level(ctx, tree, place, &level, &below, again));
    if (*again)
        goto done;
    if (level.count == 1 && !level.children[0].archive && is_wrapper(&level, &below)) {
        DG_TRY(descend(ctx, tree, place, &level));
        *again = true;
    } else {
        DG_TRY(enter_archives(ctx, tree, place->layout, &level, again));
    }
done:
    dg_level_free(&level);
    dg_level_free(&below);
    return status;
}

/* What reading the tree brought up. */
static dg_status say_of_tree(dg_ctx *ctx, const dg_tree *tree, dg_layout *layout) {
    enum { SHOWN = 6 };
    dg_status status = DG_OK;
    dg_str text = {0};
    for (size_t i = 0; i < tree->remark_count; i++)
        DG_TRY(dg_layout_note(ctx, layout, "%s", tree->remarks[i]));
    for (size_t i = 0; i < tree->own_count && i < SHOWN; i++)
        dg_str_printf(&text, "%s%s", i ? ", " : "", tree->own_folders[i]);
    if (tree->own_count > SHOWN)
        dg_str_printf(&text, " and %zu more", tree->own_count - SHOWN);
    if (text.length > 0)
        DG_TRY(dg_layout_note(ctx, layout, "diffgen's own output in the data set is left out: %s", text.data));
done:
    dg_str_free(&text);
    return status;
}

dg_status dg_place_files(dg_ctx *ctx, dg_tree *tree, dg_place *place) {
    dg_status status = DG_OK;
    bool again = true;
    DG_TRY(say_of_tree(ctx, tree, place->layout));
    for (int levels = 0; again && levels < MAX_LEVELS; levels++)
        DG_TRY(place_level(ctx, tree, place, &again));
    DG_TRY(dg_place_split_files(ctx, tree, place));
    DG_TRY(dg_place_file_parts(ctx, tree, place));
    if (place->part && !place->part_taken && strcasecmp(place->part, "all") != 0)
        status = dg_fail(ctx, DG_EUSAGE, "--part %s: the samples of %s have no such part", place->part, place->path);
    place->layout->split_taken = place->split_taken || place->split_alone;
done:
    return status;
}
