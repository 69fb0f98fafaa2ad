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

import functools
import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from directories import Kept, calibrate, digest_of, models, parse_arguments, peers, prepare, zoo
from verdicts import print_verdicts, print_yardstick


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

# Of the zoo
CLASSIFIERS = {"open_nsfw": 2, "vgg16": 4, "magika": 214, "khmer_segmenter": 2, "lac": 59, "captcha_crnn": 37,
               "paddle_recognizer": 6625, "paddle_turned": 2, "paddle_orientation": 4}  # their last dimension: scores of classes

# Answers


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


def measure(arguments, kept, name):
    """Figures by column; where one has none, the reason in "refused"."""
    directory = prepare(arguments, name)
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


def main():
    logging.disable(logging.WARNING)
    arguments = parse_arguments(__doc__)
    kept, rows = Kept(arguments.folder / "figures.json", arguments.again), {}
    print(f"{'model':20} {'measure':9}" + "".join(f"{column:>9}" for column in COLUMNS), flush=True)
    for name in arguments.models:
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
