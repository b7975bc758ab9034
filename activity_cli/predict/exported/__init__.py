"""What runs an exported graph: one file per runtime, imported when a file of its format is opened.

The parity gate and prediction use the same ones. Each also knows how to read the metadata that
`formats` wrote into a file of its format.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class GraphRunner(Protocol):
    """One graph, ready to run. Not for calls from several threads at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Compute the graph's output from its inputs by name; see `signature`."""
        ...
