"""Scenarios that a cluster cannot have."""


class Skipped(Exception):  # noqa: N818  # it is an outcome
    """Why a scenario was not tried."""
