"""What each layer of a frozen network knows: probes of all its states at once, and their control.

Alain & Bengio 2016: a linear classifier finds what lies open in a layer.  Hewitt & Liang 2019: what
it reaches on labels thrown by a coin it has by heart, and selectivity is what it has beyond that.

L layers   S = L + 1 states   B texts   T tokens   N examples, texts or tokens   C classes
"""

from hashlib import sha256

import numpy as np

from ..adaptation.method import stack
from ..autograd.backend import host
from ..data.batches import shuffled
from ..methods import Probe
from ..methods.recorder import Recorder
from ..model.heads import Head, TokenClassifier, TokenHead, pooling
from ..training.optim import AdamW, schedule
from ..training.trainer import Trainer


def every_layer(model, ids, mask=None, token_types=None):
    """States (S, B, T, D) of texts (B, T): what block 0 reads, then what each block yields."""
    recorder = Recorder()
    model.states(ids, recorder.attach(model), mask=mask, token_types=token_types)
    return host(np.stack(recorder.states))


def pool_states(states, mask=None, pool="last"):
    """Features (S, B, D) of texts by their states (S, B, T, D); mask and pool as of Classifier."""
    mask = np.ones(states.shape[1:3], bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != states.shape[1:3]:
        raise ValueError(f"mask {mask.shape} must have the shape of the texts, {states.shape[1:3]}")
    columns, weights = pooling(pool, mask)  # (B, R), (B, 1, R)
    h = states[:, np.arange(len(columns))[:, None], columns]  # (S, B, R, D)
    return (weights.astype(h.dtype) @ h)[:, :, 0]


class LayerHead(TokenHead):
    """softmax(W_s h_s) for all states s at once: these are the rows of a batch, examples its tokens

    features (S, N, D)   labels (S, N)   W (S, D, C), a bank of probes
    """

    def __init__(self, model, classes):
        super().__init__(TokenClassifier(model, two(classes)).score, model.config)

    def loss_at(self, *batch, **options):
        """Return the sum of their losses, not the mean, so that each is trained as if alone."""
        return (self.config.layers + 1) * super().loss_at(*batch, **options)

    def of_all(self, x, y):
        """Labels y (N,) of features x (S, N, D) as those of every state, (S, N)."""
        y, c = Head.targets(self, y), self.config
        wanted = c.layers + 1, len(y), c.width
        if x.shape != wanted:
            raise ValueError(f"{len(y)} labels are of features {wanted}; these are {x.shape}")
        return np.broadcast_to(y, wanted[:2])


def two(classes):
    if classes < 2:
        raise ValueError(f"classes={classes}: a probe tells apart two or more")
    return classes


def train_probes(head, x, y, steps=300, size=256, rate=1e-2, seed=0):
    """A bank of probes, one for each state, trained on features x (S, N, D) and labels y (N,)."""
    probes, y = stack([Probe().attach(head)] * len(x)), head.of_all(x, y)
    parts = shuffled(range(y.shape[1]), size, np.random.default_rng(seed))
    optimizer = AdamW(probes.parameters(), rate)
    # no clipping: it goes by the norm of all, and each would depend on the others
    trainer = Trainer(head, probes, optimizer, schedule("linear", steps), clip=np.inf)
    trainer.fit(((x[:, part], y[:, part]) for part in parts), steps, progress=False)
    return probes


def accuracy_by_layer(head, probes, x, y):
    """The share (S,) of the examples x (S, N, D) of which each probe says what y (N,) does."""
    y = head.of_all(x, y)
    return (host(head(x, probes).data).argmax(-1) == y).mean(-1)


def control_labels(names, classes, seed=0):
    """A label for each word type or text, thrown by a coin: names or ids, in any shape.

    Hewitt & Liang 2019, §2, with even odds: one name has one label, whenever it turns up.
    """
    C = two(classes)
    token_types, at = np.unique(names, return_inverse=True)
    throws = [sha256(f"{seed} {name!r}".encode()).digest() for name in token_types.tolist()]
    table = np.array([int.from_bytes(throw[:8]) % C for throw in throws], int)
    return table[at]
