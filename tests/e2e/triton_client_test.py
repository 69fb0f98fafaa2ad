"""The daemon as NVIDIA's Python client sees it, which was generated from the protocol and knows nothing of Hachi."""

import queue
import unittest

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from daemon import DIGITS, IMAGES, LABELS, Daemon, image_input, infer

OFFERED = {
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "ModelInfer",
}


def setUpModule():
    global daemon, client
    daemon = Daemon([f"dir: {DIGITS}", f"dir: {DIGITS}, name: digits-fp32, precision: fp32"]).wait_until_ready()
    client = daemon.client


def tearDownModule():
    assert daemon.stop() == 0


class HealthTest(unittest.TestCase):
    def test_server_and_models_are_live_and_ready(self):
        self.assertTrue(client.is_server_live())
        self.assertTrue(client.is_server_ready())
        self.assertTrue(client.is_model_ready("digits"))
        self.assertTrue(client.is_model_ready("digits", "1"))
        self.assertTrue(client.is_model_ready("digits-fp32"))


class DescriptionTest(unittest.TestCase):
    def test_server_metadata_names_the_server_and_only_extensions_that_it_has(self):
        metadata = client.get_server_metadata()
        self.assertEqual(metadata.name, "hachi")
        self.assertRegex(metadata.version, r"^\d+\.\d+\.\d+$")
        self.assertEqual(
            set(metadata.extensions), {"binary_tensor_data", "model_configuration", "parameters", "statistics"}
        )

    def test_model_metadata_describes_what_clients_send_and_get(self):
        metadata = client.get_model_metadata("digits")
        self.assertEqual((metadata.name, list(metadata.versions)), ("digits", ["1"]))
        tensors = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs]
        self.assertEqual(tensors, [("image", "UINT8", [-1, 28, 28, 1])])
        tensors = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.outputs]
        self.assertEqual(tensors, [("probabilities", "FP32", [-1, 10])])

    def test_model_config_agrees_with_metadata_and_the_model_directory(self):
        for model in ("digits", "digits-fp32"):
            metadata = client.get_model_metadata(model)
            config = client.get_model_config(model).config
            self.assertEqual(config.name, model)
            self.assertEqual(config.platform, metadata.platform)
            self.assertEqual(config.max_batch_size, 32)
            self.assertEqual(config.dynamic_batching.max_queue_delay_microseconds, 2000)
            for of_config, of_metadata in [(config.input, metadata.inputs), (config.output, metadata.outputs)]:
                self.assertEqual([tensor.name for tensor in of_config], [tensor.name for tensor in of_metadata])
                for one, other in zip(of_config, of_metadata):
                    self.assertEqual([-1, *one.dims], list(other.shape))
                    self.assertEqual(triton.model_config_pb2.DataType.Name(one.data_type), f"TYPE_{other.datatype}")
            self.assertEqual(config.output[0].label_filename, "labels.txt")
            labels = config.parameters["labels:probabilities"].string_value
            self.assertEqual(labels.split("\n"), (DIGITS / "labels.txt").read_text().split())
        self.assertEqual(client.get_model_config("digits-fp32").config.parameters["precision"].string_value, "fp32")


