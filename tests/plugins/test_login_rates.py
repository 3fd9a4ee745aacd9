"""`rate.identity` holds for logins of every kind, and for all entries of one user together."""

from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Meddler, Stage, wall
from trellis.accounts import Accounts
from trellis.config import parse
from trellis.http.buckets import Limit
from trellis.openstack.profile import CloudProfile, Quirk
from trellis.providers import register_profile
from trellis.sim.cloud.ledger import What
from trellis.sim.cloud.spec import CloudSpec, IdentityVersions, RateLimit
from trellis.spi.registry import ProviderRegistry
from trellis.world import World

SLOW = Quirk(
    name="rate.identity",
    value=Limit(per_s=0.5, burst=5.0),
    section="8",
    does="Takes ten logins in a quarter of a minute.",
    evidence="made up for this test",
    era="2026",
    check="look at the test",
)
LIMIT = RateLimit(service="identity", calls=10, per_s=20.0, retry_after=False)
CLOUD = CloudSpec(name="alpha", identity=IdentityVersions.BOTH, rate_limits=(LIMIT,))
PROJECT = {"project_name": "ci", "project_domain_name": "Default"}
USER = {"username": "ci", "password": "sim-password"}
DOMAIN = {"user_domain_name": "Default"}
CREDENTIAL = {
    "application_credential_id": CLOUD.credentials.application_credential_id,
    "application_credential_secret": CLOUD.credentials.application_credential_secret,
}
KINDS = {
    "v2password": ("/identity/v2.0", {**USER, "tenant_name": "ci"}),
    "v3password": ("/identity/v3", {**USER, **DOMAIN, **PROJECT}),
    "password": ("/identity/v3", {**USER, **DOMAIN, **PROJECT}),
    "v3applicationcredential": ("/identity/v3", CREDENTIAL),
}


async def log_in_everywhere(folder: Path, kind: str, *, entries: int) -> Stage:
    """Have the accounts of so many alike entries log in at once; returns the stage."""
    types = ProviderRegistry()
    register_profile(
        types, CloudProfile(name="acme", title="Acme", status="made up", quirks=(SLOW,))
    )
    register_profile(types, CloudProfile(name="openstack", title="Stock", status="made up"))
    stage = Stage(folder, alpha=CLOUD, types=types)
    path, auth = KINDS[kind]
    url = stage.alpha.root + path
    stage.entry = {"auth_type": kind, "region_name": "RegionOne", "auth": {**auth, "auth_url": url}}
    stage.write()
    text = stage.configuration.replace("type: openstack", "type: acme", 1)
    alpha = parse(text, types, file="stage", folder=folder).configuration.providers[0]

    def read(name, region, *, profile=None):
        return attrs.evolve(stage.read("alpha", region, profile=profile), name=name)

    configs = [attrs.evolve(alpha, name=f"p{n}", cloud=f"entry-{n}") for n in range(entries)]
    accounts = Accounts(
        read=read,
        registry=types,
        deployment="stage",
        world=World(
            wall=wall,
            random=Random(1),
            connect=None,
            transport=lambda _: Meddler(stage, "alpha"),
        ),
        configs=configs,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.run)
        made = [(await accounts.connect(config)).provider for config in configs]
        async with trio.open_nursery() as logins:
            for provider in made:
                logins.start_soon(provider.home)
        nursery.cancel_scope.cancel()
    return stage


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_logins_of_one_user_wait_for_their_turn(kind, tmp_path, autojump_clock):
    """Of v2 and v3, with discovery and without; none is refused, and all are made."""
    stage = await log_in_everywhere(tmp_path, kind, entries=20)

    ledger = stage.alpha.ledger
    assert ledger.of(What.RATE_LIMITED) == []
    assert len(ledger.of(What.LOGIN)) == 20
    assert 25.0 < trio.current_time() < 2 * MINUTE
