"""An operation over HTTP, whoever asks: JSON arguments in, JSON out, errors as problem details."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.domain.errors import ServiceError, UnsupportedMedia
from service.operations.base import Context
from service.operations.registry import perform, read_call
from service.web.bodies import read_body
from service.web.problems import error_answer

MAX_BODY_BYTES: Final = 1024 * 1024  # a file of templates; everything else is a line


async def answer_operation(context: Context, request: Request) -> Response:
    """POST …/{name}. An operator is told the whole reason of a failure, unlike anybody else."""
    try:
        if not request.headers.get("content-type", "").lower().startswith("application/json"):
            raise UnsupportedMedia("send application/json with the arguments")
        body = await read_body(request, MAX_BODY_BYTES)
        answer = await perform(context, read_call(request.path_params["name"], body))
    except ServiceError as error:
        return error_answer(error, str(error))
    return JSONResponse(answer)
