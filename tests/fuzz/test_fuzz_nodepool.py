"""Whatever stands in a file that is said to be Nodepool's: read, or refused with its place."""

import re
import string
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.documents import changed, places
from tests.nodepool.example import BUILDER, LAUNCHER, loaded
from trellis.errors import ConfigError
from trellis.nodepool import check_together, compare, convert, read_nodepool, read_secure, sites

PLACE = re.compile(r"^n\.yaml:\d+:\d+: .+", re.MULTILINE)
WHOLE = yaml.safe_load(LAUNCHER) | {
    "diskimages": yaml.safe_load(BUILDER)["diskimages"],
    "webapp": {"port": 1},
    "tenant-resource-limits": [{"tenant-name": "t", "max-servers": 1}],
}
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.binary(max_size=3),
    st.sampled_from(["", "jammy", "base", "fake", "static", "%(NODEPOOL_A)", 2**70, -1, 0]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


def judged(error: ConfigError) -> None:
    """Each fault says where it is, and what is wrong."""
    assert error.faults
    assert all(PLACE.match(fault) for fault in error.faults), error.faults


@st.composite
def documents(draw: st.DrawFn) -> str:
    """The file with some of its values changed, or letters mixed up."""
    tree: Any = WHOLE
    for _ in range(draw(st.integers(1, 2))):
        tree = changed(tree, draw(st.sampled_from(places(tree))), draw(VALUES))
    written: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=draw(st.booleans()))
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(written)))
        junk = draw(st.text(string.printable + "é\x00\x85\u2028\ufeff&*!|>%", max_size=4))
        written = written[:cut] + junk + written[cut + draw(st.integers(0, 3)) :]
    return written


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), st.text(max_size=5))
@example("&a [*a]", "")
@example("[" * 3000, "")
@example("%(NODEPOOL_A)", "[")
@example("providers: [{name: fake}]", "")
@example("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]", "")
def test_any_text_is_converted_or_refused_with_the_place(text, value):
    """And what is converted loads, and compares equal or as told."""
    try:
        file = read_nodepool(text, {"NODEPOOL_A": value}, file="n.yaml")
    except ConfigError as error:
        judged(error)
        return
    (site,) = sites([file])
    converted = convert(site, demand=False)

    differences = compare(site, loaded(converted), converted.changes, converted.images)

    assert [str(one) for one in differences if not one.explained] == []


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(), VALUES.map(yaml.safe_dump)))
@example("diskimages: [{name: x, env-vars: {A: b}}]")
def test_any_text_is_a_secure_file_or_refused(text):
    """Names of images that are not there are faults too."""
    try:
        secure = read_secure(text, {}, file="n.yaml")
        check_together([], [secure])
    except ConfigError as error:
        judged(error)
