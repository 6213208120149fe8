"""Copies of a store that grows elsewhere: what is new since a cursor, and a copy that takes it in.

``feed`` tells, ``replica`` takes; ``parts`` is the form in between. Not here: who asks whom, and
how (``observer``, ``environments.cluster.telemetry``).
"""
