"""Judge a new upload by its nodes: how launches from it fared beside those from the one before.

The rule and its figures are explained in ``docs/explanation/canary.md``. All of it is pure: the
counts are in the record of the upload, and the moment is an argument.
"""

import enum
import math
from typing import Final, Self

import attrs

from trellis.model.image import Trial
from trellis.spi.config import ImageConfig

LEAST_FAILURES: Final = 2
"""A single failure condemns nothing, whatever the figures: it may be chance."""
ALPHA: Final = 0.01
"""An upload is clearly worse where chance alone would favour the one before it so much in fewer
than one of a hundred trials."""
ONLY_READY_SHARE: Final = 0.1
"""An only image of whose launches fewer than this became ready serves no requests."""
PROBE_EVERY_S: Final = 60.0
"""Probes of an upload are at least this far apart."""
PROBE_FAILING_S: Final = 600.0
"""So far, where both fail or the only image does: waiting is what helps then."""


@attrs.frozen(kw_only=True)
class Rule:
    """What the configuration of an image says about trials.

    Attributes:
        share: of the launches that a canary serves, from 0 to 1; 0 tries nothing.
        nodes: so many of its nodes have to become ready.
        quiet_s: where that takes longer, nodes are launched for the trial alone.
    """

    share: float
    nodes: int
    quiet_s: float

    @classmethod
    def of(cls, config: ImageConfig) -> Self:
        """The rule of an image."""
        return cls(
            share=config.canary_share, nodes=config.canary_nodes, quiet_s=config.canary_quiet
        )


class Step(enum.Enum):
    """What is to be done about a canary."""

    PROMOTE = "promote"
    WITHDRAW = "withdraw"
    WAIT = "wait"
    PROBE = "probe"
    """Its own launch is too long in coming: launch one for the trial alone."""


class Probed(enum.Enum):
    """From which upload a probe boots."""

    CANARY = "canary"
    BEFORE = "before"


@attrs.frozen(kw_only=True)
class Verdict:
    """What is to be done about a canary, and why.

    Attributes:
        why: with the figures, in words.
        probe: what to launch, where the step is to probe.
        every_s: probes are so far apart.
    """

    step: Step
    why: str
    probe: Probed = Probed.CANARY
    every_s: float = PROBE_EVERY_S


def judge(trial: Trial, rule: Rule, *, has_previous: bool, now: float) -> Verdict:
    """Decide about a canary.

    Args:
        trial: how launches have fared since it became one.
        rule: the image's.
        has_previous: there is another usable upload before it at its provider, which serves.
        now: in UTC seconds.
    """
    if rule.share <= 0.0:
        return Verdict(step=Step.PROMOTE, why="canary-share is 0: nothing is tried")
    if not has_previous:
        return _judge_only(trial, rule, now)
    figures = f"{_figures(trial)}; {_before(trial)}"
    if is_clearly_worse(trial):
        why = f"clearly worse than the image before it (p = {_p_of(trial):.2g}): {figures}"
        return Verdict(step=Step.WITHDRAW, why=why)
    failing = trial.failed >= LEAST_FAILURES
    if trial.ready >= rule.nodes and (not failing or _compared_enough(trial)):
        return Verdict(step=Step.PROMOTE, why=figures)
    if failing and not _could_tell(trial):
        why = f"too few launches of the image before it to compare with: {figures}"
        return Verdict(step=Step.PROBE, probe=_behind(trial, 2), why=why)
    if failing and trial.ready < rule.nodes:
        why = f"both fail, so it looks like the cloud and not the image: {figures}"
        # Both are tried in turn: once the cloud is well again, the two of them must differ.
        probe = _behind(trial, 1)
        return _when_quiet(trial, rule, now, why, probe=probe, every_s=PROBE_FAILING_S)
    why = f"{figures}; {rule.nodes} of it have to become ready"
    return _when_quiet(trial, rule, now, why)


def _judge_only(trial: Trial, rule: Rule, now: float) -> Verdict:
    if trial.ready >= rule.nodes:
        return Verdict(step=Step.PROMOTE, why=f"{_figures(trial)}; there was none before it")
    if why := only_one_fails(trial, rule):
        return Verdict(step=Step.PROBE, why=why, every_s=PROBE_FAILING_S)
    why = f"{_figures(trial)}; {rule.nodes} of it have to become ready, and none is before it"
    return _when_quiet(trial, rule, now, why)


def _when_quiet(
    trial: Trial,
    rule: Rule,
    now: float,
    why: str,
    *,
    probe: Probed = Probed.CANARY,
    every_s: float = PROBE_EVERY_S,
) -> Verdict:
    if now - trial.since < rule.quiet_s:
        return Verdict(step=Step.WAIT, why=why)
    quiet = f"not decided after {rule.quiet_s / 3600:.3g} h"
    return Verdict(step=Step.PROBE, why=f"{quiet}: {why}", probe=probe, every_s=every_s)


