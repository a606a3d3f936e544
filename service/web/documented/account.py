"""What is somebody's own: templates to choose from, videos, credits, the sign-in of the page."""

from typing import Final

from service.domain import errors
from service.web.answers import CreditsView, LibraryPage, SessionView, TemplateList
from service.web.described import Answer, Caller, Described, Parameter
from service.web.documented.common import AN_ID, ID, USUAL

ACCOUNT: Final = (
    Described(
        method="GET",
        path="/api/templates",
        id="listTemplates",
        group="Account",
        summary="What can be made",
        answers={200: Answer(about="Templates, providers, prices.", model=TemplateList)},
        refusals=USUAL,
    ),
    Described(
        method="GET",
        path="/api/library",
        id="listLibrary",
        group="Account",
        summary="Your videos, newest first",
        parameters=(
            Parameter(
                name="cursor", place="query", about="nextCursor of the page before", schema=ID
            ),
            Parameter(
                name="limit",
                place="query",
                about="entries on a page",
                schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            ),
        ),
        answers={
            200: Answer(
                about="A page.",
                model=LibraryPage,
                follow={
                    "listLibrary": {"cursor": "$response.body#/nextCursor"},
                    "readStatus": {"jobId": "$response.body#/items/0/jobId"},
                    "deleteVideo": {"jobId": "$response.body#/items/0/jobId"},
                },
            )
        },
        refusals=(*USUAL, errors.NotFound, errors.Invalid),
    ),
    Described(
        method="DELETE",
        path="/api/library/{jobId}",
        id="deleteVideo",
        group="Account",
        summary="Delete a video",
        about="It is off your list at once; its copies everywhere are removed soon after.",
        parameters=(
            Parameter(
                name="jobId",
                place="path",
                about="of a job that has ended",
                schema=ID,
                required=True,
                example=AN_ID,
            ),
        ),
        answers={204: Answer(about="Deleted.")},
        refusals=(*USUAL, errors.NotFound, errors.StillRunning),
    ),
    Described(
        method="GET",
        path="/api/credits",
        id="readCredits",
        group="Account",
        summary="Your balance",
        answers={200: Answer(about="The balance, and the latest entries.", model=CreditsView)},
        refusals=USUAL,
    ),
    Described(
        method="GET",
        path="/api/session",
        id="readSession",
        group="Account",
        summary="Who is signed in",
        answers={200: Answer(about="You, and until when.", model=SessionView)},
        refusals=USUAL,
    ),
    Described(
        method="POST",
        path="/api/session",
        id="openSession",
        group="Account",
        summary="Sign a page in",
        about="The bearer token becomes a cookie that scripts cannot read.",
        caller=Caller.TOKEN,
        answers={204: Answer(about="Signed in.", headers={"Set-Cookie": "the session"})},
        refusals=USUAL,
    ),
    Described(
        method="DELETE",
        path="/api/session",
        id="closeSession",
        group="Account",
        summary="Sign a page out",
        caller=Caller.ANYBODY,
        answers={204: Answer(about="Signed out.", headers={"Set-Cookie": "none any more"})},
    ),
)
