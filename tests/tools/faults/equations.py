"""Faults in the equations as the papers write them, and in how they are checked."""

FAULTS = {
    "equations/literal.py": {
        "equations/test_equations.py -k 'test_holds and (LL)'": [
            (
                "math.sqrt(sum(z * z for z in x) / len(x) + ε)",
                "math.sqrt(sum(z * z for z in x) + ε)",
            ),
        ],
        (
            "equations/test_equations.py -k 'test_holds and (AT- or PF-1 or PR-1 or "
            "AD-1 or PB-4 or PB-2 or PF-15)'"
        ): [
            ("return E / E.sum(axis=0)", "return E / E.sum(axis=1, keepdims=True)"),
            ("K.T @ Q / math.sqrt(len(Q))", "K.T @ Q / len(Q)"),
            (
                "ends = [before + t + 1 for t in range(L)]",
                "ends = [before + t + 2 for t in range(L)]",
            ),
            ("return θ.W @ X + θ.b", "return θ.W @ X"),
            ("return linear(θ.o, np.vstack(", "return (np.vstack("),
            (
                "np.hstack([P_key, K]), np.hstack([P_value, V])",
                "np.hstack([K, P_key]), np.hstack([P_value, V])",
            ),
            ("(centred**2).mean(axis=0) + θ.eps", "(centred**2).mean(axis=0) + 1e-3"),
            ("centred = X - X.mean(axis=0)", "centred = X"),
            ("0.044715 * X**3", "0.044715 * X**2"),
            ("math.erf(x / math.sqrt(2))", "math.erf(x)"),
            (
                "X = X + self_attention(θ.attn, layer_norm(θ.ln1, X), P, attend)",
                "X = self_attention(θ.attn, layer_norm(θ.ln1, X), P, attend)",
            ),
            (
                "return X + mlp(θ.mlp, layer_norm(θ.ln2, X))",
                "return X + mlp(θ.mlp, layer_norm(θ.ln1, X))",
            ),
            (
                "return E + θ.positions.W[:, start : start + E.shape[1]]",
                "return E + θ.positions.W[:, : E.shape[1]]",
            ),
            ("embed(θ, words), P[0][0].shape[1], P, attend)", "embed(θ, words), 0, P, attend)"),
            ("    return layer_norm(θ.ln, X)\n", "    return X\n"),
            ("add_positions(θ, E, start) + types)", "add_positions(θ, E, start))"),
            (
                "X = layer_norm(layer.ln2, X + linear(layer.mlp.down, exact_gelu(up)))",
                "X = layer_norm(layer.ln2, X + linear(layer.mlp.down, gelu(up)))",
            ),
            ("np.log(p[word, t])", "p[word, t]"),
            ("return np.tanh(linear(θ.pooler, H[:, [0]]))", "return linear(θ.pooler, H[:, [0]])"),
            ("z[i] += 1j * h", "z[i] += h"),
        ],
    },
    "equations/attention.py": {
        "equations/test_equations.py -k 'test_holds and (AT-)'": [
            ("A * (dA - np.ones((len(A), 1)) * (A * dA).sum(axis=0))", "A * dA"),
            ("Q * math.sqrt(θ.d / len(Q)), K, V), y)", "Q, K, V), y)"),
            ("changed[t] = (words[t] + 1) % draw.V", "changed[t] = words[t]"),
            ("both = Chain(keys, prefix)", "both = keys"),
        ],
    },
    "equations/weights.py": {
        "equations/test_equations.py -k 'test_holds and (LO-1 or IA-1 or LN-1)'": [
            ("s * B @ A @ x\n\n\ndef lora_g", "s * s * B @ A @ x\n\n\ndef lora_g"),
            ("s * G @ (A @ x).T", "G @ (A @ x).T"),
            ("(V**2).sum(axis=1, keepdims=True)", "(V**2).sum(axis=0, keepdims=True)"),
            ("l_ff * gelu(linear(θ.up, x))", "gelu(l_ff * linear(θ.up, x))"),
            ("return W * g.T, W @ c + b", "return W * g.T, c + b"),
        ],
    },
    "equations/adapters.py": {
        "equations/test_equations.py -k 'test_holds and (AD)'": [
            ("x + W_up @ gelu(W_down @ x + b_down) + b_up", "x + W_up @ gelu(W_down @ x) + b_up"),
            ("return 2 * r * d + r + d", "return 2 * r * d + r"),
            ("h + s * W_up @ np.maximum(W_down @ x, 0)", "h + W_up @ np.maximum(W_down @ x, 0)"),
            ("return Y - Y @ np.linalg.pinv(one) @ one", "return Y"),
        ],
    },
    "equations/prefix.py": {
        (
            "equations/test_equations.py -k 'test_holds and (PF-1 or PF-3 or PF-4 or PF-6 or PF-7)'"
        ): [
            (
                "x, h_i = add_positions(θ, embed(θ, [z]), i), []",
                "x, h_i = add_positions(θ, embed(θ, [z]), 0), []",
            ),
            ("λ.append(prefix / (prefix + text))", "λ.append(prefix / text)"),
            (
                "(1 - λ) * attend(Q, K, V) + λ * attn_op(Q, P_key, P_value)",
                "attend(Q, K, V) + λ * attn_op(Q, P_key, P_value)",
            ),
            ("causal_attn(Q, K, V) * (1 - k / (k + sums))", "causal_attn(Q, K, V)"),
            (
                "return P_value @ softmax(W_down @ x + b_down)",
                "return P_value @ softmax(W_down @ x)",
            ),
            (
                "X = add_positions(θ, E, start=k)\n    for S_l",
                "X = add_positions(θ, E)\n    for S_l",
            ),
        ],
    },
    "equations/prompt.py": {
        "equations/test_equations.py -k 'test_holds and (PR)'": [
            ("attend=attend)[:, P.shape[1] :]", "attend=attend)[:, : -P.shape[1]]"),
            ("for word in label) / len(label)", "for word in label)"),
            (
                "return np.hstack([E[:, :i], P, E[:, i:]])",
                "return np.hstack([E[:, :i], P, E[:, i + 1 :]])",
            ),
            ("(count(c), sum(np.log(p[c]) for p in ps))", "(count(c), -c)"),
            ("/ math.sqrt(sum(p * p) * sum(w * w))", "/ math.sqrt(sum(p * p))"),
        ],
    },
    "equations/ptuning.py": {
        "equations/test_equations.py -k 'test_holds and (PT)'": [
            ("sigmoid(f) * c[unit] + sigmoid(i) * np.tanh(g)", "c[unit] + sigmoid(i) * np.tanh(g)"),
            ("sigmoid(o) * np.tanh(c[unit])", "np.tanh(c[unit])"),
            ("lstm(*backward, X[:, i:][:, ::-1])", "lstm(*backward, X[:, i:])"),
            (
                "np.hstack([P[:, :i], embed(θ, x), P[:, i:], embed(θ, y)])",
                "np.hstack([P[:, :i], embed(θ, x), P[:, :i], embed(θ, y)])",
            ),
        ],
    },
    "equations/ptuning2.py": {
        "equations/test_equations.py -k 'test_holds and (P2)'": [
            ("0 if u[i] < p else P[i] / (1 - p)", "0 if u[i] < p else P[i]"),
            (
                "return k * d + (d + 1) * m + (m + 1) * 2 * N * d",
                "return k * d + (d + 1) * m + m * 2 * N * d",
            ),
        ],
    },
    "equations/llama.py": {
        "equations/test_equations.py -k 'test_holds and (LL)'": [
            ("np.exp(1j * m * ω)", "np.exp(-1j * m * ω)"),
            ("θ ** (-2 * j / d)", "θ ** (-j / d)"),
            ("return z / (1 + np.exp(-z))", "return z / (1 + np.exp(z))"),
            ("max(0, t - window + 1)", "max(0, t - window)"),
            ("for i in (h, h * K_heads // H))", "for i in (h, h % K_heads))"),
        ],
    },
    "equations/unified.py": {
        "equations/test_equations.py -k 'test_holds and (HE-1 or 1.15)'": [
            ('z = x if design.insertion == "parallel" else h', "z = x"),
            ("return (1 - λ) * h + λ * Δh", "return h + λ * Δh"),
            ("(s if design.composition == SCALED else 1) * Δh", "Δh"),
            ("return 2 * k * d_kv * N", "return k * d_kv * N"),
            ("return 11 * d * N + 2 * d", "return 11 * d * N"),
            ("return k * h + 3 * (h * h + h)", "return k * h + 3 * h * h"),
        ],
    },
    "equations/probing.py": {
        "equations/test_equations.py -k 'test_holds and (PB)'": [
            ("    return H[:, -1:]\n", "    return H[:, :1]\n"),
            ("for t in range(len(m))) / sum(m)", "for t in range(len(m))) / len(m)"),
            ("np.diagflat(p) - p @ p.T", "np.diagflat(p)"),
            ("np.maximum(V @ h + a, 0)", "V @ h + a"),
            ("np.exp((h @ q).item())", "1 + (h @ q).item() ** 2"),
        ],
    },
    "equations/adaptation.py": {
        "equations/test_equations.py -k 'test_holds and (EQ-)'": [
            ("(m / (1 - β1**t))", "m"),
            ("(12 * d**2 + 13 * d) + 2 * d", "(12 * d**2 + 13 * d)"),
            ("for x in xs) / len(xs)", "for x in xs)"),
        ],
    },
    "equations/entry.py": {
        "equations/test_equations.py -k 'no_claim_is_refused'": [
            ("if not source or not isgeneratorfunction(generator):", "if not source:"),
            ("if isinstance(value, tuple | list) and", "if"),
        ],
        "equations/test_equations.py -k 'compared or exception or same_seed'": [
            (
                ("return float(abs(a - b).max()) if a.shape == b.shape and a.size else np.nan"),
                "return float(abs(a - b).max()) if a.size else 0.0",
            ),
            ("a.shape == b.shape and a.size", "a.size"),
            ("return self.error <= self.tolerance", "return not self.error > self.tolerance"),
            ("        if not errors:\n", "        if False:\n"),
            (
                "            except BaseException as error:",
                "            except ValueError as error:",
            ),
            ("tolerance: float = 1e-12", "tolerance: float = 1e-6"),
            ("tolerance: float = 1e-8", "tolerance: float = 1e-10"),
        ],
    },
    "equations/draw.py": {
        (
            "equations/test_equations.py -k 'test_holds and (AT-1 or PF-13 or PR-11 or "
            "LN-1 or LO-1)'"
        ): [
            (
                "return part.data.swapaxes(-1, -2).copy() if part.ndim > 1",
                "return part.data.copy() if part.ndim > 1",
            ),
            (
                "mask[row, self.rng.permutation(shape[1])[: len(text)]] = True",
                "mask[row, : len(text) + 1] = True",
            ),
            (
                "self.layers[layer.path] = columns(x)[0], columns(y)[0]",
                "self.layers[layer.path] = columns(y)[0], columns(x)[0]",
            ),
        ],
    },
}
