"""PPO: a policy learns from a score of whole answers.

N answers   T tokens of a text   R tokens of an answer
"""

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..autograd.backend import host
from ..autograd.ops import narrow
from ..autograd.tensor import Tensor
from ..model.transformer import Decoder
from ..storage.folders import remove_killed_saves, replace_folder, write_atomically
from ..storage.json import CheckpointError, parse_json, read_bytes
from ..training.interrupt import interruptible
from ..training.parallel import ONE_BLAS_THREAD, shard_rows
from ..training.trainer import NonFinite, Trainer, progress_bar
from .losses import policy_loss, value_loss
from .ppo_config import PPOConfig
from .ranking import ValueModel
from .returns import BASELINES, KL_ESTIMATORS, adapt_beta, gae, token_rewards, whiten
from .rollout import Answers, answer_log_p, check_reference, compute, sample

FILE = "ppo.json"


class Rollout(NamedTuple):
    """What is known of the sampled answers before the policy changes; all (N, R)."""

    log_p: np.ndarray  # log π_old of each token
    log_ref: np.ndarray  # log π_ref
    V: np.ndarray  # values before each token; 0 without a value network
    A: np.ndarray  # advantages
    returns: np.ndarray

    def of(self, rows, length: int) -> "Rollout":
        """Return the first `length` columns of some rows."""
        return Rollout(*(x[rows, :length] for x in self))


