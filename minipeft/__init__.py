"""How a frozen language model is adapted: a reference implementation in NumPy."""

from .adapt import PLAIN, Adaptation, Chain, Each, merge, stack
from .heads import Classifier
from .methods import Adapter, Encoded, FullFineTuning, LoRA, PrefixTuning, Probe, PromptTuning
from .reading import Memory
from .tensor import Tensor, grad, no_grad
from .transformer import Config, Decoder
