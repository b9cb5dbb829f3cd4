/* Which names are those of splits (train, validation, test): one rule for folders, archives, shards and files.
 * For the data room, and for whoever names something after a set of images. */
#ifndef DG_DATA_SPLIT_H
#define DG_DATA_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum dg_split_role { DG_SPLIT_NONE, DG_SPLIT_TRAIN, DG_SPLIT_VALIDATION, DG_SPLIT_TEST } dg_split_role;

enum { DG_SPLIT_REST_BYTES = 128 };

typedef struct dg_split_name {
    dg_split_role role;
    bool pure;                      /* nothing but the word and what says "set": train, Test_images, valset-003.tar */
    char rest[DG_SPLIT_REST_BYTES]; /* the other words, in small letters: "chest" of chest_train-000.tar */
} dg_split_name;

/* The words are those that Hugging Face datasets knows - train, training; validation, valid, val, dev; test, testing,
 * eval, evaluation - case ignored, as whole words between digits, signs and changes from small letters to capitals
 * (TestSet), or run together with one that says "set" (testset). An archive's extension does not count. A name with
 * words of training and of validation is training's (train_val); with words of training and test it is no split.
 * in    name is not terminated */
dg_split_name dg_split_read(const char *name, size_t length);
/* What --split's value stands for: a role's word and nothing else, or DG_SPLIT_NONE. */
dg_split_role dg_split_wanted(const char *value);
const char *dg_split_role_name(dg_split_role role); /* "train", "validation", "test" */
/* Does --split's value name this folder or archive: by its role, or by its own name, case and extension ignored? */
bool dg_split_is_wanted(const char *value, const char *name, size_t length);

#endif
