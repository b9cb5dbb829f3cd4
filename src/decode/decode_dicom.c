/* DICOM: the form and the grey scale are read here, the pixels by DCMTK out of a file that holds nothing else. */
#include "decode/dcmtk.h"
#include "decode/decoders.h"
#include "decode/dicom.h"
#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>

static bool is_grey(const dg_dicom *d) {
    return strncmp(d->photometric, "MONOCHROME", 10) == 0;
}

dg_status dg_dicom_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                         char *reason) {
    dg_dicom d;
    dg_status status = dg_dicom_parse(bytes, size, &d, reason);
    if (status != DG_OK)
        return status;
    info->width = d.columns;
    info->height = d.rows;
    info->channels = is_grey(&d) ? 1 : 3;
    info->bits = d.has_tables || (d.bits_stored > 8 && strncmp(d.photometric, "PALETTE", 7) != 0) ? 16 : 8;
    info->more_frames = d.frames > 1;
    info->own_scale = is_grey(&d);
    if (info->own_scale && !d.has_tables) {
        dg_grey_scale scale = dg_dicom_scale(&d, options);
        info->low = scale.low;
        info->high = scale.high;
        scale = dg_dicom_range(&d);
        info->least = scale.low;
        info->most = scale.high;
        info->inverted = strcmp(d.photometric, "MONOCHROME1") == 0;
    }
    /* Native pixels are known to be there; compressed ones may be blank, of which few bytes are enough. */
    status = dg_sniff_size(info, options, reason);
    if (status == DG_OK && d.encapsulated && (int64_t)d.rows * d.columns > DG_SNIFF_BELIEVED_PIXELS)
        status = dg_sniff_limits(info, size, options, reason);
    return status;
}

static void set_window(dg_dcmtk_request *request, const dg_decode_options *options) {
    if (!options || !options->window)
        return;
    request->window = true;
    request->width = options->window_hi - options->window_lo + 1;
    request->center = options->window_lo + request->width / 2;
}

dg_status dg_dicom_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options,
                          const dg_image_info *info, void **pixels, int *components, char *reason) {
    dg_status status = DG_OK;
    dg_dicom d;
    uint8_t *extract = NULL;
    void *frame = NULL;
    const char *why = NULL;
    size_t extract_size = 0, count = (size_t)info->width * (size_t)info->height;
    *components = info->channels;
    DG_TRY(dg_dicom_parse(bytes, size, &d, reason));
    DG_TRY(dg_dicom_extract(bytes, &d, &extract, &extract_size, reason));
    dg_dcmtk_request request = {.columns = info->width,
                                .rows = info->height,
                                .grey = info->channels == 1,
                                .rendered = info->channels == 3 || d.has_tables,
                                .bits = info->bits};
    set_window(&request, options);
    frame = calloc(count, request.rendered ? (size_t)info->channels * (size_t)info->bits / 8 : sizeof(int32_t));
    if (!frame) {
        status = DG_ENOMEM;
        goto done;
    }
    status = dg_dcmtk_frame(extract, extract_size, &request, frame, &why);
    if (status == DG_EDATA)
        dg_image_refuse(reason, "damaged DICOM, or a form of it that DCMTK does not read: %s", why);
    if (status != DG_OK)
        goto done;
    if (request.rendered) {
        *pixels = frame;
        frame = NULL;
        goto done;
    }
    *pixels = malloc(count * (size_t)info->bits / 8);
    if (*pixels)
        dg_dicom_values(&d, options, frame, count, info->bits, *pixels);
    else
        status = DG_ENOMEM;
done:
    free(frame);
    free(extract);
    return status;
}
