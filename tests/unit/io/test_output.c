/* The folder of synthetic images: names, manifests, resuming after a kill at any moment, shards, foreign folders. */
#include "core/fs.h"
#include "io/output.h"
#include "support/test_main.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static dg_ctx *ctx;
static json_t *options;
static const char *const classes[] = {"coat", "t-shirt/top", "größe 3"};

static void setup(void) {
    ctx = dg_test_context();
    options = json_pack("{s:s, s:i}", "sampler", "ddim", "steps", 50);
}

static void teardown(void) {
    json_decref(options);
    dg_ctx_free(ctx);
}

static void shell(const char *format, ...) {
    char command[2048], rest[1500];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    snprintf(command, sizeof command, "cd '%s' && %s", dg_test_dir(), rest);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static char *in_dir(const char *name) {
    char *path = dg_fs_join(dg_test_dir(), name);
    ck_assert_ptr_nonnull(path);
    return path;
}

static char *read_text(const char *name) {
    char *path = in_dir(name), *text = NULL;
    size_t size = 0;
    DG_CK(ctx, dg_fs_read_file(ctx, path, 1 << 24, &text, &size));
    free(path);
    return text;
}

/* ---- folder names --------------------------------------------------------------------------------------------- */

START_TEST(test_folder_names) {
    static const char *const pairs[][2] = {
        {"cat", "cat"},
        {"two words", "two words"},
        {"größe 3", "größe 3"},
        {"a/b", "a%2Fb"},
        {"a%2Fb", "a%252Fb"},
        {"..", "%2E%2E"},
        {".", "%2E"},
        {".hidden", "%2Ehidden"},
        {"a.b", "a.b"},
        {"end.", "end%2E"},
        {"end ", "end%20"},
        {"x\ny", "x%0Ay"},
        {"x\x7fy", "x%7Fy"},
        {"a\\b:c", "a%5Cb%3Ac"},
        {"bad\xff", "bad%FF"},
        {"", "%"},
        {"DONE", "%44ONE"},
        {"done", "%64one"},
        {"manifest.json", "%6Danifest.json"},
        {"job.json", "%6Aob.json"},
        {"manifest.0-of-2.json", "%6Danifest.0-of-2.json"},
        {"../../etc", "%2E.%2F..%2Fetc"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *folder = dg_manifest_folder(pairs[i][0]);
        ck_assert_str_eq(folder, pairs[i][1]);
        free(folder);
    }
    char name[1001], other[1001];
    memset(name, 'n', 1000);
    name[1000] = '\0';
    memcpy(other, name, sizeof name);
    other[999] = 'm';
    char *a = dg_manifest_folder(name), *b = dg_manifest_folder(other);
    ck_assert_uint_le(strlen(a), 200);
    ck_assert_str_ne(a, b);
    free(a);
    free(b);
}
END_TEST

/* ---- manifests ------------------------------------------------------------------------------------------------ */

static void sample_manifest(dg_manifest *m) {
    DG_CK(ctx, dg_manifest_init(ctx, m, MODEL, options, classes, 3));
    for (int i = 0; i < 4; i++) {
        dg_manifest_image image = {.class_index = 2 - i / 2, .index = 7 - i, .seed = 100 + i};
        dg_sha256_hex(&i, sizeof i, image.sha256);
        DG_CK(ctx, dg_manifest_add(ctx, m, &image));
    }
    DG_CK(ctx, dg_manifest_sort(ctx, m));
}

START_TEST(test_manifest_round_trip) {
    dg_manifest m = {0}, back = {0};
    dg_str text = {0}, again = {0};
    sample_manifest(&m);
    DG_CK(ctx, dg_manifest_text(ctx, &m, true, &text));
    DG_CK(ctx, dg_manifest_parse(ctx, "m", text.data, text.length, &back));
    ck_assert_int_eq(back.num_images, 4);
    ck_assert_int_eq(back.images[0].class_index, 1);
    ck_assert_int_eq(back.images[0].index, 4);
    ck_assert_int_eq(back.images[0].seed, 103);
    ck_assert_ptr_nonnull(dg_manifest_find(&back, 2, 7));
    ck_assert_ptr_null(dg_manifest_find(&back, 0, 7));
    DG_CK(ctx, dg_manifest_same_job(ctx, "m", &back, &m, DG_EDATA, ""));
    DG_CK(ctx, dg_manifest_text(ctx, &back, true, &again));
    ck_assert_str_eq(text.data, again.data);
    ck_assert_ptr_nonnull(strstr(text.data, "\"t-shirt%2Ftop/000004.png\""));
    dg_str_free(&text);
    dg_str_free(&again);
    dg_manifest_free(&m);
    dg_manifest_free(&back);
}
END_TEST

/* Every cut is refused; so is every replacement below. */
START_TEST(test_manifest_hostile) {
    static const char *const changes[][2] = {
        {"t-shirt%2Ftop/000004.png", "../../../etc/passwd"},
        {"t-shirt%2Ftop/000004.png", "/etc/passwd"},
        {"t-shirt%2Ftop/000004.png", "t-shirt/top/000004.png"},
        {"t-shirt%2Ftop/000004.png", "coat/000004.png"},
        {"t-shirt%2Ftop/000004.png", "t-shirt%2Ftop/4.png"},
        {"\"index\":4", "\"index\":-4"},
        {"\"index\":4", "\"index\":4.0"},
        {"\"index\":4", "\"index\":99999999999999999999"},
        {"\"index\":5", "\"index\":4"},
        {"\"seed\":103", "\"seed\":\"x\""},
        {"diffgen-manifest", "other"},
        {"\"classes\": [\"coat\"", "\"classes\": [3"},
        {"\"classes\": [\"coat\"", "\"classes\": [\"größe 3\""},
        {MODEL, "0123"},
        {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
         "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"},
        {"\"options\": {", "\"options\": [{}], \"x\": {"},
        {"\"images\": [", "\"images\": {}, \"y\": ["},
        {"{\n  \"format\"", "{\n  \"format\": \"diffgen-manifest\",\n  \"format\""},
    };
    dg_manifest m = {0}, back = {0};
    dg_str text = {0};
    sample_manifest(&m);
    DG_CK(ctx, dg_manifest_text(ctx, &m, true, &text));
    for (size_t n = 0; n + 1 < text.length; n++) {
        ck_assert_int_eq(dg_manifest_parse(ctx, "m", text.data, n, &back), DG_EDATA);
        dg_manifest_free(&back);
    }
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        dg_str bad = {0};
        const char *hit = strstr(text.data, changes[i][0]);
        ck_assert_msg(hit != NULL, "%s", changes[i][0]);
        dg_str_append_bytes(&bad, text.data, (size_t)(hit - text.data));
        dg_str_append(&bad, changes[i][1]);
        dg_str_append(&bad, hit + strlen(changes[i][0]));
        ck_assert_msg(dg_manifest_parse(ctx, "m", bad.data, bad.length, &back) == DG_EDATA, "%s", changes[i][1]);
        dg_manifest_free(&back);
        dg_str_free(&bad);
    }
    dg_str_free(&text);
    dg_manifest_free(&m);
}
END_TEST

START_TEST(test_manifest_init_refuses) {
    static const char *const twice[] = {"a", "a"}, *const not_utf8[] = {"\xff"};
    dg_manifest m;
    ck_assert_int_eq(dg_manifest_init(ctx, &m, MODEL, options, twice, 2), DG_EINVAL);
    dg_manifest_free(&m);
    ck_assert_int_eq(dg_manifest_init(ctx, &m, MODEL, options, not_utf8, 1), DG_EINVAL);
    dg_manifest_free(&m);
    ck_assert_int_eq(dg_manifest_init(ctx, &m, "xyz", options, classes, 1), DG_EINVAL);
    dg_manifest_free(&m);
}
END_TEST

/* ---- filling a folder ----------------------------------------------------------------------------------------- */

enum { IMAGES = 30 };

static dg_output_job job_of(int64_t shard, int64_t shards) {
    int64_t planned = 0;
    for (int64_t i = 0; i < IMAGES; i++)
        planned += i % shards == shard;
    return (dg_output_job){.model_sha256 = MODEL,
                           .options = options,
                           .class_names = classes,
                           .num_classes = 3,
                           .shard = shard,
                           .shards = shards,
                           .planned_images = planned};
}

/* The whole job: image i is of class i / 10 and holds a text. `written` counts images made. */
static dg_status fill(const char *folder, int64_t shard, int64_t shards, int64_t stop_after, int64_t *written,
                      bool *complete) {
    dg_status status = DG_OK;
    dg_output *output = NULL;
    char *path = in_dir(folder), bytes[64];
    const dg_output_job job = job_of(shard, shards);
    bool has[IMAGES] = {false};
    *written = 0;
    *complete = false;
    DG_TRY(dg_output_open(ctx, path, &job, &output));
    for (int64_t i = 0; i < IMAGES; i++)
        if (i % shards == shard)
            DG_TRY(dg_output_has(ctx, output, i / 10, i, 1000 + i, &has[i]));
    for (int64_t i = IMAGES - 1; i >= 0; i--) {
        if (i % shards != shard || has[i])
            continue;
        if ((*written)++ == stop_after)
            goto done;
        const int n = sprintf(bytes, "image %lld", (long long)i);
        DG_TRY(dg_output_write(ctx, output, i / 10, i, 1000 + i, bytes, (size_t)n));
    }
    DG_TRY(dg_output_finish(ctx, output, complete));
done:
    dg_output_close(output);
    free(path);
    return status;
}

static void fill_whole(const char *folder, int64_t expected) {
    int64_t written;
    bool complete;
    DG_CK(ctx, fill(folder, 0, 1, -1, &written, &complete));
    ck_assert(complete);
    ck_assert_int_eq(written, expected);
}

START_TEST(test_whole_run) {
    fill_whole("out", IMAGES);
    shell("cd out && test \"$(find . -type f | wc -l)\" = %d && sha256sum -c --quiet DONE",
          IMAGES + 6); /* .lock, job.json */
    shell("test \"$(cat 'out/größe 3/000029.png')\" = 'image 29'");
    char *text = read_text("out/metadata.jsonl");
    ck_assert_ptr_eq(strstr(text, "{\"file_name\":\"coat/000000.png\",\"label\":\"coat\",\"seed\":1000,\"sha256\":\""),
                     text);
    free(text);
    text = read_text("out/dataset.json");
    ck_assert_ptr_eq(strstr(text, "{\"labels\":[\n[\"coat/000000.png\",0],\n"), text);
    ck_assert_ptr_nonnull(strstr(text, "[\"t-shirt%2Ftop/000010.png\",1]"));
    free(text);
    shell("cp -a out before");
    fill_whole("out", 0); /* nothing left to do, nothing changes */
    shell("diff -r out before && test -z \"$(find out -newer before/DONE -type f ! -name '.lock')\"");
}
END_TEST

START_TEST(test_damage_is_repaired) {
    fill_whole("out", IMAGES);
    shell("cp -a out before && rm out/coat/000003.png && echo x > out/coat/000004.png && "
          "rm 'out/größe 3/000020.png' && ln -s /etc/hostname 'out/größe 3/000020.png'");
    fill_whole("out", 3);
    shell("diff -r out before && test ! -h 'out/größe 3/000020.png'");
    shell("truncate -s 200 out/manifest.json");
    fill_whole("out", IMAGES); /* without a manifest nothing is believed */
    shell("diff -r out before");
    shell("rm out/DONE out/dataset.json");
    fill_whole("out", 0);
    shell("diff -r out before");
}
END_TEST

START_TEST(test_interrupted) {
    int64_t written;
    bool complete;
    fill_whole("whole", IMAGES);
    DG_CK(ctx, fill("out", 0, 1, 12, &written, &complete));
    ck_assert(!complete);
    shell("test ! -e out/DONE && test ! -e out/manifest.json");
    shell("printf '{\"file\":\"coat/0000' >> out/.partial/journal.jsonl"); /* a torn line */
    DG_CK(ctx, fill("out", 0, 1, 5, &written, &complete));
    fill_whole("out", IMAGES - 17);
    shell("diff -r out whole");
}
END_TEST

/* kill -9 at any moment: the next run ends with the same bytes. */
START_TEST(test_killed) {
    fill_whole("whole", IMAGES);
    for (int round = 0; round < 25; round++) {
        const pid_t child = fork();
        if (child == 0) {
            int64_t written;
            bool complete;
            dg_status status = fill("out", 0, 1, -1, &written, &complete);
            _exit(status == DG_OK ? 0 : 1);
        }
        usleep((useconds_t)(rand() % 6000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (round % 5 == 4) {
            int64_t written;
            bool complete;
            DG_CK(ctx, fill("out", 0, 1, -1, &written, &complete));
            shell("diff -r out whole && rm -r out");
        }
    }
}
END_TEST

START_TEST(test_shards) {
    int64_t written;
    bool complete;
    static const int order[4] = {2, 0, 3, 1};
    fill_whole("whole", IMAGES);
    for (int i = 0; i < 4; i++) {
        DG_CK(ctx, fill("out", order[i], 4, -1, &written, &complete));
        ck_assert_int_eq(complete, i == 3);
        shell("test %s -e out/DONE", i == 3 ? "" : "!");
    }
    shell("diff -r -x '.lock*' -x 'manifest.*-of-*' out whole");
    /* a shard repairs its own, an unsharded run everything */
    shell("rm out/coat/000003.png out/coat/000004.png");
    DG_CK(ctx, fill("out", 3, 4, -1, &written, &complete));
    ck_assert_int_eq(written, 1);
    ck_assert(complete);
    fill_whole("out", 1);
    shell("diff -r -x '.lock*' -x 'manifest.*-of-*' out whole");
}
END_TEST

START_TEST(test_shards_together) {
    fill_whole("whole", IMAGES);
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            int64_t written;
            bool complete;
            _exit(fill("out", i, 3, -1, &written, &complete) == DG_OK ? 0 : 1);
        }
    for (int i = 0, code; i < 3; i++) {
        wait(&code);
        ck_assert_int_eq(code, 0);
    }
    shell("diff -r -x '.lock*' -x 'manifest.*-of-*' out whole");
}
END_TEST

static dg_status open_only(const char *folder, const dg_output_job *job) {
    dg_output *output = NULL;
    char *path = in_dir(folder);
    const dg_status status = dg_output_open(ctx, path, job, &output);
    dg_output_close(output);
    free(path);
    return status;
}

START_TEST(test_other_job_is_refused) {
    dg_output_job job = job_of(0, 1);
    fill_whole("out", IMAGES);
    shell("cp -a out before");
    job.model_sha256 = "f123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    ck_assert_int_eq(open_only("out", &job), DG_ECREATE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "model sha256 0123456789ab... there, f123456789ab... now"));
    dg_ctx_clear_error(ctx);
    job = job_of(0, 1);
    dg_json_set(&options, "steps", json_integer(25));
    dg_json_set(&options, "eta", json_real(0.5));
    ck_assert_int_eq(open_only("out", &job), DG_ECREATE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "steps 50 there, 25 now"));
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "eta not set there, 0.5 now"));
    shell("diff -r out before");
    dg_ctx_clear_error(ctx);
    shell("mkdir foreign && touch foreign/precious.txt");
    ck_assert_int_eq(open_only("foreign", &job), DG_ECREATE);
    ck_assert_ptr_nonnull(strstr(dg_last_error(ctx), "precious.txt"));
    shell("test \"$(ls -A foreign)\" = precious.txt");
    dg_ctx_clear_error(ctx);
    shell("touch file");
    ck_assert_int_eq(open_only("file", &job), DG_ECREATE);
    ck_assert_int_eq(open_only("/proc/nowhere", &job), DG_ECREATE);
}
END_TEST

