"""Transformers: stacks of blocks, language models, and decoders.

B batch   T tokens   R positions   D width   K key heads   d width of a head   V vocabulary
"""

import numpy as np

from ..adaptation.adaptation import Adaptation, check_model
from ..adaptation.cache import Cache
from ..adaptation.forward import Forward
from ..adaptation.method import PLAIN, as_adaptation
from ..autograd.functional import cross_entropy
from ..autograd.nn import Embedding, Linear, Module, TiedHead, replace
from ..autograd.tensor import Tensor, no_grad
from .blocks import Block, NoTokenTypes, PostNormBlock, TokenTypes
from .config import NORMS, Config
from .inputs import Inputs, check_inputs, check_labels, check_targets, labelled_positions
from .positions import POSITIONS


class Transformer(Module):
    """Trunk of a network: embeddings, blocks and a norm, without a head."""

    folder_settings: dict = {}  # config.json of the folder that the model was loaded from
    generation_config: dict = {}  # its generation_config.json
    pooling_config: dict = {}  # its 1_Pooling/config.json, of sentence-transformers

    def __init__(self, config: Config, rng: np.random.Generator, cross: bool = False):
        c = self.config = config
        self.causal = c.causal
        self.tokens = Embedding(c.vocabulary, c.width, rng, 1.0 if c.scaled_head else 0.02)
        self.positions = POSITIONS[c.positions](c, rng)
        self.types = TokenTypes(c.token_types, c.width, rng) if c.token_types else NoTokenTypes()
        block = PostNormBlock if c.post_norm else Block
        self.blocks = [block(c, rng, self.positions, cross) for _ in range(c.layers)]
        self.ln = NORMS[c.norm](c.width, c.eps)
        self.order = [self.ln, *self.blocks] if c.post_norm else [*self.blocks, self.ln]

    def __call__(
        self,
        ids,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        token_types=None,
        positions=None,
        cache: Cache | None = None,
        rng=None,
    ) -> Tensor:
        """Return the last hidden states (B, T, D), or (B, R, D) at `positions`; see `states`."""
        h, _ = self.states(
            ids,
            adaptation,
            mask=mask,
            token_types=token_types,
            positions=positions,
            cache=cache,
            rng=rng,
        )
        return h

    def states(
        self,
        ids,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        token_types=None,
        positions=None,
        cache: Cache | None = None,
        rng=None,
        position_ids=None,
    ) -> tuple[Tensor, Forward]:
        """Return the last hidden states (B, T, D), and the Forward.

        ids (B, T): token ids; with a cache those that follow the tokens in the cache.
        mask (B, T): True or 1 at tokens, False or 0 at padding, on any side; None: no padding.
        token_types (B, T): types of the tokens, where the model has them; None: all 0.
        positions (B, R): columns to return, as states (B, R, D); None: all.
        cache: a KV cache; it has the adaptation.  rng: generator of dropout; None: no dropout.
        position_ids (B, T): None: the number of real and virtual tokens before each token.

        Raises ValueError for inputs that the model can't read, an adaptation of another model, and
        an adaptation or rng beside a cache.
        """
        cache = check_cache(cache, adaptation, rng)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask, token_types)
        return self.run(inputs, cache, positions, position_ids)

    def run(self, inputs: Inputs, cache: Cache, positions=None, position_ids=None):
        """Return what `states` returns, for inputs that `check_inputs` returned."""
        if cache.real is not None and not self.causal:
            raise ValueError("an encoder can't continue a text: give it the whole text at once")
        check_model(cache.adaptation, self)
        fronts = {}
        if cache.real is None:
            fronts = self.share_prompt(cache, len(inputs.ids))
        forward = Forward(
            cache, self, inputs.real, fronts=fronts, positions=positions, given_ids=position_ids
        )
        return self.compute(inputs, forward), forward

    def compute(self, inputs, forward):
        """Return the last hidden states (B, T, D), or (B, R, D) at the positions of `forward`."""
        h = forward.prepend(self.tokens, forward(self.tokens, inputs.ids))
        h = self.types.embed(self.positions.embed(h, forward), inputs.token_types, forward)
        for layer in self.order:
            h = forward(layer, h)
        return h

    def keys_and_values(self, ids, adaptation: Adaptation | None = None) -> dict:
        """Return {path of an attention: [k, v]}, each (B, T, K d), of texts ids (B, T)."""
        self.states(ids, cache=(cache := Cache(adaptation)))
        return {path: front.rows for path, front in cache.kv.items()}

    def share_prompt(self, cache, B):
        """Return the fronts that are already computed, and put a shared prompt into the cache.

        In a causal model a prompt does not depend on the text after it.  If all B rows share it, it
        is computed for one row, and the cache has its keys and values.
        """
        if B == 1 or not (self.causal and cache.adaptation.shared):
            return {}
        prompt = cache.adaptation.prepended(self.tokens, 1)
        if prompt is None:
            return {self.tokens.path: None}
        none = np.zeros((1, 0), int)
        inputs, one = Inputs(none, none.astype(bool), none), replace(cache, kv={}, keep=True)
        self.compute(inputs, Forward(one, self, inputs.real, fronts={self.tokens.path: prompt}))
        cache.fill(one, B)
        return {}


