"""What ``pytest --live`` says: the cloud to run conformance tests on, and what to launch there."""

import attrs
import pytest


@attrs.frozen(kw_only=True)
class Live:
    """A live cloud, as the command line names it.

    Attributes:
        cloud: an entry of ``clouds.yaml``.
        region: one of its regions; None for its first.
        image: name or id of an image that the cloud has.
        flavor: name or id of a flavor; None for the smallest.
        networks: names or ids; empty leaves the choice to the cloud.
        connects: whether servers are connected to: they must boot, and be reached from here.
    """

    cloud: str
    region: str | None
    image: str
    flavor: str | None
    networks: tuple[str, ...]
    connects: bool


def add_options(parser: pytest.Parser) -> None:
    """Add ``--live`` and what belongs to it."""
    group = parser.getgroup("trellis", "conformance tests of Trellis providers")
    group.addoption(
        "--live", metavar="CLOUD", help="run them on this entry of clouds.yaml, not on the twin"
    )
    group.addoption("--live-region", metavar="REGION", help="one of its regions")
    group.addoption("--live-image", metavar="NAME", help="the image that servers boot")
    group.addoption("--live-flavor", metavar="NAME", help="their flavor; else the smallest")
    group.addoption(
        "--live-network",
        metavar="NAME",
        action="append",
        default=[],
        help="their network; may be given several times",
    )
    group.addoption(
        "--live-connect", action="store_true", help="connect to servers, as to a node that boots"
    )


def live_of(config: pytest.Config) -> Live | None:
    """What the command line says; None without ``--live``.

    Raises:
        pytest.UsageError: it names no image.
    """
    cloud = config.getoption("--live", default=None)
    if cloud is None:
        return None
    image = config.getoption("--live-image")
    if image is None:
        raise pytest.UsageError(
            "--live needs --live-image NAME: an image that the cloud has, for servers to boot"
        )
    return Live(
        cloud=cloud,
        region=config.getoption("--live-region"),
        image=image,
        flavor=config.getoption("--live-flavor"),
        networks=tuple(config.getoption("--live-network")),
        connects=config.getoption("--live-connect"),
    )
