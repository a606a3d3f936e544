"""The command line as an operator meets it: exit codes, and words for people.

One process of each kind is real; the other commands run in this one, which loads nothing anew.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.__main__ import COMMANDS, main
from service.adapters.migrate import find_migrations
from service.commands.local import free_port
from service.logs import configure_logging
from service.settings import Settings

ROOT = Path(__file__).parents[2]
LIMIT_S = 40.0
# Loads the whole service, the database driver and its engine: what help must not wait for.
HEAVY = ("surrealdb", "aioboto3", "botocore", "starlette", "uvicorn", "httpx", "PIL", "pydantic")


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


async def run(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    program: tuple[str, ...] = ("-m", "service"),
) -> Ran:
    """Run it as a process with an environment of nothing but what is given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    names = [
        *("httpx", "httpcore", "botocore", "aiobotocore", "boto3", "urllib3", "websockets"),
        *("python_multipart", "uvicorn.access"),
    ]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers = before
    root.setLevel(level)
    for name, each in levels.items():
        logging.getLogger(name).setLevel(each)
    logging.getLogger("uvicorn.access").disabled = False


Call = Callable[..., Ran]


@pytest.fixture
def call(
    logging_as_it_was: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Runs a command in this process. It opens and closes the database as its own would."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SURREALDB_URL", f"surrealkv://{tmp_path / 'data'}")

    def run_here(*arguments: str) -> Ran:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run_here


def check_complaint(ran: Ran, code: int, *words: str) -> None:
    """It failed with that code, in words that name these things, and without a traceback."""
    assert ran.code == code, ran
    assert "Traceback" not in ran.err
    assert ran.out == ""
    for word in words:
        assert word in ran.err


async def test_help_names_every_command_and_loads_none_of_them() -> None:
    script = (
        "import sys, service.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit as end: print('\\nexit', end.code)\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules}))"
    )
    ran = await run(program=("-c", script))
    text, _, modules = ran.out.rpartition("\nexit 0\n")
    assert ran.code == 0
    assert all(name in text for name in COMMANDS)
    assert not [name for name in HEAVY if f"'{name}'" in modules]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_help_names_exists(name: str) -> None:
    assert (ROOT / "service" / "commands" / f"{name}.py").is_file()


async def test_a_wrong_command_exits_with_2_and_says_what_is_known() -> None:
    check_complaint(await run("fly"), 2, "fly", "templates")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["credits"], ["ACTION"]),
        (["credits", "grant", "a@b.c", "many"], ["amount", "many"]),
        (["credits", "grant", "a@b.c", "1.5"], ["amount"]),
        (["credits", "grant", "a@b.c"], ["amount"]),
        (["templates", "load"], ["file"]),
        (["audit", "--fast"], ["--fast"]),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_2_and_names_what_is_wrong(
    call: Call, arguments: list[str], words: list[str]
) -> None:
    check_complaint(call(*arguments), 2, *words)


def test_missing_settings_exit_with_2_and_are_named_together(call: Call) -> None:
    names = ("FAL_KEY", "R2_BUCKET", "AUTH_JWT_SECRET", "WEBHOOK_SEAL_KEY", "PUBLIC_BASE_URL")
    check_complaint(call("web"), 2, *names)


def test_bad_settings_exit_with_2_and_are_named_together(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SURREALDB_URL": "postgres://x", "PORT": "x", "LEASE_S": "0"}.items():
        monkeypatch.setenv(name, value)
    check_complaint(call("migrate"), 2, "SURREALDB_URL", "PORT", "LEASE_S")


def test_an_audit_with_objects_needs_a_bucket(call: Call) -> None:
    check_complaint(call("audit"), 2, "R2_BUCKET")


def test_a_database_server_that_is_away_exits_with_1_and_says_so(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURREALDB_URL", f"ws://127.0.0.1:{free_port()}")
    monkeypatch.setenv("SURREALDB_USERNAME", "u")
    monkeypatch.setenv("SURREALDB_PASSWORD", "tell-nobody")
    ran = call("migrate")
    check_complaint(ran, 1, "database")
    assert "tell-nobody" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["ana@example.com", "0"], "amount"),
        (["--", "ana@example.com", "-5"], "amount"),
        (["ana@example.com", "9" * 30], "amount"),
        (["ana", "5"], "email"),
    ],
    ids=" ".join,
)
def test_a_bad_grant_exits_with_1_names_the_field_and_makes_nothing(
    call: Call, tmp_path: Path, arguments: list[str], field: str
) -> None:
    check_complaint(call("credits", "grant", *arguments), 1, field)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "the-file.json"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"5", "template"),
        (b"\xff\xfe\x00", "file"),
        (b"[" * 100_000, "file"),
        (b'[{"slug": "x"}]', "[0].title"),
        (b'{"slug": "x", "prompts": "y"}', "[0].prompts"),
    ],
    ids=["missing", "empty", "half", "a number", "no UTF-8", "too deep", "half a template", "typo"],
)
def test_a_file_that_is_missing_or_no_template_exits_with_1_and_says_why(
    call: Call, tmp_path: Path, content: bytes | None, word: str
) -> None:
    path = tmp_path / "the-file.json"
    if content is not None:
        path.write_bytes(content)
    check_complaint(call("templates", "load", str(path)), 1, word)
    assert not (tmp_path / "data").exists()


