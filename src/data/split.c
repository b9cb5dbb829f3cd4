#include "data/split.h"

#include "data/words.h"
#include "formats/path.h"

#include <string.h>
#include <strings.h>

enum { MAX_NAME = 1024 };

static dg_split_role role_of_exact(const char *word, size_t length) {
    static const char *const train[] = {"train", "training", NULL};
    static const char *const validation[] = {"validation", "valid", "val", "dev", NULL};
    static const char *const test[] = {"test", "testing", "eval", "evaluation", NULL};
    return dg_word_is_one_of(word, length, train)        ? DG_SPLIT_TRAIN
           : dg_word_is_one_of(word, length, validation) ? DG_SPLIT_VALIDATION
           : dg_word_is_one_of(word, length, test)       ? DG_SPLIT_TEST
                                                         : DG_SPLIT_NONE;
}

/* "trainval", which several benchmarks have, and words run together with one that says "set". */
static dg_split_role role_of_word(const char *word, size_t length) {
    if (length == 8 && strncasecmp(word, "trainval", 8) == 0)
        return DG_SPLIT_TRAIN;
    dg_split_role role = role_of_exact(word, length);
    for (size_t front = 3; front < length && role == DG_SPLIT_NONE; front++)
        if (length - front >= 3 && dg_word_is_generic(word + front, length - front))
            role = role_of_exact(word, front);
    return role;
}

/* nnU-Net and the decathlon call them imagesTr and imagesTs. */
static dg_split_role role_of_ending(const char *name, size_t at, size_t length) {
    const bool joined = length == 2 && at > 0 && name[at - 1] >= 'a' && name[at - 1] <= 'z';
    return joined && memcmp(name + at, "Tr", 2) == 0   ? DG_SPLIT_TRAIN
           : joined && memcmp(name + at, "Ts", 2) == 0 ? DG_SPLIT_TEST
                                                       : DG_SPLIT_NONE;
}

static void add_rest(dg_split_name *result, const char *word, size_t length) {
    size_t used = strlen(result->rest);
    if (used + length + 2 > sizeof result->rest)
        return;
    for (size_t i = 0; i < length; i++)
        result->rest[used++] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + 32) : word[i];
    result->rest[used++] = ' ';
    result->rest[used] = 0;
}

dg_split_name dg_split_read(const char *name, size_t length) {
    dg_split_name result = {.role = DG_SPLIT_NONE};
    char stem[MAX_NAME];
    bool seen[DG_SPLIT_TEST + 1] = {false};
    if (length >= sizeof stem)
        return result;
    memcpy(stem, name, length);
    stem[length] = 0;
    stem[dg_path_archive_stem(stem, length)] = 0;
    for (size_t at = 0, word; (word = dg_word_next(stem, &at)) > 0; at += word) {
        dg_split_role role = role_of_word(stem + at, word);
        if (role == DG_SPLIT_NONE)
            role = role_of_ending(stem, at, word);
        seen[role] = true;
        if (role == DG_SPLIT_NONE && !dg_word_is_generic(stem + at, word))
            add_rest(&result, stem + at, word);
    }
    if (seen[DG_SPLIT_TRAIN])
        result.role = seen[DG_SPLIT_TEST] ? DG_SPLIT_NONE : DG_SPLIT_TRAIN;
    else if (seen[DG_SPLIT_VALIDATION] != seen[DG_SPLIT_TEST])
        result.role = seen[DG_SPLIT_TEST] ? DG_SPLIT_TEST : DG_SPLIT_VALIDATION;
    result.pure = result.role != DG_SPLIT_NONE && !result.rest[0];
    return result;
}

dg_split_role dg_split_wanted(const char *value) {
    return role_of_exact(value, strlen(value));
}

const char *dg_split_role_name(dg_split_role role) {
    static const char *const names[] = {"none", "train", "validation", "test"};
    return names[role];
}

bool dg_split_is_wanted(const char *value, const char *name, size_t length) {
    char own[MAX_NAME];
    dg_split_role role = dg_split_wanted(value);
    if (length < sizeof own) {
        memcpy(own, name, length);
        own[length] = 0;
        if (strcasecmp(own, value) == 0)
            return true;
        own[dg_path_archive_stem(own, length)] = 0;
        if (strcasecmp(own, value) == 0)
            return true;
    }
    return role != DG_SPLIT_NONE && dg_split_read(name, length).role == role;
}
