"""``trellis label``, ``provider`` and ``quota``: what can be had, from where, how much."""

from typing import Any, Final

import click

from trellis.cli.shape import Command, Noun
from trellis.cli.tables import (
    Column,
    age,
    counts,
    field,
    moment,
    print_fields,
    print_table,
    show_data,
    show_list,
)
from trellis.cli.talk import by_option, client, complete_names, output_option


def _of(resource: str) -> Any:
    def show(quota: Any) -> str:
        limit = quota["limits"][resource]
        ours, others = quota["ours"][resource], quota["others"][resource]
        used = f"{ours}+{others}" if others else f"{ours}"
        return f"{used}/{'?' if limit is None else '∞' if limit == 'unlimited' else limit}"

    return show


def _launches(provider: Any) -> str:
    pause = provider["pause"]
    if pause is None:
        return "on"
    word = "draining" if pause["drain"] else "paused"
    return f"{word} by {pause['by']}"


def _used(pool: Any, resource: str) -> str:
    limit = pool["limits"][resource]
    return f"{pool['used'][resource]}" + (f"/{limit}" if isinstance(limit, int) else "")


_LABELS: Final = (
    Column("NAME", field("name")),
    Column("MIN-READY", field("min_ready")),
    Column("NODES", lambda label: counts(label["nodes"]), wraps=True),
    Column("OFFERED BY", field("offered_by"), wraps=True),
    Column("NOT BY", field("missing"), wraps=True),
)
_PROVIDERS: Final = (
    Column("NAME", field("name")),
    Column("TYPE", field("type"), wide=True),
    Column("HEALTH", field("health")),
    Column("SINCE", lambda provider: age(provider["since"])),
    Column("LAUNCHES", _launches, wraps=True),
    Column("NODES", lambda provider: counts(provider["nodes"]), wraps=True),
    Column("REASON", field("reason"), wraps=True),
)
_POOLS: Final = (
    Column("POOL", field("name")),
    Column("LABELS", lambda pool: " ".join(pool["labels"]), wraps=True),
    Column("SERVERS", lambda pool: _used(pool, "instances")),
    Column("CORES", lambda pool: _used(pool, "cores")),
    Column("RAM MIB", lambda pool: _used(pool, "ram_mib")),
    Column("MISSING", field("missing"), wraps=True),
)
_QUOTA: Final = (
    Column("PROVIDER", field("provider")),
    Column("SERVERS", _of("instances")),
    Column("CORES", _of("cores")),
    Column("RAM MIB", _of("ram_mib")),
    Column("FLOATING IPS", _of("floating_ips"), wide=True),
    Column("VOLUMES", _of("volumes"), wide=True),
    Column("VOLUME GIB", _of("volume_gib"), wide=True),
    Column("REFUSED", field("refusals")),
    Column("READ", lambda quota: age(quota["read_at"]) or "never"),
)
_API_CALLS: Final = (
    # They are counted by account, which other providers of the cloud may share.
    Column("CALLS OF THE ACCOUNT", lambda call: call[0], wraps=True),
    Column("SINCE THE START", lambda call: call[1]),
)
_complete = complete_names("providers")


@click.group(cls=Noun, examples=["trellis label list"])
def label() -> None:
    """What requestors can ask for."""


@label.command("list", examples=["trellis label list"])
@output_option
def list_labels(output: str) -> None:
    """List the labels, who offers them, and their nodes."""
    with client() as face:
        show_list(output, face.items("labels"), _LABELS, empty="No labels are configured.")


@click.group(
    cls=Noun,
    examples=[
        "trellis provider list",
        "trellis provider show ovh-bhs1",
        'trellis provider pause ovh-bhs1 --reason "maintenance" --for 7200',
    ],
)
def provider() -> None:
    """Look at providers; pause, drain and resume them."""


@provider.command("list", examples=["trellis provider list"])
@output_option
def list_(output: str) -> None:
    """List the providers, and whether and why each can or cannot be used."""
    with client() as face:
        rows = face.items("providers")
    show_list(output, rows, _PROVIDERS, empty="No providers are configured.")


@provider.command(examples=["trellis provider show ovh-bhs1"])
@click.argument("name", shell_complete=_complete)
@output_option
def show(name: str, output: str) -> None:
    """Show a provider and its pools."""
    with client() as face:
        _show(output, face.get("providers", name))


@provider.command(examples=['trellis provider pause ovh-bhs1 --reason "maintenance" --for 7200'])
@click.argument("name", shell_complete=_complete)
@click.option("--reason", default="", help="Why, for others to see.")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Resume by itself after this long.",
)
@by_option
@output_option
def pause(name: str, reason: str, for_s: float | None, by: str, output: str) -> None:
    """Stop launches at a provider; its nodes live on. Survives a restart."""
    body = {"by": by, "reason": reason, "for_s": for_s}
    with client() as face:
        _show(output, face.post("providers", name, "pause", body=body))


@provider.command(examples=["trellis provider resume ovh-bhs1"])
@click.argument("name", shell_complete=_complete)
@output_option
def resume(name: str, output: str) -> None:
    """Let a paused or drained provider launch again."""
    with client() as face:
        _show(output, face.post("providers", name, "resume"))


@provider.command(examples=['trellis provider drain ovh-bhs1 --reason "contract ends"'])
@click.argument("name", shell_complete=_complete)
@click.option("--reason", default="", help="Why, for others to see.")
@by_option
@output_option
def drain(name: str, reason: str, by: str, output: str) -> None:
    """Stop launches at a provider and delete its idle nodes; leased and held ones stay."""
    with client() as face:
        _show(output, face.post("providers", name, "drain", body={"by": by, "reason": reason}))


@click.command(cls=Command, examples=["trellis quota", "trellis quota -o json"])
@output_option
def quota(output: str) -> None:
    """Show every provider's quota: ours + others' / limit."""
    with client() as face:
        show_list(output, face.items("quota"), _QUOTA, empty="No providers are configured.")


def _show(output: str, shown: Any) -> None:
    if output != "table":
        show_data(output, shown)
        return
    pause = shown["pause"]
    print_fields(
        {
            "provider": shown["name"],
            "type": shown["type"],
            "cloud": f"{shown['cloud']} {shown['region']}",
            "health": shown["health"],
            "reason": shown["reason"],
            "since": moment(shown["since"]),
            "launches": _launches(shown),
            "because": pause and pause["reason"],
            "until": pause and pause["until"] and pause["until"][:19] + "Z",
            "nodes": counts(shown["nodes"]),
            "backoffs": shown["backoffs"],
            "sweep": shown["sweep"],
        }
    )
    click.echo()
    print_table(shown["pools"], _POOLS)
    click.echo()
    print_table([shown["quota"]], _QUOTA)
    if shown["api_calls"]:
        click.echo()
        ranked = sorted(shown["api_calls"].items(), key=lambda one: (-one[1], one[0]))
        print_table(ranked, _API_CALLS)
