"""The version of the harness, read by hatchling and recorded in every lock."""

__version__ = "0.1.0"
