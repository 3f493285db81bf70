"""The architectures of the measure that torchvision does not have, as small PyTorch modules.

Each is the published architecture in the form that exporters meet in practice: attention is written with plain matrix products, layer
norms and erf-GELUs are PyTorch's own, so the ONNX graphs carry the same decompositions as models from the field.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F


def mlp_mnist():
    return nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10), nn.Softmax(-1))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10), nn.Softmax(-1))


# ---- U-Net (Ronneberger et al. 2015), padded, batch norm, 32 channels at the top


def double_conv(inputs, outputs):
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, width=32, depth=4, classes=2):
        super().__init__()
        sizes = [width << i for i in range(depth + 1)]
        self.stem = double_conv(3, width)
        self.down = nn.ModuleList(double_conv(a, b) for a, b in zip(sizes, sizes[1:]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in zip(sizes, sizes[1:]))
        self.merge = nn.ModuleList(double_conv(2 * a, a) for a in sizes[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image):
        levels = [self.stem(image)]
        for down in self.down:
            levels.append(down(F.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge)):
            x = merge(torch.cat([levels.pop(), up(x)], 1))
        return self.head(x)


# ---- YOLOv8n (Ultralytics 2023): decoded boxes and class scores, without non-maximum suppression


class ConvSilu(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=1, stride=1):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())


class Bottleneck(nn.Module):
    def __init__(self, channels, shortcut):
        super().__init__()
        self.body = nn.Sequential(ConvSilu(channels, channels, 3), ConvSilu(channels, channels, 3))
        self.shortcut = shortcut

    def forward(self, x):
        return x + self.body(x) if self.shortcut else self.body(x)


class C2f(nn.Module):
    def __init__(self, inputs, outputs, count, shortcut=False):
        super().__init__()
        half = outputs // 2
        self.enter, self.leave = ConvSilu(inputs, outputs), ConvSilu((2 + count) * half, outputs)
        self.body = nn.ModuleList(Bottleneck(half, shortcut) for _ in range(count))

    def forward(self, x):
        parts = list(self.enter(x).chunk(2, 1))
        for block in self.body:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Sppf(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.enter, self.leave = ConvSilu(channels, channels // 2), ConvSilu(channels * 2, channels)

    def forward(self, x):
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.leave(torch.cat(parts, 1))


class Yolov8n(nn.Module):
    CLASSES, BINS, STRIDES, SIZE = 80, 16, (8, 16, 32), 640

    def __init__(self):
        super().__init__()
        self.to3 = nn.Sequential(ConvSilu(3, 16, 3, 2), ConvSilu(16, 32, 3, 2), C2f(32, 32, 1, True), ConvSilu(32, 64, 3, 2), C2f(64, 64, 2, True))
        self.to4 = nn.Sequential(ConvSilu(64, 128, 3, 2), C2f(128, 128, 2, True))
        self.to5 = nn.Sequential(ConvSilu(128, 256, 3, 2), C2f(256, 256, 1, True), Sppf(256))
        self.up4, self.up3 = C2f(384, 128, 1), C2f(192, 64, 1)
        self.down4, self.merge4 = ConvSilu(64, 64, 3, 2), C2f(192, 128, 1)
        self.down5, self.merge5 = ConvSilu(128, 128, 3, 2), C2f(384, 256, 1)
        self.boxes = nn.ModuleList(self.branch(c, 64, 4 * self.BINS) for c in (64, 128, 256))
        self.scores = nn.ModuleList(self.branch(c, 80, self.CLASSES) for c in (64, 128, 256))
        grids = [torch.stack(torch.meshgrid(*2 * [torch.arange(self.SIZE // s) + 0.5], indexing="ij")[::-1]).flatten(1) for s in self.STRIDES]
        self.register_buffer("anchors", torch.cat(grids, 1)[None])
        self.register_buffer("scale", torch.cat([torch.full((g.shape[1],), float(s)) for g, s in zip(grids, self.STRIDES)]))
        self.register_buffer("bins", torch.arange(self.BINS).float().view(1, -1, 1, 1))

    @staticmethod
    def branch(inputs, middle, outputs):
        return nn.Sequential(ConvSilu(inputs, middle, 3), ConvSilu(middle, middle, 3), nn.Conv2d(middle, outputs, 1))

    def forward(self, image):
        p3 = self.to3(image)
        p4 = self.to4(p3)
        p5 = self.to5(p4)
        n4 = self.up4(torch.cat([F.interpolate(p5, scale_factor=2.0), p4], 1))
        n3 = self.up3(torch.cat([F.interpolate(n4, scale_factor=2.0), p3], 1))
        n4 = self.merge4(torch.cat([self.down4(n3), n4], 1))
        n5 = self.merge5(torch.cat([self.down5(n4), p5], 1))
        levels = [torch.cat([box(x), score(x)], 1).flatten(2) for box, score, x in zip(self.boxes, self.scores, (n3, n4, n5))]
        box, score = torch.cat(levels, 2).split((4 * self.BINS, self.CLASSES), 1)
        box = F.conv2d(box.view(1, 4, self.BINS, -1).transpose(2, 1).softmax(1), self.bins).view(1, 4, -1)
        low, high = box.chunk(2, 1)
        low, high = self.anchors - low, self.anchors + high
        return torch.cat([torch.cat([(low + high) / 2, high - low], 1) * self.scale, score.sigmoid()], 1)


# ---- Transformers


class Attention(nn.Module):
    """Multi-head attention on [1, seq, width]; `past` is a pair of [1, heads, past, width / heads]."""

    def __init__(self, width, heads, joint=False):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.project = nn.Linear(width, 3 * width) if joint else nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def split(self, x):
        return x.view(x.shape[0], x.shape[1], self.heads, self.size).permute(0, 2, 1, 3)

    def forward(self, x, mask=None, past=None):
        parts = self.project(x).chunk(3, -1) if isinstance(self.project, nn.Linear) else [p(x) for p in self.project]
        query, key, value = (self.split(p) for p in parts)
        if past is not None:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        scores = query @ key.transpose(-1, -2) / math.sqrt(self.size)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        return self.output((weights @ value).permute(0, 2, 1, 3).reshape(x.shape)), key, value


class Block(nn.Module):
    """One layer: `first` norms before its parts (GPT-2, Whisper, ViT), else after them (BERT)."""

    def __init__(self, width, heads, first, joint=False, gelu="none"):
        super().__init__()
        self.attention, self.first = Attention(width, heads, joint), first
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-5), nn.LayerNorm(width, 1e-5)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate=gelu), nn.Linear(4 * width, width))

    def forward(self, x, mask=None, past=None):
        mixed, key, value = self.attention(self.norm1(x) if self.first else x, mask, past)
        if self.first:
            x = x + mixed
            return x + self.dense(self.norm2(x)), key, value
        x = self.norm1(x + mixed)
        return self.norm2(x + self.dense(x)), key, value


class Bert(nn.Module):
    def __init__(self, width, heads, layers, words=30522, positions=512):
        super().__init__()
        self.words, self.positions, self.types = nn.Embedding(words, width), nn.Embedding(positions, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(Block(width, heads, first=False) for _ in range(layers))

    def forward(self, ids, mask, types):
        x = self.norm(self.words(ids) + self.types(types) + self.positions(torch.arange(ids.shape[1])[None]))
        bias = (1.0 - mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)[0]
        return x


class Gpt2(nn.Module):
    """Without `past`, a prefill under a causal mask; with it, one token more. Returns the last token's logits and the keys and values."""

    def __init__(self, width=768, heads=12, layers=12, words=50257):
        super().__init__()
        self.words, self.positions = nn.Embedding(words, width), nn.Embedding(1024, width)
        self.layers = nn.ModuleList(Block(width, heads, first=True, joint=True, gelu="tanh") for _ in range(layers))
        self.norm = nn.LayerNorm(width, 1e-5)

    def forward(self, ids, *past):
        begin, count = (past[0].shape[2] if past else 0), ids.shape[1]
        x = self.words(ids) + self.positions(torch.arange(begin, begin + count)[None])
        mask = None if past else torch.full((count, count), -1e4).triu(1)
        present = []
        for i, layer in enumerate(self.layers):
            x, key, value = layer(x, mask, past[2 * i:2 * i + 2] if past else None)
            present += [key, value]
        return (self.norm(x[:, -1:]) @ self.words.weight.t(), *present)


