"""``trellis config import-nodepool``: a trellis.yaml of Nodepool's files, checked against them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from trellis.cli.shape import Command, note
from trellis.cli.tables import show_data
from trellis.cli.talk import output_option
from trellis.errors import ConfigError, TrellisError

if TYPE_CHECKING:
    from trellis.nodepool import Change, Converted, Difference, Site
    from trellis.plugin_host import PluginHost

_T = TypeVar("_T")
_FILE: Final = click.Path(path_type=Path)
_NAME: Final = "trellis.yaml"
_PLACES: Final = 3
_SHOWN: Final = 20
_HEADINGS: Final = {
    "to-do": "To be done by hand:",
    "stays": "Stays with Nodepool:",
    "no-equal": "Has no equal, and is a comment in the result:",
    "differs": "Behaves differently:",
}
_NO_PLUGIN: Final = (
    "the plugin for Zuul is not installed: install the distribution trellis-zuul beside Trellis; "
    "until then the result is refused for its demand-sources"
)


class ImportFaultError(TrellisError):
    """The result is not what Nodepool's files say, which is a fault of Trellis."""

    remedy = "nothing was written; tell the developers of Trellis, with the files if you may"


@attrs.frozen
class _Way:
    """How a result is made and where it goes, as the options say."""

    to: Path | None
    each: Path | None
    deployment: str
    types: dict[str, str]

    def target(self, site: "Site") -> Path | None:
        """The file of a site's result; None for stdout, or for none."""
        return self.to if self.each is None else self.each / (site.name or "all") / _NAME


@attrs.frozen(kw_only=True)
class _Result:
    """One trellis.yaml to be, and what is told of it."""

    site: "Site"
    converted: "Converted"
    changes: tuple["Change", ...]
    differences: tuple["Difference", ...]
    warnings: tuple[str, ...]
    target: Path | None


def _types(
    _context: click.Context, _option: click.Parameter, given: Sequence[str]
) -> dict[str, str]:
    found = {}
    for one in given:
        cloud, equals, kind = one.partition("=")
        if not equals or not cloud or not kind:
            raise click.BadParameter(f"{one!r}: write CLOUD=TYPE, as rax=rackspace")
        found[cloud] = kind
    return found


def _deployment(_context: click.Context, _option: click.Parameter, given: str) -> str:
    from trellis.nodepool.conversion import clean_deployment

    if not clean_deployment(given):
        raise click.BadParameter("write 1 to 64 letters, digits and dashes")
    return given


@click.command(
    "import-nodepool",
    cls=Command,
    examples=[
        "trellis config import-nodepool nl01.yaml nb01.yaml --to new.yaml",
        "trellis config import-nodepool nl01.yaml nb01.yaml --each new",
        "trellis config import-nodepool nl01.yaml nb01.yaml -o json",
    ],
)
@click.argument("files", metavar="FILE...", type=_FILE, nargs=-1, required=True)
@click.option(
    "-s", "--secure", type=_FILE, multiple=True, help="A secure file of Nodepool's services."
)
@click.option("--to", type=_FILE, help="Write the result there; to stdout if left out.")
@click.option(
    "--each",
    type=_FILE,
    help="Write one trellis.yaml a launcher, each into a folder of its own below this one.",
)
@click.option(
    "--deployment",
    default="ci-main",
    show_default=True,
    callback=_deployment,
    help="Whose nodes these will be; it must not change later.",
)
@click.option(
    "--type",
    "types",
    metavar="CLOUD=TYPE",
    multiple=True,
    callback=_types,
    help="Type of the providers of a cloud; openstack if left out.",
)
@output_option
def import_nodepool(
    files: tuple[Path, ...],
    secure: tuple[Path, ...],
    to: Path | None,
    each: Path | None,
    deployment: str,
    types: dict[str, str],
    output: str,
) -> None:
    """Make a trellis.yaml of the files of Nodepool's launchers and builders.

    All that behaves differently is told on stderr, and what has no equal is a comment in the
    result as well. With -o json or yaml that report goes to stdout instead, and the result only
    to a file. Labels, pools, flavors, images and limits of the result are compared with those of
    the files; nothing is written where they differ unexplained, or where the files have faults.
    %(NODEPOOL_X) is taken from the environment. The result can hold secrets that the files hold:
    it is written for its owner alone.
    """
    if to is not None and each is not None:
        raise click.UsageError("--to writes one file, and --each several: give one of them")
    try:
        results = _results(files, secure, _Way(to, each, deployment, types))
    except ConfigError as error:
        if output != "table":
            show_data(output, {"ok": False, "faults": list(error.faults), "results": []})
            raise SystemExit(1) from None
        raise
    targets = [result.target for result in results if result.target is not None]
    if there := [target for target in targets if target.exists()]:
        raise ConfigError([_is_there(target) for target in there])
    for result in results:
        if result.target is not None:
            _write(result.target, result.converted.text)
    if output != "table":
        shown = [_as_data(result) for result in results]
        show_data(output, {"ok": True, "faults": [], "results": shown})
        return
    for result in results:
        if result.target is None:
            click.echo(result.converted.text, nl=False)
        _tell(result)


