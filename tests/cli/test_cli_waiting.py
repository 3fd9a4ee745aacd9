"""Waiting for a request while the daemon is away."""

from trellis.cli import waiting
from trellis.http.face import FaceUnreachableError


class Away:
    """A face whose daemon is gone for a number of polls, and has fulfilled the request then."""

    def __init__(self, polls: int) -> None:
        self._left = polls

    def get(self, *_path, **_query):
        if self._left:
            self._left -= 1
            raise FaceUnreachableError("No daemon answers", remedy="start it", before_sending=True)
        return {"id": "r", "state": "fulfilled", "reason": "", "estimate_s": None}


def test_a_daemon_that_is_away_is_told_once(monkeypatch, capsys):
    """A log gets one line for it, and not in turns with what was known before."""
    monkeypatch.setattr(waiting.time, "sleep", lambda _s: None)
    made = {"id": "r", "state": "pending", "reason": "It waits.", "estimate_s": None}

    waiting.wait_for(Away(polls=5), made, None)

    told = [line.partition("] ")[2] or line for line in capsys.readouterr().err.splitlines()]
    assert told == [
        "request r pending",
        "It waits.",
        "No daemon answers; trying again",
        "fulfilled",
    ]
