#include "decode/recognise.h"

#include "decode/sniff.h"
#include "formats/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SLICES "write its slices as PNG, TIFF or DICOM, one file for each image"
#define PHOTO "convert it to PNG, TIFF or JPEG in the camera maker's program, darktable or RawTherapee"
#define UNPACK "write its images into one folder for each class"

/* What people have besides the formats that are read. Extensions are separated by spaces. */
static const struct {
    dg_foreign foreign;
    const char *extensions;
} known[] = {
    {{"an AVIF image", "convert it to PNG (avifdec IN.avif OUT.png)", DG_FILE_FOREIGN_IMAGE}, ".avif .avifs"},
    {{"a HEIC image", "convert it to PNG or JPEG (heif-convert IN.heic OUT.png)", DG_FILE_FOREIGN_IMAGE},
     ".heic .heif .hif"},
    {{"a JPEG 2000 image", "convert it to PNG (opj_decompress -i IN.jp2 -o OUT.png)", DG_FILE_FOREIGN_IMAGE},
     ".jp2 .j2k .j2c .jpx .jpf .jpc"},
    {{"a JPEG XL image", "convert it to PNG (djxl IN.jxl OUT.png)", DG_FILE_FOREIGN_IMAGE}, ".jxl"},
    {{"a NIfTI volume", SLICES " (nibabel in Python, or med2image)", DG_FILE_FOREIGN_IMAGE}, ".nii .nii.gz"},
    {{"an Analyze or NIfTI volume", SLICES " (nibabel in Python)", DG_FILE_FOREIGN_IMAGE}, ".hdr.gz .img.gz"},
    {{"a MetaImage volume", SLICES " (SimpleITK in Python)", DG_FILE_FOREIGN_IMAGE}, ".mha .mhd"},
    {{"an NRRD volume", SLICES " (SimpleITK in Python)", DG_FILE_FOREIGN_IMAGE}, ".nrrd .nhdr"},
    {{"a whole-slide image", "cut it into tiles (vips dzsave IN.svs OUT --suffix .png)", DG_FILE_FOREIGN_IMAGE},
     ".svs .ndpi .scn .mrxs .vms .bif"},
    {{"a Photoshop file", "save it as PNG", DG_FILE_FOREIGN_IMAGE}, ".psd .psb"},
    {{"an SVG drawing", "draw it as PNG (rsvg-convert -o OUT.png IN.svg)", DG_FILE_FOREIGN_IMAGE}, ".svg .svgz"},
    {{"an OpenEXR image", "convert it to 16-bit PNG or TIFF", DG_FILE_FOREIGN_IMAGE}, ".exr"},
    {{"a Radiance HDR image", "convert it to 16-bit PNG or TIFF", DG_FILE_FOREIGN_IMAGE}, ".hdr"},
    {{"a camera's raw image", PHOTO, DG_FILE_FOREIGN_IMAGE}, ".dng .cr2 .cr3 .nef .arw .orf .rw2 .raf"},
    {{"a NumPy array", "write its images as PNG (Image.fromarray of Pillow)", DG_FILE_FOREIGN_DATA}, ".npy"},
    {{"a Parquet table", UNPACK " (load_dataset of the Python package datasets reads it)", DG_FILE_FOREIGN_DATA},
     ".parquet"},
    {{"an Arrow table", UNPACK " (load_from_disk of the Python package datasets reads it)", DG_FILE_FOREIGN_DATA},
     ".arrow"},
    {{"an LMDB database", UNPACK " (the Python package lmdb reads it)", DG_FILE_FOREIGN_DATA}, ".mdb .lmdb"},
    {{"a TFRecord file", UNPACK " (tf.data.TFRecordDataset reads it)", DG_FILE_FOREIGN_DATA}, ".tfrecord .tfrecords"},
    {{"an HDF5 file", UNPACK " (the Python package h5py reads it)", DG_FILE_FOREIGN_DATA}, ".h5 .hdf5 .hdf"},
    {{"a 7z archive", "unpack it (7z x IN)", DG_FILE_FOREIGN_DATA}, ".7z"},
    {{"a RAR archive", "unpack it (unrar x IN, or 7z x IN)", DG_FILE_FOREIGN_DATA}, ".rar"},
    {{"a MATLAB file", UNPACK " (scipy.io.loadmat in Python, h5py for version 7.3)", DG_FILE_FOREIGN_DATA}, ".mat"},
    {{"a Python pickle", UNPACK " (pickle.load in Python, of files that you trust)", DG_FILE_FOREIGN_DATA},
     ".pkl .pickle"},
    {{"a video", "write its frames as PNG (ffmpeg -i IN OUT-%06d.png)", DG_FILE_FOREIGN_DATA},
     ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg"},
    {{"a PDF document", "write its pages as PNG (pdftoppm -png IN.pdf OUT)", DG_FILE_FOREIGN_DATA}, ".pdf"},
};

static const dg_foreign *foreign_named(const char *word) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strstr(known[i].foreign.name, word))
            return &known[i].foreign;
    return NULL;
}

