"""`mergelang tui`: opens the view in this terminal, or serves it to a browser."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from mergelang.errors import UsageError


def open_view(options: Any) -> None:
    """Returns when the view is left, or the server is stopped."""
    path = None if options.path is None else Path(options.path)
    is_model = path is not None and (
        path.is_dir() or path.suffix == ".safetensors" or options.path.startswith("hf:")
    )
    if path is not None and not is_model:
        from mergelang.api import load

        load(path, dict(options.settings))
    if options.serve:
        _serve(options)
        return
    # A view that is served has no terminal: textual-serve names the driver that speaks to it.
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not terminal and not os.environ.get("TEXTUAL_DRIVER"):
        raise UsageError("E1015")
    from mergelang.tui.app import run

    run(
        None if is_model else path, dict(options.settings),
        model=str(path) if is_model else None, attached=options.attach,
        light=options.theme == "light", allow_pickle=options.allow_pickle,
    )  # fmt: skip


def _serve(options: Any) -> None:
    words = [sys.executable, "-m", "mergelang", "tui", "--theme", options.theme]
    if options.path is not None:
        words.append(options.path)
    for name, value in options.settings:
        words += ["--set", f"{name}={value}"]
    if options.allow_pickle:
        words.append("--allow-pickle")
    if options.attach is not None:
        words += ["--attach", str(options.attach)]
    from mergelang.tui.serve import serve

    serve(shlex.join(words), options.host, options.port)
