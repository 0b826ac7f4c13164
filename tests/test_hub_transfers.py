"""Transfers from the Hub that break: they go on where they stopped; nothing false is believed."""

import pytest

from mergelang.api import run
from mergelang.errors import Cancelled, RunError
from mergelang.run import events
from mergelang.run.workers import Control
from tests.hub import WEIGHTS, recipe


def test_a_broken_transfer_is_taken_up_where_it_stopped(hub, tmp_path):
    hub.broken[WEIGHTS] = [1000, 2000, 1]
    heard = []
    recipe(tmp_path, "hf:org/name").run(listener=heard.append)
    ranges = [each for each in hub.asked_for("/cdn/") if not each.startswith("bytes=0-")]
    assert ranges == ["", "bytes=1000-", "bytes=3000-", "bytes=3001-"]


def test_a_transfer_that_fails_for_good_is_taken_up_by_the_next_run(hub, tmp_path):
    hub.broken[WEIGHTS] = [5000] + [0] * 5
    with pytest.raises(RunError) as error:
        recipe(tmp_path, "hf:org/name").run()
    assert not (tmp_path / "out").exists()
    assert str(error.value) == (
        "error[E2225]: cannot fetch model.safetensors of `hf:org/name`: peer closed connection "
        "without sending complete message body (received 0 bytes, expected "
        f"{(tmp_path / 'model' / WEIGHTS).stat().st_size - 5000})\n"
        "help: run again: it goes on where it stopped"
    )
    hub.asked.clear()
    recipe(tmp_path, "hf:org/name").run()
    assert [each for each in hub.asked_for("/cdn/") if each] == ["bytes=5000-"]


def test_a_file_that_arrives_broken_is_not_believed(hub, tmp_path):
    written = recipe(tmp_path, "hf:org/name")
    plan = written.plan()
    hub.spoilt.add(WEIGHTS)
    with pytest.raises(RunError) as error:
        run(plan)
    assert str(error.value) == (
        "error[E2226]: model.safetensors of `hf:org/name` has arrived broken: its sha256 is not "
        "what the Hub says\nhelp: run again: it is fetched anew"
    )
    hub.spoilt.clear()
    written.run()
    assert (tmp_path / "out" / WEIGHTS).is_file()


def test_a_run_that_is_cancelled_while_it_fetches_stops(hub, tmp_path):
    control = Control()

    def listen(event):
        if isinstance(event, events.FetchStarted):
            control.cancel()

    with pytest.raises(Cancelled):
        recipe(tmp_path, "hf:org/name").run(listener=listen, control=control)
