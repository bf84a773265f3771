"""How long to wait before something is tried again."""

import random
from collections.abc import Iterator


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each further try, without end: doubling, and never the same for all clients.

    Args:
        first: The first one, at most.
        longest: None is longer.
    """
    most = first
    while True:
        # Chance spreads out many processes that were thrown back at the same moment.
        yield most * random.uniform(0.5, 1.0)
        most = min(2 * most, longest)
