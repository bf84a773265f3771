"""ResNet v2 in MXNet's own words, after He et al. (2016) and the description of MXNet's image-classification
example."""

from __future__ import annotations

from typing import Any

import mxnet as mx

Symbol = Any
"""MXNet has no types."""

UNITS = {
    18: [2, 2, 2, 2],
    34: [3, 4, 6, 3],
    50: [3, 4, 6, 3],
    101: [3, 4, 23, 3],
    152: [3, 8, 36, 3],
    200: [3, 24, 36, 3],
    20: [3, 3, 3],
    32: [5, 5, 5],
    44: [7, 7, 7],
    56: [9, 9, 9],
    110: [18, 18, 18],
}


def resnet(num_layers: int, num_classes: int, height: int) -> Symbol:
    """The network for images of one height, with softmax output."""
    bottleneck = num_layers in (50, 101, 152, 200)
    if num_layers in (18, 34):
        widths = [64, 64, 128, 256, 512]
    else:
        widths = [64, 256, 512, 1024, 2048] if bottleneck else [16, 16, 32, 64]
    body = _norm(mx.sym.Variable("data"), "bn_data", fix_gamma=True)
    if height <= 32:
        body = _convolution(body, "conv0", widths[0], 3)
    else:
        body = _convolution(body, "conv0", widths[0], 7, stride=2)
        body = _rectified(_norm(body, "bn0"), "relu0")
        body = mx.sym.Pooling(body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    for stage, units in enumerate(UNITS[num_layers], 1):
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            stride = 2 if stage > 1 and unit == 1 else 1
            body = _unit(body, name, widths[stage], stride, unit == 1, bottleneck)
    body = _rectified(_norm(body, "bn1"), "relu1")
    body = mx.sym.Flatten(mx.sym.Pooling(body, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1"))
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(body, num_hidden=num_classes, name="fc1"), name="softmax")


def _unit(body: Symbol, name: str, width: int, stride: int, project: bool, bottleneck: bool) -> Symbol:
    if bottleneck:
        plan = [(width // 4, 1, 1), (width // 4, 3, stride), (width, 1, 1)]
    else:
        plan = [(width, 3, stride), (width, 3, 1)]
    shortcut = body
    for number, (filters, kernel, step) in enumerate(plan, 1):
        body = _rectified(_norm(body, f"{name}_bn{number}"), f"{name}_relu{number}")
        if number == 1 and project:
            shortcut = _convolution(body, name + "_sc", width, 1, stride)
        body = _convolution(body, f"{name}_conv{number}", filters, kernel, step)
    return body + shortcut


def _norm(body: Symbol, name: str, fix_gamma: bool = False) -> Symbol:
    return mx.sym.BatchNorm(body, fix_gamma=fix_gamma, eps=2e-5, momentum=0.9, name=name)


def _rectified(body: Symbol, name: str) -> Symbol:
    return mx.sym.Activation(body, act_type="relu", name=name)


def _convolution(body: Symbol, name: str, filters: int, kernel: int, stride: int = 1) -> Symbol:
    return mx.sym.Convolution(
        body,
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2, kernel // 2),
        no_bias=True,
        name=name,
    )
