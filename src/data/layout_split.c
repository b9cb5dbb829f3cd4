/* Which folders and archives of a level are splits of one data set, and which of them is read.
 *
 * Names alone do not tell: "train" is a vehicle as well. So names are splits where at least two roles stand side by
 * side under the same remaining words (seg_train, seg_test), one of them training's, and nothing speaks against it. A
 * level that can be read either way is a question to the user, with both readings; --split answers it. */
#include "data/layout_place.h"

#include "core/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct summary {
    int64_t splits, others, pure, roles;
    bool seen[DG_SPLIT_TEST + 1];
    bool same_rest;       /* all splits have the same remaining words */
    bool same_train_rest; /* those of training have */
    bool archives;        /* every child is one */
    bool train_inside;    /* something below one of training's says what the classes are */
    bool others_flat;     /* one of the others has images and nothing more */
} summary;

static bool has_inside(const dg_child *child) {
    return child->archive || child->labelled || child->images > child->direct;
}

static bool counts(const dg_child *child, bool pure_only) {
    return child->split.role != DG_SPLIT_NONE && (child->split.pure || !pure_only);
}

static summary sum_up(const dg_level *level, bool pure_only) {
    summary s = {.same_rest = true, .same_train_rest = true, .archives = true};
    const char *rest = NULL, *train_rest = NULL;
    for (size_t i = 0; i < level->count; i++) {
        const dg_child *c = &level->children[i];
        s.archives &= c->archive;
        if (!counts(c, pure_only)) {
            s.others++;
            s.others_flat |= !has_inside(c);
            continue;
        }
        const dg_split_role role = c->split.role;
        s.splits++;
        s.pure += c->split.pure;
        s.roles += !s.seen[role];
        s.seen[role] = true;
        s.same_rest &= !rest || strcmp(rest, c->split.rest) == 0;
        rest = c->split.rest;
        if (role != DG_SPLIT_TRAIN)
            continue;
        s.train_inside |= has_inside(c);
        s.same_train_rest &= !train_rest || strcmp(train_rest, c->split.rest) == 0;
        train_rest = c->split.rest;
    }
    return s;
}

static bool pure_only(const dg_level *level) {
    return sum_up(level, true).roles >= 2;
}

/* The folders of the held-out splits have the names of the folders beside them: cat, dog, test/cat, test/dog. */
static bool repeats_others(const dg_tree *tree, const dg_level *level) {
    int64_t inside = 0, known = 0;
    for (size_t i = 0; i < tree->count; i++) {
        const dg_file *file = &tree->files[i];
        const char *at = file->path + file->base, *slash = strchr(at, '/'),
                   *end = slash ? strchr(slash + 1, '/') : NULL;
        if (!end || file->left_out || !dg_layout_is_image(file) || !dg_split_read(at, (size_t)(slash - at)).pure)
            continue;
        const size_t length = (size_t)(end - slash - 1);
        inside++;
        for (size_t k = 0; k < level->count; k++)
            if (level->children[k].length == length && memcmp(level->children[k].name, slash + 1, length) == 0) {
                known++;
                break;
            }
    }
    return inside > 0 && known == inside;
}

typedef enum verdict { NO_SPLITS, SPLITS, REST_IS_TRAIN, ASK } verdict;

static verdict judge_alone(const dg_level *level) {
    const dg_child *only = &level->children[0];
    if (level->beside == 0)
        return only->split.pure || has_inside(only) ? SPLITS : NO_SPLITS;
    if (!only->split.pure && !has_inside(only))
        return NO_SPLITS;
    return only->split.role == DG_SPLIT_TRAIN && has_inside(only) ? SPLITS : ASK;
}

static verdict judge_several_roles(const summary *s) {
    if (!s->seen[DG_SPLIT_TRAIN])
        return s->same_rest || s->pure > 0 || s->others == 0 ? ASK : NO_SPLITS;
    if (!s->same_rest && s->others > 0)
        return ASK;
    if (!s->same_train_rest)
        return ASK;
    return s->train_inside || s->others < s->splits ? SPLITS : ASK;
}

