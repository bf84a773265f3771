"""How a scenario may end otherwise than well."""


class ScenarioFailed(Exception):  # noqa: N818  # it is an outcome
    """What a scenario wanted did not happen."""


class Skipped(Exception):  # noqa: N818  # it is an outcome
    """Why a scenario cannot be tried on this cluster."""
