"""The command line: reads arguments, calls the REST face, prints. Or starts the daemon.

Makes no decision and keeps no state. Heavy modules are imported inside the commands that need
them, so that ``--help`` and completion are quick.
"""
