/* Which encoding? ZIP says CP437 where it says nothing, but programs wrote the code page of their country. The bytes
 * tell most of the time: Chinese text in GBK is pairs of high bytes, Japanese text in CP932 has kana or names made of
 * nothing but its pairs, European text has single high bytes among letters - below 0xa6 in CP437, above 0xbf in
 * Windows-1252. */
#include "data/legacy_names.h"

#include "core/text.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>

typedef struct evidence {
    bool gb2312;  /* every high byte is of a pair of GB 2312 */
    bool cp932;   /* every high byte fits */
    bool kana;    /* there are kana in CP932 */
    bool pairs;   /* some folder's or file's name is pairs of CP932 and no letter else */
    bool cp437;   /* every high byte is a letter of CP437 */
    bool western; /* every high byte is a letter of Windows-1252 */
} evidence;

static bool is_gb2312(const unsigned char *s) {
    return s[0] >= 0xb0 && s[0] <= 0xf7 && s[1] >= 0xa1 && s[1] != 0xff;
}

/* Bytes of one character of CP932: 1 half-width kana, 2 a pair, 0 none. */
static int cp932_bytes(const unsigned char *s) {
    const bool lead = (s[0] >= 0x81 && s[0] <= 0x9f) || (s[0] >= 0xe0 && s[0] <= 0xfc);
    if (lead)
        return s[1] >= 0x40 && s[1] != 0x7f && s[1] <= 0xfc ? 2 : 0;
    return s[0] >= 0xa1 && s[0] <= 0xdf ? 1 : 0;
}

static bool is_kana(const unsigned char *s) {
    return (s[0] == 0x82 && s[1] >= 0x9f && s[1] <= 0xf1) || (s[0] == 0x83 && s[1] >= 0x40 && s[1] <= 0x96);
}

static bool is_letter(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void look_single(const char *name, evidence *e) {
    for (const unsigned char *s = (const unsigned char *)name; *s; s++) {
        if (*s < 0x80)
            continue;
        e->cp437 &= *s <= 0xa5 || *s == 0xe1;
        e->western &= *s >= 0xc0 || *s == 0x8a || *s == 0x9a || *s == 0x8e || *s == 0x9e;
    }
}

static void look_pairs(const char *name, evidence *e) {
    bool only_pairs = false, letters = false;
    for (const unsigned char *s = (const unsigned char *)name; e->gb2312 && *s; s += *s >= 0x80 ? 2 : 1)
        e->gb2312 &= *s < 0x80 || is_gb2312(s);
    for (const unsigned char *s = (const unsigned char *)name; e->cp932;) {
        if (*s == '/' || *s == '.' || !*s) {
            e->pairs |= only_pairs && !letters;
            /* What follows a dot is an extension. */
            while (*s == '.' || (*s && *s != '/' && s[-1] == '.'))
                s += strcspn((const char *)s, "/");
            only_pairs = letters = false;
            if (!*s++)
                break;
            continue;
        }
        const int bytes = *s < 0x80 ? 1 : cp932_bytes(s);
        e->cp932 &= bytes > 0;
        e->kana |= bytes == 2 && is_kana(s);
        only_pairs |= *s >= 0x80;
        letters |= (*s >= 0x80 && bytes == 1) || is_letter(*s);
        s += bytes;
    }
}

static const char *guess(const evidence *e) {
    return e->gb2312                           ? "GBK"
           : e->cp932 && (e->kana || e->pairs) ? "CP932"
           : e->cp437                          ? "CP437"
           : e->western                        ? "CP1252"
                                               : NULL;
}

static bool is_legacy(const dg_file *file) {
    const char *name = file->path + file->skip;
    return !dg_utf8_valid(name, strlen(name));
}

/* Every high byte is of a pair of GB 2312 that is a character of two bytes in UTF-8 too, as those of 猫 are: valid by
 * chance, if other names of the archive are GBK. */
static bool is_gb2312_by_chance(const dg_file *file) {
    const unsigned char *s = (const unsigned char *)file->path + file->skip;
    bool high = false;
    for (; *s; s += *s >= 0x80 ? 2 : 1) {
        if (*s >= 0x80 && !(is_gb2312(s) && *s >= 0xc2 && *s <= 0xdf && s[1] <= 0xbf))
            return false;
        high |= *s >= 0x80;
    }
    return high;
}

/* out *status DG_ENOMEM; false: the name does not fit, or the system does not know the encoding */
static bool convert(iconv_t converter, dg_file *file, dg_status *status) {
    char *in = file->path + file->skip;
    size_t left = strlen(in), room = 4 * left;
    char *text = malloc(file->skip + room + 1), *out = text + file->skip;
    if (!text) {
        *status = DG_ENOMEM;
        return false;
    }
    memcpy(text, file->path, file->skip);
    iconv(converter, NULL, NULL, NULL, NULL);
    if (iconv(converter, &in, &left, &out, &room) == (size_t)-1 || left > 0) {
        free(text);
        return false;
    }
    *out = 0;
    /* No encoding may make a path that leads elsewhere. */
    if (!dg_path_normalise(text + file->skip)) {
        free(text);
        return false;
    }
    free(file->path);
    file->path = text;
    return true;
}

dg_status dg_legacy_names_decode(dg_ctx *ctx, dg_tree *tree, size_t first, const char *where) {
    dg_status status = DG_OK;
    evidence e = {true, true, false, false, true, true};
    size_t legacy = 0, decoded = 0;
    const char *example = NULL;
    for (size_t i = first; i < tree->count; i++) {
        if (!is_legacy(&tree->files[i]))
            continue;
        legacy++;
        look_single(tree->files[i].path + tree->files[i].skip, &e);
        look_pairs(tree->files[i].path + tree->files[i].skip, &e);
    }
    const char *encoding = legacy ? guess(&e) : NULL;
    iconv_t converter = encoding ? iconv_open("UTF-8", encoding) : (iconv_t)-1;
    if (legacy && converter == (iconv_t)-1)
        return dg_tree_remark(ctx, tree,
                              "%zu names in %s are in no encoding that is known; pack it again with names in "
                              "UTF-8",
                              legacy, where);
    for (size_t i = first; i < tree->count && legacy && status == DG_OK; i++) {
        if (!is_legacy(&tree->files[i]) && !(strcmp(encoding, "GBK") == 0 && is_gb2312_by_chance(&tree->files[i])))
            continue;
        if (!convert(converter, &tree->files[i], &status))
            continue;
        decoded++;
        example = tree->files[i].path + tree->files[i].skip;
    }
    if (legacy)
        iconv_close(converter);
    if (status != DG_OK)
        return dg_fail(ctx, status, "%s: out of memory for member names", where);
    if (decoded > 0)
        status = dg_tree_remark(ctx, tree, "%zu names in %s are not in UTF-8; their encoding is taken for %s (%s)",
                                decoded, where, encoding, example);
    return status;
}
