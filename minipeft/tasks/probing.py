"""Probes for each layer, with Hewitt & Liang's control task.

Alain & Bengio 2016: a linear classifier of a layer's hidden states shows what can be read off them.
A classifier with a hidden layer finds more, and memorises more.
Hewitt & Liang 2019: a probe of random labels, one for each word, shows how much a probe memorises;
the accuracy on the real labels minus that is the probe's selectivity.

L layers   S = L + 1 states   B texts   T tokens   N examples, texts or tokens   C classes
"""

from hashlib import sha256

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..adaptation.method import stack
from ..autograd.backend import host
from ..data.batches import shuffled_batches
from ..methods import Probe
from ..methods.recorder import Recorder
from ..model.encoder_decoder import EncoderDecoder
from ..model.heads import Head, TokenClassifier, TokenHead, pooling
from ..training.logistic import LogisticRegression
from ..training.optim import AdamW, schedule
from ..training.parallel import ONE_BLAS_THREAD, Pool
from ..training.trainer import Trainer


def every_layer(model, ids, mask=None, token_types=None) -> np.ndarray:
    """Return hidden states (S, B, T, D): the input of the first block, then each block's output.

    Raises ValueError for an EncoderDecoder, which has two stacks.
    """
    if isinstance(model, EncoderDecoder):
        raise ValueError(
            "the layers of an encoder–decoder can't be probed: use a model of one stack"
        )
    recorder = Recorder()
    model.states(ids, recorder.attach(model), mask=mask, token_types=token_types)
    return host(np.stack(recorder.states))


def pool_states(states, mask=None, pool: str = "last") -> np.ndarray:
    """Return features (S, B, D) of texts, pooled from states (S, B, T, D) as Classifier does.

    Raises ValueError for pooling by attention, whose query is trained.
    """
    if pool == "attention":
        raise ValueError("pool='attention' has a trained query: use Classifier, or pool='mean'")
    mask = np.ones(states.shape[1:3], bool) if mask is None else np.asarray(mask, bool)
    if mask.shape != states.shape[1:3]:
        raise ValueError(f"mask {mask.shape} must have the shape of the texts, {states.shape[1:3]}")
    positions, weights = pooling(pool, mask)  # (B, R), (B, 1, R)
    h = states[:, np.arange(len(positions))[:, None], positions]  # (S, B, R, D)
    return (weights.astype(h.dtype) @ h)[:, :, 0]


class LayerHead(TokenHead):
    """softmax(W_s h_s) for all states s at once: a state is a row of a batch, an example a token

    features (S, N, D)   labels (S, N)   W (S, D, C), a bank of probes
    """

    def __init__(self, model, classes: int):
        check_classes(classes)
        super().__init__(TokenClassifier(model, classes).score, model.config)

    def labels_of_states(self, x, y) -> np.ndarray:
        """Return the labels y (N,) of features x (S, N, D), checked, for each state: (S, N)."""
        y, c = Head.targets(self, y), self.config
        expected = c.layers + 1, len(y), c.width
        if x.shape != expected:
            raise ValueError(
                f"for {len(y)} labels the features must be {expected}: states, examples, width; "
                f"got {x.shape}"
            )
        return np.broadcast_to(y, expected[:2])


def check_classes(classes: int) -> None:
    """Raise ValueError for fewer than two classes."""
    if classes < 2:
        raise ValueError(f"classes={classes}: a probe needs at least two classes")


def train_probes(head: LayerHead, x, y, l2: float = 1e-2) -> Adaptation:
    """Return a bank of probes, one for each state, solved for x (S, N, D) and labels y (N,).

    l2: λ of each probe's penalty λ/2 ‖W‖², as a multiple of the mean square of its features.
    For its errors see LogisticRegression.
    """
    probes, y = stack([Probe().attach(head)] * len(x)), head.labels_of_states(x, y)
    (W,) = probes.parameters()

    def solve(s):
        regression = LogisticRegression(x[s], y[s], head.score.shape[1])
        W.data[s] = np.asarray(regression.solve(l2 * regression.mean_square), like=W.data)

    with ONE_BLAS_THREAD:
        list(Pool().map(solve, range(len(x))))
    return probes


def train_hidden_probes(
    head: LayerHead, x, y, hidden: int = 32, steps: int = 500, size: int = 64, seed: int = 0
) -> Adaptation:
    """Return a bank of probes with a hidden layer, one for each state, for x (S, N, D) and y (N,).

    AdamW takes `steps` steps on batches of `size` examples.  A probe's training does not depend on
    the other states.
    """
    y, rng = head.labels_of_states(x, y), np.random.default_rng(seed)
    probes = stack([Probe(hidden=hidden).attach(head, rng)] * len(x))
    optimizer = AdamW(probes.parameters(), Probe.lr)
    decay = schedule("linear", steps, steps // 10)
    trainer = Trainer(head, probes, optimizer, schedule=decay, clip=np.inf)
    batches = shuffled_batches(range(x.shape[1]), min(size, x.shape[1]), rng)
    trainer.fit(((x[:, rows], y[:, rows]) for rows in batches), steps, progress=False)
    return probes


def accuracy_by_layer(head: LayerHead, probes: Adaptation, x, y) -> np.ndarray:
    """Return the accuracy (S,) of each probe on features x (S, N, D) with labels y (N,)."""
    y = head.labels_of_states(x, y)
    return (host(head(x, probes).data).argmax(-1) == y).mean(-1)


def control_labels(names, classes: int, seed: int = 0) -> np.ndarray:
    """Return a random label for each name, in the shape of `names`: the control task.

    A name is a word, a token id or a text, and has the same label wherever it occurs.  All labels
    are equally likely; Hewitt & Liang 2019, §2, draw them with the odds of the real labels.
    """
    check_classes(classes)
    unique, inverse = np.unique(names, return_inverse=True)
    digests = [sha256(f"{seed} {name!r}".encode()).digest() for name in unique.tolist()]
    labels = np.array([int.from_bytes(digest[:8]) % classes for digest in digests], int)
    return labels[inverse]
