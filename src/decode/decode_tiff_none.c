/* In place of decode_tiff.c where libtiff was not found at build time. */
#include "decode/decoders.h"
#include "decode/sniff.h"

dg_status dg_tiff_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                        char *reason) {
    (void)bytes, (void)size, (void)options, (void)info;
    return dg_image_refuse(reason, "a TIFF image, but this build of diffgen has no libtiff; convert it to PNG");
}

dg_status dg_tiff_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options, const dg_image_info *info,
                         void **pixels, int *components, char *reason) {
    (void)pixels, (void)components, (void)info;
    return dg_tiff_probe(bytes, size, options, NULL, reason);
}
