"""grpcurl and ghz, which learn the protocol from the daemon's reflection alone."""

import base64
import json
import os
import subprocess
import unittest

import numpy as np

from daemon import IMAGES, LABELS, Daemon

SERVICE = "inference.GRPCInferenceService"


def setUpModule():
    global daemon
    daemon = Daemon().wait_until_ready()


def tearDownModule():
    assert daemon.stop() == 0


def infer_request(**tensor):
    return {
        "model_name": "digits",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], **tensor}],
    }


class GrpcurlTest(unittest.TestCase):
    def grpcurl(self, *arguments, request=None):
        options = [] if request is None else ["-d", json.dumps(request)]
        command = [os.environ["GRPCURL"], "-plaintext", *options, daemon.grpc_address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_reflection_lists_the_services_and_describes_a_message(self):
        services = self.grpcurl("list").split()
        self.assertEqual(
            set(services), {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        )
        self.assertIn("repeated bytes raw_input_contents = 7;", self.grpcurl("describe", "inference.ModelInferRequest"))

    def test_readiness_and_health(self):
        self.assertEqual(json.loads(self.grpcurl(f"{SERVICE}/ServerReady")), {"ready": True})
        for service in ("", "liveness", "digits"):
            answer = self.grpcurl("grpc.health.v1.Health/Check", request={"service": service})
            self.assertEqual(json.loads(answer), {"status": "SERVING"})

    def test_inference_from_numbers_written_in_json(self):
        request = infer_request(contents={"uint_contents": IMAGES[0].flatten().tolist()})
        answer = json.loads(self.grpcurl(f"{SERVICE}/ModelInfer", request=request))
        self.assertEqual(answer["outputs"], [{"name": "probabilities", "datatype": "FP32", "shape": ["1", "10"]}])
        probabilities = np.frombuffer(base64.b64decode(answer["raw_output_contents"][0]), np.float32)
        self.assertEqual(probabilities.argmax(), LABELS[0])


class GhzTest(unittest.TestCase):
    def test_2000_requests_at_a_concurrency_of_20_all_succeed(self):
        request = infer_request()
        request["raw_input_contents"] = [base64.b64encode(IMAGES[0].tobytes()).decode()]
        command = [os.environ["GHZ"], "--insecure", "--call", f"{SERVICE}/ModelInfer", "-d", json.dumps(request)]
        command += ["-n", "2000", "-c", "20", "--connections", "4", "-O", "json", daemon.grpc_address]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=100).stdout)
        self.assertEqual(report["count"], 2000)
        self.assertEqual(report["statusCodeDistribution"], {"OK": 2000})
        self.assertEqual(report["errorDistribution"], {})


if __name__ == "__main__":
    unittest.main()
