"""``trellis label``, ``provider`` and ``quota``: what can be had, from where, how much."""

from datetime import UTC, datetime
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
        shown = "?" if limit is None else "∞" if limit == "unlimited" else limit
        learnt = quota["ceilings"].get(resource)
        return f"{used}/{shown}" + (f" ≤{learnt}" if learnt is not None else "")

    return show


def _held(tenant: Any, resource: str) -> str:
    limit = tenant["limits"][resource]
    return f"{tenant['held'][resource]}" + ("" if limit is None else f"/{limit}")


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
    Column("HOST KEYS", lambda label: "read" if label["host_key_checking"] else "NOT CHECKED"),
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
    Column("PROVIDERS", lambda quota: " ".join(quota["providers"]), wraps=True),
    Column("PROJECT", field("project_id"), wide=True),
    Column("SERVERS", _of("instances")),
    Column("CORES", _of("cores")),
    Column("RAM MIB", _of("ram_mib")),
    Column("FLOATING IPS", _of("floating_ips"), wide=True),
    Column("PORTS", _of("ports"), wide=True),
    Column("VOLUMES", _of("volumes"), wide=True),
    Column("VOLUME GIB", _of("volume_gib"), wide=True),
    Column("REFUSED", field("refusals")),
    Column("READ", lambda quota: age(quota["read_at"]) or "never"),
)
_TENANTS: Final = (
    Column("TENANT", lambda tenant: tenant["name"] or "(none)"),
    Column("SERVERS", lambda tenant: _held(tenant, "instances")),
    Column("CORES", lambda tenant: _held(tenant, "cores")),
    Column("RAM MIB", lambda tenant: _held(tenant, "ram_mib")),
    Column("SHARE", field("share")),
    Column("WAITING", field("waiting")),
)
_LIMITED: Final = (
    Column("LABEL", field("name")),
    Column("NODES", lambda label: f"{sum(label['nodes'].values())}/{label['max_servers']}"),
)
_API_CALLS: Final = (
    # They are counted by account, which other providers of the cloud may share.
    Column("CALLS OF THE ACCOUNT", lambda call: call[0], wraps=True),
    Column("SINCE THE START", lambda call: call[1]),
)
_QUIRKS: Final = (
    Column("QUIRK", lambda quirk: "=".join(filter(None, (quirk["name"], quirk["value"])))),
    Column("THIS CLOUD", field("does"), wraps=True),
    Column("STOCK", field("stock"), wraps=True),
    Column("SOURCE", lambda quirk: f"{quirk['evidence']} ({quirk['sure']})", wraps=True),
    Column("ERA", field("era")),
    Column("TO SEE IT AGAIN", field("check"), wide=True),
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


@provider.command(
    examples=[
        'trellis provider pause ovh-bhs1 --reason "maintenance" --for 7200',
        'trellis provider pause ovh-bhs1 --reason "announced outage" --until 2030-05-01T06:00Z',
    ]
)
@click.argument("name", shell_complete=_complete)
@click.option("--reason", default="", help="Why, for others to see.")
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Resume by itself after this long.",
)
@click.option(
    "--until",
    metavar="TIME",
    help="Resume by itself then, as 2030-05-01T06:00: in your time zone, or with one after it.",
)
@by_option
@output_option
def pause(
    name: str, reason: str, for_s: float | None, until: str | None, by: str, output: str
) -> None:
    """Stop launches at a provider; its nodes live on. Survives a restart."""
    if until is not None:
        if for_s is not None:
            raise click.UsageError("--for and --until say the same: give one of them")
        for_s = _seconds_until(until)
    body = {"by": by, "reason": reason, "for_s": for_s}
    with client() as face:
        _show(output, face.post("providers", name, "pause", body=body))


def _seconds_until(text: str) -> float:
    """How long it is until a time that a person has written."""
    try:
        then = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: write it as 2030-05-01T06:00, or 2030-05-01T06:00Z for UTC",
            param_hint="--until",
        ) from None
    seconds = (then - datetime.now(UTC)).total_seconds()
    if seconds <= 0:
        raise click.BadParameter(f"{text} is over", param_hint="--until")
    return seconds


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


@provider.command(
    examples=["trellis provider accept ovh-bhs1 --endpoint https://compute2.example.com/v2.1"]
)
@click.argument("name", shell_complete=_complete)
@click.option(
    "--endpoint",
    required=True,
    metavar="URL",
    help="The compute endpoint, as the provider's reason names it.",
)
@click.option(
    "--project",
    "project_id",
    metavar="ID",
    help="The new project, if it is another one: what is left in the old one is taken for gone.",
)
@by_option
@output_option
def accept(name: str, endpoint: str, project_id: str | None, by: str, output: str) -> None:
    """Say that a cloud has moved: its nodes are to be found where the credentials lead now.

    For a provider that is unavailable because the project changed, where it is the same cloud
    under another address. Where clouds.yaml is wrong, correct that instead.
    """
    body = {"by": by, "endpoint": endpoint, "project_id": project_id}
    with client() as face:
        _show(output, face.post("providers", name, "accept-move", body=body))


@click.command(cls=Command, examples=["trellis quota", "trellis quota -o json"])
@output_option
def quota(output: str) -> None:
    """Show every project's quota: ours + others' / limit; then limits of tenants and labels.

    ≤ is what refusals taught: there the cloud refused, though it told a higher limit.
    """
    with client() as face:
        show_list(output, face.items("quota"), _QUOTA, empty="No providers are configured.")
        if output != "table":
            return
        tenants, labels = face.items("tenants"), face.items("labels")
        launches = face.get("quota")["launches"]
    if tenants:
        click.echo()
        print_table(tenants, _TENANTS)
    if limited := [label for label in labels if label["max_servers"] is not None]:
        click.echo()
        print_table(limited, _LIMITED)
    click.echo()
    print_fields({"launches": f"{launches['used']}/{launches['limit']} in the last minute"})


@click.group(cls=Noun, examples=["trellis tenant list"])
def tenant() -> None:
    """On whose behalf requests are made."""


@tenant.command("list", examples=["trellis tenant list"])
@output_option
def list_tenants(output: str) -> None:
    """List the tenants: what each holds of what it may, and its requests that wait."""
    with client() as face:
        show_list(output, face.items("tenants"), _TENANTS, empty="No tenant holds anything.")


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
            "priority": shown["priority"],
            "weight": shown["weight"],
            "lately": shown["lately"],
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
    if shown.get("quirks"):
        click.echo()
        print_table(shown["quirks"], _QUIRKS)
