"""Metrics equal those of sacrebleu, rouge-score and scikit-learn."""

import numpy as np
import pytest

from minipeft.data.metrics import macro_f1, matthews_correlation
from minipeft.data.text_metrics import bleu, rouge_l, rouge_n, words

WORDS = "the The a cat cat's CAT, dog. don't 3.5 well-known U.S. (b) \"c\" - naïve_x !".split()
DRAWS = [pytest.param(seed, id=f"seed {seed}") for seed in range(5)]


def corpus(seed):
    """Return 40 texts, and one to three references of each; every other text is like one."""
    rng = np.random.default_rng(seed)
    text = lambda: rng.choice(WORDS, rng.integers(0, 9)).tolist()
    references = [[text() for _ in range(rng.integers(1, 4))] for _ in range(40)]
    texts = [text() + references[i][0] * (i % 2) for i in range(40)]
    joined = lambda tokens: " ".join(tokens)
    return [*map(joined, texts)], [[*map(joined, each)] for each in references]


@pytest.mark.parametrize("seed", DRAWS)
def test_bleu_is_sacrebleus_of_our_words(seed):
    """Our words are not those of sacrebleu's tokenizer 13a, so it gets texts of our words."""
    sacrebleu = pytest.importorskip("sacrebleu")
    texts, references = corpus(seed)
    split = lambda text: " ".join(words(text))
    most = max(map(len, references))
    columns = [
        [split(each[i]) if i < len(each) else None for each in references] for i in range(most)
    ]
    theirs = sacrebleu.corpus_bleu(
        [*map(split, texts)], columns, smooth_method="none", tokenize="none", force=True
    )
    assert theirs.score > 1
    assert 100 * bleu(texts, references) == pytest.approx(theirs.score, rel=1e-12)


@pytest.mark.parametrize("seed", DRAWS)
def test_rouge_is_that_of_rouge_score(seed):
    """Without stemming.  rouge-score drops letters that are not ASCII, so there are none."""
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    texts, references = corpus(seed)
    references = [[text.replace("ï", "i") for text in each] for each in references]
    texts = [text.replace("ï", "i") for text in texts]
    names = {"rouge1": 1, "rouge2": 2, "rougeL": None}
    theirs = scorer.RougeScorer([*names], use_stemmer=False)
    scores = [theirs.score_multi(each, text) for each, text in zip(references, texts)]
    for name, n in names.items():
        ours = rouge_n(texts, references, n) if n else rouge_l(texts, references)
        assert ours == pytest.approx(np.mean([s[name].fmeasure for s in scores]), rel=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_of_classes_are_those_of_scikit_learn(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(20):
        y, t = np.random.default_rng(seed).integers(0, classes, (2, 12)).tolist()
        assert macro_f1(y, t) == pytest.approx(metrics.f1_score(t, y, average="macro"))
        assert matthews_correlation(y, t) == pytest.approx(metrics.matthews_corrcoef(t, y))
