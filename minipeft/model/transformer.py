"""Transformers: attention, feed-forward layers, blocks, and decoders.

B batch   T queries   S keys   D width   H heads   K key heads   d width of a head   V vocabulary
"""

import numpy as np

from ..adaptation.adaptation import Adaptation, check_model
from ..adaptation.cache import Cache
from ..adaptation.forward import Forward
from ..adaptation.method import PLAIN, as_adaptation
from ..autograd.functional import attention, cross_entropy, join_heads, split_heads
from ..autograd.nn import Embedding, Linear, Module, TiedHead, replace
from ..autograd.tensor import Tensor, no_grad
from .config import ACTIVATIONS, NORMS, Config
from .inputs import Inputs, check_inputs, check_labels, check_targets, labelled_positions
from .positions import POSITIONS


class NoTokenTypes(Module):
    """Null object in place of token types: nothing is added."""

    def embed(self, h, token_types, forward):
        return h


class TokenTypes(NoTokenTypes, Embedding):
    """h + W[type]; virtual tokens have type 0        Devlin et al. 2019, §3"""

    def embed(self, h, token_types, forward):
        return h + forward(self, np.pad(token_types, ((0, 0), (forward.prompt, 0))))


class Identity(Module):
    """y = x"""

    def __call__(self, x):
        return x


def residual_std(c):
    """Return the initial standard deviation of W_o and W_down        Radford et al. 2019, §2.3"""
    return 0.02 * (2 * c.layers) ** -0.5


class Attention(Module):
    """W_o [head_1; …; head_H]        Vaswani et al. 2017, §3.2.2

    norm, positions: the norm before the attention and the network's position scheme, for methods
    that compute keys and values themselves.
    """

    composite = True

    def __init__(self, c, rng, positions, norm):
        self.width, self.positions, self.norm = c.width, positions, norm
        self.K, self.d, D = c.key_heads or c.heads, c.d, c.width
        self.q = Linear(D, c.heads * c.d, rng, bias="q" in c.biases)
        self.k = Linear(D, self.K * c.d, rng, bias="k" in c.biases)
        self.v = Linear(D, self.K * c.d, rng, bias="v" in c.biases)
        self.o = Linear(c.heads * c.d, D, rng, residual_std(c), bias="o" in c.biases)

    def __call__(self, x, forward):
        q = self.positions.turn(forward(self.q, x), forward)  # (B, T, H d)
        k = self.positions.turn(forward(self.k, x), forward)  # rotated before a prefix is added
        k, v, real = forward.extend(self, k, forward(self.v, x))  # (B, S, K d)
        q, k, v = (split_heads(z, self.K, self.d) for z in (q, k, v))
        masked = forward.mask(real, like=q.data)
        return forward(self.o, join_heads(attention(q, k, v, masked=masked, scale=self.d**-0.5)))


class Mlp(Module):
    """W_down σ(W_up x)        Vaswani et al. 2017, eq. 2"""

    composite = True

    def __init__(self, c, rng):
        self.width, F, self.σ = c.width, c.ffn_width or 4 * c.width, ACTIVATIONS[c.activation]
        self.up = Linear(c.width, F, rng, bias="up" in c.biases)
        self.down = Linear(F, c.width, rng, residual_std(c), bias="down" in c.biases)

    def __call__(self, x, forward):
        return forward(self.down, self.σ(forward(self.up, x)))


class GatedMlp(Mlp):
    """W_down (σ(W_gate x) ⊙ W_up x)        Shazeer 2020, eq. 6"""

    def __init__(self, c, rng):
        super().__init__(c, rng)
        self.gate = Linear(*self.up.shape, rng, bias="gate" in c.biases)

    def __call__(self, x, forward):
        return forward(self.down, self.σ(forward(self.gate, x)) * forward(self.up, x))


