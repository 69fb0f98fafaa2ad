"""Runs real models on Hachi, OpenVINO and ONNX Runtime, and prints how exact and how fast each is.

usage: models.py HACHI FOLDER [--models NAME ...] [--no-speed | --fp32 | --speed] [--rounds N] [--seconds S] [--json FILE]
FOLDER is zoo.py's; what each engine's own tool makes of a model is kept there beside it: calibration.txt
(hachi calibrate), openvino/ (NNCF's default), onnxruntime/ (static quantization), all from the same 64 samples.
Columns: the worst FP32 error against ONNX Runtime over 32 other inputs, |difference| / (max - min) of the output; INT8's
signal over quantization noise of the worst output over the same, 10 log10(sum y^2 / sum difference^2); share of multiply-adds in
INT8; then Hachi / OpenVINO / ONNX Runtime: milliseconds of one row on all cores, rows a second at the best of
peers.py's settings, medians of N rounds in turns. --fp32 ends after the first of these columns,
--speed has only the speed of INT8. A model that does not load
is a line with the reason.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import pathlib
import re
import statistics
import subprocess
import sys
import traceback

import numpy as np

import zoo

TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(TESTS / "bench"), str(TESTS / "e2e")]
import peers  # noqa: E402

FP32_ERROR = 1e-4  # the worst that is right


class DoesNotLoad(Exception):
    pass


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise DoesNotLoad((done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1].removeprefix("hachi: "))
    return done.stdout


def test_inputs(folder):
    return [dict(np.load(file)) for file in sorted((folder / "tests").iterdir())]


def shape_options(folder, rows=1):
    """--shape for each input with free dimensions: as the first sample has it, with so many rows."""
    import onnx
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    feed, options = peers.batch_of(peers.samples(folder), rows), []
    for value in graph.input:
        if value.name in feed and any(d.dim_value <= 0 for d in value.type.tensor_type.shape.dim):
            options += ["--shape", f"{value.name}={','.join(map(str, feed[value.name].shape))}"]
    return options


# Answers: for each output, what it held over all inputs


def joined(answers):
    return [np.concatenate([np.asarray(answer[i]).ravel() for answer in answers]) for i in range(len(answers[0]))]


def onnxruntime_answers(file, inputs):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # no warnings: some files state wrong shapes of their outputs
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return [output.name for output in session.get_outputs()], joined([session.run(None, feed) for feed in inputs])


def openvino_answers(file, inputs):
    import openvino
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return joined([list(compiled(feed).values()) for feed in inputs])


def hachi_answers(hachi, served, outputs, inputs):
    """Those of the model that `served` configures, a value of the server's `models`, through the server."""
    import tritonclient.grpc as triton
    from tritonclient.utils import np_to_triton_dtype
    os.environ["HACHI"] = str(hachi)
    from daemon import Daemon
    server = Daemon([f"name: model, {served}"])
    try:
        server.wait_until(lambda: server.client.is_server_ready() or " ERROR " in server.log())
        if not server.client.is_server_ready():
            raise DoesNotLoad(server.log().split(" ERROR ")[1].splitlines()[0])

        def answer(feed):
            tensors = []
            for name, values in feed.items():
                tensors.append(triton.InferInput(name, values.shape, np_to_triton_dtype(values.dtype)))
                tensors[-1].set_data_from_numpy(values)
            try:
                result = server.client.infer("model", tensors)
            except triton.InferenceServerException as error:
                raise DoesNotLoad(f"answers {error.status()}: {error.message()}") from None
            return [result.as_numpy(output) for output in outputs]

        return joined([answer(feed) for feed in inputs])
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):  # a load that goes on; it was killed
            server.stop()


def worst_error(right, found):
    def error(y, x):
        if y.shape != x.shape:
            return float("inf")
        if y.dtype.kind != "f":
            return float(np.mean(y != x))  # the share that differs
        spread = float(y.max()) - float(y.min())
        return float(np.abs(y - x).max()) / (spread or 1)
    return max(error(*pair) for pair in zip(right, found))


