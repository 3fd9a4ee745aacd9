"""Good answers made bad: cut, swollen, of another shape, with headers that are none."""

import gzip
from functools import lru_cache
from random import Random
from typing import Any, Final

import msgspec

from trellis.sim.cloud.wire import JSON, Response

ELSEWHERE: Final = "https://elsewhere.invalid/"
"""Where redirects lead."""

_BOMB_MIB: Final = 100
_LONG: Final = 60_000


def short(response: Response) -> Response:
    """The first half of a body, as if it were the whole."""
    half = response.body[: len(response.body) // 2]
    return Response(response.status, half, response.headers)


def huge(response: Response) -> Response:
    """A small body that unpacks to a very large one."""
    headers = {**response.headers, "Content-Type": JSON, "Content-Encoding": "gzip"}
    return Response(response.status, _bomb(), headers)


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    # Several members would unpack faster than one can say stop; this is one.
    return gzip.compress(b" " * (_BOMB_MIB * 1024 * 1024), compresslevel=1, mtime=0)


def with_garbage(response: Response) -> Response:
    """The same with headers that nobody can make sense of."""
    strange = {
        "X-Openstack-Request-Id": "\u00ff\u00fe" * 20,
        "X-Compute-Request-Id": "r" * _LONG,
        "Retry-After": "\u00e9",
        "X-Twice": "1",
        "x-twice": "2",
        "Date": "never",
    }
    kept = {k: v for k, v in response.headers.items() if "request-id" not in k.lower()}
    return Response(response.status, response.body, {**kept, **strange})


def redirected() -> Response:
    """An answer that sends the caller elsewhere."""
    return Response(302, b"", {"Location": ELSEWHERE})


def odd(response: Response, random: Random) -> Response:
    """JSON of another shape than the one that was asked for."""
    try:
        document = msgspec.json.decode(response.body)
    except msgspec.DecodeError:
        return response
    body = msgspec.json.encode(_another_shape(document, random))
    return Response(response.status, body, response.headers)


def _another_shape(document: Any, random: Random) -> Any:
    whole: list[Any] = [None, [], {}, "ok", 0, [document], {"data": document}]
    choice = random.randrange(len(whole) + 5)
    if choice < len(whole):
        return whole[choice]
    if choice == len(whole):
        return _mapped(document, lambda x: str(x) if isinstance(x, int | float) else x)
    if choice == len(whole) + 1:
        return _mapped(document, lambda x: 7 if isinstance(x, str) else x)
    if choice == len(whole) + 2:
        return _mapped(document, lambda _: None)
    keys = sorted(_keys(document))
    missing = random.choice(keys) if keys else ""
    return _without(document, missing)


def _mapped(tree: Any, change: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _mapped(value, change) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_mapped(value, change) for value in tree]
    return change(tree)


def _keys(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        return {*tree, *(key for value in tree.values() for key in _keys(value))}
    return {key for value in tree for key in _keys(value)} if isinstance(tree, list) else set()


def _without(tree: Any, missing: str) -> Any:
    if isinstance(tree, dict):
        return {key: _without(value, missing) for key, value in tree.items() if key != missing}
    return [_without(value, missing) for value in tree] if isinstance(tree, list) else tree
