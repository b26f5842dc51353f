"""Recording hidden states, for prompts that start from words and for probes of every layer."""

from ..adaptation.method import Method


class Recorder(Method):
    """Method that changes nothing, and appends hidden states to the list `states`.

    states: L + 1 arrays (B, T, D): the input of the first block, and the output of each block.
    """

    targets = r"^blocks\.\d+$"

    def __init__(self):
        self.states = []

    def apply(self, layer, x):
        y = layer(x)
        self.states += [y.data] if self.states else [x.data, y.data]
        return y
