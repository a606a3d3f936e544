"""What stands in deploy/, read as those read it who will run it."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
UNITS: Final = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS: Final = sorted(
    each for each in (DEPLOY / "kubernetes").rglob("*.yaml") if each.name != "kustomization.yaml"
)
# The same program in the image and on a machine; what follows is its command.
PROGRAM: Final = ["-m", "service"]
_READ: Final = re.compile(r"\$\{?([A-Z][A-Z0-9_]+)|environ\['([A-Z0-9_]+)'\]")

Yaml = dict[str, Any]
Unit = Mapping[str, list[str]]


@cache
def compose() -> Yaml:
    return _mapping(yaml.safe_load((DEPLOY / "compose.yml").read_text("utf-8")))


@cache
def services() -> dict[str, Yaml]:
    found: dict[str, Yaml] = compose()["services"]
    return found


@cache
def manifests() -> list[Yaml]:
    return [
        _mapping(each) for path in MANIFESTS for each in yaml.safe_load_all(path.read_text("utf-8"))
    ]


def manifest(kind: str, name: str) -> Yaml:
    """The one of this kind and name."""
    found = [
        each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    assert len(found) == 1, f"{kind} {name}"
    return found[0]


def pod(name: str = "web", kind: str = "Deployment") -> Yaml:
    return _mapping(manifest(kind, name)["spec"]["template"]["spec"])


def containers(spec: Yaml) -> dict[str, Yaml]:
    """A pod's containers by their names, those that start it and those beside it as well."""
    return {each["name"]: each for each in [*spec.get("initContainers", []), *spec["containers"]]}


@cache
def unit(name: str) -> Unit:
    """A unit's settings; each may be there several times."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def unit_environment(settings: Unit) -> dict[str, str]:
    """What the unit itself sets, without its files."""
    pairs = (line.partition("=") for line in settings.get("Environment", []))
    return {name: value for name, _, value in pairs}


def unit_command(settings: Unit) -> list[str]:
    """What the unit tells the service to do, without the path of its Python."""
    _, *arguments = shlex.split(settings["ExecStart"][0])
    assert arguments[:2] == PROGRAM
    return arguments[2:]


def dotenv(name: str) -> dict[str, str]:
    """The lines of a file of variables."""
    lines = (DEPLOY / name).read_text("utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


@cache
def dockerfile() -> list[list[str]]:
    """Its instructions, each with its words; continued lines joined."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    """What follows the name of this instruction, each time that it is there."""
    return [rest for word, rest in dockerfile() if word == name]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


def requirements() -> dict[str, str]:
    """The version of each package that the image has."""
    text = (DEPLOY / "requirements.txt").read_text("utf-8")
    pinned = re.compile(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", re.MULTILINE)
    return {found[1].lower(): found[2] for found in pinned.finditer(text)}


def environment_names() -> Iterator[tuple[str, str]]:
    """Every environment variable that is named in deploy/, and where."""
    for example in ("service.env.example", "database.env.example"):
        yield from ((name, example) for name in dotenv(example))
    for name, service in services().items():
        yield from ((each, f"compose.yml {name}") for each in service.get("environment", {}))
    for spec in (pod(), pod("surrealdb", "StatefulSet")):
        for name, container in containers(spec).items():
            yield from ((each["name"], f"kubernetes {name}") for each in container.get("env", []))
    for path in UNITS:
        yield from ((name, path.name) for name in unit_environment(unit(path.name)))
    yield from ((name, "Dockerfile") for name in image_environment())
    yield from _spoken_of()


def _spoken_of() -> Iterator[tuple[str, str]]:
    """Variables that a script, a proxy's configuration or a probe reads."""
    for path in (each for each in DEPLOY.rglob("*") if each.is_file()):
        for found in _READ.finditer(path.read_text("utf-8")):
            yield found[1] or found[2], path.name


def _mapping(value: object) -> Yaml:
    assert isinstance(value, dict)
    return value
