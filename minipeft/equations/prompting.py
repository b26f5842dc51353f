"""Prompts, verbalizers, calibration, examples in context: Liu et al. 2021c; Zhao et al. 2021."""

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from ..methods import LoRA
from ..model.bert import BertConfig, MaskedLM
from ..model.ensemble import majority_vote, mean_probability
from ..prompting.calibration import CONTENT_FREE, calibrate, content_free, domain
from ..prompting.classifier import PromptClassifier
from ..prompting.heads import prototypes, soft_verbalizer
from ..prompting.verbalizer import Verbalizer
from .draw import columns
from .entry import EXACT, Differs, equation
from .literal import embed, hidden_states, language_model, softmax
from .literal import log_p as log_p_of
from .ptuning import masked_lm


def number_tokenizer(V):
    """Return a tokenizer of words that are numbers, word i has the id i; V - 1 is [MASK]."""
    vocabulary = {str(i): i for i in range(V - 1)} | {"[MASK]": V - 1}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return tokenizer


def text(draw, longest=3):
    """Return the token ids of a random text, without the mask token."""
    return draw.rng.permutation(draw.V - 1)[: draw.size(1, longest)]


def written(words):
    """The text whose token ids are these"""
    return " ".join(map(str, words))


def log_P(θ, text):
    """log P(text; θ) = Σ_t log p(x_t | x_1, …, x_t-1), from the second token on"""
    return log_p_of(language_model(θ, embed(θ, text))[:, :-1], text[1:]).sum()


def at_slot(θ, front):
    """The logits of the word after the tokens `front`"""
    return language_model(θ, embed(θ, front))[:, -1]


def log_normalized(s):
    """log(exp s_y / Σ_y' exp s_y')"""
    return np.log(softmax(np.array(s)[:, None])[:, 0])


def case(draw, **model):
    """Return a model, its parameters as columns, its tokenizer, a text, and three other words."""
    model, words = draw.model(**model), draw.rng.permutation(draw.V - 1)
    return model, columns(model), number_tokenizer(draw.V), text(draw), words[:3]


def library(model, template, verbalizer, tokenizer, x, **options):
    """Return log p(y | x) of the library."""
    classifier = PromptClassifier(model, template, verbalizer, tokenizer)
    return classifier.log_probabilities([written(x)], **options)[0]


@equation("VB-1")
def answer_search(draw):
    """ẑ = argmax_{z ∈ Z} P(f_fill(x', z); θ), for a cloze and for a prefix prompt
    Liu et al. 2021c, §2.2; Why prompts work, "Prompt Engineering" """
    model, θ, tokenizer, x, Z = case(draw)
    front, words = text(draw), {z: str(z) for z in Z}
    for back in (text(draw), []):
        template = f"{written(front)} {{x}} [MASK] {written(back)}".strip()
        scores = [log_P(θ, np.array([0, *front, *x, z, *back], int)) for z in Z]
        p = library(model, "0 " + template, words, tokenizer, x)
        yield log_normalized(scores), p
        classifier = PromptClassifier(model, "0 " + template, words, tokenizer)
        yield [Z[np.argmax(scores)]], classifier.predict([written(x)]), EXACT
        yield len(back) > 0, classifier.template.shape == "cloze", EXACT
    # an encoder reads a mask token in the slot, and all that is around it
    model, θ, tokenizer, _, _ = case(draw, kind=MaskedLM, make=BertConfig)
    template, mask = f"0 {{x}} [MASK] {written(Z)}", draw.V - 1
    z = masked_lm(θ, embed(θ, np.array([0, *x, mask, *Z], int)))[:, 1 + len(x)]
    yield log_normalized(z[Z]), library(model, template, words, tokenizer, x)


