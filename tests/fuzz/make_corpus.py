#!/usr/bin/env python3
"""Writes the corpora of the fuzz targets below the folder named as argument: small files of every kind, one feature each.

Needs numpy, onnx and Pillow. What fuzzing finds beside them is added by hand, smallest form first.
"""

import io
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def const(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def model(nodes, inputs, outputs, constants=(), opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def value(name, dims, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, dims)


def floats(*shape):
    return (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 7 - 1).astype(np.float32)


def one_node(op, dims, out_rank=None, constants=(), names=(), opset=17, kind=FLOAT, **attrs):
    node = helper.make_node(op, ["x", *[c.name for c in constants], *names], ["y"], name=op.lower(), **attrs)
    return model([node], [value("x", dims, kind)], [value("y", None)], constants, opset)


def onnx_files():
    yield "conv", one_node("Conv", ["N", 2, 6, 6], constants=[const("w", floats(4, 2, 3, 3)), const("b", floats(4))],
                           strides=[2, 2], pads=[1, 1, 1, 1])
    yield "depthwise", one_node("Conv", ["N", 4, "H", "W"], constants=[const("w", floats(4, 1, 3, 3))], group=4,
                                auto_pad="SAME_UPPER")
    yield "transpose", one_node("ConvTranspose", [1, 2, 4, 4], constants=[const("w", floats(2, 3, 3, 3))], strides=[2, 2])
    yield "pool", one_node("MaxPool", ["N", 2, "H", "W"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    yield "average", one_node("AveragePool", ["N", 2, 8, 8], kernel_shape=[2, 2], dilations=[2, 2], opset=19)
    yield "gemm", one_node("Gemm", ["N", 4], constants=[const("w", floats(3, 4)), const("b", floats(3))], transB=1, alpha=0.5)
    yield "matmul", one_node("MatMul", ["N", "L", 4], constants=[const("w", floats(4, 5))])
    yield "softmax11", one_node("Softmax", ["N", 2, 3], opset=11, axis=1)
    yield "clip6", one_node("Clip", ["N", 2], opset=6, min=0.0, max=6.0)
    yield "reshape", one_node("Reshape", ["N", 4, 6], constants=[const("s", np.array([0, -1, 3]))])
    yield "slice", one_node("Slice", ["N", 9], constants=[const("s", np.array([-2])), const("e", np.array([-(2**62)])),
                                                          const("a", np.array([1])), const("t", np.array([-2]))])
    yield "pad", one_node("Pad", ["N", 2, 4], constants=[const("p", np.array([0, 0, 1, 0, 0, -2])), const("v", np.float32(1))])
    yield "expand", one_node("Expand", [1, 3], constants=[const("s", np.array([2, 4, 3]))])
    yield "tile", one_node("Tile", ["N", 3], constants=[const("s", np.array([1, 4]))])
    yield "gather", one_node("Gather", ["N", 3], constants=[const("i", np.array([2, -1]))], axis=1)
    yield "concat", one_node("Concat", ["N", 3], names=["x", "x"], axis=1)
    yield "split", model([helper.make_node("Split", ["x"], ["a", "b"], axis=1)], [value("x", ["N", 5])],
                         [value("a", None), value("b", None)], opset=11)
    yield "resize", one_node("Resize", [1, 2, "H", "W"], constants=[const("r", np.zeros(0, np.float32)),
                                                                    const("s", np.array([1, 1, 2, 1.5], np.float32))],
                             mode="linear")
    yield "upsample", one_node("Upsample", [1, 1, 2, 2], constants=[const("s", np.array([1, 1, 2, 2], np.float32))], opset=9)
    yield "range", model([helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Cast", ["r"], ["f"], to=FLOAT),
                          helper.make_node("Add", ["x", "f"], ["y"])], [value("x", ["N", 4])], [value("y", None)],
                         [const("a", np.int64(0)), const("b", np.int64(4)), const("c", np.int64(1))])
    yield "fill", model([helper.make_node("Shape", ["x"], ["s"]),
                         helper.make_node("ConstantOfShape", ["s"], ["y"])], [value("x", ["N", 3])], [value("y", None)])
    yield "reduce", one_node("ReduceMean", ["N", 3, 4], axes=[-1], keepdims=0)
    yield "topk", model([helper.make_node("TopK", ["x", "k"], ["v", "i"])], [value("x", ["N", 5])],
                        [value("v", None), value("i", None, INT64)], [const("k", np.array([2]))])
    yield "einsum", one_node("Einsum", [2, 3], names=["x"], equation="ij,kj->ik")
    yield "lstm", model([helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2)], [value("x", [3, 1, 2])],
                        [value("y", None)], [const("w", floats(1, 8, 2)), const("r", floats(1, 8, 2))])
    yield "quantized", model(
        [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
         helper.make_node("DequantizeLinear", ["wq", "ws"], ["w"], axis=0), helper.make_node("Conv", ["d", "w"], ["y"])],
        [value("x", ["N", 2, 4, 4])], [value("y", None)],
        [const("s", np.float32(0.1)), const("z", np.uint8(3)), const("wq", np.ones((2, 2, 1, 1), np.int8)),
         const("ws", np.array([0.1, 0.2], np.float32))])
    branch = [helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [value(op, None)]) for op in ("Relu", "Neg")]
    yield "if", model([helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Equal", ["s", "t"], ["c"]),
                       helper.make_node("If", ["c"], ["y"], then_branch=branch[0], else_branch=branch[1])],
                      [value("x", ["N"])], [value("y", None)], [const("t", np.array([2]))])
    yield "norm", one_node("LayerNormalization", ["N", 4], constants=[const("g", floats(4)), const("b", floats(4))])
    yield "gelu", one_node("Gelu", ["N", 4], opset=20)
    yield "chain", model([helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "one"], ["g"]),
                          helper.make_node("Unsqueeze", ["g", "zero"], ["u"]), helper.make_node("Concat", ["minus", "u"], ["t"], axis=0),
                          helper.make_node("Reshape", ["x", "t"], ["y"])], [value("x", ["N", "L"])], [value("y", None)],
                         [const("one", np.int64(1)), const("zero", np.array([0])), const("minus", np.array([-1]))])


