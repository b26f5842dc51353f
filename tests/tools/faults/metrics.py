"""Faults in the metrics of classes and of texts."""

EQUATIONS = "equations/test_equations.py -k 'test_holds and ME-'"
CLASSES = "data/test_metrics.py"
TEXTS = "data/test_text_metrics.py"

FAULTS = {
    "data/metrics.py": {
        EQUATIONS: [
            ("if predicted + true else empty", "if predicted + true else 0.0"),
            ("[0.025, 0.975]", "[0.05, 0.95]"),
            (
                "metric(*([column[i] for i in chosen] for column in columns))",
                "metric(*([column[i] for i in rng.permutation(chosen)] for column in columns))",
            ),
        ],
        CLASSES: [
            ("classes = predicted | true", "classes = true"),
            ("if p == t)\n    predicted", "if p)\n    predicted"),
            ("return (c * s - products(p, t))", "return (c * s - products(p, p))"),
            ("if scale else 0.0", "if scale else 1.0"),
            ("metric(*([column[i] for i in chosen]", "metric(*([column[i] for i in range(n)]"),
            ("        check_lengths(column, columns[-1])\n", "        pass\n"),
        ],
    },
    "data/text_metrics.py": {
        EQUATIONS: [
            ("f1((p & r).total(), p.total()", "f1((p & r).total(), len(p)"),
        ],
        TEXTS: [
            ("text.lower().translate", "text.translate"),
            (r're.sub(r"\b(a|an|the)\b", " ", text)', 're.sub(r"(a|an|the)\b", " ", text)'),
            ("most |= ngrams(reference, n)", "most += ngrams(reference, n)"),
            (", len(other)) for other in others)[1]", ", -len(other)) for other in others)[1]"),
            ("exp(min(0, 1 - r / c) +", "exp(1 - r / c +"),
            ("h.total(), r.total(), empty=0.0)", "h.total(), r.total())"),
            ("len(h), len(r), empty=0.0)", "len(h), len(r))"),
            ("max(above[j + 1], row[j])", "0"),
            ("max(score(p, r) for r in texts)", "score(p, texts[0])"),
            ("        if isinstance(texts, str) or not len(texts):", "        if not len(texts):"),
        ],
    },
}
