"""Faces for npm's face recognition sface, and what its descriptions of them say.

Two kinds: the 100 faces of skimage's part of LFW, gray and of 25 x 25 pixels, and 145 people of the avatars of @tabler/preview, photos in colour whose eyes
(eyes.tsv) are brought to where the network expects them. Of the first kind 50 are judged by, of the second every third, 49; the others are for calibration.
There is one picture of each, so more of them are made: views of a face as another photo might have it.
"""
import io
import pathlib
import subprocess
import tarfile

import numpy as np
from PIL import Image

TOP = pathlib.Path(__file__).resolve().parents[2]
LFW, FACES = pathlib.Path("/usr/lib/python3/dist-packages/skimage/data/lfw_subset.npy"), 50  # the first 100 are faces, of these the first 50 for judging
EYES = pathlib.Path(__file__).with_name("eyes.tsv")
SIDE, AROUND = 112, 24  # of what the network sees, and what is kept around it to move in
LEFT_EYE, RIGHT_EYE = np.array([38.3, 51.6]), np.array([73.6, 51.6])  # where they are in what it was trained with
SAME_FACE = 0.363  # the cosine from which on OpenCV takes two descriptions by this network for those of one person


def fetch(*names):
    return [pathlib.Path(path) for path in subprocess.check_output([TOP / "scripts/fetch", *names], text=True).split()]


# ---- faces, as float [112 + 48, 112 + 48, 3] of 0..255 ----


def small_face(pixels):
    """One of LFW, around which there is nothing."""
    gray = np.asarray(Image.fromarray((255 * pixels).astype(np.uint8)).resize((SIDE, SIDE), Image.BICUBIC), np.float32)
    return np.repeat(np.pad(gray, AROUND)[:, :, None], 3, axis=2)


def aligned(picture, left, right):
    """A photo, turned and scaled so that its eyes are where they belong."""
    (a, b), (x, y) = (right - left) / (RIGHT_EYE - LEFT_EYE)[0], LEFT_EYE + AROUND
    side = SIDE + 2 * AROUND
    box = (a, -b, left[0] - a * x + b * y, b, a, left[1] - b * x - a * y)
    return np.asarray(picture.convert("RGB").transform((side, side), Image.AFFINE, box, Image.BICUBIC), np.float32)


def small_faces():
    return [small_face(pixels) for pixels in np.load(LFW)[: 2 * FACES]]


def photos():
    rows = [line.split("\t") for line in EYES.read_text().splitlines() if line[0] != "#"]
    with tarfile.open(*fetch("tabler_avatars")) as avatars:
        read = lambda name: Image.open(io.BytesIO(avatars.extractfile(f"./{name}.jpg").read()))
        return [aligned(read(name), *np.array(eyes, float).reshape(2, 2)) for name, *eyes in rows]


def judged_and_others():
    """Of both kinds: small ones to judge by, photos to judge by; small ones, photos to calibrate with."""
    small, large = small_faces(), photos()
    return small[:FACES], large[::3], small[FACES:], [face for i, face in enumerate(large) if i % 3]


# ---- views ----


def seen(face):
    """What the network gets of a face."""
    return np.ascontiguousarray(face[AROUND:-AROUND, AROUND:-AROUND].transpose(2, 0, 1)[None])


def view(face, random):
    """Mirrored or not, moved, turned, larger, brighter."""
    if random.random() < 0.5:
        face = face[:, ::-1]
    scale, turn, middle = random.uniform(0.9, 1.15), random.uniform(-0.1, 0.1), SIDE / 2 + AROUND
    x, y = middle - middle / scale + random.uniform(-6, 6, 2)
    box = (1 / scale, turn, x - middle * turn, -turn, 1 / scale, y + middle * turn)
    moved = Image.fromarray(np.clip(face, 0, 255).astype(np.uint8)).transform(face.shape[:2], Image.AFFINE, box, Image.BICUBIC)
    return np.clip((np.asarray(moved, np.float32) - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-25, 25), 0, 255)


def blurred(face, random):
    """As a camera that is too far away has it."""
    less = int(random.uniform(25, SIDE))
    picture = Image.fromarray(face.astype(np.uint8))
    return np.asarray(picture.resize((less, less), Image.BILINEAR).resize(face.shape[:2], Image.BICUBIC), np.float32)


def somebody(faces, random):
    """One of the faces, or of two of them what is between, or one half of each: people that there are not."""
    one, other = (faces[random.integers(len(faces))] for _ in range(2))
    kind = random.integers(3)
    if kind == 0:
        return one
    share = random.uniform(0, 0.5) if kind == 1 else 1 / (1 + np.exp((np.arange(len(one)) - len(one) / 2 - random.uniform(-12, 12)) / 4))
    share = share if kind == 1 else share[:, None, None] if random.random() < 0.5 else share[None, :, None]
    return (1 - share) * one + share * other


def made_up(faces, number):
    random = np.random.default_rng(number)
    face = view(somebody(faces, random), random)
    if random.random() < 0.3:
        face = blurred(face, random)
    if random.random() < 0.3:
        face = np.repeat(face.mean(2, keepdims=True), 3, axis=2)
    return seen(face)


def calibration(count):
    """The faces that are not judged by, then as many made of them as are asked for, of photos twice as many as of small ones."""
    _, _, small, large = judged_and_others()
    real = [seen(face) for pair in zip(small, large) for face in pair] + [seen(face) for face in large[len(small) :]]
    return real[:count] + [made_up(large if i % 3 else small, i) for i in range(len(real), count)]


def judged():
    """Small faces, a view of each, photos, a view of each."""
    small, large, _, _ = judged_and_others()
    views = lambda faces: [seen(view(face, np.random.default_rng(i))) for i, face in enumerate(faces)]
    return [seen(face) for face in small] + views(small) + [seen(face) for face in large] + views(large)


# ---- what descriptions say ----


def cosines(a, b):
    a, b = (np.concatenate(x).reshape(len(x), -1).astype(np.float64) for x in (a, b))
    return (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1, keepdims=True)).T


def decisions_alike(floats, less):
    """Of faces and as many views of them: whether a view is of the same person as a face, those that are counting as much as those that are not, and which face
    is nearest to a view."""
    half = len(floats) // 2
    ours, theirs = (cosines(x[half:], x[:half]) for x in (floats, less))
    agree, yes = (ours > SAME_FACE) == (theirs > SAME_FACE), ours > SAME_FACE
    decisions = 50 * (agree[yes].mean() + agree[~yes].mean())
    off = 1 - cosines(floats, less).diagonal()
    nearest = (ours.argmax(1) == theirs.argmax(1)).sum()
    return decisions, f"{decisions:.2f} % decided alike, {nearest} of {half} nearest to the same face, 1 - cosine {off.mean():.4f}, at most {off.max():.3f}"


def alike(floats, less):
    """Of both kinds, each by itself: the worse one counts."""
    kinds = {"small": slice(0, 2 * FACES), "photos": slice(2 * FACES, None)}
    parts = {kind: decisions_alike(floats[of], less[of]) for kind, of in kinds.items()}
    return min(share for share, _ in parts.values()), "; ".join(f"{kind}: {words}" for kind, (_, words) in parts.items())


def largest_angle(floats, less):
    """Of the small faces themselves; what all that means is told, too."""
    worst = 1 - cosines(floats[:FACES], less[:FACES]).diagonal().min()
    return worst, f"{worst:.4g} 1 - cosine, at most; {alike(floats, less)[1]}"
