"""Verdicts of ./dev fidelity on what is promised, and published networks beside ours."""

import statistics

from directories import HARD, models, zoo

JUDGED = "default"  # the column that they are about

# Of the zoo
TRANSFORMERS = {"minilm", "vit_saliency", "khmer_segmenter"}
OTHERS = {"lac", "ocr_crnn", "wake_mel", "wake_alexa", "wake_jarvis"} | {name for name in zoo.MODELS if name.startswith("silero")}

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


def print_verdicts(rows, verdicts=VERDICTS):
    print()
    for claim, judge in verdicts.items():
        found = list(judge(rows))
        broken = [text for holds, text in found if not holds]
        if not found:
            print(f"not measured: {claim}")
        elif broken:
            print(f"does not hold: {claim}: {', '.join(broken)}")
        else:
            print(f"holds: {claim}" + (f" ({found[0][1]})" if len(found) == 1 else f" ({len(found)} models)"))
