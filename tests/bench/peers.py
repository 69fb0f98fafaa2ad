"""Measures Hachi, OpenVINO and ONNX Runtime on the same models, taking turns, and prints medians and ratios.

usage: peers.py HACHI FOLDER [--models NAME ...] [--precisions P ...] [--isa ISA] [--rounds N] [--seconds S]
                [--json FILE] [--plot FILE]
FOLDER holds model directories as models.py writes them; what each engine's own tool makes of them is added there once:
calibration.txt (hachi calibrate), openvino/ (NNCF), onnxruntime/ (static quantization). A first round finds each
engine's best (streams x threads, batch) by throughput; the rounds that count measure that, and the latency of single
rows on all cores. Each measurement lasts S seconds; engines take turns within a round. Load times are of processes that
load nothing else, as many as there are rounds. BF16 and --isa, which lets kernels use no more than that instruction set
(AVX2, AVX512_CORE), know no ONNX Runtime: it has neither.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

ENGINES = ["hachi", "openvino", "onnxruntime"]
SETTINGS = [(2, 1, 1), (2, 1, 8), (1, 2, 8)]  # streams, threads of each, rows of a batch
SINGLE = (1, 2, 1)  # one row on both cores


def samples(folder):
    """The inputs of each sample, a dictionary by input name. A folder's only file holds all samples as rows."""
    files = sorted((folder / "samples").iterdir())
    loaded = [{"input": np.load(file)} if file.suffix == ".npy" else dict(np.load(file)) for file in files]
    if len(files) > 1:
        return loaded
    return [rows(loaded[0], i, 1) for i in range(len(next(iter(loaded[0].values()))))]


def rows(data, first, count):
    return {name: np.take(values, range(first, first + count), axis=0, mode="wrap") for name, values in data.items()}


def batch_of(data, count):
    """So many rows: of the first samples, or where their shapes differ, of the first again and again."""
    if count == 1:
        return data[0]
    chosen = [data[i % len(data)] for i in range(count)]
    if any(sample[name].shape != values.shape for sample in chosen for name, values in data[0].items()):
        chosen = [data[0]] * count
    return {name: np.concatenate([sample[name] for sample in chosen]) for name in data[0]}


# Quantizing with each engine's own tool, once: what is there is kept


def calibrate(hachi, folder):
    if not (folder / "calibration.txt").exists():
        subprocess.run([hachi, "calibrate", folder, "--data", folder / "samples", "--output",
                        folder / "calibration.txt"], check=True)


def quantize_for_openvino(folder, **options):
    """By NNCF; `options` are more of its own."""
    if (folder / "openvino/int8.xml").exists():
        return
    import nncf
    import openvino
    data = samples(folder)
    model = openvino.convert_model(folder / "model.onnx")
    openvino.save_model(model, folder / "openvino/fp32.xml", compress_to_fp16=False)
    quantized = nncf.quantize(model, nncf.Dataset(data), subset_size=len(data), **options)
    openvino.save_model(quantized, folder / "openvino/int8.xml", compress_to_fp16=False)


