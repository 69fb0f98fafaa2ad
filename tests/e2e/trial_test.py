"""A model's first load is in a process of its own: whatever ends that costs the model its readiness and nothing else."""

import contextlib
import os
import pathlib
import signal
import tempfile
import time
import unittest

import numpy as np
from tritonclient.utils import InferenceServerException

from daemon import DIGITS, IMAGES, Daemon, copy_of_digits, infer


class TrialTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, trial, models=(f"dir: {DIGITS}",)):
        daemon = Daemon(models, server=f"trial: {{enabled: true, {trial}}}")
        self.addCleanup(daemon.stop)
        return daemon

    def child_of(self, daemon):
        """The process of a trial, as soon as there is one."""
        tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            for task in tasks.iterdir():
                with contextlib.suppress(OSError):  # threads end
                    if children := (task / "children").read_text().split():
                        return int(children[0])
        raise AssertionError("there is no process of a trial")

    def assert_failed(self, daemon, reason, model="digits"):
        daemon.wait_until(lambda: reason in daemon.log())
        with self.assertRaises(InferenceServerException) as error:
            infer(daemon.client, IMAGES[:1], model)
        self.assertIn(reason, error.exception.message())
        self.assertTrue(daemon.client.is_server_live())
        self.assertFalse(daemon.client.is_server_ready())
        self.assertIsNone(daemon.process.poll())

    def test_a_process_that_is_killed_fails_its_model_alone(self):
        # They are loaded in the order of their names.
        daemon = self.start("time: 10m", [f"dir: {DIGITS}, name: a", f"dir: {DIGITS}, name: b"])
        os.kill(self.child_of(daemon), signal.SIGKILL)
        self.assert_failed(daemon, "ended by signal 9", "a")
        daemon.wait_until(lambda: "model 'b' version 1: loaded" in daemon.log())
        self.assertEqual(infer(daemon.client, IMAGES[:1], "b").shape, (1, 10))

    def test_a_process_beyond_its_memory_fails_its_model(self):
        self.assert_failed(self.start("memory: 8MiB"), "bytes, expected at most 8388608 (server.trial.memory)")

    def test_a_process_beyond_its_time_fails_its_model(self):
        self.assert_failed(self.start("time: 1ms"), "took longer than 1ms")

    def test_known_files_are_loaded_at_once(self):
        cache = self.folder / "cache"
        model = copy_of_digits(self.folder / "digits")
        self.start(f"cache: {cache}", [f"dir: {model}"]).wait_until_ready()
        self.assertEqual(len(list(cache.iterdir())), 1)
        # What would fail any trial fails none.
        self.start(f"cache: {cache}, time: 1ms", [f"dir: {model}"]).wait_until_ready()
        (model / "model.yaml").write_text((model / "model.yaml").read_text() + "# changed\n")
        self.assert_failed(self.start(f"cache: {cache}, time: 1ms", [f"dir: {model}"]), "took longer than 1ms")

    def test_a_guard_judges_once(self):
        model = copy_of_digits(self.folder / "digits")
        (model / "golden").mkdir()
        np.save(model / "golden/images.npy", IMAGES[:16])
        daemon = self.start("time: 10m", [f"dir: {model}"]).wait_until_ready()
        self.assertIn("guard: passed (remembered)", daemon.log())

    def test_an_orderly_failure_says_what_it_always_says(self):
        model = copy_of_digits(self.folder / "digits", model=b"no model")
        daemon = self.start("time: 10m", [f"dir: {model}"])
        self.assert_failed(daemon, "model.onnx")
        self.assertNotIn("process of its own", daemon.log())

    def test_a_drain_does_not_wait_for_it(self):
        daemon = self.start("time: 10m", [f"dir: {DIGITS}, name: m{i}" for i in range(50)])
        child = self.child_of(daemon)
        daemon.terminate()
        self.assertEqual(daemon.wait_for_exit(), 0)
        self.assertFalse(pathlib.Path(f"/proc/{child}").exists())


if __name__ == "__main__":
    unittest.main()
