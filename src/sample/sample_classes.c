/* From --class, -n and --seeds to how many images of which class. */
#include "sample/sample_options.h"

#include <stdlib.h>
#include <string.h>

enum { IMAGES_PER_CLASS = 8, IMAGES_UNCONDITIONAL = 16 };

static int64_t find_class(const char *value, size_t length, const char *const *names, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (strlen(names[i]) == length && memcmp(names[i], value, length) == 0)
            return i;
    return -1;
}

static bool any_is_number(const char *const *names, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (names[i][0] && names[i][strspn(names[i], "0123456789")] == '\0')
            return true;
    return false;
}

/* A class by name, or by position where no class has that name. Where classes are numbers, a number is never a
 * position: of the classes 1, 2 and 3 nobody means the first by 0. -1: neither. */
static int64_t look_up(const char *value, size_t length, const char *const *names, int64_t count) {
    const int64_t named = find_class(value, length, names, count);
    int64_t position = 0;
    if (named >= 0 || length == 0 || length > 9 || any_is_number(names, count))
        return named;
    for (size_t i = 0; i < length; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        position = position * 10 + (value[i] - '0');
    }
    return position < count ? position : -1;
}

static dg_status no_such_class(dg_ctx *ctx, const char *value, size_t length, const char *const *names, int64_t count) {
    dg_str text = {0};
    char *wanted = strndup(value, length);
    const char *nearest = wanted ? dg_nearest_name(wanted, names, (size_t)count) : NULL;
    dg_str_printf(&text, "--class: the model has no class '%.*s'; ", (int)length, value);
    if (nearest) {
        dg_str_printf(&text, "did you mean '%s'?", nearest);
    } else {
        dg_str_append(&text, "it has ");
        for (int64_t i = 0; i < count && i < 20; i++)
            dg_str_printf(&text, "%s'%s'", i ? ", " : "", names[i]);
        if (count > 20)
            dg_str_printf(&text, " and %lld more", (long long)count - 20);
    }
    dg_status status = dg_fail(ctx, DG_EUSAGE, "%s", dg_str_ok(&text) ? text.data : "--class: no such class");
    dg_str_free(&text);
    free(wanted);
    return status;
}

dg_status dg_sample_parse_class(dg_ctx *ctx, const char *value, const char *const *names, int64_t count, int64_t *index,
                                int64_t *images) {
    const char *colon = strrchr(value, ':');
    size_t length = strlen(value);
    *images = -1;
    *index = find_class(value, length, names, count);
    if (*index >= 0)
        return DG_OK;
    if (colon) {
        length = (size_t)(colon - value);
        if (!dg_parse_count(colon + 1, images) || *images < 1) {
            if (look_up(value, length, names, count) < 0)
                return no_such_class(ctx, value, strlen(value), names, count);
            return dg_fail(ctx, DG_EUSAGE, "--class %s: '%s' is not a number of images; it takes NAME or NAME:COUNT",
                           value, colon + 1);
        }
    }
    *index = look_up(value, length, names, count);
    return *index >= 0 ? DG_OK : no_such_class(ctx, value, length, names, count);
}

/* Shares `total` (0 = not said) among the parts whose images are -1. */
static dg_status share(dg_ctx *ctx, int64_t total, dg_sample_part *parts, int64_t num_parts) {
    int64_t said = 0, open = 0;
    for (int64_t i = 0; i < num_parts; i++) {
        if (parts[i].images < 0)
            open++;
        else if (__builtin_add_overflow(said, parts[i].images, &said))
            return dg_fail(ctx, DG_EUSAGE, "--class: the counts add up to more images than can be numbered");
    }
    if (total && (said > total || (!open && said != total)))
        return dg_fail(ctx, DG_EUSAGE, "the counts given with --class add up to %lld images, -n or --seeds to %lld",
                       (long long)said, (long long)total);
    if (total && open > total - said)
        return dg_fail(ctx, DG_EUSAGE, "%lld images are left for %lld classes; -n must leave at least one for each",
                       (long long)(total - said), (long long)open);
    const int64_t each = total && open ? (total - said) / open : IMAGES_PER_CLASS;
    int64_t extra = total && open ? (total - said) % open : 0;
    for (int64_t i = 0; i < num_parts; i++) {
        if (parts[i].images < 0)
            parts[i].images = each + (extra-- > 0);
    }
    return DG_OK;
}

dg_status dg_sample_plan_parts(dg_ctx *ctx, const dg_sample_options *options, const char *const *names, int64_t count,
                               dg_sample_part **parts, int64_t *num_parts) {
    dg_status status = DG_OK;
    dg_sample_part *list = NULL;
    const int64_t total = options->seeds.set ? options->seeds.second - options->seeds.first + 1 : options->num_samples;
    const int64_t chosen = options->classes.count ? options->classes.count : count ? count : 1;
    if (!count && (options->classes.count || options->all_classes))
        return dg_fail(ctx, DG_EUSAGE, "%s: this model is unconditional, it knows no classes; leave the option out",
                       options->classes.count ? "--class" : "--all-classes");
    DG_TRY(dg_alloc(ctx, &list, (size_t)chosen, sizeof *list, "the list of classes"));
    for (int64_t i = 0; i < chosen; i++) {
        list[i] = (dg_sample_part){.class_index = count ? i : -1, .images = -1};
        if (options->classes.count)
            DG_TRY(dg_sample_parse_class(ctx, options->classes.items[i], names, count, &list[i].class_index,
                                         &list[i].images));
    }
    if (!count && !total)
        list[0].images = IMAGES_UNCONDITIONAL;
    DG_TRY(share(ctx, total, list, chosen));
    *parts = list;
    *num_parts = chosen;
    list = NULL;
done:
    free(list);
    return status;
}
