"""The folders of minipeft/ import one another in one direction, and no file is too long."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "minipeft"
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path):
    """Return the parts of a module's name, without minipeft."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


MODULES = {module_of(path) for path in FILES}


def imports(path):
    """Return the modules of minipeft that a file imports."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            names = {(*base, alias.name) for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not any(name.split(".")[0] == "minipeft" for name in names), path
    return found - {module_of(path)}


def folders():
    """Return {folder: folders that it imports} without the files of the root."""
    graph = {}
    for path in FILES:
        folder, *rest = module_of(path) or [""]
        if rest or path.name == "__init__.py" and folder:
            graph.setdefault(folder, set()).update(m[0] for m in imports(path) if m)
    return {folder: used - {folder} for folder, used in graph.items()}


def test_there_are_at_most_nineteen_rooms():
    assert len([p for p in ROOT.iterdir() if p.name not in ("__pycache__", "py.typed")]) <= 19


def test_no_module_imports_itself_through_others():
    TopologicalSorter({module_of(path): imports(path) for path in FILES}).prepare()


def test_folders_import_in_one_direction():
    TopologicalSorter(folders()).prepare()


def test_what_each_folder_may_import():
    """The core knows nothing of files; models, methods and training do not know one another."""
    graph = folders()
    assert graph["autograd"] == set() and graph["adaptation"] == {"autograd"}
    assert graph["model"] == graph["methods"] == {"autograd", "adaptation"}
    assert graph["training"] <= {"autograd", "adaptation", "storage"}
    assert graph["storage"] <= {"autograd", "adaptation"} and "tasks" not in graph["world"]
    core = {"autograd", "adaptation", "model", "methods"}
    assert graph["hf"] <= core | {"storage"} and graph["data"] <= {"storage"}
    assert graph["feedback"] <= core - {"methods"} | {"training", "data", "storage"}
    assert graph["prompting"] <= core | {"training", "data"}
    assert graph["tasks"] <= core | {"training", "data", "world", "feedback", "prompting"}
    assert not {name for name, used in graph.items() if "experiments" in used} - {"commands"}
    assert not {name for name, used in graph.items() if "checking" in used} - {"commands"}
    users = {name for name, used in graph.items() if "inspection" in used}
    assert users == {"commands", "checking"}
    users = {name for name, used in graph.items() if "commands" in used}
    assert not users  # only __main__.py


def test_no_file_is_too_long():
    lengths = {path: len(path.read_text().splitlines()) for path in FILES}
    tests = Path(__file__).parents[1].rglob("*.py")
    lengths |= {path: len(path.read_text().splitlines()) - 50 for path in tests}
    assert {path.name: n for path, n in lengths.items() if n > 350} == {}
