"""Every route of the interface, as the document at /openapi.json shows it.

A new route gets an entry here: a test compares this table with the application's routes.
"""

from collections.abc import Mapping
from typing import Final

from service.web.described import Described
from service.web.documented.account import ACCOUNT
from service.web.documented.operations import OPERATORS
from service.web.documented.service import PROVIDER, SERVICE
from service.web.documented.videos import VIDEOS

DOCUMENTED: Final[tuple[Described, ...]] = (
    *VIDEOS,
    *ACCOUNT,
    *PROVIDER,
    *SERVICE,
    *OPERATORS,
)

GROUPS: Final[Mapping[str, str]] = {
    "Videos": "Order a video, follow it, give it up.",
    "Account": "What you can make, what you made, what is left.",
    "Provider": "What fal calls.",
    "Service": "Whether it runs, what it offers, and its pages.",
    "Operations": "What an operator sees and does. Without OPS_TOKEN none of it is there.",
}
