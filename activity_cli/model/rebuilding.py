"""A saved model -> the torch module that scores clips, of one network or of several members."""

from collections.abc import Mapping
from dataclasses import fields

import torch
from torch import Tensor

from activity_cli.errors import ModelError
from activity_cli.model.folder import MODEL_FILE, Model, ModelDescription, member_name
from activity_cli.model.network import ClipScorer, Ensemble, FeatureStatistics, SequenceClassifier


def load_scorer(model: Model) -> ClipScorer:
    """The network of a saved model, in eval mode, as engines convert it.

    Raises:
        ModelError: the weights are gone, changed or of another network.
    """
    description = model.description
    tensors = {name: torch.from_numpy(tensor) for name, tensor in model.weights().items()}
    try:
        if description.num_members == 1:
            classifier: SequenceClassifier | Ensemble = _rebuild(description, tensors)
        else:
            members = [_member(tensors, number) for number in range(description.num_members)]
            classifier = Ensemble([_rebuild(description, member) for member in members])
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"The weights in {model.folder} are not those of the network in {MODEL_FILE}.",
            hint="Restore the folder from a copy, or train again.",
        ) from error
    return ClipScorer(classifier, temperature=description.temperature).eval()


def _rebuild(description: ModelDescription, tensors: Mapping[str, Tensor]) -> SequenceClassifier:
    """A network from its tensors."""
    statistics = FeatureStatistics(
        **{field.name: tensors[field.name] for field in fields(FeatureStatistics)}
    )
    network = SequenceClassifier(
        description.network, num_labels=len(description.labels), statistics=statistics
    )
    network.load_state_dict(tensors)
    return network


def _member(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """The tensors of one member of an ensemble, by the names that they have in it."""
    prefix = member_name(number, "")
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