static verdict judge(const dg_tree *tree, const dg_level *level) {
    const summary s = sum_up(level, pure_only(level));
    if (s.splits == 0)
        return NO_SPLITS;
    if (level->count == 1)
        return judge_alone(level);
    if (s.roles >= 2)
        return judge_several_roles(&s);
    if (s.others == 0)
        return !s.same_rest ? NO_SPLITS : s.archives ? SPLITS : ASK;
    if (s.pure == 0)
        return s.seen[DG_SPLIT_TRAIN] && s.train_inside && s.others_flat ? ASK : NO_SPLITS;
    if (!s.seen[DG_SPLIT_TRAIN])
        return repeats_others(tree, level) ? REST_IS_TRAIN : ASK;
    if (s.others == 1 || (s.train_inside && s.others_flat))
        return ASK;
    return NO_SPLITS;
}

/* Below class folders (cat/train, cat/test) names mean splits only where they are plain and most folders have them. */
static verdict judge_below(const dg_level *below, const dg_level *level) {
    const summary s = sum_up(below, true);
    const int64_t folders = (int64_t)level->count;
    if (s.splits == 0 || s.others >= s.splits)
        return NO_SPLITS;
    if (s.roles >= 2)
        return s.seen[DG_SPLIT_TRAIN] && 2 * below->parents > folders ? SPLITS : ASK;
    return 2 * below->parents > folders && s.others == 0 && below->beside > 0 ? ASK : NO_SPLITS;
}

/* ---- fates ---- */

static bool choose_role(dg_level *level, dg_split_role role, bool pure) {
    bool any = false;
    for (size_t i = 0; i < level->count; i++) {
        dg_child *c = &level->children[i];
        const bool chosen = counts(c, pure) && c->split.role == role;
        c->fate = chosen ? DG_FATE_DESCEND : DG_FATE_LEAVE;
        c->why = DG_LEFT_SPLIT;
        any |= chosen;
    }
    return any;
}

static bool choose_rest(dg_level *level) {
    bool any = level->beside > 0;
    for (size_t i = 0; i < level->count; i++) {
        dg_child *c = &level->children[i];
        c->fate = counts(c, true) ? DG_FATE_LEAVE : DG_FATE_KEEP;
        c->why = DG_LEFT_SPLIT;
        any |= c->fate == DG_FATE_KEEP;
    }
    return any;
}

static bool choose_named(dg_level *level, const char *wanted) {
    bool any = false;
    for (size_t i = 0; i < level->count; i++) {
        dg_child *c = &level->children[i];
        const bool chosen = dg_split_is_wanted(wanted, c->name, c->length);
        c->fate = chosen ? DG_FATE_DESCEND : DG_FATE_LEAVE;
        c->why = DG_LEFT_SPLIT;
        any |= chosen;
    }
    for (size_t i = 0; i < level->count && !any; i++)
        level->children[i].fate = DG_FATE_KEEP;
    return any;
}

/* Every split is read; the folders beside them are classes only where there is no training split. */
static bool choose_all(dg_level *level) {
    const summary s = sum_up(level, pure_only(level));
    for (size_t i = 0; i < level->count && s.splits > 0; i++) {
        dg_child *c = &level->children[i];
        if (counts(c, pure_only(level)))
            c->fate = DG_FATE_DESCEND;
        else if (s.seen[DG_SPLIT_TRAIN])
            c->fate = DG_FATE_LEAVE;
        c->why = DG_LEFT_SPLIT;
    }
    return s.splits > 0;
}

/* ---- words ---- */

/* The values of --split that make sense at a level: "--split val or --split test". */
static void list_choices(const dg_level *level, dg_str *out) {
    const summary s = sum_up(level, pure_only(level));
    int listed = 0;
    if (!s.seen[DG_SPLIT_TRAIN] && (s.others > 0 || level->beside > 0))
        dg_str_printf(out, "--split train (all but those)%s", listed++ ? "" : "");
    for (size_t i = 0; i < level->count && listed < 6; i++) {
        const dg_child *c = &level->children[i];
        if (counts(c, pure_only(level)))
            dg_str_printf(out, "%s--split %.*s", listed++ ? ", " : "", (int)c->length, c->name);
    }
    if (s.splits > 1)
        dg_str_append(out, " or --split all (together)");
}

