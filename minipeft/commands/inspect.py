"""minipeft inspect: what an adaptation does to a text, in the terminal or as a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from rich.markup import escape
from tyro.conf import Positional, arg

from .. import hf
from ..adaptation.adaptation import Adaptation
from ..data.files import LONE_SURROGATE, DataError, read_examples
from ..data.words import count
from ..inspection.page import page, words
from ..inspection.report import report
from ..inspection.view import inspect
from ..methods import METHODS, method
from ..methods.template import Layout
from ..model.heads import Classifier
from ..storage.folders import write_atomically
from ..tasks.base import extra_positions
from .classifiers import namings
from .common import (
    BaseModel,
    Command,
    Config,
    Json,
    check_at_least,
    check_new,
    did_you_mean,
    optional,
)
from .folders import TENSORS, base_of, holds_adaptation, load_with_network
from .generate import prompt_ids
from .tables import make_table, print_table

CELLS = 60_000  # numbers of attention heads in a page: with more, it shows fewer tokens
WIDTH = 8  # layers in a table of the terminal


@dataclass
class Inspect(Command):
    """Show what an adaptation does to a text, in a table or, with -o FILE, as a page."""

    adaptation: Positional[Annotated[str, arg(metavar="ADAPTATION")]]
    """Folder of an adaptation, or a method such as lora, as it starts."""
    text: Annotated[str, arg(metavar="TEXT")]
    """Text that the model reads."""
    model: BaseModel = None
    against: optional(str, "ADAPTATION", "Another adaptation, beside the first.") = None
    out: Annotated[Path | None, arg(metavar="FILE", aliases=("-o",), help_behavior_hint="")] = None
    """Write a page to FILE, which a browser opens without a network."""
    max_tokens: int = 64
    """Read at most this many tokens of the text."""
    max_new_tokens: int = 12
    """Tokens that the adapted model writes after the text; 0: none."""
    data: optional(Path, "FILE", "Examples with labels: probe each layer, beside a probe.") = None
    seed: int = 0
    """Seed of a method's start."""
    config: Config = None
    json: Json = False

    short = ("-o",)

    def run(self):
        check_at_least(1, max_tokens=self.max_tokens)
        check_at_least(0, max_new_tokens=self.max_new_tokens, seed=self.seed)
        check_new(self.out)
        if LONE_SURROGATE.search(self.text):
            raise ValueError("--text is not valid UTF-8")
        names = [self.adaptation] + ([self.against] if self.against else [])
        base = base_of(self.model, *filter(holds_adaptation, map(Path, names)))
        model, tokenizer = hf.load(base), hf.load_tokenizer(base)
        users = [self.load(name, model) for name in names]
        network, labels = same_network(names, users)
        ids = prompt_ids(self.text, model, tokenizer)
        most = min(self.max_tokens, *(room(network, γ, tokenizer, len(users)) for γ, _ in users))
        found = inspect(
            network,
            users[0][0],
            ids[:most],
            against=users[1][0] if self.against else None,
            new_tokens=self.max_new_tokens,
            examples=self.examples(tokenizer, most),
        )
        sizes = {name: bytes_of(name, γ) for name, (γ, _) in zip(self.unique(names), users)}
        result = report(found, sizes, labels)
        result["cut"] = {"shown": most, "tokens": len(ids)} if len(ids) > most else None
        if self.out:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.out, page(result).encode())
        self.output(result)

    def unique(self, names):
        """Return the names, or with numbers if they are equal."""
        return names if len(set(names)) == len(names) else [f"{n} {i}" for i, n in enumerate(names)]

    def load(self, name: str, model) -> tuple[Adaptation, object]:
        """Return an adaptation and its network: of a folder, or of a method as it starts."""
        if holds_adaptation(Path(name)) or Path(name).is_dir():
            return load_with_network(Path(name), model)
        if name not in METHODS:
            raise DataError(
                f"there is no folder {name}, and no such method{did_you_mean(name, METHODS)} The "
                f"methods are {', '.join(METHODS)}"
            )
        return method(name).attach(model, np.random.default_rng(self.seed)), model

    def examples(self, tokenizer, most: int) -> list | None:
        """Return (ids, label) of the examples in --data."""
        if self.data is None:
            return None
        pairs = read_examples(self.data, ("text",), "label")
        return [(tokenizer.encode(text).ids[:most], label) for text, label in pairs]

    def show(self, result):
        for view in result["views"]:
            show_view(view)
        if result["together"] is not None:
            print("The logits of both in one batch differ from those of each alone by at most")
            print(f"{result['together']:.0e}. Both read the new tokens that the first one writes.")
        if cut := result["cut"]:
            print(f"the first {cut['shown']} of {count(cut['tokens'], 'token')}; see --max-tokens")
        if result["new"] < min(self.max_new_tokens, 1):
            print("no new tokens: the model writes no text, or has no position left")
        print(f"page: {self.out}" if self.out else "as a page: -o view.html; all numbers: --json")


def same_network(names: list[str], users: list) -> tuple:
    """Return the network that the adaptations are for, and the names of its classes, or None.

    Raises ValueError if it is not the same for all.
    """
    kinds = []
    for name, (_, network) in zip(names, users):
        labels = namings(network, Path(name))[0] if isinstance(network, Classifier) else None
        of = f" of {', '.join(labels)}, pool {network.pool}" if labels else ""
        kinds.append((f"a {type(network).__name__}{of}", network, labels))
    (first, network, labels), (other, *_) = kinds[0], kinds[-1]
    if other != first:
        raise ValueError(
            f"--against {names[1]} is for {other}, and {names[0]} for {first}: both must be for "
            "the same network"
        )
    return network, labels


