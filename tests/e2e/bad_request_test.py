"""Every bad request gets its status, and the good ones beside it get their answers."""

import pathlib
import tempfile
import threading
import unittest

import grpc
import numpy as np
from grpc import StatusCode
from tritonclient.grpc import service_pb2, service_pb2_grpc

from daemon import DIGITS, IMAGES, Daemon, copy_of_digits

ROW_BYTES = IMAGES[0].nbytes


def good_request(rows=2):
    request = service_pb2.ModelInferRequest(model_name="digits", id="good")
    request.inputs.add(name="image", datatype="UINT8", shape=[rows, 28, 28, 1])
    request.raw_input_contents.append(IMAGES[:rows].tobytes())
    return request


def change(request, **fields):
    """Sets fields of the request; `input_NAME` is one of its input's."""
    for name, value in fields.items():
        message = request.inputs[0] if name.startswith("input_") else request
        name = name.removeprefix("input_")
        if isinstance(value, list):
            del getattr(message, name)[:]
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return request


def batch_of(rows):
    return {"input_shape": [rows, 28, 28, 1], "raw_input_contents": [b"\0" * (max(rows, 0) * ROW_BYTES)]}


NOT_FOUND = [
    ("no such model", {"model_name": "letters"}),
    ("no model", {"model_name": ""}),
    ("no such version", {"model_version": "2"}),
]
INVALID_ARGUMENT = [
    ("version that is no number", {"model_version": "latest"}),
    ("input name", {"input_name": "picture"}),
    ("no input name", {"input_name": ""}),
    ("datatype", {"input_datatype": "FP32"}),
    ("datatype that is none", {"input_datatype": "uint8"}),
    ("rank too low", {"input_shape": [2, 28, 28]}),
    ("rank too high", {"input_shape": [2, 28, 28, 1, 1]}),
    ("no shape", {"input_shape": []}),
    ("shape", {"input_shape": [2, 28, 14, 2]}),
    ("negative dimension", {"input_shape": [2, -28, -28, 1]}),
    ("dimensions whose product overflows to the right size", {"input_shape": [2 + 2**54, 28, 28, 1]}),
    ("dimensions that are all too large", {"input_shape": [2**62, 2**62, 2**62, 2**62]}),
    ("too few bytes", {"raw_input_contents": [b"\0" * (2 * ROW_BYTES - 1)]}),
    ("too many bytes", {"raw_input_contents": [b"\0" * (2 * ROW_BYTES + 1)]}),
    ("no bytes", {"raw_input_contents": [b""]}),
    ("no data", {"raw_input_contents": []}),
    ("surplus raw entry", {"raw_input_contents": [IMAGES[:2].tobytes(), b""]}),
    ("batch too large", batch_of(33)),
    ("batch of 0", batch_of(0)),
    ("batch of -1", batch_of(-1)),
]


def more_invalid_arguments():
    """Those that are more than other values in the good request's fields."""
    yield "empty", service_pb2.ModelInferRequest(model_name="digits")
    both = good_request()
    both.inputs[0].contents.uint_contents.extend(IMAGES[:2].flatten().tolist())
    yield "raw and typed", both
    wrong_field = change(good_request(), raw_input_contents=[])
    wrong_field.inputs[0].contents.fp32_contents.extend([0] * (2 * ROW_BYTES))
    yield "typed in the field of another datatype", wrong_field
    too_large = change(good_request(), raw_input_contents=[])
    too_large.inputs[0].contents.uint_contents.extend([256] * (2 * ROW_BYTES))
    yield "typed value that is no uint8", too_large
    twice = good_request()
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(twice.raw_input_contents[0])
    yield "input given twice", twice
    output = good_request()
    output.outputs.add(name="logits")
    yield "unknown output", output
    outputs = good_request()
    outputs.outputs.add(name="probabilities")
    outputs.outputs.add(name="probabilities")
    yield "output requested twice", outputs
    timeout = good_request()
    timeout.parameters["timeout"].int64_param = -1
    yield "negative timeout", timeout


def not_offered():
    shared = change(good_request(), raw_input_contents=[])
    shared.inputs[0].parameters["shared_memory_region"].string_param = "images"
    yield "shared memory", shared
    sequence = good_request()
    sequence.parameters["sequence_id"].int64_param = 7
    yield "sequence", sequence
    classification = good_request()
    classification.outputs.add(name="probabilities").parameters["classification"].int64_param = 3
    yield "classification", classification


class Neighbour(threading.Thread):
    """Sends good requests for as long as it lives, and 100 at least; `wrong` says what else than the right answer it got."""

    def __init__(self, stub):
        super().__init__()
        self._stub = stub
        self._request = good_request()
        self._expected = stub.ModelInfer(self._request)
        self._stopping = threading.Event()
        self.answers = 0
        self.wrong = []

    def run(self):
        while self.answers < 100 or not self._stopping.is_set():
            try:
                answer = self._stub.ModelInfer(self._request, timeout=10)
                if answer != self._expected:
                    self.wrong.append(answer)
            except grpc.RpcError as error:
                self.wrong.append(error)
            self.answers += 1

    def stop(self):
        self._stopping.set()
        self.join()


class BadRequestTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        models = pathlib.Path(cls.folder.name)
        hasty = copy_of_digits(models / "hasty", "{max_batch: 2, max_delay: 1s, max_queue: 2}")
        cls.daemon = Daemon([f"dir: {DIGITS}", f"dir: {hasty}, name: hasty"]).wait_until_ready()
        cls.channel = grpc.insecure_channel(cls.daemon.grpc_address)
        cls.stub = service_pb2_grpc.GRPCInferenceServiceStub(cls.channel)
        cls.neighbour = Neighbour(cls.stub)
        cls.neighbour.start()

    @classmethod
    def tearDownClass(cls):
        cls.neighbour.stop()
        cls.channel.close()
        exit_code = cls.daemon.stop()
        cls.folder.cleanup()
        assert cls.neighbour.wrong == [], cls.neighbour.wrong
        assert exit_code == 0, exit_code

    def expect(self, code, what, request, **options):
        with self.subTest(what=what):
            with self.assertRaises(grpc.RpcError) as raised:
                self.stub.ModelInfer(request, timeout=10, **options)
            self.assertEqual(raised.exception.code(), code, raised.exception.details())
            self.assertNotEqual(raised.exception.details(), "")

    def test_what_is_not_configured_is_not_found(self):
        for what, fields in NOT_FOUND:
            self.expect(StatusCode.NOT_FOUND, what, change(good_request(), **fields))

    def test_what_does_not_fit_the_model_is_invalid(self):
        for what, fields in INVALID_ARGUMENT:
            self.expect(StatusCode.INVALID_ARGUMENT, what, change(good_request(), **fields))
        for what, request in more_invalid_arguments():
            self.expect(StatusCode.INVALID_ARGUMENT, what, request)

    def test_bytes_that_are_no_request_are_invalid(self):
        send = self.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda message: message,
            response_deserializer=lambda message: message,
        )
        good = good_request().SerializeToString()
        for what, message in [("cut", good[:-1]), ("noise", b"\xff" * 100)]:
            with self.subTest(what=what):
                with self.assertRaises(grpc.RpcError) as raised:
                    send(message, timeout=10)
                self.assertEqual(raised.exception.code(), StatusCode.INVALID_ARGUMENT)

    def test_extensions_that_are_not_offered_are_unimplemented(self):
        for what, request in not_offered():
            self.expect(StatusCode.UNIMPLEMENTED, what, request)
        self.expect(StatusCode.UNIMPLEMENTED, "gzip", good_request(), compression=grpc.Compression.Gzip)

    def test_a_message_over_the_limit_is_refused(self):
        huge = change(good_request(), raw_input_contents=[b"\0" * (100 << 20)])
        self.expect(StatusCode.RESOURCE_EXHAUSTED, "100 MiB", huge)

    def test_an_expired_request_never_runs(self):
        expired = good_request()
        expired.parameters["timeout"].int64_param = 1
        self.expect(StatusCode.DEADLINE_EXCEEDED, "1 microsecond", expired)
        self.assertRegex(self.daemon.metrics_page(), r'(?m)^hachi_expired_rows_computed_total\{model="digits",.*\} 0$')

    def test_a_full_queue_refuses_with_a_time_to_retry(self):
        request = change(good_request(rows=1), model_name="hasty")
        calls = [self.stub.ModelInfer.future(request, timeout=20) for _ in range(100)]
        errors = [error for error in (call.exception() for call in calls) if error is not None]
        self.assertEqual({error.code() for error in errors}, {StatusCode.RESOURCE_EXHAUSTED})
        self.assertLess(len(errors), 100)
        for error in errors:
            trailers = dict(error.trailing_metadata())
            self.assertGreater(int(trailers["grpc-retry-pushback-ms"]), 0)

    def test_a_cancelled_request_harms_nobody(self):
        request = change(good_request(rows=1), model_name="hasty")
        call = self.stub.ModelInfer.future(request, timeout=20)
        call.cancel()
        self.assertEqual(self.stub.ModelInfer(request, timeout=20).model_name, "hasty")


class FailedModelTest(unittest.TestCase):
    def test_a_damaged_model_is_unavailable_beside_a_good_one_and_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            damaged = copy_of_digits(pathlib.Path(folder) / "damaged", model=b"no model")
            daemon = Daemon([f"dir: {DIGITS}", f"dir: {damaged}, name: damaged"])
            self.addCleanup(daemon.stop)
            for model, state in (("digits", "ready"), ("damaged", "failed")):
                line = f'hachi_model_state{{model="{model}",state="{state}",version="1"}} 1'
                daemon.wait_until(lambda: line in daemon.metrics_page())
            self.assertTrue(daemon.client.is_server_live())
            self.assertFalse(daemon.client.is_server_ready())
            with grpc.insecure_channel(daemon.grpc_address) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                self.assertEqual(stub.ModelInfer(good_request()).outputs[0].shape, [2, 10])
                with self.assertRaises(grpc.RpcError) as raised:
                    stub.ModelInfer(change(good_request(), model_name="damaged"))
            self.assertEqual(raised.exception.code(), StatusCode.UNAVAILABLE)
            self.assertIn("failed to load", raised.exception.details())
            self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
