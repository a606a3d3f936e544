"""The service's own identity: rows and nothing else, and nothing silently less than it needs."""

import asyncio
import re
from dataclasses import replace

import pytest

from service.adapters import surreal_connection
from service.adapters.identity import PROOF, USES, Identity, access_name
from service.adapters.permissions import (
    define_identity,
    other_identities,
    prove_permitted,
    remove_identity,
)
from service.adapters.surreal import Database, DatabaseSettings
from service.adapters.surreal_errors import NotPermitted, Rejected, Unavailable
from service.domain.errors import Transient
from service.domain.job import JobState
from tests.keeping.conftest import KEY, Shared, as_identity, everything
from tests.store import bench
from tests.store.bench import LONG_S

OTHER_KEY = "another key of thirty-two characters"
NEEDS = [(use.table, verb) for use in USES for verb in use.verbs]
VERBS = {"select", "create", "update", "delete"}


def granted(definition: str) -> set[str]:
    """The verbs that a table's definition does not deny."""
    _, _, said = definition.partition("PERMISSIONS ")
    if said == "NONE":
        return set()
    rules = re.findall(r"FOR ([a-z, ]+?) (NONE|FULL|WHERE [^)]*\))", said)
    assert {verb for verbs, _ in rules for verb in verbs.split(", ")} == VERBS, definition
    return {verb for verbs, right in rules if right != "NONE" for verb in verbs.split(", ")}


async def test_each_table_grants_exactly_what_the_service_does_with_it(shared: Shared) -> None:
    """A table that is added later has to say so too, and be tried out: see USES."""
    tables = (await shared.owner.read("INFO FOR DB"))["tables"]
    wanted = {use.table: set(use.verbs) for use in USES}
    wanted |= {"schema_migration": {"select"}, "schema_lock": set()}
    assert {name: granted(each) for name, each in tables.items()} == wanted


async def test_the_proof_leaves_nothing_behind(shared: Shared) -> None:
    await prove_permitted(shared.service)
    for use in USES:
        assert await shared.owner.read(f"SELECT * FROM {use.table}") == []
    assert "COMMIT" not in PROOF


@pytest.mark.thorough
async def test_any_right_that_is_missing_is_named(shared: Shared) -> None:
    for table, verb in NEEDS:
        await shared.permit(table, without=verb)
        try:
            # Of a row that nobody may see, nothing else can be told; the first that fails is named.
            with pytest.raises(NotPermitted, match=f"^not_permitted: [a-z]+ {table}$"):
                await prove_permitted(shared.service)
        finally:
            await shared.permit(table)
    await prove_permitted(shared.service)


DEFINITIONS = (
    "DEFINE TABLE mine",
    "DEFINE FIELD mine ON ledger TYPE int",
    "DEFINE INDEX mine ON ledger FIELDS kind",
    "DEFINE EVENT mine ON ledger THEN {}",
    "DEFINE USER mine ON DATABASE PASSWORD 'x' ROLES OWNER",
    "DEFINE ACCESS mine ON DATABASE TYPE BEARER FOR USER",
    "ALTER TABLE ledger PERMISSIONS FULL",
    "REMOVE TABLE ledger",
    "REMOVE INDEX video_job_due ON video_job",
    "REMOVE DATABASE tests",
    "INFO FOR DB",
    "INFO FOR ROOT",
)


NO_QUERIES = (
    "DELETE video_job",
    "DELETE inbox",
    "DELETE ledger",
    "DELETE account",
    "UPDATE ledger SET at = at",
    "UPDATE write_off SET credits = 0",
    "DELETE operator_action",
    "UPDATE operator_action SET name = 'x'",
    "DELETE schema_migration",
    "UPDATE schema_migration SET checksum = 'x'",
    "CREATE schema_migration SET checksum = 'x'",
    "UPSERT schema_lock:one SET owner = 'me', until = time::now()",
)


async def test_it_can_define_nothing_and_remove_nothing(shared: Shared) -> None:
    before = await shared.owner.read("INFO FOR DB")
    for statement in DEFINITIONS:
        with pytest.raises(Rejected, match="permissions"):
            await shared.service.write(statement)
    assert await shared.owner.read("INFO FOR DB") == before


