"""The gate's verdict on a model, as it stands in ``evaluation.json``."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement of the gate.

    Attributes:
        name: ``min_accuracy`` or ``better_than_baseline``.
        passed: Whether it is met.
        reason: Why, one sentence.
        test: The statistical test that decided; None for ``min_accuracy``.
        p_value: Its one-sided p-value.
        difference: Accuracy less what is required, or less the baseline's.
    """

    name: str
    passed: bool
    reason: str
    test: str | None = None
    p_value: float | None = None
    difference: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Go or no-go.

    Attributes:
        passed: Whether every requirement is met.
        checks: The requirements, in the order in which they were given; empty if there were none.
    """

    passed: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One sentence for each requirement."""
        return tuple(check.reason for check in self.checks) or ("no requirement was set",)
