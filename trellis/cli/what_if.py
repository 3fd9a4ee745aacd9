"""What-if options of ``trellis simulate``: a configuration of one's own, and changes to a story."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from trellis.cli.shape import complain, note
from trellis.cli.simulate_tables import show_comparison, show_report
from trellis.cli.tables import show_data

if TYPE_CHECKING:
    from trellis.sim.report import Report
    from trellis.sim.scenario import Scenario
    from trellis.sim.simulate import Outcome
    from trellis.sim.what_if import Addition, Loss

    _Param = click.ParamType[Any]
else:
    _Param = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

EACH: Final = "each"
_ADDITION: Final = re.compile(r"(?P<name>[^=:@]+)(=(?P<like>[^=:]+))?(:(?P<instances>\d+))?\Z")
_QUOTA: Final = re.compile(r"(?P<name>[^=]+)=(?P<instances>-1|\d+)\Z")
_UNSERVED: Final = "progress"
"""The verdict on requests that wait too long: of a what-if that is the answer, and no fault."""


class _Duration(_Param):
    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from trellis.config.durations import read_duration

        try:
            seconds = read_duration(_number_or_text(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not seconds:
            self.fail("must be above 0", param, ctx)
        return seconds


class _LossType(_Param):
    name = "name[@time[-time]]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Loss":
        from trellis.config.durations import read_duration
        from trellis.sim.what_if import Loss

        name, _, when = str(value).rpartition("@") if "@" in value else (value, "", "")
        start, _, end = when.partition("-")
        try:
            return Loss(
                provider=name,
                start=read_duration(_number_or_text(start)) if start else 0.0,
                end=read_duration(_number_or_text(end)) if end else None,
            )
        except ValueError as error:
            self.fail(f"{error}; write NAME, NAME@2h or NAME@2h-3h", param, ctx)


class _AdditionType(_Param):
    name = "name[=like][:servers]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Addition":
        from trellis.sim.what_if import Addition

        found = _ADDITION.match(str(value))
        if found is None:
            self.fail("write NAME, NAME=PROVIDER or NAME=PROVIDER:SERVERS", param, ctx)
        count = found["instances"]
        return Addition(
            name=found["name"], like=found["like"], instances=int(count) if count else None
        )


class _QuotaType(_Param):
    name = "name=servers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        found = _QUOTA.match(str(value))
        if found is None:
            self.fail("write NAME=SERVERS, as mycloud=200", param, ctx)
        return found["name"], int(found["instances"])


@attrs.frozen(kw_only=True)
class WhatIf:
    """What somebody wants to know, as the options say it."""

    config: Path | None
    losses: "tuple[Loss, ...]"
    additions: "tuple[Addition, ...]"
    demand: float | None
    quotas: tuple[tuple[str, int], ...]
    per_hour: float | None
    use: float | None
    lasting: float | None

    def __bool__(self) -> bool:
        return self.config is not None or self.changes

    @property
    def changes(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.losses or self.additions or self.quotas or self.demand is not None)


def what_if_options(command: F) -> F:
    """Add the options; the command gets a `WhatIf` as ``what_if``."""
    options = [
        click.option(
            "-c", "--config", type=click.Path(path_type=Path),
            help="A configuration of your own: simulated clouds stand for its providers.",
        ),
        click.option(
            "--per-hour", type=click.FloatRange(0.0, 1_000_000.0, min_open=True),
            help="With -c: requests in an hour.  [default: what fills 70 % of the room]",
        ),
        click.option(
            "--use", type=_Duration(), help="With -c: median time a node is used.  [default: 10m]"
        ),
        click.option(
            "--for", "lasting", type=_Duration(),
            help="With -c: how long requests come.  [default: 2h]",
        ),
        click.option(
            "--lose", "losses", multiple=True, type=_LossType(),
            help="What if this provider's cloud is lost; `each` loses one at a time.",
        ),
        click.option(
            "--add-cloud", "additions", multiple=True, type=_AdditionType(),
            help="What if there were another cloud, like one there is.",
        ),
        click.option(
            "--demand", type=click.FloatRange(0.001, 1000.0),
            help="What if there were so many times the demand.",
        ),
        click.option(
            "--quota", "quotas", multiple=True, type=_QuotaType(),
            help="What if this cloud or provider had another quota.",
        ),
    ]  # fmt: skip
    return reduce(lambda done, add: add(done), reversed(options), command)


def scenario_of(what_if: WhatIf, scenario: str | None, named: "Callable[[str], Scenario]") -> Any:
    """The story that is asked for, before any change to it; tells what it assumes."""
    made_up = (what_if.per_hour, what_if.use, what_if.lasting)
    if what_if.config is None:
        if made_up != (None, None, None):
            raise click.UsageError("--per-hour, --use and --for are for a configuration: name it "
                                   "with -c")  # fmt: skip
        return named(scenario or "rough")
    from trellis.config import disabled_plugins, load
    from trellis.plugin_host import load_plugins
    from trellis.sim.scenario_file import load_assumptions
    from trellis.sim.simulate import builtin_types
    from trellis.sim.supposed import Wish, suppose

    host = load_plugins(disabled_plugins(what_if.config))
    types = host.providers
    configuration = load(
        what_if.config, types, host.image_builders, host.demand_sources
    ).configuration
    assumptions = load_assumptions(Path(scenario), what_if.config) if scenario else None
    if assumptions and assumptions.demand and made_up != (None, None, None):
        raise click.UsageError(f"{scenario} says what demand there is: leave out --per-hour, "
                               "--use and --for")  # fmt: skip
    supposed = suppose(
        configuration,
        name=what_if.config.stem,
        types=builtin_types(),
        assumptions=assumptions,
        wish=Wish(
            per_hour=what_if.per_hour,
            use_s=what_if.use,
            hours=None if what_if.lasting is None else what_if.lasting / 3600.0,
        ),
    )
    for line in supposed.notes:
        note(f"assumed: {line}")
    return supposed.scenario


def variants_of(what_if: WhatIf, story: "Scenario") -> "dict[str, Scenario]":
    """The story as it is, and as it would be, by what they are called."""
    import yaml

    from trellis.sim import what_if as changes

    variants = {"as it is": story}
    names = []
    for name, instances in what_if.quotas:
        story = changes.with_quota(story, name, instances)
        names.append(f"{name} of {instances}")
    for addition in what_if.additions:
        story = changes.with_cloud(story, addition)
        names.append(f"with {addition.name}")
    if what_if.demand is not None:
        story = changes.with_demand(story, what_if.demand)
        names.append(f"demand × {what_if.demand:g}")
    each = [loss for loss in what_if.losses if loss.provider == EACH]
    for loss in what_if.losses:
        if loss.provider != EACH:
            story = changes.with_loss(story, loss)
            names.append(f"without {loss.provider}")
            if others := changes.lost_with(story, loss.provider):
                note(f"on the cloud of {loss.provider}, and lost with it: {', '.join(others)}")
    if names:
        variants[", ".join(names)] = story
    for loss in each[:1]:
        for provider in yaml.safe_load(story.configuration)["providers"]:
            lost = attrs.evolve(loss, provider=provider["name"])
            name = ", ".join([*names, f"without {provider['name']}"])
            variants[name] = changes.with_loss(story, lost)
    return variants


def told_of(
    variants: "Mapping[str, Scenario]", run: "Callable[[Scenario], Sequence[Outcome]]"
) -> "dict[str, Sequence[Outcome]]":
    """What came of each variant; exit code 130 on Ctrl-C."""
    told, interrupted = {}, False
    try:
        for name, variant in variants.items():
            told[name] = run(variant)
    except* KeyboardInterrupt:
        interrupted = True
    if interrupted:
        note(f"interrupted after {len(told)} of {len(variants)} variants")
        raise SystemExit(130)
    return told


def tell(
    told: "Mapping[str, Sequence[Outcome]]",
    *,
    output: str,
    plots: Path | None,
) -> None:
    """Print what came of each variant; exit code 1 if a promise was broken in one."""
    from trellis.sim.report import merged

    reports: dict[str, Report] = {
        name: merged([x.report for x in outcomes if x.report is not None])
        for name, outcomes in told.items()
    }
    if output != "table":
        from trellis.sim.report_data import SCHEMA_VERSION, as_data

        variants = [{"name": name, "report": as_data(x)} for name, x in reports.items()]
        show_data(output, {"schema_version": SCHEMA_VERSION, "variants": variants})
    elif len(reports) > 1:
        show_comparison(reports)
    else:
        show_report(next(iter(reports.values())))
    if plots is not None:
        draw(reports, plots)
    broken = False
    for name, outcomes in told.items():
        for outcome in outcomes:
            for violation in outcome.violations:
                if violation.promise != _UNSERVED:
                    broken = True
                    story = f"{violation.promise}: {violation.story}"
                    complain(f"{name}: seed {outcome.seed}: {story}")
    if broken:
        raise SystemExit(1)


def draw(reports: "dict[str, Report]", folder: Path) -> None:
    """Write the plots of all variants."""
    from trellis.sim.plots import draw_comparison, draw_report

    several = len(reports) > 1
    files: list[Path] = []
    for name, report in reports.items():
        files += draw_report(report, folder / _file_name(name) if several else folder)
    if several:
        files += draw_comparison(reports, folder)
    note(f"{len(files)} plots in {folder}")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name.replace("×", "x")).strip("-")


def _number_or_text(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value
