"""`mergelang` with runs that take their time until a file is there: python -m tests.held_run FILE

followed by a command line. So a test can pause, cancel or leave a run before it is over.
"""

import sys
import time
from pathlib import Path

from mergelang import api
from mergelang.cli.app import run as command_line

PAUSE = 0.15
"""Seconds after each event."""


def main() -> None:
    gate, words = Path(sys.argv[1]), sys.argv[2:]
    whole = api.run

    def held(plan, *, listener=None, **options):
        def listen(event):
            listener(event)
            if not gate.exists():
                time.sleep(PAUSE)

        whole(plan, listener=listen, **options)

    api.run = held
    command_line(words)


if __name__ == "__main__":
    main()
