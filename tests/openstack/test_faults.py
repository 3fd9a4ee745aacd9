"""What clouds say when they refuse: recorded and documented answers, and what they mean."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trellis.errors import (
    AuthError,
    CloudBrokenError,
    ConflictingStateError,
    MisconfiguredError,
    NoCapacityError,
    NotFoundError,
    QuotaExceededError,
    RejectedError,
    RetryLaterError,
    StaleOfferError,
)
from trellis.http.message import Answer
from trellis.openstack.faults import (
    ANSWERS,
    FAULTS,
    Row,
    error_from,
    error_from_fault,
    login_remedy,
)

RECORDED = Path(__file__).parents[1] / "realcloud" / "real-api-samples.yaml"

BY_STATUS = {
    400: RejectedError,
    401: AuthError,
    403: RejectedError,
    404: NotFoundError,
    406: MisconfiguredError,
    409: ConflictingStateError,
}
OTHERS = {
    "no such path: identity": CloudBrokenError,
    "no such path: compute": MisconfiguredError,
    "no such path: image": MisconfiguredError,
    "no such path: network": MisconfiguredError,
    "method not allowed: compute": MisconfiguredError,
    "quota exceeded: instances": QuotaExceededError,
    "quota exceeded: cores and ram": QuotaExceededError,
    "quota exceeded: ram": QuotaExceededError,
    "quota exceeded: key pairs": QuotaExceededError,
    "quota exceeded: floating ips": QuotaExceededError,
    "quota exceeded: ports": QuotaExceededError,
    "quota exceeded: ports, at create server": QuotaExceededError,
    "create server: unknown image": StaleOfferError,
    "create server: unknown flavor": StaleOfferError,
    "create server: unknown network": StaleOfferError,
    "create server: unknown key": StaleOfferError,
    "create server: unknown availability zone": StaleOfferError,
    "create server: unknown security group": StaleOfferError,
    "create server: image still queued": StaleOfferError,
    "no address left: port": NoCapacityError,
    "no floating ip left": NoCapacityError,
}
"""Recorded cases that mean something other than their status alone."""


def recorded() -> list[Any]:
    samples = yaml.load(RECORDED.read_text(), Loader=yaml.CSafeLoader)["samples"]
    return [
        pytest.param(sample, id=sample["case"])
        for sample in samples
        if sample["response"]["status"] >= 400
    ]


def an_answer(status: int, body: Any = b"", **kwargs: Any) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, body=content, **kwargs)


def the_error(answer: Answer, service: str = "compute"):
    return error_from(answer, cloud="acme", service=service, call=f"POST {service} /things")


@pytest.mark.parametrize("sample", recorded())
def test_recorded_refusal_is_the_error_it_means(sample):
    """Every refusal of the recorded cloud has its type, its text and its request id."""
    response = sample["response"]
    body = response["body"]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    answer = Answer(status=response["status"], headers=response["headers"], body=content)

    error = the_error(answer, sample["request"]["service"])

    assert type(error) is OTHERS.get(sample["case"], BY_STATUS[response["status"]])
    assert error.status == response["status"]
    assert error.cloud_request_id == answer.request_id
    assert "<" not in error.message
    assert "\n" not in error.message


def test_every_exceptional_case_is_still_recorded():
    """The table above names no case that the recording has lost."""
    cases = {param.values[0]["case"] for param in recorded()}

    assert set(OTHERS) <= cases


DOCUMENTED = {
    "rackspace 413 with ISO time": (
        413,
        {"overLimit": {"code": 413, "message": "OverLimit Retry...", "retryAt": "2026-11-22T1Z"}},
        "compute",
        RetryLaterError,
    ),
    "nova 413 rate": (
        413,
        {
            "overLimit": {
                "code": 413,
                "message": "This request was rate-limited.",
                "details": "Only 10 POST request(s) can be made to * every minute.",
                "retryAfter": "12",
            }
        },
        "compute",
        RetryLaterError,
    ),
    "nova 413 quota, Icehouse": (
        413,
        {
            "overLimit": {
                "code": 413,
                "message": "Quota exceeded for instances: Requested 1, but already used 100 of "
                "100 instances",
                "retryAfter": "0",
            }
        },
        "compute",
        QuotaExceededError,
    ),
    "cinder 413": (
        413,
        {"overLimit": {"code": 413, "message": "VolumeLimitExceeded: Maximum number of volumes"}},
        "volumev3",
        QuotaExceededError,
    ),
    "glance 413 in HTML": (
        413,
        b"<html><body>Denying attempt to upload image</body></html>",
        "image",
        QuotaExceededError,
    ),
    "413 in HTML from a front": (413, b"<html><h1>413</h1></html>", "compute", RetryLaterError),
    "ovh 429": (
        429,
        {"error": {"status": "429 Too Many Requests", "message": "Too Many Requests"}},
        "compute",
        RetryLaterError,
    ),
    "429 that says quota": (429, {"message": "Quota exceeded for rate"}, "x", RetryLaterError),
    "nova 403 of several": (
        403,
        {"forbidden": {"code": 403, "message": "Quota exceeded for cores, instances: Requested"}},
        "compute",
        QuotaExceededError,
    ),
    "nova 500 of OVH": (
        500,
        {"computeFault": {"code": 500, "message": "Unexpected API Error. Timed out waiting"}},
        "compute",
        CloudBrokenError,
    ),
    "nova 500 no valid host": (
        500,
        {"computeFault": {"code": 500, "message": "No valid host was found. "}},
        "compute",
        NoCapacityError,
    ),
    "rackspace 503 capacity": (
        503,
        {"serverCapacityUnavailable": {"code": 503, "message": "Server capacity unavailable"}},
        "compute",
        NoCapacityError,
    ),
    "rackspace 409 building": (
        409,
        {"buildInProgress": {"code": 409, "message": "Server is being built"}},
        "compute",
        ConflictingStateError,
    ),
    "nova several networks": (
        409,
        {"conflictingRequest": {"message": "Multiple possible networks found, use a Network ID"}},
        "compute",
        RejectedError,
    ),
    "old neutron, bare text": (409, {"NeutronError": "Quota exceeded"}, "x", QuotaExceededError),
    "503 page from a front": (
        503,
        b"<html><head><title>503 Service Unavailable</title></head><body>x</body></html>",
        "image",
        CloudBrokenError,
    ),
    "404 page from a front": (404, b"<html><h1>Not Found</h1></html>", "compute", CloudBrokenError),
    "404 without a word": (404, b"", "compute", CloudBrokenError),
    "500 without a word": (500, b"", "compute", CloudBrokenError),
    "501": (501, {"notImplemented": {"code": 501, "message": "no console"}}, "x", RejectedError),
    "JSON that is no object": (500, b"[1, 2]", "compute", CloudBrokenError),
    "bytes that are no text": (502, b"\xff\xfe\x00", "compute", CloudBrokenError),
}


@pytest.mark.parametrize("case", DOCUMENTED)
def test_documented_refusal_is_the_error_it_means(case):
    """The forms that clouds other than the recorded one are known for."""
    status, body, service, expected = DOCUMENTED[case]

    error = the_error(an_answer(status, body), service)

    assert type(error) is expected
    assert error.message


def test_delay_a_cloud_asks_for_is_in_the_error():
    """The caller waits as long as the road read from headers or body."""
    error = the_error(an_answer(429, {}, retry_after_s=12.0))

    assert isinstance(error, RetryLaterError)
    assert error.after_s == 12.0


FAULT_TEXTS = {
    "No valid host was found. ": NoCapacityError,
    "No valid host was found. Exceeded max scheduling attempts 3 for instance x": NoCapacityError,
    "Build of instance x aborted: Failed to allocate the network(s) with error No fixed IP "
    "addresses available for network: n, not rescheduling.": NoCapacityError,
    "Insufficient compute resources: Free memory 512 MB < requested 8192 MB.": NoCapacityError,
    "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes "
    "quota.": QuotaExceededError,
    "Quota exceeded for cores": QuotaExceededError,
    "Maximum number of ports exceeded": QuotaExceededError,
    "Flavor's disk is too small for requested image.": RejectedError,
    "Build of instance x aborted: asked to by metadata": CloudBrokenError,
    "Exceeded maximum number of retries. Exhausted all hosts available for retrying build "
    "failures for instance x.": CloudBrokenError,
    "": CloudBrokenError,
}


@pytest.mark.parametrize("text", FAULT_TEXTS)
def test_fault_of_a_server_is_the_error_its_create_would_have_raised(text):
    """Quota and capacity are told from a failed build, which counts against the node."""
    error = error_from_fault(text, 500, cloud="acme")

    assert type(error) is FAULT_TEXTS[text]
    assert error.message


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("hunter2", "'hunter2' is not a 'base64'"),
        ("first. hunter2", "'first. hunter2' is too long"),
        ("{'user_data': 'hunter2'}", "'flavorRef' is a required property"),
        ("{'hunter2': 1}", "hunter2 was not expected"),
    ],
)
def test_value_a_cloud_repeats_is_left_out_of_the_message(sent, said):
    """User data may hold secrets, and nova's refusals quote what they were sent."""
    text = f"Invalid input for field/attribute server. Value: {sent}. {said}"

    error = the_error(an_answer(400, {"badRequest": {"code": 400, "message": text}}))

    assert "hunter2" not in str(error)
    assert "field/attribute server" in str(error)