static dg_status ask(dg_ctx *ctx, const char *path, const dg_level *level) {
    dg_str found = {0}, choices = {0};
    dg_level_list(level, DG_FATE_KEEP, &found);
    if (level->beside > 0)
        dg_str_printf(&found, " and %lld images beside", (long long)level->beside);
    list_choices(level, &choices);
    dg_status status =
        dg_str_ok(&found) && dg_str_ok(&choices)
            ? dg_fail(ctx, DG_EDATA,
                      "%s: two readings of %s%s: names of splits, of which one is read (%s), or names of "
                      "classes, all of which are read (--split none); say which",
                      path, level->prefix ? level->prefix : "", found.data, choices.data)
            : dg_fail(ctx, DG_ENOMEM, "out of memory for a message");
    dg_str_free(&found);
    dg_str_free(&choices);
    return status;
}

static dg_status say(dg_ctx *ctx, const dg_place *place, const dg_level *level, bool rest, bool beside) {
    dg_status status = DG_OK;
    dg_layout *layout = place->layout;
    dg_str used = {0}, left = {0};
    dg_level_list(level, rest ? DG_FATE_KEEP : DG_FATE_DESCEND, &used);
    dg_level_list(level, DG_FATE_LEAVE, &left);
    if (!dg_str_ok(&used) || !dg_str_ok(&left))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a message"));
    if (left.length > 0)
        DG_TRY(dg_layout_note(ctx, layout, "only %s%s is used; left alone: %s (--split names another)",
                              level->prefix ? level->prefix : "", used.length ? used.data : "what lies beside splits",
                              left.data));
    else if (level->count == 1 && level->children[0].split.role != DG_SPLIT_TRAIN && !place->split_taken)
        DG_TRY(dg_layout_note(ctx, layout, "%s is the only split there is, and is used", used.data));
    if (beside && level->beside > 0)
        DG_TRY(dg_layout_fall(ctx, layout, level->beside, "beside the folders of the splits"));
done:
    dg_str_free(&used);
    dg_str_free(&left);
    return status;
}

/* What there is instead of the split that was asked for, for dg_layout_detect to say if nothing has it. */
static dg_status remember(dg_ctx *ctx, dg_layout *layout, const dg_level *level) {
    dg_str found = {0};
    if (layout->splits_seen)
        return DG_OK;
    dg_level_list(level, DG_FATE_KEEP, &found);
    if (!dg_str_ok(&found))
        return dg_fail(ctx, DG_ENOMEM, "out of memory for a message");
    layout->splits_seen = found.data;
    return DG_OK;
}

/* Names of splits that were not taken for splits are no secret. */
static dg_status say_classes(dg_ctx *ctx, dg_layout *layout, const dg_level *level) {
    for (size_t i = 0; i < level->count; i++) {
        const dg_child *c = &level->children[i];
        if (c->split.role != DG_SPLIT_NONE && !c->archive)
            return dg_layout_note(ctx, layout,
                                  "%.*s/ is taken for a class, not for a split (--split %.*s reads it alone)",
                                  (int)c->length, c->name, (int)c->length, c->name);
    }
    return DG_OK;
}

/* ---- the decision ---- */

/* --split was given: *taken if the level has what it names. */
static dg_status obey(dg_ctx *ctx, dg_place *place, dg_level *level, bool *taken, bool *rest) {
    const summary s = sum_up(level, pure_only(level));
    const char *wanted = place->split;
    *taken = *rest = false;
    /* A folder that holds everything may be called test_data and hold train/ and test/. */
    if (level->count == 1 && level->beside == 0) {
        place->split_alone |= dg_split_is_wanted(wanted, level->children[0].name, level->children[0].length);
        return DG_OK;
    }
    if (strcasecmp(wanted, "all") == 0) {
        *taken = choose_all(level);
        return DG_OK;
    }
    *taken = choose_named(level, wanted);
    if (*taken || s.splits == 0)
        return DG_OK;
    if (dg_split_wanted(wanted) == DG_SPLIT_TRAIN && s.pure > 0 && (s.others > 0 || level->beside > 0)) {
        *taken = *rest = choose_rest(level);
        return DG_OK;
    }
    return remember(ctx, place->layout, level);
}

