"""Debian's Prometheus scrapes the daemon with deploy/'s configuration, and answers what deploy/ asks it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

import yaml

from daemon import IMAGES, ROOT, Daemon, copy_of_digits, infer

sys.path.append(str(ROOT / "tests/deploy"))
import metric_names  # noqa: E402  (beside the tests of deploy/)

PROGRAMS = pathlib.Path(os.environ["PROMETHEUS"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """Scrapes `target` every second into a folder of its own, from construction to `stop`."""

    def __init__(self, target):
        self._folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self._folder.name)
        shutil.copy(ROOT / "deploy/prometheus/alerts.yml", folder)
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        del config["scrape_configs"][0]["dns_sd_configs"]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._address = f"127.0.0.1:{free_port()}"
        self._log = open(folder / "log", "w")
        self._process = subprocess.Popen(
            [
                PROGRAMS / "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={self._address}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def get(self, path, **parameters):
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def query(self, query):
        return self.get("query", query=query)["result"]

    def wait_for(self, query):
        """The query's result once it is not empty, which takes Prometheus some scrapes."""
        give_up = time.monotonic() + 30
        while True:
            try:
                result = self.query(query)
            except OSError:  # not listening yet
                result = []
            if result or time.monotonic() > give_up:
                return result
            time.sleep(0.1)

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        self._folder.cleanup()


class PrometheusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        model = copy_of_digits(pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "digits")
        with open(model / "model.yaml", "a") as config:
            config.write("shadow: {rate: 100%, cpu: 100%}\n")
        cls.daemon = Daemon([f"dir: {model}"]).wait_until_ready()
        cls.prometheus = Prometheus(cls.daemon.metrics_address)
        # A rate takes two scrapes, with traffic between them.
        for _ in range(3):
            scrapes = "count_over_time(hachi_build_info[1h])"
            seen = cls.prometheus.query(scrapes)[0]["value"][1] if cls.prometheus.wait_for(scrapes) else "0"
            for i in range(8):
                infer(cls.daemon.client, IMAGES[i : i + 4])
            cls.daemon.wait_until(cls.compares)
            cls.prometheus.wait_for(f"{scrapes} > {seen}")

    @classmethod
    def compares(cls):
        """Whether enough rows were compared with FP32 to say how they fit the calibration; asks for more."""
        infer(cls.daemon.client, IMAGES[:4])
        return "hachi_shadow_drift_index{" in cls.daemon.metrics_page()

    @classmethod
    def tearDownClass(cls):
        cls.prometheus.stop()
        assert cls.daemon.stop() == 0

    def test_the_page_is_in_order(self):
        command = [PROGRAMS / "promtool", "check", "metrics"]
        done = subprocess.run(command, input=self.daemon.metrics_page(), capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_requests_are_counted(self):
        result = self.prometheus.query('hachi_requests_total{model="digits",code="OK"}')
        self.assertEqual(result[0]["metric"]["version"], "1")
        self.assertEqual(result[0]["metric"]["job"], "hachi")
        self.assertGreaterEqual(int(result[0]["value"][1]), 16)

    def test_everything_in_deploy_asks_for_metrics_that_the_daemon_exports(self):
        self.assertEqual(metric_names.breaches_of_all(self.daemon.metrics_page()), [])

    def test_every_panel_of_the_dashboard_has_data(self):
        dashboard = json.loads((ROOT / "deploy/grafana/hachi.json").read_text())
        queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        self.assertGreater(len(queries), 20)
        for query in queries:
            with self.subTest(query=query):
                query = query.replace("$__rate_interval", "1m").replace("$model", ".+")
                self.assertNotEqual(self.prometheus.query(query), [])

    def test_rules_are_evaluated_and_no_alert_fires(self):
        rules = [rule for group in self.prometheus.get("rules")["groups"] for rule in group["rules"]]
        self.assertEqual(len(rules), 16)
        self.assertEqual({rule["health"] for rule in rules}, {"ok"})
        self.assertEqual([rule["name"] for rule in rules if rule.get("state") == "firing"], [])


if __name__ == "__main__":
    unittest.main()