def test_long_text_is_cut():
    """A message stays one line of a log."""
    error = the_error(an_answer(400, {"badRequest": {"message": "x" * 5000}}))

    assert len(error.message) <= 300


def test_every_row_names_its_source():
    """No pattern without evidence, and each one compiles to what it says."""
    for row in (*ANSWERS, *FAULTS):
        assert len(row.source) > 10
        assert re.compile(row.text)


@pytest.mark.parametrize("status", [400, 403, 405])
@pytest.mark.parametrize("service", ["compute", "network"])
def test_a_page_of_a_firewall_says_nothing_about_the_call(status, service):
    """It would end launches as refused for good, and their requests with them."""
    answer = Answer(status=status, body=b"<html><h1>Request blocked</h1></html>")

    error = error_from(answer, cloud="acme", service=service, call="POST compute /servers")

    assert isinstance(error, CloudBrokenError)
    assert "Request blocked" in str(error)


@pytest.mark.parametrize("status", [407, 421])
def test_a_proxy_that_answers_is_the_providers_trouble_and_not_the_nodes(status):
    answer = Answer(status=status, body=b"<html>proxy</html>")

    error = error_from(answer, cloud="acme", service="compute", call="POST compute /servers")

    assert isinstance(error, MisconfiguredError)
    assert "what answers is not the cloud" in str(error)


