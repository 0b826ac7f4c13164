"""E02..E05, E07, E08: the program."""

from mergelang.wording.calls import CALLS
from mergelang.wording.kind import Kind
from mergelang.wording.mass import MASS
from mergelang.wording.names import NAMES
from mergelang.wording.outputs import OUTPUTS
from mergelang.wording.schedules import SCHEDULES
from mergelang.wording.tensors import TENSORS

PROGRAM: dict[str, Kind] = {**NAMES, **CALLS, **MASS, **SCHEDULES, **TENSORS, **OUTPUTS}
