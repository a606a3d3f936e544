"""What the commands share: settings from the environment, one event loop, errors for people."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from service.adapters.migrate import MigrationFailed
from service.adapters.surreal_errors import Unavailable
from service.domain.errors import ServiceError
from service.logs import configure_logging
from service.settings import Needs, Settings, SettingsError, read_settings
from service.wiring import NotMigrated

BAD_USE: Final = 2
FAILED: Final = 1


def run_command(act: Callable[[Settings], Coroutine[Any, Any, int]], needs: Needs) -> int:
    """Read the settings, run the command, and turn what it raises into words and a code."""
    try:
        settings = read_settings(os.environ, needs)
    except SettingsError as error:
        return complain(str(error), BAD_USE)
    configure_logging(settings.log_format)
    try:
        return asyncio.run(act(settings))
    except SettingsError as error:  # a part of the command needs more of them
        return complain(str(error), BAD_USE)
    except (ServiceError, NotMigrated, MigrationFailed, OSError) as error:
        return complain(_in_words(error, settings), FAILED)
    except KeyboardInterrupt:
        return 130


def is_locked(error: Exception) -> bool:
    """Whether an embedded database could not be opened because another process has it."""
    return isinstance(error, Unavailable) and "already locked by another process" in str(error)


def _in_words(error: Exception, settings: Settings) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if is_locked(error):
        return f"the database {settings.surrealdb_url} is open in another process"
    return str(error)


def complain(message: str, code: int) -> int:
    sys.stderr.write(f"fal-video: {message}\n")
    return code


def say(message: str = "") -> None:
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def say_json(value: object) -> None:
    say(json.dumps(value, indent=2, ensure_ascii=False))
