"""Troubles: each has its own error, and none makes a server that nobody knows."""

import attrs
import pytest
import trio

from trellis.errors import (
    AnswerLostError,
    CloudBrokenError,
    NoCapacityError,
    QuotaExceededError,
    RetryLaterError,
    UnreachableError,
)
from trellis.sim.cloud import Faults, OutageKind, RateLimit, SimCloud, What
from trellis.spi.provider import InstanceState
from trellis.testing.checks.needs import check, needs_twin
from trellis.testing.trial import Trial

_BETWEEN_TOKENS_S = 1800.0
_REFILLED_IN_S = 300.0


class TroubleChecks:
    """What a provider makes of a cloud that refuses, fails or does not answer."""

    @check
    async def test_refusal_for_quota_is_typed(self, trial_clock: object, trial: Trial) -> None:
        """The core waits for room, and does not count it as a failure of the node."""
        twin = needs_twin(trial, "be full")
        intent = await trial.intent()
        await trial.provider.create_turn()
        there = len(twin.servers())
        twin.change(quota=attrs.evolve(twin.spec.quota, instances=0))

        with pytest.raises(QuotaExceededError):
            await trial.provider.create(intent)

        assert len(twin.servers()) == there, "it was refused, and there is a server more"

    @check
    async def test_want_of_capacity_is_typed(self, trial_clock: object, trial: Trial) -> None:
        """*No valid host* is no fault of the node: the server's fault says so."""
        twin = needs_twin(trial, "have no host left")
        intent = await trial.intent()
        twin.change(faults=Faults(no_valid_host=1.0))
        try:
            external_id = await trial.create(intent)
        except NoCapacityError:
            return
        server = await trial.becomes(external_id, InstanceState.ERROR)

        assert isinstance(server.fault, NoCapacityError), f"the fault is {server.fault!r}"

    @check
    async def test_failed_build_is_an_error(self, trial_clock: object, trial: Trial) -> None:
        """Any other failure of a build is the attempt's, and no want of capacity or quota."""
        twin = needs_twin(trial, "fail")
        intent = await trial.intent()
        twin.change(faults=Faults(boot_error=1.0))

        server = await trial.becomes(await trial.create(intent), InstanceState.ERROR)

        twin.change(faults=Faults())
        wrong = isinstance(server.fault, NoCapacityError | QuotaExceededError)
        assert not wrong, f"the fault is {server.fault!r}"

    @check
    async def test_lost_answer_is_found_again(self, trial_clock: object, trial: Trial) -> None:
        """The create is not sent twice, and what it made is found by its tag."""
        twin = needs_twin(trial, "lose an answer")
        intent = await trial.intent()
        await trial.provider.create_turn()
        twin.change(faults=Faults(lose_answer=1.0))

        with pytest.raises((AnswerLostError, CloudBrokenError)):
            await trial.provider.create(intent)

        twin.change(faults=Faults())
        made = _named(twin, intent.name)
        assert len(made) == 1, f"a create whose answer was lost made {len(made)} servers"
        found = await trial.provider.find(intent.tag, intent.name)
        assert found is not None, "what was made is not found by its tag"
        assert found.external_id == made[0], f"found {found.external_id}, and not {made[0]}"

    @check
    async def test_create_that_reaches_nobody_made_nothing(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """A connection that is refused is told apart from an answer that was lost."""
        twin = needs_twin(trial, "refuse connections")
        intent = await trial.intent()
        await trial.provider.create_turn()
        twin.set_outage(OutageKind.REFUSE)

        with pytest.raises(UnreachableError):
            await trial.provider.create(intent)

        twin.set_outage(None)
        assert not _named(twin, intent.name), "it reached nobody, and there is a server"

    @check
    async def test_token_that_ends_is_renewed_unseen(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """In the middle of a life: each call is answered, and a create makes one server."""
        twin = needs_twin(trial, "end a token")
        intent = await trial.intent()
        await trial.provider.create_turn()
        twin.revoke_all()
        external_id = await trial.provider.create(intent)
        assert _named(twin, intent.name) == [external_id], "a create with an old token is not one"

        for call in (
            lambda: trial.becomes(external_id, InstanceState.ACTIVE),
            lambda: trial.provider.list(None),
            lambda: trial.provider.find(intent.tag, intent.name),
            lambda: trial.provider.limits(),
            lambda: trial.provider.find_leftovers(),
        ):
            # One that ends right after the other looks like a cloud that is out of order.
            await trio.sleep(_BETWEEN_TOKENS_S)
            twin.revoke_all()
            await call()
        await trio.sleep(twin.spec.token_lifetime_s + _BETWEEN_TOKENS_S)
        assert external_id in [row.external_id for row in await trial.ours()]

    @check
    async def test_rate_limit_is_typed(self, trial_clock: object, trial: Trial) -> None:
        """A create over the limit makes nothing, and says when to come again or has waited."""
        twin = needs_twin(trial, "limit its calls")
        first, second = await trial.intent(), await trial.intent()
        limit = RateLimit(calls=1.0, per_s=_REFILLED_IN_S, service="compute", method="POST")
        await trial.provider.create_turn()
        twin.change(rate_limits=(limit,))

        await trial.provider.create(first)
        await trial.provider.create_turn()
        made = True
        try:
            await trial.provider.create(second)
        except RetryLaterError:
            made = False

        refused = twin.ledger.of(What.RATE_LIMITED)
        assert refused or not made, "two creates at once were let through, so nothing was shown"
        there = _named(twin, second.name)
        assert len(there) == made, f"it is said that {int(made)} was made, and {len(there)} was"


def _named(twin: SimCloud, name: str) -> list[str]:
    return [server.id for server in twin.servers() if server.name == name]
