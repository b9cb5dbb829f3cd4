/* Words in names of files and folders: runs of letters, ended by signs, digits and a capital after a small letter.
 * For the data room, and for whoever names something after a set of images. */
#ifndef DG_DATA_WORDS_H
#define DG_DATA_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the next word at or after *at, which is moved to it; 0: none is left. */
size_t dg_word_next(const char *name, size_t *at);
/* Is it one of the words, which end with NULL? Case ignored. */
bool dg_word_is_one_of(const char *word, size_t length, const char *const *words);
/* A word that says "set" or "folder" or counts shards, and tells nothing else. */
bool dg_word_is_generic(const char *word, size_t length);

#endif
