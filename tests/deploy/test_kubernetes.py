"""The manifests: their schemas, and that they agree with each other."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.files import (
    DEPLOY,
    MANIFESTS,
    Yaml,
    containers,
    dotenv,
    manifest,
    manifests,
    pod,
)
from tests.deploy.tools import run_tool

PODS = {"web": pod(), "surrealdb": pod("surrealdb", "StatefulSet")}
OLDEST = "1.30"  # sidecars, the sleep before a stop, scaling by one container


@pytest.mark.parametrize("version", [OLDEST, "1.37"])
def test_the_manifests_are_what_the_schemas_say(version: str) -> None:
    said = run_tool(
        "kubernetes-validate", "--strict", "--kubernetes-version", version, *map(str, MANIFESTS)
    )
    assert said.count("passed for resource") == len(manifests())
    text = (DEPLOY / "kubernetes/kustomization.yaml").read_text("utf-8")
    assert f"Kubernetes {OLDEST} or newer" in text


def test_the_kustomization_reaches_every_manifest_and_its_patches_fit() -> None:
    folder = DEPLOY / "kubernetes"
    base = yaml.safe_load((folder / "base/kustomization.yaml").read_text("utf-8"))
    assert sorted(base["resources"]) == [each.name for each in MANIFESTS]
    top = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    assert top["resources"] == ["base"]
    assert {each["name"] for each in top["images"]} <= {
        each["image"] for each in containers(PODS["web"]).values()
    }
    for patch in top["patches"]:
        targets = [each for each in manifests() if each["kind"] == patch["target"]["kind"]]
        assert targets
        for target in targets:
            for change in yaml.safe_load(patch["patch"]):
                assert isinstance(_at(target, change["path"]), str)


def test_every_pod_is_restricted() -> None:
    labels = manifest("Namespace", "fal-video")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, spec in PODS.items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, f"{name}: RECONCILER_PORT could be a service's"
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for each in containers(spec).values():
            context = each["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, each["name"]
            assert context["readOnlyRootFilesystem"], each["name"]
            assert context["capabilities"] == {"drop": ["ALL"]}, each["name"]
            assert {"requests", "limits"} == set(each["resources"]), each["name"]
            assert "/tmp" in {mount["mountPath"] for mount in each["volumeMounts"]}


def test_it_migrates_then_sweeps_then_serves() -> None:
    starting = PODS["web"]["initContainers"]
    assert [each["name"] for each in starting] == ["migrate", "reconciler"]
    assert [each.get("restartPolicy") for each in starting] == [None, "Always"]
    assert manifest("HorizontalPodAutoscaler", "web")["spec"]["minReplicas"] >= 2
    assert "replicas" not in manifest("Deployment", "web")["spec"], "the autoscaler has the word"
    assert manifest("StatefulSet", "surrealdb")["spec"]["replicas"] == 1


def test_every_probe_asks_what_there_is() -> None:
    probes = {
        (each["name"], kind): (each[kind]["httpGet"]["path"], each[kind]["httpGet"]["port"])
        for spec in PODS.values()
        for each in containers(spec).values()
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
        if "httpGet" in each.get(kind, {})
    }
    assert probes == {
        ("web", "startupProbe"): ("/health/live", "http"),
        ("web", "readinessProbe"): ("/health/ready", "http"),
        ("web", "livenessProbe"): ("/health/live", "http"),
        ("reconciler", "livenessProbe"): ("/health/live", "sweeps"),
        ("surrealdb", "startupProbe"): ("/health", "rpc"),
        ("surrealdb", "readinessProbe"): ("/health", "rpc"),
    }
    for spec in PODS.values():
        for each in containers(spec).values():
            named = {port["name"] for port in each.get("ports", [])}
            assert {
                port for (name, _), (_, port) in probes.items() if name == each["name"]
            } <= named
    sidecar = containers(PODS["web"])["reconciler"]
    ports = [each["containerPort"] for each in sidecar["ports"]]
    assert {"name": "RECONCILER_PORT", "value": str(ports[0])} in sidecar["env"]


def test_selectors_backends_and_policies_name_pods_and_ports_that_exist() -> None:
    by_label = {"fal-video": PODS["web"], "surrealdb": PODS["surrealdb"]}
    for each in manifests():
        for labels in _found(each, "matchLabels"):
            if name := labels.get("app.kubernetes.io/name"):
                assert name in by_label, each["metadata"]["name"]
        if each["kind"] == "Service":
            spec = by_label[each["spec"]["selector"]["app.kubernetes.io/name"]]
            ports = {
                port["name"] for one in containers(spec).values() for port in one.get("ports", [])
            }
            assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
        if each["kind"] == "Ingress":
            for backend in _found(each, "backend"):
                service = manifest("Service", backend["service"]["name"])
                assert backend["service"]["port"]["name"] in {
                    port["name"] for port in service["spec"]["ports"]
                }
    host, port = "surrealdb", manifest("Service", "surrealdb")["spec"]["ports"][0]["port"]
    for container in containers(PODS["web"]).values():
        assert {"name": "SURREALDB_URL", "value": f"ws://{host}:{port}"} in container["env"]


def test_the_network_lets_through_what_is_needed_and_no_more() -> None:
    assert manifest("NetworkPolicy", "nothing")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    database = manifest("NetworkPolicy", "surrealdb")["spec"]
    (rule,) = database["ingress"]
    assert rule["from"] == [
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "fal-video"}}}
    ]
    assert "egress" not in database
    web = manifest("NetworkPolicy", "web")["spec"]
    ports = {each["port"] for rule in web["egress"] for each in rule["ports"]}
    assert ports == {53, 443, 8443, 8000}
    public = next(each for each in _found(web, "ipBlock") if each["cidr"] == "0.0.0.0/0")
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(public["except"])


def test_secrets_come_from_the_files_whose_examples_are_here() -> None:
    top = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text("utf-8"))
    made = {each["name"]: f"{each['envs'][0]}.example" for each in top["secretGenerator"]}
    for spec in PODS.values():
        for each in containers(spec).values():
            for source in each.get("envFrom", []):
                assert source["secretRef"]["name"] in made
            for one in each.get("env", []):
                if secret := one.get("valueFrom", {}).get("secretKeyRef"):
                    assert secret["key"] in dotenv(made[secret["name"]])
    knowing = [
        name for name, each in containers(PODS["web"]).items() if "SURREALDB_PASSWORD" in str(each)
    ]
    assert knowing == ["migrate"]


def test_the_webhook_has_no_redirect_and_events_are_not_held_back() -> None:
    prefix = "nginx.ingress.kubernetes.io/"
    webhook, web = manifest("Ingress", "webhook"), manifest("Ingress", "web")
    assert webhook["metadata"]["annotations"][f"{prefix}ssl-redirect"] == "false"
    assert web["metadata"]["annotations"][f"{prefix}ssl-redirect"] == "true"
    assert web["metadata"]["annotations"][f"{prefix}proxy-buffering"] == "off"
    paths = [each["path"] for each in webhook["spec"]["rules"][0]["http"]["paths"]]
    assert paths == ["/api/fal/webhook"]


def _at(value: Any, pointer: str) -> Any:
    """What a JSON pointer points to."""
    for part in pointer.strip("/").split("/"):
        value = value[int(part) if re.fullmatch(r"\d+", part) else part]
    return value


def _found(value: Any, key: str) -> Iterator[Yaml]:
    """Every mapping under this key, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get(key), dict):
            yield value[key]
        for each in value.values():
            yield from _found(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _found(each, key)
