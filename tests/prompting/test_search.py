"""Search for prompts: mining, AutoPrompt, and the comparison on one budget."""

from dataclasses import replace

import numpy as np
import pytest

import minipeft as mp
from minipeft.autograd.tensor import grad
from minipeft.prompting.autoprompt import AutoPrompt, first_order
from minipeft.prompting.classifier import PromptClassifier
from minipeft.prompting.mining import middle_words, mine_templates
from minipeft.tasks.search import BATCH, KINDS, PromptSearch
from minipeft.world.sentiment import wordings
from tests.support.families import GPT2, nudged
from tests.support.tokenizers import letters

# -- mining


def test_middle_words_are_between_x_and_y_in_a_sentence():
    texts = ["Larkhaven is a town by the sea. Larkhaven has no sea.", "The sea near Larkhaven"]
    assert middle_words(texts, "Larkhaven", "the sea") == {"is a town by": 1}
    assert middle_words(texts, "Larkhaven", "sea") == {"is a town by the": 1, "has no": 1}
    assert middle_words(texts, "Larkhaven", "sea", longest=2) == {"has no": 1}
    assert not middle_words(texts, "Larkhaven", "sea", longest=1)
    assert middle_words(["a a b b, ab b"], "a", "b") == {"a": 1}  # whole words, up to the next b
    assert middle_words(["a x bc y b"], "a", "b") == {"x bc y": 1}
    assert not middle_words(["It was dull. So cold."], "was", "cold")
    assert middle_words(["c++ is not (c) at all"], "c++", "(c)") == {"is not": 1}


def test_templates_are_mined_between_a_sentence_and_a_label_word():
    texts = ["It was dull. All in all I liked it. In short I liked it, and liked it.", "Liked it!"]
    texts.append("Was it? All in all I disliked it.")
    assert mine_templates(texts, ["liked", "disliked"], 1) == ["{x} All in all I [MASK]"]
    expected = ["{a} {b} All in all I [MASK]", "{a} {b} In short I [MASK]"]
    assert mine_templates(texts, ["liked", "disliked"], 9, "{a} {b}") == expected


def test_wordings_are_the_verdicts_of_the_world():
    assert wordings() == [
        ("{x} I was [MASK]", {0: "sorry", 1: "glad"}),
        ("{x} I would [MASK]", {0: "never", 1: "gladly"}),
        ("{x} All in all I [MASK]", {0: "disliked", 1: "liked"}),
        ("{x} I told all my friends to [MASK]", {0: "keep away", 1: "try it"}),
    ]


# -- AutoPrompt


def case(seed, scale=1.0):
    """An AutoPrompt of two words on a small random model, a batch, and a prompt.

    scale: of the differences between the embeddings of words; the smaller, the more linear.
    """
    rng = np.random.default_rng(seed)
    model = nudged(mp.Decoder(GPT2, rng))
    W = model.tokens.W
    closer = W.data.mean(0) + scale * (W.data - W.data.mean(0))
    model = model.map(lambda t: mp.Tensor(closer) if t is W else t)
    prompted = PromptClassifier(model, "{x} [P]*2 [MASK]", {0: "b", 1: "c"}, letters())
    texts = [" ".join(rng.choice([*"defghijk"], 4)) for _ in range(8)]
    auto = AutoPrompt(prompted, candidates=6)
    batch = prompted.collate(texts, rng.integers(0, 2, 8).tolist())
    return auto, batch, rng.choice(auto.words, 2).tolist()


def exact_falls(auto, batch, prompt):
    """By how much the loss falls for each replacement, (P, W), and to first order."""
    loss, (h,) = auto.loss(prompt, batch)
    replaced = lambda i, w: [*prompt[:i], int(w), *prompt[i + 1 :]]
    exact = [
        [float(loss) - float(auto.loss(replaced(i, w), batch)[0]) for w in auto.words]
        for i in range(2)
    ]
    E = auto.embeddings[auto.words]
    return np.array(exact), first_order(h.data, grad(loss, [h])[0], E)


