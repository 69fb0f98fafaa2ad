"""Holds locks.py to what it must refuse and accept, over sources written for the purpose."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).with_name("locks.py")
REPOSITORY = SCRIPT.parents[2]
COUNTER = """#include "engine/base/mutex.h"
struct Counter {
  hachi::Mutex mutex;
  int count ABSL_GUARDED_BY(mutex) = 0;
};
"""
LOCKS = "int Read(Counter& counter) { hachi::MutexLock lock(counter.mutex); return counter.count; }\n"
FORGETS = "int Read(Counter& counter) { return counter.count; }\n"


def check(files):
    """Runs the script over sources by name, each compiled; returns its exit code and output."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).write_text(text)
        commands = [{"directory": folder, "file": str(root / name),
                     "command": f"c++ -std=c++20 -Wall -I{folder} -I{REPOSITORY} -o x.o -c {root / name}"}
                    for name in files if name.endswith(".cc")]
        (root / "compile_commands.json").write_text(json.dumps(commands))
        done = subprocess.run([sys.executable, SCRIPT, folder, folder], capture_output=True, text=True)
        return done.returncode, done.stdout


class LocksTest(unittest.TestCase):
    def test_accepts_a_member_that_is_read_under_its_lock(self):
        self.assertEqual(check({"a.cc": COUNTER + LOCKS}), (0, ""))

    def test_refuses_one_that_is_read_without(self):
        code, output = check({"a.cc": COUNTER + FORGETS})
        self.assertEqual(code, 1)
        self.assertIn("reading variable 'count' requires holding mutex 'counter.mutex'", output)

    def test_looks_through_the_headers_of_a_source(self):
        code, _ = check({"counter.h": COUNTER, "a.cc": '#include "counter.h"\n' + FORGETS})
        self.assertEqual(code, 1)

    def test_refuses_a_build_without_locks(self):
        self.assertEqual(check({"a.cc": "int x;\n"})[0], 1)


if __name__ == "__main__":
    unittest.main()
