"""A cloud whose certificate nobody vouches for, over real TLS on loopback."""

from pathlib import Path
from random import Random

import pytest
import trio

from tests.daemon.loopback import open_port, self_made_certificate, serve_tls
from tests.daemon.stage import MINUTE, Stage, wall
from trellis.http import lane_transports
from trellis.model.status import Health
from trellis.sim.cloud.cloud import SimCloud
from trellis.sim.cloud.spec import CloudSpec

pytestmark = pytest.mark.slow
JUMP_S = 0.2
"""Sockets are real here: the clock jumps only when nothing has come for this long."""


async def test_a_self_made_certificate_is_refused_until_it_is_named(
    tmp_path: Path, nursery, autojump_clock
):
    """No password is sent; the remedy names the key, and writing it is all there is to do."""
    autojump_clock.autojump_threshold = JUMP_S
    certificate, key = self_made_certificate(tmp_path)
    listener, port = await open_port()
    asked: list[str] = []
    stage = Stage(tmp_path)
    cloud = SimCloud(
        CloudSpec(name="alpha"), wall=wall, random=Random(1), root=f"https://127.0.0.1:{port}"
    )

    def answer(request):
        asked.append(request.path)
        return cloud.handle(request)

    nursery.start_soon(serve_tls, listener, answer, certificate, key)
    assert stage.entry is not None
    stage.entry["auth"]["auth_url"] = cloud.auth_url
    stage.write()
    real = lane_transports()

    async with stage.running(
        lambda settings: real(settings) if settings.cloud == "alpha" else stage.wires(settings)
    ):
        status = await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(1 * MINUTE)

        assert f"the certificate of https://127.0.0.1:{port} is not trusted" in status.reason
        assert "cacert of this cloud in clouds.yaml" in status.reason
        told = stage.health_told(Health.UNAVAILABLE)
        assert 1 == len(told), told
        assert [] == asked

        stage.entry["cacert"] = str(certificate)
        stage.write()
        await stage.becomes(Health.AVAILABLE)
    nursery.cancel_scope.cancel()


async def test_a_cacert_that_is_not_there_is_named_and_waited_for(tmp_path: Path, autojump_clock):
    """The file may come later; until then the message names it."""
    certificate, _key = self_made_certificate(tmp_path)
    missing = tmp_path / "authority.pem"
    stage = Stage(tmp_path)
    assert stage.entry is not None
    stage.entry["cacert"] = str(missing)
    stage.write()
    real = lane_transports()

    def checked(settings):
        real(settings)  # makes the TLS context, as production does
        return stage.wires(settings)

    async with stage.running(checked):
        status = await stage.becomes(Health.UNAVAILABLE)
        await trio.sleep(5 * MINUTE)

        assert str(missing) in status.reason
        assert 1 == len(stage.health_told(Health.UNAVAILABLE)), "told at every probe"

        missing.write_bytes(certificate.read_bytes())
        await stage.becomes(Health.AVAILABLE)
