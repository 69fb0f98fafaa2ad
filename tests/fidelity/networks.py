"""Classifiers in the shapes of MobileNet v2 and ResNet-50, small enough to train on a CPU, and their fake quantization."""

import pathlib
import sys

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import fusion, parametrize

sys.path.append(str(pathlib.Path(__file__).parents[1] / "demo"))
from train import ConvBn, InvertedResidual, Residual  # noqa: E402


class Bottleneck(nn.Module):
    """ResNet-50's block: narrow, filter, widen, added to the input or a projection of it."""

    def __init__(self, inputs, width, stride=1):
        super().__init__()
        outputs = width * 4
        self.narrow, self.filter = ConvBn(inputs, width, 1, act="relu"), ConvBn(width, width, 3, stride, act="relu")
        self.widen = ConvBn(width, outputs, 1)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else ConvBn(inputs, outputs, 1, stride)

    def forward(self, x):
        return functional.relu(self.widen(self.filter(self.narrow(x))) + self.shortcut(x))


class Classifier(nn.Module):
    def __init__(self, features, channels, classes):
        super().__init__()
        self.features, self.classifier = features, nn.Linear(channels, classes)

    def forward(self, image):
        return self.classifier(self.features(image).mean((2, 3)))


def mobile(classes):
    """Inverted residuals, with ReLU for ReLU6: their channels can be rescaled without changing the function."""
    shapes = [(16, 1, 16, 1), (16, 6, 24, 2), (24, 6, 24, 1), (24, 6, 40, 1), (40, 6, 40, 1), (40, 6, 64, 2), (64, 6, 64, 1)]
    blocks = [InvertedResidual(inputs, expansion * inputs, outputs, stride, act="relu")
              for inputs, expansion, outputs, stride in shapes]
    return Classifier(nn.Sequential(ConvBn(1, 16, 3, 2, act="relu"), *blocks, ConvBn(64, 256, 1, act="relu")), 256, classes)


def resnet(classes):
    blocks = [Bottleneck(32, 16), Bottleneck(64, 32, 2), Bottleneck(128, 32), Bottleneck(128, 64, 2), Bottleneck(256, 64)]
    return Classifier(nn.Sequential(ConvBn(1, 32, 3, 2, act="relu"), *blocks), 256, classes)


# Fake quantization


class ChannelQuantizer(nn.Module):
    """Weights as symmetric s8, a scale an output channel; gradients pass as if it were not there."""

    def __init__(self, weight):
        super().__init__()
        self.register_buffer("scale", torch.ones(len(weight)))
        self.register_buffer("zero_point", torch.zeros(len(weight), dtype=torch.int32))
        self.train()
        self(weight)

    def forward(self, weight):
        if self.training:
            self.scale = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8) / 127
        return torch.fake_quantize_per_channel_affine(weight, self.scale, self.zero_point, 0, -128, 127)


class TensorQuantizer(nn.Module):
    """A stored value as u8, one scale; the range follows the batches' extremes while `watches`."""

    def __init__(self):
        super().__init__()
        self.watches = True
        self.register_buffer("range", torch.zeros(2))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))

    def watch(self, x, momentum=0.02):
        seen = torch.stack([x.min().clamp(max=0), x.max().clamp(min=0)])
        self.range = torch.lerp(self.range, seen, momentum) if self.range.any() else seen
        self.scale = (self.range[1] - self.range[0]) / 255
        self.zero_point = (-self.range[0] / self.scale).round().to(torch.int32)

    def forward(self, x):
        if self.training and self.watches:
            self.watch(x.detach())
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, 255)


def fold_normalizations(network):
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvBn):
            module.conv, module.bn = fusion.fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()
    return network


def store_result(module):
    module.stored = TensorQuantizer()
    module.register_forward_hook(lambda module, inputs, output: module.stored(output))


def store_input(module):
    module.stored = TensorQuantizer()
    module.register_forward_pre_hook(lambda module, inputs: module.stored(*inputs))


def with_fake_quantizers(network):
    """A fake quantizer wherever an INT8 network rounds. REQUIRES: normalizations are folded."""
    store_input(network)
    for module in list(network.modules()):
        if isinstance(module, (ConvBn, Residual, Bottleneck)) or isinstance(module, InvertedResidual) and module.add:
            store_result(module)
        if isinstance(module, nn.Linear):
            store_input(module)
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            parametrize.register_parametrization(module, "weight", ChannelQuantizer(module.weight))
    return network


def freeze_ranges(network):
    for module in network.modules():
        if isinstance(module, TensorQuantizer):
            module.watches = False


# A hard case


def rescale_channels(network, seed, exponents=(-4, 4)):
    """Multiplies channels between an InvertedResidual's convolutions by powers of two, and divides where they are read.

    REQUIRES: normalizations are folded. ReLU passes positive factors through, and powers of two are exact in floating
    point: the network computes the same numbers. Its values no longer share one range.
    """
    random = torch.Generator().manual_seed(seed)

    def powers(channels):
        return 2.0 ** torch.randint(exponents[0], exponents[1] + 1, (channels,), generator=random)

    with torch.no_grad():
        for block in network.modules():
            if not isinstance(block, InvertedResidual):
                continue
            expand, depthwise, project = block.expand.conv, block.depthwise.conv, block.project.conv
            before, after = powers(len(expand.weight)), powers(len(expand.weight))
            expand.weight *= before[:, None, None, None]
            expand.bias *= before
            depthwise.weight *= (after / before)[:, None, None, None]
            depthwise.bias *= after
            project.weight /= after[None, :, None, None]
    return network
