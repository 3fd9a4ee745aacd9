"""Reading bodies: strictly, with the place of what is wrong.

Litestar's own reading turns ``"5"`` into 5, which hides mistakes of callers.
"""

from typing import Final, TypeVar

import msgspec
from litestar.exceptions import ValidationException

from trellis.web.problems import InvalidJsonError

T = TypeVar("T", bound=msgspec.Struct)

_AT: Final = " - at `$"


def read(kind: type[T], body: bytes) -> T:
    """The body as a *kind*.

    Raises:
        InvalidJsonError: it is no JSON.
        ValidationException: it breaks a bound, lacks a key or has an unknown one.
    """
    if not body.strip():
        raise _invalid("", "a JSON object is needed, and the body is empty")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as wrong:
        message, _, path = str(wrong).partition(_AT)
        raise _invalid(path.removesuffix("`").removeprefix("."), message) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InvalidJsonError(str(wrong)) from wrong
    except RecursionError as wrong:
        raise InvalidJsonError("it is nested too deeply") from wrong


def read_optional(kind: type[T], body: bytes) -> T:
    """The same for a call that may go without a body; all of *kind* has defaults."""
    return read(kind, body) if body.strip() else kind()


def _invalid(path: str, message: str) -> ValidationException:
    return ValidationException(extra=[{"key": path, "message": message, "source": "body"}])
