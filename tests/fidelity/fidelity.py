"""Prints what INT8 keeps of networks' accuracy: Hachi's ways to it beside quantization-aware training, NNCF and ONNX Runtime.

usage: fidelity.py HACHI FOLDER ZOO [--models NAME ...] [--no-zoo] [--again] [--json FILE]
FOLDER gets model directories, what each tool makes of them, and figures.json: what was measured of the same model by the
same program is not measured again, unless --again says so. ZOO is tests/zoo/zoo.py's folder.
All calibrate on the same inputs and are measured on others. A model's lines: accuracy in percent where there are
labels; top-1, the share of places where the largest score is the one that FP32 has there, of classifiers without labels;
SNR, the signal over quantization noise of the worst output in decibels, 10 log10(sum y^2 / sum difference^2), against FP32; INT8, the
share of multiply-adds in integers. Below the table: networks on ImageNet as others published them beside ours, and
verdicts on what is promised.
"""

import argparse
import functools
import hashlib
import json
import logging
import os
import pathlib
import re
import shutil
import statistics
import sys
from dataclasses import dataclass
from importlib import metadata

import numpy as np

TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / name) for name in ("zoo", "bench", "e2e")]
import fashion  # noqa: E402
import models  # noqa: E402
import peers  # noqa: E402
import zoo  # noqa: E402

ROOT, TRAINED = TESTS.parent, pathlib.Path(__file__).parent / "trained"
ROWS = 32  # of a request


@dataclass(frozen=True)
class Column:
    settings: str  # lines of model.yaml
    table: str | None = None  # calibration.txt's origin: of these files of the model's directory
    model: str = "model.onnx"


AS_IT_IS = "repairs: {equalization: false, bias_correction: false}"
HACHI = {
    "FP32": Column("precision: fp32"),
    "min-max": Column(f"precision: int8\nrange: min_max\n{AS_IT_IS}", "calibration.txt"),
    "plain": Column(f"precision: int8\n{AS_IT_IS}", "calibration.txt"),
    "default": Column("precision: int8", "calibration.txt"),
    "dynamic": Column("precision: int8_dynamic"),
    "QAT": Column("precision: int8", model="qat.onnx"),
}
PEERS = ("NNCF", "ORT")
JUDGED = "default"  # what the verdicts are about

# Networks with labels: their files in TRAINED, or the demo's
DIGITS, MOBILE, RESNET, HARD = "digits", "fashion_mobile", "fashion_resnet", "fashion_mobile_hard"
LABELLED = (DIGITS, MOBILE, RESNET, HARD)

# Of the zoo
CLASSIFIERS = {"open_nsfw": 2, "vgg16": 4, "magika": 214, "khmer_segmenter": 2, "lac": 59, "captcha_crnn": 37,
               "paddle_recognizer": 6625, "paddle_turned": 2, "paddle_orientation": 4}  # their last dimension: scores of classes
TRANSFORMERS = {"minilm", "vit_saliency", "khmer_segmenter"}
OTHERS = {"lac", "ocr_crnn", "wake_mel", "wake_alexa", "wake_jarvis"} | {name for name in zoo.MODELS if name.startswith("silero")}


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


# Answers


@functools.cache
def calibrate(hachi, directory, table):
    """The table's path; a run of this program makes it anew, since another build of Hachi may write more into it."""
    output = directory / "served" / table
    models.run(hachi, "calibrate", directory, "--data", directory / "samples", "--output", output)
    return output


def served_directory(hachi, directory, name):
    """What `hachi serve` gets for a column."""
    column, served = HACHI[name], directory / "served" / name
    shutil.rmtree(served, ignore_errors=True)
    served.mkdir(parents=True)
    os.link(directory / column.model, served / "model.onnx")
    (served / "model.yaml").write_text(column.settings + "\n")
    if column.table:
        shutil.copy(calibrate(hachi, directory, column.table), served / "calibration.txt")
    return served


class Subject:
    """A model with its test inputs, and what FP32 rightly answers: by ONNX Runtime, when first asked for."""

    def __init__(self, name, directory):
        self.name, self.directory = name, directory
        labels = directory / "labels.npy"
        self.labels = np.load(labels) if labels.exists() else None

    @functools.cached_property
    def inputs(self):
        return models.test_inputs(self.directory)

    @functools.cached_property
    def expected(self):
        """The names of outputs, and for each what it held over all inputs."""
        return models.onnxruntime_answers(self.directory / "model.onnx", self.inputs)

    def accuracy(self, answers):
        return 100 * float(np.mean(answers[0].reshape(len(self.labels), -1).argmax(1) == self.labels))

    def agreement(self, answers):
        chosen = [scores[0].reshape(-1, CLASSIFIERS[self.name]).argmax(1) for scores in (self.expected[1], answers)]
        return 100 * float(np.mean(chosen[0] == chosen[1]))

    def figures(self, answers):
        figures = {"SNR": models.signal_to_noise(self.expected[1], answers)}
        if self.labels is not None:
            figures["accuracy"] = self.accuracy(answers)
        if self.name in CLASSIFIERS:
            figures["top-1"] = self.agreement(answers)
        return figures


