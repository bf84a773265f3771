"""One trial, from images and hyperparameters to the best epoch's model: the loop that all else in this package serves.

    train → for each epoch: steps over shuffled batches → validation → report, best model, checkpoint → continue?

Prints the built-in algorithm's log lines (``Epoch[3] Validation-accuracy=0.931200``). Given the same seed, a CPU and
the same number of threads, a training gives the same bits again, whether or not it was interrupted and resumed.
Nothing is left behind in the process: a worker trains one trial after the other.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.model.model_files import describe_model, save_model
from kfp_image_tuning.search.hyperparameters import Hyperparameters
from kfp_image_tuning.trainer.augmentation import augment, central_crop
from kfp_image_tuning.trainer.batches import BatchReader, Indices, LabelledImages, check_images, training_batches
from kfp_image_tuning.trainer.checkpoints import Checkpoints, Progress
from kfp_image_tuning.trainer.devices import Precision, Processes, default_device, training_mode
from kfp_image_tuning.trainer.initial_model import start_network
from kfp_image_tuning.trainer.measures import Measures, RunningMeasures, class_weights, sum_loss
from kfp_image_tuning.trainer.optimizers import make_optimizer
from kfp_image_tuning.trainer.reports import EpochReport, Outcome, StepReport, TrainingResult
from kfp_image_tuning.trainer.schedule import LearningRateSchedule, should_stop_early

__all__ = ["EpochReport", "StepReport", "TrainingResult", "train"]

EVALUATION_BATCH = {"cpu": 64, "cuda": 512}
"""Images at a time in validation, by device: what fits a core's cache, and what fills a GPU."""
LOGGED_STEPS = 20
"""A line of speed and accuracy after every so many steps, as MXNet's Speedometer writes it."""
PROGRESS_SECONDS = 1.0


def train(
    hyperparameters: Hyperparameters,
    training: LabelledImages,
    validation: LabelledImages,
    *,
    classes: Sequence[str],
    model_directory: Path,
    seed: int,
    on_epoch: Callable[[EpochReport], bool | None] | None = None,
    on_progress: Callable[[StepReport], bool | None] | None = None,
    log: Callable[[str], None] = print,
    device: torch.device | None = None,
    initial_model: str | Path | None = None,
    checkpoint_directory: Path | None = None,
) -> TrainingResult:
    """Train one network and save the model of its best epoch.

    Args:
        hyperparameters: The trial.
        training: Images of at least ``image_shape``; larger ones are cropped by ``augmentation_type``.
        validation: Images of at least ``image_shape``; larger ones are cropped to the centre.
        classes: Names, as many as ``num_classes``; the position is the label.
        model_directory: Gets ``model.safetensors`` and ``model.json``.
        seed: Of the initial weights, the order of the images and the augmentation.
        on_epoch: Called after every epoch; training stops if it returns False.
        on_progress: Called about once a second within an epoch; training stops at once, without a validation, if it
            returns False. Where several processes train together the first one's is called, and every 20 steps only.
        log: Takes the lines that the built-in algorithm would write.
        device: The GPU where there is one, if not given; otherwise the CPU.
        initial_model: A model to start from: with ``use_pretrained_model`` all but its last layer, else all of it.
        checkpoint_directory: Where the state of the training is kept, every ``checkpoint_frequency`` epochs (if not
            set: the last epoch's). A training that finds a checkpoint of its own there continues from it.

    Raises:
        TrainingError: If images, labels, classes or initial model do not fit the hyperparameters.
    """
    device = device or default_device()
    if len(classes) != hyperparameters.num_classes:
        raise TrainingError(f"classes: {len(classes)} names for num_classes {hyperparameters.num_classes}")
    for role, data in (("training", training), ("validation", validation)):
        check_images(data, role, hyperparameters)
    with training_mode(device):
        trial = _Trial(
            hyperparameters,
            training,
            validation,
            tuple(classes),
            Path(model_directory),
            seed,
            device,
            log,
            initial_model,
        )
        trial.on_epoch, trial.on_progress = on_epoch, on_progress
        if checkpoint_directory or hyperparameters.checkpoint_frequency:
            trial.keep_checkpoints(checkpoint_directory or Path(model_directory) / "checkpoints")
        return trial.run()


