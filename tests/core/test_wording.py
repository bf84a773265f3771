"""Times, numbers and fingerprints as people read them."""

import pytest

from kfp_image_tuning.core.wording import count, duration, short_fingerprint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (3.14, "3.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (260, "4 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (7529, "2 h 5 min"),
        (86400, "24 h"),
        (2 * 86400, "2 d"),
        (100 * 3600, "4 d 4 h"),
        (7 * 86400 - 60, "7 d"),
    ],
)
def test_durations_are_told_in_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_and_fingerprints() -> None:
    assert [count(number, "trial") for number in (0, 1, 2, 1000)] == ["0 trials", "1 trial", "2 trials", "1,000 trials"]
    assert short_fingerprint("sha256:" + "1a2b3c4d" * 8) == "sha256:1a2b3c4d…"
    assert short_fingerprint("1a2b3c4d5e") == "1a2b3c4d…"
    assert short_fingerprint("sha256:1a2b") == "sha256:1a2b"
