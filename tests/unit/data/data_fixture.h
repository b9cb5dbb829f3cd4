/* Files for the data room's tests. */
#ifndef DG_TESTS_UNIT_DATA_FIXTURE_H
#define DG_TESTS_UNIT_DATA_FIXTURE_H

#include "decode/decode.h"

#include "support/test_main.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A path inside this process's temporary directory; the string is leaked on purpose (one process per test). */
static inline const char *in_dir(const char *name) {
    static char ring[64][1024];
    static int next;
    char *path = ring[next++ % 64];
    snprintf(path, 1024, "%s/%s", dg_test_dir(), name);
    return path;
}

/* Writes bytes below the temporary directory, making its folders. */
static inline const char *put(const char *name, const void *bytes, size_t size) {
    const char *path = in_dir(name);
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *c = folder + strlen(dg_test_dir()) + 1; *c; c++) {
        if (*c == '/') {
            *c = 0;
            (void)mkdir(folder, 0777);
            *c = '/';
        }
    }
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "cannot write %s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
    return path;
}

static inline const char *put_text(const char *name, const char *text) {
    return put(name, text, strlen(text));
}

/* The bytes of a PGM of side x side pixels, pixel i = (seed + i) mod 256. Returns the size. */
static inline size_t pgm_bytes(uint8_t *out, int width, int height, int seed) {
    int header = sprintf((char *)out, "P5 %d %d 255\n", width, height);
    for (int i = 0; i < width * height; i++)
        out[header + i] = (uint8_t)(seed + i);
    return (size_t)(header + width * height);
}

/* An 8 x 8 grey image file (a PGM, whatever the name says: files are recognised by content). */
static inline void put_image(const char *name, int seed) {
    uint8_t bytes[256];
    put(name, bytes, pgm_bytes(bytes, 8, 8, seed));
}

static inline uint8_t *load_fixture(const char *name, size_t *size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/data/%s", DG_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot read %s", path);
    uint8_t *bytes = malloc(65536);
    *size = fread(bytes, 1, 65536, file);
    fclose(file);
    return bytes;
}

/* Is this file of a format whose library this build lacks? Then there is nothing to test. */
static inline bool is_left_out(const char *fixture) {
    size_t size;
    char reason[DG_REASON_BYTES] = "";
    dg_image_info info;
    uint8_t *bytes = load_fixture(fixture, &size);
    bool left_out =
        dg_image_probe(bytes, size, NULL, &info, reason) != DG_OK && strstr(reason, "this build of diffgen");
    free(bytes);
    return left_out;
}

#endif