START_TEST(test_locked) {
    dg_output *output = NULL;
    char *path = in_dir("out");
    const dg_output_job job = job_of(0, 1);
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    ck_assert_int_eq(open_only("out", &job), DG_EINTERRUPTED);
    dg_output_close(output);
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, open_only("out", &job));
    free(path);
}
END_TEST

/* In a folder that others may write to, a link in place of a folder leads somewhere else. */
START_TEST(test_links_are_not_followed) {
    static const char *const traps[] = {".partial", "coat", ".lock"};
    for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
        int64_t written;
        bool complete;
        shell("rm -rf out precious");
        fill_whole("out", IMAGES);
        shell("rm -rf out/%s && mkdir -p precious/unet && printf 'keep me' > precious/0.tmp && "
              "cp precious/0.tmp precious/000000.png && ln -s ../precious%s out/%s",
              traps[i], i == 2 ? "/0.tmp" : "", traps[i]);
        ck_assert_int_eq(fill("out", 0, 1, -1, &written, &complete), DG_ECREATE);
        ck_assert_msg(strstr(dg_last_error(ctx), "is a link") && strstr(dg_last_error(ctx), traps[i]), "%s",
                      dg_last_error(ctx));
        dg_ctx_clear_error(ctx);
        shell("test \"$(ls precious | tr '\\n' ' ')\" = '0.tmp 000000.png unet ' && "
              "test \"$(cat precious/0.tmp precious/000000.png)\" = 'keep mekeep me'");
    }
    shell("rm -rf out && mkdir -p out/.partial && printf 'keep me' > precious/f && ln precious/f out/.partial/0.tmp");
    fill_whole("out", IMAGES);
    shell("test \"$(cat precious/f)\" = 'keep me'");
}
END_TEST

