"""Encoders and masked language models: BERT, RoBERTa, DistilBERT        Devlin et al. 2019

B batch   T tokens   R positions   D width   V vocabulary
"""

from functools import partial

from ..autograd.nn import Linear, Module, TiedHead, full
from .config import ACTIVATIONS, NORMS, POOLERS, Config
from .inputs import check_labels
from .transformer import LanguageModel, Transformer

BertConfig = partial(
    Config, eps=1e-12, activation="gelu", post_norm=True, causal=False, token_types=2
)
RobertaConfig = partial(BertConfig, eps=1e-5, token_types=1, position_offset=2)
DistilBertConfig = partial(BertConfig, token_types=0, pooler="relu")


class Pooler(Linear):
    """σ(W h_CLS + b)        σ = tanh: Devlin et al. 2019, §3.1"""

    def __init__(self, c, rng, std=0.02):
        super().__init__(c.width, c.width, rng, std)
        self.σ = POOLERS[c.pooler]

    def pooled(self, x, forward):
        """Return the pooled state (B, 1, D) of x (B, 1, D), the hidden state of [CLS]."""
        return self.σ(forward(self, x))


class Encoder(Transformer):
    """BERT without a head: the trunk, and the pooler that pre-training on pairs of texts makes.

    RoBERTa and DistilBERT are not trained on pairs, and have no pooler.
    """

    def __init__(self, config, rng):
        super().__init__(config, rng)
        if config.has_pooler:
            self.pooler = Pooler(config, rng)
        self.freeze()


class Transform(Module):
    """ln(σ(W h + b)): what the head of a masked language model reads"""

    composite = True

    def __init__(self, c, rng):
        self.dense, self.ln = Linear(c.width, c.width, rng), NORMS[c.norm](c.width, c.eps)
        self.σ = ACTIVATIONS[c.activation]

    def __call__(self, h, forward):
        return forward(self.ln, self.σ(forward(self.dense, h)))


class MaskedLMHead(TiedHead):
    """z = x Wᵀ + b        W (V, D) of the embedding"""

    def __init__(self, embedding):
        super().__init__(embedding)
        self.b = full(0, len(self.W.data))

    def __call__(self, x):
        return super().__call__(x) + self.b


class MaskedLM(LanguageModel, Encoder):
    """Masked language model        Devlin et al. 2019, §3.1"""

    def __init__(self, config, rng):
        super().__init__(config, rng)
        self.transform = Transform(config, rng)
        self.head = MaskedLMHead(self.tokens)
        self.freeze()

    def logits(self, h, forward):
        """Return logits (B, R, V) of hidden states (B, R, D)."""
        return forward(self.head, forward(self.transform, h))

    def targets(self, labels, mask=None):
        """Return the class that each token (B, T) has to predict: its own label, or -100."""
        return check_labels(labels, mask, self.config.vocabulary)[0]
