"""The status page at ``/``: its files, and the two calls that hand them out.

The page is a client of the web face like any other: it knows ``/api/v1/status`` and
``/api/v1/events`` and nothing of the daemon. Its files are plain HTML, CSS and JavaScript modules,
served as they are; nothing is fetched from elsewhere, and nothing is built.
"""