def signal_to_noise(right, found):
    """Decibels, of the worst output; None where no output is of real numbers."""
    def ratio(y, x):
        noise = float(np.sum(np.square(y - x, dtype=np.float64)))
        return 10 * np.log10(float(np.sum(np.square(y, dtype=np.float64))) / noise) if noise else 999.0
    ratios = [ratio(y, x) for y, x in zip(right, found) if y.dtype.kind == "f" and np.any(y)]
    return min(ratios) if ratios else None


# One model


def attempt(row, engine, work):
    """What `work` returns; None, with the reason in the row, where the engine's own tool fails."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # progress
            return work()
    except Exception as error:  # whatever an engine raises
        row.setdefault("refused", {})[engine] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
        return None


def fp32_accuracy(hachi, folder, row):
    """Fills the row; returns the test inputs, the names of outputs and what they rightly hold."""
    inputs = test_inputs(folder)
    outputs, right = onnxruntime_answers(folder / "model.onnx", inputs)
    found = hachi_answers(hachi, f"dir: '{folder}', precision: fp32", outputs, inputs)
    row["fp32_error"] = worst_error(right, found)
    if row["fp32_error"] > FP32_ERROR:  # of the network or of Hachi?
        row["fp32_error_openvino"] = attempt(row, "openvino", lambda: worst_error(
            right, openvino_answers(folder / "model.onnx", inputs)))
    return inputs, outputs, right


def quantize(hachi, folder, row):
    """By each engine's own tool, once."""
    if not (folder / "calibration.txt").exists():
        run(hachi, "calibrate", folder, "--data", folder / "samples", "--output", folder / "calibration.txt")
    attempt(row, "openvino", lambda: peers.quantize_for_openvino(folder))
    attempt(row, "onnxruntime", lambda: peers.quantize_for_onnxruntime(folder))


def int8_accuracy(hachi, folder, row, inputs, outputs, right):
    found = hachi_answers(hachi, f"dir: '{folder}', precision: int8", outputs, inputs)
    row["sqnr_db"] = {"hachi": signal_to_noise(right, found)}
    row["int8_mac_ratio"] = attempt(row, "hachi inspect", lambda: json.loads(
        run(hachi, "inspect", folder, "--precision", "int8", "--json", *shape_options(folder)))["int8_mac_ratio"])
    row["sqnr_db"]["openvino"] = attempt(row, "openvino", lambda: signal_to_noise(
        right, openvino_answers(folder / "openvino/int8.xml", inputs)))
    row["sqnr_db"]["onnxruntime"] = attempt(row, "onnxruntime", lambda: signal_to_noise(
        right, onnxruntime_answers(folder / "onnxruntime/int8.onnx", inputs)[1]))


def speed(arguments, folder, model, row, precisions):
    settings = [s for s in peers.SETTINGS if model.batches or s[2] == 1]
    for precision in precisions:
        engines = {}
        for engine in peers.ENGINES:
            if engine == "hachi":
                peer = peers.Hachi(arguments.hachi, folder, precision, lambda rows: shape_options(folder, rows))
            else:
                peer = peers.Peer(engine, folder, precision)
            if attempt(row, f"{engine} {precision}", lambda: peer.measure(peers.SINGLE, 0.05)):
                engines[engine] = peer
        row[precision] = peers.measure_engines(engines, arguments, settings)


