"""SIGTERM, as Kubernetes ends a pod, costs no request."""

import collections
import json
import os
import pathlib
import re
import tempfile
import threading
import time
import unittest

import grpc
from grpc import StatusCode
from tritonclient.grpc import service_pb2_grpc

from bad_request_test import good_request
from daemon import DIGITS, Daemon, copy_of_digits


# As deploy/README.md tells clients: calls go round all replicas whose health is good.
BALANCED = json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})


class Client(threading.Thread):
    """Sends requests over a channel of its own until one is refused or `stop`; `codes` counts how they ended."""

    def __init__(self, target, expected, service_config="{}"):
        super().__init__()
        options = [("grpc.service_config", service_config), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(target, options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._expected = expected
        self._stopping = threading.Event()
        self.codes = collections.Counter()

    def stop(self):
        self._stopping.set()

    def run(self):
        while StatusCode.UNAVAILABLE not in self.codes and not self._stopping.is_set():
            try:
                answer = self._stub.ModelInfer(good_request(), timeout=30)
                self.codes[StatusCode.OK if answer == self._expected else "wrong"] += 1
            except grpc.RpcError as error:
                self.codes[error.code()] += 1
        self._channel.close()


class DrainTest(unittest.TestCase):
    def start(self, models=(f"dir: {DIGITS}",), drain="{delay: 0s, deadline: 20s}"):
        daemon = Daemon(models, drain)
        self.addCleanup(daemon.stop)
        return daemon.wait_until_ready()

    def test_under_load_every_request_is_answered_or_refused_and_the_exit_code_is_0(self):
        daemon = self.start(drain="{delay: 1s, deadline: 20s}")
        with grpc.insecure_channel(daemon.grpc_address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            expected = stub.ModelInfer(good_request())
            clients = [Client(daemon.grpc_address, expected) for _ in range(8)]
            for client in clients:
                client.start()
            time.sleep(0.5)
            daemon.terminate()
            daemon.wait_until(lambda: not daemon.client.is_server_ready())
            before = sum(client.codes[StatusCode.OK] for client in clients)
            # Until balancers have looked away it serves as before.
            self.assertEqual(stub.ModelInfer(good_request()), expected)
            time.sleep(0.2)
            during = sum(client.codes[StatusCode.OK] for client in clients)
        for client in clients:
            client.join(timeout=30)
        self.assertGreater(during, before)
        for client in clients:
            self.assertEqual(client.codes.keys(), {StatusCode.OK, StatusCode.UNAVAILABLE}, client.codes)
        self.assertEqual(daemon.wait_for_exit(), 0)

    def test_clients_that_watch_health_lose_nothing_while_one_of_two_replicas_ends(self):
        replicas = [self.start(drain="{delay: 1s, deadline: 20s}") for _ in range(2)]
        leaving, staying = replicas
        with grpc.insecure_channel(staying.grpc_address) as channel:
            expected = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(good_request())
        target = "ipv4:" + ",".join(replica.grpc_address for replica in replicas)
        clients = [Client(target, expected, BALANCED) for _ in range(8)]
        unused = 'hachi_requests_total{code="OK",model="digits",version="1"} 0'
        self.assertIn(unused, leaving.metrics_page())
        for client in clients:
            client.start()
        leaving.wait_until(lambda: unused not in leaving.metrics_page())
        self.assertEqual(leaving.stop(), 0)
        time.sleep(0.5)
        for client in clients:
            client.stop()
        for client in clients:
            client.join(timeout=30)
            self.assertEqual(client.codes.keys(), {StatusCode.OK}, client.codes)
        self.assertEqual(staying.stop(), 0)

    def test_a_request_in_flight_is_answered(self):
        with tempfile.TemporaryDirectory() as folder:
            deep = copy_of_digits(pathlib.Path(folder) / "deep", "{max_queue: 65536}")
            daemon = self.start([f"dir: {deep}, name: digits"])
            with grpc.insecure_channel(daemon.grpc_address) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                calls = [stub.ModelInfer.future(good_request(rows=32), timeout=30) for _ in range(2000)]
                page = daemon.metrics_page()
                daemon.terminate()
                codes = [call.code() for call in calls]
            self.assertLessEqual(set(codes), {StatusCode.OK, StatusCode.UNAVAILABLE})
            # What had been answered or queued before is answered.
            before = sum(int(re.search(pattern + r'\{model="digits",version="1"\} (\d+)', page)[1]) * rows
                         for pattern, rows in (("hachi_queue_rows", 1), ("hachi_queue_duration_seconds_count", 32)))
            self.assertGreaterEqual(32 * codes.count(StatusCode.OK), before)
            self.assertEqual(daemon.wait_for_exit(), 0)

    def test_the_process_goes_by_the_programs_name(self):
        daemon = self.start()
        name = pathlib.Path(f"/proc/{daemon.process.pid}/comm").read_text().strip()
        self.assertEqual(name, pathlib.Path(os.environ["HACHI"]).resolve().name[:15])

    def test_an_idle_daemon_ends_at_once(self):
        daemon = self.start()
        started = time.monotonic()
        self.assertEqual(daemon.stop(), 0)
        self.assertLess(time.monotonic() - started, 5)


if __name__ == "__main__":
    unittest.main()
