"""P-tuning: Liu et al. 2021, "GPT Understands, Too"."""

from dataclasses import dataclass
from itertools import chain, pairwise, repeat

import numpy as np

from ..lstm import bidirectional
from ..ops import relu
from .encoded import Reparametrised, linear
from .pseudo import PseudoTokens

ENCODERS = {"lstm": 1, "lstm-half": 2, "mlp": None}  # D/1 or D/2 in each direction


@dataclass
class PTuning(Reparametrised):
    """h_i = MLP([→h_i ; ←h_i]), at [P] i        random        Liu et al. 2021, §3.2

    →h, ←h are an LSTM's that reads rows E both ways; the MLP is Linear → relu → Linear.  The
    authors publish two widths: "lstm", D in each direction (few-shot), and "lstm-half", D/2 (LAMA).
    "mlp": the MLP reads E itself.  After training `fold` keeps PseudoTokens.
    """

    template: str = "[P]*10 {x}"  # see Template
    encoder: str = "lstm"  # lstm, lstm-half or mlp
    layers: int = 2  # of the LSTM; of the MLP, if it is alone

    rate = 1e-3

    def __post_init__(self):
        super().__post_init__()
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder={self.encoder!r}: there is {', '.join(ENCODERS)}")
        self.method = PseudoTokens(self.template)

    def network(self, k, D, O, rng):
        θ, I, part = {"E": rng.normal(0, 1, (k, D))}, D, ENCODERS[self.encoder]
        for n in range(self.layers if part else 0):
            h = D // part
            for way in ("forth", "back"):
                W, U = (rng.uniform(-1, 1, (i, 4 * h)) * h**-0.5 for i in (I, h))
                θ |= {f"W{n}_{way}": W, f"U{n}_{way}": U, f"b{n}_{way}": np.zeros((1, 4 * h))}
            I = 2 * h
        widths = chain([I], repeat(D, 1 if part else self.layers - 1), [O])
        for n, (I, O) in enumerate(pairwise(widths), 1):
            θ[f"W{n}"], θ[f"b{n}"] = linear(rng, I, O)
        return θ

    def encode(self, E, *θ):
        x, θ = E, list(θ)
        for _ in range(self.layers if ENCODERS[self.encoder] else 0):
            x, θ = bidirectional(x, θ[:3], θ[3:6]), θ[6:]
        W, b, *more = θ
        x = x @ W + b
        while more:
            W, b, *more = more
            x = relu(x) @ W + b
        return x
