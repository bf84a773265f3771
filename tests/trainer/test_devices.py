"""Precision, processes, and what training sets in the process for its time."""

import pytest
import torch

from kfp_image_tuning.trainer.devices import Precision, Processes, process_group, training_mode
from tests.trainer.digits import make_hyperparameters

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def flushes() -> bool:
    return float(torch.tensor(1e-39) * 0.5) == 0.0


@pytest.mark.parametrize("before", [False, True])
def test_training_sets_back_what_it_set(before: bool) -> None:
    torch.set_flush_denormal(before)
    try:
        with torch.no_grad(), training_mode(CPU):
            assert flushes()
            assert torch.is_grad_enabled()
        assert flushes() is before
        with pytest.raises(ValueError, match="inside"), training_mode(CPU):
            raise ValueError("inside")
        assert flushes() is before
    finally:
        torch.set_flush_denormal(False)


def test_precision_is_what_was_asked_for() -> None:
    single = Precision.choose(make_hyperparameters(), GPU)
    assert (single.mixed, single.scales_loss, single.description) == (None, False, "float32")
    half = Precision.choose(make_hyperparameters(precision_dtype="float16"), GPU)
    assert (half.mixed, half.scales_loss) == (torch.float16, True)
    on_cpu = Precision.choose(make_hyperparameters(precision_dtype="float16"), CPU)
    assert on_cpu.mixed in (torch.bfloat16, None)
    assert not on_cpu.scales_loss


@pytest.mark.parametrize(
    ("processes", "batch"),
    [(Processes(), 32), (Processes(1, 4, 4), 32), (Processes(3, 8, 4), 64), (Processes(0, 2, 1), 64)],
)
def test_a_mini_batch_is_that_of_a_machine(processes: Processes, batch: int) -> None:
    assert processes.global_batch(32) == batch


KV_STORE = {
    "one machine": (Processes(), None, "kv_store: device"),
    "several processes of one machine": (Processes(1, 4, 4), "dist_sync", "kv_store: device (dist_sync is for several"),
    "two machines": (Processes(0, 2, 1), None, "kv_store: dist_sync: 2 machines exchange their gradients"),
    "as asked for": (Processes(0, 4, 1), "dist_sync", "kv_store: dist_sync: 4 machines"),
    "not offered": (Processes(0, 4, 2), "dist_async", "dist_sync instead of dist_async, which is not offered: 2 mach"),
}


@pytest.mark.parametrize("case", KV_STORE)
def test_the_log_says_how_machines_come_together(case: str) -> None:
    processes, kv_store, expected = KV_STORE[case]
    assert expected in processes.describe_synchronization(kv_store)


def test_one_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group():
        assert Processes.current() == Processes()
        assert Processes.current().agree(True)
