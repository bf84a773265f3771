"""MXNet's description of the network (``-symbol.json``), made without MXNet.

Widths and kernels come from the shapes of the network's own weights (``network.py``), so that both sides stay one
network; what stands here is how MXNet joins the layers. The classes' probabilities come out of ``softmax``:
`SoftmaxOutput`, or the sigmoids of `LogisticRegressionOutput` where an image may have several labels.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from kfp_image_tuning.model.network import UNITS_PER_STAGE, ResNetV2, mxnet_name

EPSILON = 2e-5
"""Batch normalization's, everywhere."""

SINGLE_LABEL_OUTPUT = "SoftmaxOutput"
MULTI_LABEL_OUTPUT = "LogisticRegressionOutput"

# The release that the built-in algorithm runs: a newer MXNet reads an older file, and warns about a newer one.
_MXNET_VERSION = 10300

Shapes = Mapping[str, tuple[int, ...]]


def array_shapes(num_layers: int, num_classes: int, image_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight and running statistic, by MXNet's name."""
    with torch.device("meta"):
        network = ResNetV2(num_layers, num_classes, image_shape)
    return {
        mxnet_name(name): tuple(value.shape)
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def symbol_text(num_layers: int, num_classes: int, image_shape: Sequence[int], multi_label: bool) -> str:
    """The text of ``image-classification-symbol.json`` for one network."""
    graph = _Graph(array_shapes(num_layers, num_classes, image_shape))
    body = graph.batch_norm("bn_data", graph.variable("data"), fix_gamma=True)
    body = _stem(graph, body)
    for stage, count in enumerate(UNITS_PER_STAGE[num_layers], start=1):
        for position in range(1, count + 1):
            name = f"stage{stage}_unit{position}"
            body = _unit(graph, name, body, stride=2 if stage > 1 and position == 1 else 1)
    body = graph.rectify("relu1", graph.batch_norm("bn1", body))
    body = graph.operator("Pooling", "pool1", [body], global_pool=True, kernel=(7, 7), pool_type="avg")
    body = graph.operator("Flatten", "flatten0", [body])
    weights = [graph.variable("fc1_weight"), graph.variable("fc1_bias")]
    body = graph.operator("FullyConnected", "fc1", [body, *weights], num_hidden=num_classes)
    output = MULTI_LABEL_OUTPUT if multi_label else SINGLE_LABEL_OUTPUT
    return graph.text(graph.operator(output, "softmax", [body, graph.variable("softmax_label")]))


def _stem(graph: "_Graph", images: int) -> int:
    if "bn0_gamma" not in graph.shapes:
        return graph.convolution("conv0", images)
    body = graph.convolution("conv0", images, stride=2)
    body = graph.rectify("relu0", graph.batch_norm("bn0", body))
    return graph.operator("Pooling", "pooling0", [body], kernel=(3, 3), pad=(1, 1), pool_type="max", stride=(2, 2))


def _unit(graph: "_Graph", name: str, images: int, stride: int) -> int:
    """Pre-activated convolutions, of which one has the stride, and the way around them."""
    convolutions = 3 if f"{name}_conv3_weight" in graph.shapes else 2
    strided = convolutions - 1
    body, activated = images, images
    for number in range(1, convolutions + 1):
        body = graph.rectify(f"{name}_relu{number}", graph.batch_norm(f"{name}_bn{number}", body))
        if number == 1:
            activated = body
        body = graph.convolution(f"{name}_conv{number}", body, stride if number == strided else 1)
    shortcut = images
    if f"{name}_sc_weight" in graph.shapes:
        shortcut = graph.convolution(f"{name}_sc", activated, stride)
    return graph.operator("elemwise_add", f"{name}_plus", [body, shortcut])


class _Graph:
    """MXNet's list of nodes: variables and operators, each after its inputs. Methods give a node's number."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._nodes: list[dict[str, Any]] = []
        # Batch normalization has three outputs, the others one: entry numbers are counted by output.
        self._first_entries = [0]

    def variable(self, name: str) -> int:
        return self._append({"op": "null", "name": name, "inputs": []})

    def operator(self, kind: str, name: str, inputs: Sequence[int], **settings: object) -> int:
        node: dict[str, Any] = {"op": kind, "name": name}
        if settings:
            node["attrs"] = {key: str(value) for key, value in sorted(settings.items())}
        # An input is a node, which of its outputs, and how often it was written before: running statistics once.
        node["inputs"] = [[number, 0, int("_moving_" in self._nodes[number]["name"])] for number in inputs]
        return self._append(node, outputs=3 if kind == "BatchNorm" else 1)

    def batch_norm(self, name: str, images: int, fix_gamma: bool = False) -> int:
        kinds = ("gamma", "beta", "moving_mean", "moving_var")
        inputs = [images, *(self.variable(f"{name}_{kind}") for kind in kinds)]
        return self.operator("BatchNorm", name, inputs, eps=EPSILON, fix_gamma=fix_gamma, momentum=0.9)

    def convolution(self, name: str, images: int, stride: int = 1) -> int:
        outputs, _, *kernel = self.shapes[f"{name}_weight"]
        return self.operator(
            "Convolution",
            name,
            [images, self.variable(f"{name}_weight")],
            kernel=tuple(kernel),
            no_bias=True,
            num_filter=outputs,
            pad=tuple(size // 2 for size in kernel),
            stride=(stride, stride),
        )

    def rectify(self, name: str, images: int) -> int:
        return self.operator("Activation", name, [images], act_type="relu")

    def text(self, head: int) -> str:
        document = {
            "nodes": self._nodes,
            "arg_nodes": [number for number, node in enumerate(self._nodes) if node["op"] == "null"],
            "node_row_ptr": self._first_entries,
            "heads": [[head, 0, 0]],
            "attrs": {"mxnet_version": ["int", _MXNET_VERSION]},
        }
        return json.dumps(document, indent=2) + "\n"

    def _append(self, node: dict[str, Any], outputs: int = 1) -> int:
        self._nodes.append(node)
        self._first_entries.append(self._first_entries[-1] + outputs)
        return len(self._nodes) - 1
