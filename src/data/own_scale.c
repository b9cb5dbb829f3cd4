#include "data/own_scale.h"

#include <math.h>

dg_own_scale dg_own_scale_of(const dg_candidate *candidates, size_t count) {
    dg_own_scale own = {.all = true, .common = true};
    const dg_image_info *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const dg_image_info *info = &candidates[i].info;
        if (candidates[i].bad)
            continue;
        if (!first) {
            first = info;
            own.least = info->least;
            own.most = info->most;
        }
        own.all &= info->own_scale;
        own.common &= info->low == first->low && info->high == first->high;
        own.mixed |= info->inverted != first->inverted || info->least == info->most;
        own.least = fmin(own.least, info->least);
        own.most = fmax(own.most, info->most);
    }
    own.all &= first != NULL;
    if (own.all) {
        own.low = first->low;
        own.high = first->high;
        own.inverted = first->inverted;
        own.common &= !own.mixed && own.low != own.high;
    }
    return own;
}

dg_window dg_own_scale_window(const dg_own_scale *own, double low, double high, dg_window pixels, int max) {
    if (pixels.lo < 0) /* no numbers wrap around here */
        pixels = (dg_window){0, max};
    double from = own->inverted ? max - pixels.hi : pixels.lo, to = own->inverted ? max - pixels.lo : pixels.hi;
    double step = (high - low) / max;
    /* Half a pixel value is what rounding may have taken away. */
    double bounds[2] = {floor(low + from * step + step / 2), ceil(low + to * step - step / 2)};
    for (int i = 0; i < 2; i++)
        bounds[i] = bounds[i] < INT32_MIN ? INT32_MIN : bounds[i] > INT32_MAX ? INT32_MAX : bounds[i];
    return (dg_window){(int)bounds[0], (int)bounds[1]};
}

dg_status dg_own_scale_note(dg_ctx *ctx, const dg_candidate *candidates, size_t count, dg_layout *layout) {
    const dg_image_info *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const dg_image_info *info = &candidates[i].info;
        if (candidates[i].bad || !info->own_scale || info->low == info->high)
            continue;
        first = first ? first : info;
        if (info->low != first->low || info->high != first->high)
            return dg_layout_note(ctx, layout,
                                  "black and white stand for different values in different files (%g to %g in one, %g "
                                  "to %g in another); --window LO:HI, in these units, gives all the same",
                                  first->low, first->high, info->low, info->high);
    }
    return DG_OK;
}
