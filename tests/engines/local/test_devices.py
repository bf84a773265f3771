"""How many trials run side by side."""

from pathlib import Path

import pytest

from kfp_image_tuning.engines.local.devices import Device, Machine, count_gpus


@pytest.mark.parametrize(
    ("cores", "gpus", "wanted", "expected"),
    [
        pytest.param(2, 0, None, [Device("cpu", 1)] * 2, id="a worker for each core"),
        pytest.param(8, 0, 2, [Device("cpu", 4)] * 2, id="fewer workers, more threads"),
        pytest.param(2, 0, 3, [Device("cpu", 1)] * 3, id="more workers than cores"),
        pytest.param(8, 2, None, [Device("cuda:0", 4), Device("cuda:1", 4)], id="a worker for each GPU"),
        pytest.param(4, 1, 2, [Device("cuda:0", 2)] * 2, id="a GPU is shared if that is wanted"),
    ],
)
def test_workers_fill_the_machine(cores: int, gpus: int, wanted: int | None, expected: list[Device]) -> None:
    assert list(Machine(cores, gpus).choose_devices(wanted)) == expected


@pytest.mark.parametrize(
    ("visible", "devices", "expected"),
    [
        (None, ["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], 2),
        (None, [], 0),
        ("0,1,2", [], 3),
        ("1", ["nvidia0", "nvidia1"], 1),
        ("", ["nvidia0"], 0),
        ("-1", ["nvidia0"], 0),
        ("0,-1,2", [], 1),
        ("GPU-8932f937-d72c", ["nvidia0"], 1),
    ],
)
def test_gpus_are_those_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str | None, devices: list[str], expected: int
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for name in devices:
        (tmp_path / name).touch()
    assert count_gpus(tmp_path) == expected
