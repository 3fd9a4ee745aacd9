"""``trellis leak``, ``plan`` and ``events``: what is left over, what comes next, what happens."""

import json
import time
from typing import Any, Final

import click

from trellis.cli.shape import Command, Noun, complain, note
from trellis.cli.tables import Column, age, field, show_list
from trellis.cli.talk import client, complete_names, confirm, for_each, output_option
from trellis.live.images import size
from trellis.live.text import duration, printable

_LEAKS: Final = (
    Column("ID", field("id")),
    Column("PROVIDER", field("provider"), wraps=True),
    Column("KIND", field("kind")),
    Column("EXTERNAL ID", field("external_id"), wide=True),
    Column("NODE", field("node_id"), wide=True),
    Column("SEEN", lambda leak: f"{leak['sightings']}x"),
    Column("AGE", lambda leak: age(leak["first_seen"])),
    Column("NOTE", field("note"), wraps=True),
)
_PLAN: Final = (
    Column("ACTION", field("action")),
    Column("SUBJECT", field("subject")),
    Column("REASON", field("reason"), wraps=True),
)
_AGAIN_S: Final = 2.0


@click.group(cls=Noun, examples=["trellis leak list", "trellis leak delete ID"])
def leak() -> None:
    """What is tagged ours in the clouds and claimed by no record."""


@leak.command("list", examples=["trellis leak list"])
@output_option
def list_(output: str) -> None:
    """List leaks and what is done about them."""
    with client() as face:
        show_list(output, face.items("leaks"), _LEAKS, empty="There are no leaks.")


@leak.command(examples=["trellis leak delete ID"])
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_names("leaks")
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
def delete(ids: tuple[str, ...], yes: bool, output: str) -> None:
    """Confirm that leaks are ours and may be deleted."""
    confirm(f"Delete {' '.join(ids)} from the cloud?", yes=yes)
    with client() as face:
        for_each(ids, lambda one: face.delete("leaks", one), output=output, say=field("note"))


@leak.command(examples=["trellis leak adopt ID"])
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_names("leaks")
)
@output_option
def adopt(ids: tuple[str, ...], output: str) -> None:
    """Confirm that things whose node id was never issued here are ours all the same."""
    with client() as face:
        for_each(
            ids, lambda one: face.post("leaks", one, "adopt"), output=output, say=field("note")
        )


@click.command(cls=Command, examples=["trellis plan"])
@output_option
def plan(output: str) -> None:
    """Say what the scheduler would do now and what it leaves, and why."""
    with client() as face:
        show_list(output, face.items("plan"), _PLAN, empty="There is nothing to do.")


@click.command(
    cls=Command,
    examples=["trellis events", "trellis events --after 4711 -o json", "trellis events --count 1"],
)
@click.option("--after", metavar="ID", help="Begin after this event, up to a day back.")
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@output_option
def events(after: str | None, count: int | None, output: str) -> None:
    """Follow what happens, until Ctrl-C. A break of the connection loses nothing.

    With -o json there is one event a line, with -o yaml one a document.
    """
    from trellis.http.face import FaceUnreachableError

    left = count
    seen = after
    connected = False
    while True:
        try:
            with client() as face:
                for event in face.events(seen):
                    connected, seen = True, event.id
                    if event.type == "":
                        continue
                    _print_event(output, event.type, event.data)
                    left = left and left - 1
                    if left == 0:
                        return
            note("The daemon ended the stream; following again.")
        except FaceUnreachableError as broken:
            if not connected:
                raise
            note(f"{broken}; following again.")
        except KeyboardInterrupt:
            return
        time.sleep(_AGAIN_S)


def event_words(kind: str, data: Any) -> str:
    """What an event says, on one line: its reason, or else the facts that matter of it."""
    facts, words = data["data"], [str(data["why"])]
    if kind == "build.phase":
        words.append(facts["phase"])
    elif kind == "build.progress":
        words.append(f"{facts['lines']} lines, the last: {facts['last']}")
    elif kind in ("build.ready", "upload.ready") and "took_s" in facts:
        took = duration(float(facts["took_s"]))
        words.append(f"{size(int(facts['bytes']))} in {took}")
    if kind.startswith(("upload.", "image.")) and "provider" in facts:
        words.insert(0, f"at {facts['provider']}")
    return " ".join("; ".join(filter(None, words)).split())


def _print_event(output: str, kind: str, data: Any) -> None:
    if output == "table":
        if kind == "reset":
            complain(f"There is a gap: {data['why']}", remedy=data["remedy"])
            return
        why = f"  {said}" if (said := event_words(kind, data)) else ""
        click.echo(printable(f"{data['at'][:19]}Z  {kind:<18}  {data['subject']}{why}"))
        return
    shown = data if kind != "reset" else {"type": "reset", **data}
    if output == "json":
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    import yaml

    click.echo("---\n" + yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), nl=False)
