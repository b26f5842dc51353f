"""Classification of texts, and of pairs of texts."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation
from ..autograd.backend import host
from ..autograd.tensor import no_grad
from ..data.batches import shuffled_batches
from ..data.files import DataError
from ..methods import FullFineTuning, Probe
from ..methods.template import IGNORED
from ..model.heads import Classifier, Head
from ..training.logistic import PATH_GAP, LogisticRegression
from ..training.parallel import ONE_BLAS_THREAD, map_batches
from .base import Task
from .pools import folder_pool, pools_for

START = 1e-2  # λ of the probe that other methods start from, in mean squares of the features


def classifier(base, classes: int, bias: bool = False, pool: str | None = None) -> Classifier:
    """Return a classifier with this pool; None: the usual one."""
    return Classifier(base, classes, pool or pools_for(base)[0], bias)


class Classify(Task):
    """Predict the class of each text, or pair of texts.  Examples: (text, class).

    classes: what the outputs of the head of `base`, a Classifier, mean: the head is kept.
    None: the classes are those of the training examples, and the head is new.
    pool: what a new head reads, see Classifier.  None: what the base's folder asks for; else the
    usual pool of such a base, until `choose_pool`.

    The trunk is frozen, so the features that a Probe reads are computed once, unless it pools by
    attention.  A linear Probe of such features is solved.
    """

    def __init__(self, *args, classes: list | None = None, pool: str | None = None, **options):
        self.head_classes, self.pool = classes, pool
        super().__init__(*args, **options)
        is_new = isinstance(self.network, Classifier) and self.network is not self.base
        is_free = is_new and not (pool or folder_pool(self.base))
        self.pools = pools_for(self.base) if is_free else []  # to choose from
        self.pool = getattr(self.network, "pool", None)
        self.forget_features()

    def fit_labels(self, labels):
        counts = Counter(labels)
        self.classes = self.head_classes or sorted(counts)
        self.most_frequent = max(counts, key=counts.get, default=None)
        if len(self.classes) < 2:
            raise DataError(
                f"{self.name}: every example has the label {self.most_frequent!r}; a classifier "
                "needs at least two labels"
            )

    def network_for(self, base):
        if not (self.head_classes and isinstance(base, Classifier)):
            return classifier(base, len(self.classes), pool=self.pool or folder_pool(base))
        if self.pool not in (None, base.pool):
            raise ValueError(
                f"pool={self.pool!r}: the head of the model was trained with pool={base.pool!r}, "
                "and is kept: leave out the pool"
            )
        return base

    def encode_label(self, encoding, label):
        if label is None:  # of a text whose class is only predicted
            return IGNORED
        if label not in self.classes:
            split = next((s for s in self.splits if label in self.labels(s)), "a split")
            raise DataError(
                f"{self.name}: the label {label!r} has no training example, and {split} has one; "
                "add examples of it, or remove them all"
            )
        return self.classes.index(label)

    def predict_batch(self, examples, adaptation):
        ids, _, mask, token_types = self.collate(examples, adaptation)
        logits = self.network(ids, adaptation, mask=mask, token_types=token_types)
        return [self.classes[c] for c in host(logits.data.argmax(-1))]

    def constant_prediction(self, label):
        return self.most_frequent

    # -- probes

    def with_base(self, base):
        other = super().with_base(base)
        other.forget_features()
        return other

    def forget_features(self) -> None:
        """Start without cached features and solved probes."""
        self.cache: dict[tuple, np.ndarray] = {}  # {(pool, split): features}
        self.solved: dict[str | None, Solution] = {}  # by pool

    def features(self, split: str, size: int = 64, progress: Callable = iter) -> np.ndarray:
        """Return the features (N, D) of the texts, or of the tagged words, of a split.

        size, progress: see `predict`.
        """
        if (self.pool, split) not in self.cache:
            self.read_features(split, [self.network], size, progress)
        return self.cache[self.pool, split]

    def read_features(self, split, networks: list, size: int = 64, progress: Callable = iter):
        """Cache the features of a split for networks that differ in their pool alone."""
        examples = self.examples[split]

        def read(indices):
            ids, labels, mask, token_types = self.collate([examples[i] for i in indices])
            inputs = {"mask": mask, "token_types": token_types}
            if len(networks) == 1:
                xs = [networks[0].features(ids, **inputs)[0]]
            else:
                h, forward = networks[0].states(ids, **inputs)
                xs = [network.pool_states(h, mask, forward) for network in networks]
            return zip(*(self.head_inputs(host(x.data), labels) for x in xs))

        rows = map_batches(read, [ids for ids, *_ in examples], size, progress)
        for network, x in zip(networks, zip(*rows)):
            self.cache[getattr(network, "pool", None), split] = np.concatenate(x)

    def head_inputs(self, h: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Return what is classified of each text, (1, D) or (words, D), of features (B, R, D)."""
        return list(h)

    def targets(self, split: str) -> np.ndarray:
        """Return the number of the class of each row of `features`."""
        return np.array([label for _, label, _ in self.examples[split]])

    def named(self, logits: np.ndarray, split: str) -> list:
        """Return the prediction for each example of a split, given logits (N, C)."""
        return [self.classes[c] for c in logits.argmax(1)]

    @property
    def head(self) -> Head:
        """The head of the network alone, which reads `features`."""
        return Head(self.network.score, self.network.config)

    def has_fixed_features(self, method) -> bool:
        """Return whether a method leaves `features` as they are: a Probe without a query."""
        return isinstance(method, Probe) and self.pool != "attention"

    def is_solved(self, method) -> bool:
        return self.has_fixed_features(method) and method.hidden is None

    def model_and_batches(self, adaptation, size, rng):
        if not self.has_fixed_features(getattr(adaptation, "method", None)):
            return super().model_and_batches(adaptation, size, rng)
        x, y = self.features("train")[:, None], self.targets("train")
        rows = shuffled_batches(range(len(y)), size, rng)
        return self.head, ((x[i], y[i]) for i in rows)

    def predict(self, adaptation, split, size=64, progress=iter):
        if not self.has_fixed_features(getattr(adaptation, "method", None)):
            return super().predict(adaptation, split, size, progress)
        x = self.features(split, size, progress)[:, None]
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):  # of a training that diverged
            return self.named(host(self.head(x, adaptation).data), split)

    def solution(self) -> "Solution":
        """Return the solved probe of the frozen trunk; it is computed once for each pool."""
        if "dev" not in self.splits:
            raise ValueError(
                f"{self.name}: a probe's λ is chosen on 'dev', a split that is missing"
            )
        if self.pool not in self.solved:
            metric, bias = next(iter(self.metrics)), "b" in self.network.score.tensors()
            x, dev = (extended(self.features(split), bias) for split in ("train", "dev"))
            score = lambda W: self.compute_metrics(self.named(dev @ W, "dev"), "dev")[metric]
            with ONE_BLAS_THREAD:
                regression = LogisticRegression(x, self.targets("train"), len(self.classes))
                λ, W = regression.choose(score)
                start = regression.solve(START * regression.mean_square, gap=PATH_GAP)
                self.solved[self.pool] = Solution(λ, W, score(W), start)
        return self.solved[self.pool]

    def solve(self, adaptation: Adaptation) -> float:
        """Set the head in an adaptation that `attach` returned to the solved probe; return its λ.

        λ is chosen by the score on dev.  Raises ValueError if the adaptation trains no head, and
        see LogisticRegression for features that are not finite.
        """
        solution = self.solution()
        if not self.set_head(adaptation, solution.W):
            raise ValueError(f"{adaptation} does not train the matrix of the head")
        return solution.λ

    def start_head(self, adaptation):
        """Let a new head start at a probe with a strong penalty        Kumar et al. 2022

        A head with large weights, as the best probe may have, keeps the trunk near its features.
        """
        if self.network is not self.base and "dev" in self.splits:
            self.set_head(adaptation, self.solution().start)

    def set_head(self, adaptation: Adaptation, W: np.ndarray) -> bool:
        """Set the trained linear head, if there is one, to W, with a bias as its last row."""
        parts = [m for m in adaptation.leaves() if m.adapts("score")]
        full = [m for m in parts if isinstance(m.method, FullFineTuning)]
        heads = [m.at["score"] for m in full if not getattr(m.method, "hidden", None)]
        width = self.base.config.width
        for head in heads:
            for name, rows in ("W", W[:width]), ("b", W[width:]):
                if name in head:
                    p = head[name].data
                    p[...] = np.asarray(rows.astype(p.dtype), like=p)
        return bool(heads)

    def choose_pool(self) -> dict[str, float] | None:
        """Set the pool to that whose probe has the highest score on dev; return all scores.

        The trunk runs once for all pools that suit the base.  Of equal scores the first pool wins,
        the usual one.  Returns None and changes nothing if the pool was given, by the caller or by
        the folder of the base, or if the head is trained already.
        """
        if not self.pools:
            return None
        networks = {p: classifier(self.base, len(self.classes), pool=p) for p in self.pools}
        for split in ("train", "dev"):
            self.read_features(split, [*networks.values()])
        scores = {}
        for self.pool, self.network in networks.items():
            scores[self.pool] = self.solution().score
        self.pool = max(scores, key=scores.get)
        self.network = networks[self.pool]
        return scores


class Solution(NamedTuple):
    """A solved probe: λ, the matrix (D, C), with a bias as its last row, and the score on dev.

    start: the matrix for λ = START, from which other methods train the head.
    """

    λ: float
    W: np.ndarray
    score: float
    start: np.ndarray


def extended(x: np.ndarray, bias: bool) -> np.ndarray:
    """Return features (N, D), or (N, D + 1) with a column of ones for a bias."""
    return np.append(x, np.ones((len(x), 1), x.dtype), 1) if bias else x