def measure_hachi(hachi, subject, name):
    served = served_directory(hachi, subject.directory, name)
    figures = subject.figures(models.hachi_answers(hachi, f"dir: '{served}'", subject.expected[0], subject.inputs))
    if HACHI[name].model != "model.onnx":
        del figures["SNR"]  # other weights: what they answer is no noise
    if "fp32" not in HACHI[name].settings:
        report = models.run(hachi, "inspect", served, "--json", *models.shape_options(subject.directory))
        figures["INT8"] = 100 * json.loads(report)["int8_mac_ratio"]
    return figures


def measure_peer(subject, name):
    folder = subject.directory
    if name == "NNCF":
        peers.quantize_for_openvino(folder)
        return subject.figures(models.openvino_answers(folder / "openvino/int8.xml", subject.inputs))
    peers.quantize_for_onnxruntime(folder)
    return subject.figures(models.onnxruntime_answers(folder / "onnxruntime/int8.onnx", subject.inputs)[1])


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


def measure(arguments, kept, name):
    """Figures by column; where one has none, the reason in "refused"."""
    if name in LABELLED:
        directory = labelled_directory(arguments.folder, name)
    else:
        directory = zoo.prepare(arguments.zoo, name)
    subject, row = Subject(name, directory), {}
    for column, settings in HACHI.items():
        if (directory / settings.model).exists():
            parts = (digest_of(arguments.hachi), digest_of(directory / settings.model), settings)
            row[column] = models.attempt(row, column, lambda: kept.get(
                name, column, parts, lambda: measure_hachi(arguments.hachi, subject, column)))
    for column in PEERS:
        parts = (digest_of(directory / "model.onnx"), [metadata.version(package) for package in ("nncf", "openvino", "onnxruntime")])
        row[column] = models.attempt(row, column, lambda: kept.get(name, column, parts, lambda: measure_peer(subject, column)))
    return row


# The table


COLUMNS = (*HACHI, *PEERS)
LINES = {"accuracy": ".2f", "top-1": ".1f", "SNR": ".1f", "INT8": ".0f"}


def print_row(name, row):
    for line, form in LINES.items():
        cells = [(row.get(column) or {}).get(line) for column in COLUMNS]
        if any(cell is not None for cell in cells):
            print(f"{name:20} {line:9}" + "".join(f"{models.figure(cell, form):>9}" for cell in cells), flush=True)
            name = ""


def print_reasons(rows):
    for name, row in rows.items():
        for column, reason in row.get("refused", {}).items():
            text = re.sub(r"'/[^' ]*/", "'", reason)[:300]
            print(f"{name}: {column}: {text}")


# Beside others: top-1 on ImageNet, FP32 and INT8, as published by who made them

PUBLISHED = (
    ("ResNet-50", "NNCF, ONNX", 74.84, 74.63),
    ("ResNet-50 v1.5", "OpenVINO, MLPerf 0.7", 76.46, 76.29),
    ("ResNet-50 v1.5", "Neural Compressor 2.6, ONNX Runtime", 76.46, 76.12),
    ("ResNet-50 v1", "MXNet", 77.21, 76.08),
    ("MobileNet v1", "Neural Compressor 1.0, TensorFlow", 71.00, 71.10),
    ("MobileNet v1", "MXNet", 73.28, 71.94),
    ("MobileNet v2", "NNCF, ONNX", 71.87, 71.38),
    ("MobileNet v2", "Neural Compressor 1.9, ONNX Runtime", 66.92, 65.19),
    ("MobileNet v2", "AIMET, rounding learned", 71.67, 71.14),
)


def loss(fp32, int8):
    """Percent of FP32's accuracy."""
    return 100 * (fp32 - int8) / fp32


