"""Writes models of published architectures with seeded random weights, to measure speed on.

usage: models.py FOLDER [NAME ...]
Each NAME (default: all of resnet50, mobilenet_v2, bert6) becomes a model directory FOLDER/NAME with model.onnx and,
under samples/, inputs to calibrate with. Batch normalization stays in the file as nodes; their means and variances are
those of the activations on some of the samples, so values keep a trained network's size at every depth.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 32
SAMPLES_MEASURED = 16 # for batch normalization's statistics
EPSILON = 1e-5
SEQUENCE, VOCABULARY = 128, 30522


class Builder:
    """Grows a graph node by node. Without `statistics` it is a measuring graph: batch normalization takes its means
    and variances from the batch at hand and makes them graph outputs. With them it is the graph to keep."""

    def __init__(self, statistics=None):
        self.rng = np.random.default_rng(2024)
        self.statistics = None if statistics is None else iter(statistics)
        self.nodes, self.initializers, self.measured, self.channels = [], [], [], {}

    def node(self, op, *inputs, output=None, **attributes):
        name = f"{op}_{len(self.nodes)}"
        output = output or f"{name}_output"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        if inputs[0] in self.channels:
            self.channels[output] = self.channels[inputs[0]]
        return output

    def constant(self, value, dtype=np.float32):
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, shape, deviation):
        return self.constant(self.rng.standard_normal(shape, np.float32) * np.float32(deviation))

    def model(self, name, inputs, outputs):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
        onnx.checker.check_model(model, full_check=True)
        return model

    # Vision

    def conv(self, x, outputs, kernel, stride=1, groups=1):
        inputs = self.channels[x] // groups
        weight = self.random((outputs, inputs, kernel, kernel), (2 / (inputs * kernel * kernel)) ** 0.5)
        y = self.node("Conv", x, weight, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4,
                      dilations=[1, 1], group=groups)
        self.channels[y] = outputs
        return y

    def batch_norm(self, x, gain):
        gamma = self.rng.uniform(0.7, 1.3, self.channels[x]) * gain
        beta = self.rng.standard_normal(self.channels[x]) * 0.1
        if self.statistics:
            parameters = map(self.constant, (gamma, beta, next(self.statistics), next(self.statistics)))
            return self.node("BatchNormalization", x, *parameters, epsilon=EPSILON)
        mean = self.node("ReduceMean", x, axes=[0, 2, 3])
        centred = self.node("Sub", x, mean)
        variance = self.node("ReduceMean", self.node("Mul", centred, centred), axes=[0, 2, 3])
        self.measured += [mean, variance]
        y = self.node("Div", centred, self.node("Sqrt", self.node("Add", variance, self.constant(EPSILON))))
        per_channel = (-1, 1, 1)
        y = self.node("Mul", y, self.constant(gamma.reshape(per_channel)))
        return self.node("Add", y, self.constant(beta.reshape(per_channel)))

    def conv_bn(self, x, outputs, kernel, stride=1, groups=1, gain=1.0):
        return self.batch_norm(self.conv(x, outputs, kernel, stride, groups), gain)

    def relu(self, x):
        return self.node("Relu", x)

    def relu6(self, x):
        return self.node("Clip", x, self.constant(0), self.constant(6))

    def classifier(self, x, classes):
        """The bias takes the features' mean away, so that different images are of different classes."""
        channels = self.channels[x]
        x = self.node("GlobalAveragePool", x)
        weight = self.rng.standard_normal((classes, channels)) * 20 / channels ** 0.5
        if self.statistics:
            mean = next(self.statistics)
        else:
            mean = np.zeros(channels)
            self.measured.append(self.node("ReduceMean", x, axes=[0]))
        x = self.node("Flatten", x, axis=1)
        return self.node("Gemm", x, self.constant(weight), self.constant(-weight @ mean), transB=1, output="logits")

    # Text

    def linear(self, x, inputs, outputs, output=None):
        x = self.node("MatMul", x, self.random((inputs, outputs), inputs ** -0.5))
        return self.node("Add", self.random(outputs, 0.1), x, output=output)

    def layer_norm(self, x, width):
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, self.constant(2)), axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.constant(1e-12)))
        y = self.node("Mul", self.node("Div", centred, deviation), self.constant(self.rng.uniform(0.7, 1.3, width)))
        return self.node("Add", y, self.random(width, 0.1))

    def gelu(self, x):
        erf = self.node("Erf", self.node("Div", x, self.constant(2 ** 0.5)))
        y = self.node("Mul", x, self.node("Add", erf, self.constant(1)))
        return self.node("Mul", y, self.constant(0.5))


def resnet50(g, x):
    """Version 1.5: the stride is in a block's 3x3 convolution."""
    x = g.relu(g.conv_bn(x, 64, 7, stride=2))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = g.relu(g.conv_bn(x, width, 1))
            y = g.relu(g.conv_bn(y, width, 3, stride))
            y = g.conv_bn(y, 4 * width, 1, gain=0.25)
            shortcut = g.conv_bn(x, 4 * width, 1, stride) if block == 0 else x
            x = g.relu(g.node("Add", y, shortcut))
    return g.classifier(x, 1000)