def measure(arguments, name):
    model, row = zoo.MODELS[name], {"maker": zoo.MODELS[name].maker}
    try:
        folder = zoo.prepare(arguments.folder, name)
        if not arguments.speed:
            known = fp32_accuracy(arguments.hachi, folder, row)
        if not arguments.fp32:
            quantize(arguments.hachi, folder, row)
        if not (arguments.fp32 or arguments.speed):
            int8_accuracy(arguments.hachi, folder, row, *known)
        if not (arguments.fp32 or arguments.no_speed):
            speed(arguments, folder, model, row, ("int8",) if arguments.speed else ("fp32", "int8"))
    except zoo.NotExported as reason:
        row["reason"] = str(reason)
    except DoesNotLoad as reason:
        row["reason"] = re.sub(r"'[^' ]*/models/", "'", str(reason))
    except Exception:  # one model's trouble is not the others'
        row["reason"] = "trouble in models.py: " + traceback.format_exc(limit=2).strip().splitlines()[-1]
        traceback.print_exc()
    return row


# The table


def figure(value, form):
    return "-" if value is None else format(value, form)


def of_engines(results, key, form):
    return "/".join(figure(statistics.median(results[engine][key]) if engine in results else None, form)
                    for engine in peers.ENGINES)


HEADER = (f"{'model':19} {'FP32 error':>10} {'INT8 SQNR, dB':>16} {'INT8':>5} {'FP32 ms':>20} {'INT8 ms':>20} "
          f"{'FP32 rows/s':>20} {'INT8 rows/s':>20}")


def line(name, row):
    text = f"{name:19} {figure(row.get('fp32_error'), '.1e'):>10}"
    if not row.keys() & {"sqnr_db", "int8"}:
        return f"{text} {row.get('reason', '')[:240]}"
    decibels = "/".join(figure(row.get("sqnr_db", {}).get(engine), ".1f") for engine in peers.ENGINES)
    text += f" {decibels:>16} {figure(row.get('int8_mac_ratio'), '.0%'):>5}"
    for key, form in (("p50", ".2f"), ("throughput", ".0f")):
        for precision in ("fp32", "int8"):
            text += f" {of_engines(row.get(precision, {}), key, form):>20}"
    return text


def ratios_to_openvino(rows, key):
    """INT8's, of the models that both run."""
    both = [row["int8"] for row in rows.values() if "int8" in row and {"hachi", "openvino"} <= set(row["int8"])]
    return [statistics.median(a / b for a, b in zip(results["hachi"][key], results["openvino"][key])) for results in both]


def speed_summary(rows):
    throughput, latency = (ratios_to_openvino(rows, key) for key in ("throughput", "p50"))
    if not throughput:
        return ""
    return (f"; INT8 over OpenVINO's, geometric means of {len(throughput)}: throughput {statistics.geometric_mean(throughput):.2f} "
            f"(least {min(throughput):.2f}), latency {statistics.geometric_mean(latency):.2f} (most {max(latency):.2f})")


def summary(rows):
    loaded = [row for row in rows.values() if "fp32_error" in row]
    right = sum(row["fp32_error"] <= FP32_ERROR for row in loaded)
    compared = [row["sqnr_db"] for row in loaded
                if "sqnr_db" in row and None not in (row["sqnr_db"]["hachi"], row["sqnr_db"]["openvino"])]
    above = sum(row["hachi"] >= row["openvino"] for row in compared)
    return (f"{len(loaded)} of {len(rows)} load; FP32 is within {FP32_ERROR:g} for {right} of {len(loaded)}; "
            f"INT8 has at least the SQNR of NNCF's default for {above} of {len(compared)}{speed_summary(rows)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--models", nargs="+", default=list(zoo.MODELS), choices=list(zoo.MODELS), metavar="NAME")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = {}
    print(HEADER, flush=True)
    for name in arguments.models:
        rows[name] = measure(arguments, name)
        print(line(name, rows[name]), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1, default=float) + "\n")
    for name, row in rows.items():
        for engine, reason in row.get("refused", {}).items():
            print(f"{name}: {engine}: {reason}")
    for name, row in rows.items():
        if row.get("fp32_error_openvino"):
            print(f"{name}: OpenVINO's FP32 differs from ONNX Runtime's by {row['fp32_error_openvino']:.1e}")
    print(summary(rows))


if __name__ == "__main__":
    main()
