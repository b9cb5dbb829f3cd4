/* TIFF through libtiff: grey, RGB and palette of 1 to 16 bits, strips or tiles, in one plane or several, with whatever
 * compression the library was built with. The library hands out strips and tiles as they are stored; what their bits
 * mean is worked out here, so that 12 and 16 bits keep their precision. Everything else is refused in words.
 * Signed values are moved up by half of their range, so that the order of values is kept and 0 becomes the middle.
 * ref  Adobe, TIFF 6.0 */
#include "decode/decoders.h"
#include "decode/orientation.h"
#include "decode/sniff.h"

#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

enum { MAX_SAMPLES = 8, MAX_PAGES = 64, TAG_DNG_VERSION = 50706 };

/* A file in memory, as libtiff wants to see files. */
typedef struct source {
    const uint8_t *bytes;
    size_t size, at;
    char *reason; /* the library's first error goes here */
    bool damaged; /* it told of one */
} source;

/* The first page's form. */
typedef struct page {
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, sample_format, compression, orientation;
    uint16_t components; /* 1..4 of the samples are read */
    bool premultiplied, more;
    uint16_t *map[3]; /* palette; the library's */
    const dg_decode_options *options;
} page;

static tmsize_t read_bytes(thandle_t handle, void *buffer, tmsize_t wanted) {
    source *s = handle;
    size_t left = s->at < s->size ? s->size - s->at : 0, n = (size_t)wanted < left ? (size_t)wanted : left;
    memcpy(buffer, s->bytes + s->at, n);
    s->at += n;
    return (tmsize_t)n;
}

static tmsize_t write_nothing(thandle_t handle, void *buffer, tmsize_t wanted) {
    (void)handle, (void)buffer, (void)wanted;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    source *s = handle;
    toff_t from = whence == SEEK_CUR ? s->at : whence == SEEK_END ? s->size : 0;
    if (offset > s->size || from + offset > s->size)
        return (toff_t)-1;
    s->at = (size_t)(from + offset);
    return s->at;
}

static int close_nothing(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle) {
    return ((source *)handle)->size;
}

static int map_bytes(thandle_t handle, void **base, toff_t *size) {
    source *s = handle;
    *base = (void *)(uintptr_t)s->bytes;
    *size = s->size;
    return 1;
}

static void unmap_nothing(thandle_t handle, void *base, toff_t size) {
    (void)handle, (void)base, (void)size;
}

static int on_error(TIFF *tiff, void *user, const char *module, const char *format, va_list args) {
    source *s = user;
    char text[96];
    (void)tiff, (void)module;
    if (!s->damaged) {
        vsnprintf(text, sizeof text, format, args);
        for (char *c = text; *c; c++)
            *c = *c < 0x20 || *c > 0x7e ? '?' : *c; /* it may quote the file */
        dg_image_refuse(s->reason, "damaged TIFF (%s)", text);
    }
    s->damaged = true;
    return 1;
}

/* Warnings are mostly about private tags. That JPEG data end early is one as well, and is damage. */
static int on_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list args) {
    char text[96];
    vsnprintf(text, sizeof text, format, args);
    if (strstr(text, "Premature end"))
        return on_error(tiff, user, module, format, args);
    return 1;
}

/* limit_bytes: the most the library may allocate at once. */
static TIFF *open_source(source *s, size_t limit_bytes) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return NULL;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, (tmsize_t)limit_bytes);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, s);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, s);
    TIFF *tiff = TIFFClientOpenExt("image", "r", s, read_bytes, write_nothing, seek, close_nothing, size_of, map_bytes,
                                   unmap_nothing, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

static bool is_thumbnail(TIFF *tiff) {
    uint32_t kind = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &kind);
    return (kind & (FILETYPE_REDUCEDIMAGE | FILETYPE_MASK)) != 0;
}

