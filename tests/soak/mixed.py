#!/usr/bin/env python3
"""All that happens to a server, at once and for long: load, clients that are slow, that cancel and whose deadlines are short, bad
requests, scrapes. Nothing may be lost, no answer wrong, no code another than it should be, and memory stays flat.

Memory is compared once a tenth of the time has passed: from there to the end it may grow by 2 % or 8 MiB.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc

for folder in ("e2e", "attack"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))

import http2
from bad_request_test import INVALID_ARGUMENT, NOT_FOUND, change, good_request
from daemon import IMAGES, ROOT, Daemon

MIB = 1 << 20


class Clients:
    """Threads that call the daemon until `stop`, and what came of their calls."""

    def __init__(self, daemon):
        self.daemon, self.stop = daemon, threading.Event()
        self.codes, self.faults, self.lock = collections.Counter(), [], threading.Lock()
        self.expected = [self.answer_alone(row) for row in range(len(IMAGES))]
        self.threads = []

    def answer_alone(self, row):
        with self.channel() as channel:
            return self.stub(channel).ModelInfer(self.request(row, 1), timeout=10).raw_output_contents[0]

    def channel(self):
        return grpc.insecure_channel(self.daemon.grpc_address, [("grpc.use_local_subchannel_pool", 1)])

    def stub(self, channel):
        return service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def request(self, row, rows):
        request = good_request(rows)
        request.raw_input_contents[0] = IMAGES[row:row + rows].tobytes()
        return request

    def count(self, kind, code, allowed, details=""):
        with self.lock:
            self.codes[kind, code.name] += 1
            if code not in allowed:
                self.faults.append(f"{kind}: {code.name} {details}")

    def check(self, kind, row, rows, answer):
        if answer.raw_output_contents[0] != b"".join(self.expected[row:row + rows]):
            with self.lock:
                self.faults.append(f"{kind}: a wrong answer")

    def start(self, client, seed):
        def loop():
            chance = random.Random(seed)
            while not self.stop.is_set():
                with self.channel() as channel:
                    for _ in range(200):  # then over another connection
                        if self.stop.is_set():
                            return
                        try:
                            client(self.stub(channel), chance)
                        except Exception as error:  # what a client does not expect is a finding
                            with self.lock:
                                self.faults.append(f"{client.__name__}: {error!r}")
                            self.stop.wait(1)

        self.threads.append(threading.Thread(target=loop))
        self.threads[-1].start()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    # What clients do, once.

    def good(self, stub, chance):
        row, rows = chance.randrange(len(IMAGES) - 8), chance.randint(1, 8)
        try:
            self.check("good", row, rows, stub.ModelInfer(self.request(row, rows), timeout=20))
            code = StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        self.count("good", code, {StatusCode.OK})

    def hurried(self, stub, chance):
        """Its deadline is about as far as an answer."""
        details = ""
        try:
            self.check("hurried", 0, 4, stub.ModelInfer(self.request(0, 4), timeout=chance.uniform(0.0005, 0.01)))
            code = StatusCode.OK
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
        self.count("hurried", code, {StatusCode.OK, StatusCode.DEADLINE_EXCEEDED}, details)

    def fickle(self, stub, chance):
        call = stub.ModelInfer.future(self.request(0, 4), timeout=20)
        time.sleep(chance.uniform(0, 0.005))
        call.cancel()
        self.count("fickle", call.code(), {StatusCode.OK, StatusCode.CANCELLED})

    def bad(self, stub, chance):
        expected, cases = chance.choice([(StatusCode.NOT_FOUND, NOT_FOUND), (StatusCode.INVALID_ARGUMENT, INVALID_ARGUMENT)])
        name, fields = chance.choice(cases)
        try:
            stub.ModelInfer(change(good_request(), **fields), timeout=20)
            code = StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
        self.count(f"bad ({name})", code, {expected})

    def curious(self, stub, chance):
        """Asks about the server instead, and reads its metrics."""
        stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="digits"), timeout=20)
        stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name="digits"), timeout=20)
        assert "hachi_build_info" in self.daemon.metrics_page()
        self.count("curious", StatusCode.OK, {StatusCode.OK})
        self.stop.wait(0.2)

    def slow(self, _stub, chance):
        """Sends a request in pieces, or never reads the answer."""
        connection = http2.Connection(self.daemon.grpc_address,
                                      settings=struct.pack(">HI", http2.INITIAL_WINDOW, 0) if chance.random() < 0.5 else b"")
        message = good_request().SerializeToString()
        body = b"\x00" + struct.pack(">I", len(message)) + message
        try:
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call_headers()))
            for at in range(0, len(body), 400):
                last = http2.END_STREAM if at + 400 >= len(body) else 0
                connection.send(http2.frame(http2.DATA, last, 1, body[at:at + 400]))
                self.stop.wait(0.1)
            connection.is_open()
            self.stop.wait(chance.uniform(0, 2))
        except OSError:
            pass  # the server may have had enough of it
        finally:
            connection.close()
        self.count("slow", StatusCode.OK, {StatusCode.OK})


class Load:
    """`hachi load`, which compares every answer with the one that its input gets alone."""

    def __init__(self, hachi, clients, seconds):
        self.folder = tempfile.TemporaryDirectory()
        expected = pathlib.Path(self.folder.name) / "expected.npy"
        to = ["--address", clients.daemon.grpc_address, "--model", "digits", "--input", f"image={ROOT}/tests/demo/test_images.npy"]
        subprocess.run([hachi, "infer", *to, "--batch", "1", "--save", f"probabilities={expected}"], check=True, capture_output=True)
        self.process = subprocess.Popen(
            [hachi, "load", *to, "--expect", f"probabilities={expected}", "--concurrency", "16", "--seconds", str(seconds), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self):
        output = self.process.communicate()[0]
        self.folder.cleanup()
        return self.process.returncode, output


def resident_bytes(daemon):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text())[1]) * 1024


def metric(daemon, name):
    """The sum over all its labels."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in daemon.metrics_page().splitlines() if re.match(rf"{name}[ {{]", line))


def faults_of_the_end(daemon):
    """What is left once nobody calls any more."""
    left = ("hachi_inflight_bytes", "hachi_queue_rows", "hachi_answers_waiting_bytes", "hachi_connections")
    give_up = time.monotonic() + 30
    while any(metric(daemon, name) for name in left) and time.monotonic() < give_up:
        time.sleep(0.1)
    return [f"{name} is {metric(daemon, name):.0f} at the end" for name in left if metric(daemon, name)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hachi", help="the program")
    parser.add_argument("seconds", type=float, help="how long")
    arguments = parser.parse_args()
    os.environ["HACHI"] = str(pathlib.Path(arguments.hachi).resolve())
    daemon = Daemon(server="limits: {answer_time: 1s}").wait_until_ready()
    daemon.client.close()  # a connection that is none of ours at the end
    clients = Clients(daemon)
    load = Load(os.environ["HACHI"], clients, arguments.seconds)
    kinds = [clients.good, clients.good, clients.hurried, clients.fickle, clients.bad, clients.curious, clients.slow, clients.slow]
    for seed, client in enumerate(kinds):
        clients.start(client, seed)
    time.sleep(arguments.seconds / 10)
    before = resident_bytes(daemon)
    exit_code, report = load.wait()
    clients.end()
    faults = clients.faults + faults_of_the_end(daemon)
    after = resident_bytes(daemon)
    if exit_code != 0:
        faults.append(f"load: {report.strip()}")
    else:
        sent = json.loads(report)
        print(f"load: {sent}")
    if after - before > max(before // 50, 8 * MIB):
        faults.append(f"memory: {after / MIB:.1f} MiB at the end, {before / MIB:.1f} MiB after a tenth of the time")
    if daemon.stop() != 0:
        faults.append("the drain failed")
    for (kind, code), count in sorted(clients.codes.items()):
        print(f"{kind}: {count} {code}")
    print(f"resident: {before / MIB:.1f} MiB after a tenth of the time, {after / MIB:.1f} MiB at the end")
    for fault, count in collections.Counter(faults).items():
        print(f"fault ({count} times): {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
