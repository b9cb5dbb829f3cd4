#include "decode/colour.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static int digit(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *found = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* "f80" or "ff8800" */
static bool parse_digits(const char *text, dg_colour *out) {
    const size_t length = strlen(text), each = length / 3;
    uint8_t value[3];
    if (length != 3 && length != 6)
        return false;
    for (size_t i = 0; i < 3; i++) {
        const int high = digit(text[i * each]), low = digit(text[i * each + each - 1]);
        if (high < 0 || low < 0)
            return false;
        value[i] = (uint8_t)(high * 16 + low);
    }
    *out = (dg_colour){value[0], value[1], value[2]};
    return true;
}

bool dg_colour_parse(const char *text, dg_colour *out) {
    static const struct {
        const char *name;
        dg_colour colour;
    } names[] = {
        {"white", {255, 255, 255}}, {"black", {0, 0, 0}}, {"grey", {128, 128, 128}}, {"gray", {128, 128, 128}}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcasecmp(text, names[i].name) == 0) {
            *out = names[i].colour;
            return true;
        }
    }
    return parse_digits(text + (*text == '#'), out);
}
