"""Fashion-MNIST: photographs of clothes, 28 x 28 grey, ten classes, as Debian's dataset-fashion-mnist ships them."""

import gzip
import pathlib

import numpy as np

FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
TRAINING, CALIBRATION = 59_000, 300  # of the 60,000 training images: those to learn from, those to calibrate with
MEAN, DEVIATION = 0.2860, 0.3530  # of the training pixels, as shares of 255


def idx(name, header):
    return np.frombuffer(gzip.decompress((FOLDER / f"{name}-ubyte.gz").read_bytes())[header:], np.uint8)


def labelled(part):
    images = idx(f"{part}-images-idx3", 16).reshape(-1, 1, 28, 28)
    scaled = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(DEVIATION)
    return scaled, idx(f"{part}-labels-idx1", 8).astype(np.int64)


def training():
    """What the networks read, float32 [n, 1, 28, 28], and int64 labels."""
    images, labels = labelled("train")
    return images[:TRAINING], labels[:TRAINING]


def calibration():
    return labelled("train")[0][TRAINING:TRAINING + CALIBRATION]


def test():
    return labelled("t10k")