/* Goes to the first page that is not a preview of another one, if there is such a page. */
static bool choose_page(TIFF *tiff, bool *more) {
    tdir_t chosen = 0;
    for (int i = 0; i < MAX_PAGES; i++) {
        if (!is_thumbnail(tiff)) {
            chosen = TIFFCurrentDirectory(tiff);
            break;
        }
        if (TIFFLastDirectory(tiff) || !TIFFReadDirectory(tiff))
            break;
    }
    if (TIFFCurrentDirectory(tiff) != chosen && !TIFFSetDirectory(tiff, chosen))
        return false;
    *more = !TIFFLastDirectory(tiff);
    return true;
}

static const char *compression_name(uint16_t compression) {
    const TIFFCodec *codec = TIFFFindCODEC(compression);
    return codec ? codec->name : "unknown";
}

/* Which of the samples are read, and whether the fourth or second of them is alpha. */
static dg_status choose_components(TIFF *tiff, page *p, char *reason) {
    uint16_t extra_count = 0, *extra = NULL;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extra_count, &extra);
    uint16_t colours = p->photometric == PHOTOMETRIC_RGB ? 3 : 1;
    if (p->samples < colours || p->samples > MAX_SAMPLES)
        return dg_image_refuse(reason, "TIFF of %u samples a pixel is not supported", p->samples);
    bool alpha = extra_count > 0 && p->samples > colours && p->photometric != PHOTOMETRIC_PALETTE &&
                 (extra[0] == EXTRASAMPLE_ASSOCALPHA || extra[0] == EXTRASAMPLE_UNASSALPHA);
    if (p->samples > colours + 1 && colours == 1)
        return dg_image_refuse(reason, "TIFF of %u bands is not supported; write grey or RGB", p->samples);
    p->components = (uint16_t)(colours + alpha);
    p->premultiplied = alpha && extra[0] == EXTRASAMPLE_ASSOCALPHA;
    return DG_OK;
}

static dg_status check_form(TIFF *tiff, page *p, char *reason) {
    uint16_t *version = NULL, version_count = 0;
    if (TIFFGetField(tiff, TAG_DNG_VERSION, &version_count, &version))
        return dg_image_refuse(reason, "a camera's raw image (DNG), which is not read; convert it to PNG or JPEG");
    if (p->sample_format == SAMPLEFORMAT_IEEEFP || p->bits > 16)
        return dg_image_refuse(reason, "TIFF of %u-bit %s values is not supported; scale them to 16-bit integers",
                               p->bits, p->sample_format == SAMPLEFORMAT_IEEEFP ? "floating-point" : "integer");
    if (p->sample_format > SAMPLEFORMAT_INT && p->sample_format != SAMPLEFORMAT_VOID)
        return dg_image_refuse(reason, "TIFF of complex values is not supported");
    if (!TIFFIsCODECConfigured(p->compression))
        return dg_image_refuse(reason, "TIFF compression %s (%u) is not supported by libtiff here; save it as LZW",
                               compression_name(p->compression), p->compression);
    switch (p->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_RGB:
        break;
    case PHOTOMETRIC_PALETTE:
        if (p->bits > 8 || !TIFFGetField(tiff, TIFFTAG_COLORMAP, &p->map[0], &p->map[1], &p->map[2]))
            return dg_image_refuse(reason, "damaged TIFF: no palette");
        break;
    case PHOTOMETRIC_SEPARATED:
        return dg_image_refuse(reason, "CMYK TIFF is not supported; convert it to RGB");
    default:
        return dg_image_refuse(reason, "TIFF of colour model %u is not supported; convert it to grey or RGB",
                               p->photometric);
    }
    return choose_components(tiff, p, reason);
}

static dg_status read_page(TIFF *tiff, page *p, char *reason) {
    *p = (page){0};
    p->photometric = 0xffff;
    if (!choose_page(tiff, &p->more) || !TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &p->width) ||
        !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &p->height) || p->width > INT32_MAX || p->height > INT32_MAX)
        return dg_image_refuse(reason, "damaged TIFF: no width and height");
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &p->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &p->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &p->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &p->sample_format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &p->compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &p->orientation);
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &p->photometric))
        p->photometric = p->samples >= 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK;
    if (p->photometric == PHOTOMETRIC_YCBCR && p->compression == COMPRESSION_JPEG) {
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB); /* the library converts */
        p->photometric = PHOTOMETRIC_RGB;
    }
    return check_form(tiff, p, reason);
}