/* Does the name end with one of the extensions? */
static bool ends_with_one(const char *name, const char *extensions) {
    char one[16];
    while (*extensions) {
        size_t length = strcspn(extensions, " ");
        memcpy(one, extensions, length);
        one[length] = 0;
        if (dg_path_ends_with(name, one))
            return true;
        extensions += length + (extensions[length] == ' ');
    }
    return false;
}

/* TFRecord files are often called train.tfrecord-00003-of-00010. */
static bool is_record_shard(const char *name) {
    const char *at = strstr(name, ".tfrecord");
    return at && (at[9] == 0 || at[9] == '-' || at[9] == '.' || at[9] == 's');
}

bool dg_recognise_name(const char *path, dg_file_kind *kind, const dg_foreign **foreign) {
    static const char images[] = ".png .apng .jpg .jpeg .jpe .jfif .bmp .dib .tga .gif .pnm .pgm .ppm .pbm .webp .tif "
                                 ".tiff .btf .dcm .dicom .dic .ima";
    static const char others[] = ".txt .csv .tsv .json .jsonl .ndjson .cls .md .rst .xml .html .htm .yaml .yml .toml "
                                 ".ini .py .ipynb .m .mat .r .sh .log .pt .pth .pkl .pickle .safetensors .ckpt .npz "
                                 ".xls .xlsx .doc .docx .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .db .sqlite .lock";
    const char *name = dg_path_name(path);
    *foreign = NULL;
    *kind = DG_FILE_OTHER;
    if (ends_with_one(name, images)) {
        *kind = DG_FILE_IMAGE;
        return true;
    }
    const dg_foreign *found = is_record_shard(name) ? foreign_named("TFRecord") : NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && !found; i++)
        if (ends_with_one(name, known[i].extensions))
            found = &known[i].foreign;
    if (found) {
        *foreign = found;
        *kind = found->kind;
        return true;
    }
    /* Every DICOM medium has an index of that name, which is DICOM too, but holds no image. */
    return ends_with_one(name, others) || strcmp(name, "DICOMDIR") == 0 || dg_path_is_idx_images(name) ||
           strstr(name, "idx1-ubyte");
}

static bool starts(const uint8_t *head, size_t size, size_t at, const char *magic, size_t length) {
    return size >= at + length && memcmp(head + at, magic, length) == 0;
}
#define STARTS(at, magic) starts(head, size, at, magic, sizeof(magic) - 1)

/* "P5", white space or a comment, and then only what a header may hold up to its first digits. */
static bool is_pnm(const uint8_t *head, size_t size) {
    if (size < 8 || head[0] != 'P' || head[1] < '1' || head[1] > '6' || !memchr(" \t\r\n#", head[2], 5))
        return false;
    size_t at = 2, numbers = 0;
    while (at < size && numbers < 2) {
        if (head[at] == '#') {
            while (at < size && head[at] != '\n')
                at++;
        } else if (head[at] >= '0' && head[at] <= '9') {
            while (at < size && head[at] >= '0' && head[at] <= '9')
                at++;
            numbers++;
        } else if (!memchr(" \t\r\n", head[at], 4)) {
            return false;
        } else {
            at++;
        }
    }
    return numbers == 2;
}

static bool is_bmp(const uint8_t *head, size_t size) {
    if (size < 26 || head[0] != 'B' || head[1] != 'M')
        return false;
    uint32_t header = dg_le32(head + 14);
    return header == 12 || header == 40 || header == 52 || header == 56 || header == 64 || header == 108 ||
           header == 124;
}

/* Old DICOM files lack the preamble: they begin with an element of group 8, in the order of the standard. */
static bool is_bare_dicom(const uint8_t *head, size_t size) {
    if (size < 132 || dg_le16(head) != 8 || dg_le16(head + 2) > 0x18)
        return false;
    bool explicit_vr = head[4] >= 'A' && head[4] <= 'Z' && head[5] >= 'A' && head[5] <= 'Z';
    uint32_t length = explicit_vr ? dg_le16(head + 6) : dg_le32(head + 4);
    return length < 128 && length % 2 == 0 && size >= 10 + length && dg_le16(head + 8 + length) == 8;
}

bool dg_recognise_dicom(const uint8_t *head, size_t size) {
    return STARTS(128, "DICM") || is_bare_dicom(head, size);
}

static bool is_image(const uint8_t *head, size_t size) {
    return STARTS(0, "\x89PNG\r\n\x1a\n") || STARTS(0, "\xff\xd8\xff") || STARTS(0, "GIF87a") || STARTS(0, "GIF89a") ||
           (STARTS(0, "RIFF") && STARTS(8, "WEBP")) || STARTS(0, "II*\0") || STARTS(0, "MM\0*") ||
           STARTS(0, "II+\0\x08\0\0\0") || STARTS(0, "MM\0+\0\x08\0\0") || is_bmp(head, size) || is_pnm(head, size) ||
           dg_recognise_dicom(head, size);
}

