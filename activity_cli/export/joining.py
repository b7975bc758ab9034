"""Graphs in a row made one: pictures -> CNN -> classifier, where the CNN alone was quantised.

B clips, S streams, T frames per clip, H = W pixels, D features, C labels.
"""

from typing import Any

import numpy as np

from activity_cli.common.optional_dependencies import import_openvino


def join_openvino(pictures: Any, cnn: Any, classifier: Any) -> Any:
    """One openvino.Model of three.

    Args:
        pictures: frames to pictures (B, S, T, H, W, channels).
        cnn: images (N, H, W, channels) to features (N, D).
        classifier: features (B, S, T, D) to scores (B, C).
    """
    ov = import_openvino()
    ops = ov.opset13
    source = pictures.get_results()[0].input_value(0)
    picture = [cnn.input(0).get_partial_shape()[axis].get_length() for axis in (1, 2, 3)]
    size = cnn.output(0).get_partial_shape()[1].get_length()
    flat = ops.reshape(source, [-1, *picture], special_zero=False)
    _connect(flat, cnn)
    leading = ops.gather(ops.shape_of(source), [0, 1, 2], 0)
    shape = ops.concat([leading, [size]], 0)
    features = cnn.get_results()[0].input_value(0)
    _connect(ops.reshape(features, shape, special_zero=False), classifier)
    return ov.Model(classifier.get_results(), pictures.get_parameters(), "model")


def _connect(node: Any, network: Any) -> None:
    """Let a network read a node in place of its only input."""
    for reader in network.get_parameters()[0].output(0).get_target_inputs():
        reader.replace_source_output(node.output(0))


def join_onnx(pictures: Any, cnn: Any, classifier: Any) -> Any:
    """One onnx.ModelProto of three; the arguments are those of `join_openvino`."""
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
    glue = [
        [helper.make_node("Reshape", [images, "join/image"], [second.input[0].name])],
        [
            helper.make_node("Shape", [images], ["join/sizes"]),
            helper.make_node("Gather", ["join/sizes", "join/axes"], ["join/leading"]),
            helper.make_node("Concat", ["join/leading", "join/size"], ["join/shape"], axis=0),
            helper.make_node(
                "Reshape", [second.output[0].name, "join/shape"], [third.input[0].name]
            ),
        ],
    ]
    graph = helper.make_graph(
        [*first.node, *glue[0], *second.node, *glue[1], *third.node],
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
    _rename(joined.graph, "pictures/", "classifier/")
    return joined


def _rename(graph: Any, *prefixes: str) -> None:
    """Give inputs and outputs the names back that they had before they got a prefix."""
    names = {}
    for value, prefix in zip((graph.input, graph.output), prefixes, strict=True):
        for one in value:
            names[one.name] = one.name.removeprefix(prefix)
            one.name = names[one.name]
    for node in graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]