async def test_what_no_query_does_is_not_possible(shared: Shared) -> None:
    job = await bench.job_in(shared.store, JobState.READY)
    await shared.store.record_delivery(bench.delivery(job.id), grace_s=LONG_S)
    await shared.store.write_off(bench.cost_of(job.id))
    before = await everything(shared.owner)
    for statement in NO_QUERIES:
        assert await shared.service.write(statement) == [], statement
    assert await everything(shared.owner) == before


async def test_a_body_is_emptied_and_never_replaced(shared: Shared) -> None:
    message = bench.delivery()
    await shared.store.record_delivery(message, grace_s=LONG_S)
    with pytest.raises(Rejected):
        await shared.service.write("UPDATE inbox SET body = <bytes>'other words'")
    with pytest.raises(Rejected, match="readonly"):
        await shared.service.write("UPDATE inbox SET request_id = 'another'")
    assert (await shared.store.delivery(message.entry_id)).body == message.body


async def test_a_session_is_renewed_before_it_ends_and_else_begun_anew(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process renews in time and keeps its socket; one that did not meets the end unharmed."""
    await define_short_lived(shared.owner)
    settings = as_identity(shared.owner.settings, OTHER_KEY)
    monkeypatch.setattr(surreal_connection, "RENEW_AFTER_S", 0.2)
    prompt = Database(settings)
    await prompt.open()
    monkeypatch.setattr(surreal_connection, "RENEW_AFTER_S", LONG_S)
    late_one = Database(settings)
    await late_one.open()
    monkeypatch.setattr(surreal_connection, "RENEW_AFTER_S", 0.2)
    sockets = [prompt._connections[0]._sdk, late_one._connections[0]._sdk]
    over = await late_one.read("RETURN $session.exp")

    while (now := await shared.owner.read("RETURN time::unix()")) <= over + 1:
        assert await prompt.read("RETURN time::unix()") >= now
        await asyncio.sleep(0.1)

    assert await late_one.read("RETURN $session.exp") > over
    assert prompt._connections[0]._sdk is sockets[0]
    assert late_one._connections[0]._sdk is not sockets[1]
    await remove_identity(shared.owner, access_name(OTHER_KEY))
    await prompt.close()
    await late_one.close()


async def define_short_lived(owner: Database) -> None:
    await owner.write(
        f"DEFINE ACCESS OVERWRITE {access_name(OTHER_KEY)} ON DATABASE TYPE RECORD"
        " WITH JWT ALGORITHM HS256 KEY $key DURATION FOR SESSION 1s",
        key=OTHER_KEY,
    )


async def test_two_keys_are_good_until_one_is_removed(shared: Shared) -> None:
    """Changing the key: define the new one, restart process after process, remove the old one."""
    await define_identity(shared.owner, OTHER_KEY)
    assert await other_identities(shared.owner, OTHER_KEY) == [access_name(KEY)]
    for key in (KEY, OTHER_KEY):
        await signed_in(shared, key)
    await remove_identity(shared.owner, access_name(OTHER_KEY))
    await remove_identity(shared.owner, access_name(OTHER_KEY))
    assert await other_identities(shared.owner, KEY) == []
    with pytest.raises(Unavailable, match="does not exist"):
        await signed_in(shared, OTHER_KEY)
    await signed_in(shared, KEY)


async def signed_in(shared: Shared, key: str) -> None:
    database = Database(as_identity(shared.owner.settings, key))
    try:
        await database.open()
        await prove_permitted(database)
    finally:
        await database.close()


@pytest.mark.parametrize("wrong", ["key", "expired", "database"])
async def test_a_token_that_is_not_good_signs_nobody_in(
    shared: Shared, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = as_identity(shared.owner.settings)
    assert settings.identity is not None
    identity: Identity = settings.identity
    if wrong == "key":
        monkeypatch.setattr("service.adapters.identity.access_name", lambda _: access_name(KEY))
        identity = replace(identity, key=OTHER_KEY)
    elif wrong == "expired":
        monkeypatch.setattr("service.adapters.identity.TOKEN_FOR_S", -60)
    else:
        identity = replace(identity, database="another")
    database = Database(replace(settings, identity=identity))
    with pytest.raises(Transient, match="cannot open the database"):
        await database.open()
    await database.close()


def test_the_key_shows_nowhere() -> None:
    settings = as_identity(DatabaseSettings(url="ws://x", namespace="n", database="d"))
    assert KEY not in repr(settings)
    assert KEY not in access_name(KEY)
