"""``trellis plugin check``: a plugin by itself, and against its cloud without changing anything."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from trellis.cli.shape import Command, complain_of, note
from trellis.cli.tables import Column, print_table, show_data
from trellis.cli.talk import output_option
from trellis.errors import TrellisError

if TYPE_CHECKING:
    from trellis.inspection.findings import Finding
    from trellis.plugin_host import PluginHost
    from trellis.spi.registry import ProviderFactory, Registration


T = TypeVar("T")


def _what(finding: "Finding") -> str:
    return f"{finding.what} {finding.subject}".strip()


def _found(finding: "Finding") -> str:
    return f"{finding.found}\n→ {finding.remedy}" if finding.remedy else finding.found


_COLUMNS: Final = (
    Column("WHAT", _what),
    Column("VERDICT", lambda finding: finding.verdict.value),
    Column("FOUND", _found, wraps=True),
)


@click.command(
    cls=Command,
    examples=[
        "trellis plugin check",
        "trellis plugin check openstack --cloud mycloud",
        "trellis plugin check openstack --cloud mycloud --region RegionOne -o json",
    ],
)
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option(
    "--cloud", metavar="ENTRY", help="Look at this cloud of clouds.yaml through the plugin."
)
@click.option("--region", metavar="NAME", help="In this region; the entry's first if left out.")
@output_option
def check(type_: str | None, cloud: str | None, region: str | None, output: str) -> None:
    """Say whether a plugin can be used, and what it finds at its cloud; changes nothing there.

    With --cloud it logs in with the entry of clouds.yaml and looks at catalog, versions, limits,
    flavors, images, networks, zones and servers, by questions only. TYPE is a type of provider
    (`trellis plugin list`); without it all plugins are looked at by themselves. Exit code 1 if
    something fails.
    """
    from functools import partial

    from trellis.inspection.findings import Verdict, worst
    from trellis.plugin_host import load_plugins

    if (cloud or region) and type_ is None:
        raise click.UsageError("--cloud and --region need TYPE: which plugin is to look?")
    if region and not cloud:
        raise click.UsageError("--region needs --cloud: in which cloud?")
    host = load_plugins()
    only = None if type_ is None else type_named(host, type_)
    findings = run_interruptible(partial(_look, host, only, cloud, region))
    verdict = worst(findings)
    if output == "table":
        print_table(findings, _COLUMNS)
    else:
        shown: dict[str, Any] = {"type": type_, "cloud": cloud, "region": region}
        rows = [finding.as_plain() for finding in findings]
        show_data(output, {**shown, "verdict": verdict.value, "findings": rows})
    if verdict is Verdict.FAIL:
        raise SystemExit(1)


async def _look(
    host: "PluginHost",
    only: "Registration[ProviderFactory] | None",
    cloud: str | None,
    region: str | None,
) -> "list[Finding]":
    import time
    from random import SystemRandom

    from trellis.http import lane_transports
    from trellis.inspection.cloud import look
    from trellis.inspection.itself import plugins, type_of_provider

    findings = plugins(host, () if only is None else (only.plugin,))
    for registration in host.providers.registrations() if only is None else (only,):
        findings += await type_of_provider(registration, host.providers)
        if cloud is not None:
            findings += await look(
                registration,
                host.providers,
                cloud=cloud,
                region=region,
                transports=lane_transports(),
                random=SystemRandom(),
                wall=time.time,
            )
    return findings


def run_interruptible(main: Callable[[], Awaitable[T]]) -> T:
    """Run it; Ctrl-C ends it with 1, after it has tidied up or has said what it could not."""
    import trio

    rest: BaseExceptionGroup[BaseException] | None = None
    try:
        return trio.run(main)
    except KeyboardInterrupt:
        pass
    except BaseExceptionGroup as group:
        interrupt, rest = group.split(KeyboardInterrupt)
        if interrupt is None:
            raise
    for error in () if rest is None else _leaves(rest):
        if not isinstance(error, TrellisError):
            raise error
        complain_of(error)
    note("interrupted")
    raise SystemExit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def type_named(host: "PluginHost", type_: str) -> "Registration[ProviderFactory]":
    """A type of provider, for a command line that names it."""
    found = host.providers.get(type_)
    if found is not None:
        return found
    import difflib

    known = host.providers.types()
    near = difflib.get_close_matches(type_, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known)}"
    broken = [info for info in host.broken() if type_ in (info.name, info.origin)]
    if broken:
        hint = f"its plugin cannot be used: {broken[0].problem}"
    raise click.BadParameter(f"no plugin offers {type_!r}; {hint}", param_hint="TYPE")
