"""The part of the view that starts, follows and comes back to a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergelang.errors import UsageError
from mergelang.tui import runner as runners
from mergelang.tui.actions import RUN
from mergelang.tui.heading import Heading
from mergelang.tui.progress import CACHED, CANCELLED, DONE, ENDED
from mergelang.tui.watch import Watch

if TYPE_CHECKING:
    from mergelang.tui.look import Seen
    from mergelang.tui.parts import Parts, Share

WHOLE = (DONE, CACHED)
"""States of an output whose folder is there."""


class Following:
    """What `View` knows of a run: its process, what was heard of it, the recipe it is of."""

    runner: runners.Runner | None = None
    watched: Watch | None = None
    seen_of_run: "Seen | None" = None
    plan_of_run: Any = None
    is_paused: bool = False
    _parts: "Parts | None" = None
    _run_parts: "Parts | None" = None

    @property
    def has_run_going(self) -> bool:
        return self.watched is not None and self.watched.state.phase not in ENDED

    @property
    def is_run_of_this(self) -> bool:
        """Whether the run is one of the recipe that is shown."""
        return (
            self.watched is not None and self.seen_of_run is not None
            and self.look.source.text == self._text_of_run
        )  # fmt: skip

    @property
    def results(self) -> tuple[str, ...]:
        """Folders that the run has written."""
        if self.watched is None or self.runner is None:
            return ()
        states = list(self.watched.state.outputs.values())
        paths = self.runner.outputs
        return tuple(p for p, s in zip(paths, states, strict=False) if s.state in WHOLE)

    @property
    def reads(self) -> int:
        """Bytes that a run of the recipe reads in all; 0 where that is not known yet."""
        return self.look.plan.bytes_read if self.look.plan else 0

    def share_of(self, box: str) -> "Share | None":
        """What a box takes of a run of the recipe, and how far it has come."""
        if self._parts is None or self._parts.text != self.look.source.text:
            return None
        return self._parts.share(box, self.watched.done if self.is_run_of_this else {})

    def share_of_run(self, box: str) -> "Share | None":
        """The same of the recipe that is being run, which may be another text by now."""
        return self._run_parts.share(box, self.watched.done) if self._run_parts else None

    @property
    def obstacle(self) -> str:
        """Why the recipe as it stands cannot run; empty where it can."""
        if not self.has_looked or self.look.source.text != self.text:
            return "the recipe is still being read"
        if self.look.errors:
            return "the recipe has mistakes: f2 shows them"
        if self.look.unplanned:
            return "the recipe cannot be planned: f4 tells why"
        return "" if self.look.plan is not None else "the recipe has no output"

    _text_of_run = ""

    async def run_recipe(self) -> None:
        """Saves the recipe and starts a run of it."""
        if self.has_run_going:
            return
        if self.obstacle:
            self.notify(f"it cannot run: {self.obstacle}", severity="warning")
            return
        if not self._save():
            return
        from mergelang.plan.memory import wanted_memory

        plan = self.look.plan
        try:
            self.runner = runners.start(
                self.path, self.settings, [str(each.path) for each in plan.outputs],
                memory=wanted_memory(plan), allow_pickle=self.allow_pickle,
            )  # fmt: skip
        except UsageError as error:
            self.broke(error)
            return
        self._watch()
        self._follow()
        await self.action_go(RUN)

    def _attach_to(self, output: Path) -> None:
        self.runner = runners.attach(output)
        recipe = self.runner.recipe
        if self.path is None and recipe and recipe.is_file():
            self.path = recipe
            self.settings = dict(self.runner.facts.get("settings", {}))
        self._watch()

    def _watch(self) -> None:
        self.watched = Watch()
        self.seen_of_run = self.plan_of_run = self._run_parts = None
        self._hear()

    def _follow(self) -> None:
        """Takes the recipe as it stands for the one that is run, unless that is known to be
        another."""
        recipe, shown = self.runner.recipe, self.path
        if self.look.plan is None or (
            recipe is not None and (shown is None or shown.resolve() != recipe.resolve())
        ):
            return
        self.seen_of_run, self.plan_of_run = self.look.seen, self.look.plan
        self._text_of_run = self.look.source.text

        def know(parts: "Parts") -> None:
            self._run_parts = parts
            self._tell_run()

        self._find_parts("parts of run", know)

    def find_parts(self) -> None:
        """Learns which tensors each node takes part in, on a thread; pages then hear of it."""
        def know(parts: "Parts") -> None:
            self._parts = parts
            for page in self.pages:
                page.heard()

        if self._parts is None or self._parts.text != self.look.source.text:
            self._find_parts("parts", know)

    def _find_parts(self, job: str, then: Any) -> None:
        text, seen, plan = self.look.source.text, self.look.seen, self.look.plan

        def work() -> "Parts":
            from mergelang.tui.parts import Parts

            return Parts(seen.picture, plan, text)

        if plan is not None:
            self.jobs.start(job, work, then, self.broke)

    def _hear(self) -> None:
        """Takes up what the run has said; looks after a process that ended without a word."""
        alive = self.runner.is_alive
        before = self.watched.state
        for event in self.runner.heard():
            self.watched.hear(event)
        if not alive and self.watched.state.phase not in ENDED:
            self._lost()
        was_paused, self.is_paused = self.is_paused, self.runner.paused
        if self.watched.state is not before or not alive or was_paused != self.is_paused:
            self._tell_run()

    def _lost(self) -> None:
        """The process is gone and has not said how it ended."""
        runner = self.runner
        if runner.is_of_command_line and runner.has_written:
            self.watched.whole()
        elif runner.was_interrupted:
            self.watched.lost("interrupted", CANCELLED)
        elif runner.diagnostics:
            self.watched.lost(runner.diagnostics[-1]["message"])
        else:
            said = runner.errors.splitlines()[-1:] or ["the process of the run has ended"]
            self.watched.lost(said[0])

    def _tell_run(self) -> None:
        for page in self.pages:
            page.heard()
        self.query_one(Heading).refresh()
        self.refresh_bindings()
