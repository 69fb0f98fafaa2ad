"""Prints what `hachi tune` and the accuracy guard make of networks: how fast and how exact what they find is.

usage: tune_and_guard.py HACHI FOLDER ZOO [--models NAME ...] [--no-zoo] [--again] [--json FILE] [--time 60s] [--trials N]
Both get a calibration table of a network's samples, and rows that were not calibrated with: 1,000 test images with labels, or of
networks without labels 32 other inputs, whose answers are compared with FP32's. What is lost is in percent of what FP32 has: of its
accuracy, or half the noise's share of its answers' power. FOLDER and ZOO are fidelity.py's; figures are kept in FOLDER as its are.

Tune: rows a second and loss of INT8 as it is by default; the best plan's speed over the default's, measured in turns, and its loss; trials
that --time (of each network) and --trials left time for. Guard: what INT8 loses as it is by default; what the guard did; the layers that
it took out of INT8; what is lost then.
"""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import urllib.request

import numpy as np

from directories import HARD, Kept, calibrate, daemon, digest_of, models, parse_arguments, prepare, zoo
from verdicts import print_verdicts

GOLDEN = 1000  # rows with labels
MOST_LOST = 0.01
SECONDS_TO_JUDGE = 1800
AS_IT_IS = "repairs: {equalization: false, bias_correction: false}"


