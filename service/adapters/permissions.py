"""The owner's side of the service's identity: defining and removing it; and its own proof."""

import re
from typing import Final

from service.adapters.identity import PERMITTED, PREFIX, PROOF, SESSION_FOR, access_name
from service.adapters.surreal import Database
from service.adapters.surreal_errors import Thrown

# The key is a parameter: a statement may be logged. A name is never anybody's input.
_DEFINE: Final = """DEFINE ACCESS OVERWRITE {name} ON DATABASE TYPE RECORD
    WITH JWT ALGORITHM HS256 KEY $key DURATION FOR SESSION {session}"""
_NAME: Final = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")


async def define_identity(database: Database, key: str) -> str:
    """Let tokens signed with this key in; the identity's name. A repeat defines the same again.

    Those of other keys stay as they are. Needs the rights of an owner.
    """
    name = access_name(key)
    await database.write(_DEFINE.format(name=name, session=SESSION_FOR), key=key)
    return name


async def other_identities(database: Database, key: str) -> list[str]:
    """Names of the service's identities that belong to other keys. Needs the rights of an owner."""
    found = (await database.read("INFO FOR DB"))["accesses"]
    return sorted(each for each in found if _NAME.fullmatch(each) and each != access_name(key))


async def remove_identity(database: Database, name: str) -> None:
    """Let nobody in by that name; who is in stays for a session's length. A repeat does nothing."""
    await database.write(f"REMOVE ACCESS IF EXISTS {name} ON DATABASE")


async def prove_permitted(database: Database) -> None:
    """Return if whoever this is signed in as may do all that the service does.

    Raises NotPermitted, naming the table, and Transient.
    """
    try:
        await database.write(PROOF)
    except Thrown as thrown:
        if str(thrown) != PERMITTED:
            raise
