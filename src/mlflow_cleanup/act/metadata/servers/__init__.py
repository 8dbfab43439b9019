"""Rows of databases on servers, where many write at once: the rows that go are locked, one by one.

`dialect` is what `postgresql` and `mysql` know of their own kind; nothing else here differs.
"""