/* DONE stands for all files together: it goes before the first of them changes. */
START_TEST(test_done_goes_before_a_change) {
    int64_t written;
    bool complete;
    fill_whole("out", IMAGES);
    shell("cp -a out before && echo x > out/metadata.jsonl && rm out/dataset.json && mkdir -p "
          "out/dataset.json/in-the-way");
    ck_assert_int_ne(fill("out", 0, 1, -1, &written, &complete), DG_OK);
    dg_ctx_clear_error(ctx);
    shell("cmp out/metadata.jsonl before/metadata.jsonl && test ! -e out/DONE && rm -r out/dataset.json");
    fill_whole("out", 0);
    shell("diff -r out before");
}
END_TEST

START_TEST(test_finish_wants_every_image) {
    dg_output *output = NULL;
    bool complete;
    char *path = in_dir("out");
    const dg_output_job job = job_of(0, 1);
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    DG_CK(ctx, dg_output_write(ctx, output, 0, 0, 5, "x", 1));
    ck_assert_int_eq(dg_output_write(ctx, output, 3, 0, 5, "x", 1), DG_EINVAL);
    ck_assert_int_eq(dg_output_write(ctx, output, -1, 0, 5, "x", 1), DG_EINVAL);
    ck_assert_int_eq(dg_output_write(ctx, output, 0, -1, 5, "x", 1), DG_EINVAL);
    dg_ctx_clear_error(ctx);
    ck_assert_int_eq(dg_output_finish(ctx, output, &complete), DG_EINVAL);
    ck_assert(!complete);
    dg_output_close(output);
    free(path);
}
END_TEST

