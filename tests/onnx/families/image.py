"""ImageDecoder: files written by Pillow, or byte by byte, and the pixels that they were written from."""
import io
import struct
import zlib

import numpy as np
from case import case, node
from PIL import Image

rng = np.random.default_rng(5)
colors = rng.integers(0, 256, (11, 7, 3)).astype(np.uint8)
smooth = np.stack([np.add.outer(3 * np.arange(37), 2 * np.arange(29)), np.add.outer(np.arange(37), 5 * np.arange(29)), np.full((37, 29), 90)], 2).astype(np.uint8)


def gray(rgb):
    """Pillow's luma, of ITU-R BT.601."""
    return (rgb.astype(np.uint32) @ [19595, 38470, 7471] + 0x8000 >> 16).astype(np.uint8)[..., None]


def decode(name, stream, rgb, formats="RGB BGR Grayscale", **others):
    wanted = dict(RGB=rgb, BGR=rgb[..., ::-1], Grayscale=gray(rgb))
    for pixel_format in formats.split():
        case("ImageDecoder", f"{name}_{pixel_format}", opset=20, inputs=[np.frombuffer(stream, np.uint8)], outputs=[wanted[pixel_format]],
             pixel_format=pixel_format, dims={0: ["N"]}, **others)


def saved(pixels, kind, mode=None, **options):
    image = Image.fromarray(pixels)
    image = image.convert(mode) if mode else image
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue(), np.array(image.convert("RGB"))


# ---- By Pillow

for kind in "png", "bmp", "ppm":
    decode(kind, *saved(colors, kind))
    decode(f"{kind}_gray", *saved(colors, kind, "L"), "RGB Grayscale")
    decode(f"{kind}_bits", *saved(colors, kind, "1"), "RGB Grayscale")
decode("png_palette", *saved(colors, "png", "P"), "RGB Grayscale")
decode("bmp_palette", *saved(colors, "bmp", "P"), "RGB")
decode("png_one", *saved(colors[:1, :1], "png"))
alpha = np.dstack([colors, rng.integers(0, 256, (11, 7, 1)).astype(np.uint8)])
decode("png_alpha", saved(alpha, "png")[0], colors)

# ---- By hand


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows, width, height, depth, color):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    lines = b"".join(b"\0" + row for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


deep = rng.integers(0, 65536, (3, 5, 3))
decode("png_16", png([row.astype(">u2").tobytes() for row in deep], 5, 3, 16, 2), (deep >> 8).astype(np.uint8), "RGB")
quarters = rng.integers(0, 4, (3, 8))
decode("png_2", png([np.packbits(((row[:, None] >> [1, 0]) & 1).reshape(-1)).tobytes() for row in quarters], 8, 3, 2, 0),
       np.repeat((quarters * 85).astype(np.uint8)[..., None], 3, 2), "RGB")


def bmp(pixels, down):
    """24 bits, the bottom row first unless `down`."""
    rows = [row[:, ::-1].tobytes() + b"\0" * (-3 * len(row) % 4) for row in (pixels if down else pixels[::-1])]
    data, (height, width, _) = b"".join(rows), pixels.shape
    header = struct.pack("<IiiHHIIiiII", 40, width, -height if down else height, 1, 24, 0, len(data), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + header + data


for down in False, True:
    decode(f"bmp_24_{down}", bmp(colors, down), colors, "RGB")

triple = lambda x: np.repeat(np.uint8(x)[..., None], 3, 2)
decode("plain_bits", b"P1\n# black is 1\n3 2\n101 0 1\n0", triple([[0, 255, 0], [255, 0, 255]]), "RGB Grayscale")
decode("plain_gray", b"P2 3 1 15 0 15 7", triple([[0, 255, 119]]), "RGB Grayscale")
decode("plain_colors", b"P3\n1 2\n#\n65535\n0 65535 32768 257 514 128", np.uint8([[[0, 255, 128]], [[1, 2, 0]]]))
decode("bits", b"P4 10 2\n" + bytes([0b10100000, 0b01111111, 0b00001111, 0b10000000]),
       triple(255 * (1 - np.array([[1, 0, 1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]]))), "RGB")
decode("gray_16", b"P5\n2 1\n1000\n" + struct.pack(">HH", 1000, 500), triple([[255, 128]]), "RGB")
decode("colors_64", b"P6 1 1 63\t" + bytes([63, 21, 0]), np.uint8([[[255, 85, 0]]]))

# ---- JPEG: decoders differ in how they round; no pixel is off by more than MOST

MOST = 4
for name, pixels, options in (("444", colors, dict(subsampling=0)), ("420", smooth, dict(subsampling=2)), ("422", smooth, dict(subsampling=1)), (
        "progressive", smooth, dict(progressive=True)), ("gray", smooth[..., 0], {}), ("restarts", smooth, dict(optimize=True))):
    stream = saved(pixels, "jpeg", quality=90, **options)[0]
    rgb = np.array(Image.open(io.BytesIO(stream)).convert("RGB"))
    for pixel_format, wanted in ("RGB", rgb), ("BGR", rgb[..., ::-1]), ("Grayscale", gray(rgb)):
        case("ImageDecoder", f"jpeg_{name}_{pixel_format}", opset=20,
             inputs=[np.frombuffer(stream, np.uint8), wanted.astype(np.float32), np.float32(MOST)], constants=[1, 2],
             outputs=[np.array(wanted.shape), np.bool_(True)],
             nodes=[node("ImageDecoder", "x0", "image", pixel_format=pixel_format), node("Shape", "image", "y0"), node("Cast", "image", "t", to=1),
                    node("Sub", "t x1", "d"), node("Abs", "d", "a"), node("ReduceMax", "a", "m", keepdims=0), node("LessOrEqual", "m x2", "y1")])

# ---- What cannot be decoded: nothing, or an error where another library could

nothing = np.zeros((0, 0, 3), np.uint8)
streams = dict(empty=b"", text=b"not an image", png_header=saved(colors, "png")[0][:33], bmp_short=bmp(colors, False)[:-1], bmp_header=bmp(colors, False)[:54],
               ppm_short=b"P6 2 2 255 " + bytes(11), pgm_sample=b"P2 1 1 7 8", ppm_size=b"P6 99999999 99999999 255 ", pgm_most=b"P5 1 1 0 0",
               png_huge=png([b"\0\0\0"], 2**24, 2**24, 8, 2), jpeg_header=saved(colors, "jpeg")[0][:20])
for name, stream in streams.items():
    decode(f"bad_{name}", stream, nothing, "RGB Grayscale")
large = b"P5 20000 20000 255 " + bytes(400)  # fewer bytes than pixels
decode("bad_pgm_sizes", large, nothing, "RGB")
for kind in "tiff", "webp", "jpeg2000":
    decode(f"other_{kind}", saved(colors, kind)[0], nothing, "RGB", error="TIFF, JPEG 2000, WebP")
case("ImageDecoder", "format", opset=20, inputs=[np.zeros(3, np.uint8)], error="pixel_format 'HSV' is not known", pixel_format="HSV")
case("ImageDecoder", "floats", opset=20, inputs=[np.zeros(3, np.float32)], error="not the bytes of a file")
case("ImageDecoder", "rank", opset=20, inputs=[np.zeros((3, 1), np.uint8)], error="axes")
