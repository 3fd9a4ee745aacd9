"""The judge of the demo: each promise, broken once, is named; and what holds is not accused."""

import attrs
import pytest

from trellis.demo.judge import TAG_NODE, judge
from trellis.demo.transcript import HandedOut, Transcript
from trellis.demo.truth import CloudTruth, Thing
from trellis.providers import rows
from trellis.sim.cloud.ledger import Fact, Ledger, What

NODE = "0000000001"
OTHER = "0000000002"


def made(server="s1", node=NODE, *, at=10.0, who="ci", name=None):
    return Fact(
        at=at,
        what=What.SERVER_CREATED,
        id=server,
        name=name or f"demo-{node}",
        who=who,
        metadata=((TAG_NODE, node),) if node else (),
    )


def deleting(server="s1", *, at=30.0):
    return Fact(at=at, what=What.SERVER_DELETING, id=server, who="ci")


def handed(server="s1", node=NODE, *, label="small", provider="ovh", az="nova"):
    return HandedOut(node_id=node, external_id=server, provider=provider, az=az, label=label)


def fulfilled(*nodes, requestor="gate-1", labels=None, kept_until=20.0):
    return Transcript(
        requestor=requestor,
        labels=labels or tuple(node.label for node in nodes),
        filed_at=5.0,
        fulfilled_at=15.0,
        nodes=nodes,
        kept_until=kept_until,
        ended="fulfilled",
    )


def cloud(*facts, things=(), ahead=0.0):
    return CloudTruth(
        name="ovh", things=things, ledger=Ledger(facts=list(facts)), clock_ahead_s=ahead
    )


def broken(truth, *transcripts, recorded=(NODE, OTHER)):
    """The promises that are broken, with what speaks against each."""
    verdicts = judge([truth], transcripts, set(recorded))
    return {(x.promise, x.claim): x.against for x in verdicts if not x.held}


def only(found):
    """The one promise that is broken, and the one breach."""
    (((promise, _), against),) = found.items()
    (breach,) = against
    return promise, breach


def test_a_life_as_it_should_be_breaks_nothing():
    """Made, handed out, given back, deleted, gone; a stranger's things stay."""
    truth = cloud(
        made(who="stranger", server="his", node="", at=0.0),
        made(),
        deleting(),
        things=(Thing(kind="server", id="his", who="stranger"),),
    )

    assert {} == broken(truth, fulfilled(handed()))


@pytest.mark.parametrize(
    ("again", "names"),
    [(handed("s1", OTHER), "server s1"), (handed("s2", NODE), f"node {NODE}")],
    ids=["server", "node"],
)
def test_handed_out_twice(again, names):
    """Under one node id or two; both requestors are named."""
    truth = cloud(made(), made("s2", OTHER))

    promise, breach = only(broken(truth, fulfilled(handed()), fulfilled(again, requestor="ada-2")))

    assert "P1" == promise
    assert f"{names} went to gate-1 and to ada-2" == breach


def test_a_server_that_no_cloud_has_made():
    """Handed out without being there."""
    promise, breach = only(broken(cloud(), fulfilled(handed())))

    assert "P1" == promise
    assert "never made" in breach


def test_deleted_before_it_was_given_back():
    """By the cloud's own clock, put right by how far it is ahead."""
    truth = cloud(made(at=1010.0), deleting(at=1019.0), ahead=1000.0)

    promise, breach = only(broken(truth, fulfilled(handed(), kept_until=20.0)))

    assert "P1" == promise
    assert "1.0 s too early" in breach


def test_deleted_and_never_given_back():
    """He still has it, as far as he knows."""
    assert "P1" == only(broken(cloud(made(), deleting()), fulfilled(handed(), kept_until=None)))[0]


@pytest.mark.parametrize("kind", ["server", "floating IP", "port", "keypair", "volume"])
def test_something_of_ours_is_left(kind):
    """Of whatever kind."""
    truth = cloud(made(), deleting(), things=(Thing(kind=kind, id="x7", who="ci"),))

    assert ("P2", f"ovh still has {kind} x7") == only(broken(truth))


