"""The description of the face at ``/openapi.json``, OpenAPI 3.1."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler

from trellis import __version__
from trellis.web import (
    answers,
    bodies,
    image_answers,
    image_bodies,
    operator_answers,
    status_answers,
)
from trellis.web.desk import Desk
from trellis.web.problems import PROBLEM_TYPE

_REF: Final = "#/components/schemas/{name}"
_REFUSALS: Final = {
    "400": "The input is not as the call needs it: bad JSON, an unknown key, a bound.",
    "403": "A web page of another origin makes the call.",
    "404": "There is no such thing.",
    "409": "It has moved on, or the idempotency key was used for another body.",
    "413": "The body is too large.",
    "415": "The body is not declared as JSON.",
    "421": "The Host header names another server.",
    "422": "What is asked cannot be done.",
}
_BODIES: Final[Mapping[str, type[msgspec.Struct]]] = {
    "createRequest": bodies.AskBody,
    "changeRequest": bodies.PriorityBody,
    "renewLease": bodies.NoBody,
    "holdNode": bodies.HoldBody,
    "pauseProvider": bodies.PauseBody,
    "resumeProvider": bodies.NoBody,
    "drainProvider": bodies.DrainBody,
    "acceptMove": bodies.MoveBody,
    "adoptLeak": bodies.NoBody,
    "resetBreaker": bodies.ResetBody,
    "endSource": bodies.EndBody,
    "buildImage": image_bodies.BuildBody,
    "uploadImage": image_bodies.ImageWordBody,
    "pauseImage": image_bodies.ImagePauseBody,
    "resumeImage": image_bodies.ImagePauseBody,
    "promoteImage": image_bodies.PromoteBody,
    "rollBackImage": image_bodies.RollbackBody,
    "pinImage": image_bodies.PinBody,
    "unpinImage": image_bodies.ImageWordBody,
}
"""Handlers read their bodies themselves, so Litestar cannot know."""
_MODULES: Final = (
    answers, bodies, operator_answers, status_answers, image_answers, image_bodies,
)  # fmt: skip
_ONLY_CHANGING: Final = frozenset({"409", "413", "415", "422"})


def describe(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Write the description of these handlers.

    Litestar's own way to serve it answers paths below it in HTML, so it is only asked to write.
    """
    config = OpenAPIConfig(
        title="Trellis",
        version=__version__,
        description="Single-use CI nodes: request them, lease them, give them back. "
        "Every refusal is a problem document (RFC 9457) with a remedy.",
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
    )
    describing = Litestar(
        handlers,
        dependencies={"desk": Provide(_no_desk, sync_to_thread=False)},
        openapi_config=config,
        logging_config=None,
    )
    return complete(describing.openapi_schema.to_schema())


def _no_desk() -> Desk:
    raise AssertionError("the application that only describes is never called")


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Add what Litestar leaves out: bounds of items, and what refusals look like."""
    kinds = [
        kind
        for module in _MODULES
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module.__name__
    ]
    _, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    # Litestar's own has the enums of parameters besides.
    enums = schema["components"]["schemas"]
    schema = {**schema, "components": {"schemas": {**enums, **components}}}
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            _describe_call(call)
            _describe_refusals(call["responses"], path, method)
    return schema


def _describe_call(call: dict[str, Any]) -> None:
    name = call["summary"]
    call["operationId"] = name[0].lower() + name[1:]
    call["summary"] = call["description"].partition("\n")[0]
    call.pop("requestBody", None)
    if (body := _BODIES.get(call["operationId"])) is not None:
        call["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(body)),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name=body.__name__)}}},
        }


def _describe_refusals(responses: dict[str, Any], path: str, method: str) -> None:
    content = {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    for status, description in _REFUSALS.items():
        if status == "404" and "{" not in path:
            continue
        if status in _ONLY_CHANGING and method == "get":
            continue
        responses[status] = {"description": description, "content": content}
    responses["default"] = {"description": "The daemon failed.", "content": content}
