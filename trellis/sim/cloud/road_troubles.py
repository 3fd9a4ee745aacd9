"""What goes wrong on the way of a call to a simulated cloud, or with its answer.

Each field has the name of its fault in the catalogue; what is 0 never strikes.
"""

import attrs

from trellis.sim.cloud.bounds import at_least, rate
from trellis.sim.cloud.troubles import CloudTroubles


@attrs.frozen(kw_only=True)
class RoadTroubles(CloudTroubles):
    """Troubles of calls, as probabilities for each, logins included.

    A call that changes something was carried out half of the time, unless it is said otherwise.

    Attributes:
        reset: the connection breaks before the answer.
        hang_call: the call is taken, not carried out, and never answered.
        trickle: the answer comes byte by byte, evenly over ``trickle_s`` seconds.
        endless_answer: the answer does not end.
        huge_answer: the answer is a few kilobytes that unpack to a hundred megabytes.
        short_answer: the answer ends early and says that it is whole: half of its JSON.
        odd_answer: the answer is JSON of another shape: null, a list, other types, keys missing.
        garbage_headers: the answer has headers that are long, doubled, or no text.
        redirect: the answer is 302 to another host; not carried out.
        refuse_token: a good token is answered 401; not carried out.
        revoke_tokens: with this call, all tokens given out so far become worthless.
    """

    reset: float = rate()
    hang_call: float = rate()
    trickle: float = rate()
    trickle_s: float = attrs.field(default=600.0, validator=at_least(0.001))
    endless_answer: float = rate()
    huge_answer: float = rate()
    short_answer: float = rate()
    odd_answer: float = rate()
    garbage_headers: float = rate()
    redirect: float = rate()
    refuse_token: float = rate()
    revoke_tokens: float = rate()
