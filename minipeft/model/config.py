"""Configuration of a network: sizes and architecture."""

from dataclasses import dataclass

from ..autograd.functional import exact_gelu, gelu, relu, silu
from ..autograd.nn import LayerNorm, RMSNorm
from ..autograd.ops import tanh
from .positions import POSITIONS

LINEARS = "q", "k", "v", "o", "gate", "up", "down"
NORMS = {"layer": LayerNorm, "rms": RMSNorm}
ACTIVATIONS = {"gelu_tanh": gelu, "gelu": exact_gelu, "relu": relu, "silu": silu}
POOLERS = {"tanh": tanh, "relu": relu}


@dataclass(frozen=True)
class Config:
    """Configuration of a network.  The defaults are those of GPT-2: Radford et al. 2019."""

    vocabulary: int  # V, number of words
    width: int  # D, of the hidden states
    layers: int  # L, number of blocks
    heads: int  # H, of an attention
    length: int  # longest text, in tokens
    key_heads: int | None = None  # K, for grouped-query attention; None: `heads`
    head_width: int | None = None  # d; None: width / heads
    ffn_width: int | None = None  # F, of the feed-forward layers; None: 4 · width
    positions: str = "learned"  # scheme: learned | rotary | relative | none
    position_offset: int = 0  # row of the table of learned positions that position 0 has
    rope_theta: float = 10000.0  # base of the rotary frequencies
    rope_scaling: tuple = ()  # of rotary positions, for longer texts than in training: see Rotary
    buckets: int = 32  # of distances, with relative positions
    max_distance: int = 128  # from which on all distances share a bucket
    window: int | None = None  # number of tokens a token attends to, itself included; None: all
    norm: str = "layer"  # layer | rms
    eps: float = 1e-5  # ε of the norms
    tied_head: bool = True  # whether the head has the weights of the embedding
    activation: str = "gelu_tanh"  # gelu_tanh | gelu | relu | silu
    gated: bool = False  # whether a second linear layer, the gate, multiplies the first
    biases: tuple = LINEARS  # which of these layers have a bias
    post_norm: bool = False  # norms after the residual connections; False: before the sub-layers
    causal: bool = True  # whether a token attends to no later token
    token_types: int = 0  # number of token types, for pairs of texts
    pooler: str = "tanh"  # activation of a pooler: tanh | relu
    scaled_attention: bool = True  # whether scores are divided by √d
    scaled_head: bool = False  # whether the input of the head is divided by √D
    decoder_layers: int = 0  # blocks of the decoder of an EncoderDecoder; 0: there is one stack
    decoder_start: int = 0  # token id that begins the text of that decoder

    def __post_init__(self):
        groups, window = self.key_heads or self.heads, self.window or 1
        if min(self.vocabulary, self.width, self.heads, self.length, groups, window) < 1:
            raise ValueError(f"every size in a configuration must be at least 1; got {self}")
        if self.position_offset < 0:
            raise ValueError(f"position_offset={self.position_offset} must not be negative")
        for name in ("eps", "rope_theta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be greater than 0")
        factor, low, high, _ = self.rope_scaling or (1, 0, 1, None)
        if not (factor > 0 and 0 <= low < high):
            raise ValueError(
                f"rope_scaling={self.rope_scaling} must be (factor, low, high, length) with "
                "0 < factor and 0 <= low < high"
            )
        if self.heads % groups or not self.head_width and self.width % self.heads:
            raise ValueError(
                f"width {self.width} must be a multiple of heads {self.heads}, "
                f"and heads of key_heads {groups}"
            )
        if not 0 <= self.decoder_start < self.vocabulary:
            raise ValueError(
                f"decoder_start={self.decoder_start} must be a token id below {self.vocabulary}"
            )
        if self.buckets < 4 or self.buckets % 2 or self.max_distance <= self.buckets // 2:
            raise ValueError(
                f"buckets={self.buckets} must be even and at least 4, and "
                f"max_distance={self.max_distance} more than half of it"
            )
        choices = {"positions": POSITIONS, "norm": NORMS, "activation": ACTIVATIONS}
        choices |= {"pooler": POOLERS}
        for field, known in choices.items():
            if getattr(self, field) not in known:
                raise ValueError(
                    f"{field}={getattr(self, field)!r} must be one of {', '.join(known)}"
                )
        if not {*self.biases} <= {*LINEARS}:
            raise ValueError(f"biases={self.biases} may have only {', '.join(LINEARS)}")
        if self.positions == "rotary" and self.d % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.d}")

    @property
    def d(self) -> int:
        """Width of a head."""
        return self.head_width or self.width // self.heads

    @property
    def has_pooler(self) -> bool:
        """Whether pre-training makes a pooler: BERT's, on pairs of texts, but not RoBERTa's."""
        return self.token_types > 1 and not self.position_offset
