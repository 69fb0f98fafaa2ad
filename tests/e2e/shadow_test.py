"""A share of live requests runs once more in FP32, and metrics say how INT8 stands to it."""

import pathlib
import re
import tempfile
import unittest

from daemon import IMAGES, Daemon, copy_of_digits, infer


class ShadowTest(unittest.TestCase):
    def serve(self, settings, entry=""):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        model = copy_of_digits(pathlib.Path(folder.name) / "digits")
        with open(model / "model.yaml", "a") as config:
            config.write(f"shadow: {settings}\n")
        self.daemon = Daemon([f"dir: {model}{entry}"])
        self.addCleanup(self.daemon.stop)
        self.daemon.wait_until_ready()

    def metrics(self):
        """Sums of the page's hachi_shadow_ metrics, by name and, where it has them, result."""
        sums = {}
        for name, labels, value in re.findall(r"^hachi_shadow_(\w+)\{(.*)\} (\S+)$", self.daemon.metrics_page(), re.M):
            result = re.search('result="(.*?)"', labels)
            key = f"{name} {result[1]}" if result else name
            sums[key] = sums.get(key, 0) + float(value)
        return sums

    def ask_until(self, images, rows):
        """Asks for them one after the other, again and again, until so many rows were compared."""
        requests = iter(range(10**6))

        def done():
            at = next(requests) % len(images)
            infer(self.daemon.client, images[at : at + 1])
            return self.metrics()["rows_total"] >= rows

        self.daemon.wait_until(done)
        return self.metrics()

    def test_int8_agrees_and_what_it_was_calibrated_with_does_not_drift(self):
        self.serve("{rate: 100%, cpu: 100%}")
        metrics = self.ask_until(IMAGES, rows=96)
        self.assertGreater(metrics["places_total agree"], 0.98 * metrics["rows_total"])
        self.assertEqual(metrics["places_total agree"] + metrics["places_total differ"], metrics["rows_total"])
        self.assertLess(metrics["drift_index"], 0.1)
        self.assertGreater(metrics["cpu_seconds_total"], 0)

    def test_other_images_drift(self):
        self.serve("{rate: 100%, cpu: 100%}")
        self.assertGreater(self.ask_until(255 - IMAGES, rows=64)["drift_index"], 0.25)

    def test_without_a_rate_or_in_fp32_there_is_no_shadow(self):
        for settings, entry in (("{rate: 0%}", ""), ("{rate: 100%}", ", precision: fp32")):
            self.serve(settings, entry)
            infer(self.daemon.client, IMAGES[:1])
            self.assertEqual(self.metrics(), {})


if __name__ == "__main__":
    unittest.main()
