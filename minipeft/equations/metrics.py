"""Metrics: Papineni et al. 2002; Lin 2004; Rajpurkar et al. 2016; Gorodkin 2004; Koehn 2004."""

import itertools
import math

import numpy as np

from ..data import metrics, text_metrics
from .entry import EXACT, Differs, equation


def grams(tokens, n):
    """All sequences of n tokens"""
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def modified_precision(candidates, references, n):
    """p_n = Σ_C Σ_{gram∈C} Count_clip(gram) / Σ_C Σ_{gram∈C} Count(gram)"""
    clipped = total = 0
    for candidate, texts in zip(candidates, references):
        found = grams(candidate, n)
        for gram in set(found):
            clipped += min(found.count(gram), max(grams(text, n).count(gram) for text in texts))
        total += len(found)
    return clipped / total


def brevity_penalty(candidates, references):
    """1 if c > r, else exp(1 - r/c);  r adds the closest lengths, of two the shorter"""
    c, r = sum(map(len, candidates)), 0
    for candidate, texts in zip(candidates, references):
        r += min(sorted(map(len, texts)), key=lambda length: abs(length - len(candidate)))
    return 1 if c > r else math.exp(1 - r / c)


def bleu(candidates, references):
    """BP · exp(Σ_{n≤4} ¼ log p_n)"""
    p = [modified_precision(candidates, references, n) for n in (1, 2, 3, 4)]
    return brevity_penalty(candidates, references) * math.exp(sum(map(math.log, p)) / 4)


def subsequences(X):
    """All sequences of elements of X in their order, perhaps with gaps"""
    return {Z for length in range(len(X) + 1) for Z in itertools.combinations(X, length)}


def LCS(X, Y):
    """Length of the longest common subsequence"""
    return max(len(Z) for Z in subsequences(X) & subsequences(Y))


def F_measure(R, P, β=1.0):
    """(1 + β²) R P / (R + β² P),  or 0 if R = P = 0"""
    return (1 + β**2) * R * P / (R + β**2 * P) if R + P else 0.0


def common(p, r):
    """Σ_w min(count of w in p, count of w in r)"""
    return sum(min(p.count(w), r.count(w)) for w in set(p))


def token_f1(p, r):
    """F of the tokens of p and r as multisets;  1 if neither has one"""
    if not p and not r:
        return 1.0
    return F_measure(common(p, r) / len(r), common(p, r) / len(p)) if p and r else 0.0


def class_f1(k, y, t):
    """2 TP / (2 TP + FP + FN)"""
    TP = sum(a == k and b == k for a, b in zip(y, t))
    return 2 * TP / (2 * TP + sum((a == k) != (b == k) for a, b in zip(y, t)))


def matthews(y, t):
    """(TP TN - FP FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN))"""
    TP, TN, FP, FN = (
        sum((a, b) == pair for a, b in zip(y, t)) for pair in ((1, 1), (0, 0), (1, 0), (0, 1))
    )
    scale = math.sqrt((TP + FP) * (TP + FN) * (TN + FP) * (TN + FN))
    return (TP * TN - FP * FN) / scale if scale else 0.0


def cov(X, Y):
    """Σ_k cov(X_k, Y_k)"""
    return sum(np.mean((a - a.mean()) * (b - b.mean())) for a, b in zip(X.T, Y.T))


def percentile(values, q):
    """The value at q (n - 1) of the sorted values, linear between two of them"""
    values, at = sorted(values), q * (len(values) - 1)
    i, part = int(at), at - int(at)
    return values[i] * (1 - part) + (values[i + 1] * part if part else 0.0)


def texts(draw, of, longest=7):
    """Return one to three lists of words."""
    length = lambda: draw.size(1, longest)
    return [draw.rng.choice([*of], length()).tolist() for _ in range(draw.size(1, 3))]


def as_text(words):
    return " ".join(words)