def rank_correlation(a, b):
    ranks = [np.argsort(np.argsort(x, axis=None)) for x in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


@pytest.mark.parametrize("scale, least, mean", [(1, -0.4, 0.4), (0.1, 0.85, 0.95)])
def test_the_first_order_ranks_words_as_an_exhaustive_search(scale, least, mean):
    correlations, found = [], []
    for seed in range(6):
        auto, batch, prompt = case(seed, scale)
        exact, first = exact_falls(auto, batch, prompt)
        correlations.append(rank_correlation(exact, first))
        found.append(exact.argmax() in np.argsort(-first, axis=None)[:8])
    assert min(correlations) > least and np.mean(correlations) > mean
    assert np.mean(found) >= (0.6 if scale == 1 else 1.0)  # the best word is a candidate


def test_a_step_lowers_the_loss_or_keeps_the_prompt():
    for seed in range(4):
        auto, batch, prompt = case(seed)
        loss = lambda prompt, auto=auto, batch=batch: float(auto.loss(prompt, batch)[0])
        proposed, before = auto.propose(prompt, batch)
        assert before == loss(prompt) and len({*map(tuple, proposed)}) == auto.candidates == 6
        assert all(sum(a != b for a, b in zip(prompt, new)) == 1 for new in proposed)
        prompts = [prompt, auto.step(prompt, batch)]
        assert loss(prompts[1]) == min(map(loss, [prompt, *proposed]))
        while prompts[-1] != prompts[-2]:
            prompts.append(auto.step(prompts[-1], batch))
            assert loss(prompts[-1]) <= loss(prompts[-2])


def test_the_first_candidate_lowers_the_loss_where_it_is_nearly_linear():
    for seed in range(6):
        auto, batch, prompt = case(seed, scale=0.01)
        (first, *_), before = auto.propose(prompt, batch)
        assert auto.loss(first, batch)[0].data < before


def test_words_as_pseudo_tokens_are_read_as_the_words():
    auto, _, prompt = case(0)
    words = auto.prompted.tokenizer.decode(prompt)
    texts = ["d e f", "g", "h i j k"]
    written = PromptClassifier(
        auto.prompted.model, f"{{x}} {words} [MASK]", {0: "b", 1: "c"}, letters()
    )
    embedded = auto.prompted.log_probabilities(texts, auto.adaptation(prompt))
    assert np.abs(embedded - written.log_probabilities(texts)).max() < 1e-12


# -- the comparison

SAD = "sorry", "glad"


@pytest.fixture
def search(base):
    """A search on a few examples of one word that gives the class away."""
    rng = np.random.default_rng(0)
    pairs = [
        (f"It was {w}.", y) for y, ws in enumerate(("cold dull", "warm fine")) for w in ws.split()
    ]
    pick = lambda n: [pairs[i] for i in rng.integers(0, 4, n)]
    splits = {"train": pick(20), "dev": pick(7), "test": pick(9), "ood": pick(5)}
    return PromptSearch(
        mp.load(base),
        mp.load_tokenizer(base),
        splits,
        "{x} I [MASK] it.",
        {0: "hated", 1: "loved"},
        wordings=[("{x} I was [MASK]", dict(enumerate(words))) for words in (SAD, SAD[::-1])],
        corpus=["It was cold. All in all I hated it. So I loved it."],
        budget=460,
    )


def test_readings_are_the_texts_that_are_read(search, monkeypatch):
    read = []

    def class_log_p(self, rows, *args, of=PromptClassifier.class_log_p):
        read.append(len(rows))
        return of(self, rows, *args)

    monkeypatch.setattr(PromptClassifier, "class_log_p", class_log_p)
    backward = {"searched": 2 * 20, "soft": (460 - 21) // (2 * BATCH) * BATCH}
    for kind in KINDS[1:]:
        read.clear()
        found = getattr(search, kind)()
        assert found.readings == sum(read) + backward.get(kind, 0) <= search.budget
    assert search.manual().readings == 0 and search.paraphrased().readings == 2 * 7


def test_each_kind_of_prompt_has_scores_and_words(search):
    results = {result["kind"]: result for result in search.run()}
    assert [*results] == [*KINDS]
    assert results["mined"]["template"] in ("{x} All in all I [MASK]", "{x} So I [MASK]")
    assert sorted(results["paraphrased"]["words"].values()) == [["glad"], ["sorry"]]
    template = results["searched"]["template"]
    assert template.startswith("{x} ") and len(template.split()) == 2 + search.length
    assert results["soft"]["template"] == "{x} [P]*4 [MASK]" and results["soft"]["nearest"]
    for result in results.values():
        assert [*result["scores"]] == ["dev", "test", "ood"]
        for score in result["scores"].values():
            low, high = score["interval"]
            assert low <= score["accuracy"] <= high


def test_dev_chooses(search):
    """Of two prompts with the words swapped, one is right where the other is wrong."""
    found = search.paraphrased()
    others = [search.prompted(*wording) for wording in search.wordings]
    right = lambda prompted: sum(
        prompted.predict([text])[0] == y for text, y in search.splits["dev"]
    )
    a, b = map(right, others)
    assert a + b == 7 and found.dev == right(found.prompted) == max(a, b)


@pytest.mark.parametrize("wordings, least", [(0, 221), (40, 280)])
def test_too_small_a_budget_is_refused(search, wordings, least):
    """The search reads dev three times and 20 texts ten times; paraphrases read dev once each."""
    new = lambda budget: replace(search, wordings=[("{x} [MASK]", None)] * wordings, budget=budget)
    with pytest.raises(ValueError, match=f"is too small: .* give at least {least}"):
        new(least - 1)
    assert new(least).budget == least