def image_files():
    pixels = (np.arange(5 * 7 * 3) * 5 % 256).astype(np.uint8).reshape(5, 7, 3)
    for name, mode, form, options in [("rgb.png", "RGB", "PNG", {}), ("gray.png", "L", "PNG", {}),
                                      ("palette.png", "P", "PNG", {}), ("alpha.png", "RGBA", "PNG", {}),
                                      ("one_bit.png", "1", "PNG", {}), ("rgb.jpg", "RGB", "JPEG", {}),
                                      ("progressive.jpg", "RGB", "JPEG", {"progressive": True}),
                                      ("gray.jpg", "L", "JPEG", {}), ("cmyk.jpg", "CMYK", "JPEG", {})]:
        out = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(out, form, **options)
        yield name, out.getvalue()


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def npz(compressed, **arrays):
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)
    return out.getvalue()


TABLE = f"""hachi calibration table, format 1
model: {"a" * 64}
data: two digits
samples: 2
tensors: 4
tool: hachi 0.1.0
a%20b min=0 max=3 count=4 nonfinite=0 channels=2:AAAAAAAAAAAAAAAAAACAPgAAQEAAANA/ histogram=AgD+AwEA/isB
#empty min=inf max=-inf count=0 nonfinite=0 channels=0: histogram=
## a note
x min=-1 max=3 count=4 nonfinite=0 channels=2:AACAvwAAAAAAAAC/AACAPgAAQEAAANA/ histogram=AQD/BwEA/gEBAP4VAQ==
y min=0 max=9 count=4 nonfinite=0 channels=2:AAAAAAAAAAAAAAAAAACAPQAAEEEAAJFA histogram=AgAeAQDeIwE=
"""

TEXTS = {
    "dim": {"symbol": "N", "sum": "2*N+1", "floor": "floor((N-1)/2)", "nested": "floor((floor((3*N*M-1)/2)+M)/5)-7", "number": "-12"},
    "decisions": {"all": "conv1 precision=int8 range=mse kernel=hachi_depthwise origin=pin\nconv2 precision=fp32 origin=table_comment\n",
                  "tuned": "# a remark\nhachi_decisions 1\nmodel daca3c16f580adfa66f9ab14c03413702b86b8ec8018080a51e9ab6b2ff44f53\nrange mse\n"
                           "repairs equalization=on bias_correction=off\nnodes 2\n"
                           "fc precision=int8 range=entropy origin=tune\nstem precision=bf16 origin=tune\n",
                  "short": "fc range=auto\n"},
    "graph": {
        "convolution": """graph g {
  input x: f32[N,2,8,8]
  const b: f32[2] = 1 2.5
  const w: f32[2,2,3,3] = random 1 -1 1
  conv1: Conv(x, w, b) {pads=[1,1,1,1], strides=[2,2]} post clip(0,6) -> y: f32[?]
  "odd name": Relu(y) {mode="a\\"b", alpha=0.5} -> z: f32[?]
  output out = z
}
""",
        "quantized": """graph g {
  input x: u8[N,4] channels_last quant(0.5:3)
  const s: s64[2] = -1 2
  r: Reshape(x, s) -> y: u8[2*N,2] quant(0.5:3)
  output y = y
}
""",
        "shapes": """graph g { input x: f32[N,floor((M-1)/2)] const e: f32[] = splat 1 a: Add(x, e) -> y: f32[?]
  s: Softmax(y) {axis=-1} -> z: f32[?] output z = z }
""",
    },
    "table": {
        "own": TABLE,
        "onnxruntime": '{"CLS": "TensorsData", "data": {"x": {"lowest": {"data": -1.0, "CLS": "numpy.array"}, "highest": 2}, "y": [0, 1]}}',
        "tensorrt": "TRT-8601-EntropyCalibration2\ndata: 3c008912\nconv: 3c92aa10\n",
        "ncnn": "conv1_param_0 156.6 12.5\nconv1 63.5\n#fc 25.4\n",
    },
}


