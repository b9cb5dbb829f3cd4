#include "train/share.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

dg_share dg_train_share(int64_t batch, int64_t micro_batch, int rank, int ranks) {
    const int64_t items = (batch + micro_batch - 1) / micro_batch;
    int64_t block = 1;
    while (block * ranks < items)
        block *= 2;
    const int64_t images = block * micro_batch, first = least(rank * images, batch);
    return (dg_share){.first = first,
                      .images = least(images, batch - first),
                      .block_images = images,
                      .ranks = (int)((items + block - 1) / block)};
}

int64_t dg_train_share_micro_batch(int64_t batch, int64_t largest, int ranks) {
    int64_t best = largest, load = INT64_MAX;
    for (int64_t micro = largest; micro >= 1; micro--) {
        const int64_t images = dg_train_share(batch, micro, 0, ranks).images;
        if (images < load) {
            load = images;
            best = micro;
        }
    }
    return best;
}
