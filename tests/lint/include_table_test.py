"""Holds include_table.py to what it must refuse and accept, over sources written for the purpose."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("include_table.py")


def check(path, include):
    """Runs the script over a tree of one file with one #include; returns its exit code and output."""
    with tempfile.TemporaryDirectory() as root:
        file = pathlib.Path(root) / path
        file.parent.mkdir(parents=True)
        file.write_text(f"#pragma once\n#include {include}\n")
        done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)
        return done.returncode, done.stdout


class IncludeTableTest(unittest.TestCase):
    def test_accepts_what_the_table_allows(self):
        for path, include in [
            ("engine/graph/graph.h", '"engine/tensor/shape.h"'),
            ("engine/graph/graph.h", '"engine/base/file.h"'),
            ("engine/graph/graph.h", '"absl/status/statusor.h"'),
            ("engine/graph/graph.h", "<vector>"),
            ("engine/graph/graph.h", "<sys/stat.h>"),
            ("engine/onednn/conv.cc", "<oneapi/dnnl/dnnl.hpp>"),
            ("server/models/registry.cc", '"engine/engine.h"'),
            ("server/rpc/decode.h", '"inference.pb.h"'),
            ("server/daemon.cc", '"server/executor/executor.h"'),
            ("server/commands/serve.cc", '"server/daemon.h"'),
        ]:
            self.assertEqual(check(path, include), (0, ""), (path, include))

    def test_refuses_everything_else_with_file_and_line(self):
        for path, include in [
            ("engine/graph/graph.h", '"engine/ops/op.h"'),
            ("engine/passes/fold.cc", '"engine/plan/plan.h"'),
            ("engine/ops/conv.cc", "<oneapi/dnnl/dnnl.hpp>"),
            ("engine/ops/conv.cc", "<grpcpp/grpcpp.h>"),
            ("engine/tensor/shape.cc", '"absl/log/log.h"'),
            ("engine/tensor/shape.cc", "<boost/any.hpp>"),
            ("engine/tensor/shape.cc", '"server/daemon.h"'),
            ("server/rpc/service.cc", '"server/executor/executor.h"'),
            ("server/models/registry.cc", '"engine/plan/plan.h"'),
            ("server/executor/executor.cc", '"inference.pb.h"'),
            ("server/commands/bench.cc", '"server/daemon.h"'),
            ("server/rpc/service.cc", '"service.h"'),
            ("engine/attic/old.cc", '"engine/base/file.h"'),
        ]:
            code, output = check(path, include)
            self.assertEqual(code, 1, (path, include))
            self.assertTrue(output.startswith(f"{path}:2: includes "), output)

    def test_refuses_a_tree_without_sources(self):
        with tempfile.TemporaryDirectory() as root:
            done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