/* Is the palette grey? Of 16-bit entries the high byte counts, unless a writer left them at 8 bits. */
static bool grey_palette(const page *p) {
    for (size_t i = 0; i < (size_t)1 << p->bits; i++)
        if (p->map[0][i] != p->map[1][i] || p->map[0][i] != p->map[2][i])
            return false;
    return true;
}

static int palette_shift(const page *p) {
    for (size_t i = 0; i < (size_t)3 << p->bits; i++)
        if (p->map[i >> p->bits][i & (((size_t)1 << p->bits) - 1)] > 255)
            return 8;
    return 0;
}

dg_status dg_tiff_probe(const uint8_t *bytes, size_t size, const dg_decode_options *options, dg_image_info *info,
                        char *reason) {
    dg_status status = DG_OK;
    source s = {.bytes = bytes, .size = size, .reason = reason};
    page p;
    TIFF *tiff = open_source(&s, ((size_t)1 << 20) + 4 * size);
    if (!tiff)
        return s.damaged ? DG_EDATA : dg_image_refuse(reason, "damaged TIFF: no directory in it");
    DG_TRY(read_page(tiff, &p, reason));
    info->width = (int)p.width;
    info->height = (int)p.height;
    info->channels =
        p.photometric == PHOTOMETRIC_RGB || (p.photometric == PHOTOMETRIC_PALETTE && !grey_palette(&p)) ? 3 : 1;
    info->bits = p.bits > 8 ? 16 : 8;
    info->alpha = p.components % 2 == 0;
    info->orientation = p.orientation;
    info->more_frames = p.more;
    info->own_scale = p.sample_format == SAMPLEFORMAT_INT;
    info->least = -(double)((uint32_t)1 << (p.bits - 1));
    info->most = -info->least - 1;
    info->low = options && options->window ? options->window_lo : info->least;
    info->high = options && options->window ? options->window_hi : info->most;
    info->inverted = p.photometric == PHOTOMETRIC_MINISWHITE;
    DG_TRY(dg_sniff_size(info, options, reason));
    if ((int64_t)info->width * info->height > DG_SNIFF_BELIEVED_PIXELS)
        DG_TRY(dg_sniff_limits(info, size, options, reason));
done:
    TIFFClose(tiff);
    return status;
}

/* Where the samples of one strip or tile go: a rectangle of the image, clipped to it. */
typedef struct block {
    const uint8_t *bytes;
    size_t row_bytes, samples; /* of one row of it; samples a pixel in it */
    uint32_t left, top, columns, rows;
    int plane; /* the component that it holds, or -1: all */
} block;

/* Sample number `index` of a row, `bits` wide; libtiff has put 16-bit values into this machine's order. */
static uint32_t stored_sample(const uint8_t *row, size_t index, int bits) {
    if (bits == 8)
        return row[index];
    if (bits == 16) {
        uint16_t value;
        memcpy(&value, row + 2 * index, sizeof value);
        return value;
    }
    uint32_t value = 0;
    for (size_t bit = index * (size_t)bits, end = bit + (size_t)bits; bit < end; bit++)
        value = value << 1 | (row[bit / 8] >> (7 - bit % 8) & 1);
    return value;
}

/* From the file's bits to the full range of 8 or 16. */
static uint32_t full_range(const page *p, uint32_t value) {
    uint32_t max = ((uint32_t)1 << p->bits) - 1, full = p->bits > 8 ? 65535 : 255;
    return max == full ? value : (value * full + max / 2) / max;
}

/* A signed value through the options' window. */
static uint32_t windowed(const page *p, uint32_t value) {
    double full = p->bits > 8 ? 65535 : 255, signed_value = value;
    if (value >> (p->bits - 1))
        signed_value -= (double)((uint32_t)1 << p->bits);
    double share = (signed_value - p->options->window_lo) / (p->options->window_hi - p->options->window_lo);
    share = share > 0 ? share < 1 ? share : 1 : 0;
    return (uint32_t)((p->photometric == PHOTOMETRIC_MINISWHITE ? 1 - share : share) * full + 0.5);
}

