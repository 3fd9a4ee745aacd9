"""``%(NODEPOOL_X)`` comes from the environment, and places stay those of the file."""

import pytest

from trellis.config.document import Mark
from trellis.errors import ConfigError
from trellis.nodepool import read_nodepool
from trellis.nodepool.substitution import substitute


def test_variables_are_replaced_and_others_are_not_looked_at():
    text = substitute("a: %(NODEPOOL_A)%(NODEPOOL_B) %(HOME)", {
        "NODEPOOL_A": "x", "NODEPOOL_B": "y", "HOME": "/root",
    })  # fmt: skip

    assert (text.text, text.faults) == ("a: xy %(HOME)", ())


def test_value_is_not_looked_at_again():
    """A value that looks like a placeholder is a value."""
    text = substitute("a: %(NODEPOOL_A)", {"NODEPOOL_A": "%(NODEPOOL_A)"})

    assert text.text == "a: %(NODEPOOL_A)"


def test_places_are_those_of_the_file():
    """Behind a value of another length, of several lines, and within it."""
    text = substitute("a: %(NODEPOOL_A) # b\nc: d", {"NODEPOOL_A": "x\ny: zz"})

    assert text.text == "a: x\ny: zz # b\nc: d"
    assert text.in_file(Mark(0, 0)) == Mark(0, 0)
    assert text.in_file(Mark(1, 3)) == Mark(0, 3)  # zz
    assert text.in_file(Mark(1, 8)) == Mark(0, 19)  # b
    assert text.in_file(Mark(2, 3)) == Mark(1, 3)  # d


def test_fault_behind_a_variable_has_its_place_in_the_file():
    text = "labels: [{name: %(NODEPOOL_LONG), min-ready: x}]"

    with pytest.raises(ConfigError) as caught:
        read_nodepool(text, {"NODEPOOL_LONG": "a"}, file="n.yaml")

    assert caught.value.faults[0].startswith("n.yaml:1:46: labels.0.min-ready:")


def test_variable_that_is_not_set_is_a_fault_each_time():
    """Nodepool would read the placeholder as YAML, and fail somewhere else."""
    with pytest.raises(ConfigError) as caught:
        read_nodepool("a: %(NODEPOOL_A)\n\n b: %(NODEPOOL_B)", {}, file="n.yaml")

    assert [fault.split(" is not set")[0] for fault in caught.value.faults] == [
        "n.yaml:1:4: (top): the environment variable NODEPOOL_A",
        "n.yaml:3:5: (top): the environment variable NODEPOOL_B",
    ]


def test_variable_in_a_comment_need_not_be_set():
    text = substitute("# %(NODEPOOL_A)\na: b # %(NODEPOOL_B)", {})

    assert text.faults == ()


def test_values_are_masked_in_messages():
    text = substitute("%(NODEPOOL_A) %(NODEPOOL_B)", {"NODEPOOL_A": "hunter2", "NODEPOOL_B": "no"})

    assert text.masked("got 'hunter2', no") == "got '%(NODEPOOL_A)', no"
