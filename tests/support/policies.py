"""A small policy whose answers can all be listed, and its exact optimum."""

from itertools import product

import numpy as np

import minipeft as mp
from minipeft.feedback.ppo import PPO, PPOConfig
from minipeft.feedback.ranking import ValueModel
from minipeft.feedback.rollout import answer_log_p

BETA = 0.5


class Enumerated:
    """A model with a prompt, all its answers of R tokens out of V, and their scores."""

    def __init__(self, V, R, seed=0):
        rng = np.random.default_rng(seed)
        model = mp.Decoder(mp.Config(V, width=16, layers=1, heads=2, length=8), rng)
        self.model = model.map(lambda t: mp.Tensor(t.data * (10 if t.ndim > 1 else 1)))
        self.answers = np.array([*product(range(V), repeat=R)])
        self.texts = np.insert(self.answers, 0, 0, axis=1)  # the prompt is the token 0
        self.r = rng.uniform(-1, 1, len(self.answers))
        self.eos = range(V) if R == 1 else ()

    def score(self, ids, mask):
        V, R = self.model.config.vocabulary, self.answers.shape[1]
        return self.r[ids[:, -R:] @ V ** np.arange(R)[::-1]]

    def probabilities(self, γ=None):
        """Return π(y|x) of each answer y."""
        real = np.ones(self.answers.shape, bool)
        log_p = answer_log_p(self.model, self.texts, real, γ).data
        return np.exp(log_p.sum(1, dtype=float))

    def optimum(self, β=BETA):
        """Return π* ∝ π_ref exp(r / β)."""
        weights = self.probabilities() * np.exp(self.r / β)
        return weights / weights.sum()

    def distance(self, γ, β=BETA):
        """Return Σ |π - π*|."""
        return abs(self.probabilities(γ) - self.optimum(β)).sum()


def trainer(model, method, lr=1e-2, steps=None, workers=1, **options):
    """Return a Trainer of a method, with a learning rate that falls to 0 if there are `steps`."""
    γ = method.attach(model, np.random.default_rng(1))
    schedule = mp.schedule("linear", steps) if steps else None
    optimizer = mp.AdamW(γ.parameters(), lr)
    return mp.Trainer(model, γ, optimizer, schedule=schedule, workers=workers, **options)


def ppo(model, score, eos, *, method=None, lr=1e-2, steps=None, options=None, **config):
    """Return a PPO of full fine-tuning; with a value network, unless there is another baseline.

    options: keywords of PPO.  config: fields of PPOConfig.
    """
    c = PPOConfig(**{"max_new_tokens": 1, "epochs": 2, "beta": BETA} | config)
    steps = steps and steps * c.epochs
    method = method or mp.FullFineTuning()
    value = None
    if c.baseline == "value":
        value = trainer(ValueModel(model), mp.FullFineTuning(), 3 * lr, steps)
    policy = trainer(model, method, lr, steps)
    return PPO(policy, score, eos, value=value, config=c, **options or {})
