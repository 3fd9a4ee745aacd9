"""What to build, upload, try, keep and delete: decided purely, from the records alone.

`trellis.control.images` acts on what is decided here.
"""
