"""The commands of `minipeft`, one file each."""

from importlib import import_module

COMMANDS = {  # {name, also of the module: what the command does}
    "compare": "Train several methods on one frozen model; compare their scores and costs.",
    "train": "Train one method on a frozen model: minipeft train lora --data FILE --out FOLDER",
    "evaluate": "Evaluate the base model and adaptations of it on a text or on examples.",
    "generate": "Generate text that continues a prompt, with or without an adaptation.",
    "info": "Show what a folder holds, a model or an adaptation, without loading its tensors.",
    "inspect": "Show what an adaptation does to a text, in a table or, with -o FILE, as a page.",
    "layers": "Show the layers of a model, and which of them a method or a pattern adapts.",
    "trace": "Show every step of one forward pass: its equation, source line, shape and value.",
    "methods": "Show every method: where it acts, its equation, how many parameters it trains.",
    "convert": "Write a model or an adaptation in another float type, merged, or for PEFT.",
    "search": "Compare manual, paraphrased, mined, searched and soft prompts, on one budget.",
    "feedback": "Learn from human feedback on the built-in world, from demonstrations to PPO.",
    "claims": "Show what papers claim about the methods, with verdicts, or measure a claim.",
    "pretrain": "Train a built-in base model and its tokenizer from scratch, on generated text.",
    "check": "Check a method of your own, or a function: by every law, and by its equation.",
    "exercise": "Write a file with a method to fill in: its equation, hints, and an empty body.",
    "verify": "Check every equation of the papers against the library on random draws.",
}


def command_class(name: str) -> type:
    """Return the class of a command, importing no other command."""
    return getattr(import_module(f".{name}", __package__), name.capitalize())
