"""Model directories of ./dev fidelity: a network's file, inputs to calibrate with and others to measure on; and figures that are kept."""

import argparse
import functools
import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np

TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / name) for name in ("zoo", "bench", "e2e")]
import daemon  # noqa: E402, F401 (others take it and the next ones from here)
import fashion  # noqa: E402
import models  # noqa: E402
import peers  # noqa: E402, F401
import zoo  # noqa: E402

ROOT, TRAINED = TESTS.parent, pathlib.Path(__file__).parent / "trained"
ROWS = 32  # of a request

# Networks with labels: their files in TRAINED, or the demo's
DIGITS, MOBILE, RESNET, HARD = "digits", "fashion_mobile", "fashion_resnet", "fashion_mobile_hard"
LABELLED = (DIGITS, MOBILE, RESNET, HARD)


# Model directories: model.onnx, samples/ and tests/ with inputs, and where there are labels labels.npy and perhaps qat.onnx


def save_inputs(folder, name, samples, tests):
    for part in ("samples", "tests"):
        (folder / part).mkdir(parents=True)
    np.savez(folder / "samples/rows.npz", **{name: samples})
    for first in range(0, len(tests), ROWS):
        np.savez(folder / f"tests/{first:05}.npz", **{name: tests[first:first + ROWS]})


def digits_inputs():
    """As deploy/models/digits/model.yaml normalises them, and of the calibration images so many as the others get."""
    def normal(name):
        pixels = np.load(TESTS / "demo" / name).astype(np.float32)
        return ((pixels - np.float32(33.3)) * np.float32(0.0127)).transpose(0, 3, 1, 2)
    return normal("calibration/images.npy")[:fashion.CALIBRATION], normal("test_images.npy"), np.load(TESTS / "demo/test_labels.npy")


def labelled_directory(folder, name):
    """Made again where the trained files are others than it was made of."""
    directory = folder / "models" / name
    model = ROOT / "deploy/models/digits/1/model.onnx" if name == DIGITS else TRAINED / f"{name}.onnx"
    files = {"model.onnx": model, "qat.onnx": TRAINED / f"{name}_qat.onnx"}
    files = {file: origin.read_bytes() for file, origin in files.items() if origin.exists()}
    if all((directory / file).exists() and (directory / file).read_bytes() == content for file, content in files.items()):
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    samples, tests, labels = digits_inputs() if name == DIGITS else (fashion.calibration(), *fashion.test())
    save_inputs(directory, "image", samples, tests)
    np.save(directory / "labels.npy", labels)
    for file, content in files.items():
        (directory / file).write_bytes(content)
    return directory


def prepare(arguments, name):
    if name in LABELLED:
        return labelled_directory(arguments.folder, name)
    return zoo.prepare(arguments.zoo, name)


@functools.cache
def calibrate(hachi, directory, table):
    """The table's path; a run of this program makes it anew, since another build of Hachi may write more into it."""
    output = directory / "served" / table
    models.run(hachi, "calibrate", directory, "--data", directory / "samples", "--output", output)
    return output


class Kept:
    """Figures of models' columns in a file, each with a digest of what they were measured with."""

    def __init__(self, file, again):
        self.file = file
        self.entries = {} if again or not file.exists() else json.loads(file.read_text())

    def get(self, name, column, parts, measure):
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        entry = self.entries.get(f"{name} {column}")
        if entry is None or entry["digest"] != digest:
            entry = {"digest": digest, "figures": measure()}
            self.entries[f"{name} {column}"] = entry
            self.file.write_text(json.dumps(self.entries, indent=1) + "\n")
        return entry["figures"]


def digest_of(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def parse_arguments(description, **options):
    """The arguments that every table has; `options` are more of them: a type and a default each."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    shipped = [name for name, model in zoo.MODELS.items() if model.package]
    parser.add_argument("--models", nargs="+", default=[*LABELLED, *shipped], choices=[*LABELLED, *zoo.MODELS], metavar="NAME")
    parser.add_argument("--no-zoo", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    for option, (kind, default) in options.items():
        parser.add_argument(f"--{option}", type=kind, default=default)
    arguments = parser.parse_args()
    if arguments.no_zoo:
        arguments.models = [name for name in arguments.models if name in LABELLED]
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    return arguments
