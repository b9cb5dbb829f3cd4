/* Samples of several files: images/ beside masks/, key.png beside key.seg.png, x.png beside x_mask.png. One file a
 * sample is an image of the set; the others describe it. */
#include "data/layout_place.h"
#include "data/words.h"

#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef enum part_kind { PART_UNKNOWN, PART_IMAGE, PART_OTHER } part_kind;

static bool is_image_word(const char *word, size_t length) {
    static const char *const words[] = {"image",     "images",   "img",    "imgs",   "photo",      "photos",
                                        "picture",   "pictures", "pics",   "rgb",    "jpegimages", "original",
                                        "originals", "input",    "inputs", "raw",    "scan",       "scans",
                                        "frame",     "frames",   "color",  "colour", NULL};
    return dg_word_is_one_of(word, length, words);
}

/* What lies beside images and is none of the set: outlines, labels of pixels, distances. */
static bool is_other_word(const char *word, size_t length) {
    static const char *const words[] = {
        "mask",   "masks",   "seg",     "segs",       "segmentation", "segmentations", "segmented", "label",
        "labels", "annot",   "annots",  "annotation", "annotations",  "groundtruth",   "truth",     "gt",
        "trimap", "trimaps", "overlay", "overlays",   "heatmap",      "heatmaps",      "depth",     "depths",
        "edge",   "edges",   "contour", "contours",   "outline",      "outlines",      "boundary",  "boundaries",
        "matte",  "mattes",  "target",  "targets",    "grayscale",    "greyscale",     NULL};
    return dg_word_is_one_of(word, length, words);
}

/* A folder's name: what its words say. */
typedef struct part_name {
    bool image, other;
    char rest[DG_SPLIT_REST_BYTES]; /* words that tell neither a part nor a split, in small letters */
} part_name;

static part_name read_name(const char *name, size_t length) {
    part_name result = {0};
    char copy[256];
    size_t used = 0;
    if (length >= sizeof copy)
        return result;
    memcpy(copy, name, length);
    copy[length] = 0;
    for (size_t at = 0, word; (word = dg_word_next(copy, &at)) > 0; at += word) {
        const bool image = is_image_word(copy + at, word), other = is_other_word(copy + at, word);
        result.image |= image;
        result.other |= other;
        if (image || other || dg_word_is_generic(copy + at, word) || used + word + 2 > sizeof result.rest ||
            dg_split_read(copy, at + word).role != dg_split_read(copy, at).role)
            continue;
        for (size_t i = 0; i < word; i++)
            result.rest[used++] = copy[at + i] >= 'A' && copy[at + i] <= 'Z' ? (char)(copy[at + i] + 32) : copy[at + i];
        result.rest[used++] = ' ';
    }
    return result;
}

static part_kind kind_of(const char *name, size_t length) {
    const part_name n = read_name(name, length);
    return n.other ? PART_OTHER : n.image && !n.rest[0] ? PART_IMAGE : PART_UNKNOWN;
}

/* "mask" is "masks" and "Masks". */
static bool same_word(const char *a, size_t a_length, const char *b, size_t b_length) {
    a_length -= a_length > 1 && (a[a_length - 1] | 32) == 's';
    b_length -= b_length > 1 && (b[b_length - 1] | 32) == 's';
    return a_length == b_length && strncasecmp(a, b, a_length) == 0;
}

static bool is_wanted(const char *wanted, const char *name, size_t length) {
    char copy[256];
    const size_t wanted_length = strlen(wanted);
    if (length >= sizeof copy)
        return false;
    memcpy(copy, name, length);
    copy[length] = 0;
    if (same_word(wanted, wanted_length, copy, length))
        return true;
    for (size_t at = 0, word; (word = dg_word_next(copy, &at)) > 0; at += word)
        if (same_word(wanted, wanted_length, copy + at, word))
            return true;
    return false;
}

/* ---- folders ---- */

/* The name without the words that tell the part is that of a folder of other parts: train beside train_masks. */
static bool goes_with_others(const dg_level *level, const dg_child *c) {
    const part_name own = read_name(c->name, c->length);
    for (size_t i = 0; i < level->count; i++) {
        const dg_child *o = &level->children[i];
        const part_name other = read_name(o->name, o->length);
        if (other.other && strcmp(own.rest, other.rest) == 0 && c->split.role == o->split.role &&
            (own.rest[0] || c->split.role != DG_SPLIT_NONE))
            return true;
    }
    return false;
}

/* What a level's folders are: *images, *others, and where there is no images/, *loose: ISIC_Input beside
 * ISIC_GroundTruth, train beside train_masks. A level of hundreds of folders is not one of parts. */
