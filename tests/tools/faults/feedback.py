"""Faults in losses, returns, reward models, DPO and PPO."""

EQUATIONS = "equations/test_equations.py -k 'test_holds and RL-'"
RANKING = "feedback/test_ranking.py"
STEP = "feedback/test_ppo.py -k 'not any_method'"
FAILURES = "feedback/test_failures.py"
SAVED = "feedback/test_saved.py"

FAULTS = {
    "feedback/losses.py": {
        EQUATIONS: [
            ("Δ - margins", "Δ + margins"),
            ("(Δ - margins) * weights", "(Δ - margins) * (weights > 0)"),
            ("ρ = exp(log_p - old)", "ρ = exp(old - log_p)"),
            ("clip(ρ, 1 - epsilon, 1 + epsilon)", "clip(ρ, 1 - epsilon, 1 / (1 - epsilon))"),
            ("maximum(-A * ρ, -A * clip", "-maximum(A * ρ, A * clip"),
            ("clip(V, old - epsilon, old + epsilon)", "clip(V, R - epsilon, R + epsilon)"),
            ("(clipped - R) ** 2) * 0.5", "(clipped - R) ** 2)"),
            ("np.sum(mask) if count", "mask.size if count"),
            ("return b + relu(a - b)", "return b - relu(b - a)"),
        ],
    },
    "feedback/returns.py": {
        EQUATIONS: [
            ("    return -log_ratio\n", "    return log_ratio\n"),
            ("np.expm1(log_ratio) - log_ratio", "np.expm1(-log_ratio) + log_ratio"),
            ("mask.sum(1) - 1] += score", "0] += score"),
            ("np.where(mask, -beta * kl, 0.0)", "np.where(mask, beta * kl, 0.0)"),
            ("after = r[:, t] + gamma * V_next", "after = r[:, t] + V_next"),
            ("gamma * lam * after", "lam * after"),
            ("        A[:, t], V_next = after, V[:, t]\n", "        A[:, t] = after\n"),
            ("whitened if shift_mean else whitened + m", "whitened"),
            (
                "whitened if shift_mean else whitened + m",
                "whitened if shift_mean else whitened * m",
            ),
            ("x[mask].mean(), x[mask].var()", "x.mean(), x.var()"),
            ("kl / target - 1, -0.2, 0.2", "kl / target - 1, -0.2, 1"),
            ("* n / horizon)", "* n)"),
            ("score.std(-1, keepdims=True) + 1e-4", "score.std(keepdims=True) + 1e-4"),
            ("(G / (G - 1))", "((G - 1) / G)"),
        ],
    },
    "data/batches.py": {
        EQUATIONS: [
            ("len(prompt) * answer_only", "len(prompt)"),
            ("columns >= begins", "columns > begins"),
        ],
        "feedback/test_pairs.py": [
            ("if not all(len(prompt) and len(answer) for", "if not all(len(prompt) for"),
        ],
    },
    "feedback/ranking.py": {
        RANKING: [
            ("np.maximum(pairs, 1) / (pairs > 0).sum()", "pairs.sum()"),
            ("np.maximum(pairs, 1) / (pairs > 0).sum()", "np.maximum(pairs, 1) / len(pairs)"),
            ("self.margin * targets[:, 1]", "self.margin"),
            ("        check_targets(targets[:, 0, 0], r.shape)\n", ""),
            ("        check_targets(targets, r.shape[:1])\n", ""),
            ("(targets >= r.shape[1]).any()", "False"),
            ("not np.isfinite(ranks).all()", "False"),
            (
                "reshape(self(texts, adaptation, mask=real",
                "reshape(self(texts, adaptation, mask=None",
            ),
            ('trunk, 1, "last", bias=True)', 'trunk, 1, "mean", bias=True)'),
            ("biases[0].data -= r.mean()", "biases[0].data += r.mean()"),
        ],
    },
    "feedback/comparisons.py": {
        "feedback/test_pairs.py": [
            (
                "for prompt, answers, _ in rows for answer in answers",
                "for answers, prompt, _ in rows for answer in prompt",
            ),
            ("        if len(sizes) != 1:\n", "        if False:\n"),
            ("model.scores(ids, adaptation, mask=mask)", "model.scores(ids, adaptation)"),
        ],
    },
    "feedback/dpo.py": {
        RANKING: [
            ("log_p - log_ref.data", "log_p"),
            ("if not 0 < beta < np.inf", "if not 0 <= beta < np.inf"),
            ("self.beta, self.margin = beta, margin", "self.beta, self.margin = beta, 0.0"),
            ("tokens = np.where(real, texts, -1)", "tokens = np.where(real, texts, 0 * texts)"),
            ("np.where(np.repeat(shared, K, axis=0), -100, texts)", "texts"),
        ],
    },
    "feedback/rollout.py": {
        STEP: [
            ("np.cumsum(ends, 1) - ends == 0", "np.cumsum(ends, 1) == 0"),
            ("np.arange(T - R - 1, T - 1)", "np.arange(T - R, T)"),
            ("z * (1 / temperature)", "z"),
            ("[[*row][::-1] for row in prompts]", "[[*row] for row in prompts]"),
            ("self.real.sum(1) - self.ended", "self.real.sum(1)"),
        ],
        FAILURES: [("if not all(map(len, prompts)) or not len(prompts):", "if False:")],
    },
    "feedback/ppo_config.py": {
        FAILURES: [
            ("isinstance(value, kind) and ", ""),
            ("and self.group < 2:", "and self.group < 1:"),
        ],
    },
    "feedback/ppo.py": {
        STEP: [
            (
                "ids.shape[1] - real.shape[1] - 1, ids.shape[1] - 1",
                "ids.shape[1] - real.shape[1], ids.shape[1]",
            ),
            (
                "lambda part: self.log_p(part, None)",
                "lambda part: self.log_p(part, self.policy.adaptation)",
            ),
            ('slice(s, None, len(shards["policy"]))', "slice(None)"),
            ("        return y * self.config.ptx\n", "        return y\n"),
            ("mask[part]", "mask[:1]"),
            ("if text and s < len(text[0]):", "if text:"),
            (
                "policy_loss(log_p, old.log_p, old.A, part.real, epsilon=c.epsilon, count=count)",
                "policy_loss(log_p, old.log_p, old.A, part.real, epsilon=c.epsilon)",
            ),
            ("            self.beta = adapt_beta(", "            adapt_beta("),
            ('kl["k1"], len(score), c.kl_target', 'kl["k1"], 1, c.kl_target'),
        ],
        FAILURES: [
            ("- self.config.missing_eos_penalty * ~answers.ended", ""),
            ("if score.shape != (N,):", "if score.shape[:1] != (N,):"),
            ("self.check_finite(score=score, log_p=log_p,", "self.check_finite(log_p=log_p,"),
            (", log_ref=log_ref, V=V)", ", log_ref=log_ref)"),
            ("                x[...] = copy\n", "                pass\n"),
            ("                vars(x).update(values)\n", "                pass\n"),
            (
                "        with self.unchanged_on_error():\n            losses",
                "        if True:\n            losses",
            ),
            ("        check_reference(policy.adaptation)\n", ""),
            ('(c.baseline == "value") != (value is not None)', "False"),
            ('network = {"policy": Decoder, "value": ValueModel}[name]', "network = object"),
        ],
        SAVED: [
            (
                "np.random.default_rng([self.config.seed, self.t, 1])",
                "np.random.default_rng(self.config.seed)",
            ),
            ("default_rng([self.config.seed, self.t])", "default_rng()"),
            (
                "self.beta, self.history, self.saved = beta,",
                "self.beta, self.history, self.saved = self.beta,",
            ),
            ("        if beta < 0:\n", "        if False:\n"),
            ("        if not is_history(history):\n", "        if False:\n"),
            ("<= {int, float}", "<= {int, float, str}"),
            (
                "        with self.unchanged_on_error():\n            for name",
                "        if True:\n            for name",
            ),
            ('if state.get("config") != asdict(self.config):', "if False:"),
            ("self.saved != Path(folder).resolve():", "False:"),
            ("or self.t == steps or interrupted):", "or self.t == steps):"),
            ("FILE, *self.trainers) as new", "FILE) as new"),
        ],
        "feedback/test_exact.py -k 'bandit'": [
            ("KL_ESTIMATORS[c.kl](log_ref - log_p)", "KL_ESTIMATORS[c.kl](log_p - log_ref)"),
            ("reshape(-1, c.group)).reshape(-1, 1)", "reshape(c.group, -1)).reshape(-1, 1) * 0"),
            ("whiten(A, real), A + V)", "whiten(A, real), V)"),
        ],
    },
}
