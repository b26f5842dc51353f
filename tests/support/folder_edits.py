"""Edits of a saved folder, each a function of the folder, that make it malformed or malicious."""

import json
import pickle

from safetensors.numpy import load_file, save_file

CONFIG, MODEL, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
ADAPTER, TENSORS = "adapter_config.json", "adapter_model.safetensors"
ENCODER = "reparametrization.safetensors"
NESTED = '{"a":' * 900 + "1" + "}" * 900
SLOW_PATTERN = r"(?:.|.|.|.|..)+[^\w.]$"  # takes exponential time


def write(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def remove(file):
    return lambda folder: (folder / file).unlink()


def truncate(file, count):
    """Remove the last `count` bytes."""
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:-count])


def all_of(*edits):
    def edit(folder):
        for one in edits:
            one(folder)

    return edit


def replace_by(file, make):
    """Replace a file by what make(path) makes there."""
    return all_of(remove(file), lambda folder: make(folder / file))


def file_elsewhere(path):
    """Return a file of the same name in another folder."""
    other = path.parent.parent / "elsewhere" / path.name
    other.parent.mkdir()
    other.write_bytes(b"{}")
    return other


# -- JSON


def edit_text(file, change):
    return lambda folder: (folder / file).write_text(change((folder / file).read_text()))


def set_fields(file, **fields):
    """Set fields of a JSON file; "<1e999>", in angle brackets, is written without quotes."""

    def change(text):
        text = json.dumps(json.loads(text) | fields)
        for value in fields.values():
            if str(value).startswith("<"):
                text = text.replace(json.dumps(value), value[1:-1])
        return text

    return edit_text(file, change)


# -- safetensors


def edit_tensors(file, change):
    """Call change({name: array}) and save the result, without metadata."""

    def edit(folder):
        tensors = load_file(folder / file)
        change(tensors)
        save_file(tensors, folder / file)

    return edit


def edit_tensor(file, name, change):
    """Replace one array by change(array)."""
    return edit_tensors(file, lambda tensors: tensors.update({name: change(tensors[name])}))


def drop_metadata(path):
    """Save a file again without metadata, as PEFT does."""
    save_file(load_file(path), path)


def read_parts(path):
    """Return the header of a safetensors file, parsed, and its data."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:start]), raw[start:]


def write_parts(path, header, data):
    """Write a safetensors file with a header, JSON or a text that stands for it, and data."""
    header = (header if isinstance(header, str) else json.dumps(header)).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def edit_parts(file, change):
    """Replace (header, data) by change(header, data, name of the first tensor)."""

    def edit(folder):
        header, data = read_parts(folder / file)
        name = next(name for name in header if name != "__metadata__")
        write_parts(folder / file, *change(header, data, name))

    return edit


def set_entry(file, **fields):
    """Set fields of the first tensor's header entry, or remove those that are None."""

    def change(header, data, name):
        entry = header[name] | fields
        header[name] = {key: value for key, value in entry.items() if value is not None}
        return header, data

    return edit_parts(file, change)


def set_metadata(**fields):
    """Set metadata of an adaptation's tensors."""

    def change(header, data, name):
        return header | {"__metadata__": header["__metadata__"] | fields}, data

    return edit_parts(TENSORS, change)


def shard(change=lambda index: index):
    """Split the model into two files and an index, and replace the index by change(index)."""

    def edit(folder):
        header, data = read_parts(folder / MODEL)
        (folder / MODEL).unlink()
        names, weight_map = sorted(set(header) - {"__metadata__"}), {}
        for i, part in enumerate((names[::2], names[1::2]), 1):
            file, entries, raw = f"model-0000{i}-of-00002.safetensors", {}, b""
            for name in part:
                begin, end = header[name]["data_offsets"]
                offsets = [len(raw), len(raw) + end - begin]
                entries[name] = header[name] | {"data_offsets": offsets}
                raw += data[begin:end]
            write_parts(folder / file, entries, raw)
            weight_map |= dict.fromkeys(part, file)
        (folder / INDEX).write_text(json.dumps(change({"weight_map": weight_map})))

    return edit


# -- pickles


class Bomb:
    """An object whose pickle creates a file as soon as it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_bomb(file):
    """Write a pickle that creates the file "exploded" beside the folder when it is opened."""
    return lambda folder: write(file, pickle.dumps(Bomb(folder.parent / "exploded")))(folder)
