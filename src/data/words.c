#include "data/words.h"

#include <string.h>
#include <strings.h>

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

size_t dg_word_next(const char *name, size_t *at) {
    while (name[*at] && !is_letter(name[*at]))
        ++*at;
    size_t end = *at;
    while (is_letter(name[end]) &&
           !(end > *at && name[end] >= 'A' && name[end] <= 'Z' && name[end - 1] >= 'a' && name[end - 1] <= 'z'))
        end++;
    return end - *at;
}

bool dg_word_is_one_of(const char *word, size_t length, const char *const *words) {
    for (; *words; words++)
        if (strlen(*words) == length && strncasecmp(*words, word, length) == 0)
            return true;
    return false;
}

bool dg_word_is_generic(const char *word, size_t length) {
    static const char *const words[] = {"set",  "sets",   "data",   "dataset", "images", "image",   "imgs", "img",
                                        "pics", "photos", "folder", "dir",     "split",  "splits",  "of",   "shard",
                                        "part", "the",    "all",    "full",    "files",  "samples", "zip",  "tar",
                                        "gz",   "tgz",    "tbz",    "txz",     "zst",    NULL};
    return dg_word_is_one_of(word, length, words);
}
