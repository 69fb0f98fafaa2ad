"""Holds what deploy/ asks Prometheus for against a page of the daemon's metrics.

A query for a metric, a label or a label's value that the daemon does not export is no error to Prometheus: its panel
stays empty, its alert never fires.
"""

import json
import pathlib
import re

import yaml

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.M)
LABEL = re.compile(r'(\w+)="([^"]*)"')
# Prometheus adds these when it scrapes.
TARGET_LABELS = {"instance", "job"}

SELECTOR = re.compile(r"\b(hachi_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=|!~|!=)"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring) \(([^)]*)\)")
VARIABLE = re.compile(r"label_values\((hachi_\w+), (\w+)\)")


def series_of(page):
    """The page's series: metric name -> label -> its values."""
    series = {}
    for name, labels in SAMPLE.findall(page):
        values = series.setdefault(name, {})
        for label, value in LABEL.findall(labels):
            values.setdefault(label, set()).add(value)
    return series


def breaches(query, series):
    """What `query` names that `series` does not have, a sentence each."""
    found = []
    labels_of_all = set(TARGET_LABELS)
    for metric, matchers in SELECTOR.findall(query):
        if metric not in series:
            found.append(f"no metric {metric}")
            continue
        labels_of_all |= series[metric].keys()
        for label, operator, value in MATCHER.findall(matchers):
            if label in TARGET_LABELS:
                continue
            if label not in series[metric]:
                found.append(f"{metric} has no label {label}")
            elif "$" not in value and label not in ("model", "version"):
                for one in value.split("|") if "~" in operator else [value]:
                    if one not in series[metric][label]:
                        found.append(f'{metric} has no {label}="{one}"')
    for labels in GROUPING.findall(query):
        for label in labels.split(", "):
            if label not in labels_of_all:
                found.append(f"no metric with label {label}")
    return found


def strings_in(node):
    """Every string of a parsed JSON or YAML document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for child in node.values():
            yield from strings_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from strings_in(child)


def queries():
    """(where, query) of everything in deploy/ that names a metric."""
    documents = [(path, json.loads(path.read_text())) for path in sorted(DEPLOY.glob("grafana/*.json"))]
    for path in sorted([*DEPLOY.glob("prometheus/*.yml"), *DEPLOY.glob("kubernetes/*.yaml")]):
        documents += [(path, document) for document in yaml.safe_load_all(path.read_text())]
    for path, document in documents:
        for text in strings_in(document):
            if "hachi_" in text:
                yield path.relative_to(DEPLOY), VARIABLE.sub(r"count by (\2) (\1)", text)


def breaches_of_all(page):
    series = series_of(page)
    return [f"{where}: {what}: {query}" for where, query in queries() for what in breaches(query, series)]
