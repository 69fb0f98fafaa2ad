"""Runs config/your-own-model.md as a newcomer would: every snippet, in order, in an empty folder, against a real server.

A snippet's first line says what it is: ```sh runs in bash; ```sh server runs until the end; ```python FILE is written and
run, ```LANGUAGE FILE only written; ```text is what the snippet before it printed, with other numbers perhaps and anything
for "...". ```python FILE needs MODULE ... runs with EXPORTERS, a Python that has those modules (`./dev models --export`
makes one, as build/zoo/exporters); where there is none, it is only compiled and a network with the same names and free
dimensions stands in for what it would have written.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "config/your-own-model.md"
EXPORTERS = os.environ.get("EXPORTERS", ROOT / "build/zoo/exporters/bin/python")
PORTS = ("8001", "8002")  # the page's; the test takes free ones


def snippets(page):
    """(what it is, its text, its line in the page) of each."""
    for found in re.finditer(r"^```(\w[^\n]*)\n(.*?)^```$", page, re.M | re.S):
        yield found[1].split(), found[2], page.count("\n", 0, found.start()) + 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def pattern(line):
    """Matches the line with any numbers for its numbers, anything for its dots."""
    parts = re.split(r"(\.\.\.|\d[\d.]*|\s+)", line.strip())
    return "".join(".*" if part == "..." else r"[\d.]+" if part[:1].isdigit() else r"\s+" if part.isspace() else re.escape(part)
                   for part in parts)


def save(file, nodes, inputs, outputs, **weights):
    values = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "stand_in", inputs, outputs, values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def write_animals(file):
    random = np.random.default_rng(8)
    save(file, [helper.make_node("Conv", ["image", "w"], ["a"], strides=[4, 4]), helper.make_node("Relu", ["a"], ["b"]),
                helper.make_node("GlobalAveragePool", ["b"], ["c"]), helper.make_node("Flatten", ["c"], ["d"]),
                helper.make_node("Gemm", ["d", "v"], ["scores"])],
         [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", 3, 224, 224])],
         [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 10])],
         w=random.normal(0, 0.15, (32, 3, 4, 4)), v=random.normal(0, 1, (32, 10)))


def write_mood(file):
    random = np.random.default_rng(8)
    save(file, [helper.make_node("Gather", ["words", "tokens"], ["a"]),
                helper.make_node("ReduceMean", ["a"], ["b"], axes=[1], keepdims=0),
                helper.make_node("Gemm", ["b", "v"], ["scores"])],
         [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["rows", "length"])],
         [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", 3])],
         words=random.normal(0, 1, (5000, 64)), v=random.normal(0, 1, (64, 3)))


STAND_INS = {"export_torch.py": ("animals.onnx", write_animals), "export_text.py": ("mood.onnx", write_mood)}


class PageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "hachi").symlink_to(ROOT)
        (self.folder / "photos").mkdir()
        random = np.random.default_rng(1)
        for i in range(64):  # blots of three sizes
            blots = sum(np.kron(random.normal(0, 40, (size, size, 3)), np.ones((224 // size, 224 // size, 1)))
                        for size in (4, 16, 56))
            Image.fromarray(np.clip(blots + 128, 0, 255).astype(np.uint8)).save(self.folder / f"photos/{i}.png")
        programs = [pathlib.Path(os.environ["HACHI"]).parent, pathlib.Path(os.environ["GRPCURL"]).parent,
                    pathlib.Path(sys.executable).parent]
        self.environment = {**os.environ, "PATH": ":".join(map(str, [*programs, "/usr/bin", "/bin"])),
                            "GOPATH": str(ROOT / "build/tools/go_modules"), "GOFLAGS": "-modcacherw"}
        self.ports = {port: free_port() for port in PORTS}
        self.printed = ""

    def run_it(self, *command):
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.printed = done.stdout

    def serve(self, script):
        log = open(self.folder / "log", "w")
        self.addCleanup(log.close)
        server = subprocess.Popen(["bash", "-c", "exec " + script], cwd=self.folder, env=self.environment, stdout=log, stderr=log)

        def stop():
            server.terminate()
            self.assertEqual(server.wait(timeout=60), 0, (self.folder / "log").read_text())
        self.addCleanup(stop)
        for _ in range(600):
            if re.search(r"\bready$", (self.folder / "log").read_text(), re.M):
                return
            self.assertIsNone(server.poll(), (self.folder / "log").read_text())
            time.sleep(0.1)
        self.fail((self.folder / "log").read_text())

    def export(self, file, modules):
        imports = "import " + ", ".join(modules)
        if not os.path.exists(EXPORTERS) or subprocess.run([EXPORTERS, "-c", imports], capture_output=True).returncode != 0:
            print(f"{file}: only compiled, no Python with {' '.join(modules)}")
            compile((self.folder / file).read_text(), file, "exec")
            if file in STAND_INS:
                name, write = STAND_INS[file]
                write(self.folder / name)
            return
        self.run_it(EXPORTERS, file)
        for written in self.folder.glob("animals-*.onnx"):
            self.run_it("hachi", "inspect", str(written))

    def check(self, kind, text):
        language, name, *needs = [*kind, None][:2] + kind[2:]
        if language == "text":
            wanted = ".*".join(pattern(line) for line in text.splitlines())
            self.assertRegex(self.printed, re.compile(wanted, re.S))
        elif language == "sh":
            self.serve(text) if name == "server" else self.run_it("bash", "-euo", "pipefail", "-c", text)
        else:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)
            if needs:
                self.export(name, needs[1:])
            elif language == "python":
                self.run_it(sys.executable, name)

    def test_every_snippet_works(self):
        page = PAGE.read_text()
        for kind, text, line in snippets(page):
            for port, free in self.ports.items():
                text = re.sub(rf"(?<=:){port}\b", free, text)
            try:
                self.check(kind, text)
            except Exception as error:
                error.add_note(f"{PAGE.relative_to(ROOT)}:{line}: {' '.join(kind)}")
                raise
            print(f"{PAGE.name}:{line}: {' '.join(kind[:2])}", flush=True)

    def test_a_snippet_without_a_kind_would_not_be_run(self):
        fences = re.findall(r"^```.*$", PAGE.read_text(), re.M)
        self.assertTrue(all(opening != "```" for opening in fences[::2]))


if __name__ == "__main__":
    unittest.main()
