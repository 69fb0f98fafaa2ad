"""Models with free dimensions, served to eight clients that send shapes at random.

REQUESTS in the environment says how many for each model; 4,000 by default.
"""

import os
import pathlib
import random
import re
import tempfile
import threading
import unittest

import numpy as np
import onnx
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper

from daemon import Daemon

REQUESTS = int(os.environ.get("REQUESTS", "4000"))
CLIENTS = 8
PLAN_BYTES = 6 << 20  # of eight shapes in use, with plans for several batches each, and some more
RANDOM = np.random.default_rng(1)


def weights(name, *shape):
    return numpy_helper.from_array((RANDOM.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype("f4"), name)


def write(folder, nodes, inputs, output, initializers):
    graph = helper.make_graph(nodes, "net", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    (folder / "model.yaml").write_text(f"plan_bytes: {PLAN_BYTES >> 20}MiB\nbatching: {{max_batch: 8}}\n")


def convolutional(folder):
    nodes = [helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["a"], ["b"]),
             helper.make_node("Conv", ["b", "w1"], ["y"], strides=[2, 2])]
    write(folder, nodes, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "height", "width"])],
          helper.make_tensor_value_info("y", TensorProto.FLOAT, None), [weights("w0", 8, 3, 3, 3), weights("w1", 4, 8, 3, 3)])
    return [(3, height, width) for height in range(8, 40, 5) for width in range(9, 40, 6)]


def transformer(folder):
    width = 16
    nodes = [helper.make_node("MatMul", ["x", name], [name + "_of_x"]) for name in "qkv"]
    nodes += [helper.make_node("Transpose", ["k_of_x"], ["keys"], perm=[0, 2, 1]),
              helper.make_node("MatMul", ["q_of_x", "keys"], ["scores"]),
              helper.make_node("Softmax", ["scores"], ["attention"], axis=-1),
              helper.make_node("MatMul", ["attention", "v_of_x"], ["context"]),
              helper.make_node("Add", ["context", "x"], ["y"])]
    write(folder, nodes, [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", width])],
          helper.make_tensor_value_info("y", TensorProto.FLOAT, None), [weights(name, width, width) for name in "qkv"])
    return [(length, width) for length in range(1, 80)]


class FreeShapesTest(unittest.TestCase):
    def serve(self, make):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        shapes = make(pathlib.Path(folder.name) / "net")
        daemon = Daemon([f"dir: {folder.name}/net"])
        self.addCleanup(daemon.stop)
        return daemon.wait_until_ready(), shapes

    def ask(self, client, x):
        tensor = triton.InferInput("x", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        return client.infer("net", [tensor]).as_numpy("y")

    def metric(self, daemon, name):
        return float(re.search(rf'^{name}{{model="net",version="1"}} (\S+)', daemon.metrics_page(), re.M)[1])

    def resident_kib(self, daemon):
        status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def check(self, make):
        daemon, shapes = self.serve(make)
        samples = [RANDOM.normal(0, 1, (1, *shape)).astype("f4") for shape in shapes]
        expected = [self.ask(daemon.client, x) for x in samples]
        wrong = []

        def run(seed, requests):
            pick = random.Random(seed)
            with triton.InferenceServerClient(daemon.grpc_address) as client:
                for _ in range(requests):
                    i = pick.randrange(len(samples))
                    if not np.array_equal(self.ask(client, samples[i]), expected[i]):
                        wrong.append(samples[i].shape)

        def run_all(requests, first_seed):
            threads = [threading.Thread(target=run, args=(first_seed + i, requests // CLIENTS)) for i in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        run_all(REQUESTS // 4, 0)
        before = self.resident_kib(daemon)
        run_all(REQUESTS, CLIENTS)
        self.assertEqual(wrong, [])
        self.assertEqual(self.metric(daemon, "hachi_batches_without_plan_total"), 0)
        self.assertLessEqual(self.metric(daemon, "hachi_plan_cache_bytes"), PLAN_BYTES)
        self.assertGreater(self.metric(daemon, "hachi_plan_cache_evictions"), 0)
        self.assertGreater(self.metric(daemon, "hachi_plan_cache_hits_total"), 0)
        self.assertLess(self.resident_kib(daemon), before * 1.1 + 8192)
        self.assertEqual(daemon.client.get_model_metadata("net").inputs[0].shape[0], -1)

    def test_every_answer_of_a_convolutional_network_is_that_of_its_shape_alone(self):
        self.check(convolutional)

    def test_every_answer_of_a_transformer_is_that_of_its_length_alone(self):
        self.check(transformer)


if __name__ == "__main__":
    unittest.main()
