"""What is done to a valid folder to make it harm."""

import json
import pickle

CONFIG, MODEL, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADDED = "adapter_config.json", "adapter_model.safetensors"
ENCODER = "reparametrization.safetensors"
NESTED = '{"a":' * 900 + "1" + "}" * 900
EXPLODES = r"(?:.|.|.|.|..)+[^\w.]$"


def put(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def edited(file, change):
    """The text of a file, changed."""
    return lambda folder: (folder / file).write_text(change((folder / file).read_text()))


def told(file, **fields):
    """JSON with other fields; a text in angle brackets stands there as it is: "<1e999>"."""

    def change(text):
        text = json.dumps(json.loads(text) | fields)
        for value in fields.values():
            if str(value).startswith("<"):
                text = text.replace(json.dumps(value), value[1:-1])
        return text

    return edited(file, change)


def opened(path):
    """The header of a safetensors file, and what follows it."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:start]), raw[start:]


def closed(path, header, data):
    header = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def headed(file, change):
    """Another header, and other bytes: change(header, data, name of the first tensor)."""

    def apply(folder):
        header, data = opened(folder / file)
        name = next(name for name in header if name != "__metadata__")
        closed(folder / file, *change(header, data, name))

    return apply


def about(file, **fields):
    """Other things said about the first tensor; what is None is not said."""

    def change(header, data, name):
        said = header[name] | fields
        header[name] = {key: value for key, value in said.items() if value is not None}
        return header, data

    return headed(file, change)


def recorded(**fields):
    """Other metadata."""

    def change(header, data, name):
        return header | {"__metadata__": header["__metadata__"] | fields}, data

    return headed(ADDED, change)


def instead(file, make):
    """Something else of that name: make(path)."""

    def apply(folder):
        (folder / file).unlink()
        make(folder / file)

    return apply


def outside(path):
    """A file of another folder."""
    other = path.parent.parent / "elsewhere" / path.name
    other.parent.mkdir()
    other.write_bytes(b"{}")
    return other


class Bomb:
    """A pickle that makes a file as soon as it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def bomb(file):
    def apply(folder):
        (folder / file).write_bytes(pickle.dumps(Bomb(folder.parent / "exploded")))

    return apply


def both(*changes):
    def apply(folder):
        for change in changes:
            change(folder)

    return apply


def sharded(change=lambda said: said):
    """The model in two files and an index, of which `change` makes another."""

    def apply(folder):
        header, data = opened(folder / MODEL)
        (folder / MODEL).unlink()
        names, weight_map = sorted(set(header) - {"__metadata__"}), {}
        for i, part in enumerate((names[::2], names[1::2]), 1):
            file, said, raw = f"model-0000{i}-of-00002.safetensors", {}, b""
            for name in part:
                begin, end = header[name]["data_offsets"]
                offsets = [len(raw), len(raw) + end - begin]
                said[name], raw = header[name] | {"data_offsets": offsets}, raw + data[begin:end]
            closed(folder / file, said, raw)
            weight_map |= dict.fromkeys(part, file)
        (folder / INDEX).write_text(json.dumps(change({"weight_map": weight_map})))

    return apply
