"""Faults in the training of rows, in contrasts and in verdicts."""

CLAIM = "experiments/test_claim.py"
STUDY = "experiments/test_experiments.py -k 'first_seed or diverges or refused'"
PAGE = "experiments/test_page.py -k 'page_has'"

FAULTS = {
    "experiments/claim.py": {
        CLAIM: [
            ("ddof=1", "ddof=0"),
            ("/ n**0.5", "/ n"),
            ("mean - half, mean + half", "mean + half, mean - half"),
            ('(row["name"], row.get("x")) == (name, x)', 'row["name"] == name'),
            ("if not matching:", "if False:"),
            ("low > self.margin or high < -self.margin", "low > self.margin"),
            ("-self.margin <= low and high", "high"),
            ('if low > 0 else "contradicted"', 'if high > 0 else "contradicted"'),
            ('"contradicted" if high < 0', '"contradicted" if low < 0'),
            ("abs(values) <= self.margin", "values <= self.margin"),
            ("if self.margin else values > 0", "if self.margin else values < 0"),
            ("rows(a, score, x) - rows(b, score, x)", "rows(b, score, x) - rows(a, score, x)"),
            ("x) + behind", "x) - behind"),
            ('if {"shown", "contradicted"} <= verdicts:', "if False:"),
            ("1.96 + 2.4 / (n - 1)", "1.96"),
            ("with suppress(KeyError):", "with suppress():"),
            ("if len(verdicts) == 1:", "if verdicts:"),
            ('("shown", "contradicted"):', '("contradicted", "shown"):'),
        ],
    },
    "experiments/study.py": {
        STUDY: [
            ("lr = max(lrs", "lr = min(lrs"),
            ("nan=-np.inf", "nan=np.inf"),
            ("best, _ = first_seed[lr]", "best, _ = first_seed[lrs[-1]]"),
            ("range(1, self.settings.seeds)", "range(self.settings.seeds)"),
            ("(seed, lr) for seed in", "(0, lr) for seed in"),
            ("(0, lr) for lr in lrs", "(1, lr) for lr in lrs"),
            ("before + step, total * steps", "step, total * steps"),
            ("with suppress(NonFinite):", "with suppress():"),
            ("len(lrs) + self.settings.seeds - 1", "len(lrs) + self.settings.seeds"),
        ],
    },
    "experiments/results.py": {
        STUDY: [
            ('report.get("claim") != claim.id or', ""),
            ('or not report.get("rows")', ""),
        ],
    },
    "experiments/page.py": {
        PAGE: [
            ("factor * (mean - low)", "factor * (low - mean)"),
            ('(100, 1) if unit == "%"', '(1, 1) if unit == "%"'),
            ('f"{100 * value:+.1f}" if unit == "points"', 'f"{value:+.1f}" if unit == "points"'),
            ("if c.isalnum() or c in", "if c in"),
            ('"Limits": claim.limits', '"Limits": ""'),
        ],
    },
}
