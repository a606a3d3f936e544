"""Who this service is to a database server, if not its owner: an identity that has rows only.

The server knows it as an ACCESS that takes tokens signed with SURREALDB_ACCESS_KEY; the tables'
PERMISSIONS say what it may do. It can define nothing, remove nothing, and see no other table.
Its name is derived from the key, so that an old and a new key can be good at the same time.

A write that is not permitted does not fail: the engine answers as if no row had matched. So the
queries refuse to commit when a write of theirs has gone nowhere, and `PROOF` tries each permission
out, in a transaction that is never committed.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from service.adapters.surreal_codec import query_raw
from service.adapters.surreal_errors import Thrown, unpack

PREFIX: Final = "fal_video_"  # as the tables' permissions have it
SUBJECT: Final = "service:fal_video"
# Only presented when signing in: long enough for two clocks that differ by minutes.
TOKEN_FOR_S: Final = 900
# What a session outlives its key's withdrawal by.
SESSION_FOR: Final = "10m"
RENEW_AFTER_S: Final = 240.0  # of a session: two more attempts fit in before it ends
PERMITTED: Final = "permitted"


@dataclass(frozen=True, slots=True)
class Use:
    """How the service uses a table, and a row that the schema takes."""

    table: str
    verbs: tuple[str, ...]
    row: str


_JOB: Final = (
    "account = account:probe, email = '', template_id = '', provider = '', state = 'reserved',"
    " arguments = {}, duration_s = 0, credits = 0, expected_render_s = 0"
)
_ENTRY: Final = (
    "job = video_job:probe, attempt = 0, request_id = '', user_id = '', body = <bytes>'',"
    " stale = true"
)
_TEMPLATE: Final = "title = '', prompt = '', provider = '', duration_s = 0, options = {}"

# Every table that a query of the service touches.
USES: Final = (
    Use("account", ("create", "select", "update"), "email = ''"),
    Use("ledger", ("create", "select"), "account = account:probe, kind = 'grant', credits = 0"),
    Use("video_job", ("create", "select", "update"), _JOB),
    Use("inbox", ("create", "select", "update"), _ENTRY),
    Use(
        "library",
        ("create", "select", "delete"),
        "account = account:probe, job = video_job:probe, object_key = ''",
    ),
    Use("template", ("create", "select", "update"), _TEMPLATE),
    Use(
        "pause",
        ("create", "select", "update", "delete"),
        "reason = '', until = time::now()",
    ),
    Use(
        "write_off",
        ("create", "select", "delete"),
        "job = video_job:probe, request_id = '', reason = 'late', credits = 0",
    ),
    Use("forgotten_request", ("create", "select"), "job = video_job:probe"),
    Use("render_time", ("create", "select", "update"), "recent = []"),
    Use("chore", ("create", "select", "update"), "due = time::now()"),
    Use("audit_run", ("create", "select", "update"), "holder = ''"),
    Use(
        "operator_action",
        ("create", "select"),
        "door = 'cli', name = '', arguments = {}, changed = false",
    ),
)


def access_name(key: str) -> str:
    """What the server calls the identity of this key."""
    return PREFIX + hashlib.sha256(f"access name\n{key}".encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The identity of one key, on one database."""

    key: str = field(repr=False)
    namespace: str
    database: str

    def token(self) -> str:
        """What signs in as the identity, for a few minutes."""
        claims = {
            "NS": self.namespace,
            "DB": self.database,
            "AC": access_name(self.key),
            "ID": SUBJECT,
            "exp": int(time.time()) + TOKEN_FOR_S,
        }
        return jwt.encode(claims, self.key, "HS256")

    async def sign_in(self, sdk: Any) -> None:
        """Sign a connection in, or in again. Raises what the SDK raises."""
        await sdk.authenticate(self.token())

    async def prove(self, sdk: Any) -> None:
        """Return if a connection may do all that the service does. Raises NotPermitted."""
        try:
            unpack(await query_raw(sdk, PROOF, {}))
        except Thrown as thrown:
            if str(thrown) != PERMITTED:
                raise


def _tried() -> Iterator[str]:
    for use in USES:
        row = f"type::record('{use.table}', $name)"
        statements = {
            "create": f"CREATE {row} SET {use.row}",
            "select": f"SELECT id FROM {row}",  # noqa: S608 - nothing in it is anybody's input
            "update": f"UPDATE {row}",
            "delete": f"DELETE {row} RETURN BEFORE",
        }
        for verb in use.verbs:
            denied = f"THROW 'not_permitted: {verb} {use.table}'"
            yield f"IF count(({statements[verb]})) = 0 {{ {denied} }};"


# Throws PERMITTED, or 'not_permitted: …'; nothing of it stays either way.
PROOF: Final = "\n".join(
    ["{", "LET $name = rand::ulid();", *_tried(), f"THROW '{PERMITTED}';", "}"]
)
