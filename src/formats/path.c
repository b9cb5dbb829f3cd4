#include "formats/path.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool dg_path_normalise(char *path) {
    if (path[0] == '/')
        return false;
    char *out = path;
    for (const char *part = path; *part;) {
        size_t length = strcspn(part, "/");
        const char *next = part + length;
        while (*next == '/')
            next++;
        if (length == 2 && part[0] == '.' && part[1] == '.')
            return false;
        if (!(length == 1 && part[0] == '.')) {
            if (out != path)
                *out++ = '/';
            memmove(out, part, length);
            out += length;
        }
        part = next;
    }
    *out = 0;
    return out != path;
}

bool dg_path_is_hidden_name(const char *name, size_t length) {
    static const char *const names[] = {"__MACOSX",    "@eaDir", "$RECYCLE.BIN", "System Volume Information",
                                        "__pycache__", NULL};
    if (length > 0 && name[0] == '.')
        return true;
    for (const char *const *one = names; *one; one++)
        if (strlen(*one) == length && memcmp(*one, name, length) == 0)
            return true;
    return false;
}

bool dg_path_hidden(const char *path) {
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (dg_path_is_hidden_name(part, strcspn(part, "/")))
            return true;
    }
    return false;
}

const char *dg_path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool dg_path_ends_with(const char *path, const char *suffix) {
    size_t a = strlen(path), b = strlen(suffix);
    return a >= b && strcasecmp(path + a - b, suffix) == 0;
}

static bool has_extension(const char *path, const char *const *extensions) {
    for (; *extensions; extensions++)
        if (dg_path_ends_with(dg_path_name(path), *extensions))
            return true;
    return false;
}

static const char *const archives[] = {".zip",    ".tar", ".tar.gz",  ".tgz",  ".tar.bz2", ".tbz2",
                                       ".tar.xz", ".txz", ".tar.zst", ".tzst", NULL};

bool dg_path_is_archive(const char *path) {
    return has_extension(path, archives);
}

size_t dg_path_archive_stem(const char *name, size_t length) {
    for (const char *const *extension = archives; *extension; extension++) {
        const size_t n = strlen(*extension);
        if (length > n && strncasecmp(name + length - n, *extension, n) == 0)
            return length - n;
    }
    return length;
}

bool dg_path_is_idx_images(const char *path) {
    const char *name = dg_path_name(path);
    return strstr(name, "images") &&
           (dg_path_ends_with(name, "idx3-ubyte") || dg_path_ends_with(name, "idx3-ubyte.gz"));
}