def only_one_fails(trial: Trial | None, rule: Rule) -> str:
    """Why an upload that nothing came before must not serve requests; "" where it may.

    There is nothing to withdraw it for, so that it is tried again by probes.
    """
    if trial is None or rule.share <= 0.0:
        return ""
    tried = trial.ready + trial.failed
    if trial.failed < _enough_failures(rule) or trial.ready >= tried * ONLY_READY_SHARE:
        return ""
    return f"its only image fails: {trial.failed} of {tried} launches"


def _enough_failures(rule: Rule) -> int:
    return max(LEAST_FAILURES, rule.nodes)


def first_is_full(trial: Trial | None, rule: Rule, in_flight: int) -> bool:
    """Whether no more launches may begin from an upload that nothing came before.

    It serves all launches, so that nothing else bounds what a bad one costs: until a node of it
    became ready, no more are begun than would have it stop serving, did all of them fail.

    Args:
        trial: how launches from it have fared.
        rule: the image's.
        in_flight: launches from it that are under way.
    """
    if rule.share <= 0.0 or (trial is not None and trial.ready > 0):
        return False
    failed = 0 if trial is None else trial.failed
    return failed + in_flight >= _enough_failures(rule)


# --------------------------------------------------------------------------- who is launched


def may_try(rule: Rule, *, tried: int, launched: int, tried_in_flight: int, in_flight: int) -> bool:
    """Whether the next launch of an image at a provider may be from its canary.

    So that a bad one never costs more than its share: of the launches that were begun, and of
    those under way; and no more at a time than have to become ready.

    Args:
        rule: the image's.
        tried: launches from the canary begun since it became one, however they ended.
        launched: all launches of the image at the provider begun since then, these included.
        tried_in_flight: launches from the canary that are under way.
        in_flight: all launches of the image there that are under way, these included.
    """
    if tried + 1 > _whole(rule.share * (launched + 1)):
        return False
    most = min(rule.nodes, max(1, _whole(rule.share * (in_flight + 1))))
    return tried_in_flight + 1 <= most


def _whole(number: float) -> int:
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    return math.floor(number + 1e-9)


# -------------------------------------------------------------------------- what is compared


def is_clearly_worse(trial: Trial) -> bool:
    """Whether its failures can hardly be chance beside those of the one before."""
    return trial.failed >= LEAST_FAILURES and _p_of(trial) < ALPHA


def _could_tell(trial: Trial) -> bool:
    """Whether the launches of the one before are enough to condemn it, had none of them failed."""
    before = trial.before_ready + trial.before_failed
    return chance_of(trial.ready, trial.failed, before, 0) < ALPHA


def _compared_enough(trial: Trial) -> bool:
    """The same, or so many that no more are waited for."""
    before = trial.before_ready + trial.before_failed
    return _could_tell(trial) or before >= 2 * (trial.ready + trial.failed)


def _behind(trial: Trial, times: int) -> Probed:
    """Of which a launch tells more, where the one before is to have so many times as many."""
    before = trial.before_ready + trial.before_failed
    return Probed.BEFORE if before < times * (trial.ready + trial.failed) else Probed.CANARY


def _p_of(trial: Trial) -> float:
    return chance_of(trial.ready, trial.failed, trial.before_ready, trial.before_failed)


def chance_of(ready: int, failed: int, before_ready: int, before_failed: int) -> float:
    """How likely at least so many of all failures would be the canary's if both were alike.

    Fisher's exact test of the four counts, one-sided: given how many launches each had and how
    many failed in all, the canary's failures follow the hypergeometric distribution. No failure
    gives 1.
    """
    tried, all_failed = ready + failed, failed + before_failed
    everything = tried + before_ready + before_failed
    most = min(tried, all_failed)
    term = math.exp(
        _log_choose(all_failed, failed)
        + _log_choose(everything - all_failed, tried - failed)
        - _log_choose(everything, tried)
    )
    total = 0.0
    for count in range(failed, most + 1):
        total += term
        left = everything - all_failed - tried + count + 1
        if left > 0:
            term *= (all_failed - count) * (tried - count) / ((count + 1) * left)
    return min(1.0, total)


def _log_choose(of: int, chosen: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(chosen + 1) - math.lgamma(of - chosen + 1)


def _figures(trial: Trial) -> str:
    tried = trial.ready + trial.failed
    if not tried:
        return "no launch from it has ended yet"
    return f"{trial.ready} of {tried} launches from it became ready"


def _before(trial: Trial) -> str:
    tried = trial.before_ready + trial.before_failed
    if not tried:
        return "none from the image before it in the same time"
    return f"{trial.before_ready} of {tried} from the image before it in the same time"
