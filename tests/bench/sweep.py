"""Throughput and latency of served models over load, for several settings of the server side by side.

usage: sweep.py HACHI FOLDER [MODEL ...] [--settings S ...] [--in-flight N ...] [--shares P ...] [--rounds N]
                [--seconds S] [--json FILE] [--plot FILE]
MODEL is a model directory below FOLDER, or a path. A setting is `defaults`, or WORKERSxTHREADS,MAX_BATCH,MAX_DELAY as
in 2x1,8,2ms; tls:SETTING serves it through TLS to clients with certificates, BINARY@SETTING with another build of hachi. Every setting has a server of its own, all the time;
they take turns within each round, so that noise meets them all. Clients share the cores with the servers.

Closed loop: N requests in flight; in between the model runs without a server. Open loop: arrivals at shares of the capacity, which
is the most that the first setting answered in the closed loop, at a constant rate and by Poisson. Neighbours: a model asked ten times a second beside the same model under 128
requests in flight, its p99 against twice the longest batch that the other can make.
"""

import argparse
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile

IN_FLIGHT = [1, 2, 4, 8, 16, 32, 64, 128]
SHARES = [10, 30, 50, 70, 80, 90, 95]
SETTINGS = ["defaults", "2x1,1,0s", "2x1,8,0s", "2x1,32,0s", "1x2,1,0s", "1x2,8,0s", "1x2,32,0s"]


def model_directory(source, target, batching):
    """A copy of a model directory, folders by links, with a batching of its own; images come as bytes."""
    target.mkdir()
    for file in source.iterdir():
        if file.name not in ("model.yaml", "samples"):
            (target / file.name).symlink_to(file.resolve()) if file.is_dir() else shutil.copy(file, target)
    yaml = (source / "model.yaml").read_text() if (source / "model.yaml").exists() else ""
    lines = [line for line in yaml.splitlines() if not line.startswith(("batching:", "name:"))]
    if not yaml and source.name in ("resnet50", "mobilenet_v2"):
        lines.append("inputs: {input: {dtype: uint8, layout: nhwc, mean: [127.5], scale: [0.0157]}}")
    lines += [f"batching: {batching}"] if batching else []
    (target / "model.yaml").write_text("\n".join(lines) + "\n")