def print_yardstick(rows):
    print("\ntop-1, %, and what of FP32's is lost; the published ones on ImageNet, where QAT is said to lose -0.04 to 1.07 %")
    print(f"{'network':20} {'by':36} {'FP32':>6} {'INT8':>6} {'loss, %':>8} {'QAT':>6} {'loss, %':>8}")
    for network, tool, fp32, int8 in PUBLISHED:
        print(f"{network:20} {tool:36} {fp32:6.2f} {int8:6.2f} {loss(fp32, int8):8.2f} {'-':>6} {'-':>8}")
    for name, fp32, int8 in accuracies(rows, "FP32", JUDGED):
        qat = figure(rows[name], "QAT", "accuracy")
        print(f"{name:20} {'Hachi':36} {fp32:6.2f} {int8:6.2f} {loss(fp32, int8):8.2f} {models.figure(qat, '.2f'):>6} "
              f"{models.figure(qat and loss(fp32, qat), '.2f'):>8}")


# Verdicts: each says of what it judges whether the claim holds, and the figures


def figure(row, column, line):
    return (row.get(column) or {}).get(line)


def accuracies(rows, first, second):
    """(name, accuracy, accuracy) where both columns have one; a column is a name, or a function of row and model."""
    for name, row in rows.items():
        pair = [figure(row, column(row, name) if callable(column) else column, "accuracy") for column in (first, second)]
        if None not in pair:
            yield name, *pair


def losses(rows):
    for name, fp32, int8 in accuracies(rows, "FP32", JUDGED):
        yield loss(fp32, int8) <= 1, f"{name} {loss(fp32, int8):.2f} %"


def integer_shares(rows):
    for name, row in rows.items():
        share, least = figure(row, JUDGED, "INT8"), 80 if name in TRANSFORMERS else 90
        if share is not None and name not in OTHERS:
            yield share >= least, f"{name} {share:.0f} %"


def training_pays(rows):
    for name, trained, post in accuracies(rows, "QAT", JUDGED):
        yield trained >= post, f"{name} {trained:.2f} % by training, {post:.2f} % after it"


def gains(rows):
    """Decibels over NNCF by model, where both have them."""
    pairs = {name: [figure(row, column, "SNR") for column in (JUDGED, "NNCF")] for name, row in rows.items()}
    return {name: pair[0] - pair[1] for name, pair in pairs.items() if None not in pair}


def quieter_each(rows):
    for name, gain in gains(rows).items():
        yield gain >= 0, f"{name} {gain:+.1f} dB"


def quieter_in_the_median(rows):
    if gains(rows):
        median = statistics.median(gains(rows).values())
        yield median >= 2, f"{median:+.1f} dB"


def hard_case(rows):
    points = {column: [fp32 - int8 for name, fp32, int8 in accuracies(rows, "FP32", column) if name == HARD]
              for column in ("min-max", JUDGED)}
    for simple, best in zip(*points.values()):
        yield simple > 5 and best <= 1, f"{simple:.2f} and {best:.2f}"


VERDICTS = {
    "relative loss of accuracy at most 1 %": losses,
    "at least 90 % of multiply-adds in INT8, of transformers' 80 %": integer_shares,
    "quantization-aware training at least as accurate as quantizing afterwards": training_pays,
    "SNR at least that of NNCF": quieter_each,
    "SNR 2 dB above that of NNCF in the median": quieter_in_the_median,
    "badly scaled channels: min-max loses more than 5 points, Hachi at most 1": hard_case,
}


def print_verdicts(rows):
    print()
    for claim, judge in VERDICTS.items():
        found = list(judge(rows))
        broken = [text for holds, text in found if not holds]
        if not found:
            print(f"not measured: {claim}")
        elif broken:
            print(f"does not hold: {claim}: {', '.join(broken)}")
        else:
            print(f"holds: {claim}" + (f" ({found[0][1]})" if len(found) == 1 else f" ({len(found)} models)"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("zoo", type=pathlib.Path)
    shipped = [name for name, model in zoo.MODELS.items() if model.package]
    parser.add_argument("--models", nargs="+", default=[*LABELLED, *shipped], choices=[*LABELLED, *zoo.MODELS], metavar="NAME")
    parser.add_argument("--no-zoo", action="store_true")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept, rows = Kept(arguments.folder / "figures.json", arguments.again), {}
    print(f"{'model':20} {'measure':9}" + "".join(f"{column:>9}" for column in COLUMNS), flush=True)
    for name in arguments.models:
        if name in LABELLED or not arguments.no_zoo:
            try:
                rows[name] = measure(arguments, kept, name)
                print_row(name, rows[name])
            except zoo.NotExported as reason:
                print(f"{name:20} {reason}")
    print_reasons(rows)
    print_yardstick(rows)
    print_verdicts(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
