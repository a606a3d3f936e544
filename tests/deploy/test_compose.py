"""compose.yml: its schema, who reaches whom, and what each container may do."""

import json

from tests.deploy.files import DEPLOY, compose, instructions, services
from tests.deploy.tools import run_tool

SERVICE = {"web", "reconciler", "migrate"}


def test_it_is_what_the_compose_specification_says() -> None:
    run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yml")


def test_every_container_may_do_little_and_fill_nothing() -> None:
    for name, each in services().items():
        assert each["read_only"], name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert set(each["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
        assert set(each["logging"]["options"]) == {"max-size", "max-file"}, name
        assert "privileged" not in each, name
    assert {name: each["cap_add"] for name, each in services().items() if "cap_add" in each} == {
        "volume": ["CHOWN"],
        "proxy": ["NET_BIND_SERVICE"],
    }


def test_the_proxy_reaches_web_and_nobody_but_the_service_reaches_the_database() -> None:
    networks = {name: set(each.get("networks", [])) for name, each in services().items()}
    near_the_database = {name for name, each in networks.items() if "data" in each}
    assert near_the_database == SERVICE | {"surrealdb"}
    assert networks["surrealdb"] == {"data"}
    assert compose()["networks"]["data"] == {"internal": True}
    assert networks["proxy"] & networks["web"]
    assert not networks["proxy"] & networks["surrealdb"]
    assert networks["reconciler"] - {"data"}, "it needs a way to fal"
    assert [name for name, each in services().items() if "ports" in each] == ["proxy"]


def test_the_owner_of_the_database_is_known_to_it_and_to_migrate_alone() -> None:
    files = {name: each.get("env_file", []) for name, each in services().items()}
    assert {name for name, each in files.items() if "database.env" in each} == {
        "surrealdb",
        "migrate",
    }
    assert {name for name, each in files.items() if "service.env" in each} == SERVICE


def test_each_starts_when_what_it_needs_is_there() -> None:
    needs = {
        name: {other: way["condition"] for other, way in each.get("depends_on", {}).items()}
        for name, each in services().items()
    }
    done, healthy = "service_completed_successfully", "service_healthy"
    assert needs == {
        "volume": {},
        "surrealdb": {"volume": done},
        "migrate": {"surrealdb": healthy},
        "web": {"migrate": done},
        "reconciler": {"migrate": done},
        "proxy": {"web": healthy},
    }
    for name in ("surrealdb", "reconciler", "proxy"):
        assert services()[name]["healthcheck"]["test"][0] == "CMD", name
    assert instructions("HEALTHCHECK"), "web's is the image's"


def test_the_database_answers_once_the_disk_has_it() -> None:
    command = services()["surrealdb"]["command"]
    assert command[-1].startswith("rocksdb:///data/")
    assert command[-1].endswith("?sync=every")
    assert "database:/data" in services()["surrealdb"]["volumes"]


def test_several_web_processes_can_run() -> None:
    web = services()["web"]
    assert web["deploy"]["replicas"] >= 2
    assert "container_name" not in json.dumps(services())
