"""Makes the pictures of the README: python -m tests.pictures, or `make pictures`."""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mergelang.tui.app import View
from tests.views import until, write_models

HOME = Path(__file__).parent.parent / "examples" / "pictures"
SIZE = (118, 34)


async def graph(view: View, pilot) -> None:
    await pilot.press("f3", "up", "up")
    await until(pilot, lambda: view.share_of(view.page.box.id))


async def recipe(view: View, pilot) -> None:
    editor = view.page.editor
    editor.cursor_blink = False
    editor.go_to(view.text.index("blend + t"))
    await pilot.press("d", "a")
    await until(pilot, lambda: view.look.errors)
    editor.post_message(editor.Hovered(view.text.index("ties(")))


async def picture(path: Path, of: Path, script) -> None:
    view = View(of)
    async with view.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: view.look.seen is not None)
        await script(view, pilot)
        await pilot.pause(2)
        # The fonts of the picture are those of whoever looks at it: nothing is fetched.
        path.write_text(without_fonts(view.export_screenshot(title="mergelang tui blend.merge")))


def without_fonts(svg: str) -> str:
    """The picture without what it would load from elsewhere."""
    while "@font-face" in svg:
        start = svg.index("@font-face")
        svg = svg[:start] + svg[svg.index("}", start) + 1 :]
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def main() -> int:
    HOME.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        of = write_models(Path(folder), layers=24)
        asyncio.run(picture(HOME / "recipe.svg", of, recipe))
        asyncio.run(picture(HOME / "graph.svg", of, graph))
    return 0


if __name__ == "__main__":
    sys.exit(main())