static uint32_t component_value(const page *p, uint32_t value, bool alpha) {
    if (alpha)
        return full_range(p, value);
    if (p->sample_format == SAMPLEFORMAT_INT && p->options && p->options->window)
        return windowed(p, value);
    if (p->sample_format == SAMPLEFORMAT_INT)
        value ^= (uint32_t)1 << (p->bits - 1);
    if (p->photometric == PHOTOMETRIC_MINISWHITE)
        value = (((uint32_t)1 << p->bits) - 1) - value;
    return full_range(p, value);
}

static void store(const page *p, void *pixels, size_t index, uint32_t value) {
    if (p->bits > 8)
        ((uint16_t *)pixels)[index] = (uint16_t)value;
    else
        ((uint8_t *)pixels)[index] = (uint8_t)value;
}

static void store_palette(const page *p, void *pixels, size_t pixel, int channels, uint32_t entry, int shift) {
    for (int c = 0; c < channels; c++)
        ((uint8_t *)pixels)[pixel * (size_t)channels + (size_t)c] = (uint8_t)(p->map[c][entry] >> shift);
}

static void place(const page *p, const block *b, const dg_image_info *info, void *pixels) {
    int shift = p->photometric == PHOTOMETRIC_PALETTE ? palette_shift(p) : 0;
    size_t first = b->plane < 0 ? 0 : (size_t)b->plane, last = b->plane < 0 ? p->components : first + 1;
    for (size_t y = 0; y < b->rows && b->top + y < p->height; y++) {
        const uint8_t *row = b->bytes + y * b->row_bytes;
        for (size_t x = 0; x < b->columns && b->left + x < p->width; x++) {
            size_t pixel = (b->top + y) * p->width + b->left + x;
            if (p->photometric == PHOTOMETRIC_PALETTE) {
                store_palette(p, pixels, pixel, info->channels, stored_sample(row, x * b->samples, p->bits), shift);
                continue;
            }
            for (size_t c = first; c < last; c++) {
                uint32_t value = stored_sample(row, x * b->samples + (c - first), p->bits);
                bool alpha = p->components % 2 == 0 && c + 1 == p->components;
                store(p, pixels, pixel * p->components + c, component_value(p, value, alpha));
            }
        }
    }
}

/* Takes back that colours were multiplied by alpha. */
static void divide_by_alpha(const page *p, void *pixels) {
    uint32_t max = p->bits > 8 ? 65535 : 255;
    size_t pixel_count = (size_t)p->width * p->height, n = p->components;
    for (size_t i = 0; i < pixel_count; i++) {
        for (size_t c = 0; c + 1 < n; c++) {
            size_t at = i * n + c, alpha_at = i * n + n - 1;
            uint32_t v = p->bits > 8 ? ((uint16_t *)pixels)[at] : ((uint8_t *)pixels)[at];
            uint32_t a = p->bits > 8 ? ((uint16_t *)pixels)[alpha_at] : ((uint8_t *)pixels)[alpha_at];
            uint64_t straight = a ? ((uint64_t)v * max + a / 2) / a : max;
            store(p, pixels, at, straight < max ? (uint32_t)straight : max);
        }
    }
}

typedef struct grid {
    bool tiled;
    uint32_t columns, rows; /* of a block */
    size_t row_bytes, bytes, samples;
    uint32_t planes;
} grid;

