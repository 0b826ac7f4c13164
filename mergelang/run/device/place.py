"""The devices: torch on the processor, and a card of CUDA. All that knows CUDA stands in `Card`.

What both rely on is that an operation of torch that is called by itself is one kernel, whose
result is rounded once: `+ - * / sqrt` and conversions as IEEE 754 has it, to the nearest, ties to
even. Nothing is contracted across kernels, and torch is built for CUDA without the flags that make
divisions, roots and subnormal numbers less exact. The one surprise is division by a number that
lies on the processor, for which a card multiplies by the reciprocal (BinaryDivTrueKernel.cu): so
all numbers are brought to the device (`steps.number`).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
import torch

from mergelang.errors import MergelangError, RunError
from mergelang.run.kernel import kernel

SHARE = 2
"""A run takes one part in so many of the memory that is free on a card."""


class Done:
    """An event on the processor, where a copy is done when it returns."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


class Device:
    """torch on the processor. `arith` is the name of the arithmetic that functions on whole tensors
    and rows have here, None for that of ordinary runs."""

    name = "torch"
    arith: str | None = None
    device = torch.device("cpu")

    def __init__(self) -> None:
        self._calling = Lock()

    def room(self, memory: int) -> int:
        """Bytes that blocks may take here, of a run that has so many on the processor."""
        return memory

    def stream(self) -> Any:
        """What the work of one thread goes through."""
        return None

    def enter(self, stream: Any) -> None:
        """Lets what this thread does from now on go through its stream."""
        torch.set_num_threads(1)

    def buffer(self, nbytes: int) -> torch.Tensor:
        """Bytes on the processor that the device copies from and to by itself."""
        return torch.empty(nbytes, dtype=torch.uint8)

    def event(self) -> Any:
        """What tells that all is done that this thread asked for until then."""
        return Done()

    def sqrt(self, x: torch.Tensor, out: torch.Tensor) -> None:
        """The correctly rounded root; torch's own on the processor is not."""
        np.sqrt(x.numpy(), out=out.numpy())

    def _exactly(self) -> AbstractContextManager[None]:
        """Makes libraries give the same bytes each time."""
        return nullcontext()

    def call(
        self, name: str, tensors: Iterable[torch.Tensor], parameters: Mapping[str, Any]
    ) -> np.ndarray:
        """What a function makes of tensors here; one call at a time.

        Raises RunError (E0913) for one that does not run here.
        """
        function: Callable[..., torch.Tensor] = kernel(name)
        torch.set_num_threads(1)
        with self._calling, self._exactly():
            try:
                moved = [each.to(self.device) for each in tensors]
                return function(*moved, **parameters).cpu().numpy()
            except (MergelangError, torch.cuda.OutOfMemoryError):
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                raise RunError(
                    "E0913", function=name, device=self.name, reason=reason
                ) from error


class Card(Device):
    """A card of CUDA, by its number. Raises RunError (E0911) where there is none, or one that
    cannot be used."""

    def __init__(self, number: int):
        super().__init__()
        self.name = f"cuda:{number}"
        if torch.version.cuda is None:
            raise self._refusal(f"torch {torch.__version__} is built without CUDA", "torch")
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if number >= found:
            raise self._refusal(f"torch finds {found or 'no'} card{'s' * (found > 1)}")
        # Without it cuBLAS may choose another way where several streams are at work.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self.device = torch.device("cuda", number)
        with self._told():
            facts = torch.cuda.get_device_properties(self.device)
            torch.cuda.mem_get_info(self.device)  # begins to use the card
        self.arith = (
            f"torch {torch.__version__}, {facts.name} sm_{facts.major}{facts.minor}, "
            f"CUDA {torch.version.cuda}"
        )

    def _refusal(self, reason: str, wanted: str | None = None) -> RunError:
        return RunError("E0911", device=self.name, reason=reason, wanted=wanted)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells what CUDA says when it is not even begun with."""
        try:
            yield
        except RuntimeError as error:
            raise self._refusal(str(error).partition("\n")[0]) from error

    def room(self, memory: int) -> int:
        torch.cuda.empty_cache()  # what torch keeps of earlier runs counts as taken
        return torch.cuda.mem_get_info(self.device)[0] // SHARE

    def stream(self) -> torch.cuda.Stream:
        torch.cuda.empty_cache()  # what it keeps for the streams of the output before is of no use
        return torch.cuda.Stream(self.device)

    def enter(self, stream: torch.cuda.Stream) -> None:
        torch.cuda.set_device(self.device)  # of this thread, as is the stream
        torch.cuda.set_stream(stream)

    def buffer(self, nbytes: int) -> torch.Tensor:
        # Else it would begin to use the first card, too.
        with self._told(), torch.cuda.device(self.device):
            return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)

    def event(self) -> torch.cuda.Event:
        return torch.cuda.Event(blocking=True)  # waits without turning a core

    def sqrt(self, x: torch.Tensor, out: torch.Tensor) -> None:
        torch.sqrt(x, out=out)

    @contextmanager
    def _exactly(self) -> Iterator[None]:
        was = torch.are_deterministic_algorithms_enabled()
        warned = torch.is_deterministic_algorithms_warn_only_enabled()
        precision = torch.get_float32_matmul_precision()
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was, warn_only=warned)
            torch.set_float32_matmul_precision(precision)
