"""The application: which addresses there are, and what each answers."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from rung import __version__
from rung.serving import metrics as numbers
from rung.serving.card import model_card
from rung.serving.explain import png
from rung.serving.guard import Guard
from rung.serving.page import Pages
from rung.serving.refusal import Refusal
from rung.serving.service import Service
from rung.serving.uploads import Upload, files_in
from rung.serving.v2 import v2_router

TOP = 5  # classes named for an image, unless the request asks for more or fewer
MOST_EXAMPLES = 48

Answering = Callable[[Request], Awaitable[Response]]


def build_app(
    service: Service,
    *,
    address: str = "http://localhost:8000",
    token: str | None = None,
    hosts: Collection[str] | None = None,
    origins: Collection[str] = (),
) -> ASGIApp:
    """The ASGI application that serves ``service``.

    Args:
        service: the model.
        address: where it listens, for the examples of the pages.
        token, hosts, origins: see :class:`rung.serving.guard.Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    app = FastAPI(
        title=f"rung: {service.predictor.name}",
        version=__version__,
        description="Classifies images. The web page is at `/`, what the model is at `/model`.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # An address is what it is: no redirects, which would repeat the Host header that a client made up.
        redirect_slashes=False,
    )
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _broken)
    predict = _add_answers(app, service)
    _add_examples(app, service)
    _add_pages(app, service, address)
    app.include_router(v2_router(service))
    entrance: ASGIApp = ShortCut(app, {("POST", "/predict"): predict})
    if origins:
        entrance = CORSMiddleware(
            entrance, allow_origins=list(origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    paths = [path for path in (getattr(route, "path", "") for route in app.routes) if path]
    service.metrics.watch(paths, lambda: service.batcher.waiting, lambda: service.bodies.held)
    return Guard(entrance, service.limits, service.metrics, token=token, hosts=hosts, origins=origins)


class ShortCut:
    """ASGI middleware that hands the busiest addresses straight to their functions.

    FastAPI's way there, through six layers for what these functions do themselves, takes a third of the time of a
    request with one small image.

    Args:
        app: for all other requests.
        functions: from a request to its answer, by method and path. They raise nothing but :class:`Refusal`
            on purpose.
    """

    def __init__(self, app: ASGIApp, functions: Mapping[tuple[str, str], Answering]) -> None:
        self._app = app
        self._functions = functions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        function = self._functions.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if function is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await function(request)
        except Refusal as refusal:
            response = await _refused(request, refusal)
        except Exception as error:
            logging.getLogger("uvicorn.error").exception("a request failed")
            response = await _broken(request, error)
        await response(scope, receive, send)


def _add_answers(app: FastAPI, service: Service) -> Answering:
    """Returns the function behind ``POST /predict``."""

    @app.post("/predict", tags=["Classify"], summary="Classify images", responses=_REFUSALS, openapi_extra=_files(_TOP))
    async def predict(request: Request) -> Response:
        """One image or many, as the files of a form (`multipart/form-data`, any field name) or the bytes of one image
        as the body. Answers in the order of the files. An image that cannot be read has an `error` in the place of its
        answer; if none can be read, the status is 422.
        """
        top, everything = _asked(request, len(service.predictor.classes))
        async with _uploads(request, service) as uploads:
            answers = await service.predict(uploads, top, everything)
        if all("error" in answer for answer in answers):
            raise Refusal(422, answers[0]["error"] if len(answers) == 1 else "none of the images can be used")
        return _json({"model": service.predictor.name, "predictions": answers})

    @app.post(
        "/explain", tags=["Classify"], summary="Explain one answer", responses=_REFUSALS, openapi_extra=_files(_TOP[:1])
    )
    async def explain(request: Request) -> Response:
        """The answer for one image, the image as the model sees it (resized; normalised), and how much each part of it
        spoke for the answer. Pictures are `data:` addresses.
        """
        top, _ = _asked(request, len(service.predictor.classes))
        async with _uploads(request, service) as uploads:
            return _json(await service.explain(_only(uploads), top))

    @app.post(
        "/similar",
        tags=["Classify"],
        summary="Find similar training images",
        responses=_REFUSALS,
        openapi_extra=_files(),
    )
    async def similar(request: Request) -> Response:
        """The training images that are most like this one to the model. `state` is `ready`, `building` (ask again;
        `done` is how far, from 0 to 1), `loading`, or `gone` where the data is not at hand.
        """
        async with _uploads(request, service) as uploads:
            return _json(await service.similar(_only(uploads)))

    @app.get("/health", tags=["Operate"], summary="Whether the server is there")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": service.predictor.name}

    @app.get("/metrics", tags=["Operate"], summary="Numbers for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=numbers.CONTENT_TYPE)

    @app.get("/model", tags=["Operate"], summary="The model card")
    def model() -> dict[str, Any]:
        return model_card(service.run, service.predictor)

    return predict


def _add_examples(app: FastAPI, service: Service) -> None:
    examples = service.examples

    @app.get("/examples", tags=["Examples"], summary="Some test images")
    async def some(count: int = 12, seed: int = 0) -> dict[str, Any]:
        """Drawn at random, of every class in turn. `state` is `ready`, `loading` (ask again) or `gone`, where the
        data is not at hand.
        """
        if not 1 <= count <= MOST_EXAMPLES or not 0 <= seed < 2**63:
            raise Refusal(422, f"count must be 1 to {MOST_EXAMPLES}, seed 0 or more")
        if examples is None or examples.data is None:
            return {"state": "gone" if examples is None else examples.state, "images": []}
        data = examples.data
        return {
            "state": "ready",
            "images": [
                {"index": index, "label": data.classes[int(data.test.labels[index])]}
                for index in examples.some(count, seed)
            ],
        }

    @app.get(
        "/examples/{index}.png",
        tags=["Examples"],
        summary="A test image, exactly as the model takes it",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}, 404: {"description": "No such image."}},
    )
    def image(index: int) -> Response:
        data = examples.data if examples is not None else None
        if data is None or not 0 <= index < len(data.test):
            raise Refusal(404, "there is no such test image here")
        return Response(png(data.test.take([index])[0]), media_type="image/png")


def _add_pages(app: FastAPI, service: Service, address: str) -> None:
    pages = Pages(service, address)

    # Not async: the first time they take a moment, which others should not wait for.
    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return pages.classify()

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return pages.docs(app.openapi())


def _asked(request: Request, classes: int) -> tuple[int, bool]:
    """The query of a prediction: how many classes to name, and whether to give all probabilities."""
    top, everything = request.query_params.get("top", str(TOP)), request.query_params.get("all", "false")
    if not (top.isascii() and top.isdecimal() and len(top) < 10 and int(top) > 0):
        raise Refusal(422, "top must be a number of classes, 1 or more")
    if everything not in ("true", "false"):
        raise Refusal(422, "all must be true or false")
    return min(int(top), classes), everything == "true"


@asynccontextmanager
async def _uploads(request: Request, service: Service) -> AsyncIterator[list[Upload]]:
    """The files of a request, which count as held until the end of the context."""
    async with service.bodies.received(request) as body:
        parse = partial(files_in, body, request.headers.get("content-type", ""), service.limits)
        yield await service.parser.run(parse, len(body))


def _only(uploads: list[Upload]) -> Upload:
    if len(uploads) > 1:
        raise Refusal(422, "one image at a time is taken here")
    return uploads[0]


def _json(value: Any) -> Response:
    return Response(json.dumps(value).encode(), media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return Response(error.body, error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "there is nothing at this address; GET /docs lists what there is", 405: "not with this method"}
    response = await _refused(request, Refusal(error.status_code, reason.get(error.status_code, str(error.detail))))
    response.headers.update(error.headers or {})
    return response


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = sorted({str(problem["loc"][-1]) for problem in error.errors()})
    return await _refused(request, Refusal(422, f"not a usable value: {', '.join(places)}"))


async def _broken(request: Request, error: Exception) -> Response:
    """Whatever went wrong, its words may name what is none of a client's business; standard error has them."""
    return await _refused(request, Refusal(500, "the server failed; its log says how"))


_TOP: tuple[dict[str, Any], ...] = (
    {
        "name": "top",
        "in": "query",
        "description": "How many of the most probable classes to name.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": TOP},
    },
    {
        "name": "all",
        "in": "query",
        "description": "Whether to give the probability of every class, in the order of the model's classes.",
        "schema": {"type": "boolean", "default": False},
    },
)

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    for status, text in {
        400: "Not a usable request.",
        408: "It took too long to arrive.",
        413: "Too many bytes or files.",
        415: "Not a type that is read.",
        422: "No usable image.",
        503: "Too much is waiting; `Retry-After` says when to come again.",
        504: "The answer took too long.",
    }.items()
}


def _files(parameters: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """The body of requests with images, for OpenAPI."""
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": ["files"],
        "properties": {"files": {"type": "array", "items": file, "minItems": 1}},
    }
    return {
        "parameters": list(parameters),
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": file},
                "application/octet-stream": {"schema": file},
            },
        },
    }
