"""What goes wrong in the demo, so that it is seen how the daemon takes it."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import trio

from trellis.demo.stage import Stage
from trellis.http.local import LocalClient

_FAULTS: Final[dict[str, Any]] = {
    "boot_error": 0.04,
    "no_valid_host": 0.01,
    "delete_error": 0.03,
    "late_address": 0.03,
    "late_address_s": 4.0,
    "lose_answer": 0.01,
    # A server whose create got no answer may be there late; before the daemon settles it.
    "appear_late": 0.5,
    "appear_late_s": [3.0, 8.0],
}
_BEFORE_S: Final = 15.0
_OUTAGE_S: Final = 12.0
_BETWEEN_S: Final = 25.0
_ORDER: Final = (("hpcloud", "refuse"), ("ovh", "gateway"), ("rackspace", "refuse"))
_SHOWS: Final = {"refuse": "refuses all connections", "gateway": "answers all calls with 502"}


async def make_trouble(control: LocalClient, clouds: Sequence[str], stage: Stage) -> None:
    """Let some calls and servers fail, and one cloud after another be down for a while.

    Until cancelled; `end_trouble` puts everything right.
    """
    for name in clouds:
        await control.post(f"/{name}/faults", _FAULTS)
    await trio.sleep(_BEFORE_S)
    for name, kind in itertools.cycle(_ORDER):
        await control.post(f"/{name}/outage", {"kind": kind})
        stage.trouble = f"trouble made: {name} {_SHOWS[kind]} for {_OUTAGE_S:.0f} s"
        stage.tell(stage.trouble)
        await trio.sleep(_OUTAGE_S)
        await control.post(f"/{name}/outage", {"kind": "none"})
        stage.trouble = ""
        stage.tell(f"{name} is back")
        await trio.sleep(_BETWEEN_S)


async def end_trouble(control: LocalClient, clouds: Sequence[str], stage: Stage) -> None:
    """Let the clouds be well from now on."""
    for name in clouds:
        await control.post(f"/{name}/outage", {"kind": "none"})
        await control.post(f"/{name}/faults", {})
    stage.trouble = ""
