"""`trellis demo`: the real daemon at work on simulated clouds, shown live and judged at the end.

Starts the clouds and the daemon as processes of their own, is all the requestors there are, and
reads what is true from the clouds' control face. Knows the daemon only by its web face, as any
other client does; knows no click and no exit code.
"""
