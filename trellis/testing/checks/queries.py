"""Questions: they answer, say what is missing, and change nothing."""

import pytest

from trellis.errors import AuthError, CloudError
from trellis.model.quota import RESOURCE_NAMES
from trellis.sim.cloud import OutageKind, SimCloud
from trellis.spi.provider import Capability, InstanceState
from trellis.testing.checks.needs import check, needs_twin
from trellis.testing.trial import ABSENT, LABEL, POOL, Trial, beyond


class QueryChecks:
    """What inventory, limits, home and others answer."""

    @check
    async def test_capabilities_are_told(self, trial_clock: object, trial: Trial) -> None:
        """A frozenset of `Capability`: the core asks it before it calls."""
        told = trial.provider.capabilities

        assert isinstance(told, frozenset), f"capabilities are {told!r}, not a frozenset"
        strange = [one for one in told if not isinstance(one, Capability)]
        assert not strange, f"capabilities that are none: {strange}"

    @check
    async def test_inventory_resolves_what_is_there(
        self, trial_clock: object, trial: Trial
    ) -> None:
        """The label is offered, with its size; the one that cannot be had is told in words."""
        inventory = await trial.provider.inventory()

        assert (POOL, LABEL) in inventory.offers, f"not offered: {dict(inventory.missing)}"
        offer = inventory.offers[POOL, LABEL]
        assert (offer.pool, offer.label) == (POOL, LABEL)
        size = offer.shape.resources
        assert size.instances == 1, f"a node is one instance, not {size.instances}"
        assert size.cores >= 1, "the flavor's cores are not told"
        assert size.ram_mib >= 1, "the flavor's memory is not told"
        if ABSENT in [label.name for pool in trial.config.pools for label in pool.labels]:
            assert (POOL, ABSENT) not in inventory.offers, "a flavor that no cloud has is offered"
            assert inventory.missing.get((POOL, ABSENT)), "what the cloud lacks is not told"

    @check
    async def test_home_is_that_of_every_answer(self, trial_clock: object, trial: Trial) -> None:
        """Project, region and endpoint are told, and the same wherever they are told."""
        home = await trial.provider.home()
        inventory = await trial.provider.inventory()
        listing = await trial.provider.list(None)

        assert home.project_id, "the project is not told"
        assert home.endpoint, "the endpoint is not told"
        assert inventory.home == home, "the inventory was read at another home"
        assert listing.home == home, "the list was read at another home"

    @check
    async def test_limits_are_readable(self, trial_clock: object, trial: Trial) -> None:
        """Each limit is a number, unlimited or unknown; what is used is a whole number."""
        reading = await trial.provider.limits()

        for name in RESOURCE_NAMES:
            limit, used = getattr(reading.limits, name), getattr(reading.used, name)
            assert beyond(limit) or limit >= 0, f"the limit of {name} is {limit}"
            assert isinstance(used, int), f"what is used of {name} is {used!r}"
            assert used >= 0, f"what is used of {name} is {used}"

    @check
    async def test_queries_change_nothing(self, trial_clock: object, trial: Trial) -> None:
        """Whatever is asked, nothing but a login is sent that could change something."""
        twin = needs_twin(trial, "count the calls that change something")
        server = await trial.active(intent := await trial.intent())
        before = _changes(twin)

        await trial.provider.inventory()
        await trial.provider.limits()
        await trial.provider.home()
        listing = await trial.provider.list(None)
        await trial.provider.list(listing.newest)
        await trial.provider.find(intent.tag, intent.name)
        await trial.provider.get(server.external_id)
        await trial.provider.find_leftovers()

        made = {call: n for call, n in _changes(twin).items() if n != before.get(call)}
        assert not made, f"a question changed something: {', '.join(made)}"

    @check
    async def test_console_is_text(self, trial_clock: object, trial: Trial) -> None:
        """Its end, or nothing where the cloud has none."""
        server = await trial.active(await trial.intent())

        log = await trial.provider.console_log(server.external_id, 10)

        assert isinstance(log, str), f"the console is {log!r}, and no text"

    @check
    async def test_refused_login_is_an_auth_error(self, trial_clock: object, trial: Trial) -> None:
        """And no secret stands in what it says."""
        twin = needs_twin(trial, "change the password")
        secrets = _secrets(twin)
        twin.change(outages=())
        twin.set_outage(OutageKind.LOCKED)

        with pytest.raises(AuthError) as refused:
            await trial.provider.home()

        twin.set_outage(None)
        told = [secret for secret in secrets if secret in str(refused.value)]
        assert not told, "the error tells a secret"

    @check
    async def test_dead_cloud_is_a_cloud_error(self, trial_clock: object, trial: Trial) -> None:
        """Whatever is asked of it; and once it is back, so are the answers."""
        twin = needs_twin(trial, "be down")
        await trial.provider.inventory()
        for kind in (OutageKind.REFUSE, OutageKind.GATEWAY):
            twin.set_outage(kind)
            with pytest.raises(CloudError):
                await trial.provider.list(None)
            with pytest.raises(CloudError):
                await trial.provider.limits()
            with pytest.raises(CloudError):
                await trial.provider.get("00000000-0000-4000-a000-000000000000")

        twin.set_outage(None)
        server = await trial.active(await trial.intent())
        assert server.state is InstanceState.ACTIVE


def _changes(twin: SimCloud) -> dict[str, int]:
    """Calls so far that may have changed something, but for logins."""
    return {
        call: count
        for call, count in twin.ledger.calls.items()
        if not call.startswith("GET ") and " identity " not in call
    }


def _secrets(twin: SimCloud) -> tuple[str, ...]:
    who = twin.spec.credentials
    return (who.password, who.application_credential_secret, who.api_key, who.secret_key)
