"""The public kit for tests: of Trellis itself, and of plugins that others write.

Knows the SPI, the clients and the simulator; nothing that runs in production imports it. Names
are imported when they are asked for, since some need ``trellis-ci[testing]``.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trellis.sim.cloud import Behaviour as Behaviour
    from trellis.sim.cloud import CloudSpec as CloudSpec
    from trellis.sim.cloud import SimCloud as SimCloud
    from trellis.sim.cloud import SimTransport as SimTransport
    from trellis.sim.cloud import direct_networks as direct_networks
    from trellis.sim.cloud import floating_networks as floating_networks
    from trellis.testing.cassette import CassetteError as CassetteError
    from trellis.testing.cassette import CassetteTransport as CassetteTransport
    from trellis.testing.cassette import Provenance as Provenance
    from trellis.testing.cassette import Recording as Recording
    from trellis.testing.cassette import open_cassette as open_cassette
    from trellis.testing.cassette import read_provenance as read_provenance
    from trellis.testing.conformance import ProviderConformance as ProviderConformance
    from trellis.testing.quirk_stories import QuirkStories as QuirkStories
    from trellis.testing.quirk_stories import Told as Told
    from trellis.testing.recording import tell_again as tell_again
    from trellis.testing.secrets import find_secrets as find_secrets
    from trellis.testing.stage import Stage as Stage
    from trellis.testing.trial import Trial as Trial

_WHERE: Final = {
    "Behaviour": "trellis.sim.cloud",
    "CassetteError": "trellis.testing.cassette",
    "CassetteTransport": "trellis.testing.cassette",
    "CloudSpec": "trellis.sim.cloud",
    "Provenance": "trellis.testing.cassette",
    "ProviderConformance": "trellis.testing.conformance",
    "QuirkStories": "trellis.testing.quirk_stories",
    "Recording": "trellis.testing.cassette",
    "SimCloud": "trellis.sim.cloud",
    "SimTransport": "trellis.sim.cloud",
    "Stage": "trellis.testing.stage",
    "Told": "trellis.testing.quirk_stories",
    "Trial": "trellis.testing.trial",
    "builders": "trellis.testing",
    "direct_networks": "trellis.sim.cloud",
    "find_secrets": "trellis.testing.secrets",
    "floating_networks": "trellis.sim.cloud",
    "open_cassette": "trellis.testing.cassette",
    "read_provenance": "trellis.testing.cassette",
    "tell_again": "trellis.testing.recording",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "builders":
        return importlib.import_module("trellis.testing.builders")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