def varint(value):
    out = []
    value %= 1 << 64
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes((*out, value))


def field(number, value):
    """A field of protobuf's: a number as a varint, all else by its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def packed(*values):
    return b"".join(map(varint, values))


CONTENTS = {
    "bool": field(1, packed(1, 0)),
    "int": field(2, packed(-128, 127)),
    "int_single": field(2, -1) + field(2, 5),
    "int64": field(3, packed(1, -(2**62), 300)),
    "int64_mixed": field(3, packed(1, 2)) + field(3, 7) + field(3, packed()),
    "uint": field(4, packed(0, 255, 65536)),
    "uint64": field(5, packed(2**64 - 1)),
    "fp32": field(6, np.array([1, -2.5], np.float32).tobytes()),
    "fp32_single": varint(6 << 3 | 5) + np.float32(3).tobytes(),
    "fp64": field(7, np.array([1e300, np.nan]).tobytes()),
    "bytes": field(8, b"") + field(8, b"ab"),
    "several": field(1, 1) + field(3, packed(1)) + field(15, b"unknown"),
    "group": varint(3 << 3 | 3) + field(1, 5) + varint(3 << 3 | 4),
}


def request_files():
    tensor = field(1, "image") + field(2, "UINT8") + field(3, packed(2, 8, 8))
    parameter = field(4, field(1, "timeout") + field(2, field(2, 1000)))
    head = field(1, "digits") + field(2, "1") + field(3, "id")
    yield "raw", head + field(5, tensor) + field(7, bytes(range(128)))
    yield "typed", head + field(5, tensor + field(5, CONTENTS["uint"])) + field(6, field(1, "probabilities"))
    yield "parameters", head + parameter + field(5, tensor + parameter) + field(6, field(1, "y") + field(2, field(1, "n")))
    yield "contents_twice", head + field(5, field(5, CONTENTS["int64"]) + tensor + field(5, CONTENTS["bool"]))
    yield "no_contents", field(5, field(5, b"")) + field(7, b"")
    yield "unknown", field(9, b"x") + field(5, field(9, 1) + tensor) + field(1, "m")


# Two bytes an operation, as batcher.cc reads them.
BATCHES = {
    "push_take_run": bytes((0, 0x10, 0, 0x20, 4, 0, 5, 0)),
    "deadlines": bytes((0, 0x19, 1, 0x1d, 3, 255, 4, 0, 5, 0)),
    "cancelled": bytes((0, 0x10, 64, 0x10, 6, 0, 4, 0, 6, 1, 5, 0)),
    "free_shapes": bytes((128, 0x10, 136, 0x10, 7, 1, 144, 0x10, 4, 0, 4, 0, 5, 1, 5, 0)),
    "bytes": bytes((24, 0x10, 25, 0xff, 24, 0xff, 0, 0xff, 0, 0xff, 4, 0, 5, 0)),
}


def yaml_files():
    examples = pathlib.Path(__file__).parents[2] / "config/examples"
    for name in ("server", "model"):
        yield name, (examples / f"{name}.yaml").read_bytes()
    yield "small", b"models: [{dir: own, name: m, precision: fp32}]\n"
    yield "tls", (b"server: {grpc: '[::1]:0', metrics: 'unix:/x', tls: {certificate: a, key: b, client_ca: c}, drain: {delay: 1m30s}}\n"
                  b"auth: {clients: [{name: x, models: ['*']}], tokens: t}\nmodels: [{dir: models/digits}]\n")
    yield "inputs", (b"name: 'own'\ninputs: {x: {dtype: uint8, layout: nhwc, mean: [1, 2.5e-3], scale: [-0.1], "
                     b"dims: {n: {max: 9, buckets: [1, 9], pad: 1}}}}\nlayers: {'conv*': int8}\noutputs: {y: {labels: labels.txt}}\n")
    yield "refused", b"a: &b [1]\nc: *b\n<<: {d: !!str e}\n---\nf: |\n  g\n"


def main():
    root = pathlib.Path(sys.argv[1])
    corpora = {target: {name: text.encode() for name, text in texts.items()} for target, texts in TEXTS.items()}
    corpora["contents"] = {name: b"\x04" + content for name, content in CONTENTS.items()}
    corpora["request"] = {name: b"\x06" + content for name, content in request_files()}
    corpora["batcher"] = BATCHES
    corpora["yaml"] = dict(yaml_files())
    corpora["onnx"] = dict(onnx_files())
    corpora["image"] = dict(image_files())
    corpora["npy"] = {"f32": npy(floats(2, 3)), "fortran": npy(np.asfortranarray(floats(2, 3))), "bool": npy(np.array([True, False])),
                      "scalar": npy(np.float64(3)), "s64v2": npy(np.arange(3), version=(2, 0)), "empty": npy(floats(0, 4))}
    corpora["npz"] = {"stored": npz(False, x=floats(2), y=np.arange(3)), "deflated": npz(True, arr_0=floats(30))}
    for target, files in corpora.items():
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
