"""Handing out the status page: fixed files, with headers that keep scripts of others out."""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Final

import attrs
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import HeaderParameter, PathParameter

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text can become markup, whatever a later change of the page does with it.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The Content-Security-Policy: what is not a file of the page's own is neither run nor shown."""

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # Asked for anew each time, which costs a 304: after an upgrade nobody sees half an old page.
    "cache-control": "no-cache",
}

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    # Litestar adds the charset to those of text.
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_Seen = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="Versions the client has.")
]


@attrs.frozen(kw_only=True)
class Asset:
    """One file of the page.

    Attributes:
        etag: changes with its body.
    """

    body: bytes
    media_type: str
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """All files of the page by name; there are no others."""
    found = {}
    for file in (files(__package__) / "assets").iterdir():
        if (media_type := _MEDIA_TYPES.get(PurePath(file.name).suffix)) is not None:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            found[file.name] = Asset(body=body, media_type=media_type, etag=etag)
    return found


@get("/", include_in_schema=False)
async def show_page(seen: _Seen = None) -> Response[bytes]:
    """Show the status page."""
    return _answer("index.html", seen)


@get("/page/{name:str}", include_in_schema=False)
async def show_asset(
    name: Annotated[str, PathParameter(description="Name of the file.")], seen: _Seen = None
) -> Response[bytes]:
    """Show a file of the status page."""
    return _answer(name, seen)


def _answer(name: str, seen: str | None) -> Response[bytes]:
    asset = assets().get(name)
    if asset is None:
        raise NotFoundException
    known = seen is not None and asset.etag in (tag.strip() for tag in seen.split(","))
    return Response(
        b"" if known else asset.body,
        status_code=304 if known else 200,
        media_type=asset.media_type,
        headers={**HEADERS, "etag": asset.etag},
    )


HANDLERS: Final = (show_page, show_asset)
