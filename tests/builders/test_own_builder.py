"""The builder of the guide's own example is a plugin that works."""

import re
from pathlib import Path

from tests.builders.workshop import Heard, a_script, an_order, assert_nothing_left
from trellis.plugin_host import Plugin, PluginHost, PluginState, built_in_plugins

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "build-images.md"


class Module:
    """What the guide's text defines."""


def the_example():
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {"__name__": "trellis_mkosi"}
    exec(text, names)
    module = Module()
    vars(module).update(names)
    return module


async def test_example_registers_and_builds(tmp_path, monkeypatch):
    a_script(tmp_path, 'while [ "$1" != --output ]; do shift; done; echo raw > "$2.raw"', "mkosi")
    module = the_example()
    monkeypatch.setitem(
        vars(module)["MkosiBuilder"].build.__globals__,
        "find_program",
        lambda *_: str(tmp_path / "mkosi"),
    )

    host = PluginHost([*built_in_plugins(), Plugin(name="mkosi", load=lambda: module)])

    assert {PluginState.ACTIVE} == {plugin.state for plugin in host.plugins()}
    registration = host.image_builders.get("mkosi")
    config = registration.configuration_class(name="x", type="mkosi", directory=tmp_path)
    order = an_order(tmp_path, "raw")
    (made,) = await registration.factory(config).build(order, Heard())
    assert ("raw", 4) == (made.format, made.size)
    await registration.factory(config).clean(order)
    assert_nothing_left(order)


def test_types_that_come_with_trellis():
    host = PluginHost(built_in_plugins())

    assert ("artifact", "diskimage-builder") == host.image_builders.types()
