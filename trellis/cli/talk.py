"""Options and helpers of the commands that talk to the daemon."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from trellis.cli.shape import complain
from trellis.errors import TrellisError
from trellis.live.text import printable, summed

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from trellis.http.face import FaceClient

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL: Final = "http://127.0.0.1:8480"
_COMPLETES_WITHIN_S: Final = 1.0
"""A shell that waits longer for a word seems to hang."""
_MOST_COMPLETED: Final = 1000
_ID_LENGTH: Final = 32
_LEAST_PREFIX: Final = 4
_MOST_NAMED: Final = 5


def client(*, patience_s: float | None = None) -> "FaceClient":
    """A client of the daemon at TRELLIS_URL; use it with ``with``."""
    from trellis.http.face import FaceClient

    return FaceClient(url(), os.environ.get("TRELLIS_TOKEN") or None, patience_s=patience_s)


def url() -> str:
    """Where the daemon listens, as far as the command line knows."""
    return os.environ.get("TRELLIS_URL") or DEFAULT_URL


def output_option(command: F) -> F:
    """Add ``-o``, which every command that prints data has."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the data.",
    )(command)


def by_option(command: F) -> F:
    """Add ``--by``: who gives the word."""
    return click.option(
        "--by", default=whoami, show_default="your user name", help="Who does this."
    )(command)


def whoami() -> str:
    """The user's name, for others to see who did something."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person before something that cannot be undone; scripts are not asked."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def for_each(
    ids: Sequence[str], act: Callable[[str], Any], *, output: str, say: Callable[[Any], object]
) -> None:
    """Do it for each id; one that fails is told, the others are done, and the exit code is 1.

    Args:
        act: does it, and gives what the daemon answers.
        say: what of the answer is printed on a line of its own; data are printed as one list.
    """
    from trellis.cli.tables import show_data

    done, failed = [], False
    for one in ids:
        try:
            answer = act(one)
        except TrellisError as error:
            complain(f"{one}: {error}", remedy=getattr(error, "remedy", ""))
            failed = True
            continue
        done.append(answer)
        if output == "table":
            click.echo(printable(str(say(answer))))
    if output != "table":
        show_data(output, done)
    if failed:
        raise SystemExit(1)


# ---------------------------------------------------------------------------------- ids


def node_id(text: str) -> str:
    """The id of a node from what was typed: 42 is 0000000042."""
    return text.zfill(10) if text.isascii() and text.isdecimal() else text


def request_id(face: "FaceClient", text: str, *, words: bool = True) -> str:
    """The id of a request from what was typed: its beginning, or a word of its metadata.

    Either is enough where it is the only one. Where something is ended only the id counts: the
    one job of a pipeline is seldom what was meant.

    What cannot be completed is handed to the daemon as it is, which then says what is wrong.

    Raises:
        FaceError: the beginning fits several requests; or see `FaceClient`.
    """
    from trellis.http.face import FaceError

    found = []
    if words and text:
        found = face.page("requests", "find", word=text[:255], limit=_MOST_NAMED + 1)
    if len(found) > 1:
        named = "\n".join(_named(row) for row in found[:_MOST_NAMED])
        more = "\n  …" if len(found) > _MOST_NAMED else ""
        raise FaceError(
            f"several requests are found by {text}:\n{named}{more}",
            remedy="Ask for one of them by its id.",
        )
    if found:
        return str(found[0]["id"])
    hexadecimal = text.isascii() and not set(text.lower()) - set("0123456789abcdef")
    if not hexadecimal or not _LEAST_PREFIX <= len(text) < _ID_LENGTH:
        return text
    for gone in (False, True):
        ids = [row["id"] for row in face.items("requests", gone=gone, limit=1000)]
        found = [one for one in ids if one.startswith(text.lower())]
        if len(found) > 1:
            named = ", ".join(found[:_MOST_NAMED]) + (" …" if len(found) > _MOST_NAMED else "")
            raise FaceError(
                f"{len(found)} requests begin with {text}: {named}",
                remedy="Write more of the id.",
            )
        if found:
            return str(found[0])
    return text


def _named(request: Any) -> str:
    notes = " ".join(f"{key}={value}" for key, value in request["metadata"].items())
    words = f"{request['state']} since {request['state_at'][:19]}Z"
    return printable(f"  {request['id']}  {words}  {summed(request['labels'])}  {notes}".rstrip())


# --------------------------------------------------------------------------- completion


def complete_names(noun: str) -> Callable[..., "list[CompletionItem]"]:
    """Completion that asks the daemon for names; where none answers at once there is none."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        # Only lists that come in pages know a limit.
        limit = {"limit": _MOST_COMPLETED} if noun in ("nodes", "requests") else {}
        try:
            with client(patience_s=_COMPLETES_WITHIN_S) as face:
                items = face.page(noun, **limit)
        except TrellisError:
            return []
        found = [(str(item.get("name") or item["id"]), _hint(noun, item)) for item in items]
        return [
            CompletionItem(name, help=hint)
            # A name with such characters is no word of a command line.
            for name, hint in found
            if name.startswith(incomplete) and name.isprintable()
        ]

    return complete


def complete_of(noun: str, part: str, key: str) -> Callable[..., "list[CompletionItem]"]:
    """Completion with what a thing that is already on the command line has, by its argument NAME.

    Args:
        part: a list of the thing, as the face shows it.
        key: what names a row of it.
    """

    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        # Behind an option that lacks its value click has put the arguments nowhere yet.
        given = ctx.params.get("name") or next(iter(ctx.args), None)
        if not given:
            return []
        try:
            with client(patience_s=_COMPLETES_WITHIN_S) as face:
                rows = face.get(noun, given)[part]
        except TrellisError:
            return []
        found = dict.fromkeys(str(row[key]) for row in rows)
        return [
            CompletionItem(one) for one in found if one.startswith(incomplete) and one.isprintable()
        ]

    return complete


def _hint(noun: str, item: Any) -> str | None:
    """What zsh and fish show beside a name that means nothing by itself."""
    match noun:
        case "nodes":
            hint = f"{item['state']} {item['label']} at {item['provider']}"
        case "requests":
            hint = f"{item['state']} {summed(item['labels'])} for {item['requestor']}"
        case "leaks":
            hint = f"{item['kind']} at {item['provider']}"
        case _:
            return None
    return " ".join(printable(hint).split())
