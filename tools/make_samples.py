#!/usr/bin/env python3
"""Makes samples/fashion/: the first images of each Fashion-MNIST class as grey PNGs, one folder a class.

Only needed to make that folder again. Python's standard library and Debian's package dataset-fashion-mnist suffice.

    apt-get install dataset-fashion-mnist
    python3 tools/make_samples.py [--count 200] [--data /usr/share/datasets/fashion-mnist] [--out samples/fashion]
"""

import argparse
import gzip
import struct
import zlib
from pathlib import Path

# In the order of the data set's labels 0 to 9.
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read_idx(path, dimensions):
    """The sizes and the bytes of a gzipped IDX file of unsigned bytes."""
    data = gzip.decompress(path.read_bytes())
    header = struct.unpack(f">{1 + dimensions}I", data[: 4 * (1 + dimensions)])
    if header[0] != 0x0800 + dimensions:
        raise SystemExit(f"{path}: not an IDX file of bytes in {dimensions} dimensions")
    return header[1:], data[4 * (1 + dimensions) :]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows, width):
    """The image under each of PNG's simple filters: none, left neighbour, upper neighbour."""
    yield b"".join(b"\0" + row for row in rows)
    yield b"".join(b"\1" + row[:1] + bytes((row[i] - row[i - 1]) & 255 for i in range(1, width)) for row in rows)
    above = [bytes(width)] + rows[:-1]
    yield b"".join(b"\2" + bytes((a - b) & 255 for a, b in zip(row, up)) for row, up in zip(rows, above))


def png(pixels, width, height):
    """An 8-bit grey PNG with whichever filter packs best."""
    rows = [pixels[y * width : (y + 1) * width] for y in range(height)]
    packed = min((zlib.compress(body, 9) for body in filtered(rows, width)), key=len)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def main():
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=root / "samples" / "fashion")
    parser.add_argument("--count", type=int, default=200, help="images of each class")
    args = parser.parse_args()
    (total, height, width), pixels = read_idx(args.data / "train-images-idx3-ubyte.gz", 3)
    _, labels = read_idx(args.data / "train-labels-idx1-ubyte.gz", 1)
    done, size = [0] * len(CLASSES), 0
    for i in range(total):
        label = labels[i]
        if done[label] == args.count:
            continue
        folder = args.out / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        body = png(pixels[i * width * height : (i + 1) * width * height], width, height)
        (folder / f"{done[label]:03d}.png").write_bytes(body)
        done[label] += 1
        size += len(body)
    print(f"{sum(done)} images of {len(CLASSES)} classes in {args.out}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