@equation("VB-2")
def verbalizer(draw):
    """p(y | x) = Σ_{w ∈ V_y} p(w | x') / Σ_y' Σ_{w ∈ V_y'} p(w | x')
    Liu et al. 2021c, §2.2.3; or softmax of the mean of logits: Schick & Schütze 2021, code"""
    model, θ, tokenizer, x, (a, b, c) = case(draw)
    z = at_slot(θ, np.array([0, *x], int))
    p, words = softmax(z[:, None])[:, 0], {"one": (str(a), str(b)), "other": str(c)}
    total = p[a] + p[b] + p[c]
    sum_form = np.log([(p[a] + p[b]) / total, p[c] / total])
    mean_form = log_normalized([(z[a] + z[b]) / 2, z[c]])
    for combine, literal in (("sum", sum_form), ("mean", mean_form)):
        for tokens in ("product", "normalized", "first", "mean"):  # of one token: the same
            options = Verbalizer(words, tokens, combine)
            yield literal, library(model, "0 {x} [MASK]", options, tokenizer, x)
    yield Differs(sum_form, mean_form)
    # a soft verbalizer starts from the mean form; prototypes are nearest means
    classifier = PromptClassifier(model, "0 {x} [MASK]", words, tokenizer)
    yield mean_form, soft_verbalizer(classifier).log_probabilities([written(x)])[0]
    texts = [text(draw) for _ in range(4)]
    examples = list(zip(map(written, texts), ["one", "other", "one", "one"]))
    h = lambda text: hidden_states(θ, embed(θ, np.array([0, *text], int)))[:, -1]
    means = np.mean([h(texts[i]) for i in (0, 2, 3)], axis=0), h(texts[1])
    distances = [-((h(x) - c_y) ** 2).sum() for c_y in means]
    found = prototypes(classifier, examples).log_probabilities([written(x)])[0]
    yield log_normalized(distances), found


@equation("VB-3")
def contextual_calibration(draw):
    """q = softmax(W p + b), W = diag(p_cf)⁻¹, b = 0: the class of the largest p_y / p_cf,y
    Zhao et al. 2021, §5: p_cf is the mean of p over inputs without content"""
    model, θ, tokenizer, x, Z = case(draw)
    classifier = PromptClassifier(model, "0 {x} 1 [MASK]", {z: str(z) for z in Z}, tokenizer)
    p = lambda ids: softmax(at_slot(θ, np.array([0, *ids, 1], int))[Z, None])[:, 0]
    unknown = {"N/A": [0], "": [], "[MASK]": [draw.V - 1]}  # an unknown word has the id 0
    p_cf = np.mean([p(unknown[text]) for text in CONTENT_FREE], axis=0)
    yield np.log(p_cf), content_free(classifier)
    log_p = classifier.log_probabilities([written(x)])
    q = np.exp(calibrate(log_p, np.log(p_cf))[0])
    yield (p(x) / p_cf) / (p(x) / p_cf).sum(), q
    literal = softmax((np.diag(1 / p_cf) @ p(x))[:, None])[:, 0]
    yield np.argsort(literal), np.argsort(q), EXACT
    yield np.full(3, 1 / 3), np.exp(calibrate(np.log(p_cf)[None], np.log(p_cf))[0])
    yield q, np.exp(calibrate(log_p, np.log(7 * p_cf))[0])  # whatever the factor


@equation("VB-4")
def mutual_information(draw):
    """score(y) = log p(y | x) - log p(y | domain)
    Holtzman et al. 2021"""
    model, θ, tokenizer, x, Z = case(draw)
    classifier = PromptClassifier(model, "0 {x} 1 [MASK]", {z: str(z) for z in Z}, tokenizer)
    premise = text(draw)
    log_p = lambda ids: np.log(softmax(at_slot(θ, np.array([0, *ids, 1], int))[:, None]))[Z, 0]
    prior = domain(classifier, written(premise))
    calibrated = calibrate(classifier.log_probabilities([written(x)]), prior)[0]
    yield log_normalized(log_p(x) - log_p(premise)), calibrated