def sign_certificates(folder):
    """Keys and certificates of an authority, a server at 127.0.0.1 and a client."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl = lambda *arguments: subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        openssl("req", "-new", *key, "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
                "-copy_extensions", "copyall", "-out", f"{name}.pem")


class Server:
    def __init__(self, hachi, setting, source, work, names):
        binary, _, what = setting.rpartition("@")
        self.hachi = binary or hachi
        tls = what.startswith("tls:")
        what = what.removeprefix("tls:")
        cpu, batching = "", ""
        if what != "defaults":
            team, max_batch, max_delay = what.split(",")
            workers, threads = team.split("x")
            cpu = f"cpu: {{workers: {workers}, threads_per_worker: {threads}}}\n"
            batching = f"{{max_batch: {max_batch}, max_delay: {max_delay}}}"
        work.mkdir()
        for name in names:
            model_directory(source, work / name, batching)
        self.through = []
        if tls:
            self.through = ["--tls-ca", work / "ca.pem", "--tls-certificate", work / "client.pem", "--tls-key", work / "client.key"]
            sign_certificates(work)
        config = work / "server.yaml"
        config.write_text('server: {grpc: "127.0.0.1:0", metrics: "127.0.0.1:0", drain: {delay: 0s}'
                          f"{', tls: {certificate: server.pem, key: server.key, client_ca: ca.pem}' if tls else ''}}}\n"
                          f"{cpu}models: [{', '.join('{dir: ' + name + '}' for name in names)}]\n")
        self.process = subprocess.Popen([self.hachi, "serve", "--config", config], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if line.rstrip().endswith("ready"):
                break
        else:
            raise SystemExit(f"sweep: {setting}: the server ended, expected it to serve: {line}")
        self.address = self.process.stdout.readline().split()[-1]

    def load_command(self, load_binary, model, seconds, *load):
        return [load_binary, "load", "--address", self.address, *self.through, "--model", model, "--seconds", str(seconds), "--json",
                *map(str, load)]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()


def measure(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(f"sweep: {' '.join(command)}: {done.stderr}")
    result = json.loads(done.stdout)
    return {"throughput": result["throughput_per_s"], "p50": result["latency_ms"]["p50"],
            "p99": result["latency_ms"]["p99"], "failed": result["sent"] - result["succeeded"]}


def in_process(arguments, source, batch):
    """Without a server: a worker a core, all busy with batches of so many rows."""
    result = json.loads(subprocess.run(
        [arguments.hachi, "bench", source, "--batch", str(batch), "--instances", "2", "--seconds", str(arguments.seconds),
         "--json"], check=True, capture_output=True, text=True).stdout)
    return {"throughput": result["throughput_per_s"], "p50": result["latency_ms"]["p50"]}


def medians(rounds):
    return {key: statistics.median(result[key] for result in rounds) for key in rounds[0]}


def table(title, points, results, key, unit):
    print(f"\n{title}, {unit}\n{'':>28}" + "".join(f"{point:>10}" for point in points))
    for setting, by_point in results.items():
        print(f"{pathlib.Path(setting).name:>28}" + "".join(f"{by_point[point][key]:>10.4g}" for point in points))


def compare(points, results):
    """The first setting against the best of the others with as many workers and threads, at each point."""
    first, *others = results
    if not others:
        return
    for key, best in (("throughput", max), ("p50", min), ("p99", min)):
        ratios = [results[first][point][key] / best(results[other][point][key] for other in others)
                  for point in points]
        print(f"{first + ' / best, ' + key:>28}" + "".join(f"{ratio:>10.2f}" for ratio in ratios))


def rounds_of(arguments, servers, points, load_of, between=lambda: None):
    results = {setting: {point: [] for point in points} for setting in servers}
    for _ in range(arguments.rounds):
        between()
        for point in points:
            for setting, server in servers.items():
                results[setting][point].append(
                    measure(server.load_command(arguments.hachi, "a", arguments.seconds, *load_of(point))))
    return {setting: {point: medians(rounds) for point, rounds in by_point.items()}
            for setting, by_point in results.items()}


def neighbours(arguments, server, longest_batch_ms):
    p99 = []
    for _ in range(arguments.rounds):
        flood = subprocess.Popen(server.load_command(arguments.hachi, "b", 12, "--concurrency", 128),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p99.append(measure(server.load_command(arguments.hachi, "a", 10, "--rate", 10, "--poisson"))["p99"])
        flood.wait()
    return {"p99": statistics.median(p99), "two_longest_batches": 2 * longest_batch_ms}


def sweep(arguments, source):
    alone = {batch: in_process(arguments, source, batch) for batch in (1, 8, 32)}
    best = max(alone, key=lambda batch: alone[batch]["throughput"])
    throughput, longest_batch_ms = alone[best]["throughput"], alone[32]["p50"]
    print(f"\n== {source.name}: in process {throughput:.0f} rows/s, a batch of 32 takes {longest_batch_ms:.1f} ms")
    with tempfile.TemporaryDirectory() as work:
        servers = {setting: Server(arguments.hachi, setting, source, pathlib.Path(work) / str(i), ["a", "b"])
                   for i, setting in enumerate(arguments.settings)}
        first, result = arguments.settings[0], {}
        if arguments.in_flight:
            between = []
            closed = rounds_of(arguments, servers, arguments.in_flight, lambda n: ["--concurrency", n],
                               lambda: between.append(in_process(arguments, source, best)))
            for key, unit in (("throughput", "rows/s"), ("p50", "ms"), ("p99", "ms")):
                table(f"{key} by requests in flight", arguments.in_flight, closed, key, unit)
            compare(arguments.in_flight, closed)
            result["closed"], result["in_process"] = closed, medians(between)["throughput"]
            throughput = max(point["throughput"] for point in closed[first].values())
            print(f"\n{first} over in process: {throughput / result['in_process']:.2f}")
        for how, option in (("constant", []), ("poisson", ["--poisson"])):
            if arguments.shares:
                rate = lambda share: [*option, "--rate", round(throughput * share / 100, 3)]
                result[how] = rounds_of(arguments, servers, arguments.shares, rate)
                for key in ("p50", "p99"):
                    table(f"{key} at {how} rates in % of {throughput:.0f} rows/s", arguments.shares, result[how], key, "ms")
                compare(arguments.shares, result[how])
                print(f"{first + ', p99 / p50':>28}" + "".join(f"{point['p99'] / point['p50']:>10.2f}" for point in result[how][first].values()))
        if not arguments.no_neighbours:
            result["neighbours"] = neighbours(arguments, servers[first], longest_batch_ms)
            print("\nasked ten times a second beside 128 in flight: p99 {p99:.1f} ms, two of the longest batches "
                  "{two_longest_batches:.1f} ms".format(**result["neighbours"]), flush=True)
        for server in servers.values():
            server.close()
    return result


def plot(results, file):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(len(results), 3, figsize=(16, 4.5 * len(results)), squeeze=False)
    for row, (model, result) in zip(axes, results.items()):
        panels = [(row[0], "closed", "throughput", "requests in flight", "rows/s"),
                  (row[1], "closed", "p50", "requests in flight", "p50, ms"),
                  (row[2], "poisson", "p99", "Poisson arrivals, % of capacity", "p99, ms")]
        for axis, loop, key, x, y in panels:
            for setting, by_point in result.get(loop, {}).items():
                axis.plot(list(by_point), [point[key] for point in by_point.values()], marker="o", markersize=3,
                          linewidth=2.5 if setting == "defaults" else 1, label=pathlib.Path(setting).name)
            axis.set(title=model, xlabel=x, ylabel=y)
            if loop == "closed":
                axis.set_xscale("log", base=2)
            if key != "throughput":
                axis.set_yscale("log")
            axis.grid(alpha=0.3)
        row[0].axhline(result.get("in_process", 0), color="grey", linewidth=0.8, linestyle="--")
        row[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hachi")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("models", nargs="*", default=["deploy/models/digits", "mobilenet_v2", "resnet50"])
    parser.add_argument("--settings", nargs="+", default=SETTINGS)
    parser.add_argument("--in-flight", nargs="*", type=int, default=IN_FLIGHT)
    parser.add_argument("--shares", nargs="*", type=int, default=SHARES)
    parser.add_argument("--no-neighbours", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    arguments = parser.parse_args()
    results = {}
    for model in arguments.models:
        source = arguments.folder / model if (arguments.folder / model).is_dir() else pathlib.Path(model)
        results[source.name] = sweep(arguments, source)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1))
    if arguments.plot:
        plot(results, arguments.plot)


if __name__ == "__main__":
    main()
