"""`hachi report` writes a page that a browser draws without a network, and that answers clicks."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from selenium.webdriver.common.by import By

import browser
from daemon import ROOT, Daemon, copy_of_digits

HOSTILE = "</script><script>document.title='taken'</script>"


def trial(id, drop, throughput, ok=True):
    return {"id": id, "strategy": f"strategy {id}", "score": 0.99 - drop, "drop": drop, "throughput_per_s": throughput,
            "bytes": 30000, "changes": [f"layer{id}: fp32 {HOSTILE}"], "ok": ok}


TUNE = {"model": "digits", "objective": "throughput", "metric": "accuracy", "max_drop": 0.01,
        "baseline": {"score": 0.99, "throughput_per_s": 11000},
        "trials": [trial(1, 0.03, 17000, ok=False), trial(2, 0.001, 16000), trial(3, 0.004, 16500), trial(4, 0.002, 13000),
                    {**trial(5, 0, 12000), "score": None}],
        "best": 3}


def report(*arguments):
    done = subprocess.run([os.environ["HACHI"], "report", *map(str, arguments), "--seconds", "0.2"], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


class ReportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.model = copy_of_digits(cls.folder / "digits")
        (cls.model / "1/tune.json").write_text(json.dumps(TUNE))
        report(cls.model, "--data", ROOT / "tests/demo/calibration")
        cls.browser = browser.start()
        cls.addClassCleanup(cls.browser.quit)

    def setUp(self):
        self.browser.get(f"file://{self.model}/1/report.html")

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        return [element.text for element in self.find(selector)]

    def test_the_page_draws_everything_and_asks_for_nothing(self):
        self.assertEqual(self.texts("#title"), ["digits"])
        self.assertEqual(len(self.find("#graph .node")), 18)
        self.assertGreaterEqual(len(self.find("#graph .edge")), 18)  # a chain, and what residuals add
        self.assertEqual(len(self.find("#steps tbody tr")), 18)
        self.assertGreater(len(self.find("#stored tbody tr")), 10)
        self.assertIn("agrees with FP32", self.texts("#speed dt"))
        self.assertEqual(browser.complaints(self.browser), [])
        self.assertEqual(self.browser.title, "Hachi: report")
        browser.save_screenshot(self.browser, "report.png")

    def test_a_click_on_a_node_shows_its_kernels_and_histograms(self):
        node = next(node for node in self.find("#graph .node") if "block1.depthwise" in node.text)
        node.click()
        self.assertEqual(self.texts("#step h2"), ["block1.depthwise.conv"])
        self.assertEqual(len(self.find("#step .histogram")), 2)
        self.assertEqual(len(self.find("#step .histogram .threshold")), 4)
        answers = dict(zip(self.texts("#step .offers td:first-child"), self.texts("#step .offers td:last-child")))
        self.assertIn("runs it", answers.values())
        self.assertTrue(all(answers.values()))
        self.assertEqual(self.texts("#steps tr.selected td:first-child"), ["block1.depthwise.conv"])

    def test_a_click_on_a_row_selects_its_node(self):
        self.find("#steps tbody tr")[-1].click()
        self.assertEqual(self.texts("#step h2"), ["probabilities"])
        self.assertEqual(len(self.find("#graph .node.selected")), 1)

    def test_a_click_on_a_column_sorts_by_it(self):
        next(head for head in self.find("#steps th") if head.text == "time").click()
        steps = {step["step"]: step["us"] for step in json.loads(self.find("#facts")[0].get_attribute("textContent"))["steps"]}
        times = [steps[name] for name in self.texts("#steps tbody td:first-child")]
        self.assertEqual(times, sorted(times, reverse=True))

    def test_trials_are_points_and_the_best_is_told(self):
        self.assertEqual(len(self.find("#frontier .dot")), 5)
        self.assertIn("best: trial 3, strategy 3", self.texts("#frontier .chosen")[0])
        self.find("#frontier .dot")[1].click()
        self.assertIn("trial 2, strategy 2", self.texts("#frontier .chosen")[0])
        self.assertIn(HOSTILE, self.texts("#frontier .chosen")[0])

    def test_json_has_the_same_facts(self):
        on_page = json.loads(self.find("#facts")[0].get_attribute("textContent"))
        facts = json.loads(report(self.model, "--json"))
        self.assertEqual(facts.keys(), on_page.keys())
        self.assertEqual([step["kernel"] for step in facts["steps"]], [step["kernel"] for step in on_page["steps"]])
        self.assertEqual((facts["tensors"], facts["tune"]), (on_page["tensors"], TUNE))
        self.assertGreater(on_page["accuracy"]["agreement"], 0.98)

    def test_the_daemon_serves_it_and_it_draws_there(self):
        daemon = Daemon([f"dir: {self.model}"])
        self.addCleanup(daemon.stop)
        daemon.wait_until_ready()
        self.browser.get(f"http://{daemon.metrics_address}/")
        self.find(".report")[0].click()
        self.assertEqual(len(self.find("#graph .node")), 18)
        self.assertEqual(browser.complaints(self.browser), [])


if __name__ == "__main__":
    unittest.main()