class Block(Module):
    """h ← h + attn(ln1(h));  h ← h + mlp(ln2(h))        Radford et al. 2019, §2.3"""

    composite = True

    def __init__(self, c, rng, positions):
        norm = NORMS[c.norm]
        self.ln1 = norm(c.width, c.eps)
        self.attn = Attention(c, rng, positions, self.attention_norm())
        self.ln2, self.mlp = norm(c.width, c.eps), (GatedMlp if c.gated else Mlp)(c, rng)

    def attention_norm(self):
        """Return the norm between the input of the block and its attention, if any."""
        return self.ln1

    def __call__(self, h, forward):
        h = h + forward(self.attn, forward(self.ln1, h))
        h = forward.keep_needed(self, h)
        return h + forward(self.mlp, forward(self.ln2, h))


class PostNormBlock(Block):
    """h ← ln1(h + attn(h));  h ← ln2(h + mlp(h))        Vaswani et al. 2017, §3.1"""

    def attention_norm(self):
        return Identity()

    def __call__(self, h, forward):
        h = forward.keep_needed(self, h + forward(self.attn, h))
        h = forward(self.ln1, h)
        return forward(self.ln2, h + forward(self.mlp, h))


class Transformer(Module):
    """Trunk of a network: embeddings, blocks and a norm, without a head."""

    folder_settings: dict = {}  # config.json of the folder that the model was loaded from
    generation_config: dict = {}  # its generation_config.json
    pooling_config: dict = {}  # its 1_Pooling/config.json, of sentence-transformers

    def __init__(self, config: Config, rng: np.random.Generator):
        c = self.config = config
        self.causal = c.causal
        self.tokens = Embedding(c.vocabulary, c.width, rng)
        self.positions = POSITIONS[c.positions](c, rng)
        self.types = TokenTypes(c.token_types, c.width, rng) if c.token_types else NoTokenTypes()
        block = PostNormBlock if c.post_norm else Block
        self.blocks = [block(c, rng, self.positions) for _ in range(c.layers)]
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
        if cache and (as_adaptation(adaptation) is not PLAIN or rng is not None):
            raise ValueError(
                "a cache has its own adaptation and dropout: Cache(γ, rng), then "
                "model(ids, cache=cache)"
            )
        cache = cache or Cache(adaptation, rng, keep=False)
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
        self, ids, targets, adaptation=None, *, mask=None, token_types=None, rng=None, count=None
    ) -> Tensor:
        """Return the loss for targets (B, T), which `targets` returned for the labels."""
        cache = Cache(adaptation, rng, keep=False)
        inputs = check_inputs(self.config, ids, cache.adaptation, mask, token_types)
        check_targets(targets, inputs.ids.shape)
        positions, targets = labelled_positions(targets)
        z = self.logits(*self.run(inputs, cache, positions))
        return cross_entropy(z, targets, count or max(1, (targets >= 0).sum()))


class Decoder(LanguageModel):
    """Causal language model."""

    def __init__(self, config: Config, rng: np.random.Generator):
        super().__init__(config, rng)
        self.head = (
            TiedHead(self.tokens)
            if config.tied_head
            else Linear(config.width, config.vocabulary, rng, bias=False)
        )
        self.freeze()

    def logits(self, h, forward):
        return forward(self.head, h)

    def first_logits(self, inputs: Inputs, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after each text, without a graph."""
        with no_grad():
            return self.logits(*self.run(inputs, cache, inputs.last)).data[:, 0]

    def next_logits(self, ids, cache: Cache) -> np.ndarray:
        """Return the logits (B, V) of the token after one more token of each text, ids (B, 1)."""
        with no_grad():
            return self(ids, cache=cache).data[:, 0]

    def targets(self, labels, mask=None):
        """Return what each token (B, T) predicts: the label of the next real token, or -100."""
        labels, real = check_labels(labels, mask, self.config.vocabulary)
        row, at = np.nonzero(real)  # the real tokens, in order
        follows = row[1:] == row[:-1]
        targets = np.full(labels.shape, -100)
        targets[row[:-1][follows], at[:-1][follows]] = labels[row[1:][follows], at[1:][follows]]
        return targets
