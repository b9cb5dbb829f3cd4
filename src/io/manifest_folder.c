/* Class names as folder names. The mapping is one to one, so that no two classes share a folder, and its result is a
 * plain name on every file system: never "..", never hidden, never one of diffgen's own files. */
#include "io/manifest.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_FOLDER_BYTES = 160, HASH_DIGITS = 16 };

static const char *const reserved[] = {"DONE",          "dataset.json",   "job.json",
                                       "manifest.json", "metadata.jsonl", "README.md"};

/* Length of the UTF-8 sequence at p (of n bytes left), 0 if there is none. */
static size_t sequence_length(const char *p, size_t n) {
    for (size_t length = 1; length <= 4 && length <= n; length++)
        if (dg_utf8_valid(p, length))
            return length;
    return 0;
}

static bool is_reserved(const char *name) {
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcasecmp(name, reserved[i]) == 0)
            return true;
    return strncasecmp(name, "manifest.", 9) == 0;
}

static bool must_escape(const char *name, size_t position, size_t length) {
    const unsigned char c = (unsigned char)name[position];
    if (c < 0x20 || c == 0x7f || strchr("/\\:%*?\"<>|", c))
        return true;
    if (position == 0 && (c == '.' || is_reserved(name)))
        return true;
    return position + 1 == length && (c == '.' || c == ' ');
}

/* Names too long for a file system keep their beginning; the hash of the whole keeps them apart. '~' alone cannot
 * collide with a short name, because those never reach this length. */
static void shorten(const char *name, dg_str *folder) {
    char hex[DG_SHA256_HEX];
    size_t keep = MAX_FOLDER_BYTES - HASH_DIGITS - 1;
    while (keep > 0 && ((unsigned char)folder->data[keep] & 0xc0) == 0x80)
        keep--;
    dg_sha256_hex(name, strlen(name), hex);
    folder->length = keep;
    folder->data[keep] = '\0';
    dg_str_append(folder, "~");
    dg_str_append_bytes(folder, hex, HASH_DIGITS);
    while (folder->length < MAX_FOLDER_BYTES && dg_str_ok(folder))
        dg_str_append(folder, "~");
}

char *dg_manifest_folder(const char *name) {
    dg_str folder = {0};
    const size_t length = strlen(name);
    for (size_t i = 0; i < length;) {
        const size_t n = sequence_length(name + i, length - i);
        if (n == 0 || (n == 1 && must_escape(name, i, length))) {
            dg_str_printf(&folder, "%%%02X", (unsigned char)name[i]);
            i++;
        } else {
            dg_str_append_bytes(&folder, name + i, n);
            i += n;
        }
    }
    if (length == 0)
        dg_str_append(&folder, "%");
    if (dg_str_ok(&folder) && folder.length >= MAX_FOLDER_BYTES)
        shorten(name, &folder);
    if (!dg_str_ok(&folder))
        dg_str_free(&folder);
    return folder.data;
}
