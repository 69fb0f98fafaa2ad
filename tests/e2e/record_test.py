"""What clients ask a served model becomes its calibration table."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

from daemon import IMAGES, Daemon, copy_of_digits, infer


class RecordTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.model = copy_of_digits(self.folder / "digits")

    def record(self, settings, images):
        """Has the model asked for the images, one after the other, and returns the folder of what was recorded."""
        with open(self.model / "model.yaml", "a") as config:
            config.write(f"record: {settings}\n")
        daemon = Daemon([f"dir: {self.model}"])
        self.addCleanup(daemon.stop)
        daemon.wait_until_ready()
        for image in images:
            infer(daemon.client, image[np.newaxis])
        daemon.wait_until(lambda: f'hachi_recorded_rows_total{{model="digits",version="1"}} {len(images)}' in daemon.metrics_page())
        return self.model / "recorded/1"

    def test_recorded_rows_are_what_clients_sent(self):
        recorded = self.record("{rows: 8, dir: recorded}", IMAGES[:3])
        files = sorted(recorded.iterdir())
        self.assertEqual([file.name for file in files], ["000000.npz", "000001.npz", "000002.npz"])
        for file, image in zip(files, IMAGES):
            np.testing.assert_array_equal(np.load(file)["image"], image[np.newaxis])

    def test_a_table_comes_of_recorded_rows(self):
        recorded = self.record("{rows: 16, dir: recorded}", IMAGES[:16])
        table = self.folder / "calibration.txt"
        subprocess.run([os.environ["HACHI"], "calibrate", self.model, "--data", recorded, "--output", table], check=True)
        table.replace(self.model / "1/calibration.txt")
        daemon = Daemon([f"dir: {self.model}"])
        self.addCleanup(daemon.stop)
        daemon.wait_until_ready()
        self.assertIn('hachi_model_layers{model="digits",precision="int8",version="1"}', daemon.metrics_page())

    def test_a_folder_that_cannot_be_written_fails_the_model(self):
        (self.folder / "taken").write_text("a file")
        with open(self.model / "model.yaml", "a") as config:
            config.write(f"record: {{dir: {self.folder}/taken}}\n")
        daemon = Daemon([f"dir: {self.model}"])
        self.addCleanup(daemon.stop)
        daemon.wait_until(lambda: "record:" in daemon.log())
        self.assertFalse(daemon.client.is_server_ready())


if __name__ == "__main__":
    unittest.main()
