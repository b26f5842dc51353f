"""The page of the results, in Markdown.  It needs neither PyTorch nor JAX."""

from minipeft.tasks.report import markdown_table

from .parts import PARTS
from .targets import TITLES

HEAD = """\
# Benchmarks

`pip install -e ".[oracle]" && python -m benchmarks` measures minipeft against PyTorch with Hugging
Face's Transformers and PEFT, and makes this page from [results.json](results.json).

Both libraries start from the same files and get the same batch, in float32. Before anything is
timed, their losses and the gradients of all trained parameters are compared: they differ by at most
1e-4 of the largest entry. Each library has a process of its own. The processes take turns, of which
the first step is not measured, and the page has medians, with the quartiles in brackets.

- **minipeft** runs with `keep_memory()`, as its commands do: the C allocator keeps freed memory.
- **stock** is PyTorch as it is, with the faster of its attentions, SDPA and eager.
- **tuned** is the same with that setting of the allocator, a fused GELU, and a fused AdamW.
- **compile** is stock with `torch.compile`, **jax** a plain JAX program under `jit`.
- **products** are the matrix products of the step alone, in arrays allocated before, with every
  core. In the last block and the head they have only the tokens with labels.

A ratio is the time of the other library ÷ the time of minipeft: above 1, minipeft is faster.
"""


def page(results: dict) -> str:
    """Return the page of results."""
    parts = [part for part in PARTS if part in results]
    targets = [t for part in parts for t in PARTS[part].targets(results) if t.figures]
    return "\n".join(
        [
            HEAD,
            f"{machine(results['environment'])}\n",
            "## Targets\n",
            markdown_table([TITLES, *(target.row() for target in targets)]),
            "",
            *(PARTS[part].section(results) for part in parts),
        ]
    )


def machine(environment: dict) -> str:
    """Return a sentence about the machine and the versions."""
    versions = [f"{name} {value}" for name, value in environment.items()][2:]
    processor, cores = environment["processor"], environment["cores"]
    return f"Measured on {processor} with {cores} cores; {', '.join(versions)}."
