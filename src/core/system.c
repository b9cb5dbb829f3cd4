#include "core/system.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number after `key` in a file of "key: value kB" lines; -1 if it is not there. */
static int64_t read_kib(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    char line[256];
    long long value = -1;
    while (file && value < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), " %lld", &value) != 1)
            value = -1;
    if (file)
        fclose(file);
    return value < 0 ? -1 : (int64_t)value * 1024;
}

/* A file that holds one number; -1 if there is none ("max"). */
static int64_t read_number(const char *path) {
    FILE *file = fopen(path, "re");
    long long value = -1;
    if (file && fscanf(file, "%lld", &value) != 1)
        value = -1;
    if (file)
        fclose(file);
    return (int64_t)value;
}

int64_t dg_system_available_bytes(void) {
    const int64_t available = read_kib("/proc/meminfo", "MemAvailable:");
    const int64_t limit = read_number("/sys/fs/cgroup/memory.max"), used = read_number("/sys/fs/cgroup/memory.current");
    if (limit >= 0 && used >= 0 && (available < 0 || limit - used < available))
        return limit > used ? limit - used : 0;
    return available;
}

int64_t dg_system_resident_bytes(void) {
    const int64_t bytes = read_kib("/proc/self/status", "VmRSS:");
    return bytes < 0 ? 0 : bytes;
}

int64_t dg_system_peak_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}