static void count_kinds(const dg_level *level, int64_t *images, int64_t *others, int64_t *loose) {
    enum { MOST_PARTS = 256 };
    *images = *others = *loose = 0;
    for (size_t i = 0; i < level->count; i++) {
        const part_kind kind = kind_of(level->children[i].name, level->children[i].length);
        *images += kind == PART_IMAGE;
        *others += kind == PART_OTHER;
    }
    for (size_t i = 0; i<level->count && * others> 0 && *images == 0 && level->count <= MOST_PARTS; i++) {
        const dg_child *c = &level->children[i];
        const part_name n = read_name(c->name, c->length);
        *loose += !n.other && (n.image || goes_with_others(level, c));
    }
}

/* CXR_png beside ManualMask: two classes, or images and their masks. */
static dg_status say_doubt(dg_ctx *ctx, dg_layout *layout, const dg_level *level) {
    for (size_t i = 0; i < level->count; i++) {
        const dg_child *c = &level->children[i];
        if (kind_of(c->name, c->length) == PART_OTHER && !c->archive)
            return dg_layout_note(ctx, layout,
                                  "%.*s/ is taken for a class; if it holds masks or labels of the images beside it, "
                                  "--part FOLDER reads one folder alone",
                                  (int)c->length, c->name);
    }
    return DG_OK;
}

/* Which folders of a level with parts hold what is read. */
static bool is_chosen(const dg_place *place, const dg_level *level, const dg_child *c, bool loose) {
    const part_name n = read_name(c->name, c->length);
    if (place->part)
        return is_wanted(place->part, c->name, c->length);
    if (!loose)
        return kind_of(c->name, c->length) == PART_IMAGE;
    /* test/ without a test_masks/ beside it is a split all the same. */
    return !n.other && (n.image || c->split.role != DG_SPLIT_NONE || goes_with_others(level, c));
}

dg_status dg_place_part(dg_ctx *ctx, dg_tree *tree, dg_place *place, dg_level *level, const dg_level *above,
                        bool *taken) {
    dg_status status = DG_OK;
    dg_str used = {0}, left = {0};
    int64_t images, others, loose, wanted = 0, chosen = 0;
    *taken = false;
    if ((place->part && strcasecmp(place->part, "all") == 0) || (above && 2 * level->parents <= (int64_t)above->count))
        return DG_OK;
    count_kinds(level, &images, &others, &loose);
    for (size_t i = 0; i < level->count && place->part; i++)
        wanted += is_wanted(place->part, level->children[i].name, level->children[i].length);
    if (!place->part && !above && images + loose == 0 && others > 0 && others < (int64_t)level->count)
        return say_doubt(ctx, place->layout, level);
    if (others == 0 || (place->part ? wanted == 0 : images + loose == 0))
        return DG_OK;
    for (size_t i = 0; i < level->count; i++) {
        dg_child *c = &level->children[i];
        c->fate = is_chosen(place, level, c, images == 0) ? DG_FATE_DESCEND : DG_FATE_LEAVE;
        c->why = DG_LEFT_PART;
        chosen += c->fate == DG_FATE_DESCEND;
    }
    dg_level_list(level, DG_FATE_DESCEND, &used);
    dg_level_list(level, DG_FATE_LEAVE, &left);
    if (!dg_str_ok(&used) || !dg_str_ok(&left))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a message"));
    DG_TRY(dg_layout_note(ctx, place->layout,
                          "%s%s is used; other parts of the samples are left alone: %s (--part names "
                          "another)",
                          level->prefix ? level->prefix : "", used.data, left.data));
    /* train_images beside train_masks and test_images: the split is still to be asked for. cat beside cat_masks is
     * still a class. */
    for (size_t i = 0; i < level->count; i++) {
        dg_child *c = &level->children[i];
        const part_name n = read_name(c->name, c->length);
        const bool split = c->split.role != DG_SPLIT_NONE && (chosen > 1 || c->split.pure);
        if (c->fate == DG_FATE_DESCEND && (split || !(place->part || n.image || n.other)))
            c->fate = DG_FATE_KEEP;
    }
    dg_level_apply(tree, above ? 1 : 0, level, false);
    *taken = true;
    place->part_taken = true;
done:
    dg_str_free(&used);
    dg_str_free(&left);
    return status;
}

/* ---- files ---- */

/* One image: its sample and its part of it, both in its path. */
typedef struct piece {
    dg_file *file;
    size_t key;       /* length of the path's front that names the sample */
    const char *part; /* not terminated */
    size_t part_length;
} piece;

static int by_key(const void *a, const void *b) {
    const piece *x = a, *y = b;
    int order = memcmp(x->file->path, y->file->path, x->key < y->key ? x->key : y->key);
    order = order ? order : (x->key > y->key) - (x->key < y->key);
    return order ? order : strcmp(x->file->path, y->file->path);
}

