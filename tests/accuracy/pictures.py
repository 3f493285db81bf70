"""Models without a test set: real pictures for them, and what their outputs say.

A case has pictures to calibrate with, as many as are asked for if there are so many, others to judge by, and `compare(floats, less)` of the outputs for all of
these: what is different, as a number that must not be larger than `most`, and in words. Pruned networks have `alike(floats, less)` instead: the share of what
they decide that stays the same, in percent, and in words.
"""
import pathlib
import subprocess

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SKIMAGE = pathlib.Path("/usr/lib/python3/dist-packages/skimage/data")
SKLEARN = pathlib.Path("/usr/lib/python3/dist-packages/sklearn/datasets/images")
FONTS = pathlib.Path("/usr/share/fonts/truetype/dejavu")


def fetch(*names):
    return [pathlib.Path(path) for path in subprocess.check_output([pathlib.Path(__file__).resolve().parents[2] / "scripts/fetch", *names], text=True).split()]


# ---- text lines: the same text ----

WORDS = """ledger Quantity 2024 invoice total 17.50 Street apt. kernel measured 98.6 office window Thursday river 3,140 garden Paris
compiler channel 0.25 bright Number (see p. 12) address summer 42 quick brown fox jumps over lazy dog AB-1047 No. 7 street: west & east""".split()


def text_line(number):
    """Three words, black on white or the other way round, 48 x 320 pixels of 8 bits as -1..1."""
    random = np.random.default_rng(number)
    text = " ".join(random.choice(WORDS, 3))
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


# ---- faces: the cosine between descriptions ----

LFW, FACES = SKIMAGE / "lfw_subset.npy", 50  # the first 100 pictures are faces, of these the first 50 for judging
SAME_FACE = 0.363  # the cosine from which on OpenCV takes two descriptions by this network for those of one person


def gray(pixels):
    """[n, n] of 0..255 as the network has it."""
    return np.repeat(np.asarray(pixels, np.float32)[None, None], 3, axis=1)


def enlarged(pixels):
    return Image.fromarray(pixels.astype(np.uint8)).resize((112, 112), Image.BICUBIC)


def face(number):
    return gray(enlarged(255 * np.load(LFW)[number]))


def other_view(number, first, mixes):
    """One of the 50 faces from `first` on, mirrored or not, moved, turned, larger, brighter; if `mixes` with some of another one."""
    random, faces = np.random.default_rng(number), np.load(LFW)
    pixels = faces[first + number % FACES]
    if mixes and random.random() < 0.5:
        share = random.uniform(0, 0.5)
        pixels = (1 - share) * pixels + share * faces[first + random.integers(FACES)]
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    scale, turn = random.uniform(0.9, 1.15), random.uniform(-0.1, 0.1)
    x, y = (112 - 112 / scale) / 2 + random.uniform(-6, 6, 2)
    moved = enlarged(255 * pixels).transform((112, 112), Image.AFFINE, (1 / scale, turn, x - 56 * turn, -turn, 1 / scale, y + 56 * turn), Image.BICUBIC)
    pixels = (np.asarray(moved, np.float32) - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-25, 25)
    return gray(np.clip(pixels, 0, 255))


def calibration_faces(count):
    """The other 50 faces; beyond that other views of these, and as many pictures of other things."""
    views = [face(FACES + i) if i < FACES else other_view(i, FACES, True) for i in range(max(FACES, count // 2))]
    if count <= FACES:
        return views[:count]
    rows = np.asarray(Image.open(*fetch("cifar_train_1")).convert("L")).reshape(-1, 32, 32)
    things = [gray(enlarged(rows[i])) for i in np.linspace(0, len(rows) - 1, count - len(views)).astype(int)]
    return [(views + things)[i] for i in np.random.default_rng(0).permutation(count)]


def cosines(a, b):
    a, b = (np.concatenate(x).reshape(len(x), -1).astype(np.float64) for x in (a, b))
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


def largest_angle(floats, less):
    """Of the 50 faces alone: the other views of them are made up."""
    worst = 1 - cosines(floats[:FACES], less[:FACES]).diagonal().min()
    return worst, f"{worst:.4g} 1 - cosine, at most"


def faces_alike(floats, less):
    """Of the 50 faces and other views of them: whether a view is of the same person as a face, those that are counting as much as those that are not, and which
    face is nearest to a view."""
    ours, theirs = (cosines(x[FACES:], x[:FACES]) for x in (floats, less))
    agree, yes = (ours > SAME_FACE) == (theirs > SAME_FACE), ours > SAME_FACE
    decisions = 50 * (agree[yes].mean() + agree[~yes].mean())
    nearest = (ours.argmax(1) == theirs.argmax(1)).sum()
    off = 1 - cosines(floats, less).diagonal()
    return decisions, f"{decisions:.2f} % decided alike, {nearest} of {len(ours)} views nearest to the same face, 1 - cosine {off.mean():.3f}, at most {off.max():.3f}"


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
    "ppocrv4_rec": (["p2o_DynamicDimension_0=1", "p2o_DynamicDimension_1=320"], lambda count: [text_line(i) for i in range(1000, 1000 + count)],
                    lambda: [text_line(i) for i in range(50)], other_lines, 0, characters_alike),
    "sface": ([], calibration_faces, lambda: [face(i) for i in range(FACES)] + [other_view(i, 0, False) for i in range(FACES)],
              largest_angle, 0.01, faces_alike),
    "yolov8n_b": ([], calibration_photos, lambda: [photo(SKIMAGE / f"{name}.png") for name in ("astronaut", "coffee", "chelsea", "motorcycle_left")],
                  corners_off, 2, None),
}

# What int8 may lose on the pictures to calibrate with, where the default is not enough. Equalization of yolov8n_b is tried and not done: left out, it takes no time.
BOUNDS = {"yolov8n_b": ["--max-drop=10%", "--recover=bias,gptq"]}
