"""Exports networks of several frameworks with the framework's own exporter. Weights are random, seeded; batch
normalizations hold the statistics of photographs, so that values are of a trained network's size.

usage: export.py FOLDER [NAME ...]
Writes FOLDER/NAME.onnx; names that are there already are left alone.
"""

import os
import pathlib
import sys

import numpy as np

import data

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")


def photographs(height, width):
    """Normalized as the networks take them, channels last."""
    pixels = np.stack([data.photograph(i, height, width) for i in range(16)]).astype(np.float32)
    return (pixels / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])


# PyTorch


def torch_export(file, network, inputs, names, dynamo):
    """Rows are free; so is the second dimension of token ids."""
    import torch
    free = [{0: "batch"} if x.is_floating_point() else {0: "batch", 1: "length"} for x in inputs]
    options = ({"dynamo": True, "external_data": False,
                "dynamic_shapes": tuple({axis: torch.export.Dim.DYNAMIC for axis in axes} for axes in free)}
               if dynamo else
               {"dynamo": False, "opset_version": 17, "dynamic_axes": dict(zip(names, free))})
    torch.onnx.export(network.eval(), tuple(inputs), file, input_names=names, output_names=["output"], **options)


def settle_torch(network, pixels):
    import torch
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean over all that is seen
    network.train()
    with torch.no_grad():
        network(pixels)


def torch_vision(build, dynamo=False, size=224):
    def export(file):
        import torch
        torch.manual_seed(8)
        network = build()
        pixels = torch.from_numpy(photographs(size, size).transpose(0, 3, 1, 2).copy())
        settle_torch(network, pixels)
        torch_export(file, network, [pixels[:2]], ["image"], dynamo)
    return export


def torchvision(name, **options):
    def build():
        import torchvision.models
        import torchvision.models.segmentation
        module = torchvision.models.segmentation if name.startswith(("lraspp", "deeplab")) else torchvision.models
        return getattr(module, name)(weights=None, **options)
    return build


def segmenter(name, **options):
    def build():
        import torch

        class OneOutput(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.network = torchvision(name, weights_backbone=None, **options)()

            def forward(self, x):
                return self.network(x)["out"]
        return OneOutput()
    return build


def timm(name):
    def build():
        import timm as library
        return library.create_model(name, pretrained=False)
    return build


def recurrent(kind, dynamo=False):
    """Embeddings, two layers in both directions, a classifier of the mean: what text classifiers were before attention."""
    def export(file):
        import torch
        torch.manual_seed(8)

        class Classifier(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = torch.nn.Embedding(30522, 128)
                self.recurrent = getattr(torch.nn, kind)(128, 96, num_layers=2, bidirectional=True, batch_first=True)
                self.classifier = torch.nn.Linear(192, 8)

            def forward(self, ids):
                states, _ = self.recurrent(self.embedding(ids))
                return self.classifier(states.mean(1))
        torch_export(file, Classifier(), [torch.randint(0, 30522, (2, 20))], ["input_ids"], dynamo)
    return export


# Keras


def keras(name, size=224, **options):
    def export(file):
        import keras as library
        library.utils.set_random_seed(8)
        image = library.Input((size, size, 3), name="image")
        network = getattr(library.applications, name)(weights=None, input_tensor=image, classifier_activation=None,
                                                      **options)
        normalizations = [layer for layer in network._flatten_layers() if hasattr(layer, "moving_mean")]
        for layer in normalizations:
            layer.momentum = 0.0  # the last batch is what counts
        network(photographs(size, size), training=True)
        network.export(file, format="onnx", verbose=False)
    return export


# Paddle


def paddle(name, size=224):
    def export(file):
        import paddle as library
        library.seed(8)
        network = getattr(library.vision.models, name)()
        for layer in network.sublayers():
            if isinstance(layer, library.nn.BatchNorm2D):
                layer._momentum = 0.0
        network.train()
        with library.no_grad():
            network(library.to_tensor(photographs(size, size).transpose(0, 3, 1, 2).copy()))
        network.eval()
        spec = library.static.InputSpec([None, 3, size, size], "float32", "image")
        library.onnx.export(network, str(file.with_suffix("")), input_spec=[spec], opset_version=13)
    return export


EXPORTS = {
    "swin": torch_vision(torchvision("swin_t")),
    "vit_tiny": torch_vision(timm("vit_tiny_patch16_224"), dynamo=True),
    "convnext": torch_vision(timm("convnext_atto"), dynamo=True),
    "efficientnet": torch_vision(torchvision("efficientnet_b0")),
    "shufflenet": torch_vision(torchvision("shufflenet_v2_x1_0"), dynamo=True),
    "densenet": torch_vision(torchvision("densenet121")),
    "lraspp": torch_vision(segmenter("lraspp_mobilenet_v3_large")),
    "deeplab": torch_vision(segmenter("deeplabv3_mobilenet_v3_large"), dynamo=True),
    "lstm_text": recurrent("LSTM"),
    "gru_text": recurrent("GRU"),
    "keras_efficientnet": keras("EfficientNetV2B0", include_preprocessing=False),
    "keras_mobilenet": keras("MobileNetV3Small", include_preprocessing=False),
    "keras_xception": keras("Xception", size=160),
    "paddle_mobilenet": paddle("mobilenet_v3_small"),
    "paddle_resnet": paddle("resnet18"),
}


def main():
    if len(sys.argv) < 2 or not EXPORTS.keys() >= set(sys.argv[2:]):
        sys.exit(f"usage: export.py FOLDER [NAME ...], names: {' '.join(EXPORTS)}")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or EXPORTS:
        file = folder / f"{name}.onnx"
        if not file.exists():
            EXPORTS[name](file)
        print(file, flush=True)


if __name__ == "__main__":
    main()
