"""Prints what the server costs a call, beside gRPC itself: CPU time of the server's process, in microseconds.

usage: call_cost.py HACHI REPLAY_SERVER [--in-flight N ...] [--rounds N] [--seconds S] [--json FILE]
REPLAY_SERVER (replay_server.cc) answers the same requests with the same bytes and does nothing else. Both servers live
through all rounds and take turns. Two models that compute next to nothing: `small` has rows of 16 numbers, `image` of
224 x 224 pixels in bytes, 147 KiB. What computing takes all the same (hachi_compute_duration_seconds, one thread a
worker) is printed, and taken off.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import urllib.request

import sweep

SETTING = "2x1,8,0s"
MODELS = {"small": ("FLOAT", [16]), "image": ("UINT8", [224, 224, 3])}


def write_model(folder, dtype, shape):
    """Answers the first value of each row."""
    import onnx
    from onnx import TensorProto, helper
    dtype = getattr(TensorProto, dtype)
    axes = list(range(1, len(shape) + 1))
    constants = [helper.make_tensor(name, TensorProto.INT64, [len(axes)], values)
                 for name, values in (("starts", [0] * len(axes)), ("ends", [1] * len(axes)), ("axes", axes))]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["input", "starts", "ends", "axes"], ["output"])], "cheap",
        [helper.make_tensor_value_info("input", dtype, ["N", *shape])],
        [helper.make_tensor_value_info("output", dtype, ["N", *[1] * len(shape)])], constants)
    folder.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              folder / "model.onnx")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # in user mode and in the kernel


class Replay:
    load_command = sweep.Server.load_command

    def __init__(self, binary, hachi):
        self.process = subprocess.Popen([binary, hachi.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        self.through = []

    def compute_seconds(self):
        return 0

    def close(self):
        self.process.communicate()


class Hachi(sweep.Server):
    def __init__(self, binary, source, work):
        super().__init__(binary, SETTING, source, work, ["a"])
        self.metrics = self.process.stdout.readline().split()[-1]

    def compute_seconds(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as page:
            return sum(map(float, re.findall(r"(?m)^hachi_compute_duration_seconds_sum\{.*\} (\S+)$", page.read().decode())))


def measure(server, load_binary, in_flight, seconds):
    """Microseconds a call: of CPU but for computing, and of computing."""
    cpu, compute = cpu_seconds(server.process), server.compute_seconds()
    done = subprocess.run(server.load_command(load_binary, "a", seconds, "--concurrency", in_flight), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"call_cost: {done.stderr}")
    calls = json.loads(done.stdout)["succeeded"]
    compute = server.compute_seconds() - compute
    return {"cpu": 1e6 * (cpu_seconds(server.process) - cpu - compute) / calls, "compute": 1e6 * compute / calls}


def cost_of(arguments, name, work):
    write_model(work / name, *MODELS[name])
    hachi = Hachi(arguments.hachi, work / name, work / "served")
    servers = {"hachi": hachi, "replay": Replay(arguments.replay_server, hachi)}
    result = {}
    for in_flight in arguments.in_flight:
        rounds = {server: [] for server in servers}
        for _ in range(arguments.rounds):
            for server, process in servers.items():
                rounds[server].append(measure(process, arguments.hachi, in_flight, arguments.seconds))
        cost = {server: sweep.medians(of_server) for server, of_server in rounds.items()}
        above = statistics.median(ours["cpu"] - theirs["cpu"] for ours, theirs in zip(*rounds.values()))
        print(f"{name}, {in_flight} in flight: {cost['hachi']['cpu']:.1f} us of CPU a call and {cost['hachi']['compute']:.1f} us of computing, "
              f"gRPC alone {cost['replay']['cpu']:.1f}: {above:.1f} us above it", flush=True)
        result[in_flight] = {**cost, "above": above}
    for server in reversed(servers.values()):
        server.close()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi")
    parser.add_argument("replay_server")
    parser.add_argument("--in-flight", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    results = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as work:
            results[name] = cost_of(arguments, name, pathlib.Path(work))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