def quantize_for_onnxruntime(folder):
    if (folder / "onnxruntime/int8.onnx").exists():
        return
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = samples(folder)

        def get_next(self):
            return self.left.pop() if self.left else None

    (folder / "onnxruntime").mkdir(exist_ok=True)
    plain = folder / "onnxruntime/fp32.onnx"
    quant_pre_process(str(folder / "model.onnx"), str(plain), skip_symbolic_shape=True)
    opset = next(entry.version for entry in onnx.load(plain).opset_import if entry.domain in ("", "ai.onnx"))
    quantize_static(str(plain), str(folder / "onnxruntime/int8.onnx"), Reader(), quant_format=QuantFormat.QDQ,
                    per_channel=opset >= 13, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def prepare(hachi, folder):
    import nncf
    transformer = {"model_type": nncf.ModelType.TRANSFORMER} if "attention_mask" in samples(folder)[0] else {}
    calibrate(hachi, folder)
    quantize_for_openvino(folder, **transformer)
    quantize_for_onnxruntime(folder)


# Engines in processes of their own: python peers.py --worker ENGINE FOLDER PRECISION


class CannotRun(Exception):
    """An engine refuses a model, or so many rows of it."""


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class OpenVino:
    def __init__(self, folder, precision):
        import openvino
        self.core = openvino.Core()
        self.file = folder / ("openvino/int8.xml" if precision == "int8" else "openvino/fp32.xml")
        self.hint = "bf16" if precision == "bf16" else "f32"
        self.data = samples(folder)

    def runners(self, streams, threads, batch):
        feed = batch_of(self.data, batch)
        model = self.core.read_model(self.file)
        model.reshape({name: values.shape for name, values in feed.items()})
        compiled = self.core.compile_model(model, "CPU", {
            "NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(streams * threads),
            "INFERENCE_PRECISION_HINT": self.hint})
        return [lambda r=compiled.create_infer_request(): r.infer(feed) for _ in range(streams)]


class OnnxRuntime:
    def __init__(self, folder, precision):
        import onnxruntime
        self.onnxruntime = onnxruntime
        self.file = str(folder / ("onnxruntime/int8.onnx" if precision == "int8" else "onnxruntime/fp32.onnx"))
        self.data = samples(folder)

    def runners(self, streams, threads, batch):
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        feed = batch_of(self.data, batch)
        return [lambda s=self.onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"]):
                s.run(None, feed) for _ in range(streams)]


def measure(runners, batch, seconds):
    """All runners at the same time for so long: rows a second and each run's latency."""
    for run in runners:
        run(), run()
    latencies, start = [[] for _ in runners], time.perf_counter()

    def loop(index):
        while time.perf_counter() - start < seconds:
            begin = time.perf_counter()
            runners[index]()
            latencies[index].append(time.perf_counter() - begin)

    threads = [threading.Thread(target=loop, args=(index,)) for index in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed, runs = time.perf_counter() - start, sum(latencies, [])
    return {"throughput_per_s": len(runs) * batch / elapsed,
            "latency_ms": {"p50": 1e3 * float(np.percentile(runs, 50)), "p99": 1e3 * float(np.percentile(runs, 99))}}


def worker(engine, folder, precision):
    engine = {"openvino": OpenVino, "onnxruntime": OnnxRuntime}[engine](pathlib.Path(folder), precision)
    kept = {}
    for line in sys.stdin:
        streams, threads, batch, seconds = json.loads(line)
        start = time.perf_counter()
        setting = (streams, threads, batch)
        try:
            if setting not in kept:
                kept[setting] = engine.runners(*setting)
                kept[setting][0]()
        except Exception as error:  # whatever the engine raises
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        load_seconds = time.perf_counter() - start
        result = measure(kept[setting], batch, seconds)
        print(json.dumps({**result, "load_seconds": load_seconds, "resident_bytes": resident_bytes()}), flush=True)


class Peer:
    """An engine with one model in one precision, in a process that lives through all rounds."""

    def __init__(self, engine, folder, precision):
        self.process = subprocess.Popen([sys.executable, __file__, "--worker", engine, folder, precision],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, setting, seconds):
        try:
            print(json.dumps([*setting, seconds]), file=self.process.stdin, flush=True)
            result = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise CannotRun(f"the process ended with {self.process.wait()}") from None
        if "error" in result:
            raise CannotRun(result["error"])
        return result

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Hachi:
    """`shapes` makes the --shape options for so many rows, of models with free dimensions."""

    def __init__(self, binary, folder, precision, shapes=lambda rows: []):
        self.command = [binary, "bench", folder, "--precision", precision, "--json"]
        self.shapes = shapes

    def measure(self, setting, seconds):
        streams, threads, batch = setting
        done = subprocess.run([*self.command, "--instances", str(streams), "--threads", str(threads), "--batch",
                               str(batch), "--seconds", str(seconds), *self.shapes(batch)], capture_output=True, text=True)
        if done.returncode != 0:
            raise CannotRun(done.stderr.strip())
        result = json.loads(done.stdout)
        result["throughput_per_s"] *= batch / result["batch"]  # 1: all rows are one request, which runs by itself
        return result

    def close(self):
        pass


def measure_model(arguments, folder, precision):
    def start():
        return {engine: Hachi(arguments.hachi, folder, precision) if engine == "hachi" else Peer(engine, folder, precision)
                for engine in ENGINES if engine != "onnxruntime" or not (arguments.isa or precision == "bf16")}

    loads = [measure_loads(start()) for _ in range(arguments.rounds)]
    results = measure_engines(start(), arguments, SETTINGS)
    for engine, result in results.items():
        for key in ("load_seconds", "resident_bytes"):
            result[key] = [of_round[engine][key] for of_round in loads]
    return results


def measure_loads(engines):
    """Of each engine a process that loads SINGLE, runs it for a moment, and ends."""
    results = {}
    for engine, peer in engines.items():
        results[engine] = peer.measure(SINGLE, 0.05)
        peer.close()
    return results


def measure_engines(engines, arguments, settings):
    """Every engine's rounds: {engine: {"setting": ..., "throughput": [...], "latency": [...], ...}}

    An engine that cannot run a setting has the best of the others; every one has to run SINGLE.
    """
    def throughput(peer, setting):
        try:
            return peer.measure(setting, arguments.seconds)["throughput_per_s"]
        except CannotRun:
            return -1

    results = {engine: {"setting": max(settings, key=lambda setting: throughput(peer, setting)),
                        "throughput": [], "p50": [], "p99": []} for engine, peer in engines.items()}
    for _ in range(arguments.rounds):
        for engine, peer in engines.items():
            result = results[engine]
            best = peer.measure(result["setting"], arguments.seconds)
            single = peer.measure(SINGLE, arguments.seconds)
            result["throughput"].append(best["throughput_per_s"])
            result["p50"].append(single["latency_ms"]["p50"])
            result["p99"].append(single["latency_ms"]["p99"])
            if "ceiling_ratio" in best:
                result.setdefault("ceiling_ratio", []).append(best["ceiling_ratio"])
    for peer in engines.values():
        peer.close()
    return results


def ratio_text(ours, theirs):
    ratios = sorted(a / b for a, b in zip(ours, theirs))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def print_results(name, precision, results):
    for engine, result in results.items():
        streams, threads, batch = result["setting"]
        ceiling = (f", {100 * statistics.median(result['ceiling_ratio']):.0f} % of the ceiling"
                   if "ceiling_ratio" in result else "")
        print(f"{name:13} {precision} {engine:12} {statistics.median(result['throughput']):8.1f} rows/s "
              f"({streams}x{threads}, batch {batch}), one row p50 {statistics.median(result['p50']):.2f} "
              f"p99 {statistics.median(result['p99']):.2f} ms, loaded in {statistics.median(result['load_seconds']):.2f} s, "
              f"{int(statistics.median(result['resident_bytes'])) >> 20} MiB{ceiling}")
    ours, *others = results
    for peer in others:
        ratios = ", ".join(f"{what} {ratio_text(results[ours][key], results[peer][key])}" for what, key in (
            ("throughput", "throughput"), ("latency", "p50"), ("load", "load_seconds"), ("memory", "resident_bytes")))
        print(f"{name:13} {precision} {ours} over {peer}: {ratios}", flush=True)


def plot(all_results, file):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.5))
    for axis, key, title in zip(axes, ("throughput", "p50"), ("rows a second over OpenVINO's",
                                                              "latency of one row over OpenVINO's")):
        for offset, engine in enumerate(ENGINES):
            bars = [statistics.median(r[engine][key]) / statistics.median(r["openvino"][key]) if engine in r else 0
                    for r in all_results.values()]
            axis.bar([i + 0.27 * offset for i in range(len(bars))], bars, 0.25, label=engine)
        axis.set_xticks([i + 0.27 for i in range(len(all_results))], all_results, rotation=20)
        axis.set_title(title)
        axis.axhline(1, color="grey", linewidth=0.7)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(file)


def main():
    if sys.argv[1:2] == ["--worker"]:
        return worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--models", nargs="+", default=["resnet50", "mobilenet_v2", "bert6"])
    parser.add_argument("--precisions", nargs="+", default=["int8", "fp32", "bf16"])
    parser.add_argument("--isa", help="the most that kernels may use")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.isa:
        os.environ["ONEDNN_MAX_CPU_ISA"] = arguments.isa  # Hachi and OpenVINO obey it
    all_results = {}
    for name in arguments.models:
        prepare(arguments.hachi, arguments.folder / name)
        for precision in arguments.precisions:
            results = measure_model(arguments, arguments.folder / name, precision)
            all_results[f"{name} {precision}"] = results
            print_results(name, precision, results)
    if arguments.json:
        arguments.json.write_text(json.dumps(all_results, indent=1))
    if arguments.plot:
        plot(all_results, arguments.plot)


if __name__ == "__main__":
    main()
