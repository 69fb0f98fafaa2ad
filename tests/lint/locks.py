#!/usr/bin/env python3
"""Checks the lock annotations of engine/base/mutex.h, which only clang understands, over the sources that the build
folder named as argument compiles, tests aside: those that include it, or a header that does.

Prints what clang says and exits 1 when it says anything.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

CLANG = "/usr/bin/clang++-14"
MUTEX = "engine/base/mutex.h"
INCLUDE = re.compile(r'^#include "(.*)"$', re.MULTILINE)


def includes(file):
    return INCLUDE.findall(file.read_text()) if file.is_file() else []


def sees_locks(root, file):
    """Whether what `file` includes has members that a mutex guards."""
    direct = includes(file)
    return MUTEX in direct or any(MUTEX in includes(root / header) for header in direct)


def check(command):
    """What clang says of one entry of the compilation database."""
    # GCC's own warnings are none of clang's business.
    words = [word for word in shlex.split(command["command"])[1:] if not word.startswith("-W")]
    return subprocess.run([CLANG, *words, "-fsyntax-only", "-Wthread-safety"], cwd=command["directory"],
                          capture_output=True, text=True).stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    commands = json.loads((build / "compile_commands.json").read_text())
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2]).resolve()
    checked = [c for c in commands
               if root / "tests" not in (file := pathlib.Path(c["file"])).parents and sees_locks(root, file)]
    if not checked:
        print(f"{build}: compiles nothing that includes {MUTEX}, expected sources that do")
        return 1
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        said = "".join(pool.map(check, checked))
    print(said, end="")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
