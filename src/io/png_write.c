/* PNG encoding with libpng, into memory. */
#include "io/png.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>
#include <zlib.h>

/* libpng reports through longjmp: the error function keeps the text here and jumps back into encode(). */
typedef struct encoder {
    dg_str *out;
    char message[128];
    jmp_buf jump;
} encoder;

static void on_error(png_structp png, png_const_charp message) {
    encoder *e = png_get_error_ptr(png);
    strncpy(e->message, message, sizeof e->message - 1);
    longjmp(e->jump, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void on_write(png_structp png, png_bytep data, size_t size) {
    encoder *e = png_get_io_ptr(png);
    dg_str_append_bytes(e->out, data, size);
    if (!dg_str_ok(e->out))
        png_error(png, "out of memory");
}

static void on_flush(png_structp png) {
    (void)png;
}

static png_text international(const char *key, const char *text) {
    return (png_text){.compression = PNG_ITXT_COMPRESSION_NONE,
                      .key = (char *)(uintptr_t)key,
                      .text = (char *)(uintptr_t)text,
                      .itxt_length = strlen(text),
                      .lang = (char *)(uintptr_t) "",
                      .lang_key = (char *)(uintptr_t) ""};
}

static png_text latin(const char *key, const char *text) {
    return (png_text){.compression = PNG_TEXT_COMPRESSION_NONE,
                      .key = (char *)(uintptr_t)key,
                      .text = (char *)(uintptr_t)text,
                      .text_length = strlen(text)};
}

static bool is_ascii(const char *text) {
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return *text == '\0';
}

static void set_texts(png_structp png, png_infop info, const char *provenance, const char *parameters) {
    png_text texts[2];
    int count = 0;
    if (provenance)
        texts[count++] = international("diffgen", provenance);
    /* tEXt is Latin-1: UTF-8 goes into an iTXt of the same keyword, as Pillow does it. */
    if (parameters)
        texts[count++] =
            is_ascii(parameters) ? latin("parameters", parameters) : international("parameters", parameters);
    if (count > 0)
        png_set_text(png, info, texts, count);
}

/* Settings are fixed so that the same pixels give the same bytes. Every filter with run-length matching was the
 * smallest of all settings tried and one of the fastest: at 28x28 and 64x64 filtered rows hold runs, not repeats, and
 * zlib's search for repeats only costs time (docs/file-formats.md has the numbers). */
static void write_all(png_structp png, png_infop info, const dg_png_image *image, const char *provenance,
                      const char *parameters) {
    png_set_compression_level(png, 6);
    png_set_compression_strategy(png, Z_RLE);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_ALL_FILTERS);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, image->bits,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    set_texts(png, info, provenance, parameters);
    png_write_info(png, info);
    if (image->bits == 16)
        png_set_swap(png); /* to the format's big-endian */
    const size_t row_bytes = (size_t)(image->width * image->channels * (image->bits / 8));
    for (int64_t y = 0; y < image->height; y++)
        png_write_row(png, (png_const_bytep)image->pixels + (size_t)y * row_bytes);
    png_write_end(png, info);
}

dg_status dg_png_encode(dg_ctx *ctx, const dg_png_image *image, const char *provenance, const char *parameters,
                        dg_str *out) {
    encoder e = {.out = out};
    png_structp png = NULL;
    png_infop info = NULL;
    volatile dg_status status = DG_OK;
    if (image->width < 1 || image->height < 1 || image->width > 65535 || image->height > 65535 ||
        (image->channels != 1 && image->channels != 3) || (image->bits != 8 && image->bits != 16))
        return dg_fail(ctx, DG_EINVAL, "cannot write a PNG of %lldx%lld pixels, %d channels, %d bits",
                       (long long)image->width, (long long)image->height, image->channels, image->bits);
    dg_str_clear(out);
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &e, on_error, on_warning);
    info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        status = dg_fail(ctx, DG_ENOMEM, "out of memory for a PNG file");
    else if (setjmp(e.jump) != 0)
        status = dg_fail(ctx, dg_str_ok(out) ? DG_ERUNTIME : DG_ENOMEM, "cannot write a PNG: %s", e.message);
    else {
        png_set_write_fn(png, &e, on_write, on_flush);
        write_all(png, info, image, provenance, parameters);
    }
    png_destroy_write_struct(&png, &info);
    return status;
}