@equation("VB-5")
def length_normalization(draw):
    """s(y) = 1/|y| Σ_t log p(y_t | x, y_<t): Brown et al. 2020, §2.4
    Sanh et al. 2022 rank the sum, without 1/|y|"""
    model, θ, tokenizer, x, _ = case(draw)
    words = draw.rng.permutation(draw.V - 1)
    answers = words[:1], words[1:3], words[3:6]
    front, texts = np.array([0, *x], int), [np.array([0, *x, *y], int) for y in answers]
    sums = np.array([log_P(θ, whole) - log_P(θ, front) for whole in texts])
    of = {i: written(y) for i, y in enumerate(answers)}
    found = {
        tokens: library(model, "0 {x} [MASK]", Verbalizer(of, tokens), tokenizer, x)
        for tokens in ("product", "normalized", "first", "mean")
    }
    yield log_normalized(sums), found["product"]
    yield log_normalized(sums / [1, 2, 3]), found["normalized"]
    after = text(draw)  # of a cloze, a decoder scores what follows, too
    texts = [np.array([0, *x, *y, *after], int) for y in answers]
    sums = np.array([log_P(θ, whole) - log_P(θ, front) for whole in texts])
    template = f"0 {{x}} [MASK] {written(after)}"
    cloze = library(model, template, Verbalizer(of, "normalized"), tokenizer, x)
    yield log_normalized(sums / (np.array([1, 2, 3]) + len(after))), cloze
    z = at_slot(θ, front)
    yield log_normalized([z[y[0]] for y in answers]), found["first"]
    yield log_normalized([z[y].mean() for y in answers]), found["mean"]
    yield Differs(found["product"], found["normalized"])


@equation("IC-1")
def in_context(draw):
    """p(y | instruction ⧺ K × (x_i y_i separator) ⧺ x): no parameter changes
    Brown et al. 2020, §2; Why prompts work, "GPT-3" (corrected, X21)"""
    model, θ, tokenizer, x, Z = case(draw)
    before, texts = columns(model.tokens), [text(draw, 2) for _ in Z]
    examples = list(zip(texts, Z))
    classifier = PromptClassifier(model, "{x} 1 [MASK]", {z: str(z) for z in Z}, tokenizer)
    given = [(written(shown), z) for shown, z in examples]
    shown = classifier.with_examples(given, instruction="0 2", separator=" 3 ")
    ids = [0, 2, 3] + [i for shown, z in examples for i in (*shown, 1, z, 3)] + [*x, 1]
    z = at_slot(θ, np.array(ids, int))
    literal = log_normalized(z[Z])
    yield literal, shown.log_probabilities([written(x)])[0]
    none = classifier.with_examples([], instruction="0 2", separator=" 3 ")
    zero_shot = log_normalized(at_slot(θ, np.array([0, 2, 3, *x, 1], int))[Z])
    yield zero_shot, none.log_probabilities([written(x)])[0]
    γ = draw.adaptation(LoRA(1), model)
    together = shown.log_probabilities([written(x), f"{written(texts[0])} 4"], γ)
    yield shown.log_probabilities([written(x)], γ)[0], together[0]
    yield before.W, columns(model.tokens).W, EXACT


@equation("EN-1")
def prompt_ensemble(draw):
    """p(y | x) = 1/K Σ_k p(y | template_k(x)), Σ_k w_k p(y | template_k(x)), or a vote
    Liu et al. 2021c, §6.1"""
    model, θ, tokenizer, x, Z = case(draw)
    words = {z: str(z) for z in Z}
    ends = draw.rng.permutation(draw.V - 1)[:3]
    p = np.array([softmax(at_slot(θ, np.array([0, *x, end], int))[Z, None])[:, 0] for end in ends])
    found = np.exp([[library(model, f"0 {{x}} {end} [MASK]", words, tokenizer, x)] for end in ends])
    yield (p[0] + p[1] + p[2]) / 3, mean_probability(found)[0]
    w = draw.rng.random(3)
    yield (w[0] * p[0] + w[1] * p[1] + w[2] * p[2]) / w.sum(), mean_probability(found, w)[0]
    yield p[0], mean_probability(found[[0, 0, 0]])[0]  # of one template
    votes = np.bincount(p.argmax(1), minlength=3)
    if (votes == votes.max()).sum() == 1:
        yield [votes.argmax()], majority_vote(found), EXACT
