"""Models without a test set: real pictures for them, and what their outputs say.

A case has pictures to calibrate with, as many as are asked for if there are so many, others to judge by, and `compare(floats, less)` of the outputs for all of
these: what is different, as a number that must not be larger than `most`, and in words. Pruned networks have `alike(floats, less)` instead: the share of what
they decide that stays the same, in percent, and in words.
"""
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import faces

SKIMAGE = pathlib.Path("/usr/lib/python3/dist-packages/skimage/data")
SKLEARN = pathlib.Path("/usr/lib/python3/dist-packages/sklearn/datasets/images")
FONTS = pathlib.Path("/usr/share/fonts/truetype/dejavu")


# ---- text lines: the same text ----

WORDS = """ledger Quantity 2024 invoice total 17.50 Street apt. kernel measured 98.6 office window Thursday river 3,140 garden Paris
compiler channel 0.25 bright Number (see p. 12) address summer 42 quick brown fox jumps over lazy dog AB-1047 No. 7 street: west & east""".split()


def some_words(random):
    return random.choice(WORDS, 3)


def made_up_word(random):
    """Letters as a word, a name, a heading or a code has them, or a number, perhaps with a mark."""
    letters = "".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), random.integers(2, 10)))
    digits = "".join(random.choice(list("0123456789"), random.integers(1, 5)))
    numbers = [digits, digits + random.choice(list(".,-/:")) + digits[::-1], letters[:2].upper() + "-" + digits]
    word = random.choice([letters, letters, letters.title(), letters.upper(), *numbers])
    return random.choice(["{}", "{}", "{}", "{}.", "{},", "({})", "{}:", "{} &", "#{}", "{}%"]).format(word)


def made_up_words(random):
    return [made_up_word(random) for _ in range(3)]


def text_line(number, words):
    """Three words, black on white or the other way round, 48 x 320 pixels of 8 bits as -1..1."""
    random = np.random.default_rng(number)
    text = " ".join(words(random))
    font = ImageFont.truetype(str(FONTS / random.choice(["DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf"])), int(random.integers(18, 30)))
    line = Image.new("L", (320, 48), 255)
    ImageDraw.Draw(line).text((int(random.integers(2, 10)), int(random.integers(4, 14))), text, font=font, fill=int(random.integers(0, 90)))
    pixels = np.asarray(line, np.float32) + random.normal(0, 6, (48, 320))
    pixels = np.rint(np.clip(255 - pixels if number % 4 == 3 else pixels, 0, 255)) / 127.5 - 1
    return np.repeat(pixels[None, None], 3, axis=1).astype(np.float32)


def read_text(output):
    """Classes as CTC means them: the likeliest at each step, repetitions once, without blanks (0)."""
    classes = output.reshape(-1, 6625).argmax(1)
    return [c for c, before in zip(classes, [-1, *classes]) if c not in (0, before)]


def other_lines(floats, less):
    other = sum(read_text(a) != read_text(b) for a, b in zip(floats, less))
    return other, f"{other} lines whose text differs"


def edits(a, b):
    """Insertions, deletions and changes that make b of a."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def characters_alike(floats, less):
    texts = [(read_text(a), read_text(b)) for a, b in zip(floats, less)]
    all_of_them, changed = sum(len(a) for a, _ in texts), sum(edits(a, b) for a, b in texts)
    return 100 - 100 * changed / all_of_them, f"{changed} of {all_of_them} characters and {sum(a != b for a, b in texts)} lines differ"


# ---- photos: boxes around things ----


def photo(path, crop=(0, 0, 1, 1), flip=False):
    picture = Image.open(path).convert("RGB")
    box = [int(share * side) for share, side in zip(crop, picture.size * 2)]
    pixels = np.asarray(picture.crop(box).resize((640, 640), Image.BILINEAR), np.float32)[:, :: -1 if flip else 1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] / np.float32(255))


def calibration_photos(count):
    paths = [SKLEARN / "china.jpg", SKLEARN / "flower.jpg", SKIMAGE / "rocket.jpg", SKIMAGE / "motorcycle_right.png", SKIMAGE / "ihc.png", SKIMAGE / "camera.png"]
    crops = [(0, 0, 1, 1), (0, 0, 0.6, 0.6), (0.4, 0.4, 1, 1), (0.2, 0, 0.8, 1)]
    return [photo(path, crop, flip) for path in paths for crop in crops for flip in (False, True)][:count]


def overlap(a, b):
    """Share of the union of two boxes (x0, y0, x1, y1) that is in both."""
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return width * height / (area(a) + area(b) - width * height)


def find_boxes(output, least):
    """(class, corners) of what is at least so sure; of those that overlap in a class the surest."""
    rows = output.reshape(84, -1).T
    scores, classes, kept = rows[:, 4:].max(1), rows[:, 4:].argmax(1), []
    for i in np.argsort(-scores):
        if scores[i] < least:
            break
        x, y, w, h = rows[i, :4]
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if all(c != classes[i] or overlap(box, other) < 0.45 for c, other in kept):
            kept.append((classes[i], box))
    return kept


def box_distance(floats, less):
    sure, doubtful, worst = 0.4, 0.25, 0.0
    for one, other in ((floats, less), (less, floats)):
        near = find_boxes(other, doubtful)
        for kind, box in find_boxes(one, sure):
            worst = max(worst, min((max(np.abs(np.subtract(box, b))) for k, b in near if k == kind), default=np.inf))
    return worst


def corners_off(floats, less):
    """The largest distance of a corner, in pixels; infinite when a box of one that is surely there is missing in the other."""
    worst = max(box_distance(a, b) for a, b in zip(floats, less))
    return worst, f"{worst:.4g} pixels between corners, at most"


# name: dims, pictures to calibrate with, pictures to judge by, compare, most, alike
CASES = {
    "ppocrv4_rec": (["p2o_DynamicDimension_1=320"], lambda count: [text_line(i, made_up_words) for i in range(1000, 1000 + count)],
                    lambda: [text_line(i, some_words) for i in range(50)], other_lines, 0, characters_alike),
    "sface": ([], faces.calibration, faces.judged, faces.largest_angle, 0.01, faces.alike),
    "yolov8n_b": ([], calibration_photos, lambda: [photo(SKIMAGE / f"{name}.png") for name in ("astronaut", "coffee", "chelsea", "motorcycle_left")],
                  corners_off, 2, None),
}

# How many pictures a run takes: this stays open while the model is pruned, as distillation takes several at once.
BATCH = {"ppocrv4_rec": "p2o_DynamicDimension_0=1"}