class TestRefusalsOfOneCloud:
    ROW = Row(
        QuotaExceededError,
        "a page of this cloud",
        (400,),
        "no more of those",
        service="compute",
        remedy="ask for more",
        header="^x-cloud: acme$",
    )

    def read(self, answer: Answer, service: str = "compute") -> Exception:
        """The error that an answer is read as."""
        return error_from(answer, cloud="acme", service=service, call="a call", first=(self.ROW,))

    def test_they_are_read_before_those_of_all_clouds(self):
        """Service, status, text and header decide together."""
        body = json.dumps({"badRequest": {"code": 400, "message": "No more of those"}}).encode()
        theirs = Answer(status=400, headers={"X-Cloud": "Acme"}, body=body)

        assert type(self.read(theirs)) is QuotaExceededError
        assert "ask for more" in str(self.read(theirs))

    @pytest.mark.parametrize("differs", ["status", "header", "text", "service"])
    def test_all_of_a_row_must_fit(self, differs):
        """Else the answer is what it is at every cloud."""
        text = "of those" if differs == "text" else "no more of those"
        answer = Answer(
            status=403 if differs == "status" else 400,
            headers={"X-Cloud": "other" if differs == "header" else "acme"},
            body=json.dumps({"badRequest": {"code": 400, "message": text}}).encode(),
        )

        error = self.read(answer, "network" if differs == "service" else "compute")

        assert type(error) is RejectedError


@pytest.mark.parametrize(
    ("status", "headers", "body", "remedy"),
    [
        (
            401,
            {"WWW-Authenticate": "OS-MF sessionId='x', factor='PASSCODE'"},
            {"unauthorized": {"code": 401, "message": "Additional credentials required."}},
            "second factor",
        ),
        (403, {}, {"userDisabled": {"code": 403, "message": "User is disabled"}}, "enable it"),
        (401, {}, {"error": {"message": "The account is locked for user: x"}}, "enable it"),
        (401, {"WWW-Authenticate": 'Keystone uri="x"'}, {"error": {"message": "no"}}, ""),
    ],
    ids=["second factor", "disabled", "locked", "wrong"],
)
def test_a_refused_login_may_say_more(status, headers, body, remedy):
    """What to do about it, as far as it tells."""
    said = login_remedy(status, headers, json.dumps(body).encode())

    assert remedy in said
    assert bool(said) is bool(remedy)


def test_a_clouds_own_word_on_logins_goes_first():
    """Its remedy is the one that helps."""
    own = Row(AuthError, "a page", (401,), service="identity", header="OS-MF", remedy="use the key")
    other = Row(AuthError, "a page", (401,), service="compute", remedy="not for logins")

    said = login_remedy(401, {"WWW-Authenticate": "OS-MF x"}, b"{}", first=(other, own))

    assert said == "use the key"