/* A TFRecord begins with the length of its first record and that length's checksum, which chance does not get right. */
static bool is_tfrecord(const uint8_t *head, size_t size) {
    if (size < 16)
        return false;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < 8; i++) {
        crc ^= head[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0); /* CRC-32C */
    }
    crc = ~crc;
    return dg_le32(head + 8) == (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ISO media files name their kind behind "ftyp". */
static const char *iso_media(const uint8_t *head, size_t size) {
    if (!STARTS(4, "ftyp"))
        return NULL;
    if (STARTS(8, "avif") || STARTS(8, "avis"))
        return "AVIF";
    if (STARTS(8, "crx "))
        return "camera";
    if (STARTS(8, "hei") || STARTS(8, "hev") || STARTS(8, "mif1") || STARTS(8, "msf1"))
        return memmem(head, size < 32 ? size : 32, "avif", 4) ? "AVIF" : "HEIC";
    if (STARTS(8, "jp2 ") || STARTS(8, "jpx "))
        return "JPEG 2000";
    return "video";
}

static bool is_svg(const uint8_t *head, size_t size) {
    return STARTS(0, "<svg") || ((STARTS(0, "<?xml") || STARTS(0, "<!DOC")) && memmem(head, size, "<svg", 4));
}

static const char *foreign_word(const uint8_t *head, size_t size) {
    if (iso_media(head, size))
        return iso_media(head, size);
    if (STARTS(0, "\0\0\0\x0cjP  ") || STARTS(0, "\xff\x4f\xff\x51"))
        return "JPEG 2000";
    if (STARTS(0, "\xff\x0a") || STARTS(0, "\0\0\0\x0cJXL "))
        return "JPEG XL";
    if (STARTS(344, "n+1") || STARTS(344, "ni1") || STARTS(4, "n+2\0") || STARTS(4, "ni2\0"))
        return "NIfTI";
    if (STARTS(0, "ObjectType") && memmem(head, size, "NDims", 5))
        return "MetaImage";
    if (STARTS(0, "NRRD000"))
        return "NRRD";
    if (STARTS(0, "8BPS"))
        return "Photoshop";
    if (is_svg(head, size))
        return "SVG";
    if (STARTS(0, "\x76\x2f\x31\x01"))
        return "OpenEXR";
    if (STARTS(0, "#?RADIANCE") || STARTS(0, "#?RGBE"))
        return "Radiance";
    if (STARTS(0, "\x93NUMPY"))
        return "NumPy";
    if (STARTS(0, "PAR1"))
        return "Parquet";
    if (STARTS(0, "ARROW1"))
        return "Arrow";
    if (STARTS(16, "\xde\xc0\xef\xbe"))
        return "LMDB";
    if (STARTS(0, "\x89HDF\r\n\x1a\n"))
        return "HDF5";
    if ((STARTS(0, "RIFF") && STARTS(8, "AVI ")) || STARTS(0, "\x1a\x45\xdf\xa3"))
        return "video";
    if (STARTS(0, "%PDF-"))
        return "PDF";
    if (STARTS(0, "MATLAB 5.0 MAT-file"))
        return "MATLAB";
    /* Protocols 2 to 5, and what such a file mostly begins with: CIFAR's data_batch_1 has no extension. */
    if (STARTS(0, "\x80\x02}") || STARTS(0, "\x80\x03}") || STARTS(0, "\x80\x04\x95") || STARTS(0, "\x80\x05\x95"))
        return "pickle";
    return is_tfrecord(head, size) ? "TFRecord" : NULL;
}

dg_file_kind dg_recognise_bytes(const uint8_t *head, size_t size, const dg_foreign **foreign) {
    size = size < DG_RECOGNISE_BYTES ? size : DG_RECOGNISE_BYTES;
    *foreign = NULL;
    if (is_image(head, size))
        return DG_FILE_IMAGE;
    const char *word = foreign_word(head, size);
    if (!word)
        return DG_FILE_OTHER;
    *foreign = foreign_named(word);
    return (*foreign)->kind;
}

dg_file_kind dg_recognise_file(const char *absolute, const dg_foreign **foreign) {
    dg_file_kind kind;
    uint8_t head[DG_RECOGNISE_BYTES];
    if (dg_recognise_name(absolute, &kind, foreign))
        return kind;
    int fd = open(absolute, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return DG_FILE_OTHER;
    size_t got = 0;
    while (got < sizeof head) {
        ssize_t n = read(fd, head + got, sizeof head - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    close(fd);
    return dg_recognise_bytes(head, got, foreign);
}