class InferTest(unittest.TestCase):
    def test_handwritten_digits_are_recognised(self):
        for model in ("digits", "digits-fp32"):
            with self.subTest(model=model):
                answers = [infer(client, IMAGES[i : i + 32], model) for i in range(0, len(IMAGES), 32)]
                probabilities = np.concatenate(answers)
                self.assertEqual(probabilities.shape, (len(IMAGES), 10))
                np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-3)
                accuracy = (probabilities.argmax(axis=1) == LABELS).mean()
                self.assertGreater(accuracy, 0.98)

    def test_typed_contents_get_the_answer_that_raw_bytes_get(self):
        raw = client.infer("digits", [image_input(IMAGES[:3])], request_id="a").get_response()
        request = service_pb2.ModelInferRequest(model_name="digits", id="a")
        tensor = request.inputs.add(name="image", datatype="UINT8", shape=IMAGES[:3].shape)
        tensor.contents.uint_contents.extend(IMAGES[:3].flatten().tolist())
        with grpc.insecure_channel(daemon.grpc_address) as channel:
            typed = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
        self.assertEqual(typed, raw)

    def test_the_answer_names_the_request_the_version_and_the_output(self):
        result = client.infer(
            "digits",
            [image_input(IMAGES[:2])],
            outputs=[triton.InferRequestedOutput("probabilities")],
            request_id="no. 17",
            priority=1,
            timeout=5_000_000,
        )
        answer = result.get_response()
        self.assertEqual((answer.id, answer.model_name, answer.model_version), ("no. 17", "digits", "1"))
        output = result.get_output("probabilities")
        self.assertEqual((output.datatype, list(output.shape)), ("FP32", [2, 10]))

    def test_requests_that_share_a_batch_get_the_answers_they_get_alone(self):
        alone = [infer(client, IMAGES[i : i + 1 + i % 3]) for i in range(60)]
        done = queue.Queue()
        for i in range(60):
            client.async_infer(
                "digits",
                [image_input(IMAGES[i : i + 1 + i % 3])],
                callback=lambda result, error: done.put((result, error)),
                request_id=str(i),
            )
        for _ in range(60):
            result, error = done.get(timeout=30)
            self.assertIsNone(error)
            expected = alone[int(result.get_response().id)]
            np.testing.assert_array_equal(result.as_numpy("probabilities"), expected)


class StatisticsTest(unittest.TestCase):
    def test_counts_grow_by_what_was_asked(self):
        def read():
            return client.get_inference_statistics("digits").model_stats[0]

        before = read()
        for rows in (1, 2, 2):
            infer(client, IMAGES[:rows])
        with self.assertRaises(triton.InferenceServerException):
            infer(client, IMAGES[:33])
        after = read()
        self.assertEqual((after.name, after.version), ("digits", "1"))
        self.assertEqual(after.inference_count - before.inference_count, 5)
        self.assertEqual(after.execution_count - before.execution_count, 3)
        self.assertGreaterEqual(after.last_inference, before.last_inference)
        stats = after.inference_stats
        self.assertEqual(stats.success.count - before.inference_stats.success.count, 3)
        self.assertEqual(stats.fail.count - before.inference_stats.fail.count, 1)
        for part in (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output):
            self.assertEqual(part.count, stats.success.count)
        self.assertLessEqual({1, 2}, {batch.batch_size for batch in after.batch_stats})

    def test_without_a_name_every_model_answers(self):
        names = [model.name for model in client.get_inference_statistics().model_stats]
        self.assertEqual(sorted(names), ["digits", "digits-fp32"])


class NotOfferedTest(unittest.TestCase):
    def test_every_method_that_is_not_offered_says_so(self):
        service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        self.assertLess(OFFERED, {method.name for method in service.methods})
        with grpc.insecure_channel(daemon.grpc_address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            for method in service.methods:
                if method.name in OFFERED:
                    continue
                with self.subTest(method=method.name), self.assertRaises(grpc.RpcError) as raised:
                    request = getattr(service_pb2, method.input_type.name)()
                    call = getattr(stub, method.name)
                    if method.name == "ModelStreamInfer":
                        next(call(iter([request])))
                    else:
                        call(request)
                self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED, method.name)
                self.assertRegex(raised.exception.details(), "not offered|chosen by the server's configuration")

    def test_the_client_library_reports_it_as_its_own_error(self):
        for call in (
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
            lambda: client.load_model("digits"),
        ):
            with self.assertRaises(triton.InferenceServerException) as raised:
                call()
            self.assertEqual(raised.exception.status(), "StatusCode.UNIMPLEMENTED")


if __name__ == "__main__":
    unittest.main()