/* The form of the strips or tiles, refused where they are much larger than the image that they make. */
static dg_status read_grid(TIFF *tiff, const page *p, grid *g, char *reason) {
    *g = (grid){.tiled = TIFFIsTiled(tiff), .columns = p->width, .planes = 1, .samples = p->samples};
    if (g->tiled) {
        if (!TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &g->columns) || !TIFFGetField(tiff, TIFFTAG_TILELENGTH, &g->rows))
            return dg_image_refuse(reason, "damaged TIFF: tiles without a size");
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &g->rows);
        g->rows = g->rows < p->height ? g->rows : p->height;
    }
    uint64_t most = 4 * (uint64_t)p->width * p->height;
    most = most > 1 << 22 ? most : 1 << 22;
    if (g->columns == 0 || g->rows == 0 || (uint64_t)g->columns * g->rows > most)
        return dg_image_refuse(reason, "damaged TIFF: tiles of %u x %u pixels", g->columns, g->rows);
    if (p->planar == PLANARCONFIG_SEPARATE) {
        g->planes = p->components;
        g->samples = 1;
    }
    g->row_bytes = ((size_t)g->columns * g->samples * p->bits + 7) / 8;
    g->bytes = g->row_bytes * g->rows;
    tmsize_t row = g->tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
    if (row != (tmsize_t)g->row_bytes)
        return dg_image_refuse(reason, "TIFF with subsampled or otherwise unusual rows is not supported");
    return DG_OK;
}

static dg_status read_blocks(TIFF *tiff, const page *p, const dg_image_info *info, const source *s, void *pixels,
                             char *reason) {
    dg_status status = DG_OK;
    grid g;
    uint8_t *buffer = NULL;
    DG_TRY(read_grid(tiff, p, &g, reason));
    buffer = calloc(1, g.bytes);
    if (!buffer) {
        status = DG_ENOMEM;
        goto done;
    }
    uint32_t across = (p->width - 1) / g.columns + 1, down = (p->height - 1) / g.rows + 1, number = 0;
    for (uint32_t plane = 0; plane < g.planes; plane++) {
        for (uint32_t i = 0; i < across * down; i++, number++) {
            block b = {.bytes = buffer,
                       .row_bytes = g.row_bytes,
                       .samples = g.samples,
                       .left = i % across * g.columns,
                       .top = i / across * g.rows,
                       .columns = g.columns,
                       .rows = g.rows,
                       .plane = g.planes > 1 ? (int)plane : -1};
            uint32_t rows = g.tiled || p->height - b.top > g.rows ? g.rows : p->height - b.top;
            tmsize_t wanted = (tmsize_t)(g.row_bytes * rows);
            tmsize_t got = g.tiled ? TIFFReadEncodedTile(tiff, number, buffer, wanted)
                                   : TIFFReadEncodedStrip(tiff, number, buffer, wanted);
            if (got != wanted || s->damaged) {
                status = s->damaged ? DG_EDATA : dg_image_refuse(reason, "truncated TIFF: pixel data ends early");
                goto done;
            }
            place(p, &b, info, pixels);
        }
    }
done:
    free(buffer);
    return status;
}

dg_status dg_tiff_decode(const uint8_t *bytes, size_t size, const dg_decode_options *options, const dg_image_info *info,
                         void **pixels, int *components, char *reason) {
    dg_status status = DG_OK;
    source s = {.bytes = bytes, .size = size, .reason = reason};
    page p;
    size_t count = (size_t)info->width * (size_t)info->height;
    TIFF *tiff = open_source(&s, ((size_t)1 << 22) + 4 * size + count * 4 * MAX_SAMPLES * 2);
    if (!tiff)
        return s.damaged ? DG_EDATA : dg_image_refuse(reason, "damaged TIFF: no directory in it");
    DG_TRY(read_page(tiff, &p, reason));
    if (p.width != (uint32_t)info->width || p.height != (uint32_t)info->height) {
        status = dg_image_refuse(reason, "damaged TIFF: its first page cannot be found again");
        goto done;
    }
    p.options = options;
    s.damaged = false; /* of tags that nobody needs */
    *components = p.photometric == PHOTOMETRIC_PALETTE ? info->channels : p.components;
    *pixels = calloc(count, (size_t)*components * (size_t)info->bits / 8);
    if (!*pixels) {
        status = DG_ENOMEM;
        goto done;
    }
    DG_TRY(read_blocks(tiff, &p, info, &s, *pixels, reason));
    if (p.premultiplied)
        divide_by_alpha(&p, *pixels);
done:
    TIFFClose(tiff);
    return status;
}
