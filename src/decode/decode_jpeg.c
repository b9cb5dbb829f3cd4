/* JPEG through libjpeg. The library paints grey over what a damaged file lacks and goes on with a warning; here the
 * warnings that are about lost pixels end the decoding, and a progressive image must have got all of its scans, because
 * half an image that looks whole is worse than none. */
#include "decode/decode_jpeg.h"
#include "decode/sniff.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>

/* Refining scans that each touch all of a large image are how a small file keeps a decoder busy for hours. */
enum { MAX_SCANS = 200 };

typedef struct decoder {
    struct jpeg_error_mgr errors; /* first: libjpeg hands it back */
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    char *reason;
    bool out_of_memory;
} decoder;

__attribute__((noreturn)) static void on_error(j_common_ptr common) {
    decoder *d = (decoder *)common->err;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    d->out_of_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
    dg_image_refuse(d->reason, "damaged JPEG (%s)", text);
    longjmp(d->back, 1);
}

static void on_message(j_common_ptr common, int level) {
    if (level >= 0)
        return; /* a trace */
    switch (common->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_JPEG_EOF:
        dg_image_refuse(((decoder *)common->err)->reason, "damaged JPEG: its pixel data end early");
        longjmp(((decoder *)common->err)->back, 1);
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
        on_error(common);
    default:
        return; /* stray bytes between segments, an odd colour note: no pixel is lost */
    }
}

static void on_text(j_common_ptr common) {
    (void)common;
}

static void on_progress(j_common_ptr common) {
    j_decompress_ptr jpeg = (j_decompress_ptr)common;
    if (jpeg->input_scan_number > MAX_SCANS) {
        dg_image_refuse(((decoder *)common->err)->reason, "damaged JPEG: more than %d scans", MAX_SCANS);
        longjmp(((decoder *)common->err)->back, 1);
    }
}

/* Have all scans of a progressive image come, down to the last bit of every coefficient? */
static bool all_scans_came(const struct jpeg_decompress_struct *jpeg) {
    if (!jpeg->progressive_mode || !jpeg->coef_bits)
        return true;
    for (int c = 0; c < jpeg->num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (jpeg->coef_bits[c][k] != 0)
                return false;
    return true;
}

/* Between the two, libjpeg jumps to d->back. */
static bool read_rows(struct jpeg_decompress_struct *jpeg, decoder *d, const dg_image_info *info, uint8_t *pixels) {
    size_t row_bytes = (size_t)info->width * (size_t)info->channels;
    jpeg->out_color_space = info->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(jpeg);
    if (jpeg->output_width != (JDIMENSION)info->width || jpeg->output_height != (JDIMENSION)info->height ||
        jpeg->output_components != info->channels) {
        dg_image_refuse(d->reason, "damaged image: header and data disagree about its size");
        return false;
    }
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = pixels + jpeg->output_scanline * row_bytes;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    if (!all_scans_came(jpeg)) {
        dg_image_refuse(d->reason, "damaged JPEG: some of its progressive scans are missing");
        return false;
    }
    jpeg_finish_decompress(jpeg);
    return true;
}

dg_status dg_jpeg_decode(const uint8_t *bytes, size_t size, const dg_image_info *info, size_t budget_bytes,
                         void **pixels, int *components, char *reason) {
    struct jpeg_decompress_struct jpeg = {0};
    decoder d = {.reason = reason, .progress = {.progress_monitor = on_progress}};
    uint8_t *out = calloc((size_t)info->width * (size_t)info->height, (size_t)info->channels);
    *components = info->channels;
    *pixels = out;
    if (!out)
        return DG_ENOMEM;
    jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    d.errors.output_message = on_text;
    if (setjmp(d.back)) {
        jpeg_destroy_decompress(&jpeg);
        return d.out_of_memory ? DG_ENOMEM : DG_EDATA;
    }
    jpeg_create_decompress(&jpeg);
    jpeg.mem->max_memory_to_use = (long)budget_bytes;
    jpeg.progress = &d.progress;
    jpeg_mem_src(&jpeg, bytes, (unsigned long)size);
    jpeg_read_header(&jpeg, TRUE);
    bool whole = read_rows(&jpeg, &d, info, out);
    jpeg_destroy_decompress(&jpeg);
    return whole ? DG_OK : DG_EDATA;
}
