"""Floods of connections cost good clients nothing, however few files the daemon may open."""

import contextlib
import socket
import time
import unittest

import grpc
from tritonclient.grpc import service_pb2_grpc

from bad_request_test import good_request
from daemon import Daemon


class ConnectionsTest(unittest.TestCase):
    def start(self, **options):
        daemon = Daemon(**options)
        self.addCleanup(daemon.stop)
        return daemon.wait_until_ready()

    def connect(self, daemon):
        host, port = daemon.grpc_address.split(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def assert_a_new_client_is_answered(self, daemon):
        # A channel of its own each time: channels to one address share a connection otherwise.
        with grpc.insecure_channel(daemon.grpc_address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            answer = stub.ModelInfer(good_request(), timeout=20, wait_for_ready=True)
        self.assertEqual(answer.model_name, "digits")

    def metric(self, daemon, name):
        for line in daemon.metrics_page().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no {name} on the page")

    def test_a_flood_that_takes_every_file_leaves_good_clients_served(self):
        daemon = self.start(limits=["--nofile=64:64"])
        with contextlib.ExitStack() as sockets:
            for _ in range(500):
                with contextlib.suppress(OSError):
                    sockets.enter_context(self.connect(daemon))
            self.assert_a_new_client_is_answered(daemon)
        # And when the flood is over.
        for _ in range(5):
            self.assert_a_new_client_is_answered(daemon)
        daemon.wait_until(lambda: self.metric(daemon, "hachi_connections") <= 1)

    def test_the_limit_on_files_is_raised(self):
        daemon = self.start(limits=["--nofile=64:4096"])
        with contextlib.ExitStack() as sockets:
            for _ in range(200):
                sockets.enter_context(self.connect(daemon))
            daemon.wait_until(lambda: self.metric(daemon, "hachi_connections") >= 200)
            self.assert_a_new_client_is_answered(daemon)

    def test_beyond_the_limit_silent_connections_make_room(self):
        daemon = self.start(server="limits: {connections: 20}")
        with contextlib.ExitStack() as sockets:
            for _ in range(100):
                sockets.enter_context(self.connect(daemon))
            self.assert_a_new_client_is_answered(daemon)
            self.assertGreaterEqual(self.metric(daemon, 'hachi_connections_cut_total{reason="made_room"}'), 80)

    def test_a_connection_that_says_nothing_ends(self):
        daemon = self.start()
        with self.connect(daemon) as silent:
            silent.settimeout(30)
            started = time.monotonic()
            # gRPC says its settings first.
            while silent.recv(4096):
                pass
            self.assertLess(time.monotonic() - started, 20)


if __name__ == "__main__":
    unittest.main()
