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
