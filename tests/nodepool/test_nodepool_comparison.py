"""The check of a conversion sees what is not the same, and shows no secret."""

import attrs
import pytest

from tests.nodepool.example import BUILDER, LAUNCHER, loaded, site_of
from trellis.nodepool import compare, convert


@pytest.fixture(scope="module")
def site():
    return site_of(LAUNCHER, BUILDER)


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("max-servers: 140", "max-servers: 141", "pool rax-dfw main max-servers: 140 with"),
        ("min-ram: 8192", "min-ram: 8193", "offer rax-dfw main jammy min-ram: 8192 with Nodepool"),
        ("flavor-name: P", "flavor-name: Q", "offer rax-dfw main jammy flavor-name"),
        ("            config-drive: true\n", "", "offer rax-dfw main jammy config-drive: True"),
        ("cloud: rax", "cloud: ovh", "provider rax-dfw cloud: 'rax' with Nodepool, 'ovh' here"),
        ("launch-timeout: 1h", "launch-timeout: 2h", "provider rax-dfw launch-timeout: 3600.0"),
        ("calls-per-second: 100", "calls-per-second: 99", "provider rax-dfw calls-per-second"),
        ("min-ready: 2", "min-ready: 3", "label jammy min-ready: 2 with Nodepool, 3 here"),
        ("elements: [ubuntu-minimal]", "elements: [debian]", "image ubuntu-jammy elements"),
        ("DIB_JOURNAL_SIZE: '512'", "X: secret", "image ubuntu-jammy env-vars: not the same"),
        ("os_type: linux", "os_type: secret", "upload ubuntu-jammy rax-dfw properties: not the"),
        ("pools:\n      - name: main", "pools:\n      - name: other", "pool rax-dfw main"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_the_same_is_a_difference(site, old, new, difference):
    """Each is planted into a result that is the same otherwise."""
    right = convert(site, demand=False)
    assert old in right.text
    wrong = attrs.evolve(right, text=right.text.replace(old, new, 1))

    found = compare(site, loaded(wrong), right.changes, right.images)

    assert any(str(one).startswith(difference) for one in found if not one.explained)
    assert "secret" not in " ".join(map(str, found))
    assert compare(site, loaded(right), right.changes, right.images) == ()


def test_what_is_gone_and_what_is_new_are_differences(site):
    """A label that no file of Nodepool has, and one that the result lacks."""
    right = convert(site, demand=False)
    wrong = attrs.evolve(right, text=right.text.replace("name: jammy", "name: other"))

    facts = {one.fact[:2] for one in compare(site, loaded(wrong), right.changes)}

    assert {("label", "jammy"), ("label", "other")} <= facts


def test_change_explains_the_difference_that_it_tells_of():
    """And no other."""
    text = LAUNCHER.replace("max-servers: 140", "max-servers: 140\n        priority: -1")
    site = site_of(text, BUILDER)
    right = convert(site, demand=False)

    (one,) = compare(site, loaded(right), right.changes, right.images)

    assert one.explained
    assert str(one) == "pool rax-dfw main priority: -1 with Nodepool, 0 here"
