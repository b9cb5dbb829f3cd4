/* Loaded before the C library (LD_PRELOAD): the process is killed in place of the call number DIE_AT of those by which
 * files appear and disappear, as by kill -9 or a power cut just before it. DIE_AT 0 counts them into the file
 * DIE_COUNT.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_long calls;

static void count_call(void) {
    const long number = atomic_fetch_add(&calls, 1) + 1;
    const char *at = getenv("DIE_AT");
    if (at && atol(at) == number)
        kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("DIE_COUNT");
    FILE *file = path ? fopen(path, "we") : NULL;
    if (file) {
        fprintf(file, "%ld\n", (long)calls);
        fclose(file);
    }
}

/* Calls the C library's own function. */
#define PASS_ON(name, type, ...) (((type)(uintptr_t)dlsym(RTLD_NEXT, #name))(__VA_ARGS__))

int rename(const char *from, const char *to) {
    count_call();
    return PASS_ON(rename, int (*)(const char *, const char *), from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    count_call();
    return PASS_ON(renameat2, int (*)(int, const char *, int, const char *, unsigned), from_dir, from, to_dir, to,
                   flags);
}

int symlink(const char *target, const char *path) {
    count_call();
    return PASS_ON(symlink, int (*)(const char *, const char *), target, path);
}

int unlink(const char *path) {
    count_call();
    return PASS_ON(unlink, int (*)(const char *), path);
}
