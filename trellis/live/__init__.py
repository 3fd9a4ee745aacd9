"""The live view of a daemon on a terminal: from what ``GET /api/v1/status`` says to lines of text.

A pure function of that data. It knows no daemon, reads no clock and no terminal: `trellis top`
and `trellis demo` do. Rich is imported by the modules that draw, not here.
"""
