"""Classifiers trained on photographs of clothes and on digits keep their accuracy in INT8, from a calibration table and as trained with
fake quantization. ./dev fidelity measures the same on all images, beside other tools."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import tritonclient.grpc as triton

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "e2e"))
import daemon  # noqa: E402
import fashion  # noqa: E402

IMAGES = 2000
ROWS = 32  # of a request
MOST_LOST = 0.01  # of FP32's accuracy
GOLDEN = 200  # samples of a guard
FEW_LAYERS = 10  # of the hard case's 24 in INT8


class TrainedNetworksTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def directory(self, name):
        model = self.folder / name
        model.mkdir()
        (model / "model.onnx").write_bytes((HERE / f"trained/{name}.onnx").read_bytes())
        return model

    def calibrated(self, name):
        model, samples = self.directory(name), self.folder / "samples.npy"
        np.save(samples, fashion.calibration())
        subprocess.run([os.environ["HACHI"], "calibrate", model, "--data", samples, "--output", model / "calibration.txt"],
                       check=True, capture_output=True)
        return model

    def scores(self, models, images, output="scores"):
        """Of each (directory, precision), a row an image."""
        server = daemon.Daemon([f"dir: '{model}', name: '{i}', precision: {precision}"
                                for i, (model, precision) in enumerate(models)]).wait_until_ready()
        self.addCleanup(server.stop)

        def answer(name, rows):
            tensor = triton.InferInput("image", rows.shape, "FP32")
            tensor.set_data_from_numpy(rows)
            return server.client.infer(name, [tensor]).as_numpy(output)

        return [np.concatenate([answer(str(i), images[first:first + ROWS]) for first in range(0, len(images), ROWS)])
                for i in range(len(models))]

    def assert_kept(self, right, wanted, found):
        """`right` are labels; both others scores."""
        before, after = (float(np.mean(scores.argmax(1) == right)) for scores in (wanted, found))
        self.assertGreater(before, 0.85)
        self.assertGreaterEqual(after, before * (1 - MOST_LOST))

    def assert_integers(self, model):
        report = subprocess.run([os.environ["HACHI"], "inspect", model, "--precision", "int8", "--json"], check=True, capture_output=True)
        self.assertGreaterEqual(json.loads(report.stdout)["int8_mac_ratio"], 0.9)

    def check_classifier_of_clothes(self, name):
        model, trained = self.calibrated(name), self.directory(f"{name}_qat")
        images, labels = (part[:IMAGES] for part in fashion.test())
        fp32, post, qat = self.scores([(model, "fp32"), (model, "int8"), (trained, "int8")], images)
        for found in (post, qat):
            self.assert_kept(labels, fp32, found)
        for directory in (model, trained):
            self.assert_integers(directory)

    def test_mobilenet(self):
        self.check_classifier_of_clothes("fashion_mobile")

    def test_resnet(self):
        self.check_classifier_of_clothes("fashion_resnet")

    def test_digits_trained_with_fake_quantization(self):
        model = self.directory("digits_qat")
        images = ((daemon.IMAGES.astype(np.float32) - np.float32(33.3)) * np.float32(0.0127)).transpose(0, 3, 1, 2)
        (found,) = self.scores([(model, "int8")], np.ascontiguousarray(images), "probabilities")
        self.assertGreaterEqual(float(np.mean(found.argmax(1) == daemon.LABELS)), 0.9927 * (1 - MOST_LOST))  # FP32: 99.27 %
        self.assert_integers(model)

    def test_the_hard_case_computes_what_the_network_does_that_it_was_made_of(self):
        images = fashion.test()[0][:ROWS]
        origin, hard = self.scores([(self.directory(name), "fp32") for name in ("fashion_mobile", "fashion_mobile_hard")], images)
        np.testing.assert_allclose(hard, origin, rtol=0, atol=1e-4 * float(np.ptp(origin)))

    def test_guard_takes_few_layers_out_of_the_hard_case_and_none_once_it_is_repaired(self):
        model = self.calibrated("fashion_mobile_hard")
        (model / "golden").mkdir()
        images, labels = fashion.test()
        np.save(model / "golden/images.npy", images[:GOLDEN])
        np.save(model / "golden/labels.npy", labels[:GOLDEN])
        as_it_is = self.folder / "as_it_is"
        shutil.copytree(model, as_it_is)
        (as_it_is / "model.yaml").write_text("repairs: {equalization: false, bias_correction: false}\n")
        server = daemon.Daemon([f"dir: '{model}', name: repaired", f"dir: '{as_it_is}'"]).wait_until_ready()
        self.addCleanup(server.stop)
        found = {name: value for name, value in re.findall(r'^hachi_model_guard_(\w+{model="\w+"[^}]*}) (\S+)$', server.metrics_page(), re.M)}
        self.assertEqual(found['result{model="repaired",result="passed",version="1"}'], "1")
        self.assertEqual(found['result{model="as_it_is",result="fell_back",version="1"}'], "1")
        self.assertGreater(float(found['drop_ratio{model="as_it_is",version="1"}']), 0.2)
        layers = re.search(r"most in (\d+) layers: ('.*')", server.log())
        self.assertLessEqual(int(layers[1]), FEW_LAYERS)
        # What reads the depthwise convolutions whose channels differ by powers of two.
        self.assertIn("/project/conv/Conv", layers[2])

    def test_tune_finds_a_plan_for_the_hard_case_that_loses_little(self):
        model, golden = self.calibrated("fashion_mobile_hard"), self.folder / "golden"
        (model / "model.yaml").write_text("repairs: {equalization: false, bias_correction: false}\n")
        golden.mkdir()
        images, labels = fashion.test()
        np.save(golden / "images.npy", images[:GOLDEN])
        np.save(golden / "labels.npy", labels[:GOLDEN])
        subprocess.run([os.environ["HACHI"], "tune", model, "--data", golden, "--trials", "12"], check=True, capture_output=True)
        report = json.loads((model / "tune.json").read_text())
        self.assertGreater(report["trials"][0]["drop"], 0.2)
        self.assertLessEqual(report["trials"][report["best"] - 1]["drop"], MOST_LOST)


if __name__ == "__main__":
    unittest.main()
