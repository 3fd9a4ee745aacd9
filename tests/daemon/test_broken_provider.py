"""A plugin's provider breaks its contract while it runs: the others serve on, nothing is lost."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
import trio

from tests.daemon.stage import MINUTE, Stage
from trellis.model.status import Health
from trellis.plugin_host import Plugin, PluginHost, built_in_plugins
from trellis.providers.config import OpenStackProviderConfig
from trellis.providers.openstack import OpenStackProvider
from trellis.spi.hooks import hookimpl
from trellis.spi.registry import ProviderContext, ProviderRegistry

pytestmark = pytest.mark.slow

BROKEN = ("inventory", "limits", "create_turn", "create", "list", "delete_step", "home")
"""What a launch, a deletion and a start call when nothing else goes wrong."""
TEXT = """
deployment: stage
labels: [{name: small}]
providers:
  - name: alpha
    type: shaky
    cloud: alpha
    pools: &pools
      - name: main
        max-servers: 10
        labels: [{name: small, cloud-image: tiny, flavor-name: ci-1c-1g}]
  - {name: beta, type: openstack, cloud: beta, pools: *pools}
"""


def raises() -> Any:
    raise ZeroDivisionError("a bug of the plugin")


def answers_nonsense() -> Any:
    return "nonsense"


@attrs.define
class Switch:
    """Breaks one method of every provider of the type `shaky`, while it is on."""

    method: str
    instead: Callable[[], Any]
    on: bool = False
    met: int = 0


def shaky(switch: Switch) -> type[OpenStackProvider]:
    """A provider class with the method broken as the switch says."""
    inner = getattr(OpenStackProvider, switch.method)

    async def broken(self: OpenStackProvider, *words: Any, **names: Any) -> Any:
        if not switch.on:
            return await inner(self, *words, **names)
        switch.met += 1
        await trio.lowlevel.checkpoint()
        return switch.instead()

    return type("Shaky", (OpenStackProvider,), {switch.method: broken})


def with_shaky(switch: Switch) -> ProviderRegistry:
    """The types there are, with one of a plugin."""
    provider = shaky(switch)

    def make(config: OpenStackProviderConfig, context: ProviderContext) -> OpenStackProvider:
        return provider(config, context.session, context.deployment, settings=context.settings)

    @hookimpl
    def trellis_register_providers(register: ProviderRegistry) -> None:
        register.add("shaky", make, OpenStackProviderConfig)

    module = ModuleType("shaky")
    vars(module).update(trellis_register_providers=trellis_register_providers)
    plugin = Plugin(name="shaky", load=lambda: module, origin="a test", version="1")
    host = PluginHost((*built_in_plugins(), plugin))
    assert not any(one.problem for one in host.plugins()), host.plugins()
    return host.providers


@pytest.mark.parametrize("instead", [raises, answers_nonsense])
@pytest.mark.parametrize("method", BROKEN)
async def test_a_plugin_with_a_bug_harms_itself_alone(method, instead, tmp_path, autojump_clock):
    """From a restart on, for ten minutes; then the bug is gone, and so is all that it left."""
    switch = Switch(method, instead)
    stage = Stage(tmp_path, configuration=TEXT, types=with_shaky(switch))
    async with stage.running():
        await stage.becomes(Health.AVAILABLE)
        await stage.becomes(Health.AVAILABLE, name="beta")
        leased = [await stage.served(await stage.ask("alpha")) for _ in range(3)]
    switch.on = True
    async with stage.running():
        await stage.becomes(Health.AVAILABLE, name="beta")
        await stage.release(leased[0])
        waiting = [await stage.ask() for _ in range(6)]
        for _ in range(3):
            mine = await stage.served(await stage.ask("beta"), within_s=2 * MINUTE)
            await stage.release(mine)
        await trio.sleep(10 * MINUTE)
        assert switch.met, f"{method} is never called"
        switch.on = False
        for one in waiting:
            await stage.release(await stage.served(one, within_s=30 * MINUTE))
        for request in leased[1:]:
            await stage.release(request)
        await trio.sleep(30 * MINUTE)
        assert stage.alpha.servers() == stage.clouds["beta"].servers() == ()

    errors = [event for event in stage.events if event["log_level"] == "error"]
    about = {str(event.get("provider") or event.get("task")) for event in errors}
    assert "beta" not in " ".join(about)
    if instead is raises:
        assert any("a bug of the plugin" in repr(event) for event in errors), errors