class _Ended(Exception):  # noqa: N818 - an outcome, no error
    """Training ends here, for good or ill."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class _Trial:
    """Everything that one training holds while it runs."""

    on_epoch: Callable[[EpochReport], bool | None] | None = None
    on_progress: Callable[[StepReport], bool | None] | None = None
    checkpoints: Checkpoints | None = None

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        training: LabelledImages,
        validation: LabelledImages,
        classes: tuple[str, ...],
        model_directory: Path,
        seed: int,
        device: torch.device,
        log: Callable[[str], None],
        initial_model: str | Path | None,
    ) -> None:
        self.hyperparameters, self.classes, self.seed, self.device = hyperparameters, classes, seed, device
        self.model_directory = model_directory
        self.processes = Processes.current()
        self.log = log if self.processes.number == 0 else _silence
        self.batch = self.processes.global_batch(hyperparameters.mini_batch_size)
        self.images, self.validation_images = len(training.images), len(validation.images)
        self.processes.check_same(
            "images of training and validation",
            (self.images, self.validation_images),
            "give every machine all of them (in SageMaker: S3DataDistributionType FullyReplicated)",
        )
        self.steps = self.images // self.batch
        if self.batch < self.processes.count:
            raise TrainingError(
                f"mini_batch_size: {self.batch} images cannot be shared by {self.processes.count} processes; choose a "
                "larger one or start fewer processes"
            )
        if self.steps == 0:
            raise TrainingError(
                f"mini_batch_size: a step takes {self.batch} images, there are {self.images}; choose a smaller one"
            )
        self.training = BatchReader(training, -(-self.batch // self.processes.count), device)
        self.evaluation_batch = EVALUATION_BATCH.get(device.type, 256)
        self.validation = BatchReader(validation, self.evaluation_batch, device)

        generator = torch.Generator().manual_seed(derive_seed(seed, 0))
        network, preprocessing = start_network(hyperparameters, initial_model, generator, self.log)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocessing, self.normalize = preprocessing, preprocessing.on(device)
        self.model: nn.Module = self.network
        if self.processes.count > 1:
            self.model = nn.parallel.DistributedDataParallel(self.network, gradient_as_bucket_view=True)
        self.optimizer = make_optimizer(hyperparameters, self.network)
        self.schedule = LearningRateSchedule(hyperparameters)
        self.precision = Precision.choose(hyperparameters, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision.scales_loss)
        labels = torch.from_numpy(np.asarray(training.labels))
        self.class_weights = class_weights(labels.to(device)) if hyperparameters.use_weighted_loss else None
        self.progress = Progress()

    def keep_checkpoints(self, directory: Path) -> None:
        """Save checkpoints into a directory, and continue from the one that is there."""
        self.checkpoints = Checkpoints(directory, self.hyperparameters, self.seed, self.images)
        found = self.checkpoints.load_last(self.network, self.optimizer, self.scaler, self.model_directory)
        self.processes.check_same(
            "checkpoints",
            "none" if found is None else f"epoch {len(found.history) - 1}",
            f"{directory} must be a folder that all machines share, or empty",
        )
        if found:
            self.progress = found
            self.log(f"Resuming after epoch {len(found.history) - 1} from {directory}")

    def run(self) -> TrainingResult:
        """Train until the epochs are done or something ends it before."""
        started = time.perf_counter() - self.progress.seconds
        samples = self.hyperparameters.num_training_samples
        if samples != self.images:
            self.log(
                f"num_training_samples is {samples}, by which lr_scheduler_step goes; there are {self.images} images"
            )
        self.log(f"Training on {self.device} in {self.precision.description}, {self.batch} images a step")
        self.log(self.processes.describe_synchronization(self.hyperparameters.kv_store))
        outcome: Outcome = "completed"
        try:
            for epoch in range(len(self.progress.history), self.hyperparameters.epochs):
                self.end_if("early_stopped", should_stop_early(self.hyperparameters, self.progress.accuracies()))
                report = self.run_epoch(epoch)
                self.keep_if_best(report)
                self.progress.seconds = time.perf_counter() - started
                self.save_checkpoint()
                self.ask_caller(report)
        except _Ended as end:
            outcome = end.outcome
        return self.progress.result(outcome, time.perf_counter() - started)

    def run_epoch(self, epoch: int) -> EpochReport:
        """Train and validate once."""
        started = time.perf_counter()
        trained = self.train_epoch(epoch)
        self.log_measures(epoch, "Train", trained)
        self.log(f"Epoch[{epoch}] Time cost={time.perf_counter() - started:.3f}")
        validated = self.validate()
        self.end_if_diverged(epoch, validated)
        self.log_measures(epoch, "Validation", validated)
        report = EpochReport(
            epoch=epoch,
            train_loss=trained.loss,
            train_accuracy=trained.accuracy,
            validation_loss=validated.loss,
            validation_accuracy=validated.accuracy,
            train_top_k_accuracy=trained.top_k_accuracy,
            validation_top_k_accuracy=validated.top_k_accuracy,
            learning_rate=self.optimizer.learning_rate,
            seconds=time.perf_counter() - started,
        )
        self.progress.history.append(report)
        return report

    def train_epoch(self, epoch: int) -> Measures:
        """Make every step of an epoch."""
        share = (self.processes.number, self.processes.count)
        augmentation = torch.Generator(self.device).manual_seed(derive_seed(self.seed, 1, epoch, share[0]))
        measures = RunningMeasures(self.device, self.hyperparameters.top_k)
        # Clocks differ, and all processes must come together.
        ticker = Ticker(self.batch, by_time=self.processes.count == 1)
        self.model.train()
        for step, indices in enumerate(training_batches(self.images, self.batch, self.seed, epoch, share), start=1):
            self.optimizer.learning_rate = self.schedule.at(epoch * self.steps + step)
            self.make_step(indices, augmentation, measures)
            if ticker.is_due(step):
                self.report_step(epoch, step, measures.read(), ticker)
        trained = measures.read()
        self.end_if_diverged(epoch, trained)
        return trained

    def make_step(self, indices: Indices, augmentation: torch.Generator, measures: RunningMeasures) -> None:
        """Update the weights by the gradient of one batch."""
        pixels, labels = self.training.read(indices)
        _, height, width = self.hyperparameters.image_shape
        pixels = augment(pixels, height, width, self.hyperparameters.augmentation_type, augmentation)
        with self.precision.autocast():
            logits = self.model(self.normalize(pixels))
        loss = sum_loss(logits, labels, self.class_weights)
        self.optimizer.zero_grad()
        # Gradients are averaged over processes, whose shares of the batch may differ by an image.
        self.scaler.scale(loss * (self.processes.count / self.batch)).backward()
        # It needs of an optimizer but its weights and its step.
        self.scaler.step(self.optimizer)  # type: ignore[arg-type]
        self.scaler.update()
        measures.add(logits.detach(), labels, loss.detach())

    def validate(self) -> Measures:
        """Measure the network on exactly the validation images."""
        number, count, batch = self.processes.number, self.processes.count, self.evaluation_batch
        if count > 1:
            # Each process has its own running statistics; the first one's are those that are saved.
            for statistic in self.network.buffers():
                distributed.broadcast(statistic, 0)
        measures = RunningMeasures(self.device, self.hyperparameters.top_k)
        _, height, width = self.hyperparameters.image_shape
        self.network.eval()
        with torch.inference_mode():
            for start in range(number * batch, self.validation_images, count * batch):
                indices = np.arange(start, min(start + batch, self.validation_images))
                pixels, labels = self.validation.read(indices)
                with self.precision.autocast():
                    logits = self.network(self.normalize(central_crop(pixels, height, width)))
                measures.add(logits, labels, sum_loss(logits, labels))
        return measures.read()

    def keep_if_best(self, report: EpochReport) -> None:
        """Save the model if no epoch before was as accurate."""
        best = self.progress.best()
        if best is not report or self.processes.number > 0:
            return
        accuracy = report.validation_accuracy
        document = describe_model(self.hyperparameters, self.classes, self.preprocessing, report.epoch, accuracy)
        self.log(f"Storing the best model with validation accuracy: {accuracy:.6f}")
        path = save_model(self.model_directory, document, self.network)
        self.log(f'Saved checkpoint to "{path}"')

    def save_checkpoint(self) -> None:
        """Save the state of the training where one is due."""
        if self.checkpoints is None or self.processes.number > 0 or not self.checkpoints.is_due(self.progress):
            return
        last = self.progress.history[-1]
        document = describe_model(
            self.hyperparameters, self.classes, self.preprocessing, last.epoch, last.validation_accuracy
        )
        path = self.checkpoints.save(
            self.progress, document, self.network, self.optimizer, self.scaler, self.model_directory
        )
        self.log(f'Saved checkpoint to "{path}"')

    def ask_caller(self, report: EpochReport) -> None:
        """Tell the caller of the epoch; end if it says so and there would be another."""
        wanted = self.processes.number == 0 and self.on_epoch is not None and self.on_epoch(report) is False
        self.end_if("stopped", self.processes.agree(wanted) and report.epoch + 1 < self.hyperparameters.epochs)

    def report_step(self, epoch: int, step: int, measures: Measures, ticker: "Ticker") -> None:
        """Log and tell the caller where the epoch is."""
        self.end_if_diverged(epoch, measures)
        if step % LOGGED_STEPS == 0:
            speed = f"{ticker.speed():.2f} samples/sec"
            self.log(f"Epoch[{epoch}] Batch [{step}]\tSpeed: {speed}\taccuracy={measures.accuracy:.6f}")
        wanted = False
        if self.on_progress is not None and self.processes.number == 0:
            report = StepReport(
                epoch=epoch,
                step=step,
                steps=self.steps,
                train_loss=measures.loss,
                train_accuracy=measures.accuracy,
                learning_rate=self.optimizer.learning_rate,
            )
            wanted = self.on_progress(report) is False
        self.end_if("stopped", self.processes.agree(wanted))

    def log_measures(self, epoch: int, role: str, measures: Measures) -> None:
        """Write the built-in algorithm's lines."""
        self.log(f"Epoch[{epoch}] {role}-accuracy={measures.accuracy:.6f}")
        if measures.top_k_accuracy is not None:
            name = f"top_k_accuracy_{self.hyperparameters.top_k}"
            self.log(f"Epoch[{epoch}] {role}-{name}={measures.top_k_accuracy:.6f}")

    def end_if_diverged(self, epoch: int, measures: Measures) -> None:
        """End where the loss is no longer a finite number: the weights are lost from there on."""
        if math.isfinite(measures.loss):
            return
        if (best := self.progress.best()) is not None:
            kept = f"the best model stays that of epoch {best.epoch}"
        else:
            # Whoever reads the objective from the log finds one.
            self.log(f"Epoch[{epoch}] Validation-accuracy={0:.6f}")
            kept = "no epoch was finished, there is no model and the accuracy counts as 0"
        self.log(f"Epoch[{epoch}] Training diverged, its loss is no longer a finite number: {kept}")
        raise _Ended("diverged")

    def end_if(self, outcome: Outcome, condition: bool) -> None:
        """End with an outcome if the condition holds."""
        if condition:
            raise _Ended(outcome)


class Ticker:
    """Says when a report within an epoch is due, and how fast the steps go.

    Args:
        batch: Images in a step.
        by_time: Whether a report is due about once a second, too.
    """

    def __init__(self, batch: int, by_time: bool) -> None:
        self._batch, self._by_time = batch, by_time
        self._reported = self._logged = time.perf_counter()

    def is_due(self, step: int) -> bool:
        """Whether to report after this step: where a line of the log is due, and by time."""
        now = time.perf_counter()
        due = (self._by_time and now - self._reported >= PROGRESS_SECONDS) or step % LOGGED_STEPS == 0
        if due:
            self._reported = now
        return due

    def speed(self) -> float:
        """Images per second since the last time that this was asked, which is to be after every logged step."""
        now = time.perf_counter()
        seconds, self._logged = now - self._logged, now
        return LOGGED_STEPS * self._batch / seconds


def derive_seed(*parts: int) -> int:
    """A seed of its own for each purpose, out of the trial's."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def _silence(_: str) -> None:
    """Take the lines of the processes that are not the first."""
