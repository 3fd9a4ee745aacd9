"""What things are: frozen values, their transitions and their arithmetic.

Owns the vocabulary of Trellis. Knows no clock, no I/O, no Trio, no cloud: ``now`` is always
an argument, in UTC seconds since the epoch; every field named ``*_at`` is such a time.
"""
