/* Preloaded into the program (LD_PRELOAD), makes one of its allocations fail, or one and all after it. Only those count
 * that the program's own code asks for, and jansson, whose values it builds: what happens inside other libraries when
 * memory runs out is theirs. The C library's functions that allocate (strdup, fopen...) count as allocations of who
 * calls them.
 *
 *   FAIL_ALLOC_AT=N      the N-th allocation fails, counted from 1; 0 or absent: none
 *   FAIL_ALLOC_ON=1      and all after it
 *   FAIL_ALLOC_IN=L,L    those of these libraries instead, libdnnl,libstdc++ say
 *   FAIL_ALLOC_NOT=F     but not those of the functions in file F, lines of `nm -S`: of a library that the program was
 *                        linked with statically
 *   FAIL_ALLOC_COUNT=F   writes the number of allocations into file F at the end
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

enum { MAX_RANGES = 16, MAX_FOREIGN = 16384 };

static struct { uintptr_t first, last; } ranges[MAX_RANGES];
static int range_count;
static struct { uintptr_t first, last; } foreign[MAX_FOREIGN]; /* from the beginning of the program */
static int foreign_count;
static uintptr_t program_base;
static atomic_long counted;
static long fail_at;
static int fail_on;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    int *objects = user;
    const char *others = getenv("FAIL_ALLOC_IN"), *name = strrchr(info->dlpi_name, '/');
    const int program = (*objects)++ == 0;
    char stem[64];
    if (program)
        program_base = info->dlpi_addr;
    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(name ? name + 1 : "", "."), name ? name + 1 : "");
    const int ours = others ? *stem && strstr(others, stem) != NULL
                            : program || strcmp(stem, "libjansson") == 0 || strcmp(stem, "libdiffgen") == 0;
    for (int i = 0; ours && i < info->dlpi_phnum && range_count < MAX_RANGES; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        ranges[range_count].first = info->dlpi_addr + p->p_vaddr;
        ranges[range_count++].last = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    return 0;
}

/* Before anything is counted: reading allocates. */
static void read_foreign(const char *path) {
    unsigned long first, size;
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && foreign_count < MAX_FOREIGN && fscanf(file, "%lx %lx %*s %*s", &first, &size) == 2) {
        foreign[foreign_count].first = first;
        foreign[foreign_count++].last = first + size;
    }
    if (file)
        fclose(file);
}

static int is_foreign(uintptr_t at) {
    for (int i = 0; i < foreign_count; i++)
        if (at - program_base > foreign[i].first && at - program_base <= foreign[i].last)
            return 1;
    return 0;
}

__attribute__((constructor)) static void start(void) {
    int objects = 0;
    const char *at = getenv("FAIL_ALLOC_AT"), *on = getenv("FAIL_ALLOC_ON");
    fail_at = at ? atol(at) : 0;
    fail_on = on && *on == '1';
    read_foreign(getenv("FAIL_ALLOC_NOT"));
    dl_iterate_phdr(add_ranges, &objects);
}

__attribute__((destructor)) static void finish(void) {
    const char *path = getenv("FAIL_ALLOC_COUNT");
    const int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) {
        dprintf(fd, "%ld\n", atomic_load(&counted));
        close(fd);
    }
}

/* Counts an allocation of who returns to `caller`. Returns whether it is to fail. */
static int fails(const void *caller) {
    const uintptr_t at = (uintptr_t)caller;
    for (int i = 0; i < range_count; i++) {
        if (at < ranges[i].first || at >= ranges[i].last)
            continue;
        if (is_foreign(at))
            return 0;
        const long n = atomic_fetch_add(&counted, 1) + 1;
        if (fail_at == 0 || n < fail_at || (n > fail_at && !fail_on))
            return 0;
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

#define FAILS() fails(__builtin_return_address(0))

void *malloc(size_t size) {
    return FAILS() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return FAILS() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return FAILS() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return FAILS() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
    if (FAILS())
        return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

char *strdup(const char *text) {
    const size_t size = strlen(text) + 1;
    char *copy = FAILS() ? NULL : __libc_malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *strndup(const char *text, size_t most) {
    const size_t size = strnlen(text, most);
    char *copy = FAILS() ? NULL : __libc_malloc(size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

/* *out is undefined after a failure, as in the C library. */
static int print(char **out, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    *out = length < 0 ? NULL : __libc_malloc((size_t)length + 1);
    return *out ? vsnprintf(*out, (size_t)length + 1, format, arguments) : -1;
}

int vasprintf(char **out, const char *format, va_list arguments) {
    *out = (char *)(uintptr_t)0xdead;
    return FAILS() ? -1 : print(out, format, arguments);
}

int asprintf(char **out, const char *format, ...) {
    va_list arguments;
    *out = (char *)(uintptr_t)0xdead;
    if (FAILS())
        return -1;
    va_start(arguments, format);
    const int length = print(out, format, arguments);
    va_end(arguments);
    return length;
}

/* A function of the C library under its own name. */
#define REAL(function) ((typeof(&function))dlsym(RTLD_NEXT, #function))

FILE *fopen(const char *path, const char *mode) {
    return FAILS() ? NULL : REAL(fopen)(path, mode);
}

FILE *fdopen(int fd, const char *mode) {
    return FAILS() ? NULL : REAL(fdopen)(fd, mode);
}

DIR *opendir(const char *path) {
    return FAILS() ? NULL : REAL(opendir)(path);
}

DIR *fdopendir(int fd) {
    return FAILS() ? NULL : REAL(fdopendir)(fd);
}

char *realpath(const char *path, char *resolved) {
    return FAILS() ? NULL : REAL(realpath)(path, resolved);
}