def mobilenet_v2(g, x):
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    x = g.relu6(g.conv_bn(x, 32, 3, stride=2))
    for expansion, outputs, blocks, first_stride in stages:
        for block in range(blocks):
            stride, inputs = (first_stride if block == 0 else 1), g.channels[x]
            y = g.relu6(g.conv_bn(x, expansion * inputs, 1)) if expansion > 1 else x
            y = g.relu6(g.conv_bn(y, expansion * inputs, 3, stride, groups=expansion * inputs))
            add = stride == 1 and inputs == outputs
            y = g.conv_bn(y, outputs, 1, gain=0.25 if add else 1)
            x = g.node("Add", x, y) if add else y
    return g.classifier(g.relu6(g.conv_bn(x, 1280, 1)), 1000)


def images():
    """Blots of three sizes over each other, each image with its own colours, contrast and share of every size."""
    rng = np.random.default_rng(1)
    pixels = np.float32(0)
    for size in (4, 16, 56):
        blots = np.kron(rng.standard_normal((SAMPLES, 3, size, size)), np.ones((224 // size,) * 2))
        pixels = pixels + blots * rng.uniform(0, 1, (SAMPLES, 3, 1, 1))
    return (pixels + rng.standard_normal((SAMPLES, 3, 1, 1))).astype(np.float32)


def write_vision(folder, architecture):
    samples = images()
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *samples.shape[1:]])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 1000])

    def build(statistics=None):
        builder = Builder(statistics)
        builder.channels["input"] = samples.shape[1]
        architecture(builder, "input")
        shape = [1, None, 1, 1]
        measured = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in builder.measured]
        return builder.model(architecture.__name__, [image], measured or [logits])

    session = onnxruntime.InferenceSession(build().SerializeToString(), providers=["CPUExecutionProvider"])
    statistics = session.run(None, {"input": samples[:SAMPLES_MEASURED]})
    onnx.save(build([values.ravel() for values in statistics]), folder / "model.onnx")
    np.save(folder / "samples/input.npy", samples)


def bert6(g, ids, mask):
    """Six layers of BERT-base over 128 tokens, with a classifier of two classes on the first token."""
    width, heads, hidden = 768, 12, 3072
    split = g.constant([0, SEQUENCE, heads, width // heads], np.int64)
    merged = g.constant([0, SEQUENCE, width], np.int64)
    blind = g.node("Unsqueeze", g.node("Cast", mask, to=TensorProto.FLOAT), g.constant([1, 2], np.int64))
    blind = g.node("Mul", g.node("Sub", g.constant(1), blind), g.constant(-10000))
    x = g.node("Gather", g.random((VOCABULARY, width), 1), ids, axis=0)
    x = g.layer_norm(g.node("Add", x, g.random((1, SEQUENCE, width), 0.5)), width)
    for _ in range(6):
        def project(perm):
            return g.node("Transpose", g.node("Reshape", g.linear(x, width, width), split), perm=perm)
        query, key, value = project([0, 2, 1, 3]), project([0, 2, 3, 1]), project([0, 2, 1, 3])
        scores = g.node("Div", g.node("MatMul", query, key), g.constant((width // heads) ** 0.5))
        attention = g.node("Softmax", g.node("Add", scores, blind), axis=-1)
        y = g.node("Transpose", g.node("MatMul", attention, value), perm=[0, 2, 1, 3])
        y = g.linear(g.node("Reshape", y, merged), width, width)
        x = g.layer_norm(g.node("Add", y, x), width)
        y = g.linear(g.gelu(g.linear(x, width, hidden)), hidden, width)
        x = g.layer_norm(g.node("Add", y, x), width)
    first = g.node("Gather", x, g.constant(0, np.int64), axis=1)
    return g.linear(g.node("Tanh", g.linear(first, width, width)), width, 2, output="logits")


def write_text(folder, architecture):
    rng = np.random.default_rng(1)
    ids = rng.integers(1000, VOCABULARY, (SAMPLES, SEQUENCE))
    mask = (np.arange(SEQUENCE) < rng.integers(SEQUENCE // 4, SEQUENCE + 1, (SAMPLES, 1))).astype(np.int64)
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    builder = Builder()
    architecture(builder, *inputs)
    model = builder.model(
        architecture.__name__,
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", SEQUENCE]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])])
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "samples/inputs.npz", **inputs)


WRITERS = {resnet50: write_vision, mobilenet_v2: write_vision, bert6: write_text}


def main():
    architectures = {architecture.__name__: architecture for architecture in WRITERS}
    if len(sys.argv) < 2 or not architectures.keys() >= set(sys.argv[2:]):
        sys.exit(f"usage: models.py FOLDER [NAME ...], names: {' '.join(architectures)}")
    for name in sys.argv[2:] or architectures:
        folder = pathlib.Path(sys.argv[1]) / name
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        WRITERS[architectures[name]](folder, architectures[name])
        print(folder, flush=True)


if __name__ == "__main__":
    main()
