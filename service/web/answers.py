"""The JSON that the interface answers, as types: the views make them, the document shows them."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on

from service.domain.credits import EntryKind
from service.domain.job import IfFinished, Status

Instant = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(description="RFC 3339, in UTC"),
]
Address = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]
Credits = Annotated[int, Field(ge=0)]


class JobError(TypedDict):
    """Why a job failed."""

    code: Annotated[str, Field(description="stable; `cancelled` if its owner gave it up")]
    message: Annotated[str, Field(description="for people")]


class JobView(TypedDict):
    """A job's status."""

    jobId: str
    status: Status
    progress: Annotated[int, Field(ge=0, le=100, description="percent; 100 only when completed")]
    etaSeconds: Annotated[
        int | None,
        Field(ge=0, description="by what such videos took lately; null: nobody can tell"),
    ]
    previewUrl: Annotated[
        Address | None, Field(description="the provider's own copy, while ours is being made")
    ]
    url: Annotated[Address | None, Field(description="where the video is, once completed")]
    thumbnailUrl: Annotated[
        Address | None, Field(description="may come after completion, with a new version")
    ]
    key: Annotated[str | None, Field(description="its name in the bucket, once completed")]
    credits: Annotated[int | None, Field(ge=0, description="what it cost, once completed")]
    ifFinished: Annotated[
        IfFinished | None, Field(description="set once its owner has asked to cancel it")
    ]
    error: Annotated[JobError | None, Field(description="set once it has failed")]
    version: Annotated[int, Field(ge=0, description="goes up with each change")]
    createdAt: Instant
    updatedAt: Instant


class LibraryItem(JobView):
    """A job as an entry of its owner's list."""

    templateSlug: str
    provider: str
    durationSeconds: Annotated[int, Field(ge=0)]
    price: Annotated[Credits, Field(description="what is reserved for it, or was")]


class LibraryPage(TypedDict):
    items: list[LibraryItem]
    nextCursor: Annotated[str | None, Field(description="null on the last page")]


class Receipt(TypedDict):
    """What an order came to."""

    jobId: str
    status: Status
    credits: Annotated[Credits, Field(description="reserved for it")]


class ProviderView(TypedDict):
    """A video model that can be chosen."""

    name: str
    title: str
    creditsPerSecond: Credits
    durations: Annotated[list[int], Field(description="seconds of video that it makes")]
    credits: Annotated[dict[str, int], Field(description="the price of each duration")]
    expectedRenderSeconds: int


class TemplateView(TypedDict):
    slug: str
    title: str
    variables: Annotated[list[str], Field(description="each has to be filled in")]
    provider: Annotated[str, Field(description="unless an order names another")]
    duration: Annotated[int, Field(description="seconds, unless an order names others")]
    providers: list[ProviderView]


class ImageLimitsView(TypedDict):
    """What a start image may be at most."""

    maxBytes: int
    maxPixels: int


class TemplateList(TypedDict):
    templates: list[TemplateView]
    imageLimits: ImageLimitsView


class LedgerEntryView(TypedDict):
    id: str
    kind: EntryKind
    credits: Credits
    jobId: str | None
    at: Instant


class CreditsView(TypedDict):
    """An account's balance and its latest entries, newest first."""

    available: Credits
    reserved: Credits
    entries: list[LedgerEntryView]


class SessionView(TypedDict):
    email: str
    expiresAt: Annotated[Instant | None, Field(description="null: it does not expire")]


class Recorded(TypedDict):
    """A delivery is durable."""

    recorded: Literal[True]
    repeated: Annotated[bool, Field(description="it had come before")]


class Alive(TypedDict):
    status: Literal["ok"]


class Ready(TypedDict):
    """What the process needs works; each check says ok."""

    status: Literal["ok"]
    checks: dict[str, str]


class FieldProblem(TypedDict):
    """One thing wrong with one field, and what would mend it."""

    field: str
    message: str


class Problem(TypedDict):
    """RFC 9457 problem details. Depend on `code`; the words may change."""

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: str
    detail: Annotated[str, Field(description="for people")]
    errors: NotRequired[Annotated[list[FieldProblem], Field(description="with 422: every one")]]
    successors: NotRequired[
        Annotated[list[str], Field(description="with provider_retired: providers to use instead")]
    ]
    checks: NotRequired[
        Annotated[dict[str, str], Field(description="with not_ready: what each check found")]
    ]
