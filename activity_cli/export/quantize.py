"""8-bit integers for the CNN, calibrated on images like those that it will see.

Only the CNN is quantized, since it is nearly all of the work. The classifier, motion images and
normalisation stay in fp32, so a model in one graph is joined from three. NNCF quantizes for both
formats. Measured on EfficientNet-Lite0, calibrated with 200 images and compared on 256 others of
surveillance cameras, on two cores with AMX; the error is the norm of the difference of the features
by the norm of the features:

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

from activity_cli.common.optional_dependencies import import_nncf, import_openvino
from activity_cli.types import Images

CALIBRATION_IMAGES = 200
"""More are not better: 100 gave 0.104 where 200 gave 0.106."""
_FULL_PRECISION_CONVOLUTIONS = 3
"""The first ones see raw pixels, whose small differences eight bits lose; see the table above."""


def quantize_openvino(cnn: Any, images: Images) -> Any:
    """Quantize an openvino.Model of images (N, H, W, channels) uint8, N free or fixed.

    `images` calibrate it.
    """
    shape = cnn.input(0).get_partial_shape()
    cnn.reshape([1, *images.shape[1:]])  # a fixed size computes faster, and single images do
    order = cnn.get_ordered_ops()
    kinds = {"Convolution", "GroupConvolution"}
    convolutions = [op.get_friendly_name() for op in order if op.get_type_name() in kinds]
    quantized = _quantize(cnn, [image[None] for image in images], convolutions)
    quantized.reshape(shape)
    return quantized


def quantize_onnx(cnn: Any, images: Images) -> Any:
    """Quantize a CNN given as onnx.ModelProto; arguments as for `quantize_openvino`."""
    name = cnn.graph.input[0].name
    convolutions = [node.name for node in cnn.graph.node if node.op_type == "Conv"]
    inputs = [{name: image[None]} for image in images]
    quantized = _quantize(cnn, inputs, convolutions, activations_per_tensor=True)
    _fit_to_onnx_runtime(quantized)
    return quantized


def pick_images(stacks: list[Images]) -> Images:
    """Pick up to `CALIBRATION_IMAGES` of all images (N, H, W, channels), evenly spread."""
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
        OverflowFix,
        QuantizationParameters,
    )

    activations = QuantizationParameters(per_channel=False if activations_per_tensor else None)
    # NNCF draws progress bars on stdout, which is for results.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return nncf.quantize(
            cnn,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(names=convolutions[:_FULL_PRECISION_CONVOLUTIONS]),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_quantization_params=activations,
                overflow_fix=OverflowFix.ENABLE,  # an export also runs on CPUs without VNNI
            ),
        )


def _fit_to_onnx_runtime(model: Any) -> None:
    """Rewrite the quantization so that ONNX Runtime (1.32) has integer kernels for it.

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


def join_openvino(pictures: Any, cnn: Any, classifier: Any) -> Any:
    """Join the openvino.Models of three parts to one; their shapes are those of `signature_of`."""
    ov = import_openvino()
    ops = ov.opset13
    source = pictures.get_results()[0].input_value(0)
    picture = [cnn.input(0).get_partial_shape()[axis].get_length() for axis in (1, 2, 3)]
    size = cnn.output(0).get_partial_shape()[1].get_length()

    def connect(node: Any, network: Any) -> None:
        """Replace the only input of a network by a node."""
        for reader in network.get_parameters()[0].output(0).get_target_inputs():
            reader.replace_source_output(node.output(0))

    connect(ops.reshape(source, [-1, *picture], special_zero=False), cnn)
    leading = ops.gather(ops.shape_of(source), [0, 1, 2], 0)
    shape = ops.concat([leading, [size]], 0)
    features = cnn.get_results()[0].input_value(0)
    connect(ops.reshape(features, shape, special_zero=False), classifier)
    return ov.Model(classifier.get_results(), pictures.get_parameters(), "model")


def join_onnx(pictures: Any, cnn: Any, classifier: Any) -> Any:
    """Join three onnx.ModelProtos to one; arguments as for `join_openvino`."""
    from onnx import compose, helper, numpy_helper

    graphs = [
        compose.add_prefix(network, f"{name}/").graph
        for name, network in (("pictures", pictures), ("cnn", cnn), ("classifier", classifier))
    ]
    first, second, third = graphs
    picture = [axis.dim_value for axis in second.input[0].type.tensor_type.shape.dim[1:]]
    size = second.output[0].type.tensor_type.shape.dim[1].dim_value
    constants = {"image": [-1, *picture], "axes": [0, 1, 2], "size": [size]}
    images = first.output[0].name
    node, features = helper.make_node, second.output[0].name
    glue = [
        node("Shape", [images], ["join/sizes"]),
        node("Gather", ["join/sizes", "join/axes"], ["join/leading"]),
        node("Concat", ["join/leading", "join/size"], ["join/shape"], axis=0),
        node("Reshape", [features, "join/shape"], [third.input[0].name]),
    ]
    flat = node("Reshape", [images, "join/image"], [second.input[0].name])
    graph = helper.make_graph(
        [*first.node, flat, *second.node, *glue, *third.node],
        "model",
        first.input,
        third.output,
        [
            *(weight for part in graphs for weight in part.initializer),
            *(
                numpy_helper.from_array(np.array(values, np.int64), f"join/{name}")
                for name, values in constants.items()
            ),
        ],
    )
    joined = helper.make_model(graph, opset_imports=classifier.opset_import)
    joined.ir_version = classifier.ir_version
    # Inputs and outputs have the names of before, without the prefix.
    names = {}
    for value in (*joined.graph.input, *joined.graph.output):
        names[value.name] = value.name.partition("/")[2]
        value.name = names[value.name]
    for part in joined.graph.node:
        for ends in (part.input, part.output):
            ends[:] = [names.get(name, name) for name in ends]
    return joined
