"""What the daemon logs, and that nobody waits for who reads it."""

import fcntl
import json
import os
import unittest

import grpc
from grpc import StatusCode
from tritonclient.grpc import service_pb2_grpc

from bad_request_test import good_request
from daemon import Daemon

F_SETPIPE_SZ = 1031


class LoggingTest(unittest.TestCase):
    def start(self, **options):
        daemon = Daemon(**options)
        self.addCleanup(daemon.stop)
        daemon.wait_until_ready()
        channel = grpc.insecure_channel(daemon.grpc_address)
        self.addCleanup(channel.close)
        return daemon, service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def test_a_full_pipe_blocks_neither_calls_nor_readiness_nor_the_drain(self):
        read, write = os.pipe()
        fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
        self.addCleanup(os.close, read)
        daemon, stub = self.start(stderr=write, arguments=("--access-log",))
        os.close(write)
        for _ in range(6000):
            stub.ModelInfer(good_request(), timeout=10)
        self.assertTrue(daemon.client.is_server_ready())
        dropped = [line for line in daemon.metrics_page().splitlines() if line.startswith("hachi_log_lines_dropped_total")]
        self.assertGreater(float(dropped[0].split()[1]), 1000)
        self.assertEqual(daemon.stop(), 0)

    def test_each_request_has_a_line_with_its_ids(self):
        daemon, stub = self.start(arguments=("--log-format", "json", "--access-log"))
        request = good_request()
        request.id = "id \"7\"\n"
        answer, call = stub.ModelInfer.with_call(request, timeout=10, metadata=[("x-request-id", "abc-123")])
        self.assertIn(("x-request-id", "abc-123"), call.trailing_metadata())
        request.model_name = "none"
        with self.assertRaises(grpc.RpcError) as error:
            stub.ModelInfer(request, timeout=10)
        self.assertEqual(error.exception.code(), StatusCode.NOT_FOUND)
        daemon.wait_until(lambda: daemon.log().count('"message":"request"') == 2)
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        good, bad = [line for line in lines if line["message"] == "request"]
        self.assertEqual((good["model"], good["version"], good["code"]), ("digits", "1", "OK"))
        self.assertEqual((good["id"], good["request_id"], good["rows"]), ("id \"7\"\n", "abc-123", 2))
        self.assertGreater(good["seconds"], 0)
        self.assertGreater(good["bytes"], 64)
        self.assertEqual((bad["model"], bad["code"], bad["request_id"]), ("none", "NOT_FOUND", ""))
        self.assertIn("expected the name of a configured model", bad["error"])


if __name__ == "__main__":
    unittest.main()
