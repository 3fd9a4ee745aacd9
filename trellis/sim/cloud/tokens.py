"""Tokens that a cloud has given out, whatever version of the API they were asked by."""

from random import Random
from typing import Final

import attrs

from trellis.sim.cloud.ledger import Fact, Ledger, What
from trellis.sim.cloud.spec import CloudSpec, OutageKind
from trellis.sim.cloud.timeline import Timeline

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@attrs.define(eq=False)
class Token:
    """A token that was given out; one for *elsewhere* is for another project."""

    text: str
    methods: list[str]
    issued: float
    expires: float
    scoped: bool
    audit_id: str
    elsewhere: bool = False
    revoked: bool = False


class Tokens:
    """All tokens of a cloud that may still be good."""

    def __init__(self, timeline: Timeline, ledger: Ledger, random: Random) -> None:
        self._timeline = timeline
        self._ledger = ledger
        self._random = random
        self._tokens: dict[str, Token] = {}

    def good(self, text: str | None, spec: CloudSpec) -> Token | None:
        """The token of this text, if it is good now."""
        known = self._tokens.get(text or "")
        # When the account's project becomes another one and when it comes back, tokens end.
        now_elsewhere = bool(spec.outages) and spec.is_out(OutageKind.PROJECT, self._timeline.age)
        if known is not None and known.elsewhere != now_elsewhere:
            return None
        if known is None or known.revoked or known.expires <= self._timeline.now:
            return None
        return known

    def revoke_all(self) -> None:
        """Make every token given out so far worthless."""
        self._tokens.clear()

    def issue(self, spec: CloudSpec, methods: list[str], *, scoped: bool) -> Token:
        """Give out a token, and write down the login."""
        now = self._timeline.now
        elsewhere = spec.is_out(OutageKind.PROJECT, self._timeline.age)
        if elsewhere:
            self._ledger.struck[OutageKind.PROJECT.value] += 1
        token = Token(
            text="gAAAAA" + "".join(self._random.choices(_LETTERS, k=177)),
            methods=methods,
            issued=now,
            expires=now + spec.token_lifetime_s,
            scoped=scoped,
            audit_id="".join(self._random.choices(_LETTERS, k=22)),
            elsewhere=elsewhere,
        )
        self._tokens = {k: t for k, t in self._tokens.items() if t.expires > now}
        self._tokens[token.text] = token
        fact = Fact(at=now, what=What.LOGIN, who=spec.credentials.username)
        self._ledger.facts.append(fact)
        return token
