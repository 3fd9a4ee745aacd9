"""What every call of the face is served with."""

import attrs

from trellis.control.board import Board
from trellis.spi.demand import DemandPort
from trellis.web.closing import Closing


@attrs.frozen(kw_only=True)
class Desk:
    """The demand port, the board, and the face's own end."""

    port: DemandPort
    board: Board
    closing: Closing
