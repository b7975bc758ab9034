"""8-bit integers for the CNN, calibrated on images like those that it will see.

Only the CNN is quantised: it is nearly all of the work. The classifier, motion images and
normalisation stay in fp32. NNCF is what quantises, for both formats. Measured on EfficientNet-Lite0
with 200 images to calibrate and 256 others, both from clips of surveillance cameras, as relative
error of the features (norm of the difference by norm of the features), on two cores with AMX:

    ONNX Runtime's quantize_static, Conv only, per channel, min-max    0.640
    the same without the first 3 convolutions                          0.279    230 images/s
    the same with percentiles (took 79 s)                              0.216
    NNCF with fast bias correction                                     0.263
    NNCF with bias correction by layers                                0.165
    the same without the first 3 convolutions, OpenVINO                0.082
    the same, ONNX                                                     0.085     78 images/s
    the same, ONNX, fitted to ONNX Runtime (see below)                 0.083    440 images/s
    fp32, ONNX                                                         0        250 images/s
"""

import contextlib
import io
from typing import Any

import numpy as np

from activity_cli.common.optional_dependencies import import_nncf
from activity_cli.types import Images

CALIBRATION_IMAGES = 200
"""More are not better: 100 gave 0.104 where 200 gave 0.106."""
_FULL_PRECISION_CONVOLUTIONS = 3
"""The first ones see raw pixels, whose small differences eight bits lose; see the table above."""


def quantize_openvino(cnn: Any, images: Images) -> Any:
    """Quantise a CNN given as openvino.Model.

    Args:
        cnn: with one input, images (N, H, W, channels) uint8, N free or fixed.
        images: to calibrate with, of that size.
    """
    shape = cnn.input(0).get_partial_shape()
    cnn.reshape([1, *images.shape[1:]])  # a fixed size computes faster, and single images do
    order = cnn.get_ordered_ops()
    kinds = {"Convolution", "GroupConvolution"}
    convolutions = [op.get_friendly_name() for op in order if op.get_type_name() in kinds]
    quantised = _quantize(cnn, [image[None] for image in images], convolutions)
    quantised.reshape(shape)
    return quantised


def quantize_onnx(cnn: Any, images: Images) -> Any:
    """Quantise a CNN given as onnx.ModelProto; arguments as for `quantize_openvino`."""
    name = cnn.graph.input[0].name
    convolutions = [node.name for node in cnn.graph.node if node.op_type == "Conv"]
    inputs = [{name: image[None]} for image in images]
    quantised = _quantize(cnn, inputs, convolutions, activations_per_tensor=True)
    _fit_to_onnx_runtime(quantised)
    return quantised


def pick_images(stacks: list[Images]) -> Images:
    """Up to `CALIBRATION_IMAGES` of all images (N, H, W, channels), spread evenly over them."""
    images = np.concatenate(stacks)
    count = min(CALIBRATION_IMAGES, len(images))
    picked: Images = images[np.arange(count) * len(images) // count]
    return picked


def _quantize(
    cnn: Any, inputs: list[Any], convolutions: list[str], *, activations_per_tensor: bool = False
) -> Any:
    nncf = import_nncf()
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        QuantizationParameters,
    )

    activations = QuantizationParameters(per_channel=False if activations_per_tensor else None)
    # It draws progress bars on stdout, which is for results.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return nncf.quantize(
            cnn,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(names=convolutions[:_FULL_PRECISION_CONVOLUTIONS]),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_quantization_params=activations
            ),
        )


def _fit_to_onnx_runtime(model: Any) -> None:
    """Say the same in a way that ONNX Runtime (1.32) has integer kernels for.

    It computes a convolution in integers where input and output have one type, and drops a Clip
    whose bounds the integers cannot leave. NNCF mixes int8 and uint8, and its ranges end at
    6.0000001 where the Clip ends at 6.
    """
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    done: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero = weights[node.input[1]], weights[node.input[2]]
        scale_value, zero_value = numpy_helper.to_array(scale), numpy_helper.to_array(zero)
        if scale_value.size > 1:  # weights have one scale per channel, activations a single one
            continue
        if zero.name not in done and zero_value.dtype == np.int8:
            shifted = (zero_value.astype(np.int16) + 128).astype(np.uint8)
            zero.CopyFrom(numpy_helper.from_array(shifted, zero.name))
        if scale.name not in done:
            smaller = (scale_value * (1 - 1e-6)).astype(np.float32)
            scale.CopyFrom(numpy_helper.from_array(smaller, scale.name))
        done |= {zero.name, scale.name}
    del model.graph.value_info[:]  # the types were those of before
