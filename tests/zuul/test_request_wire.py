"""A request's document is read, and written back with our keys alone changed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_zuul.raw_object import MOST_BYTES, NotAnObjectError, read_object
from trellis_zuul.request_wire import (
    RequestDocument,
    UnreadableRequestError,
    ZuulState,
    read_request,
)

OURS = {"state", "state_time", "nodes", "declined_by"}
NEEDED = {"state": "requested", "node_types": ["small"], "requestor": "system"}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(
    st.text().filter(
        lambda key: (
            key
            not in {
                *OURS,
                *NEEDED,
                "provider",
                "tenant_name",
                "event_id",
                "relative_priority",
                "reuse",
            }
        )
    ),
    JSON,
    max_size=8,
)


def a_document(**keys: object) -> RequestDocument:
    return read_request("200-0000000001", json.dumps({**NEEDED, **keys}).encode())


@given(others=DOCUMENTS, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_what_zuul_wrote_comes_back_equal_but_for_our_keys(others, indent, ascii_only):
    text = json.dumps({**others, **NEEDED}, indent=indent, ensure_ascii=ascii_only)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no UTF-8 unless it is escaped
    document = read_request("200-0000000001", data)

    for written, state in (
        (document.pending(5.0), "pending"),
        (document.fulfilled(("0000000001",), 5.0), "fulfilled"),
        (document.declined(("a",), 5.0, failed=True), "failed"),
        (document.declined(("a",), 5.0, failed=False), "requested"),
        (document.begun_again(5.0), "requested"),
    ):
        after = json.loads(written)
        assert state == after["state"]
        assert 5.0 == after["state_time"]
        kept = {key: value for key, value in after.items() if key not in OURS}
        before = {key: value for key, value in {**others, **NEEDED}.items() if key not in OURS}
        assert repr(sorted(before.items(), key=str)) == repr(sorted(kept.items(), key=str))


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_in_words(data):
    with pytest.raises(UnreadableRequestError, match=r"."):
        read_request("200-0000000001", data)


def test_numbers_keep_the_characters_they_were_written_with():
    text = '{"a": 1.10, "b": 1E5, "c": 0.1000000000000000055, "d": 340282366920938463463374607431}'

    written = read_object(text.encode()).encoded({"state": "x"}).decode()

    assert text[:-1] in written


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"node_types": []}, None),
        ({"node_types": [1]}, "node_types"),
        ({"node_types": {"small": 1}}, "node_types"),
        ({"node_types": None}, "node_types"),
        ({"requestor": ""}, "requestor"),
        ({"state": None}, "state"),
        ({"state": "init"}, "state"),
        ({"provider": 3}, "provider"),
        ({"provider": None}, None),
        ({"tenant_name": ["a"]}, "tenant_name"),
        ({"relative_priority": "3"}, "relative_priority"),
        ({"relative_priority": True}, "relative_priority"),
        ({"relative_priority": -1}, "relative_priority"),
        ({"relative_priority": 2**80}, "relative_priority"),
        ({"relative_priority": None}, None),
        ({"declined_by": "all"}, "declined_by"),
        ({"nodes": [7]}, "nodes"),
        ({"reuse": "no"}, "reuse"),
        ({"requestor_data": "opaque"}, None),
        ({"requestor_data": None}, None),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_wrong_types_are_named(keys, wrong):
    if wrong is None:
        a_document(**keys)
        return
    with pytest.raises(UnreadableRequestError, match=wrong):
        a_document(**keys)


@pytest.mark.parametrize("key", sorted(NEEDED))
def test_missing_keys_are_named(key):
    data = json.dumps({k: v for k, v in NEEDED.items() if k != key}).encode()
    with pytest.raises(UnreadableRequestError, match=key):
        read_request("200-0000000001", data)


@pytest.mark.parametrize(
    "text",
    [
        "{} {}",
        '{"a": 1,}',
        '{"a" 1}',
        '{"a": 1 "b": 2}',
        "{1: 2}",
        '{"a": Infinity}',
        '{"a": 01}',
        '{"a": "\t"}',
        "null",
        " ",
    ],
    ids=range(10),
)
def test_what_is_not_quite_json_is_refused(text):
    with pytest.raises(NotAnObjectError):
        read_object(text.encode())


def test_what_no_znode_can_hold_is_refused():
    with pytest.raises(NotAnObjectError, match="most"):
        read_object(b'{"a": "' + b"x" * MOST_BYTES + b'"}')


def test_of_a_key_that_is_there_twice_the_last_counts_as_in_python():
    assert {"a": 2} == dict(read_object(b'{"a": 1, "a": 2}'))


@pytest.mark.parametrize(
    ("request_id", "precedence"),
    [
        ("100-0000000001", 100),
        ("299-0000000001", 299),
        ("900-0000000001", 900),
        ("odd", 200),
        ("١٠٠-1", 200),
    ],
)
def test_the_precedence_is_in_the_name(request_id, precedence):
    assert precedence == read_request(request_id, json.dumps(NEEDED).encode()).precedence


def test_pools_decline_once_each_in_order():
    document = a_document(declined_by=["a", "b"])

    after = json.loads(document.declined(("b", "c"), 1.0, failed=False))

    assert ["a", "b", "c"] == after["declined_by"]


def test_nodes_must_be_as_many_as_labels():
    with pytest.raises(ValueError, match="2 nodes for 1 labels"):
        a_document().fulfilled(("1", "2"), 1.0)


def test_long_texts_are_cut_for_what_trellis_keeps():
    document = a_document(requestor_data={"job_name": "j" * 999, "pipeline_name": 7})

    assert 255 == len(document.metadata()["zuul_job"])
    assert "zuul_pipeline" not in document.metadata()


def test_a_tenant_named_only_in_the_requestors_data_is_found():
    assert "acme" == a_document(requestor_data={"tenant_name": "acme"}).tenant


def test_every_state_of_the_protocol_is_read():
    assert list(ZuulState) == [a_document(state=state.value).state for state in ZuulState]
