"""What many routes have in common."""

from collections.abc import Mapping
from typing import Final

from service.domain import errors
from service.web.described import Answer, Plain, Refusal

ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
AN_ID: Final = "v00000000000000000000000000"
SLOW: Final = Plain(status=408, code="too_slow")
# Of whatever needs a sign-in and the database.
USUAL: Final[tuple[Refusal, ...]] = (errors.SignInRequired, errors.Transient)
TAG: Final = "for If-None-Match"
PAGE: Final = Answer(about="The page.", text="text/html")
FILE: Final[Mapping[int, Answer]] = {
    200: Answer(about="The file.", text="*/*", headers={"ETag": TAG}),
    304: Answer(about="It is the same.", headers={"ETag": TAG}),
}
