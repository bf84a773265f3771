"""The trials on disk: a log each, the models of the best few, and a checkpoint while a trial is not done."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.engines.local.trial_records import Record
from kfp_image_tuning.search.result import ranking_key

KEPT_MODELS = 3
"""Models of finished trials that stay on disk: a large network's takes 200 MB."""


class TrialFiles:
    """The files of all trials, one folder each.

    Args:
        directory: The search's work directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "trials"

    def prepare(self, name: str) -> None:
        """Make a trial's folder."""
        (self._directory / name).mkdir(parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        """Where a trial's log goes."""
        return self._directory / name / "log.txt"

    def model(self, name: str) -> Path:
        """Where a trial's model goes."""
        return self._directory / name / "model"

    def checkpoint(self, name: str) -> Path:
        """Where the state of a trial's training goes."""
        return self._directory / name / "checkpoint"

    def tidy(self, records: Sequence[Record]) -> list[Record]:
        """Remove checkpoints of trials that are done, and the models of all but the best of them.

        Returns:
            The trials that have lost their model.
        """
        for record in records:
            if record.trial.status in ("completed", "early_stopped", "failed"):
                shutil.rmtree(self.checkpoint(record.trial.name), ignore_errors=True)
        finished = [record for record in records if record.trial.is_finished and record.trial.model_uri]
        worse = sorted(finished, key=lambda record: ranking_key(record.trial), reverse=True)[KEPT_MODELS:]
        for record in worse:
            shutil.rmtree(self.model(record.trial.name), ignore_errors=True)
            record.trial = replace(record.trial, model_uri=None)
        return worse

    def find(self, records: Sequence[Record]) -> None:
        """Correct records where the folder has moved, or models were removed, after they were written."""
        for record in records:
            trial = record.trial
            has_model = self.model(trial.name).is_dir()
            model = str(self.model(trial.name)) if trial.model_uri and has_model else None
            record.trial = replace(trial, model_uri=model, log_uri=str(self.log(trial.name)))
            if trial.status in ("running", "stopped") and not has_model:
                # It starts from nothing, whatever it had reached.
                record.trial = replace(record.trial, history=(), objective=None, best_epoch=None)

    def copy_model(self, name: str, target: Path) -> None:
        """Copy a trial's model, so that the target holds it whole or what it held before."""
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.model(name), unfinished)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