def corpus(draw):
    """Return candidates, one with all its words in a reference, and references of each."""
    references = [texts(draw, "abc", 9) for _ in range(draw.size(1, 3))]
    candidates = [texts(draw, "abc", 9)[0] for _ in references]
    candidates[0] = draw.rng.choice([*"abc"], 6).tolist()
    references[0].append(candidates[0] + texts(draw, "abc", 3)[0])
    return candidates, references


def library_bleu(candidates, references):
    return text_metrics.bleu(
        [*map(as_text, candidates)], [[*map(as_text, each)] for each in references]
    )


@equation("ME-1")
def bleu_score(draw):
    """BP · exp(Σ_{n≤4} ¼ log p_n),  p_n: clipped counts of the corpus;  BP = min(1, exp(1 - r/c))
    Papineni et al. 2002, §2.3"""
    candidates, references = corpus(draw)
    yield bleu(candidates, references), library_bleu(candidates, references)
    for n in (1, 2):
        matches = text_metrics.clipped_matches(candidates[0], references[0], n)
        yield modified_precision(candidates[:1], references[:1], n), matches[0] / matches[1]
    short = [candidates[0][:5]]
    yield (
        brevity_penalty(short, [references[0][-1:]]),
        library_bleu(short, [references[0][-1:]]),
    )
    # It isn't a mean over texts: a longer text without an error weighs more
    m = draw.size(1, 5)
    both = [candidates[0], [*"xxxxx"[:m]]], [[candidates[0]], [[*"yyyyy"[:m]]]]
    yield bleu(*both), library_bleu(*both)
    yield Differs((1.0 + 0.0) / 2, library_bleu(*both))


@equation("ME-2")
def rouge_score(draw):
    """F = (1 + β²) R P / (R + β² P),  R = LCS/m, P = LCS/n;  common n-grams for LCS;  β = 1
    Lin 2004, §3.1; Adaptation chapter, §11.2.3.4 (corrected, X8)"""
    X, references = texts(draw, "abc")[0], texts(draw, "abc")
    library = [as_text(X)], [[*map(as_text, references)]]
    of_lcs = [F_measure(LCS(X, Y) / len(Y), LCS(X, Y) / len(X)) for Y in references]
    yield max(of_lcs), text_metrics.rouge_l(*library)
    for n in (1, 2):
        pairs = [(grams(X, n), grams(Y, n)) for Y in references]
        of_n = [token_f1(*pair) if all(pair) else 0.0 for pair in pairs]
        yield max(of_n), text_metrics.rouge_n(*library, n)
    L = draw.size(2, 4)
    turned = [as_text("abcd"[:L])], [[as_text("abcd"[:L][::-1])]]
    yield [1 / L, 1.0], [text_metrics.rouge_l(*turned), text_metrics.rouge_n(*turned, 1)]
    of_length_L = common(grams("abcd"[:L], L), grams("abcd"[:L][::-1], L))
    yield Differs(of_length_L, text_metrics.rouge_l(*turned))


def noisy(draw, words):
    """Return words as a text, with articles, capitals, punctuation and spaces."""
    extra = lambda: draw.rng.choice(["", "  ", " The ", " an ", " a, ", "\n"])
    signs = lambda word: draw.rng.choice([word, word.upper(), f"{word}.", f'"{word}"'])
    return "".join(f"{extra()} {signs(word)}" for word in words) + extra()


def answers(draw):
    """Return the words of an answer, of its references, and the library's texts of both."""
    p, references = texts(draw, ["x", "yy"], 4)[0], texts(draw, ["x", "yy"], 4)
    p = p[: draw.size(0, 4)]
    references[0] = references[0][: draw.size(0, 2)]
    return p, references, [noisy(draw, p)], [[noisy(draw, r) for r in references]]


