"""The manifests fit the Kubernetes schemas, and what one of them names, another one or the project has."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
OLDEST = "1.27"  # the first with stable gRPC probes
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RESOURCES = [
    resource
    for name in KUSTOMIZATION["resources"]
    for resource in yaml.safe_load_all((FOLDER / name).read_text())
]


def of_kind(kind):
    return [resource for resource in RESOURCES if resource["kind"] == kind]


DEPLOYMENT = of_kind("Deployment")[0]
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
SERVER_YAML = yaml.safe_load(of_kind("ConfigMap")[0]["data"]["server.yaml"])


class KubernetesTest(unittest.TestCase):
    def test_every_manifest_fits_the_schemas(self):
        for version in (OLDEST, kubernetes_validate.latest_version()):
            for resource in RESOURCES:
                with self.subTest(version=version, kind=resource["kind"]):
                    kubernetes_validate.validate(resource, version, strict=True)

    def test_a_field_that_kubernetes_does_not_know_is_refused(self):
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate({**of_kind("Service")[0], "prots": []}, OLDEST, strict=True)

    def test_the_kustomization_names_every_file(self):
        files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
        self.assertEqual(set(KUSTOMIZATION["resources"]), files)

    def test_every_selector_finds_the_pods(self):
        labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
        selectors = [DEPLOYMENT["spec"]["selector"]["matchLabels"]]
        selectors += [service["spec"]["selector"] for service in of_kind("Service")]
        selectors += [budget["spec"]["selector"]["matchLabels"] for budget in of_kind("PodDisruptionBudget")]
        selectors += [spread["labelSelector"]["matchLabels"] for spread in POD["topologySpreadConstraints"]]
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels.items())
        target = of_kind("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"]
        self.assertEqual(target["name"], DEPLOYMENT["metadata"]["name"])

    def test_ports_are_those_that_the_daemon_listens_on(self):
        ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
        for name in ("grpc", "metrics"):
            self.assertEqual(int(SERVER_YAML["server"][name].rpartition(":")[2]), ports[name])
        for service in of_kind("Service"):
            for port in service["spec"]["ports"]:
                self.assertEqual(port["port"], ports[port["targetPort"]])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertEqual(CONTAINER[probe]["grpc"]["port"], ports["grpc"])
        scrape = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
        discovery = scrape["dns_sd_configs"][0]
        self.assertEqual(discovery["port"], ports["metrics"])
        self.assertEqual(discovery["names"], ["hachi-metrics"])
        self.assertIn("hachi-metrics", [service["metadata"]["name"] for service in of_kind("Service")])

    def test_volumes_hold_the_configuration_and_the_models(self):
        mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in POD["volumes"]}
        self.assertEqual(volumes.keys(), mounts.keys())
        config = of_kind("ConfigMap")[0]
        self.assertEqual(volumes["config"]["configMap"]["name"], config["metadata"]["name"])
        claim = of_kind("PersistentVolumeClaim")[0]
        self.assertEqual(volumes["models"]["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"])
        file = pathlib.PurePath(CONTAINER["args"][CONTAINER["args"].index("--config") + 1])
        self.assertEqual(str(file.parent), mounts["config"])
        self.assertIn(file.name, config["data"])
        for model in SERVER_YAML["models"]:
            self.assertEqual(str(pathlib.PurePath(model["dir"]).parent), mounts["models"])

    def test_the_daemon_accepts_its_configuration(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "server.yaml"
            text = of_kind("ConfigMap")[0]["data"]["server.yaml"]
            file.write_text(text.replace("dir: /models/", f"dir: {ROOT}/deploy/models/"))
            command = [os.environ["HACHI"], "serve", "--config", file, "--check"]
            done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "model 'digits' version 1: int8\n"), done.stderr)

    def test_the_pod_is_given_longer_than_the_drain_takes(self):
        drain = SERVER_YAML["server"]["drain"]
        seconds = sum(int(re.fullmatch(r"(\d+)s", drain[key])[1]) for key in ("delay", "deadline"))
        self.assertGreater(POD["terminationGracePeriodSeconds"], seconds)

    def test_the_pod_is_guaranteed_whole_cpus(self):
        resources = CONTAINER["resources"]
        self.assertEqual(resources["requests"], resources["limits"])
        self.assertRegex(resources["limits"]["cpu"], r"^\d+$")

    def test_the_image_is_the_one_of_this_version(self):
        version = re.search(r"project\(hachi VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
        self.assertEqual(CONTAINER["image"], f"hachi:{version}")
        self.assertIn(f"--tag hachi:{version} ", (ROOT / "docker/README.md").read_text())

    def test_the_image_runs_as_the_pod_says(self):
        final_stage = (ROOT / "docker/Dockerfile").read_text().partition("FROM scratch")[2]
        image = dict(re.findall(r"^([A-Z]+) (.*)$", final_stage, re.M))
        context = POD["securityContext"]
        self.assertEqual(image["USER"], f"{context['runAsUser']}:{context['runAsGroup']}")
        self.assertEqual(image["EXPOSE"], " ".join(str(port["containerPort"]) for port in CONTAINER["ports"]))
        self.assertEqual(json.loads(image["CMD"]), CONTAINER["args"])


if __name__ == "__main__":
    unittest.main()
