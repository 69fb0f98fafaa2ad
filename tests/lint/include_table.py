#!/usr/bin/env python3
"""Checks every #include of our sources against the table of who may include whom.

Each folder lists what it may include besides itself and engine/base; each third-party library has one home. Prints one
line for each breach and exits 1 when there is any. With a folder as argument it checks the tree below that one.
"""

import pathlib
import re
import sys

OPS = {"engine/ops", "engine/graph", "engine/quant", "engine/cpu", "engine/kernels", "engine/onednn", "engine/product", "engine/tensor"}
ENGINE = OPS | {"engine/onnx", "engine/samples", "engine/decide", "engine/passes", "engine/plan", "engine/run", "engine/calibrate", "engine/tune"}
MODELS = {"engine/engine.h", "config", "server/metrics"}
BATCHING = MODELS | {"server/models", "engine/tensor"}
SERVER = BATCHING | {"server/batching", "server/executor", "server/net", "server/record", "server/rpc", "server/shadow", "server/status"}

MAY_INCLUDE = {
    "proto": {"engine/tensor"},  # the datatypes' names on the wire
    "config": set(),
    "engine/base": set(),
    "engine/tensor": set(),
    "engine/cpu": set(),
    "engine/graph": {"engine/tensor"},
    "engine/quant": {"engine/tensor"},
    "engine/kernels": {"engine/tensor", "engine/cpu"},
    # What kernels of ours and the library's share about products.
    "engine/product": {"engine/tensor"},
    "engine/onednn": {"engine/tensor", "engine/cpu", "engine/product"},
    "engine/onnx": {"engine/graph", "engine/tensor"},
    "engine/samples": {"engine/onnx", "engine/tensor"},
    "engine/ops": OPS,
    "engine/decide": OPS,
    "engine/passes": OPS | {"engine/decide"},
    "engine/plan": OPS,
    "engine/run": OPS | {"engine/decide", "engine/passes", "engine/plan", "engine/engine.h"},
    "engine/calibrate": ENGINE,
    # Measures models by compiling and running them, as whoever loads them does.
    "engine/tune": ENGINE | {"engine/engine.h"},
    # Served rows once more in FP32: a door beside engine.h.
    "engine/shadow": ENGINE | {"engine/engine.h"},
    "engine/engine.h": {"engine/plan", "engine/tensor"},
    "engine/engine.cc": ENGINE | {"engine/engine.h"},
    "server/metrics": set(),
    # Sockets: who listens, how many may connect, the metrics' page, certificates.
    "server/net": {"config", "server/metrics"},
    # How configuration becomes what the engine loads, for the registry and for commands.
    "server/models/load_options.h": {"config", "engine/engine.h"},
    "server/models": MODELS | {"server/models/load_options.h"},
    # Rows of requests as files that the engine's tools read.
    "server/record": MODELS | {"server/models", "engine/samples", "engine/tensor"},
    # How answers stand to FP32's, for the shadow and for reports.
    "server/shadow/agreement.h": {"engine/tensor"},
    # A share of the rows once more in FP32.
    "server/shadow": BATCHING | {"server/shadow/agreement.h", "server/record", "engine/shadow", "engine/cpu"},
    # What the metrics' port shows people.
    "server/status": MODELS | {"server/models", "server/net"},
    "server/batching": BATCHING,
    "server/executor": BATCHING | {"server/batching", "engine/cpu"},
    "server/rpc": BATCHING | {"server/batching", "server/net", "proto"},
    "server/client": {"proto", "engine/tensor"},
    "server/daemon": SERVER | {"engine/cpu", "engine/shadow", "server/models/load_options.h", "proto"},
    "server/commands": ENGINE | {"engine/engine.h", "config", "engine/shadow", "server/client", "server/models/load_options.h", "server/shadow/agreement.h"},
    "server/commands/serve.cc": {"server/commands", "config", "engine/engine.h", "engine/cpu", "engine/tune", "server/daemon"},
    "server/main.cc": {"server/commands", "engine/cpu"},
}

GRPC = {"server/rpc", "server/client", "server/daemon"}
HOMES = [
    (r"grpc(pp)?/", GRPC),
    (r"google/protobuf/", GRPC | {"engine/onnx"}),
    (r"oneapi/|dnnl", {"engine/onednn"}),
    (r"onnx/", {"engine/onnx"}),
    (r"yaml-cpp/", {"config"}),
    (r"prometheus/", {"server/metrics"}),
    (r"hwy/", {"engine/kernels"}),
    (r"immintrin\.h|cpuid\.h", {"engine/kernels", "engine/cpu"}),
    (r"omp\.h", {"engine/cpu"}),
    (r"openssl/", {"engine/base", "server/net"}),
    (r"zip\.h|png\.h|jpeglib\.h", {"engine/samples"}),
    (r"CLI/", {"server/commands"}),
    (r"nlohmann/", {"server/commands", "server/status", "engine/quant"}),  # ONNX Runtime keeps calibration tables as JSON
    (r"absl/(?!log/)", None),  # everywhere
]
# Everything else with a folder in its name has to be one of these.
SYSTEM = re.compile(r"(sys|netinet|arpa|linux)/")

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def unit_of(path):
    """The row of the table that a file belongs to: a folder, or a file that has a row of its own."""
    if path in MAY_INCLUDE:
        return path
    if path.startswith(("server/daemon.", "server/daemon_")):
        return "server/daemon"
    return str(pathlib.PurePosixPath(path).parent)


def breach(path, bracket, target):
    """Why `path` may not include `target`; None when it may."""
    unit = unit_of(path)
    if unit not in MAY_INCLUDE:
        return "is in no folder of the table"
    home = "server/commands" if unit in ("server/commands/serve.cc", "server/main.cc") else unit
    if bracket == "<" or target.startswith("absl/"):
        for pattern, homes in HOMES:
            if re.match(pattern, target):
                return None if homes is None or home in homes else f"expected only in {', '.join(sorted(homes))}"
        if "/" in target and not SYSTEM.match(target):
            return "is of no library of the table"
        return None
    if "/" not in target and target.endswith(".inc"):
        return None
    if "/" not in target and not target.endswith(".pb.h"):
        return "expected a path from the repository's root"
    to = "proto" if target.endswith(".pb.h") else unit_of(target)
    if to in (unit, "engine/base") or to in MAY_INCLUDE[unit]:
        return None
    return f"expected only {', '.join(sorted(MAY_INCLUDE[unit])) or 'engine/base'}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    found = checked = 0
    for top in ("proto", "config", "engine", "server"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in (".h", ".cc", ".inc"):
                continue
            path = file.relative_to(root).as_posix()
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                checked += 1
                why = breach(path, *match.groups())
                if why:
                    found += 1
                    print(f"{path}:{number}: includes {match.group(2)}: {why}")
    if checked == 0:
        print(f"{root}: no #include lines, expected sources")
    return 1 if found or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