static bool same_key(const piece *a, const piece *b) {
    return a->key == b->key && memcmp(a->file->path, b->file->path, a->key) == 0;
}

/* WebDataset: the key ends at the first dot, the extension begins at the last one. */
static piece read_dotted(dg_file *file) {
    const char *name = dg_path_name(file->path), *first = name + strcspn(name, "."), *last = strrchr(name, '.');
    piece p = {.file = file, .key = (size_t)(first - file->path), .part = ""};
    if (last && last > first) {
        p.part = first + 1;
        p.part_length = (size_t)(last - first - 1);
    }
    return p;
}

/* Elsewhere: "benign (1)_mask_1.png" is a part of "benign (1)". */
static piece read_suffix(dg_file *file) {
    const char *name = dg_path_name(file->path), *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    piece p = {.file = file, .key = (size_t)(name - file->path) + length, .part = ""};
    while (length > 0 && strchr("0123456789_- ", name[length - 1]))
        length--;
    size_t word = 0;
    while (word < length && ((name[length - word - 1] | 32) >= 'a' && (name[length - word - 1] | 32) <= 'z'))
        word++;
    const size_t begin = length - word;
    if (begin > 1 && strchr("._- ", name[begin - 1]) && is_other_word(name + begin, word)) {
        p.key = (size_t)(name - file->path) + begin - 1;
        p.part = name + begin;
        p.part_length = word;
    }
    return p;
}

/* The image itself is called what images are called. */
static bool is_wanted_piece(const char *wanted, const piece *p) {
    return p->part_length ? is_wanted(wanted, p->part, p->part_length) : is_image_word(wanted, strlen(wanted));
}

static int rank(const piece *p) {
    return p->part_length == 0                       ? 0
           : is_image_word(p->part, p->part_length)  ? 1
           : !is_other_word(p->part, p->part_length) ? 2
                                                     : 3;
}

static int compare_parts(const piece *a, const piece *b) {
    const int order = rank(a) - rank(b);
    if (order)
        return order;
    const int text = strncasecmp(a->part, b->part, a->part_length < b->part_length ? a->part_length : b->part_length);
    return text ? text : (a->part_length > b->part_length) - (a->part_length < b->part_length);
}

/* Takes back parts whose image is not there: x_mask.png without an x.png is an image of its own. */
static void require_image(piece *pieces, size_t count) {
    for (size_t begin = 0, end; begin < count; begin = end) {
        bool image = false;
        for (end = begin; end < count && same_key(&pieces[begin], &pieces[end]); end++)
            image |= pieces[end].part_length == 0;
        for (size_t i = begin; i < end && !image; i++)
            pieces[i].part_length = 0;
    }
}

/* A single street_labels.png among thousands of drawings says nothing about a pair of files. */
static bool are_stray(const piece *pieces, size_t count) {
    enum { RARE = 20 };
    size_t parts = 0;
    for (size_t i = 0; i < count; i++)
        parts += pieces[i].part_length > 0;
    return parts * RARE < count;
}

/* The parts that are there, as "seg (8 files), left (8 files)". */
static void list_parts(const piece *pieces, size_t count, const piece *chosen, dg_str *out) {
    enum { SHOWN = 6 };
    const piece *seen[SHOWN];
    int64_t files[SHOWN] = {0};
    int parts = 0;
    for (size_t i = 0; i < count; i++) {
        int k = 0;
        if (compare_parts(&pieces[i], chosen) == 0)
            continue;
        while (k < parts && compare_parts(seen[k], &pieces[i]) != 0)
            k++;
        if (k == SHOWN)
            continue;
        if (k == parts)
            seen[parts++] = &pieces[i];
        files[k]++;
    }
    for (int k = 0; k < parts; k++)
        dg_str_printf(out, "%s%.*s (%lld files)", k ? ", " : "", seen[k]->part_length ? (int)seen[k]->part_length : 5,
                      seen[k]->part_length ? seen[k]->part : "image", (long long)files[k]);
}

/* One file a sample stays. *lacking: samples that do not have the part. */
static void choose(piece *pieces, size_t count, const piece *chosen, bool dotted, int64_t *left, int64_t *lacking) {
    for (size_t begin = 0, end; begin < count; begin = end) {
        bool found = false;
        for (end = begin; end < count && same_key(&pieces[begin], &pieces[end]); end++) {
            const bool fits = compare_parts(&pieces[end], chosen) == 0;
            /* Of a WebDataset sample with key.jpg and key.png the first is taken. */
            if (fits && !(found && dotted)) {
                found = true;
                continue;
            }
            pieces[end].file->left_out = DG_LEFT_PART;
            ++*left;
        }
        *lacking += !found;
        *left -= found ? 0 : (int64_t)(end - begin);
    }
}