@equation("ME-3")
def squad_f1(draw):
    """max_r 2 P R / (P + R) of words as multisets, without case, punctuation and articles
    Rajpurkar et al. 2016"""
    p, references, *library = answers(draw)
    yield max(token_f1(p, r) for r in references), text_metrics.squad_f1(*library)
    yield 1.0, text_metrics.squad_f1(["The a."], [["an"]])  # two answers without words
    yield 0.0, text_metrics.squad_f1(["the"], [[noisy(draw, ["x"])]])
    c, n = draw.size(2, 6), draw.size(2, 6)
    repeated = text_metrics.squad_f1(["x " * c], [["x " + "y " * (n - 1)]])
    yield token_f1(["x"] * c, ["x"] + ["y"] * (n - 1)), repeated
    yield Differs(2 * c / (c + n), repeated)  # a word counts as often as in the reference


@equation("ME-4")
def exact_match(draw):
    """max_r [p = r], without case, punctuation and articles
    Rajpurkar et al. 2016"""
    p, references, *library = answers(draw)
    for gold, library_gold in ((references, library[1]), ([p], [[noisy(draw, p)]])):
        match = text_metrics.exact_match(
            library[0], library_gold, normalize=text_metrics.normalize_answer
        )
        yield float(p in gold), match
    text, same = noisy(draw, p) + ".", [[noisy(draw, p) + "!"]]
    yield Differs(1.0, text_metrics.exact_match([text], same))  # letter by letter


@equation("ME-5")
def of_classes(draw):
    """1/K Σ_k F1_k;  (TP TN - FP FN) / √((TP + FP)(TP + FN)(TN + FP)(TN + FN))
    Macro-F1 of K classes; Matthews 1975; its form for K classes: Gorodkin 2004"""
    n, K = draw.size(1, 6), draw.size(2, 4)
    y, t = (draw.rng.integers(0, K, n).tolist() for _ in range(2))
    yield np.mean([a == b for a, b in zip(y, t)]), metrics.accuracy(y, t)
    f1s = [class_f1(k, y, t) for k in {*y, *t}]
    yield sum(f1s) / len(f1s), metrics.macro_f1(y, t)
    X, Y = (np.eye(K)[labels] for labels in (y, t))
    scale = cov(X, X) * cov(Y, Y)
    R_K = cov(X, Y) / math.sqrt(scale) if scale > 1e-9 else 0.0
    yield R_K, metrics.matthews_correlation(y, t)
    two = [[label % 2 for label in labels] for labels in (y, t)]
    yield matthews(*two), metrics.matthews_correlation(*two)
    # Where one class is rare, always predicting the other is 0, and its accuracy is not
    rare = [1] + [0] * draw.size(2, 12)
    yield 0.0, metrics.matthews_correlation([0] * len(rare), rare)
    yield Differs(metrics.accuracy([0] * len(rare), rare), metrics.macro_f1([0] * len(rare), rare))


def resampled(f, chosen, *columns):
    """f of the examples of each draw"""
    return [f(*(x[row] for x in columns)) for row in chosen]


@equation("ME-6")
def paired_bootstrap(draw):
    """2.5 % and 97.5 % of f(a*, t*) - f(b*, t*), where examples are drawn with replacement
    Efron 1979; both systems on the same draws: Koehn 2004"""
    n, draws, seed = draw.size(2, 8), draw.size(40, 60), draw.size(0, 2**31)
    chosen = np.random.default_rng(seed).integers(0, n, (draws, n))
    mean, gain = lambda a: sum(a) / len(a), lambda a, b: sum(a) / len(a) - sum(b) / len(b)
    interval = lambda f, *x: metrics.bootstrap(f, *x, rng=np.random.default_rng(seed), draws=draws)
    middle = lambda values: [percentile(values, q) for q in (0.025, 0.975)]
    a, b = draw.array(2, n)
    yield middle(resampled(mean, chosen, a)), interval(mean, a)
    yield middle(resampled(mean, chosen, a - b)), interval(gain, a, b)
    better = a + 1.0  # for every example
    yield [1.0, 1.0], interval(gain, better, a)
    apart = resampled(mean, chosen, better) - np.roll(resampled(mean, chosen, a), 1)
    yield Differs(middle(apart), interval(gain, better, a))  # of draws of its own for each system
    yield [0.0, 0.0], interval(gain, a, a), EXACT
