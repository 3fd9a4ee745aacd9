"""YAML texts as trees that know their places, and texts that are none."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trellis.config.document import MAX_DEPTH, DocumentError, Mapping, Mark, read_document
from trellis.config.structure import plain


def fatal(text):
    with pytest.raises(DocumentError) as refused:
        read_document(text)
    return refused.value.fault


def test_values_know_their_places():
    """Keys and values carry line and column, both from 0."""
    tree, faults = read_document("a: 1\nb:\n  - x\n  - y: 2\n")

    assert faults == []
    assert tree.entries["b"].mark == Mark(1, 0)
    assert tree.get("b").items[1].get("y").mark == Mark(3, 7)
    assert plain(tree) == {"a": 1, "b": ["x", {"y": 2}]}


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "---\n", "~"])
def test_an_empty_text_is_an_empty_mapping(text):
    tree, _ = read_document(text)

    assert isinstance(tree, Mapping)
    assert tree.entries == {}


def test_a_key_given_twice_is_a_fault_that_names_the_first():
    tree, faults = read_document("a: 1\nb: 2\na: 3\n")

    assert [(f.mark, f.message) for f in faults] == [
        (Mark(2, 0), "key 'a' is given twice (first on line 1)")
    ]
    assert plain(tree) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12: x", "a key must be text, not '12'; quote it"),
        ("on: x", "a key must be text, not 'on'; quote it"),
        ("~: x", "a key must be text, not '~'; quote it"),
        ("? [a, b]\n: x", "a key must be text"),
        ("? {a: b}\n: x", "a key must be text"),
    ],
)
def test_keys_that_are_no_text_are_faults(text, message):
    _, faults = read_document(text)

    assert [f.message for f in faults] == [message]


def test_merge_keys_inherit_and_own_keys_win():
    tree, faults = read_document("base: &b {x: 1, y: 2}\nfrom:\n  <<: *b\n  y: 3\n")

    assert faults == []
    assert plain(tree.get("from")) == {"x": 1, "y": 3}


def test_a_quoted_merge_sign_is_an_ordinary_key():
    tree, _ = read_document("'<<': {x: 1}\n")

    assert plain(tree) == {"<<": {"x": 1}}


def test_merging_what_is_no_mapping_is_a_fault():
    _, faults = read_document("a: {<<: 3}")

    assert [f.message for f in faults] == ["only mappings can be merged"]


@pytest.mark.parametrize("text", ["a: &x [1, *x]", "a: &x {b: *x}", "&x a: &y\n  <<: *y"])
def test_an_alias_within_its_own_anchor_is_refused(text):
    assert "alias within its own anchor" in fatal(text).message


def test_an_unknown_alias_is_refused_without_repeating_what_may_be_a_password():
    fault = fatal("providers:\n  - password: *hunter2\n")

    assert fault.mark == Mark(1, 14)
    assert "quote a text that starts with '*'" in fault.message
    assert "hunter2" not in fault.message


def test_a_tag_is_a_fault_without_repeating_what_may_be_a_password():
    _, faults = read_document("password: !hunter2 x\n")

    assert [f.path for f in faults] == [("password",)]
    assert "hunter2" not in faults[0].message


def test_a_tag_that_names_a_python_object_does_nothing():
    _, faults = read_document("a: !!python/object/apply:os.system [echo]\n")

    assert [f.message for f in faults] == ["tags ('!') are not known here"]


def test_aliases_that_multiply_are_refused_quickly():
    """The billion-laughs document: each level repeats the one before ten times."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]

    started = time.process_time()
    fault = fatal("\n".join(lines))

    assert "aliases counted each time" in fault.message
    assert time.process_time() - started < 1


@pytest.mark.parametrize("text", ["[" * 20000, "- " * 20000, "{a: " * 20000])
def test_deep_nesting_is_refused(text):
    assert f"nested more than {MAX_DEPTH} levels deep" == fatal(text).message


def test_a_second_document_is_refused():
    fault = fatal("a: 1\n---\nb: 2\n")

    assert fault.mark == Mark(1, 0)
    assert "second document" in fault.message


def test_broken_yaml_says_where():
    fault = fatal("a: 1\nb: 'never ends\n\n")

    assert fault.message.startswith("not YAML: found unexpected end of stream")
    assert fault.mark.line >= 1


def test_a_control_character_is_refused_with_its_place():
    fault = fatal("a: 1\nb: x\x07\n")

    assert fault.mark == Mark(1, 4)
    assert fault.message == "character U+0007 is not allowed in YAML"


@pytest.mark.parametrize("text", ["010", "1:30", "1_0:30", "-07"])
def test_numbers_that_yaml_1_1_reads_in_surprising_ways_stay_text(text):
    tree, _ = read_document(f"a: {text}")

    assert plain(tree) == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("-3", -3), ("0x1f", 31), ("1.5", 1.5), ("1e3", "1e3"), ("yes", True), ("'7'", "7")],
)
def test_plain_scalars_have_their_usual_types(text, value):
    tree, _ = read_document(f"a: {text}")

    assert plain(tree) == {"a": value}


def test_a_date_is_a_fault_that_says_to_quote_it():
    _, faults = read_document("release: 2024-01-01")

    assert [f.message for f in faults] == ["dates are not known here; quote the text"]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.text(alphabet="[]{}:,-&*!?|>'\"%#@ \n\tab0<1.~_=", max_size=60),
        st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")),
    )
)
def test_any_text_is_a_tree_or_a_document_error(text):
    """Whatever else is raised fails this test."""
    with contextlib.suppress(DocumentError):
        read_document(text)
