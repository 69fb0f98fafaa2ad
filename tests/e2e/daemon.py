"""Runs the real daemon for a test. The environment names the programs: HACHI, and what else a test needs."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import numpy as np
import tritonclient.grpc as triton

ROOT = pathlib.Path(__file__).parents[2]
DIGITS = ROOT / "deploy/models/digits"
SECONDS_TO_START = 60
SECONDS_TO_STOP = 30

IMAGES = np.load(ROOT / "tests/demo/test_images.npy")
LABELS = np.load(ROOT / "tests/demo/test_labels.npy")


def copy_of_digits(folder, batching="{max_batch: 32}", model=None):
    """A model directory in `folder` with the demo's network, or with `model` in its place."""
    shutil.copytree(DIGITS, folder)
    if model is not None:
        (folder / "1/model.onnx").write_bytes(model)
    text = re.sub(r"(?m)^batching:.*$", f"batching: {batching}", (folder / "model.yaml").read_text())
    (folder / "model.yaml").write_text(text)
    return folder


class Daemon:
    """`hachi serve` on free ports of this machine, from construction to `stop`.

    Started without a hook of ours between fork and exec: gRPC's threads of this process may abort there.

    `models` are entries of the configuration's list; `drain` is its value; `server` is more of that section, `more` of the file; `limits`
    are the process's, as options of prlimit; `arguments` are of the command line. Its log is read with `log` unless it
    goes to the file `stderr`.
    """

    def __init__(self, models=(f"dir: {DIGITS}",), drain="{delay: 0s, deadline: 20s}", server="", limits=(), more="", arguments=(), stderr=None):
        self._folder = tempfile.TemporaryDirectory()
        config = pathlib.Path(self._folder.name) / "server.yaml"
        config.write_text(
            f"server: {{grpc: '127.0.0.1:0', metrics: '127.0.0.1:0', drain: {drain}{server and ', ' + server}}}\n"
            + "cpu: {workers: 1, threads_per_worker: 1}\nmodels:\n"
            + "".join(f"  - {{{model}}}\n" for model in models)
            + more
        )
        self._log = open(pathlib.Path(self._folder.name) / "log", "w+")
        self.process = subprocess.Popen(
            ["prlimit", *limits, os.environ["HACHI"], "serve", "--config", config, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log if stderr is None else stderr,
            text=True,
        )
        self.grpc_address = self._read_address("grpc")
        self.metrics_address = self._read_address("metrics")
        self.client = triton.InferenceServerClient(self.grpc_address)

    def _read_address(self, name):
        for line in self.process.stdout:
            found = re.search(rf"\b{name}\b.*?(127\.0\.0\.1:\d+)", line)
            if found:
                return found[1]
        raise AssertionError(f"hachi serve ended without its {name} address, exit {self.process.wait()}: {self.log()}")

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def wait_until(self, condition):
        """Waits while the daemon starts or stops; AssertionError when that takes too long or it has ended."""
        give_up = time.monotonic() + SECONDS_TO_START
        while not condition():
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"hachi serve did not get there, exit {self.process.poll()}: {self.log()}")
            time.sleep(0.02)
        return self

    def wait_until_ready(self):
        return self.wait_until(self.client.is_server_ready)

    def metrics_page(self):
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as response:
            return response.read().decode()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_for_exit(self):
        return self.process.wait(timeout=SECONDS_TO_STOP)

    def stop(self):
        """Ends it as Kubernetes would, unless that was done already; returns its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.wait_for_exit()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()
            self._log.close()
            self._folder.cleanup()


def image_input(images, name="image"):
    tensor = triton.InferInput(name, list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    return tensor


def infer(client, images, model="digits", **options):
    """The probabilities that `model` answers."""
    return client.infer(model, [image_input(images)], **options).as_numpy("probabilities")
