/* The growing files of a run: metrics.jsonl and log.txt. */
#include "io/run_internal.h"

#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define METRICS "metrics.jsonl"

/* One write call for the whole line: a killed process leaves a whole line or a torn last one. */
static dg_status append(dg_ctx *ctx, const char *folder, const char *name, const dg_str *text) {
    dg_status status = DG_OK;
    char *path = NULL;
    int fd = -1;
    if (!dg_str_ok(text))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(dg_run_join(ctx, folder, name, &path));
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (fd < 0)
        DG_TRY(dg_fail(ctx, DG_ECREATE, "%s: cannot open: %s", path, strerror(errno)));
    for (size_t done = 0; done < text->length;) {
        const ssize_t n = write(fd, text->data + done, text->length - done);
        if (n < 0 && errno != EINTR)
            DG_TRY(dg_fail(ctx, DG_EIO, "%s: cannot write: %s", path, strerror(errno)));
        done += n > 0 ? (size_t)n : 0;
    }
done:
    if (fd >= 0)
        close(fd);
    free(path);
    return status;
}

dg_status dg_run_append_metrics(dg_ctx *ctx, dg_run *run, const json_t *line) {
    dg_status status = DG_OK;
    dg_str text = {0};
    if (line && !json_is_integer(json_object_get(line, "step")))
        DG_TRY(dg_fail(ctx, DG_EINVAL, "a line of metrics must be an object with an integer \"step\""));
    dg_str_append_json(&text, line, JSON_COMPACT);
    dg_str_append(&text, "\n");
    if (!dg_str_ok(&text))
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory for a line of metrics"));
    DG_TRY(append(ctx, run->path, METRICS, &text));
done:
    dg_str_free(&text);
    return status;
}

/* Calls `use` for each whole line that is an object with a step. */
typedef bool (*line_fn)(void *user, json_t *object, const char *line, size_t size);

static dg_status for_each_line(dg_ctx *ctx, const char *folder, line_fn use, void *user, size_t *total) {
    dg_status status = DG_OK;
    char *path = NULL, *text = NULL;
    size_t size = 0;
    *total = 0;
    DG_TRY(dg_run_join(ctx, folder, METRICS, &path));
    if (!dg_fs_is_file(path))
        goto done;
    DG_TRY(dg_fs_read_file(ctx, path, (size_t)1 << 31, &text, &size));
    *total = size;
    for (const char *line = text, *end; (end = memchr(line, '\n', size - (size_t)(line - text))); line = end + 1) {
        bool no_memory = false;
        json_t *object = dg_json_line(line, (size_t)(end - line), &no_memory);
        const bool ok = !no_memory && (!json_is_integer(json_object_get(object, "step")) ||
                                       use(user, object, line, (size_t)(end - line) + 1));
        json_decref(object);
        if (!ok)
            DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    }
done:
    free(path);
    free(text);
    return status;
}

typedef struct keeper {
    dg_str text;
    int64_t step;
} keeper;

static bool keep_line(void *user, json_t *object, const char *line, size_t size) {
    keeper *k = user;
    if (json_integer_value(json_object_get(object, "step")) <= k->step)
        dg_str_append_bytes(&k->text, line, size);
    return !k->text.failed;
}

dg_status dg_run_truncate_metrics(dg_ctx *ctx, dg_run *run, int64_t step) {
    dg_status status = DG_OK;
    keeper k = {.step = step};
    char *path = NULL;
    size_t total = 0;
    DG_TRY(for_each_line(ctx, run->path, keep_line, &k, &total));
    if (k.text.length == total)
        goto done;
    DG_TRY(dg_run_join(ctx, run->path, METRICS, &path));
    DG_TRY(dg_fs_write_atomic(ctx, path, k.text.data ? k.text.data : "", k.text.length));
done:
    dg_str_free(&k.text);
    free(path);
    return status;
}

static bool collect_line(void *user, json_t *object, const char *line, size_t size) {
    (void)line;
    (void)size;
    return json_array_append_new(user, json_incref(object)) == 0;
}

dg_status dg_run_read_metrics(dg_ctx *ctx, const char *run_path, json_t **out) {
    dg_status status = DG_OK;
    size_t total = 0;
    json_t *lines = json_array();
    *out = NULL;
    if (!lines)
        DG_TRY(dg_fail(ctx, DG_ENOMEM, "out of memory"));
    DG_TRY(for_each_line(ctx, run_path, collect_line, lines, &total));
    *out = lines;
    lines = NULL;
done:
    json_decref(lines);
    return status;
}

dg_status dg_run_log(dg_ctx *ctx, dg_run *run, const char *line) {
    dg_status status = DG_OK;
    dg_str text = {0};
    char stamp[32] = "";
    struct tm utc;
    const time_t now = time(NULL);
    if (gmtime_r(&now, &utc))
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    dg_str_printf(&text, "%s %s\n", stamp, line);
    DG_TRY(append(ctx, run->path, "log.txt", &text));
done:
    dg_str_free(&text);
    return status;
}
