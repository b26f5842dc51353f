"""Faults in the equations of the methods, in how they start, and in templates."""

FAULTS = {
    "methods/lora.py": {
        (
            "equations/test_equations.py methods/test_merging.py "
            "methods/test_details.py -k 'test_holds and LO or (lora or merg or "
            "dropout) and gpt2 and not device'"
        ): [
            ("self.scale * A) @ B", "A) @ B"),
            ("self.scale * A) @ B", "self.scale * self.scale * A) @ B"),
            ("layer(x) + self.branch(", "layer(x) - self.branch("),
            ("return layer(x) + self.branch(", "return self.branch("),
            ("self.rank**0.5 if", "self.rank**2 if"),
            (
                "if self.rank_stabilised else self.rank",
                "if not self.rank_stabilised else self.rank",
            ),
            ("dropout(x, p=self.dropout", "dropout(x, p=1 - 2 * self.dropout"),
            ("layer.W + layer.oriented(", "layer.W - layer.oriented("),
            ("layer.oriented(self.scale * A @ B)", "layer.oriented(A @ B)"),
            ("layer.oriented(self.scale * A @ B)", "(self.scale * A @ B)"),
            ('r"attn\\.[qkv]$", "attn.qkv"', 'r"attn\\.[qkvo]$", "attn.qkv"'),
            ("np.zeros((self.rank, O))", "np.ones((self.rank, O))"),
            ("if rng and isinstance(x, Tensor):", "if False:"),
            ('            start["A"] = shared.setdefault', "            shared.setdefault"),
        ],
        (
            "equations/test_equations.py methods/test_starts.py -k 'test_holds and LO "
            "or (lora or identity or slip) and gpt2 and not device'"
        ): [
            ("I**-0.5", "I**0.5"),
            ("cross)\\.[qv]$", "cross)\\.[qk]$"),
            ('(I, self.rank)), "B"', '(I, self.rank)) * 0, "B"'),
            ("if self.fused and len(shared) == len(at):", "if False:"),
        ],
    },
    "methods/adapter.py": {
        (
            "equations/test_equations.py methods/test_starts.py "
            "methods/test_method_equations.py -k 'test_holds and AD or (adapter or "
            "near) and (gpt2 or rotary) and not device'"
        ): [
            ("return h + gelu(h @ D + b) @ U + c", "return h + gelu(h @ D) @ U + c"),
            ("return h + gelu(h @ D + b) @ U + c", "return h + gelu(h @ D + b) @ U"),
            ("return h + gelu(h @ D + b) @ U + c", "return gelu(h @ D + b) @ U + c"),
            ("return h + gelu(h @ D + b) @ U + c", "return h + (h @ D + b) @ U + c"),
            ("return h + gelu(h @ D + b) @ U + c", "return h + gelu(h) @ D @ U + b @ U + c"),
            ("rng.normal(0, 1e-2, (r, O))", "rng.normal(0, 1, (r, O))"),
            ("rng.normal(0, 1e-2, (r, O))", "np.zeros((r, O))"),
            ("np.zeros((1, O)),", "np.ones((1, O)),"),
            ('HOULSBY = r"(attn|cross)\\.o$', 'HOULSBY = r"(attn|cross)\\.q$'),
            ('HOULSBY = r"(attn|cross)\\.o$|', 'HOULSBY = r"'),
        ],
    },
    "methods/prefix.py": {
        (
            "equations/test_equations.py methods/test_starts.py "
            "methods/test_method_equations.py -k 'test_holds and (PF-1 or PF-3) or "
            "(prefix or start or slip) and gpt2 and not device'"
        ): [
            ("rng.normal(0, 0.02,", "rng.normal(0, 0.2,"),
            ("rng.integers(0, model", "rng.integers(1, model"),
            ("return P_key, P_value", "return P_value, P_key"),
            ("return P_key, P_value", "return P_key * 2.0, P_value"),
            (
                '{"P_key": kv[path][0].data[0], "P_value": kv[path][1]',
                '{"P_key": kv[path][1].data[0], "P_value": kv[path][0]',
            ),
            (
                '{"P_key": kv[path][0].data[0], "P_value": kv',
                '{"P_key": kv[path][0].data[0][::-1], "P_value": kv',
            ),
            ('object.__setattr__(self, "length", len(self.words) or 10)', "pass"),
            ("self.length > longest:", "self.length > longest + 1:"),
            ('if self.words and self.init == "normal":', "if False:"),
        ],
        "equations/test_equations.py methods/test_gate.py -k 'PF-17 or gate'": [
            ('{"g": np.zeros(', '{"g": np.ones('),
            ("return None if self.gate else super()", "return super()"),
            (
                "if not self.gate:\n            return layer(x)",
                "if True:\n            return layer(x)",
            ),
            ("layer.d) for z in rows), scale=layer.scale)", "layer.d) for z in rows))"),
            ("heads = reshape(g, (-1, *heads.shape[1:3], 1, 1)) * heads", "heads = heads"),
            ("return layer(x) + join_heads", "return join_heads"),
            ("join_heads(heads) @ layer.o.W", "layer.o(join_heads(heads))"),
        ],
    },
    "methods/prompt.py": {
        (
            "equations/test_equations.py methods/test_starts.py "
            "methods/test_method_equations.py methods/test_details.py -k 'test_holds "
            "and PR or (prompt or slip) and gpt2 and not device or nearest'"
        ): [
            ("rng.uniform(-0.5, 0.5", "rng.uniform(0, 0.5"),
            ("rng.uniform(-0.5, 0.5", "rng.uniform(-0.25, 0.25"),
            ("W[list(ids)].mean(0)", "W[list(ids)].sum(0)"),
            ("np.resize(words, k)", "np.resize(words[::-1], k)"),
            ("np.argsort(-cosines", "np.argsort(cosines"),
            ("for x in (P, W))\n    cosines", "for x in (P, W))\n    P = P * 2\n    cosines"),
            ("replace=k > population", "replace=True"),
            ("return [P]", "return [P * 2.0]"),
            ("np.concatenate([labels, ", "np.concatenate([labels[::-1], "),
            ("population = min(method.frequent, len(W))", "population = len(W) - 1"),
            ('if words and init == "uniform":', "if False:"),
            ("if words and labels == are_words(words):", "if False:"),
        ],
    },
    "methods/words.py": {
        "methods/test_words.py methods/test_starts.py -k 'word or label or text or slip'": [
            ("if ids.min() < 0 or", "if ids.min() < -1 or"),
            ("ids.max() >= V", "ids.max() > V"),
            ("encoded(word, model, False)", "encoded(word, model, True)"),
            ("return encoded(words, model, True)", "return encoded(words, model, False)"),
            ("replace(γ.method, words=self.words)", "γ.method"),
        ],
    },
    "methods/fusion.py": {
        "equations/test_equations.py methods/test_fusion.py -k 'AD-8 or fusion'": [
            ("attention(q, k, v), h.shape", "attention(k, q, v), h.shape"),
            ("return rows(h @ Q), k, v", "return rows(z[0] @ Q), k, v"),
            ("for W in (K, V))", "for W in (V, K))"),
            ("rows(z_n @ W) for", "rows(z_n) for"),
            ("z = [γ(layer, x) for γ", "z = [γ(layer, h) for γ"),
            ('"V": np.eye(D)', '"V": np.zeros((D, D))'),
            ("γ.map(lambda p: Tensor(p.data.copy()))", "γ"),
            ("γ.map(lambda p: Tensor(p.data.copy()))", "γ.map(lambda p: Tensor(p.data))"),
            ("if any(γ.adapts(place[0]) for γ in self.adapters)", ""),
            ("any(γ.adapts(place[0])", "all(γ.adapts(place[0])"),
            ("not γ.shared or", ""),
            ("γ.pseudo_tokens(1) or", ""),
            (" or any(resolved.prepended(layer, 1) for layer in at)", ""),
            ("resolved = γ.resolve()", "resolved = γ"),
            ("    check_model(γ, model)\n", ""),
            ("if not listed or not all(", "if not all("),
            ("h if y is x else layer(y)", "h"),
            (
                "super().astype(dtype).with_adapters(lambda γ: γ.astype(dtype))",
                "super().astype(dtype)",
            ),
            ("super().to(device).with_adapters(lambda γ: γ.to(device))", "super().to(device)"),
            (", *[id(p.data) for _, p in self.named_frozen()]", ", 0"),
            ("new.get(id(p), p)", "p"),
            ("self.named_frozen() if frozen else ()", "self.named_frozen()"),
            ("self.named_frozen() if frozen else ()", "()"),
            ("named_parameters(frozen=True)", "named_parameters()"),
        ],
        "laws/test_laws.py -k 'fusion and gpt2 and reading'": [
            ("h if y is x else layer(y)", "layer(y)"),
        ],
    },
    "methods/encoded.py": {
        (
            "equations/test_equations.py methods/test_merging.py "
            "methods/test_method_equations.py methods/test_starts.py -k 'test_holds "
            "and (PF-8 or PF-9 or P2) or (encoded or slip or folded) and gpt2 and not "
            "device or several_lengths'"
        ): [
            ("return tanh(E @ W1 + b1) @ W2 + b2", "return (E @ W1 + b1) @ W2 + b2"),
            ("return tanh(E @ W1 + b1) @ W2 + b2", "return tanh(E @ W1) @ W2 + b2"),
            ("return tanh(E @ W1 + b1) @ W2 + b2", "return tanh(E @ W1 + b1) @ W2"),
            ("ends = np.cumsum(", "ends = np.max("),
            ("zip(rows, ends)}", "zip(rows[::-1], ends)}"),
            ("if not adds or gated", "if gated"),
            ("or len({p.shape[0] for p in rows}) != 1:", ":"),
            (
                "*linear(rng, D, h), *linear(rng, h, O)",
                "*linear(rng, D, h), *linear(rng, h, O)[:1]",
            ),
        ],
        "methods/test_gate.py": [("or gated or", "or")],
        ("laws/test_laws.py -k 'says_which_float and gpt2 and not device and encoded'"): [
            ("np.array(p, model.dtype, like", "np.array(p, like"),
        ],
    },
    "methods/fine_tuning.py": {
        (
            "methods/test_merging.py methods/test_starts.py laws/test_laws.py -k "
            "'(tied or one_copy) or (merg or training or float or starts_as) and (full "
            "or norms) and gpt2 and not device'"
        ): [
            (
                "{name: θ[id(t)] for name, t in ts.items()}",
                "{name: θ[id(t)].copy() for name, t in ts.items()}",
            ),
            ("return layer.replace(**θ)(x)", "return layer(x)"),
            ("        return θ\n", "        return {}\n"),
        ],
        "model/test_transformer.py -k 'probe and last'": [
            ('targets: str = r"^(query|score)$"', 'targets: str = r"ln$"'),
        ],
        "equations/test_equations.py tasks/test_hidden_probes.py -k 'PB-5 or hidden_probes'": [
            ('r"^(query|score)$"', 'r"^score$"'),
            ('relu(x @ θ["V"] + θ["a"])', '(x @ θ["V"] + θ["a"])'),
            ('relu(x @ θ["V"] + θ["a"])', 'relu(x @ θ["V"])'),
            ('@ θ["W"] + θ["b"]', '@ θ["W"]'),
            ("rng.normal(0, (2 / D) ** 0.5, (D, H))", "0 * rng.normal(0, 1, (D, H))"),
            ('Method.weights(self, layer) if "V" in θ else super()', "super()"),
            ('if self.hidden and "score" in at:', "if False:"),
        ],
    },
    "methods/pseudo.py": {
        (
            "equations/test_equations.py methods/test_template.py -k 'test_holds and "
            "(PT-1 or PT-4 or PR-6) or pseudo'"
        ): [
            ("T + PSEUDO - ids,", "T + PSEUDO - ids + 1,"),
            ("- ids, np.arange(T))", "- ids, 0)"),
            ("np.where(ids < 0,", "np.where(ids <= 0,"),
            ("concat(layer(ids), broadcast_to", "concat(layer(ids) * 0.0, broadcast_to"),
            ("return Template(self.template).length", "return Template(self.template).length + 1"),
        ],
        "methods/test_merging.py -k 'first_or_last and gpt2'": [
            ("    outermost = True\n", "    outermost = False\n"),
        ],
    },
    "methods/ptuning.py": {
        "equations/test_equations.py -k 'test_holds and PT'": [
            ('"lstm-half": 2', '"lstm-half": 1'),
            ("1 if part else self.layers - 1", "1 if part else self.layers"),
            ('x = relu(x) @ θ[f"W{n}"] + θ[f"b{n}"]', 'x = x @ θ[f"W{n}"] + θ[f"b{n}"]'),
            ('x = relu(x) @ θ[f"W{n}"] + θ[f"b{n}"]', 'x = relu(x) @ θ[f"W{n}"]'),
            (
                'for way in ("forth", "back"))\n            )',
                'for way in ("back", "forth"))\n            )',
            ),
            (
                'for way in ("forth", "back"))\n            )',
                'for way in ("forth", "forth"))\n            )',
            ),
            ("range(2, 3 if part else self.layers + 1)", "range(2, 3 if part else self.layers)"),
        ],
    },
    "methods/lstm.py": {
        "autograd/test_ops.py -k 'not rejects and lstm'": [
            ("c = f * c + i * g", "c = f * c + g"),
            ("h = o * np.tanh(c)", "h = o * c"),
            ("i, f, g, o = np.split(", "i, g, f, o = np.split("),
            ("dh = dh + dy", "dh = dy"),
            ("dc = dc + dh * o", "dc = dh * o"),
            ("(1 - tanh_c * tanh_c)", "(1 - tanh_c)"),
            ("dc * g, dc * cells[t], dc * i", "dc * g, dc * cells[t + 1], dc * i"),
            ("steps[-1] @ swap(U), dc * f", "steps[-1] @ swap(U), dc"),
            ("steps[-1] @ swap(U), dc * f", "steps[-1] @ swap(U) * 0, dc * f"),
            ("np.concatenate(steps[::-1], -2)", "np.concatenate(steps, -2)"),
            ("lambda g: swap(before) @ da(g)", "lambda g: swap(x) @ da(g)[..., : U.shape[-1]] * 0"),
            ("np.concatenate(hs[:-1], -2)", "np.concatenate(hs[1:], -2)"),
            ("dg * (1 - g * g)", "dg * (1 + g * g)"),
        ],
        "equations/test_equations.py -k 'test_holds and PT-2'": [
            ("flip(lstm(flip(x), *back))", "lstm(flip(x), *back)"),
            ("flip(lstm(flip(x), *back))", "lstm(x, *back)"),
            ("concat(lstm(x, *forth), flip", "concat(lstm(x, *back), flip"),
        ],
    },
    "methods/deep.py": {
        (
            "equations/test_equations.py methods/test_method_equations.py -k "
            "'test_holds and PF or from_words and gpt2 or from_words and llama'"
        ): [
            ("layer.norm(reshape", "(reshape"),
            ("layer.k(x)), layer.v(x)", "layer.v(x)), layer.v(x)"),
            ("layer.k(x)), layer.v(x)", "layer.k(x)), layer.k(x)"),
            ("layer.positions.turn_front(layer.k(x))", "layer.k(x)"),
            (
                "recorder.inputs[source(path)][0]",
                "recorder.inputs[source(path)][0][::-1]",
            ),
        ],
    },
    "methods/recorder.py": {
        "methods/test_method_equations.py -k 'from_words and gpt2'": [
            ("if self.states else [x.data, y.data]", "if self.states else [y.data, y.data]"),
        ],
    },
    "methods/multitask.py": {
        "methods/test_details.py methods/test_starts.py -k 'multitask or task'": [
            ("P * (c @ r)", "P + (c @ r)"),
            ("P * (c @ r)", "c @ r"),
            ("c[..., 0], r[:, 0] = 1, 1", "c[..., 0], r[:, 0] = 1, 0"),
            ("of_one_task(γ.user(t))", "of_one_task(γ.user(0))"),
            ("method=dataclasses.replace(γ.method, tasks=1))", "method=γ.method)"),
            ("if not 0 <= t < γ.method.tasks:", "if not t < γ.method.tasks:"),
        ],
    },
    "methods/parallel.py": {
        "equations/test_equations.py -k 'test_holds and (AD or HE-1)'": [
            ("relu(x @ W_down) @ (self.scale * W_up)", "relu(x @ W_down) @ W_up"),
            ("layer(x) + relu(x", "layer(x) - relu(x"),
            ("relu(x @ W_down) @ (", "(x @ W_down) @ ("),
            ("return layer(x) + relu(x @ W_down)", "return layer(x) + relu(layer(x) @ W_down)"),
            ("split_heads(relu(x @ W_down), H, r)", "split_heads(x @ W_down, H, r)"),
            ("join_heads(heads) @ layer.o.W", "join_heads(heads)"),
            ("layer(x) + join_heads(heads)", "layer(x) - join_heads(heads)"),
        ],
    },
    "methods/dora.py": {
        (
            "equations/test_equations.py methods/test_merging.py "
            "methods/test_starts.py -k 'test_holds and LO or dora and gpt2 and not "
            "device or slip and last'"
        ): [
            ("axis=-2, keepdims", "axis=-1, keepdims"),
            ("m / sqrt(sum_over(V * V,", "m / (sum_over(V * V,"),
            ("axis=0, keepdims=True)", "axis=0, keepdims=True) * 2"),
            ("- b + self.branch", "+ self.branch"),
            ("* scale + b", "* scale"),
            ("layer.oriented(V * scale)", "layer.oriented(V)"),
            ("        if not m.all():\n", "        if False:\n"),
        ],
        "methods/test_merging.py -k 'first_or_last and gpt2'": [
            ("    innermost = True\n", "    innermost = False\n"),
        ],
    },
    "methods/bitfit.py": {
        (
            "methods/test_merging.py -k 'first_or_last and gpt2 or merged_is_applied "
            "and random and bert'"
        ): [
            ("    innermost = True\n", "    innermost = False\n"),
            ('r"^(?!head$)"', 'r""'),
        ],
        (
            "equations/test_equations.py methods/test_merging.py "
            "methods/test_details.py -k 'test_holds and BF or (bitfit or random) and "
            "gpt2 and not device or biases'"
        ): [
            ("np.zeros((1, layer.b.shape[-1]))", "np.ones((1, layer.b.shape[-1]))"),
            ("{name: W + scatter", "{name: W - scatter"),
            ('"intermediate": r"mlp\\.up$"', '"intermediate": r"mlp\\.down$"'),
            ('"query": r"attn\\.q$"', '"query": r"attn\\.[qk]$"'),
            ("return layer(x) + delta", "return layer(x) - delta"),
            ('{"b": layer.b + delta}', '{"b": layer.b}'),
            ('{"b": host(layer.b.data)[None]}', '{"b": 0 * host(layer.b.data)[None]}'),
            (
                "rng.choice(np.prod(shape), layer.b.shape[-1], replace=False)",
                "rng.choice(np.prod(shape), layer.b.shape[-1] - 1, replace=False)",
            ),
            ("replace=False)\n        return np.stack", "replace=True)\n        return np.stack"),
        ],
        "methods/test_details.py -k 'bias'": [
            ("return layer(x) + (b - layer.b)", "return layer(x) + b"),
            ('return {"b": b}', 'return {"b": layer.b + b}'),
        ],
    },
    "methods/ia3.py": {
        (
            "equations/test_equations.py methods/test_merging.py "
            "methods/test_starts.py -k 'test_holds and IA or (ia3 or slip) and gpt2 "
            "and not device'"
        ): [
            ("layer(x * l) if", "layer(x) if"),
            ("else layer(x) * l", "else layer(x * l)"),
            ("np.ones((1, I", "np.zeros((1, I"),
            ("transpose(l) * W", "W"),
            ('{"b": layer.b * l} if', '{"b": layer.b} if'),
            ("cross)\\.[kv]$|mlp", "cross)\\.[qv]$|mlp"),
            ("if self.scales_input(layer) and isinstance(layer, Embedding):", "if False:"),
        ],
    },
    "methods/template.py": {
        "methods/test_template.py -k 'not slip'": [
            ("piece[4:] or 1", "piece[4:] or 2"),
            ("self.length += many", "self.length += many + 1"),
            ("ids += [PSEUDO - i for i in piece]", "ids += [PSEUDO for i in piece]"),
            ("row[:n] + front", "front + row[:n]"),
            ("add_special_tokens=False", "add_special_tokens=True"),
            ("self([IGNORED, *row[1:]], IGNORED)", "self(row, IGNORED)"),
            (
                "[filler] * len(front), [filler] * len(back)",
                "[filler] * len(back), [filler] * len(front)",
            ),
            ("end = max(n, len(row) - self.last)", "end = len(row) - self.last"),
            (
                "self.first = self.last = int(not model.causal)",
                "self.first = self.last = int(model.causal)",
            ),
        ],
    },
}
