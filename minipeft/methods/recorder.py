"""Recording hidden states, for prompts that start from words and for probes of every layer."""

from ..adaptation.method import Method


class Recorder(Method):
    """Method that changes nothing, and records the inputs and the outputs of blocks.

    states: L + 1 arrays (B, T, D): the input of the first block, and the output of each block.
    inputs: {path: input}, also of the keys of cross-attentions, which is the encoder's output.
    """

    targets = r"^((en|de)coder\.)?blocks\.\d+(\.cross\.k)?$"

    def __init__(self):
        self.states, self.inputs = [], {}

    def apply(self, layer, x):
        y, self.inputs[layer.path] = layer(x), x.data
        self.states += [y.data] if self.states else [x.data, y.data]
        return y
