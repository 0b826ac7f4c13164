"""Imports point one way, third-party libraries have one owner, and importing is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mergelang.run.compiler import library
from tests.checkpoints import write_model

PACKAGE = Path(__file__).parent.parent / "mergelang"

BASE = {"errors", "files", "garbage", "source", "tensors", "wording"}
CORE = {"lang", "ops", "models", "store"}
ALLOWED: dict[str, set[str]] = {
    "errors": {"source", "wording"},
    "files": set(),
    "garbage": set(),
    "source": set(),
    "tensors": set(),
    "wording": {"errors", "source"},
    **{name: BASE for name in CORE},
    "check": BASE | {"lang", "ops", "models"},
    "graph": BASE | {"lang", "ops", "models", "check"},
    "plan": BASE | CORE | {"check", "graph"},
    "run": BASE | CORE | {"check", "graph", "plan"},
    "draw": BASE | CORE | {"check", "graph", "plan", "run", "measure"},
    "stats": BASE,
    "measure": BASE,
    "extract": BASE | {"models"},
    "record": BASE | CORE | {"check", "graph", "plan", "run", "draw"},
    "interop": BASE | {"lang"},
    "api": BASE | CORE | {"check", "graph", "plan", "run", "record", "interop"},
    "cli": BASE | CORE | {"check", "graph", "plan", "run", "draw", "record", "api", "stats", "tui",
                          "extract"},
    "tui": BASE | CORE | {"check", "graph", "plan", "run", "draw", "record", "api", "measure"},
    "lsp": BASE | CORE | {"check", "graph", "plan", "draw", "api"},
    "__main__": {"cli"},
    "__init__": {"api", "errors", "ops"},
}
"""Which parts of the package a part may import. `cli` opens `tui` by name, on one command."""

OWNERS = {
    "lark": {"lang"},
    "networkx": {"graph", "plan"},
    "torch": {"run", "ops/kernels", "stats", "extract", "models/pickles.py"},
    "transformers": {"stats", "run"},
    "safetensors": {"stats"},
    "textual": {"tui"},
    "huggingface_hub": {"models"},
    "yaml": {"interop"},
    "blake3": {"store", "plan", "run"},
    "platformdirs": {"files"},
}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, at any depth of it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(names if node.module == "mergelang" else [node.module])
    return found


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_lies_below_it(path):
    part = part_of(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "mergelang":
            target = rest.partition(".")[0]
            assert target in ALLOWED[part] | {part, "__version__"}, f"{part} imports {name}"
        elif top in OWNERS:
            homes = {part, "/".join(path.relative_to(PACKAGE).parts[:2])}
            assert homes & OWNERS[top], f"{path} imports {name}"


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running the code."""
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split("\n")[-2].split())


def test_importing_the_package_loads_nothing_of_the_engine():
    modules = loaded("import mergelang")
    assert not modules & {"torch", "textual", "lark", "networkx", "numpy", "argparse", "rich"}


def test_the_operators_and_their_signatures_need_no_torch():
    modules = loaded("from mergelang.ops.registry import operators; operators()")
    assert not modules & {"torch", "numpy", "lark", "networkx"}


@pytest.mark.parametrize("operator", ["linear(a, b)", "dare_ties(a, b, base: c, density: 0.5)"])
def test_a_merge_element_by_element_needs_no_torch(operator, tmp_path):
    if library() is None:
        pytest.skip("no C compiler")
    lines = [f'model {name} = "{write_model(tmp_path / name, seed=1)}"\n' for name in "abc"]
    (tmp_path / "x.merge").write_text(f'{"".join(lines)}output "out" = {operator}\n')
    modules = loaded(
        f"import mergelang; mergelang.load({str(tmp_path / 'x.merge')!r}).run(processes=False)"
    )
    assert "mergelang.run.native" in modules
    assert "torch" not in modules


def test_the_command_line_starts_without_the_engine():
    modules = loaded("import mergelang.cli.app")
    assert not modules & {
        "argparse", "torch", "textual", "lark", "networkx", "numpy", "rich", "transformers",
        "yaml",
    }  # fmt: skip


def test_the_first_screen_of_the_view_is_made_without_the_engine():
    modules = loaded("import mergelang.tui.app, mergelang.tui.page as p; p.page_of('recipe')")
    assert "textual" in modules
    assert not modules & {
        "torch", "lark", "networkx", "numpy", "transformers", "yaml", "huggingface_hub",
        *(f"mergelang.{part}" for part in ("lang", "check", "graph", "models", "plan", "record",
                                           "store", "ops", "interop")),
    }  # fmt: skip


def test_the_operators_are_listed_in_one_order_whoever_has_imported_some_before():
    listed = "from mergelang.ops.registry import operators; print(*operators())"
    said = {
        subprocess.run(
            [sys.executable, "-c", f"{before}\n{listed}"],
            capture_output=True, text=True, check=True,
        ).stdout
        for before in ("", "import mergelang.ops.spectral", "import mergelang.ops.deltas")
    }
    assert len(said) == 1