def test_a_stranger_was_harmed():
    """The cloud itself says so."""
    harmed = Fact(at=9.0, what=What.STRANGER_HARMED, id="his", detail="deleted")

    assert ("P2", "ovh: a stranger's his was touched: deleted") == only(broken(cloud(harmed)))


@pytest.mark.parametrize("node", ["0000000009", ""], ids=["unknown", "untagged"])
def test_a_server_without_a_record(node):
    """Of a node the daemon does not know, or of none."""
    promise, breach = only(broken(cloud(made(node=node))))

    assert "P3" == promise
    assert "there is no record" in breach


def test_a_create_that_was_carried_out_twice():
    """Two servers of one name."""
    assert ("P3", f"ovh made demo-{NODE} twice: s1 and s2") == only(
        broken(cloud(made(), made("s2")))
    )


@pytest.mark.parametrize(
    ("ended", "says"), [("failed", "failed: no image"), ("", "never ended")], ids=["failed", "open"]
)
def test_a_request_that_came_to_no_good_end(ended, says):
    """Its requestor and its labels are named; one that was cancelled is well."""
    bad = Transcript(
        requestor="ada-3", labels=("small",), filed_at=1.0, ended=ended, reason="no image"
    )
    well = Transcript(requestor="ada-4", labels=("small",), filed_at=1.0, ended="cancelled")

    promise, breach = only(broken(cloud(), bad, well))

    assert "P4" == promise
    assert f"ada-3's request for small {says}" == breach


def refused(count):
    return [Fact(at=20.0, what=What.QUOTA_REFUSED, who="ci") for _ in range(count)]


def test_one_node_made_in_two_clouds():
    verdicts = judge(
        [cloud(made("s1")), cloud(made("s2", name="other"))], [fulfilled(handed())], {NODE}
    )

    assert [x.promise for x in verdicts if not x.held] == ["P3"]


def given_up(count, every_s):
    return [
        Transcript(
            requestor=f"r{number}", labels=("small",), filed_at=number * every_s, ended="cancelled"
        )
        for number in range(count)
    ]


def test_nobody_was_served_in_all_that_time():
    """Requests that are all given up at the end came to an end, and to nothing."""
    _, breach = only(broken(cloud(), *given_up(40, every_s=1.0)))

    assert "none of 40 requests was served" in breach


def test_a_run_that_was_over_at_once_is_not_accused_of_it():
    assert broken(cloud(), *given_up(3, every_s=1.0)) == {}


def test_too_many_creates_were_refused_for_quota():
    """One in a hundred is allowed, two are not; a stranger's change excuses one."""
    facts = [made(f"s{n}", f"{n:010d}", at=10.0) for n in range(98)]
    recorded = [f"{n:010d}" for n in range(98)]
    change = made("his", "", at=15.0, who="stranger")

    assert {} == broken(cloud(*facts, *refused(1)), recorded=recorded)
    assert {} == broken(cloud(*facts, change, *refused(2)), recorded=recorded)
    promise, breach = only(broken(cloud(*facts, *refused(2)), recorded=recorded))

    assert "P6" == promise
    assert "ovh refused 2 of 100" in breach


def test_what_a_stranger_had_from_the_start_excuses_no_refusal():
    """It was there to be seen."""
    truth = cloud(made("his", "", at=0.0, who="stranger"), made(), *refused(2))

    assert "P6" == only(broken(truth))[0]


SET = (handed(), handed("s2", OTHER, label="large"))
MADE_SET = (made(), made("s2", OTHER))


@pytest.mark.parametrize("place", [{"provider": "hp"}, {"az": "az2"}], ids=["provider", "zone"])
def test_a_set_in_two_places(place):
    """On two providers, or in two zones of one."""
    apart = (SET[0], attrs.evolve(SET[1], **place))

    assert "P9" == only(broken(cloud(*MADE_SET), fulfilled(*apart)))[0]


def test_a_set_that_is_not_what_was_asked_for():
    """Its nodes are in the order of the labels."""
    assert "P9" == only(broken(cloud(*MADE_SET), fulfilled(*SET, labels=("large", "small"))))[0]


def test_the_judge_knows_the_tag_as_it_is_written():
    """It does not take the name from the code that it judges, so the two must agree."""
    assert rows.TAG_NODE == TAG_NODE
