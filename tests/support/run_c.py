"""llama2.c's run.c in Python, line by line, without minipeft: the reference for its files."""

import math
import struct

import numpy as np

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def logits(raw, ids):
    """Return logits (T, V) of ids in float64, one token at a time, as `forward` in run.c.

    The rotary angles are computed, although the file has a table of them: run.c does so, too.
    """
    D, F, L, H, K, V, S = struct.unpack_from("<7i", raw)
    floats, at, d = np.frombuffer(raw, "<f4", offset=28).astype(np.float64), 0, D // H

    def take(*shape):
        nonlocal at
        at += math.prod(shape)
        return floats[at - math.prod(shape) : at].reshape(shape)

    E, ln1, W_q = take(abs(V), D), take(L, D), take(L, D, D)
    W_k, W_v, W_o = take(L, K * d, D), take(L, K * d, D), take(L, D, D)
    ln2, W_1, W_2, W_3 = take(L, D), take(L, F, D), take(L, D, F), take(L, F, D)
    ln, _ = take(D), take(2, S, d // 2)
    head = E if V > 0 else take(-V, D)
    assert at == len(floats)

    def norm(x, g):
        return g * (x / math.sqrt((x @ x) / len(x) + 1e-5))

    def turn(x, t):
        x = x.copy()
        for i in range(0, len(x), 2):
            a, b, φ = x[i], x[i + 1], t / 10000.0 ** (i % d / d)
            x[i], x[i + 1] = a * math.cos(φ) - b * math.sin(φ), a * math.sin(φ) + b * math.cos(φ)
        return x

    keys, values, z = np.zeros((L, S, K, d)), np.zeros((L, S, K, d)), []
    for t, token in enumerate(ids):
        x = E[token]
        for n in range(L):
            h, y = norm(x, ln1[n]), []
            keys[n, t] = turn(W_k[n] @ h, t).reshape(K, d)
            values[n, t] = (W_v[n] @ h).reshape(K, d)
            for i, q in enumerate(turn(W_q[n] @ h, t).reshape(H, d)):
                j = i // (H // K)
                w = np.exp(keys[n, : t + 1, j] @ q / math.sqrt(d))
                y.append(w / w.sum() @ values[n, : t + 1, j])
            x = x + W_o[n] @ np.concatenate(y)
            h = norm(x, ln2[n])
            up = W_1[n] @ h
            x = x + W_2[n] @ (up / (1 + np.exp(-up)) * (W_3[n] @ h))
        z.append(head @ norm(x, ln))
    return np.array(z)


def tokens(raw):
    """Return [(score, bytes)] of all tokens, as `build_tokenizer` in run.c."""
    offset, vocabulary = 4, []
    while offset < len(raw):
        score, length = struct.unpack_from("<fi", raw, offset)
        vocabulary.append((score, raw[offset + 8 : offset + 8 + length]))
        offset += 8 + length
    return vocabulary


def encode(text, vocabulary):
    """Return the ids of a text, <s> in front, as `encode` in run.c."""
    index = {token: n for n, (_, token) in enumerate(vocabulary)}
    ids = [1]
    if text:
        ids.append(index[b" "])
    for c in text:
        raw = c.encode()
        ids += [index[raw]] if raw in index else [byte + 3 for byte in raw]
    while True:
        best_score, best_id, best_at = -1e10, -1, -1
        for i in range(len(ids) - 1):
            n = index.get(vocabulary[ids[i]][1] + vocabulary[ids[i + 1]][1], -1)
            if n != -1 and vocabulary[n][0] > best_score:
                best_score, best_id, best_at = vocabulary[n][0], n, i
        if best_at == -1:
            return ids
        ids[best_at : best_at + 2] = [best_id]


def decode(ids, vocabulary):
    """Return the text of all ids after the first, as `decode` in run.c."""
    text = b""
    for before, token in zip(ids, ids[1:]):
        piece = vocabulary[token][1]
        if before == 1 and piece[:1] == b" ":
            piece = piece[1:]
        text += bytes([BYTES.index(piece.decode())]) if piece.decode() in BYTES else piece
    return text


def model_file(rng, sizes):
    """Return the file of a random model of these sizes; V < 0 if its head is not tied."""
    D, F, L, H, K, V, S = sizes
    d = D // H
    counts = abs(V) * D, L * D, L * D * (D + 2 * K * d + D), L * D, 3 * L * D * F, D
    x = rng.normal(0, 0.3, sum(counts))
    angles = np.outer(np.arange(S), 10000.0 ** (-np.arange(0, d, 2) / d))
    head = rng.normal(size=-V * D if V < 0 else 0)
    floats = np.concatenate([x, np.cos(angles).ravel(), np.sin(angles).ravel(), head])
    return struct.pack("<7i", *sizes) + floats.astype("<f4").tobytes()


def tokens_file(more):
    """Return the file of a tokenizer: all bytes, and more tokens, {token: score}."""
    first = dict.fromkeys(["<unk>", "\n<s>\n", "\n</s>\n", *BYTES], 0.0)
    raw = struct.pack("<i", max(map(len, more)))
    for token, score in (first | more).items():
        raw += struct.pack("<fi", score, len(token.encode())) + token.encode()
    return raw
