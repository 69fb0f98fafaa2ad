"""metric_names_test.py PAGE: deploy/ asks for nothing that PAGE, a program that prints a metrics page, does not have."""

import subprocess
import sys
import unittest

import metric_names

PAGE = subprocess.run([sys.argv.pop(1)], check=True, capture_output=True, text=True).stdout


class MetricNamesTest(unittest.TestCase):
    def test_everything_in_deploy_asks_for_metrics_that_are_exported(self):
        self.assertGreater(len(list(metric_names.queries())), 60)
        self.assertEqual(metric_names.breaches_of_all(PAGE), [])

    def test_a_query_for_what_is_not_exported_is_found(self):
        series = metric_names.series_of(PAGE)
        for query, expected in [
            ("sum(rate(hachi_request_total[5m]))", "no metric hachi_request_total"),
            ('hachi_requests_total{status="OK"}', "hachi_requests_total has no label status"),
            ('hachi_requests_total{code=~"OK|TIMEOUT"}', 'hachi_requests_total has no code="TIMEOUT"'),
            ('hachi_model_state{state="dead"} == 1', 'hachi_model_state has no state="dead"'),
            ("sum by (model, cause) (hachi_queue_rows)", "no metric with label cause"),
        ]:
            self.assertEqual(metric_names.breaches(query, series), [expected])

    def test_a_query_for_what_is_exported_passes(self):
        series = metric_names.series_of(PAGE)
        for query in [
            'sum by (model, instance) (rate(hachi_requests_total{model=~"$model",code="OK",job="hachi"}[5m]))',
            "histogram_quantile(0.5, sum by (le) (rate(hachi_queue_duration_seconds_bucket[5m])))",
        ]:
            self.assertEqual(metric_names.breaches(query, series), [])


if __name__ == "__main__":
    unittest.main()
