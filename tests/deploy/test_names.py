"""The parts of deploy/ agree with the service and with each other."""

import re
import tomllib

import yaml

from service.__main__ import COMMANDS
from service.settings import Needs, Settings, read_settings
from service.web.serving import GRACEFUL_S
from service.worker import DRAIN_S
from tests.deploy.files import (
    DEPLOY,
    ROOT,
    UNITS,
    containers,
    dotenv,
    environment_names,
    image_environment,
    instructions,
    manifests,
    pod,
    services,
    unit,
    unit_command,
)

# Not the service's: Python's, the shell's, and the database server's own.
OTHERS = {
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUNBUFFERED",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_NO_CACHE_DIR",
    "PIP_NO_INPUT",
    "SURREAL_USER",
    "SURREAL_PASS",
}
SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASS)$")
SPARE_S = 10.0  # between what a stop may take and when it is cut off


def test_every_variable_that_is_named_is_a_setting() -> None:
    named = dict(environment_names())
    settings = {name.upper() for name in Settings.model_fields}
    assert {name: where for name, where in named.items() if name not in settings | OTHERS} == {}
    assert {"PUBLIC_BASE_URL", "SURREALDB_URL", "RECONCILER_PORT", "SURREAL_PASS"} <= set(named)


def test_every_setting_that_a_readme_or_a_comment_names_is_there() -> None:
    words = {
        word
        for path in DEPLOY.rglob("*")
        if path.is_file() and path.name not in {"CHANGELOG.md", "RUNBOOK.md", "requirements.txt"}
        for word in re.findall(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", path.read_text("utf-8"))
    }
    settings = {name.upper() for name in Settings.model_fields}
    ours = {
        word for word in words if word.split("_")[0] in {name.split("_")[0] for name in settings}
    }
    assert ours - settings == set()


def test_the_example_files_name_all_that_production_needs() -> None:
    """Filled in, they and the addresses are a configuration without a problem."""
    service, database = dotenv("service.env.example"), dotenv("database.env.example")
    filled = {name: value or "x" * 40 for name, value in service.items()} | {"AUTH_JWKS_URL": ""}
    address = {"SURREALDB_URL": "ws://surrealdb:8000"}
    web = read_settings(filled | address, Needs.WEB)
    assert web.environment == "production"
    assert web.surrealdb_username is None, "web does not know the owner"
    owner = {name: value or "y" * 40 for name, value in database.items()}
    assert read_settings(filled | owner | address, Needs.DATABASE).surrealdb_password is not None


def test_what_is_secret_stands_in_no_file() -> None:
    for example in ("service.env.example", "database.env.example"):
        filled = [name for name, value in dotenv(example).items() if value]
        assert [name for name in filled if SECRET.search(name)] == [], example
    given = re.compile(r"[A-Z_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASS)[=:] *\S.*")
    for path in DEPLOY.rglob("*"):
        if path.suffix in {".yml", ".yaml", ".service"}:
            assert given.findall(path.read_text("utf-8")) == [], path.name
    assert [each["kind"] for each in manifests() if each["kind"] == "Secret"] == []


def test_filled_in_files_are_kept_out_of_history_and_image() -> None:
    assert "*.env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"


def test_every_command_line_is_one_of_the_service() -> None:
    asked = {tuple(unit_command(unit(path.name))) for path in UNITS if path.name.startswith("fal-")}
    asked |= {
        tuple(each["command"]) for each in services().values() if _ours(each) and each["command"]
    }
    asked |= {tuple(each["args"]) for each in containers(pod()).values()}
    assert asked == {("web",), ("reconciler",), ("migrate",)}
    assert {word for words in asked for word in words} <= set(COMMANDS)


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text("utf-8"))
    assert [each["newTag"] for each in kustomization["images"]] == [version]
    tags = {each["image"] for each in services().values() if _ours(each)}
    assert tags == {f"fal-video:{version}"}
    assert f'org.opencontainers.image.version="{version}"' in " ".join(instructions("LABEL"))


def test_every_image_is_pinned_to_a_version() -> None:
    images = {each["image"] for each in services().values()}
    images |= {instructions("FROM")[0].split()[0]}
    images |= {each["image"] for each in containers(pod("surrealdb", "StatefulSet")).values()}
    assert [each for each in images if not re.search(r":v?\d+\.\d+\.\d+", each)] == []
    assert services()["surrealdb"]["image"] in images
    assert len([each for each in images if each.startswith("surrealdb/")]) == 1


def test_a_stop_may_take_as_long_as_the_service_does() -> None:
    web_s = GRACEFUL_S + DRAIN_S
    kubernetes = pod()
    before_s = containers(kubernetes)["web"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The sidecar is told to stop once web has ended.
    both_s = before_s + web_s + DRAIN_S
    assert kubernetes["terminationGracePeriodSeconds"] >= both_s + SPARE_S
    for each in services().values():
        if _ours(each):
            assert int(each["stop_grace_period"].removesuffix("s")) >= web_s + SPARE_S
    for name in ("fal-video-web@.service", "fal-video-reconciler.service"):
        assert int(unit(name)["TimeoutStopSec"][0]) >= web_s + SPARE_S


def test_the_ports_are_the_same_wherever_they_are_named() -> None:
    image = image_environment()
    assert instructions("EXPOSE") == [image["PORT"]]
    web = containers(pod())["web"]
    assert [str(each["containerPort"]) for each in web["ports"]] == [image["PORT"]]
    assert f"port {image['PORT']}" in (DEPLOY / "proxies/Caddyfile").read_text("utf-8")
    database = unit("surrealdb.service")["ExecStart"][0].split("--bind ")[1].split()[0]
    for path in UNITS:
        if path.name.startswith("fal-"):
            assert f"SURREALDB_URL=ws://{database}" in unit(path.name)["Environment"]


def _ours(service: dict[str, object]) -> bool:
    return str(service["image"]).startswith("fal-video:")
