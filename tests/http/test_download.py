"""Fetching a file: streamed, whole or not at all, and from nobody else."""

import base64

import httpx
import pytest
import trio

from tests.http.scripted import Scripted
from trellis.http.download import DownloadError, checked, download, shown, size_of

URL = "https://images.test/debian-12.qcow2"


class Body(httpx.AsyncByteStream):
    """A body in pieces; None in their place is silence."""

    def __init__(self, *pieces):
        self.pieces, self.closed = pieces, False

    async def __aiter__(self):
        for piece in self.pieces:
            if piece is None:
                await trio.sleep_forever()
            if isinstance(piece, Exception):
                raise piece
            await trio.lowlevel.checkpoint()
            yield piece

    async def aclose(self):
        self.closed = True


def serving(answers):
    """A transport that gives each address its answer."""

    async def answer(request):
        await trio.lowlevel.checkpoint()
        one = answers[str(request.url)]
        return one() if callable(one) else one

    return Scripted(answer)


def whole(*pieces, status=200, **headers):
    return httpx.Response(
        status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        stream=Body(*pieces),
    )


def moved(to, status=302):
    return httpx.Response(status, headers={"location": to}, stream=Body())


async def fetch(transport, url=URL, **options):
    came = []

    async def take(piece):
        came.append(piece)

    size = await download(url, lambda _settings: transport, take, **options)
    return size, b"".join(came)


async def test_pieces_come_as_they_are_sent():
    transport = serving({URL: whole(b"one", b"two")})

    assert (6, b"onetwo") == await fetch(transport)
    assert "identity" == transport.requests[0].headers["accept-encoding"]


async def test_body_is_closed_when_taking_fails():
    answer = whole(b"one", b"two")
    transport = serving({URL: answer})

    async def full(_piece):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await download(URL, lambda _settings: transport, full)

    assert answer.stream.closed


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: whole(status=404), "answers 404"),
        (lambda: whole(b"x" * 10, content_length="11"), "10 bytes came of 11"),
        (lambda: whole(b"x", content_encoding="gzip"), "codes it"),
        (lambda: whole(b"x", httpx.ReadError("reset by peer")), "reset by peer"),
        (lambda: whole(b"x", None), "nothing came for 60 s"),
    ],
    ids=["status", "short", "coded", "broken", "silent"],
)
async def test_what_is_not_whole_is_told(autojump_clock, answer, told):
    with pytest.raises(DownloadError, match=told) as raised:
        await fetch(serving({URL: answer}))

    assert URL in str(raised.value)


async def test_server_that_does_not_answer_is_given_up(autojump_clock):
    async def silent(_request):
        await trio.sleep_forever()

    with pytest.raises(DownloadError, match="no answer for 60 s"):
        await fetch(Scripted(silent))


class TestMoves:
    async def test_it_is_followed_also_to_another_server(self):
        there = "https://cdn.test/x?signature=abc"

        assert (3, b"yes") == await fetch(serving({URL: moved(there), there: whole(b"yes")}))

    @pytest.mark.parametrize("to", ["http://images.test/x", "http://127.0.0.1/x", "ftp://x/y"])
    async def test_it_is_not_followed_to_what_anybody_may_answer(self, to):
        with pytest.raises(DownloadError, match="plain http"):
            await fetch(serving({URL: moved(to)}))

    async def test_it_is_not_followed_for_ever(self):
        with pytest.raises(DownloadError, match="more than 5 times"):
            await fetch(serving({URL: lambda: moved(URL)}))

    async def test_move_to_what_is_no_url_is_told_as_such(self):
        with pytest.raises(DownloadError, match="it moves to what is no URL"):
            await fetch(serving({URL: moved("https://[x/")}))


class TestCredentials:
    async def test_they_go_to_their_server_and_no_other(self):
        with_them = "https://me:p%40ss@images.test/a"
        transport = serving(
            {
                "https://images.test/a": moved("/b"),
                "https://images.test/b": moved("https://cdn.test/c"),
                "https://cdn.test/c": whole(b"x"),
            }
        )

        await fetch(transport, with_them)

        sent = [request.headers.get("authorization") for request in transport.requests]
        expected = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
        assert [expected, expected, None] == sent

    async def test_no_error_shows_them(self):
        transport = serving({"https://images.test/a?sig=abc": whole(status=403)})

        with pytest.raises(DownloadError) as raised:
            await fetch(transport, "https://me:hunter22@images.test/a?sig=abc")

        assert "hunter22" not in str(raised.value)
        assert "abc" not in str(raised.value)

    def test_shown_url_has_none(self):
        assert "https://h.test/p" == shown("https://me:pw@h.test/p?sig=1#x")


@pytest.mark.parametrize(
    "url",
    ["http://images.test/x", "ftp://images.test/x", "https://", "images.test/x", "https://h:port/"],
)
def test_only_https_and_loopback_are_fetched(url):
    with pytest.raises(DownloadError):
        checked(url)


@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:8080/x", "http://[::1]/x"])
def test_what_is_fetched(url):
    assert checked(url).hostname


async def asked(answers):
    transport = serving(answers)
    size = await size_of(URL, lambda _settings: transport)
    assert {"HEAD"} == {request.method for request in transport.requests}
    return size


class TestSize:
    async def test_server_tells_the_size_and_nothing_is_fetched(self):
        assert 7 == await asked({URL: httpx.Response(200, headers={"content-length": "7"})})

    async def test_it_is_that_of_where_the_file_has_moved_to(self):
        there = "https://mirror.test/debian-12.qcow2"
        answer = httpx.Response(200, headers={"content-length": "7"})

        assert 7 == await asked({URL: moved(there), there: answer})

    @pytest.mark.parametrize(
        "answer",
        [httpx.Response(200), httpx.Response(403, headers={"content-length": "7"})],
        ids=["no_length", "refused"],
    )
    async def test_server_that_does_not_say_is_believed_nothing(self, answer):
        assert await asked({URL: answer}) is None

    async def test_move_to_plain_http_is_not_followed(self):
        with pytest.raises(DownloadError, match="plain http"):
            await asked({URL: moved("http://images.test/debian-12.qcow2")})