class WhisperEncoder(nn.Module):
    def __init__(self, width=384, heads=6, layers=4):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(80, width, 3, padding=1), nn.Conv1d(width, width, 3, 2, 1)
        self.positions = nn.Parameter(torch.randn(1500, width) * 0.02)
        self.layers = nn.ModuleList(Block(width, heads, first=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, mel):
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2) + self.positions
        for layer in self.layers:
            x = layer(x)[0]
        return self.norm(x)


class VisionTransformer(nn.Module):
    def __init__(self, width, heads, layers=12, size=224, patch=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.layers = nn.ModuleList(Block(width, heads, first=True, joint=True) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token, x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(self.norm(x)[:, 0])


# ---- Recurrent networks and recommendation


class Recurrent(nn.Module):
    """Two layers over 64 steps of 128 numbers, then a classifier on the last step."""

    def __init__(self, kind):
        super().__init__()
        self.body, self.head = kind(128, 256, 2, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Dlrm(nn.Module):
    """Dot-product interactions between 26 embeddings and a bottom MLP (Naumov et al. 2019), batch 16, small tables."""

    def __init__(self, tables=26, rows=1000, width=64):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for _ in range(tables))
        self.bottom = nn.Sequential(nn.Linear(13, 256), nn.ReLU(), nn.Linear(256, width), nn.ReLU())
        pairs = torch.tril_indices(tables + 1, tables + 1, -1)
        self.register_buffer("pairs", pairs[0] * (tables + 1) + pairs[1])
        self.top = nn.Sequential(nn.Linear(width + pairs.shape[1], 256), nn.ReLU(), nn.Linear(256, 1), nn.Sigmoid())

    def forward(self, dense, sparse):
        bottom = self.bottom(dense)
        all = torch.stack([bottom] + [table(sparse[:, i]) for i, table in enumerate(self.tables)], 1)
        dots = (all @ all.transpose(1, 2)).flatten(1).index_select(1, self.pairs)
        return self.top(torch.cat([bottom, dots], 1))


# ---- DCGAN's generator (Radford et al. 2016) for 64x64 images


def dcgan(width=64, noise=100):
    layers, sizes = [], [width * 8, width * 4, width * 2, width]
    for i, (inputs, outputs) in enumerate(zip([noise] + sizes, sizes)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, 1 if i == 0 else 2, 0 if i == 0 else 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


# ---- The end of FCN-8s (Long et al. 2015): class scores of two levels, upsampled 2 and 8 times


class FcnHead(nn.Module):
    def __init__(self, classes=21):
        super().__init__()
        self.deep, self.shallow = nn.Conv2d(512, classes, 1), nn.Conv2d(256, classes, 1)
        self.twice = nn.ConvTranspose2d(classes, classes, 4, 2, 1, bias=False)
        self.eight = nn.ConvTranspose2d(classes, classes, 16, 8, 4, bias=False)

    def forward(self, deep, shallow):
        return self.eight(self.twice(self.deep(deep)) + self.shallow(shallow))


# ---- Temporal convolutions (Bai et al. 2018): two causal dilated convolutions and a shortcut per level


class CausalBlock(nn.Module):
    def __init__(self, channels, dilation, kernel=3):
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.convolutions = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=self.reach, dilation=dilation) for _ in range(2))

    def forward(self, x):
        y = x
        for convolution in self.convolutions:
            y = F.relu(convolution(y)[:, :, :-self.reach])
        return F.relu(x + y)


def tcn(channels=64, levels=6):
    return nn.Sequential(*(CausalBlock(channels, 1 << i) for i in range(levels)))


# ---- The feature encoder of wav2vec 2.0 (Baevski et al. 2020)


def wav2vec_features(width=512):
    layers, inputs = [], 1
    for i, (kernel, stride) in enumerate([(10, 5)] + 4 * [(3, 2)] + 2 * [(2, 2)]):
        layers += [nn.Conv1d(inputs, width, kernel, stride, bias=False)] + [nn.GroupNorm(width, width)] * (i == 0) + [nn.GELU()]
        inputs = width
    return nn.Sequential(*layers)
