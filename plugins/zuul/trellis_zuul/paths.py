"""Where things are in the tree that Zuul and its launchers share."""

from typing import Final

ROOT: Final = "/nodepool"
REQUESTS: Final = f"{ROOT}/requests"
REQUEST_LOCKS: Final = f"{ROOT}/requests-lock"
NODES: Final = f"{ROOT}/nodes"
POOLS: Final = f"{ROOT}/components/pool"

_PRECEDENCE_DIGITS: Final = 3
_NORMAL: Final = 200


def request_path(request_id: str) -> str:
    """A request's znode."""
    return f"{REQUESTS}/{request_id}"


def request_lock_path(request_id: str) -> str:
    """The folder of the contenders for a request's lock; it outlives the request."""
    return f"{REQUEST_LOCKS}/{request_id}"


def node_path(node_id: str) -> str:
    """A node's znode."""
    return f"{NODES}/{node_id}"


def node_lock_path(node_id: str) -> str:
    """The folder of the contenders for a node's lock."""
    return f"{NODES}/{node_id}/lock"


def parent_of(path: str) -> str:
    """The path of the znode above."""
    return path.rpartition("/")[0] or "/"


def name_of(path: str) -> str:
    """The last part of a path: a request's or a node's id."""
    return path.rpartition("/")[2]


def precedence_of(request_id: str) -> int:
    """The three digits a request's id begins with: 100 high, 200 normal, 300 low.

    One less is a child of a paused job. What begins with something else counts as normal.
    """
    digits, dash = request_id[:_PRECEDENCE_DIGITS], request_id[_PRECEDENCE_DIGITS:][:1]
    if dash == "-" and digits.isascii() and digits.isdigit():
        return int(digits)
    return _NORMAL
