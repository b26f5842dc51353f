"""Faults in what tells whether an adaptation does anything, and whether it can learn."""

FAULTS = {
    "inspection/divergence.py": {
        "inspection/test_divergence.py": [
            ("for x in (z, y)", "for x in (y, z)"),
            ("(log - logs.mean())", "(log + logs.mean())"),
            ("logs.std(ddof=1)", "logs.std(ddof=1) ** 2"),
            ("np.log(self.kl), np.log(self.random)", "self.kl, np.array(self.random)"),
            ("if np.isfinite(z) else None", "if True else None"),
            ("base = predict(head_of(γ))", "base = predict(PLAIN)"),
            ("for path in m.at) and γ.parameters():", "for path in m.at) and False:"),
            ("{id(p): p for p in head_of(γ).parameters()}", "{}"),
            ("np.random.default_rng(seed), {id", "np.random.default_rng(0), {id"),
            ("for m in parts]\n    first", "for m in parts[::-1]]\n    first"),
            ("u * (np.linalg.norm(x - a)", "u * (np.linalg.norm(x)"),
            ("/ np.linalg.norm(u))", ")"),
            ("new = a + u", "new = u"),
            ("b * (np.linalg.norm(x) / np.linalg.norm(b))", "b"),
            ("if np.array_equal(a, b):", "if True:"),
            ("if np.array_equal(a, b):", "if False:"),
            ("== second.shape == p.shape", "== second.shape"),
            ("np.maximum(total / len(z), 0)", "max(0, total / len(z))"),
            ("total += kl", "total = kl"),
            ("x[at : at + ROWS]", "x[:ROWS]"),
            ("γ = fold(γ)", "γ = γ"),
        ],
    },
    "inspection/gradients.py": {
        "inspection/test_gradients.py -k 'not device'": [
            ("kinds - {k}", "kinds"),
            ("still = silent & trial", "still = silent | trial"),
            ("STDS = 0.1, 1.0", "STDS = 0.001, 0.001"),
            ("if name in causes[k]] or causes", "if name not in causes[k]] or causes"),
            ("if name in causes[k]] or causes", "if name in causes[k]]"),
            ("ROUNDING * np", "1e-3 * np"),
            ("ROUNDING * np", "1e9 * np"),
            ("in kinds and not host(x).any()", "in kinds and False"),
            ("trial.silent(trial.all))", "trial.silent(trial.few))"),
            (">= 0).any(1))", ">= 0).all(1))"),
            ("self.all[: max", "np.arange(len(targets))[: max"),
            ("shard_rows(shape, size(self.model), self.micro_batches)", "[rows]"),
            ("if len(found) == 1 else kind_", "if found else kind_"),
            ("isinstance(model, SpanHead)", "True"),
            ('if re.search(shifts, path) and last in ("b", "delta"):', "if False:"),
            ("(tokens|positions|types)$", "(positions|types)$"),
            ("name not in still or why == SHIFT", "name not in still"),
            (
                "for name, p in reversed([*γ.named_parameters()])",
                "for name, p in γ.named_parameters()",
            ),
            ("if not len(self.all):", "if False:"),
        ],
    },
    "commands/first_step.py": {
        "commands/test_first_step.py": [
            ("return chain([first], batches)", "return batches"),
            ("== parameters:", "> parameters:"),
            ("if group.expected", "if not group.expected"),
            ("group.why == SHIFT", "group.why != SHIFT"),
            ("print_note(wrapped(line))", "print_note(line)"),
            ('re.sub(r"^(\\d+\\.)+", "", name)', "name"),
            ('if "," in one[last] else', 'if "," not in one[last] else'),
        ],
    },
    "commands/divergences.py": {
        "commands/test_divergences.py": [
            ("return [i * n // m for i in range(m)]", "return [0 for i in range(m)]"),
            ('task.examples_for(γ)["test"]', 'task.examples["test"]'),
            ("[targets >= 0]", "[targets >= 1]"),
            ("Layout(γ.template, tokenizer", "Layout(adaptation.template, tokenizer"),
            ('if z is None else f"{z:.1f}"', 'f"{z:.1f}" if z else ""'),
            ("if kl == 0:", "if False:"),
            ("abs(z) < CLEAR", "z < CLEAR"),
            ('"more" if z > 0 else "less"', '"less" if z > 0 else "more"'),
            ("if found is None or not", "if not"),
        ],
    },
    "commands/train.py": {
        "commands/test_first_step.py -k warmup": [
            ("if self.steps < self.warmup_steps:", "if self.steps <= self.warmup_steps:"),
            ("trainer.schedule(self.steps - 1)", "trainer.schedule(self.steps)"),
        ],
    },
    "commands/info.py": {
        "commands/test_folder_commands.py -k larger_rank": [
            ("max(own, default=math.inf)", "max(own, default=0)"),
            ("> max(own", ">= max(own"),
        ],
    },
    "commands/convert.py": {
        "commands/test_folder_commands.py -k merge_that": [
            ("float(unmerged.std())", "float(abs(unmerged).mean())"),
            ("if self.adaptation else dict.fromkeys(COMPARED)", "if self.adaptation else {}"),
        ],
    },
}