def _results(files: Sequence[Path], secure: Sequence[Path], way: _Way) -> list[_Result]:
    from trellis.nodepool import check_together, read_nodepool, read_secure, sites
    from trellis.plugin_host import load_plugins

    faults: list[str] = []
    read = _read_all(files, read_nodepool, faults)
    hidden = _read_all(secure, read_secure, faults)
    if faults:
        raise ConfigError(faults)
    check_together(read, hidden)
    host = load_plugins()
    return [_result(site, host, way) for site in sites(read, hidden, each=way.each is not None)]


def _read_all(files: Sequence[Path], read: Callable[..., _T], faults: list[str]) -> list[_T]:
    """Read files of one kind; their faults are added to the others'."""
    from trellis.config.loading import read_text

    found = []
    for file in files:
        try:
            found.append(read(read_text(file), os.environ, file=str(file)))
        except ConfigError as error:
            faults += error.faults
    return found


def _result(site: "Site", host: "PluginHost", way: _Way) -> _Result:
    """Convert a site, read the result as the daemon would, and compare both."""
    from trellis.config import parse
    from trellis.nodepool import Change, Kind, compare, convert

    target = way.target(site)
    file = target or Path(_NAME)
    converted = convert(site, deployment=way.deployment, types=way.types)
    changes, text = converted.changes, converted.text
    if site.settings.get("zookeeper_servers") and "zuul" not in host.demand_sources.types():
        changes = (Change(kind=Kind.TO_DO, message=_NO_PLUGIN), *changes)
        without = convert(site, deployment=way.deployment, types=way.types, demand=False)
        text = without.text
    try:
        loaded = parse(
            text, host.providers, host.image_builders, host.demand_sources,
            file=str(file), folder=file.parent,
        )  # fmt: skip
    except ConfigError as error:
        raise ImportFaultError(
            "the result cannot be loaded: " + "; ".join(error.faults[:_SHOWN])
        ) from error
    differences = compare(site, loaded.configuration, changes, converted.images)
    if unexplained := [str(one) for one in differences if not one.explained]:
        raise ImportFaultError(
            "the result is not what the files say: " + "; ".join(unexplained[:_SHOWN])
        )
    return _Result(
        site=site,
        converted=converted,
        changes=changes,
        differences=differences,
        warnings=loaded.warnings,
        target=target,
    )


def _write(target: Path, text: str) -> None:
    """Write a file that is not there yet, for its owner alone."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError([_is_there(target)]) from None
    except OSError as error:
        raise ConfigError([f"{target}: cannot be written: {error.strerror}"]) from None


def _is_there(target: Path) -> str:
    return f"{target}: is there already: name another file, or move it away"


def _tell(result: _Result) -> None:
    """Say on stderr what a person has to know of a result."""
    from trellis.nodepool.report import grouped

    told = str(result.target or _NAME)
    heading = ""
    for lines in grouped(result.changes):
        if lines.kind.value != heading:
            heading = lines.kind.value
            note(f"{told}: {_HEADINGS[heading]}")
        key = f"{lines.key}: " if lines.key else ""
        more = len(lines.places) - _PLACES
        places = ", ".join(lines.places[:_PLACES]) + (f" and {more} more" if more > 0 else "")
        note(f"  {key}{lines.message}" + (f" ({places})" if places else ""))
    for warning in result.warnings:
        note(f"warning: {warning}")
    pools = [pool for provider in result.site.providers for pool in provider.pools]
    differing = f"{len(result.differences)} differ, as told" if result.differences else "the same"
    note(
        f"{told}: labels, pools, flavors, images and limits compared with Nodepool's files "
        f"({len(result.site.labels)} labels, {len(pools)} pools, {len(result.site.images)} "
        f"images): {differing}"
    )


def _as_data(result: _Result) -> dict[str, Any]:
    return {
        "file": None if result.target is None else str(result.target),
        "launcher": result.site.name,
        "changes": [
            {
                "kind": change.kind.value,
                "place": change.place,
                "path": change.path,
                "key": change.key,
                "message": change.message,
            }
            for change in result.changes
        ],
        "differences": [str(one) for one in result.differences],
        "warnings": list(result.warnings),
    }
