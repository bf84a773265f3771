"""A model is measured on the test images, and judged."""

from pathlib import Path

from kfp import dsl

from ..component import model_evaluation


def test_a_model_that_knows_nothing_does_not_pass(prepared_digits: Path, tmp_path: Path) -> None:
    from kfp_image_tuning.dataset.document import Dataset
    from kfp_image_tuning.model.model_files import ModelDocument, save_model
    from kfp_image_tuning.model.network import ResNetV2
    from kfp_image_tuning.model.preprocessing import Preprocessing

    dataset = Dataset.load(prepared_digits)
    document = ModelDocument(
        num_layers=20,
        image_shape=dataset.image_shape,
        multi_label=False,
        classes=dataset.classes,
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.25,) * 3),
        hyperparameters={},
        epoch=0,
        validation_accuracy=0.0,
    )
    save_model(tmp_path / "model", document, ResNetV2(20, len(dataset.classes), dataset.image_shape))
    metrics, confusion = dsl.Metrics(), dsl.ClassificationMetrics()
    accuracy, passed = model_evaluation.python_func(
        model=dsl.Model(uri=str(tmp_path / "model")),
        dataset=dsl.Dataset(uri=str(prepared_digits)),
        evaluation=dsl.Artifact(uri=str(tmp_path / "evaluation.json")),
        metrics=metrics,
        classification_metrics=confusion,
        report=dsl.HTML(uri=str(tmp_path / "report.html")),
        min_accuracy=0.99,
    )
    assert not passed
    assert metrics.metadata["accuracy"] == accuracy < 0.99
    assert confusion.metadata["confusionMatrix"]
    assert (tmp_path / "report.html").is_file()
