"""The version of the plugin interface, and what becomes of a plugin that is built for another.

A plugin's module says ``trellis_spi_version = 1``; one that works with several says all of them,
as ``trellis_spi_version = (1, 2)``, and is used by the newest that both sides have.
"""

from collections.abc import Sequence
from typing import Final

from trellis.errors import PluginError
from trellis.spi.provider import SPI_VERSION

OLDEST_SPI_VERSION: Final = 1
"""The oldest version that plugins may still be built for."""
FIRST_SPI_VERSION: Final = 1
"""What a plugin is built for that does not say."""

SUPPORTED: Final = tuple(range(OLDEST_SPI_VERSION, SPI_VERSION + 1))


def negotiated(
    declared: object, distribution: str, release: str, supported: Sequence[int] = SUPPORTED
) -> int:
    """The version to use a plugin by: the newest that it and this Trellis have.

    Args:
        declared: its ``trellis_spi_version``; None if it has none.
        distribution: of the plugin, which may have to be upgraded.
        release: of this Trellis, for the message.
        supported: versions that this Trellis has.

    Raises:
        PluginError: there is none, and what to upgrade to which; or what is declared is none.
    """
    versions = _versions(declared)
    common = versions & set(supported)
    if common:
        return max(common)
    built = _listed(sorted(versions))
    here = _listed(sorted(supported))
    said = "" if declared is not None else " (it does not say, and that was the first)"
    wrong = f"it is built for version {built} of the SPI{said}, this Trellis has {here}"
    if min(versions) > max(supported):
        raise PluginError(
            f"{wrong}: upgrade trellis-ci from {release} to a release that has version "
            f"{min(versions)}, or install an older release of {distribution}, built for "
            f"{max(supported)}"
        )
    raise PluginError(
        f"{wrong}: upgrade {distribution} to a release built for version {max(supported)}, or "
        f"stay with a release of trellis-ci that has version {max(versions)}"
    )


def _versions(declared: object) -> set[int]:
    if declared is None:
        return {FIRST_SPI_VERSION}
    several = isinstance(declared, tuple | list | set | frozenset | range)
    found = list(declared) if several else [declared]  # type: ignore[call-overload]
    if not found or not all(type(one) is int and one > 0 for one in found):
        raise PluginError(
            f"trellis_spi_version is {declared!r}: write the version of the SPI that the plugin is "
            f"built for, a whole number as {SPI_VERSION}, or several as ({SPI_VERSION}, "
            f"{SPI_VERSION + 1})"
        )
    return set(found)


def _listed(versions: Sequence[int]) -> str:
    *others, last = (str(version) for version in versions)
    return f"{', '.join(others)} or {last}" if others else last
