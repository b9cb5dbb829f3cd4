#include "sim.h"

#include <cstdlib>
#include <cstring>

namespace cudasim {

uint32_t Random::below(uint32_t n) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1Dull) >> 33) % n;
}

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

/* "word:SEED" or "word"; false: another word. */
static bool is(const char *value, const char *word, uint64_t *seed) {
    const size_t length = strlen(word);
    if (strncmp(value, word, length) != 0 || (value[length] != '\0' && value[length] != ':'))
        return false;
    *seed = value[length] ? strtoull(value + length + 1, nullptr, 10) : 1;
    return true;
}

static Options read_options() {
    Options o = {};
    uint64_t unused;
    const char *order = environment("CUDASIM_ORDER"), *streams = environment("CUDASIM_STREAMS");
    o.order = Order::ascending;
    if (is(order, "desc", &unused))
        o.order = Order::descending;
    else if (is(order, "random", &o.seed))
        o.order = Order::random;
    else if (*order && !is(order, "asc", &unused))
        fail("CUDASIM_ORDER is '%s'; it must be asc, desc or random:SEED", order);
    if (is(streams, "lazy", &o.lazy_seed))
        o.lazy = true;
    else if (*streams && !is(streams, "eager", &unused))
        fail("CUDASIM_STREAMS is '%s'; it must be eager or lazy:SEED", streams);
    o.guard = *environment("CUDASIM_GUARD") == '1';
    const char *libraries = environment("CUDASIM_LIBRARIES");
    const bool both = !*libraries || strcmp(libraries, "both") == 0;
    o.cudnn = both || strcmp(libraries, "cudnn") == 0;
    o.cublaslt = both || strcmp(libraries, "cublaslt") == 0;
    if (!o.cudnn && !o.cublaslt && strcmp(libraries, "none") != 0)
        fail("CUDASIM_LIBRARIES is '%s'; it must be both, cudnn, cublaslt or none", libraries);
    o.libraries_fail = *environment("CUDASIM_LIBRARIES_FAIL") == '1';
    return o;
}

const Options &options() {
    static const Options o = read_options();
    return o;
}

} // namespace cudasim
