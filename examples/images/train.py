#!/usr/bin/python3
"""Trains a small convolutional network on images and saves it as ONNX, as PyTorch exports it.

Usage: train.py mnist|fashion|cifar DATA-FOLDER [OUTPUT-FOLDER]

DATA-FOLDER holds the files of the set (README.md says where they are). Needs PyTorch. The seed is fixed; another machine or version still gives slightly other weights.
Writes NAME.onnx: image f32[1,channels,height,width] of 0..1 -> prob f32[1,10].
"""
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import data


def convolution(inputs, outputs, kernel=3, stride=1, group=1, activation=nn.ReLU):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=group, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def separable(inputs, outputs, stride=1):
    """As in MobileNet: each channel by itself, then all by a 1x1 convolution."""
    return nn.Sequential(convolution(inputs, inputs, 3, stride, inputs, nn.ReLU6), convolution(inputs, outputs, 1, activation=nn.ReLU6))


class Residual(nn.Module):
    """As in ResNet: two 3x3 convolutions are added to their input, which a 1x1 convolution fits to other channels or a stride."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.way = nn.Sequential(convolution(inputs, outputs, 3, stride), convolution(outputs, outputs, activation=None))
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else convolution(inputs, outputs, 1, stride, activation=None)

    def forward(self, x):
        return F.relu(self.way(x) + self.shortcut(x))


def head(channels):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)


def mnist_network():
    return nn.Sequential(
        convolution(1, 16), nn.MaxPool2d(2), convolution(16, 32), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10))


def fashion_network():
    return nn.Sequential(convolution(1, 32, stride=2, activation=nn.ReLU6), separable(32, 64), separable(64, 128, 2), separable(128, 128), *head(128))


def cifar_network():
    return nn.Sequential(convolution(3, 32), nn.MaxPool2d(2), Residual(32, 32), Residual(32, 64, 2), Residual(64, 64), Residual(64, 96, 2), *head(96))


# network, data, epochs, whether left and right may change places, largest rate
RECIPES = {
    "mnist": (mnist_network, data.read_folder, 4, False, 0.05),
    "fashion": (fashion_network, data.read_folder, 5, True, 0.1),
    "cifar": (cifar_network, data.read_cifar, 9, True, 0.2),
}


def batches(images, labels, flips, generator, batch=128, border=2):
    """An epoch in random order; each image is shifted by up to `border`."""
    size, room = images.shape[-1], 2 * border + 1
    images = F.pad(images, (border,) * 4)
    for rows in torch.randperm(len(images), generator=generator).split(batch):
        y, x = (torch.randint(room, (len(rows), 1), generator=generator) + torch.arange(size) for _ in range(2))
        if flips:
            x = torch.where(torch.rand(len(rows), 1, generator=generator) < 0.5, x.flip(1), x)
        channels = torch.arange(images.shape[1])[None, :, None, None]
        picked = images[rows[:, None, None, None], channels, y[:, None, :, None], x[:, None, None, :]]
        yield (picked.float() / 255).contiguous(memory_format=torch.channels_last), labels[rows]


def accuracy(network, images, labels):
    network.eval()
    with torch.no_grad():
        right = sum((network(x.float() / 255).argmax(1) == y).sum().item() for x, y in zip(images.split(500), labels.split(500)))
    network.train()
    return right / len(images)


def train(network, images, labels, epochs, flips, rate):
    """SGD with momentum on the cross entropy; the rate rises for a quarter of the steps, then falls to zero."""
    generator = torch.Generator().manual_seed(7)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * -(-len(images) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.25)
    for epoch in range(epochs):
        start, total = time.time(), 0.0
        for x, y in batches(images, labels, flips, generator):
            loss = F.cross_entropy(network(x), y, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch + 1}: loss {total / len(images):.4f}, {time.time() - start:.0f} s", flush=True)


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in RECIPES:
        sys.exit(__doc__)
    name, folder = sys.argv[1], pathlib.Path(sys.argv[3] if len(sys.argv) == 4 else ".")
    make, read, *recipe = RECIPES[name]
    torch.manual_seed(7)
    (images, labels), test = [[torch.tensor(np.array(a)) for a in part] for part in read(pathlib.Path(sys.argv[2]))]
    network = make().to(memory_format=torch.channels_last)
    train(network, images, labels.long(), *recipe)
    print(f"parameters {sum(p.numel() for p in network.parameters())}, test accuracy {100 * accuracy(network, test[0], test[1].long()):.2f} %")
    whole = nn.Sequential(network, nn.Softmax(1)).eval()
    torch.onnx.export(whole, torch.zeros(1, *images.shape[1:]), folder / f"{name}.onnx", opset_version=13, input_names=["image"], output_names=["prob"])


main()
