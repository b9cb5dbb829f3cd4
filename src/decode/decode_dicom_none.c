/* In place of decode_dicom.c where DCMTK was not found at build time. */
#include "decode/decoders.h"
#include "decode/sniff.h"

dg_status dg_dicom_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                         char *reason) {
    (void)bytes, (void)size, (void)options, (void)info;
    return dg_image_refuse(reason,
                           "a DICOM image, but this build of diffgen has no DCMTK; convert it to 16-bit PNG or TIFF");
}

dg_status dg_dicom_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                          const dg_image_info *info, void **pixels, int *components, char *reason) {
    (void)pixels, (void)components, (void)info;
    return dg_dicom_probe(bytes, size, options, NULL, reason);
}