class PPO:
    """max_π E[score - β KL(π ‖ π_ref)] + γ_ptx E[log π(x)]        Ouyang et al. 2022, eq. 2

    There is one frozen model: the policy π is model(ids, γ), the reference π_ref is model(ids), and
    the value network is the same trunk with an adaptation and a head of its own.  The policy should
    start as the identity, as LoRA does; a fine-tuned γ₀ is merged first.

    The divergence is the reverse one, KL(π ‖ π_ref), over answers of the policy.  It penalises
    answers that are unlikely under π_ref, and lets the policy drop answers that are likely there.

    A step samples answers, then takes epochs × ⌈N / minibatch⌉ optimizer steps, which schedules of
    the learning rate count.  There is no dropout: π is the same function when it samples and when
    it learns.  The value network has an optimizer of its own, so its loss needs no weight.  With
    AdamW(eps_hat=True), ε is where OpenAI's code has it.

    policy: a Trainer of an adaptation of a Decoder.
    score: f(ids, mask) returns the score (N,) of texts (N, T): prompts, padded on the left, with
    their answers and the end-of-text tokens.
    eos: ids of the tokens that end an answer.
    value: a Trainer of an adaptation of a ValueModel, for baseline="value".
    pretraining: f(rng) returns a batch of general text, (ids, labels) or (ids, labels, mask), for
    ptx above 0.
    observe: f(answers) returns {name: number}, further statistics of a step.
    """

    def __init__(
        self,
        policy: Trainer,
        score: Callable,
        eos: Sequence[int],
        *,
        value: Trainer | None = None,
        pretraining: Callable | None = None,
        observe: Callable[[Answers], dict] = lambda answers: {},
        config: PPOConfig | None = None,
    ):
        c = self.config = config or PPOConfig()
        if (c.baseline == "value") != (value is not None):
            raise ValueError(
                f"baseline={c.baseline!r} and value={value!r}: baseline='value' needs a value "
                "network, and the others have none"
            )
        self.trainers = {"policy": policy} | ({"value": value} if value else {})
        for name, trainer in self.trainers.items():
            network = {"policy": Decoder, "value": ValueModel}[name]
            if not isinstance(trainer.model, network):
                raise TypeError(
                    f"{name} must train a {network.__name__}, not a {type(trainer.model).__name__}"
                )
        check_reference(policy.adaptation)
        if c.ptx and not pretraining:
            raise ValueError(f"ptx={c.ptx} needs pretraining, a function that returns a batch")
        self.policy, self.value, self.score, self.eos = policy, value, score, [*eos]
        self.pretraining, self.observe = pretraining, observe
        self.beta, self.history = c.beta, []  # statistics of each step
        self.saved: Path | None = None  # folder of the last save

    def step(self, prompts: Sequence[Sequence[int]]) -> dict:
        """Sample answers to prompts, lists of ids, improve the policy, and return statistics.

        They are means over the answers: score (minus the penalty), kl (by k1) and k3 of an answer,
        length, ended; beta; and means over the optimizer steps: loss, value_loss, and clipped, the
        share of ratios outside 1 ± ε.
        Raises NonFinite if a tensor is not finite.  No error changes anything.
        """
        c, rng = self.config, np.random.default_rng([self.config.seed, self.t])
        with ONE_BLAS_THREAD:  # more are slower for one token of each text
            answers = sample(
                self.policy.model,
                [prompt for prompt in prompts for _ in range(c.group)],
                self.policy.adaptation,
                eos=self.eos,
                rng=rng,
                max_new_tokens=c.max_new_tokens,
                temperature=c.temperature,
            )
        score = self.penalised_score(answers)
        observed = {name: float(x) for name, x in self.observe(answers).items()}
        rollout = self.rollout(answers, score)
        with self.unchanged_on_error():
            losses = self.improve(answers, rollout, rng)
        log_ratio = rollout.log_ref - rollout.log_p
        kl = {k: float(KL_ESTIMATORS[k](log_ratio).sum(1).mean()) for k in ("k1", "k3")}
        length = float(answers.real.sum(1).mean())
        stats = {"score": float(score.mean()), "kl": kl["k1"], "k3": kl["k3"], "beta": self.beta}
        stats |= {"length": length, "ended": float(answers.ended.mean())}
        self.history.append(stats | losses | observed)
        if c.kl_target:
            self.beta = adapt_beta(self.beta, kl["k1"], len(score), c.kl_target, c.kl_horizon)
        return self.history[-1]

    @property
    def t(self) -> int:
        """Number of steps taken."""
        return len(self.history)

    def penalised_score(self, answers: Answers) -> np.ndarray:
        """Return the score (N,) of each answer, minus the penalty if it has no end-of-text token.

        Raises ValueError if the score function returns another shape.
        """
        score, N = self.score(answers.ids, answers.mask), len(answers.ids)
        score = np.asarray(host(score), float)
        if score.shape != (N,):
            raise ValueError(
                f"score returned the shape {score.shape} for {N} texts: it must return one number "
                f"for each, ({N},)"
            )
        return score - self.config.missing_eos_penalty * ~answers.ended

    def rollout(self, answers: Answers, score) -> Rollout:
        """Return probabilities, values, advantages and returns of answers with a score (N,)."""
        c, real = self.config, answers.real
        log_p = self.each(answers, lambda part: self.log_p(part, self.policy.adaptation))
        log_ref = self.each(answers, lambda part: self.log_p(part, None))
        V = np.zeros_like(log_p)
        if self.value:
            V = self.each(answers, lambda part: self.values(part, self.value.adaptation))
        self.check_finite(score=score, log_p=log_p, log_ref=log_ref, V=V)
        r = token_rewards(score, KL_ESTIMATORS[c.kl](log_ref - log_p), real, self.beta)
        if c.whiten_rewards:
            r = whiten(r, real, shift_mean=False)
        if self.value:
            A = gae(r, V, real, c.gamma, c.lam)
            return Rollout(log_p, log_ref, V, whiten(A, real), A + V)
        A = BASELINES[c.baseline](r.sum(1).reshape(-1, c.group)).reshape(-1, 1) * real
        return Rollout(log_p, log_ref, V, A, A)

    def each(self, answers, f) -> np.ndarray:
        """Return f (N, R) of all answers, computed in batches of similar length."""
        R = answers.real.shape[1]

        def padded(rows):
            y = host(f(answers.of(rows)).data)
            return Tensor(np.pad(y, ((0, 0), (0, R - y.shape[1]))))

        return compute(padded, answers.texts())

    def log_p(self, answers, γ):
        """Return log π (N, R) of answers, for the adaptation γ."""
        ids, mask, real, _ = answers
        τ = self.config.temperature
        return answer_log_p(self.policy.model, ids, real, γ, mask=mask, temperature=τ)

    def values(self, answers, γ):
        """Return V (N, R) before each token of answers."""
        ids, mask, real, _ = answers
        V = self.value.model(ids, γ, mask=mask)
        return narrow(V, ids.shape[1] - real.shape[1] - 1, ids.shape[1] - 1)

    def improve(self, answers, rollout, rng) -> dict:
        """Take the optimizer steps of all epochs; return means of the losses."""
        N, c, losses = len(answers.ids), self.config, []
        for _ in range(c.epochs):
            for rows in np.array_split(rng.permutation(N), -(-N // c.minibatch)):
                losses.append(self.improve_on(rows, answers, rollout, rng))
        return {name: float(np.mean([row[name] for row in losses])) for name in losses[0]}

    def improve_on(self, rows, answers, rollout, rng) -> dict:
        """Take one step of the policy, and of the value network, on a minibatch."""
        c, lengths, clipped = self.config, answers.real.sum(1), []
        rows = rows[np.argsort(lengths[rows])]  # a shard has similar lengths: less padding
        count = lengths[rows].sum()
        text = self.pretraining(rng) if c.ptx else None
        shards = {
            name: shard_rows((len(rows), answers.ids.shape[1]), t.model_size, t.micro_batches)
            for name, t in self.trainers.items()
        }

        def loss(i, γ, s):
            part = answers.of(rows[i])
            log_p, old = self.log_p(part, γ), rollout.of(rows[i], part.real.shape[1])
            ρ = np.exp(host(log_p.data) - old.log_p)
            self.check_finite(ratio=ρ)
            clipped.append(((abs(ρ - 1) > c.epsilon) & part.real).sum())
            y = policy_loss(log_p, old.log_p, old.A, part.real, epsilon=c.epsilon, count=count)
            if text and s < len(text[0]):
                y = y + self.pretraining_loss(text, γ, slice(s, None, len(shards["policy"])))
            return y

        def squared_error(i, γ, s):
            part = answers.of(rows[i])
            V, old = self.values(part, γ), rollout.of(rows[i], part.real.shape[1])
            return value_loss(
                V, old.V, old.returns, part.real, epsilon=c.value_epsilon, count=count
            )

        stats = {"loss": self.policy.update(loss, shards["policy"])}
        stats["clipped"] = sum(clipped) / count
        if self.value:
            stats["value_loss"] = self.value.update(squared_error, shards["value"])
        return stats

    def pretraining_loss(self, text, γ, part):
        """Return γ_ptx times what some rows of a batch of general text add to its loss."""
        ids, labels, mask = (*text, None)[:3]
        targets = self.policy.model.targets(labels, mask)
        real = None if mask is None else mask[part]
        count = max(1, (targets >= 0).sum())
        y = self.policy.model.loss_at(ids[part], targets[part], γ, mask=real, count=count)
        return y * self.config.ptx

    def check_finite(self, **tensors) -> None:
        """Raise NonFinite, naming the tensor, if one is NaN or infinite."""
        for name, x in tensors.items():
            if not np.isfinite(x).all():
                raise NonFinite(
                    f"step {self.t}: {name} is not finite; nothing was changed. Lower the learning "
                    "rate, or check the score function"
                )

    @contextmanager
    def unchanged_on_error(self):
        """Set trainers, optimizers and parameters back if the context raises an error."""
        optimizers = [trainer.optimizer for trainer in self.trainers.values()]
        attributes = [(x, dict(vars(x))) for x in (*optimizers, *self.trainers.values())]
        arrays = [x for o in optimizers for x in (*(p.data for p in o.parameters), *o.m, *o.v)]
        copies = [x.copy() for x in arrays]
        try:
            yield
        except BaseException:
            for x, copy in zip(arrays, copies):
                x[...] = copy
            for x, values in attributes:
                vars(x).update(values)
            raise

    def fit(
        self,
        prompts: Callable,
        steps: int,
        *,
        progress: bool | Callable[[int, float], None] = True,
        folder: str | Path | None = None,
        save_every: int = 10,
    ) -> list[dict]:
        """Take steps until there are `steps` in all; return the statistics of all, from the first.

        prompts: f(rng) returns the prompts of a step.
        progress, folder, save_every: see Trainer.fit; progress shows the loss.
        Raises CheckpointError if the folder has the save of another training.
        """
        if save_every < 1:
            raise ValueError(f"save_every={save_every} must be at least 1")
        if folder and Path(folder, FILE).exists() and self.saved != Path(folder).resolve():
            raise CheckpointError(
                f"{folder} already has a training: ppo.resume({str(folder)!r}) continues it, or "
                "choose another folder"
            )
        with (
            interruptible(folder) if folder else nullcontext() as interrupted,
            progress_bar(steps, self.t, progress) as show,
        ):
            while self.t < steps and not interrupted:
                stats = self.step(prompts(np.random.default_rng([self.config.seed, self.t, 1])))
                show(self.t, stats["loss"])
                if folder and (self.t % save_every == 0 or self.t == steps or interrupted):
                    self.save(folder)
        return self.history

    # -- on disk

    def save(self, folder: str | Path) -> None:
        """Save the training in `folder`, for `resume`; an earlier save stays until it is whole."""
        state = {"config": asdict(self.config), "beta": self.beta, "history": self.history}
        folder = Path(folder).resolve()
        remove_killed_saves(folder)
        with replace_folder(folder, FILE, *self.trainers) as new:
            for name, trainer in self.trainers.items():
                trainer.save(new / name)
            write_atomically(new / FILE, json.dumps(state).encode())
        self.saved = folder

    def resume(self, folder: str | Path) -> None:
        """Continue from a saved training; this PPO must be created like the saved one.

        Raises CheckpointError, and changes nothing, if the folder is malformed or of another one.
        """
        path = Path(folder, FILE)
        state = parse_json(read_bytes(path), path)
        if state.get("config") != asdict(self.config):
            raise CheckpointError(
                f"{path}: the settings were {state.get('config')!r}, and here they are "
                f"{asdict(self.config)!r}: make them equal"
            )
        beta, history = state.field("beta", -1.0, float), state.get("history")
        if beta < 0:
            raise CheckpointError(f"{path}: beta={beta} must be at least 0")
        if not is_history(history):
            raise CheckpointError(
                f"{path}: history={history!r:.40} must be statistics of each step"
            )
        with self.unchanged_on_error():
            for name, trainer in self.trainers.items():
                trainer.resume(Path(folder, name))
        self.beta, self.history, self.saved = beta, history, Path(folder).resolve()


def is_history(value) -> bool:
    """Return whether a value of JSON is a list of {name: number}."""
    rows = value if isinstance(value, list) else [value]
    numbers = (isinstance(row, dict) and {*map(type, row.values())} <= {int, float} for row in rows)
    return rows is value and all(numbers)
