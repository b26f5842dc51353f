"""Faults in the optimizer, in the training loop, and in what continues a training."""

FAULTS = {
    "training/logistic.py": {
        "training/test_logistic.py": [
            ("(x**2).mean() or 1.0", "(x**2).mean()"),
            ("            raise NonFinite(", "            NonFinite("),
            ("np.eye(C)[y] / self.N", "np.eye(C)[y]"),
            ("z - largest", "z"),
            ("log_total - (V", "log_total + (V"),
            ("λ / 2 * (V**2)", "λ * (V**2)"),
            ("- self.Xy + λ * V", "- self.Xy"),
            ("if not 0 < λ < np.inf", "if not 0 <= λ < np.inf"),
            ("self.Q.T @ W\n", "self.Q @ W\n"),
            ("<= 2 * λ * gap", "<= 200 * λ * gap"),
            ("self.solve(λ, W, PATH_GAP)\n", "self.solve(λ, W, 1e3)\n"),
            ("10.0**-i for i in range(6)", "10.0**i for i in range(6)"),
            ("return λ, self.solve(λ, W)", "return λ, W"),
            ("λ, W = max(self.path()", "λ, W = min(self.path()"),
        ],
    },
    "training/lbfgs.py": {
        "training/test_logistic.py": [
            ("        if is_done(g):\n            return x\n", ""),
            ("q, αs = -g, []", "q, αs = g, []"),
            ("            pairs.append((s, y))\n", "            pass\n"),
            ("for (s, y), α in zip(pairs, reversed(αs))", "for (s, y), α in zip(pairs, αs)"),
        ],
    },
    "training/optim.py": {
        ("training/test_trainer.py training/test_optim.py -k 'adamw or backward or decay'"): [
            ("d *= 1 - b1", "d *= b1"),
            ("np.subtract(g, m, out=np.empty_like(m))", "g.copy()"),
            ("np.multiply(g, g, out=d)", "np.copyto(d, g)"),
            ("c1, c2 = 1 - b1**self.t", "c1, c2 = 1 - b2**self.t"),
            ("(1 - b2**self.t) ** 0.5", "1 - b2**self.t"),
            ("        self.t += 1\n", "        self.t = 1\n"),
            ("np.sqrt(v, out=d)", "np.copyto(d, v)"),
            ("(1 if self.eps_hat else c2)", "(c2 if self.eps_hat else 1)"),
            ("d *= lr * c2 / c1", "d *= lr * c2"),
            ("            p -= d", "            p += d"),
            ("            p.grad = None\n", "            pass\n"),
            ("p *= 1 - lr * self.decays[i]", "p *= 1 - self.decays[i]"),
            ("p *= 1 - lr * self.decays[i]", "pass"),
            ("g = g * factor", "pass"),
            ("range(0, len(x), rows)]", "range(0, len(x) - rows, rows)]"),
            ("0.0 if id(p) in exempt else weight_decay", "weight_decay"),
            (
                "0.0 if id(p) in exempt else weight_decay",
                "weight_decay if id(p) in exempt else 0.0",
            ),
            ("if exempt - {id(p) for p in self.parameters}:", "if False:"),
        ],
        "training/test_trainer.py -k 'clip or schedule'": [
            ("sum(squares) ** 0.5", "sum(squares)"),
            ("limit / norm", "norm / limit"),
            ("if limit < norm < np.inf", "if norm < limit"),
            ("lambda done: 1 - done", "lambda done: done"),
            ("np.cos(np.pi * done)", "np.cos(np.pi / 2 * done)"),
            ("(t + 1) / (warmup + 1)", "t / warmup"),
            ("(t - warmup) / max(1, steps - warmup)", "t / max(1, steps)"),
        ],
    },
    "training/parallel.py": {
        "training/test_parallel.py": [
            ("limits=1,", "limits=None,"),
            ("            self.inside -= 1\n", "            self.inside = 0\n"),
            ("self.limit.restore_original_limits()", "pass"),
            ("min(size, -(-n // MOST))", "size"),
            ("for i in range(len(rows))]\n", "for i in order]\n"),
            ("int(tokens * model_size / WORK)", "8"),
        ],
        "methods/test_merging.py -k 'as_many_rows and lora'": [
            ("    adaptation.check_batch(sum(map(len, shards)))\n", ""),
        ],
        "training/test_trainer.py -k 'shard or micro or workers'": [
            ("sums[p] + g if p in sums else g", "g"),
            ("{name: x[rows] for name, x in batch.items()}", "batch"),
            (
                "grad([*sums], adaptation.parameters(), [*sums.values()])",
                "grad([*sums], adaptation.parameters())",
            ),
            ("min(B, at_least))", "at_least)"),
            ("[resolved.of(rows) for rows in shards]", "[resolved for rows in shards]"),
            (
                "return np.array_split(np.arange(B), shards)",
                "return np.array_split(np.arange(B - 1), shards)",
            ),
        ],
    },
    "training/cluster.py": {
        "training/test_cluster.py": [
            ("NETWORKS.setdefault(self.name, self.network)", "pass"),
            ("if id(network) not in self.names:", "if True:"),
            ("self.name(thing) if is_network else None", "None"),
            ("client.wait_for_workers(1, timeout)", "pass"),
        ],
    },
    "training/trainer.py": {
        (
            "training/test_trainer.py -k 'micro or shard or fit or workers or batch or "
            "finite or optimizer or clips'"
        ): [
            (
                "rng = np.random.default_rng([seed, t, s])",
                "rng = np.random.default_rng()",
            ),
            ("count = max(1, (targets >= 0).sum())", "count = None"),
            ("if not np.isfinite(value + self.norm):", "if False:"),
            ("any(x.shape not in shapes for x in options.values())", "False"),
            ("if len(ids) != len(labels) or", "if"),
            ("        if micro_batches < 1:\n", "        if False:\n"),
            (
                "!= list(map(id, adaptation.parameters())):",
                "!= list(map(id, adaptation.parameters())) and False:",
            ),
            ("clip_factor(self.norm, self.clip)", "1.0"),
            ("if not finite[p]]", "if finite[p]]"),
            ('"lr": self.lr(self.t - 1)', '"lr": self.lr(self.t)'),
            ("self.t % every == 0:", "self.t % every == 1:"),
        ],
        ("training/test_trainer.py -k 'best or early or goes_back or second or never'"): [
            ("if -np.inf < value < self.best.value:", "if -np.inf < value <= self.best.value:"),
            ("if -np.inf < value < self.best.value:", "if value < self.best.value or self.best.t:"),
            ("            self.best.since += 1\n", "            pass\n"),
            (
                "if patience and self.best.since >= patience:",
                "if patience and self.best.since > patience:",
            ),
            ("            self.restore_best()\n", "            pass\n"),
            ("            optimizer.t = best.adam_t\n", "            pass\n"),
            (
                "now = [p.data for p in optimizer.parameters], optimizer.m, optimizer.v",
                "now = [p.data for p in optimizer.parameters], [], []",
            ),
            ("(best.arrays, best.m, best.v)):", "(best.arrays, best.v, best.m)):"),
            ("[x.copy() for x in xs]", "[x for x in xs]"),
            ("        if not self.resumed:\n            self.best = Best()\n", ""),
            ("not 1 <= every <= steps or patience", "not 1 <= every or patience"),
            ("or save_every < 1:", ":"),
        ],
        (
            "training/test_checkpoint.py -k 'uninterrupted or other_batches or stopped "
            "or goes_on or written_over or resumed or batches_end'"
        ): [
            ("        if checksum != self.batches_checksum:\n", "        if False:\n"),
            ("for batch in islice(batches, self.t):", "for batch in islice(batches, 0):"),
            ("(self.saved is None or self.saved[0] != folder):", "False:"),
            ("            if self.log_size is not None:\n", "            if False:\n"),
            (
                "checksum(batch, self.batches_checksum)",
                "checksum(batch, 0)",
            ),
            (
                "self.saved, self.resumed = (Path(folder).resolve(), self.t), True",
                "self.saved, self.resumed = (Path(folder).resolve(), self.t), False",
            ),
            ("            save()\n        if evaluate:", "        if evaluate:"),
        ],
    },
    "training/checkpoint.py": {
        (
            "training/test_checkpoint.py -k 'uninterrupted or resumed or goes_on or "
            "stopped or other or another or broken'"
        ): [
            ('"m": optimizer.m, "v": optimizer.v}', '"m": optimizer.v, "v": optimizer.m}'),
            ('"adam": optimizer.t,', '"adam": trainer.t + 1,'),
            ("        p.data[...] = x\n", "        pass\n"),
            (
                "optimizer.m, optimizer.v, optimizer.t = m, v, adam_t",
                "optimizer.m, optimizer.v, optimizer.t = m, v, 0",
            ),
            (
                "optimizer.m, optimizer.v, optimizer.t = m, v, adam_t",
                "optimizer.v, optimizer.m, optimizer.t = m, v, adam_t",
            ),
            ("    check_settings(trainer, stored, file.path)\n", "    pass\n"),
            (
                "    check_learning_rates(trainer, file, t)\n",
                "    file.require('learning_rates', (t,))\n",
            ),
            ("    file.check_all_used()\n", "    pass\n"),
            ("if type(value) is not int or value < 0:", "if type(value) is not int:"),
            ("        if x.dtype != p.dtype:\n", "        if False:\n"),
            ('"clip": float(trainer.clip),\n', ""),
            ('"seed": int(trainer.seed),\n', ""),
            ("before if x is None else crc32", "0 if x is None else crc32"),
            (
                'best.arrays = read_arrays(file, "best", adaptation)',
                "best.arrays = [x.copy() for x in parameters]",
            ),
            (
                '(read_arrays(file, part, adaptation) for part in ("best_m", "best_v"))',
                '(read_arrays(file, part, adaptation) for part in ("best_v", "best_m"))',
            ),
            ('best.adam_t = count(stored, "best_adam")', "best.adam_t = adam_t"),
        ],
        ("training/test_checkpoint.py training/test_trainer.py -k 'best or stopped_early'"): [
            ('"since": best.since,', '"since": 0,'),
        ],
    },
    "training/interrupt.py": {
        (
            "training/test_interrupt.py -k 'second or as_ever or ignored or "
            "other_threads or (any_point and SIGINT) or exits'"
        ): [
            ("        restore()\n\n    if threading", "\n    if threading"),
            ("    finally:\n        restore()\n", "    finally:\n        pass\n"),
            ("not in (signal.SIG_IGN, None)", "not in (None,)"),
            ("if threading.current_thread() is threading.main_thread():", "if True:"),
            ("    if got:\n        raise", "    if False:\n        raise"),
            (
                "self.code, self.folder = 128 + number, folder",
                "self.code, self.folder = number, folder",
            ),
        ],
    },
}
