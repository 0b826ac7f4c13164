"""The command line: `mergelang` and `python -m mergelang`."""


def main() -> None:
    """Runs the command line and exits with its code."""
    from mergelang.cli.app import run

    run()