def check_cache(cache, adaptation, rng) -> Cache:
    """Return the cache, or one for a single pass; raise ValueError if it has another adaptation."""
    if cache and (as_adaptation(adaptation) is not PLAIN or rng is not None):
        raise ValueError(
            "a cache has its own adaptation and dropout: Cache(γ, rng), then "
            "model(ids, cache=cache)"
        )
    return cache or Cache(adaptation, rng, keep=False)


class LanguageModel(Transformer):
    """Transformer with logits of the vocabulary at every position."""

    def logits(self, h, forward) -> Tensor:
        """Return logits (B, T, V) of hidden states (B, T, D)."""
        raise NotImplementedError

    def targets(self, labels, mask=None) -> np.ndarray:
        """Return the id that each token (B, T) has to predict, or -100, for labels (B, T).

        Raises ValueError for labels that are not ids or -100.
        """
        raise NotImplementedError

    def __call__(
        self,
        ids,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        token_types=None,
        positions=None,
        cache: Cache | None = None,
        rng=None,
    ) -> Tensor:
        """Return logits (B, T, V), or (B, R, V) at `positions`; for the arguments see `states`."""
        h, forward = self.states(
            ids,
            adaptation,
            mask=mask,
            token_types=token_types,
            positions=positions,
            cache=cache,
            rng=rng,
        )
        return self.logits(h, forward)

    def loss(
        self,
        ids,
        labels,
        adaptation: Adaptation | None = None,
        *,
        mask=None,
        token_types=None,
        rng=None,
        count: int | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy, a scalar, of labels (B, T) that are not -100 or padding.

        A decoder predicts each label from the tokens before it, a masked language model from all.
        count: divisor of the sum, such as the number of labels of the whole batch for a shard of
        it; None: the number of labels here.  For the other arguments see `states`.
        """
        targets = self.targets(labels, mask)
        return self.loss_at(
            ids, targets, adaptation, mask=mask, token_types=token_types, rng=rng, count=count
        )

    def loss_at(
        self,
        ids,
        targets,
        /,
        adaptation=None,
        *,
        mask=None,
        token_types=None,
        rng=None,
        count=None,
    ) -> Tensor:
        """Return the loss for targets (B, T), which `targets` returned for the labels."""
        z, targets = self.labelled_logits(
            ids, targets, adaptation, mask=mask, token_types=token_types, rng=rng
        )
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))

    def labelled_logits(
        self, ids, targets, adaptation=None, *, mask=None, token_types=None, rng=None
    ) -> tuple[Tensor, np.ndarray]:
        """Return logits (B, R, V) where there are targets, and the targets (B, R) there.

        targets: (B, T), which `targets` returned for the labels.
        """
        cache = Cache(adaptation, rng, keep=False)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask, token_types)
        check_targets(targets, inputs.ids.shape)
        positions, targets = labelled_positions(targets)
        return self.logits(*self.run(inputs, cache, positions)), targets


def new_head(stack, rng):
    """Return the head of a stack: its embedding, or a matrix of its own."""
    c = stack.config
    if c.tied_head:
        return TiedHead(stack.tokens)
    return Linear(c.width, c.vocabulary, rng, bias=False)


class Decoder(LanguageModel):
    """Causal language model."""

    def __init__(self, config: Config, rng: np.random.Generator):
        super().__init__(config, rng)
        self.head = new_head(self, rng)
        self.freeze()

    def logits(self, h, forward):
        return forward(self.head, h)

    def first_logits(self, inputs: Inputs, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after each text, without a graph."""
        with no_grad():
            return self.logits(*self.run(inputs, cache, inputs.last)).data[:, 0]

    def next_logits(self, ids, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after one more token of each text, ids (B, 1)."""
        inputs = Inputs(ids, np.ones(ids.shape, bool), np.zeros(ids.shape, int))
        with no_grad():
            return self.logits(*self.run(inputs, cache)).data[:, 0]

    def targets(self, labels, mask=None):
        """Return what each token (B, T) predicts: the label of the next real token, or -100."""
        labels, real = check_labels(labels, mask, self.config.vocabulary)
        row, at = np.nonzero(real)  # the real tokens, in order
        follows = row[1:] == row[:-1]
        targets = np.full(labels.shape, -100)
        targets[row[:-1][follows], at[:-1][follows]] = labels[row[1:][follows], at[1:][follows]]
        return targets
