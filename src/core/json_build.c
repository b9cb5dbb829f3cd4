#include "core/json.h"

static void fail(json_t **container) {
    json_decref(*container);
    *container = NULL;
}

void dg_json_set(json_t **object, const char *key, json_t *value) {
    if (!*object)
        json_decref(value);
    else if (json_object_set_new(*object, key, value) != 0) /* which lets go of the value, and refuses NULL */
        fail(object);
}

void dg_json_append(json_t **array, json_t *value) {
    if (!*array)
        json_decref(value);
    else if (json_array_append_new(*array, value) != 0)
        fail(array);
}

json_t *dg_json_copy(const json_t *object) {
    json_t *copy = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)object, key, value) {
        dg_json_set(&copy, key, json_incref(value));
    }
    if (!object)
        fail(&copy);
    return copy;
}

/* jansson 2.14 does not look at every call's result; the string remembers the first that failed. */
static int append(const char *bytes, size_t size, void *user) {
    dg_str *s = user;
    dg_str_append_bytes(s, bytes, size);
    return s->failed ? -1 : 0;
}

void dg_str_append_json(dg_str *s, const json_t *value, size_t flags) {
    if (!value || json_dump_callback(value, append, s, flags) != 0)
        s->failed = true;
}