/* No --split, or one that a level above has had already. */
static dg_status decide(dg_ctx *ctx, const dg_tree *tree, const dg_place *place, dg_level *level, const dg_level *above,
                        bool *taken, bool *rest) {
    verdict v = above ? judge_below(level, above) : judge(tree, level);
    *taken = *rest = false;
    if (v == ASK && !(place->split && place->split_taken))
        return ask(ctx, place->path, level);
    if (v == NO_SPLITS || v == ASK)
        return above || level->count < 2 ? DG_OK : say_classes(ctx, place->layout, level);
    if (v == REST_IS_TRAIN) {
        *taken = *rest = choose_rest(level);
        return DG_OK;
    }
    const bool pure = above || pure_only(level);
    const bool train = sum_up(level, pure).seen[DG_SPLIT_TRAIN];
    const char *empty = train ? NULL : dg_level_empty_split(tree, level, DG_SPLIT_TRAIN);
    if (empty)
        return dg_fail(ctx, DG_EDATA,
                       "%s: %s, the split to train on, holds no image; --split %.*s reads another, if that is meant",
                       place->path, empty, (int)level->children[0].length, level->children[0].name);
    *taken = choose_role(level, train ? DG_SPLIT_TRAIN : level->children[0].split.role, pure);
    return DG_OK;
}

dg_status dg_place_split(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level, const dg_level *above,
                         bool *taken) {
    dg_status status = DG_OK;
    bool rest = false;
    *taken = false;
    if (level->count == 0 || (place->split && strcasecmp(place->split, "none") == 0))
        return DG_OK;
    if (place->split && !place->split_taken)
        DG_TRY(obey(ctx, place, level, taken, &rest));
    else
        DG_TRY(decide(ctx, tree, place, level, above, taken, &rest));
    if (!*taken)
        return DG_OK;
    const bool beside = !rest && !(place->split && strcasecmp(place->split, "all") == 0);
    DG_TRY(say(ctx, place, level, rest, beside));
    dg_level_apply(tree, above ? 1 : 0, level, beside);
    place->split_taken = true;
done:
    return status;
}

dg_status dg_place_split_files(dg_ctx *ctx, dg_tree *tree, dg_place *place) {
    int64_t images[DG_SPLIT_TEST + 1] = {0}, left = 0;
    const char *wanted = place->split ? place->split : "train";
    const dg_split_role role = dg_split_wanted(wanted);
    if (place->split_taken || role == DG_SPLIT_NONE)
        return DG_OK;
    for (size_t i = 0; i < tree->count && !images[DG_SPLIT_NONE]; i++) {
        const char *name = dg_path_name(tree->files[i].path);
        if (!tree->files[i].left_out && dg_layout_is_image(&tree->files[i]))
            images[dg_split_read(name, strcspn(name, ".")).role]++;
    }
    const int roles = (images[DG_SPLIT_TRAIN] > 0) + (images[DG_SPLIT_VALIDATION] > 0) + (images[DG_SPLIT_TEST] > 0);
    if (images[DG_SPLIT_NONE] || roles < 2 || !images[DG_SPLIT_TRAIN] || !images[role])
        return DG_OK;
    for (size_t i = 0; i < tree->count; i++) {
        dg_file *file = &tree->files[i];
        const char *name = dg_path_name(file->path);
        if (file->left_out || !dg_layout_is_image(file) || dg_split_read(name, strcspn(name, ".")).role == role)
            continue;
        file->left_out = DG_LEFT_SPLIT;
        left++;
    }
    place->split_taken = true;
    return dg_layout_note(
        ctx, place->layout,
        "only the %lld images called %s are used; %lld called like other splits are left alone (--split "
        "names another, none takes all)",
        (long long)images[role], dg_split_role_name(role), (long long)left);
}
