"""Tracking databases of each kind: how they are opened, and what is the kind's own in reading them.

`sqlite` for files, `servers` for all that is reached over a connection.
"""
