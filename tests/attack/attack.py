#!/usr/bin/env python3
"""Attacks `hachi serve` in every way of attacks.py while a good client calls it, and prints a table.

The good client is on a connection of its own, with a new one every second. An attack has failed when the daemon lives and
answers, all good calls ended OK, and each attack's numbers are within the limits that are printed.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import grpc
from tritonclient.grpc import service_pb2_grpc

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

import attacks
from bad_request_test import good_request
from daemon import Daemon
from tls_test import Authority, read

ROOT = pathlib.Path(__file__).parents[2]
MIB = 1 << 20
MODES = ("bare", "mtls", "haproxy", "gateway")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A daemon, and what stands before it: nothing, mTLS, or HAProxy as sidecar.cfg or gateway.cfg has it.

    Behind the gateway, which lets nobody else in, the attacker has a certificate.
    """

    def __init__(self, mode, folder):
        self.credentials = self.proxy = None
        files, server = {}, ""
        if mode in ("mtls", "gateway"):
            authority = Authority(folder, "ours")
            authority.sign("localhost", "IP:127.0.0.1")
            authority.sign("good")
            self.credentials = grpc.ssl_channel_credentials(
                read(authority.path("pem")), read(authority.path("key", "good")), read(authority.path("pem", "good")))
            files["authority"] = authority.path("pem")
            if mode == "gateway":
                authority.sign("bad")
                files |= {"certificate": authority.path("pem", "bad"), "key": authority.path("key", "bad")}
        if mode == "mtls":
            server = (f"tls: {{certificate: {folder}/localhost.pem, key: {folder}/localhost.key, "
                      f"client_ca: {folder}/ours.pem}}")
        if mode in ("haproxy", "gateway"):
            server = "limits: {connections_per_address: 1024}"
        self.daemon = Daemon(server=server)
        self.grpc, self.metrics = self.daemon.grpc_address, self.daemon.metrics_address
        if mode == "haproxy":
            self.start_proxy("sidecar.cfg", {})
        if mode == "gateway":
            both = pathlib.Path(folder) / "gateway.pem"
            both.write_bytes(read(authority.path("pem", "localhost")) + read(authority.path("key", "localhost")))
            self.start_proxy("gateway.cfg", {"CERTIFICATE": str(both), "CLIENT_CA": authority.path("pem")})
        self.target = attacks.Target(self.grpc, self.metrics, good_request().SerializeToString(), **files)
        self.daemon.wait_until(self.answers)

    def start_proxy(self, config, environment):
        """Puts HAProxy before the daemon."""
        self.grpc = f"127.0.0.1:{free_port()}"
        self.proxy = subprocess.Popen(
            ["/usr/sbin/haproxy", "-f", ROOT / "deploy/haproxy" / config],
            env={**os.environ, "HACHI": self.daemon.grpc_address, "BIND": self.grpc, **environment},
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def answers(self):
        """Whether a new client is answered within ten seconds."""
        with self.channel() as channel:
            try:
                service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(good_request(), timeout=10, wait_for_ready=True)
            except grpc.RpcError:
                return False
        return True

    def channel(self):
        own = [("grpc.use_local_subchannel_pool", 1)]
        if self.credentials:
            return grpc.secure_channel(self.grpc, self.credentials, own)
        return grpc.insecure_channel(self.grpc, own)

    def lives(self):
        return self.daemon.process.poll() is None

    def memory(self, forget=False):
        """The most that the daemon took since it was asked to forget."""
        process = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        if forget:
            (process / "clear_refs").write_text("5")
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")

    def stop(self):
        if self.proxy:
            self.proxy.kill()
            self.proxy.wait()
        self.daemon.stop()


class GoodClient(threading.Thread):
    """Calls until `stop`; keeps each call's code and time, and those of the metrics page."""

    def __init__(self, served, stop):
        super().__init__()
        self.served, self.stop_event = served, stop
        self.codes, self.seconds, self.scrapes, self.failed_scrapes = {}, [], 0, 0

    def run(self):
        while not self.stop_event.is_set():
            with self.served.channel() as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                end = time.monotonic() + 1
                while time.monotonic() < end and not self.stop_event.is_set():
                    started = time.monotonic()
                    try:
                        stub.ModelInfer(good_request(), timeout=10, wait_for_ready=True)
                        code = "OK"
                    except grpc.RpcError as error:
                        code = error.code().name
                    self.codes[code] = self.codes.get(code, 0) + 1
                    self.seconds.append(time.monotonic() - started)
                    time.sleep(0.005)
            try:
                urllib.request.urlopen(f"http://{self.served.metrics}/metrics", timeout=5).read()
                self.scrapes += 1
            except OSError:
                self.failed_scrapes += 1

    def p99_ms(self):
        return 1000 * sorted(self.seconds)[int(len(self.seconds) * 0.99)] if self.seconds else float("nan")


def attack(served, function, seconds):
    processes = multiprocessing.get_context("spawn")
    stop, done = processes.Event(), processes.Queue()
    attacker = processes.Process(target=attacks.run, args=(function, served.target, stop, done)) if function else None
    served.memory(forget=True)
    before = served.memory()
    good = GoodClient(served, stop)
    if attacker:
        attacker.start()
    good.start()
    time.sleep(seconds)
    stop.set()
    inputs = done.get() if attacker else 0
    if attacker:
        attacker.join()
    good.join()
    peak = served.memory() if served.lives() else float("nan")
    return {
        "attack": function.__name__ if function else "none", "inputs": inputs, "crash": not served.lives(),
        "hang": served.lives() and not served.answers(), "good": good.codes.get("OK", 0),
        "failed": sum(good.codes.values()) - good.codes.get("OK", 0), "codes": good.codes, "p99_ms": good.p99_ms(),
        "grew_mib": (peak - before) / MIB, "peak_mib": peak / MIB, "scrapes": good.scrapes, "failed_scrapes": good.failed_scrapes,
    }


def named(row):
    """How many good calls failed, and with which codes."""
    codes = ", ".join(f"{count} {code}" for code, count in sorted(row["codes"].items()) if code != "OK")
    return codes or "0"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hachi", help="the program")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack")
    parser.add_argument("--mode", choices=MODES, action="append", help="default: each")
    parser.add_argument("--attack", action="append", help="default: each")
    parser.add_argument("--json", help="a file for the numbers")
    arguments = parser.parse_args()
    unknown = set(arguments.attack or ()) - {function.__name__ for function in attacks.ALL}
    if unknown:
        parser.error(f"--attack: {', '.join(sorted(unknown))}, expected names of attacks.py")
    os.environ["HACHI"] = str(pathlib.Path(arguments.hachi).resolve())
    chosen = [None] + [f for f in attacks.ALL if not arguments.attack or f.__name__ in arguments.attack]
    rows, failed = [], 0
    for mode in arguments.mode or MODES:
        print(f"\n{mode}\n")
        print("| attack | inputs | crash | hang | good calls | failed | p99 ms | grew MiB | failed scrapes |")
        print("|---|---|---|---|---|---|---|---|---|")
        for function in chosen:
            with tempfile.TemporaryDirectory() as folder:
                served = Served(mode, folder)
                row = {"mode": mode, **attack(served, function, arguments.seconds)}
                served.stop()
            rows.append(row)
            bad = row["crash"] or row["hang"] or row["failed"] or row["failed_scrapes"]
            failed += bool(bad)
            print(f"| {row['attack']} | {row['inputs']} | {int(row['crash'])} | {int(row['hang'])} | {row['good']} | "
                  f"{named(row)} | {row['p99_ms']:.1f} | {row['grew_mib']:.0f} | {row['failed_scrapes']} |", flush=True)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