START_TEST(test_unconditional) {
    dg_output *output = NULL;
    bool complete;
    char *path = in_dir("out");
    dg_output_job job = {.model_sha256 = MODEL, .options = options, .shards = 1, .planned_images = 1};
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    DG_CK(ctx, dg_output_write(ctx, output, -1, 1234567, 5, "x", 1));
    DG_CK(ctx, dg_output_finish(ctx, output, &complete));
    dg_output_close(output);
    shell("test -f out/images/1234567.png && test \"$(cat out/dataset.json)\" = '{\"labels\":null}'");
    free(path);
}
END_TEST

typedef struct writer {
    dg_output *output;
    int64_t first;
    dg_status status;
} writer;

static void *write_some(void *arg) {
    writer *w = arg;
    char bytes[64];
    w->status = DG_OK;
    for (int64_t i = w->first; i < IMAGES && w->status == DG_OK; i += 4) {
        const int n = sprintf(bytes, "image %lld", (long long)i);
        w->status = dg_output_write(ctx, w->output, i / 10, i, 1000 + i, bytes, (size_t)n);
    }
    return NULL;
}

/* Four threads write what one would. */
START_TEST(test_threads) {
    dg_output *output = NULL;
    const dg_output_job job = job_of(0, 1);
    pthread_t threads[4];
    writer writers[4];
    bool complete = false;
    char *path = in_dir("out");
    fill_whole("whole", IMAGES);
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    for (int i = 0; i < 4; i++) {
        writers[i] = (writer){.output = output, .first = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(writers[i].status, DG_OK);
    }
    DG_CK(ctx, dg_output_finish(ctx, output, &complete));
    ck_assert(complete);
    dg_output_close(output);
    shell("diff -r out whole");
    free(path);
}
END_TEST

/* No room for a file (here: beyond the process's limit): 74, and what is there stays whole. */
START_TEST(test_no_room) {
    dg_output *output = NULL;
    const dg_output_job job = job_of(0, 1);
    const struct rlimit limit = {65536, 65536};
    static char block[1 << 20];
    bool there = false;
    char *path = in_dir("out");
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    DG_CK(ctx, dg_output_write(ctx, output, 0, 0, 1, "x", 1));
    ck_assert_int_eq(dg_output_write(ctx, output, 0, 1, 1, block, sizeof block), DG_EIO);
    dg_output_close(output);
    dg_ctx_clear_error(ctx);
    DG_CK(ctx, dg_output_open(ctx, path, &job, &output));
    DG_CK(ctx, dg_output_has(ctx, output, 0, 0, 1, &there));
    ck_assert(there);
    DG_CK(ctx, dg_output_has(ctx, output, 0, 1, 1, &there));
    ck_assert(!there);
    dg_output_close(output);
    shell("test ! -e out/coat/000001.png");
    free(path);
}
END_TEST

Suite *dg_test_suite(void) {
    Suite *suite = suite_create("output");
    TCase *tcase = tcase_create("output");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_folder_names);
    tcase_add_test(tcase, test_manifest_round_trip);
    tcase_add_test(tcase, test_manifest_hostile);
    tcase_add_test(tcase, test_manifest_init_refuses);
    tcase_add_test(tcase, test_whole_run);
    tcase_add_test(tcase, test_damage_is_repaired);
    tcase_add_test(tcase, test_interrupted);
    tcase_add_test(tcase, test_killed);
    tcase_add_test(tcase, test_shards);
    tcase_add_test(tcase, test_shards_together);
    tcase_add_test(tcase, test_other_job_is_refused);
    tcase_add_test(tcase, test_locked);
    tcase_add_test(tcase, test_links_are_not_followed);
    tcase_add_test(tcase, test_done_goes_before_a_change);
    tcase_add_test(tcase, test_finish_wants_every_image);
    tcase_add_test(tcase, test_unconditional);
    tcase_add_test(tcase, test_threads);
    tcase_add_test(tcase, test_no_room);
    suite_add_tcase(suite, tcase);
    return suite;
}
