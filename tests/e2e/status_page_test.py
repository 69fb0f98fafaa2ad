"""What operators see at the metrics port, in a browser."""

import json
import pathlib
import tempfile
import unittest
import urllib.request

import onnx
from selenium.webdriver.common.by import By

import browser
from daemon import DIGITS, IMAGES, Daemon, copy_of_digits, infer

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
REPORT = "<!DOCTYPE html><title>digits</title><p id=said></p><script>said.textContent = 'drawn'; fetch('/status.json').then(() => said.textContent = 'read')</script>"


def hostile_model():
    """A model that fails to load with a node's name in the reason."""
    of_floats = lambda name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Nothing", ["image"], ["probabilities"], name=HOSTILE)],
                                   "graph", [of_floats("image")], [of_floats("probabilities")])
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()


class StatusPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.folder = pathlib.Path(folder)
        good = copy_of_digits(cls.folder / "digits")
        (good / "1/report.html").write_text(REPORT)
        bad = copy_of_digits(cls.folder / "broken", model=hostile_model())
        (bad / "1/calibration.txt").unlink()
        (bad / "1/report.html").symlink_to(cls.folder / "secret")
        (cls.folder / "secret").write_text("secret")
        cls.daemon = Daemon([f"dir: {good}", f"dir: {bad}, name: broken", f"dir: {DIGITS}, name: digits-fp32, precision: fp32"])
        cls.addClassCleanup(cls.daemon.stop)
        cls.daemon.wait_until(lambda: {model["state"] for model in cls.status()["models"]} == {"ready", "failed"})
        for rows in (1, 1, 1, 2, 2, 4, 8, 8, 8, 8):
            infer(cls.daemon.client, IMAGES[:rows])
            infer(cls.daemon.client, IMAGES[:rows], model="digits-fp32")
        cls.browser = browser.start()
        cls.addClassCleanup(cls.browser.quit)

    @classmethod
    def get(cls, path):
        return urllib.request.urlopen(f"http://{cls.daemon.metrics_address}{path}", timeout=10)

    @classmethod
    def status(cls):
        with cls.get("/status.json") as answer:
            return json.load(answer)

    def setUp(self):
        self.browser.get(f"http://{self.daemon.metrics_address}/")

    def card(self, name):
        cards = self.browser.find_elements(By.TAG_NAME, "article")
        return next(card for card in cards if card.find_element(By.TAG_NAME, "h2").text == name)

    def test_a_model_shows_its_state_precision_requests_and_latency(self):
        card = self.card("digits")
        self.assertEqual(card.find_element(By.CLASS_NAME, "state").text, "ready")
        self.assertIn("100.0 % of multiply-adds in INT8", card.find_element(By.CLASS_NAME, "share").text)
        facts = {fact.find_element(By.TAG_NAME, "dt").text: fact.find_element(By.TAG_NAME, "dd").text
                 for fact in card.find_elements(By.CSS_SELECTOR, "dl div")}
        self.assertEqual(facts["requests"], "10")
        self.assertRegex(facts["p99"], r"^[\d.]+ (µs|ms)$")
        self.assertEqual(len(card.find_elements(By.CSS_SELECTOR, "[aria-label='batches by rows'] rect")), 4)
        self.assertIn("0.0 % of multiply-adds in INT8", self.card("digits-fp32").text)

    def test_a_failed_model_says_why_and_what_its_file_holds_stays_text(self):
        card = self.card("broken")
        self.assertEqual(card.find_element(By.CLASS_NAME, "state").text, "failed")
        self.assertIn(HOSTILE, card.find_element(By.CLASS_NAME, "reason").text)
        self.assertEqual(self.browser.title, "Hachi: 2 of 3 ready")
        self.assertEqual(self.browser.find_elements(By.CSS_SELECTOR, "script, img"), [])

    def test_the_page_is_complete_in_itself(self):
        self.assertEqual(browser.complaints(self.browser), [])
        loaded = self.browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        self.assertEqual([name for name in loaded if "favicon" not in name], [])
        self.assertIn("default-src 'none'", self.get("/").headers["Content-Security-Policy"])

    def test_both_schemes_have_their_colours(self):
        ground = lambda: self.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        light = ground()
        browser.save_screenshot(self.browser, "status.png")
        dark = browser.start(dark=True)
        self.addCleanup(dark.quit)
        dark.get(self.browser.current_url)
        browser.save_screenshot(dark, "status-dark.png")
        self.assertNotEqual(dark.execute_script("return getComputedStyle(document.body).backgroundColor"), light)

    def test_a_report_opens_and_can_draw_but_not_read(self):
        self.card("digits").find_element(By.CLASS_NAME, "report").click()
        self.assertTrue(self.browser.current_url.endswith("/reports/digits/1"))
        self.assertEqual(self.browser.find_element(By.ID, "said").text, "drawn")
        self.assertTrue(any("connect-src" in said for said in browser.complaints(self.browser)))

    def test_a_link_out_of_the_folder_is_no_report(self):
        self.assertEqual(self.card("broken").find_elements(By.CLASS_NAME, "report"), [])
        for path in ("/reports/broken/1", "/reports/digits/2", "/reports/digits/../broken/1", "/reports/digits/01"):
            with self.subTest(path=path), self.assertRaises(urllib.error.HTTPError) as refused:
                self.get(path)
            self.assertEqual(refused.exception.code, 404)

    def test_json_has_the_same_facts_and_no_paths(self):
        self.browser.find_element(By.LINK_TEXT, "status.json").click()
        status = json.loads(self.browser.find_element(By.TAG_NAME, "pre").text)
        broken, digits, fp32 = status["models"]
        self.assertEqual((digits["state"], digits["requests"], digits["report"]), ("ready", {"OK": 10}, "/reports/digits/1"))
        self.assertEqual((fp32["model"]["precision"], fp32["model"]["int8_mac_ratio"]), ("fp32", 0))
        self.assertIn(HOSTILE, broken["reason"])
        self.assertFalse(status["ready"])
        self.assertNotIn(str(self.folder), json.dumps(status))


if __name__ == "__main__":
    unittest.main()
