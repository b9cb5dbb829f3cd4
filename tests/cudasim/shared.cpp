/* Shared memory. Every SHARED variable of a block is an allocation of its own, filled with 0xff (as float: NaN),
 * between AddressSanitizer's red zones: an index too far is seen even where another array would follow on a GPU. */
#include "sim.h"

#include <cstdlib>
#include <cstring>

namespace cudasim {

enum { STATIC_LIMIT = 48 << 10, DYNAMIC_ALIGNMENT = 1024 };

struct Slot {
    void *memory;
    size_t bytes;
    uint64_t serial; /* of the block that has it */
};

struct Shared {
    std::vector<Slot> slots;
    int slot_count;
    size_t static_bytes, dynamic_bytes, limit;
    void *dynamic;
    ~Shared() {
        for (Slot &slot : slots)
            free(slot.memory);
    }
};

static Shared &shared() {
    static Shared s = {};
    return s;
}

static void *poisoned(size_t bytes, size_t alignment) {
    void *memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0)
        fail("no memory for %zu bytes of shared memory", bytes);
    memset(memory, 0xff, bytes);
    return memory;
}

void shared_begin_block(size_t dynamic_bytes, size_t limit) {
    Shared &s = shared();
    s.static_bytes = 0;
    s.dynamic_bytes = dynamic_bytes;
    s.limit = limit;
    s.dynamic = dynamic_bytes ? poisoned(dynamic_bytes, DYNAMIC_ALIGNMENT) : nullptr;
}

void shared_end_block() {
    free(shared().dynamic);
    shared().dynamic = nullptr;
}

/* With a sanitizer each block gets new memory, so that what the last one's threads kept a pointer to is gone. */
static void renew(Slot &slot, size_t bytes) {
#ifdef CUDASIM_ASAN
    free(slot.memory);
    slot.memory = nullptr;
#endif
    if (!slot.memory)
        slot.memory = poisoned(bytes, 16);
    else
        memset(slot.memory, 0xff, bytes);
    slot.bytes = bytes;
    slot.serial = block_serial();
}

void *shared_slot(int *number, size_t bytes) {
    Shared &s = shared();
    if (*number < 0) {
        *number = s.slot_count++;
        s.slots.resize((size_t)s.slot_count);
    }
    Slot &slot = s.slots[(size_t)*number];
    if (slot.serial != block_serial()) {
        renew(slot, bytes);
        s.static_bytes += bytes;
        if (s.static_bytes > STATIC_LIMIT)
            fail("the kernel has %zu bytes of static shared memory, more than 48 KiB", s.static_bytes);
        if (s.static_bytes + s.dynamic_bytes > s.limit)
            fail("%zu bytes of static and %zu of dynamic shared memory are more than the %zu it was allowed",
                 s.static_bytes, s.dynamic_bytes, s.limit);
    }
    return slot.memory;
}

void *dynamic_shared() {
    if (!shared().dynamic)
        fail("the kernel uses dynamic shared memory and was launched with none");
    return shared().dynamic;
}

} // namespace cudasim