def test_an_account_is_closed_and_says_what_is_left_of_it(call: Call) -> None:
    unknown = call("accounts", "close", "ana@example.com")
    check_complaint(unknown, 1, "no such account")
    call("credits", "grant", "ana@example.com", "100")
    for _ in range(2):
        closed = call("accounts", "close", "Ana@Example.com")
        assert (closed.code, "no videos of it are left" in closed.out) == (0, True)
    shown = json.loads(call("credits", "show", "ana@example.com", "--json").out)
    assert shown["available"] == 100, "the books are kept"


def test_credits_are_granted_once_per_id_and_shown(call: Call) -> None:
    first = call("credits", "grant", "Ana@Example.com", "100", "--id", "g1")
    assert first.code == 0, first.err
    assert "100 available" in first.out
    again = call("credits", "grant", "ana@example.com", "100", "--id=g1", "--json")
    repeated = json.loads(again.out)
    assert (repeated["grantId"], repeated["changed"]) == ("g1", False)
    assert (repeated["available"], repeated["granted"]) == (100, 100)
    shown = call("credits", "show", "ana@example.com", "--json")
    view = json.loads(shown.out)
    assert (view["available"], view["reserved"]) == (100, 0)
    assert [each["credits"] for each in view["entries"]] == [100]


async def test_migrate_as_a_process_says_what_it_did(tmp_path: Path) -> None:
    ran = await run("migrate", env={"SURREALDB_URL": f"surrealkv://{tmp_path / 'data'}"})
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(f"{len(find_migrations())} migrations applied\n")


def test_migrate_says_what_it_did_and_a_second_time_that_there_was_nothing(call: Call) -> None:
    first = call("migrate")
    assert first.code == 0, first.err
    assert first.out.endswith(f"{len(find_migrations())} migrations applied\n")
    assert "template added: night-life-roller" in first.out
    second = call("migrate")
    assert second.code == 0
    assert second.out.endswith("nothing to apply\n")
    assert "template added" not in second.out
    told = call("audit", "--no-objects", "--json")
    assert told.code == 0, told.err
    report = json.loads(told.out)
    assert (report["passed"], report["jobs"], report["violations"]) == (True, 0, [])


def test_templates_are_loaded_all_or_none_and_listed(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "templates.json"
    good = {
        "slug": "slow-zoom",
        "title": "Slow zoom",
        "prompt": "Zoom in on {{THING}}.",
        "provider": "kling2_5",
        "durationSeconds": 5,
    }
    file.write_text(json.dumps([good | {"slug": "other"}, good | {"durationSeconds": 7}]), "utf-8")
    check_complaint(call("templates", "load", str(file)), 1, "[1].duration")
    file.write_text(json.dumps(good), "utf-8")
    loaded = call("templates", "load", str(file))
    assert (loaded.code, loaded.out) == (0, "loaded slow-zoom (THING)\n")
    listed = call("templates", "list", "--json")
    templates = {each["slug"]: each for each in json.loads(listed.out)["templates"]}
    assert templates["slow-zoom"]["variables"] == ["THING"]
    assert "night-life-roller" in templates
    assert "other" not in templates


# --------------------------------------------------------------------------------------- logs


def test_a_log_line_is_one_json_object_with_its_facts(
    logging_as_it_was: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json")
    configure_logging("json")
    logging.getLogger("service.x").info("job\nreserved", extra={"job_id": "v1", "credits": 40})
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["event"], found["job_id"], found["credits"]) == ("job\nreserved", "v1", 40)
    assert (found["level"], found["logger"]) == ("info", "service.x")
    assert found["timestamp"].endswith("Z")


def test_a_failure_is_logged_with_its_traceback_on_the_same_line(
    logging_as_it_was: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json")
    error = RuntimeError("broke")
    logging.getLogger("service.x").error("unexpected error", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    assert "RuntimeError: broke" in json.loads(line)["exception"]


def test_what_is_not_json_is_logged_all_the_same(
    logging_as_it_was: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json")
    logging.getLogger("service.x").warning("odd", extra={"a": object(), "b": b"\xff", "c": {1}})
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "odd"


def test_addresses_with_keys_in_them_are_not_logged_by_the_libraries(
    logging_as_it_was: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("json")
    url = "https://r2.example/x?X-Amz-Signature=tell-nobody"
    for name in ("httpx", "httpcore.http11", "botocore.auth", "aiobotocore", "urllib3.connection"):
        logging.getLogger(name).info("GET %s", url)
    logging.getLogger("uvicorn.access").info("POST /api/fal/webhook/tell-nobody")
    assert "tell-nobody" not in capsys.readouterr().err


def test_the_console_form_is_for_people(
    logging_as_it_was: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("console")
    logging.getLogger("service.x").info("job reserved", extra={"job_id": "v1"})
    text = capsys.readouterr().err
    assert "job reserved" in text
    assert "v1" in text
    assert "\x1b[" not in text, "no colours where nobody watches"
