"""The view in a browser, through textual-serve (the optional extra `serve`).

Every page that is opened starts a view of its own, which may do all that whoever started the server
may do; so it listens on this machine alone unless told otherwise.
"""

from mergelang.errors import UsageError


def serve(command: str, host: str, port: int) -> None:
    """Serves a command until it is interrupted. Raises UsageError without textual-serve."""
    try:
        from textual_serve.server import Server
    except ImportError as error:
        raise UsageError("E2502", module=error.name) from error
    Server(command, host, port, title="mergelang").serve()
