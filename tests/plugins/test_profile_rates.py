"""What a profile lets through in any span is what its cloud is said to allow in it.

A cloud may count in whole minutes or days, or as calls leak away: a burst at the end of a quiet
time comes on top of what the rate allows.
"""

import pytest
from trellis_ovh.profiles import PROFILES as OVHS
from trellis_rackspace.classic import PROFILE as RACKSPACE

SAID = [
    (RACKSPACE, "rate.compute.create", 100, 60.0),
    (RACKSPACE, "rate.compute.read", 1000, 60.0),
    *((ovh, "rate.identity", 60, 60.0) for ovh in OVHS),
    *((ovh, "rate.compute", 20, 1.0) for ovh in OVHS),
]
"""By the project's survey of clouds, part 1 §8: so many calls in so many seconds."""


@pytest.mark.parametrize(
    ("profile", "name", "calls", "span_s"),
    SAID,
    ids=[f"{profile.name}-{name}" for profile, name, _, _ in SAID],
)
def test_no_span_sees_more_calls_than_the_cloud_allows(profile, name, calls, span_s):
    """Whenever it begins."""
    (limit,) = [quirk.value for quirk in profile.quirks if quirk.name == name]

    assert limit.burst + limit.per_s * span_s <= calls
    assert limit.burst + limit.per_s * span_s >= 0.9 * calls, "much slower than allowed"
