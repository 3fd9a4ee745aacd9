"""Logging: events with their context, to stderr, as ``key=value`` or as JSON.

Everything passes `mask` last. Secrets are kept out where they are handled; the mask is the last
line of defence. Other libraries' loggers are written in the same way.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog

MASK: Final = "***"
QUIET: Final = ("keystoneauth", "httpx", "httpcore", "hpack", "urllib3")
"""Loggers that tell of every request, some with headers: only their warnings are shown."""

_SECRET_KEY: Final = re.compile(
    r"(?i)(?:^|[_.\s-])(?:adminpass|api[_-]?key|auth[_-]?token|authorization|cookie|credentials?|"
    r"pass|passphrase|passwd|password|private[_-]?key|secret|set-cookie|token|user[_-]?data|"
    r"x-auth-token|x-subject-token|lease(?:[_-]?id)?)$|(?:password|secret)(?:s|[_-]?key)?$"
)
_SHAPES: Final = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.S), MASK),
    (re.compile(r"gAAAAA[\w-]{20,}={0,2}"), MASK),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), MASK),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/-]{8,}=*"), rf"\1 {MASK}"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
    (
        # password=x, "adminPass": "x", 'secret': 'x', X-Auth-Token: x
        re.compile(
            r"(?i)((?:password|passwd|adminpass|secret|api[_-]?key|auth[_-]token|"
            r"subject[_-]token|private[_-]key|\btoken)[\"']?\s*[=:]\s*)"
            r"(\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s,;&}\)\]]+)"
        ),
        rf"\1{MASK}",
    ),
)


def configure_logging(
    *,
    as_json: bool = False,
    level: int = logging.INFO,
    stream: TextIO | None = None,
    wall: Callable[[], float] = time.time,
) -> None:
    """Set up logging of the whole process; may be called again.

    Args:
        as_json: one JSON object a line, for ``--log-json``; else ``key=value``.
        level: the least level that is written.
        stream: where to; stderr if left out.
        wall: UTC seconds since the epoch, for the time stamps.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _stamp(wall),
        structlog.processors.format_exc_info,
    ]
    # The same for events of ours and for records of other libraries, masked last.
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            mask,
            _as_json if as_json else _as_text,
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *(p for p in shared if not isinstance(p, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def mask(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace what is or looks like a secret; a structlog processor."""
    return {key: _masked(key, value) for key, value in event.items()}


def mask_text(text: str) -> str:
    """Replace what looks like a secret within a text."""
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def _masked(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {str(k): _masked(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return mask_text(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def _stamp(wall: Callable[[], float]) -> structlog.typing.Processor:
    def stamp(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
        at = datetime.fromtimestamp(wall(), UTC)
        event["timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return event

    return stamp


def _as_json(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    return json.dumps(event, default=str, ensure_ascii=False)


def _as_text(_logger: object, _method: str, event: Mapping[str, Any]) -> str:
    values = dict(event)
    exception = values.pop("exception", None)
    head = [values.pop("timestamp", ""), values.pop("level", "").upper(), values.pop("event", "")]
    # A text of others may contain line breaks: one event stays one line.
    words = [_escaped(str(part)) for part in head]
    words += [f"{key}={_quoted(value)}" for key, value in values.items()]
    line = " ".join(words)
    return f"{line}\n{exception}" if exception else line


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        plain = value and value.isprintable() and not set(value) & set(" =\"'")
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, default=str, ensure_ascii=False)


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()
