"""Faults in prompted tasks, mixtures, FLAN's templates and T-Few's losses."""

EQUATIONS = "equations/test_equations.py -k 'test_holds and MT-'"
TASKS = "prompting/test_instructions.py"
TFEW = "prompting/test_tfew.py"
FLAN = "prompting/test_flan.py"

FAULTS = {
    "prompting/tfew.py": {
        EQUATIONS: [
            ("np.arange(real.shape[1]) > 0", "np.arange(real.shape[1]) >= 0"),
            ("log(1 + epsilon - p)", "log(1 - epsilon - p * (1 - 2 * epsilon))"),
            ("epsilon: float = 1e-2", "epsilon: float = 1e-3"),
            ("real.sum(-1, keepdims=True)), axis=-1)", "1), axis=-1)"),
            ("np.zeros(β.shape[0], int)", "np.ones(β.shape[0], int)"),
            ("wrong.sum((1, 2), keepdims=True)", "wrong.sum(2, keepdims=True) + 1"),
        ],
        TFEW: [
            ("likelihood_loss, unlikelihood_loss, length", "likelihood_loss, length"),
            ("1 / B)], 1)", "1.0)], 1)"),
            ("if labels.ndim != 3:", "if False:"),
            ("if not (targets >= 0).any(-1).all():", "if False:"),
            ("mask=real, rng=rng)", "rng=rng)"),
        ],
    },
    "prompting/mixture.py": {
        EQUATIONS: [
            ("np.minimum(sizes, limit)", "np.asarray(sizes)"),
            ("for task in self.tasks], limit)", "for task in self.tasks], 3000)"),
        ],
        TASKS: [
            ("p=self.rates", "p=None"),
            ("        check_no_leak(tasks, held_out or {})\n", ""),
            ("if task.cluster in clusters:", "if False:"),
            ("if shared := unseen & inputs(task):", "if shared := None:"),
            ('if name != "answer"', "if True"),
            ("if not all(parts):", "if not parts[1]:"),
            ("pick(task.prompts)", "task.prompts[0]"),
        ],
    },
    "prompting/instructions.py": {
        TASKS: [
            ('if o != example["answer"]]', "]"),
            ('["OPTIONS:", *options]', "[*options]"),
            (" + self.end\n", "\n"),
            ("template.space + answer", "answer"),
            ("ids[slot + 1 :] if writes else []", "[]"),
            ("(0 if writes else max(map(len, answers)))", "0"),
            (
                "answers[0]) for prompt, answers in rows], model",
                "answers[-1]) for prompt, answers in rows], model",
            ),
            ('if prompt.target.names == ["answer"]]', "]"),
            ("integers(0, len(prompts), len", "integers(0, 1, len"),
            ('if template.shape != "prefix":', "if False:"),
        ],
        TFEW: [("if len(sizes) != 1:", "if False:")],
    },
    "prompting/flan.py": {
        FLAN: [
            ("if match[1] in WHOLE", "if False"),
            ("if len(pair) != 2 or not all(", "if not all("),
            ("\\n[MASK]", " [MASK]"),
        ],
    },
}
