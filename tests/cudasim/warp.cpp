/* Meetings of a warp's lanes: everything that exchanges values inside a warp stands on one primitive. */
#include "sim.h"

#include <array>
#include <cstring>

namespace cudasim {

struct Meeting {
    bool open, used; /* open: lanes still arrive */
    bool multiplied; /* the values are the lanes' results */
    unsigned mask, arrived, left;
    const char *file;
    int line;
    alignas(16) unsigned char values[32][MEETING_BYTES];
};

/* Lanes with disjoint masks may meet at the same time, and the last meeting's stragglers may still be reading. */
enum { MEETINGS = 40 };

static std::vector<std::array<Meeting, MEETINGS>> &warps() {
    static std::vector<std::array<Meeting, MEETINGS>> w;
    return w;
}

void warps_begin_block(int threads) {
    const size_t count = (size_t)(threads + 31) / 32;
    if (warps().size() < count) /* every meeting of the last block is over: its threads have all left */
        warps().resize(count);
}

static void check_mask(unsigned mask, int warp, int lane, const char *file, int line) {
    const int lanes = threads_in_block() - 32 * warp;
    if (!(mask >> lane & 1))
        fail("lane %d calls a warp collective whose mask %08x leaves it out, at %s:%d", lane, mask, file, line);
    if (lanes < 32 && mask >> lanes)
        fail("the mask %08x names lanes that the block does not have, at %s:%d", mask, file, line);
}

static Meeting *find(int warp, unsigned mask, const char *file, int line) {
    Meeting *fresh = nullptr;
    for (Meeting &m : warps()[warp]) {
        if (!m.used) {
            if (!fresh)
                fresh = &m;
            continue;
        }
        if (!m.open || m.mask != mask)
            continue;
        if (m.line != line || strcmp(m.file, file) != 0)
            fail("lanes of one warp meet at different places: %s:%d and %s:%d", m.file, m.line, file, line);
        return &m;
    }
    if (!fresh)
        fail("too many meetings of one warp at a time");
    fresh->used = fresh->open = true;
    fresh->multiplied = false;
    fresh->mask = mask;
    fresh->arrived = fresh->left = 0;
    fresh->file = file;
    fresh->line = line;
    return fresh;
}

Meeting *meet(unsigned mask, const void *mine, size_t bytes, const char *file, int line) {
    const int linear = current_thread().linear, warp = linear >> 5, lane = linear & 31;
    check_mask(mask, warp, lane, file, line);
    Meeting *m = find(warp, mask, file, line);
    if (bytes)
        memcpy(m->values[lane], mine, bytes);
    m->arrived |= 1u << lane;
    if (m->arrived != mask) {
        block_current(State::at_meeting, file, line);
        return m;
    }
    m->open = false;
    for (int i = 0; i < 32; i++) {
        const int other = options().order == Order::descending ? 31 - i : i;
        if ((mask >> other & 1) && other != lane)
            make_ready(32 * warp + other, true);
    }
    if (options().order == Order::random &&
        mask != 1u << lane) { /* the last to arrive need not be the first to go on */
        make_ready(linear, true);
        block_current(State::ready, file, line);
    }
    return m;
}

const void *left_by(const Meeting *meeting, int lane) {
    return meeting->values[lane];
}

void leave(Meeting *meeting) {
    meeting->left |= 1u << lane_id();
    if (meeting->left == meeting->mask)
        meeting->used = false;
}

/* ---- matrix products ---- */

struct Operands {
    uint32_t a[4], b[2];
    float c[4];
};

static float operand(uint32_t word, bool bf16, int half) {
    word = bf16 ? (half ? word & 0xffff0000u : word << 16) : word & 0xffffe000u;
    return same_bits<float>(word);
}

/* The whole warp's product, by whichever lane comes first: a lane at a time would unpack everything 32 times. Element
 * (row, k) of A lies with lane 4*(row % 8) + k/2 % 4 in BF16, k % 4 in TF32; B's (k, column) likewise. */
static void multiply(Meeting &m, bool bf16) {
    const int depth = bf16 ? 16 : 8, half_depth = depth / 2;
    float a[16][16], b[16][8];
    Operands lanes[32];
    for (int lane = 0; lane < 32; lane++)
        memcpy(&lanes[lane], m.values[lane], sizeof(Operands));
    for (int k = 0; k < depth; k++) {
        const int within = k % half_depth, owner = bf16 ? within / 2 : within, word = k / half_depth;
        for (int row = 0; row < 16; row++)
            a[row][k] = operand(lanes[4 * (row % 8) + owner].a[2 * word + row / 8], bf16, within & 1);
        for (int column = 0; column < 8; column++)
            b[k][column] = operand(lanes[4 * column + owner].b[word], bf16, within & 1);
    }
    for (int row = 0; row < 16; row++) {
        float sums[8];
        for (int column = 0; column < 8; column++)
            sums[column] = lanes[4 * (row % 8) + column / 2].c[row / 8 * 2 + column % 2];
        for (int k = 0; k < depth; k++)
            for (int column = 0; column < 8; column++)
                sums[column] += a[row][k] * b[k][column];
        for (int column = 0; column < 8; column++)
            memcpy(m.values[4 * (row % 8) + column / 2] + (row / 8 * 2 + column % 2) * sizeof(float), &sums[column],
                   sizeof(float));
    }
}

void mma(bool bf16, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
         const char *file, int line) {
    const Operands mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
    Meeting *m = meet(0xffffffffu, &mine, sizeof mine, file, line);
    if (!m->multiplied) {
        multiply(*m, bf16);
        m->multiplied = true;
    }
    memcpy(d, m->values[lane_id()], sizeof d);
    leave(m);
}

/* ---- cp.async ---- */

void copy_async(void *shared, const void *global, int bytes, int valid) {
    if (((uintptr_t)shared | (uintptr_t)global) & (uintptr_t)(bytes - 1))
        fail("cp.async: an address is not aligned to the %d bytes that it copies", bytes);
    if (valid < 0 || valid > bytes)
        fail("cp.async: %d bytes of %d", valid, bytes);
    Thread &me = current_thread();
    memset(shared, 0xff, (size_t)bytes);
    me.copies.push_back({shared, global, bytes, valid, me.copy_group});
}

void copy_async_commit() {
    current_thread().copy_group++;
}

void copy_async_wait(int groups_left) {
    Thread &me = current_thread();
    size_t done = 0;
    while (done < me.copies.size() && me.copies[done].group < me.copy_group - groups_left) {
        const PendingCopy &c = me.copies[done++];
        memcpy(c.to, c.from, (size_t)c.valid);
        memset((char *)c.to + c.valid, 0, (size_t)(c.bytes - c.valid));
    }
    me.copies.erase(me.copies.begin(), me.copies.begin() + (std::ptrdiff_t)done);
}

} // namespace cudasim