def room(network, γ: Adaptation, tokenizer, users: int) -> int:
    """Return how many tokens of a text the network can read, and a page can show.

    Raises ValueError if there is no room for a text.
    """
    c, layout = network.config, Layout(γ.template, tokenizer, network)
    if (left := c.length - extra_positions(network, γ, layout)) < 1:
        raise ValueError(f"{γ} takes all {c.length} positions of the model: none is left")
    return min(left, max(1, CELLS // (c.layers * c.heads * users)))


def bytes_of(name: str, γ: Adaptation) -> int:
    """Return the bytes of an adaptation's tensors on disk, or in memory if it has no folder."""
    file = Path(name) / TENSORS
    return file.stat().st_size if file.is_file() else sum(p.data.nbytes for p in γ.parameters())


def show_view(view: dict) -> None:
    """Print what one adaptation does."""
    print(f"{view['name']}: {view['params']:,} parameters, {view['bytes']:,} bytes")
    for m in view["methods"]:
        source = ", ".join(filter(None, (m["paper"], m["id"])))
        print(f"  {m['equation'] or m['method']}  ({source})")
    for name, stack in view["stacks"].items():
        show_stack(name, stack)
    if view["outputs"]:
        show_outputs(view)
        show_causes(view["causes"])
    show_words(view["panels"])
    show_mechanism(view["panels"])


def show_stack(name: str, stack: dict) -> None:
    """Print the relative change of the hidden states, of at most eight layers."""
    places = stack["places"]
    shown = np.unique(np.linspace(0, len(places) - 1, min(WIDTH, len(places))).astype(int))
    short = ["embedding" if i == 0 else places[i].rpartition(".")[2] for i in shown]
    table = make_table("token", *(f">{name}" for name in short))
    for token, change, norm in zip(stack["tokens"], stack["change"], stack["norm"]):
        if change[0] is None:  # a virtual token, which the base does not have
            continue
        cells = (f"{change[i] / norm[i]:.3f}" for i in shown)
        table.add_row(escape(token.strip() or repr(token)), *cells)
    title = f"{name}: ‖h′ − h‖ / ‖h‖" if name else "‖h′ − h‖ / ‖h‖"
    count = stack["kinds"].count("virtual")
    more = f"; before them {count} virtual tokens" if count else ""
    print_table(table, f"{title} of the embedding and after blocks{more}")


def show_outputs(view: dict) -> None:
    """Print the likeliest words after the text, and KL."""
    out, at = view["outputs"], view["outputs"]["at"]
    table = make_table("adapted", ">p", ">base p", "base", ">p", ">adapted p")
    n = len(out["words"][at])
    for i in range(n):
        p, p0 = out["p"][at], out["base_p"][at]
        numbers = [f"{100 * x:.1f} %" for x in (p[i], p0[i], p0[n + i], p[n + i])]
        words = (escape(repr(out[name][at][i])[1:-1]) for name in ("words", "base_words"))
        table.add_row(next(words), *numbers[:2], next(words), *numbers[2:])
    after = f"after {out['rows'][at]!r}" if out["per_token"] else "of the text"
    print_table(table, f"most likely {after}; KL to the base {out['kl'][at]:.4g} nats")


def show_causes(causes: dict) -> None:
    """Print what each place does to the likeliest word."""
    table = make_table("place", ">only here", ">everywhere but here")
    for place, only, without in zip(causes["places"], causes["only"], causes["without"]):
        changes = only[0] - causes["base"][0], without[0] - causes["adapted"][0]
        table.add_row(place, *(f"{x + 0.0:+.3f}" for x in np.round(changes, 3)))
    token, base, adapted = causes["words"][0], causes["base"][0], causes["adapted"][0]
    print_table(
        table,
        f"change of log p({token!r}), base {base:.3f}, adapted {adapted:.3f}",
        "only here: from the base; everywhere but here: from the whole adaptation",
    )


def show_words(panels: list[dict]) -> None:
    """Print the nearest words of virtual tokens, with cosines, and how many others are as near."""
    of_kind = lambda kind: [panel for panel in panels if panel["kind"] == kind]
    for cosine, near in zip(of_kind("cosine"), of_kind("as near")):
        table = make_table("token", "nearest words, by cosine", ">as near")
        lines = zip(cosine["rows"], cosine["words"], cosine["values"], near["values"])
        for row, nearest, values, others in lines:
            text = ", ".join(f"{w.strip() or repr(w)} {x:.2f}" for w, x in zip(nearest, values))
            table.add_row(row, escape(text), f"{others[0]:,.0f}")
        print_table(
            table,
            f"The nearest cosine of a random vector is about {cosine['note'][1]:.2f}: at or below",
            "that, or if many others are as near (within 0.01), a word says nothing.",
        )


def show_mechanism(panels: list[dict]) -> None:
    """Print the range of the numbers of each mechanism, over all layers."""
    table, names = make_table("measure of the method", ">least", ">mean", ">largest"), words()["en"]
    for kind in dict.fromkeys(p["kind"] for p in panels):
        values = np.concatenate([np.ravel(p["values"]) for p in panels if p["kind"] == kind])
        numbers = (values.min(), values.mean(), values.max())
        name = names[f"panel_{kind.replace(' ', '_')}"]
        table.add_row(name, *(f"{x:.3g}" for x in numbers))
    if panels:
        print_table(table)
