#include "decode/dcmtk.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmimage/diregist.h>
#include <dcmtk/dcmimgle/dcmimage.h>
#include <dcmtk/dcmimgle/dipixel.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <new>

namespace {

/* DCMTK keeps its decoders and its log in globals: they are set up once, and the log, which would quote files on the
 * terminal, is turned off. */
struct Library {
    Library() {
        OFLog::configure(OFLogger::OFF_LOG_LEVEL);
        DcmRLEDecoderRegistration::registerCodecs();
        DJDecoderRegistration::registerCodecs();
        DJLSDecoderRegistration::registerCodecs();
    }
};

template <typename Value> void copy_stored(const DiPixel *pixel, size_t count, int32_t *out) {
    const Value *from = static_cast<const Value *>(pixel->getData());
    for (size_t i = 0; i < count; i++)
        out[i] = static_cast<int32_t>(from[i]);
}

dg_status stored_values(DicomImage &image, size_t count, void *pixels, const char **why) {
    const DiPixel *pixel = image.getInterData();
    int32_t *out = static_cast<int32_t *>(pixels);
    if (!pixel || !pixel->getData() || pixel->getCount() < count) {
        *why = "its pixel data end early";
        return DG_EDATA;
    }
    switch (pixel->getRepresentation()) {
    case EPR_Uint8:
        copy_stored<Uint8>(pixel, count, out);
        break;
    case EPR_Sint8:
        copy_stored<Sint8>(pixel, count, out);
        break;
    case EPR_Uint16:
        copy_stored<Uint16>(pixel, count, out);
        break;
    case EPR_Sint16:
        copy_stored<Sint16>(pixel, count, out);
        break;
    case EPR_Uint32:
        copy_stored<Uint32>(pixel, count, out);
        break;
    default:
        copy_stored<Sint32>(pixel, count, out);
        break;
    }
    return DG_OK;
}

dg_status rendered_values(DicomImage &image, const dg_dcmtk_request *request, size_t bytes, void *pixels,
                          const char **why) {
    if (request->grey) {
        bool set = request->window              ? image.setWindow(request->center, request->width) != 0
                   : image.getVoiLutCount() > 0 ? image.setVoiLut(0) != 0
                   : image.getWindowCount() > 0 ? image.setWindow(0) != 0
                                                : image.setNoVoiTransformation() != 0;
        if (!set) {
            *why = "its table of grey values cannot be used";
            return DG_EDATA;
        }
    }
    if (image.getOutputDataSize(request->bits) != bytes ||
        !image.getOutputData(pixels, static_cast<unsigned long>(bytes), request->bits)) {
        *why = "its pixels cannot be converted";
        return DG_EDATA;
    }
    return DG_OK;
}

dg_status read_frame(const uint8_t *file, size_t size, const dg_dcmtk_request *request, void *pixels,
                     const char **why) {
    static const Library library;
    (void)library;
    DcmInputBufferStream stream;
    DcmFileFormat format;
    stream.setBuffer(file, static_cast<offile_off_t>(size));
    stream.setEos();
    format.transferInit();
    OFCondition read = format.read(stream);
    format.transferEnd();
    if (read.bad()) {
        *why = "its elements cannot be read";
        return DG_EDATA;
    }
    DicomImage image(&format, format.getDataset()->getOriginalXfer(), CIF_UsePartialAccessToPixelData, 0, 1);
    if (image.getStatus() != EIS_Normal) {
        *why = image.getStatus() == EIS_MemoryFailure ? "the decoder lacks memory" : "its pixels cannot be decoded";
        return image.getStatus() == EIS_MemoryFailure ? DG_ENOMEM : DG_EDATA;
    }
    if (image.getWidth() != static_cast<unsigned long>(request->columns) ||
        image.getHeight() != static_cast<unsigned long>(request->rows) ||
        (image.isMonochrome() != 0) != request->grey) {
        *why = "header and data disagree about its form";
        return DG_EDATA;
    }
    size_t count = static_cast<size_t>(request->columns) * static_cast<size_t>(request->rows);
    if (request->grey && !request->rendered)
        return stored_values(image, count, pixels, why);
    size_t bytes = count * (request->grey ? 1 : 3) * static_cast<size_t>(request->bits / 8);
    return rendered_values(image, request, bytes, pixels, why);
}

} // namespace

dg_status dg_dcmtk_frame(const uint8_t *file, size_t size, const dg_dcmtk_request *request, void *pixels,
                         const char **why) {
    *why = "damaged";
    try {
        return read_frame(file, size, request, pixels, why);
    } catch (const std::bad_alloc &) {
        *why = "out of memory";
        return DG_ENOMEM;
    } catch (...) {
        *why = "the decoder gave up";
        return DG_EDATA;
    }
}
