"""The built-in algorithm's artefact, evaluated without SageMaker."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfp_image_tuning.core.errors import ImageTuningError
from kfp_image_tuning.engines.sagemaker.request.config import SageMakerConfig
from kfp_image_tuning.evaluation.evaluation import Evaluation, evaluate_model
from kfp_image_tuning.model.mxnet_format import write_mxnet_model
from kfp_image_tuning.options.declared import GateOptions, TransformOptions
from kfp_image_tuning.steps.sagemaker_evaluation import launch
from tests.engines.sagemaker_transform.conftest import Found, pack
from tests.evaluation.digits import CLASSES, train_on, write_digits

NOWHERE = SageMakerConfig(role="", bucket="", region="", run_id="")


def evaluate(found: Found, **wishes: str) -> Evaluation:
    arguments: dict[str, Any] = {
        "model": str(found.model),
        "dataset": str(found.dataset.directory),
        "tuning_result": str(found.result),
        "evaluation": str(found.folder / "evaluation.json"),
        "report": str(found.folder / "report.html"),
    }
    launch(NOWHERE, GateOptions(), TransformOptions(mode="offline"), **{**arguments, **wishes})
    return Evaluation.load(found.folder / "evaluation.json")


@pytest.mark.parametrize("form", ["mxnet", "ours"])
def test_artefact_scores_as_the_model_that_it_was_made_of(found: Found, tmp_path: Path, form: str) -> None:
    trained = train_on(found.dataset, tmp_path / "trained")
    expected = evaluate_model(trained, found.dataset.directory)
    if form == "mxnet":
        write_mxnet_model(trained, tmp_path / "artefact")
        pack(tmp_path / "artefact", found.model / "model.tar.gz")
    else:
        # The training container knows classes by number only.
        numbered = train_on(found.dataset, tmp_path / "numbered", classes=[str(n) for n in range(10)])
        pack(numbered, found.model / "model.tar.gz")
    evaluation = evaluate(found)
    assert evaluation.classes == CLASSES
    assert evaluation.accuracy == expected.accuracy
    np.testing.assert_allclose(evaluation.scores.log_loss, expected.scores.log_loss, atol=1e-4)
    assert evaluation.model.validation_accuracy == (0.75 if form == "mxnet" else expected.model.validation_accuracy)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"xgboost-model": b"trees"}, "holds no model, neither model.json nor the built-in algorithm's files"),
        ({"image-classification-symbol.json": b"{}"}, "holds no image-classification-NNNN.params"),
    ],
)
def test_other_artefacts_are_refused(found: Found, tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name, content in files.items():
        (other / name).write_bytes(content)
    pack(other, found.model / "model.tar.gz")
    with pytest.raises(ImageTuningError, match=reason):
        evaluate(found)


def test_model_of_other_classes_is_refused(found: Found, tmp_path: Path) -> None:
    trained = train_on(found.dataset, tmp_path / "trained")
    write_mxnet_model(trained, tmp_path / "artefact")
    pack(tmp_path / "artefact", found.model / "model.tar.gz")
    found.dataset = write_digits(tmp_path / "more", counts=(60, 20, 30), multi_label=True)
    with pytest.raises(ImageTuningError, match=r"model\.tar\.gz: the model has 10 classes, the data set 11"):
        evaluate(found)