def golden(directory, folder):
    """Rows to measure on, and their labels where there are some."""
    folder.mkdir()
    files = sorted((directory / "tests").iterdir())
    if not (directory / "labels.npy").exists():
        for file in files:
            os.link(file, folder / file.name)
        return
    rows = [dict(np.load(file)) for file in files[:-(-GOLDEN // len(next(iter(np.load(files[0]).values()))))]]
    np.savez(folder / "rows.npz", **{name: np.concatenate([part[name] for part in rows])[:GOLDEN] for name in rows[0]})
    np.save(folder / "labels.npy", np.load(directory / "labels.npy")[:GOLDEN])


def guarded_directory(hachi, directory, settings, name):
    """A model in INT8 by a table, with golden/ beside it."""
    served = directory / "served" / name
    shutil.rmtree(served, ignore_errors=True)
    served.mkdir(parents=True)
    os.link(directory / "model.onnx", served / "model.onnx")
    shutil.copy(calibrate(hachi, directory, "calibration.txt"), served / "calibration.txt")
    (served / "model.yaml").write_text(f"precision: int8\n{settings}\n")
    golden(directory, served / "golden")
    return served


def measure_tune(arguments, directory, settings):
    served = guarded_directory(arguments.hachi, directory, settings, "tune")
    try:
        models.run(arguments.hachi, "tune", served, "--data", served / "golden", "--time", arguments.time,
                   "--trials", str(arguments.trials), "--output", served / "decisions.txt")
    except models.DoesNotLoad:
        if not (served / "tune.json").exists():  # that no trial is good is in the report, too
            raise
    report = json.loads((served / "tune.json").read_text())
    default = report["trials"][0]
    best = None if report["best"] is None else report["trials"][report["best"] - 1]
    figures = {"metric": report["metric"], "throughput": default["throughput_per_s"], "loss": default["drop"], "good": default["ok"],
               "fp32": report["baseline"]["throughput_per_s"], "trials": len(report["trials"])}
    if best is not None:
        figures["best"] = {"ratio": best["throughput_per_s"] / default["throughput_per_s"], "loss": best["drop"], "changes": best["changes"]}
    return figures


def measure_guard(arguments, directory, settings):
    served = guarded_directory(arguments.hachi, directory, settings, "guard")
    os.environ["HACHI"] = str(arguments.hachi)
    daemon.SECONDS_TO_START = SECONDS_TO_JUDGE
    server = daemon.Daemon([f"name: model, dir: '{served}'"])
    try:
        server.wait_until(lambda: server.client.is_server_ready() or " ERROR " in server.log())
        if not server.client.is_server_ready():
            raise models.DoesNotLoad(server.log().split(" ERROR ")[1].splitlines()[0])
        with urllib.request.urlopen(f"http://{server.metrics_address}/status.json", timeout=60) as response:
            return json.load(response)["models"][0]["guard"]
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.stop()


MEASURES = {"tune": measure_tune, "guard": measure_guard}


def measure(arguments, kept, name, settings):
    """Figures of tune and guard; where one has none, the reason in "refused"."""
    directory, row = prepare(arguments, name), {}
    for what, work in MEASURES.items():
        parts = (digest_of(arguments.hachi), digest_of(directory / "model.onnx"), settings, GOLDEN,
                 (arguments.time, arguments.trials) if what == "tune" else ())
        row[what] = models.attempt(row, what, lambda: kept.get(
            f"{name} {settings}", what, parts, lambda: work(arguments, directory, settings)))
    return row


# Tables


def percent(share):
    return f"{100 * share:.2f}"


def within(holds):
    return "yes" if holds else "NO"


def tune_line(name, tune):
    line = f"{name:34} {tune['metric']:8} {tune['throughput']:11.1f} {percent(tune['loss']):>8}"
    if "best" not in tune:
        return f"{line} {'-':>12} {'-':>8} {tune['trials']:7} NO"
    return f"{line} {tune['best']['ratio']:12.2f} {percent(tune['best']['loss']):>8} {tune['trials']:7} {within(is_as_fast(tune))}"


def guard_line(name, guard):
    did = {"fell_back": f"{len(guard['layers'])} layers out", "fp32": f"FP32 ({len(guard['layers'])} out)"}.get(guard["result"], guard["result"])
    layers = ", ".join(guard["layers"][:2]) + (", .." if len(guard["layers"]) > 2 else "")
    return (f"{name:34} {guard['metric']:8} {percent(guard['drop']):>8} {did:16} {percent(guard['served_drop']):>8} "
            f"{within(guard['served_drop'] <= MOST_LOST):7} {layers}".rstrip())


def print_tables(rows):
    print(f"\ntune\n{'network':34} {'metric':8} {'INT8 rows/s':>11} {'loss, %':>8} {'best/default':>12} {'loss, %':>8} {'trials':>7} as fast, within 1 %")
    for name, row in rows.items():
        if row["tune"]:
            print(tune_line(name, row["tune"]))
    print(f"\nguard\n{'network':34} {'metric':8} {'loss, %':>8} {'guard':16} {'served':>8} {'within':7} layers out")
    for name, row in rows.items():
        if row["guard"]:
            print(guard_line(name, row["guard"]))
    print()
    for name, row in rows.items():
        for what, reason in row.get("refused", {}).items():
            print(f"{name}: {what}: {reason[:300]}")


# Verdicts


def is_as_fast(tune):
    """The best plan is within the budget, and at least as fast as the default where that is within it too."""
    best = tune.get("best")
    return best is not None and best["loss"] <= MOST_LOST and (best["ratio"] >= 1 or not tune["good"])


def best_plans(rows):
    for name, row in rows.items():
        if row["tune"]:
            yield is_as_fast(row["tune"]), name


def guarded_losses(rows):
    for name, row in rows.items():
        if row["guard"]:
            yield row["guard"]["served_drop"] <= MOST_LOST, f"{name} {percent(row['guard']['served_drop'])} %"


VERDICTS = {
    "tune's best plan loses at most 1 %, and is at least as fast as the default where that does too": best_plans,
    "what a guard lets be served loses at most 1 %": guarded_losses,
}


def print_ratios(rows):
    ratios = [row["tune"]["best"]["ratio"] for row in rows.values() if row["tune"] and "best" in row["tune"]]
    if ratios:
        print(f"best/default: {np.exp(np.mean(np.log(ratios))):.2f} in the geometric mean, {max(ratios):.2f} at most")


def main():
    logging.disable(logging.WARNING)
    arguments = parse_arguments(__doc__, time=(str, "60s"), trials=(int, 100))
    kept, rows = Kept(arguments.folder / "tune_and_guard_figures.json", arguments.again), {}
    for name in arguments.models:
        for remark, settings in {"": "", " (not repaired)": AS_IT_IS}.items():
            if settings and name != HARD:
                continue
            try:
                rows[name + remark] = row = measure(arguments, kept, name, settings)
                print(f"{name + remark}: " + ", ".join(f"{what} {'done' if row[what] else 'refused'}" for what in MEASURES), flush=True)
            except zoo.NotExported as reason:
                print(f"{name}: {reason}", flush=True)
    print_tables(rows)
    print_verdicts(rows, VERDICTS)
    print_ratios(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