/* A .cls file whose key has dots of its own: nothing would fit together. */
static dg_status refuse_dotted_keys(dg_ctx *ctx, const dg_tree *tree, const dg_place *place) {
    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->files[i].path, *name = dg_path_name(path);
        const size_t key = strcspn(name, "."), length = strlen(name);
        char plain[4096];
        if (tree->files[i].left_out || !dg_path_ends_with(path, ".cls") || key + 4 == length)
            continue;
        const int size = snprintf(plain, sizeof plain, "%.*s.cls", (int)(name - path) + (int)key, path);
        if (size >= (int)sizeof plain || dg_tree_find(tree, place->layout->finished_count, plain) >= 0)
            continue;
        return dg_fail(ctx, DG_EDATA,
                       "%s: %s: in WebDataset the name of a sample ends at its first dot, here after \"%.*s\", so no "
                       "image finds its label; names must hold no dot but that of the extension",
                       place->path, path, (int)key, name);
    }
    return DG_OK;
}

static bool has_cls(const dg_tree *tree) {
    for (size_t i = 0; i < tree->count; i++)
        if (!tree->files[i].left_out && dg_path_ends_with(tree->files[i].path, ".cls"))
            return true;
    return false;
}

/* WebDataset samples without labels, in order of their keys: nearly every key has the same parts, two at least, and no
 * part is a number (cat.0.jpg and cat.1.jpg are two images). */
static bool are_dotted_samples(const piece *pieces, size_t count) {
    size_t groups = 0, alike = 0, first = 0;
    for (size_t begin = 0, end; begin < count; begin = end) {
        bool same = true;
        for (end = begin; end < count && same_key(&pieces[begin], &pieces[end]); end++) {
            const piece *p = &pieces[end], *model = &pieces[end - begin];
            if (p->part_length && !((p->part[0] | 32) >= 'a' && (p->part[0] | 32) <= 'z'))
                return false;
            same &= groups == 0 || (end - begin < first && p->part_length == model->part_length &&
                                    memcmp(p->part, model->part, p->part_length) == 0);
        }
        if (groups == 0)
            first = end - begin;
        groups++;
        alike += same && end - begin == first;
    }
    return groups >= 2 && first >= 2 && 10 * alike >= 9 * groups;
}

dg_status dg_place_file_parts(dg_ctx *ctx, dg_tree *tree, dg_place *place) {
    dg_status status = DG_OK;
    piece *pieces = NULL;
    dg_str parts = {0};
    const piece *chosen = NULL;
    size_t count = 0;
    bool several = false, parts_there = place->part != NULL;
    int64_t left = 0, lacking = 0;
    bool dotted = has_cls(tree) && !place->layout->unconditional;
    if (dotted)
        DG_TRY(refuse_dotted_keys(ctx, tree, place));
    if (place->part && strcasecmp(place->part, "all") == 0)
        goto done;
    DG_TRY(dg_alloc(ctx, &pieces, tree->count + 1, sizeof *pieces, "the parts of samples"));
    for (size_t i = 0; i < tree->count; i++) {
        dg_file *file = &tree->files[i];
        if (!file->left_out && dg_layout_is_image(file))
            pieces[count++] = read_dotted(file);
    }
    qsort(pieces, count, sizeof *pieces, by_key);
    dotted = dotted || are_dotted_samples(pieces, count);
    for (size_t i = 0; i < count && !dotted; i++)
        pieces[i] = read_suffix(pieces[i].file);
    for (size_t i = 0; i < count; i++)
        parts_there |= pieces[i].part_length > 0;
    if (!parts_there && !dotted)
        goto done;
    if (!dotted) {
        qsort(pieces, count, sizeof *pieces, by_key);
        require_image(pieces, count);
    }
    if (!dotted && !place->part && are_stray(pieces, count))
        goto done;
    for (size_t i = 0; i < count; i++) {
        several |= i > 0 && (dotted ? same_key(&pieces[i - 1], &pieces[i]) : pieces[i].part_length > 0);
        if (place->part && !is_wanted_piece(place->part, &pieces[i]))
            continue;
        if (!chosen || compare_parts(&pieces[i], chosen) < 0)
            chosen = &pieces[i];
    }
    if (!several || !chosen)
        goto done;
    const piece best = *chosen;
    list_parts(pieces, count, &best, &parts);
    choose(pieces, count, &best, dotted, &left, &lacking);
    place->part_taken = true;
    if (left > 0)
        DG_TRY(dg_layout_note(ctx, place->layout,
                              "%lld files are other parts of the samples and are left alone: %s (--part names another)",
                              (long long)left, parts.length ? parts.data : "second images of a sample"));
    if (lacking > 0)
        DG_TRY(dg_layout_fall(ctx, place->layout, lacking, "samples without the part that is read"));
done:
    free(pieces);
    dg_str_free(&parts);
    return status;
}
