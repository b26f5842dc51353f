"""Learning from human feedback on the built-in world: demonstrations, a reward model, PPO."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..adaptation.adaptation import Adaptation, parameter
from ..adaptation.merge import merge
from ..data.batches import pad_pairs, passages
from ..feedback.comparisons import Comparisons
from ..feedback.demonstrations import Demonstrations
from ..feedback.ppo import FILE as PPO_FILE
from ..feedback.ppo import PPO
from ..feedback.ppo_config import PPOConfig
from ..feedback.ranking import RewardModel, ValueModel, center
from ..feedback.rollout import Answers, compute, sample
from ..methods import FullFineTuning, LoRA
from ..model.special_tokens import eos_ids
from ..training.checkpoint import FILE
from ..training.optim import AdamW, schedule
from ..training.parallel import map_batches
from ..training.trainer import Trainer
from ..world.corpus import documents
from ..world.feedback import Labeller, Prompt, demonstration, splits
from ..world.vocabulary import END

TRAIN = 1000  # prompts
MAX_NEW_TOKENS = 48
LORA = LoRA(16, targets=r"(attn|mlp)\.\w+$")  # of the policy
LEAST, MOST = 4, 9  # ranked answers to a prompt: Ouyang et al. 2022, §3.5
TEXTS = 24  # in a batch of the reward model
BATCH, EPOCHS, MINIBATCH = 64, 2, 32  # answers of PPO
PASSAGES, LENGTH, DOCUMENTS = 16, 64, 2000  # of general text, for PPO-ptx


@dataclass
class FeedbackPlan:
    """How much is sampled and trained."""

    sft_steps: int = 250
    """Optimizer steps of supervised fine-tuning, of 16 demonstrations each."""
    prompts: int = 700
    """Prompts whose sampled answers are ranked, four to nine answers each."""
    reward_steps: int = 350
    """Optimizer steps of the reward model, of about 24 answers each."""
    ppo_steps: int = 16
    """Steps of PPO, of 64 answers each."""
    beta: float = 0.3
    """Weight of the KL penalty."""
    ptx: float = 0.2
    """Weight of the pretraining loss in PPO-ptx."""
    noise: float = 0.1
    """Probability that the labeller swaps two answers that are neighbours in the true order."""
    seed: int = 0
    """Seed of all that is drawn."""


class Ranking(NamedTuple):
    """A prompt, answers to it, and their ranks by the labeller: higher is better."""

    prompt: Prompt
    answers: list[str]
    ranks: list[int]


class Results:
    """Results of stages, from which a pipeline is resumed: this class keeps none."""

    def get(self, name: str, compute: Callable):
        """Return compute(), a value of JSON, or what was kept under this name."""
        return compute()


class Pipeline:
    """The three steps of InstructGPT        Ouyang et al. 2022, fig. 2

    A stage is computed when it is first asked for.
    base: a built-in decoder.  folder: where the trainings are saved; None: nowhere.
    progress: progress(stage, steps) returns a context manager of a progress bar.
    """

    def __init__(
        self,
        base,
        tokenizer,
        plan: FeedbackPlan,
        progress: Callable,
        *,
        folder: Path | None = None,
        results: Results | None = None,
    ):
        self.base, self.tokenizer, self.plan, self.progress = base, tokenizer, plan, progress
        self.folder, self.results = folder, results or Results()
        self.eos, self.prompts = eos_ids(base, tokenizer), splits(plan.seed, TRAIN)
        self.labeller = Labeller(plan.noise)
        self.policies: dict[str, Adaptation] = {}  # of PPO, by name

    def rng(self, *purpose: int) -> np.random.Generator:
        """Return the generator of one purpose."""
        return np.random.default_rng([self.plan.seed, *purpose])

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return self.tokenizer.encode(text).ids

    def answers(self, model, adaptation, texts: list[str], purpose: int) -> list[str]:
        """Return a sampled answer to each of the texts of prompts."""
        rows = [self.encode(text) for text in texts]

        def answer(indices):
            answers = sample(
                model,
                [rows[i] for i in indices],
                adaptation,
                eos=self.eos,
                rng=self.rng(purpose, indices[0]),
                max_new_tokens=MAX_NEW_TOKENS,
            )
            return map(self.tokenizer.decode, answers.texts())

        return map_batches(answer, rows)

    def encode_answer(self, answer: str) -> list[int]:
        """Return the ids of an answer, with the token that ends it."""
        return [*self.encode(answer), self.eos[0]]

    # -- training

    def trainer(self, model, adaptation: Adaptation, lr: float, steps: int) -> Trainer:
        """Return a trainer whose learning rate falls to 0."""
        optimizer = AdamW(adaptation.parameters(), lr)
        factor = schedule("linear", steps, steps // 10)
        return Trainer(model, adaptation, optimizer, schedule=factor, seed=self.plan.seed)

    def fit(self, stage: str, trainer: Trainer, batches: Iterator, steps: int) -> None:
        """Train, or continue, one stage."""
        folder = self.folder and self.folder / stage
        if folder and (folder / FILE).exists():
            trainer.resume(folder)
        with self.progress(stage, steps) as bar:
            trainer.fit(batches, steps, progress=bar.show, folder=folder)

    # -- step 1: demonstrations

    @cached_property
    def demonstrations(self) -> Demonstrations:
        """Prompts with the answers of people, who are not perfect: see `demonstration`."""
        rng = self.rng(0)
        return Demonstrations(
            [
                (self.encode(prompt.text), self.encode_answer(demonstration(rng, prompt)))
                for prompt in self.prompts["train"]
            ]
        )

    @cached_property
    def sft(self):
        """The base after supervised fine-tuning; it is frozen in the later steps."""
        steps, γ = self.plan.sft_steps, FullFineTuning().attach(self.base)
        batches = self.demonstrations.batches(16, self.rng(1))
        self.fit("demonstrations", self.trainer(self.base, γ, 2e-3, steps), batches, steps)
        return merge(self.base, γ)

    # -- step 2: a reward model of ranked answers

    def ranked(self, split: str, purpose: int) -> list[Ranking]:
        """Return sampled answers of the fine-tuned model, ranked by the labeller."""
        rng, prompts = self.rng(purpose), self.prompts[split]
        if split == "train":
            prompts = prompts[: self.plan.prompts]
        counts = rng.integers(LEAST, MOST + 1, len(prompts))
        texts = [p.text for p, n in zip(prompts, counts) for _ in range(n)]
        sampled = lambda: self.answers(self.sft, None, texts, purpose)
        answers, rankings = iter(self.results.get(f"answers-{split}", sampled)), []
        for prompt, n in zip(prompts, counts):
            those = [*islice(answers, int(n))]
            rankings.append(Ranking(prompt, those, self.labeller.rank(prompt, those, rng)))
        return rankings

    def ranked_batches(self, rankings: list[Ranking], rng) -> Iterator[tuple]:
        """Yield batches of prompts with equally many answers, without prompts that are all ties."""
        groups: dict[int, list] = {}
        for prompt, answers, ranks in rankings:
            if len({*ranks}) > 1:
                row = self.encode(prompt.text), [*map(self.encode_answer, answers)], ranks
                groups.setdefault(len(ranks), []).append(row)
        batches = [Comparisons(rows).batches(TEXTS // n, rng) for n, rows in groups.items()]
        while True:
            yield next(batches[rng.integers(len(batches))])

    @cached_property
    def reward(self) -> tuple[RewardModel, Adaptation]:
        """The reward model and its adaptation; the mean score of demonstrations is 0."""
        steps, rng, model = self.plan.reward_steps, self.rng(2), RewardModel(self.sft)
        γ = FullFineTuning("^(?!head$)").attach(model)
        batches = self.ranked_batches(self.ranked("train", 3), rng)
        self.fit("reward", self.trainer(model, γ, 1e-3, steps), batches, steps)
        center(model, γ, *pad_pairs(self.demonstrations.pairs))
        return model, γ

    def score(self, ids, mask) -> np.ndarray:
        """Return the scores (N,) of texts ids (N, T) by the reward model."""
        model, γ = self.reward
        return compute(lambda rows: model(ids[rows], γ, mask=mask[rows]), ids)

    # -- step 3: PPO

    @cached_property
    def text(self) -> np.ndarray:
        """Ids of new documents of the world, for PPO-ptx."""
        return np.array(self.encode(END.join(islice(documents(self.rng(4)), DOCUMENTS))))

    def pretraining(self, rng) -> tuple:
        """Return a batch of general text: ids, labels."""
        ids, labels, _ = next(passages(self.text, PASSAGES, LENGTH, rng))
        return ids, labels

    def draw(self, rng) -> list[list[int]]:
        """Return the prompts of a step of PPO."""
        prompts = self.prompts["train"]
        return [self.encode(prompts[i].text) for i in rng.choice(len(prompts), BATCH)]

    @cached_property
    def prompt_of(self) -> dict[tuple, Prompt]:
        """The prompt of its ids."""
        return {tuple(self.encode(prompt.text)): prompt for prompt in self.prompts["train"]}

    def observe(self, answers: Answers) -> dict:
        """Return the mean reward of answers by the labeller's rule, which PPO does not see."""
        prompts = [self.prompt_of[tuple(ids)] for ids in answers.prompts()]
        texts = map(self.tokenizer.decode, answers.texts())
        return {"reward": float(np.mean([*map(self.labeller.reward, prompts, texts)]))}

    def ppo(self, name: str, beta: float, ptx: float = 0.0) -> PPO:
        """Return a finished training by PPO; `history` has its statistics."""
        model, ν = self.reward
        config = PPOConfig(
            max_new_tokens=MAX_NEW_TOKENS,
            beta=beta,
            ptx=ptx,
            missing_eos_penalty=1.0,
            epochs=EPOCHS,
            minibatch=MINIBATCH,
            seed=self.plan.seed,
        )
        steps = self.plan.ppo_steps
        updates = steps * EPOCHS * (BATCH // MINIBATCH)
        γ = LORA.attach(self.sft, self.rng(5))
        V = ν.map(lambda p: parameter(p.data.copy()))  # the value network starts as the reward's
        ppo = PPO(
            self.trainer(self.sft, γ, 2e-3, updates),
            self.score,
            self.eos,
            value=self.trainer(ValueModel(self.sft), V, 3e-4, updates),
            pretraining=self.pretraining,
            observe=self.observe,
            config=config,
        )
        folder = self.folder and self.folder / name
        if folder and (folder / PPO_FILE).exists():
            ppo.resume(folder)
        with self.progress(name, steps) as bar:
            ppo.fit(self.draw, steps, progress=bar.show, folder=folder)
        self.policies[name] = γ
        return ppo
