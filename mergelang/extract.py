"""`mergelang extract-lora`: the difference of two models as a LoRA adapter that peft loads.

Each matrix of the difference is cut to its largest singular values (Eckart and Young: the nearest
of that rank). Works tensor by tensor, on one thread, so that one build of torch gives the same
bytes. Knows nothing of recipes.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mergelang.errors import InputError
from mergelang.models.adapter import CONFIG, PREFIX, WEIGHTS
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.config import TRANSPOSED
from mergelang.models.conversions import names_in_memory
from mergelang.models.download import fetch
from mergelang.tensors import MERGEABLE, Extent

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Piece:
    """What became of one tensor that differs.

    `rank` 0: it is no matrix of a layer and was left out. `energy`: the share of the squares of the
    difference that the product has. `error`: the Frobenius norm of what it lacks, over that of the
    difference, as the stored factors have it.
    """

    name: str
    shape: tuple[int, ...]
    rank: int
    energy: float
    error: float


@dataclass
class Extraction:
    """An adapter that was extracted: its tensors, and how many did not differ at all."""

    pieces: list[Piece] = field(default_factory=list)
    equal: int = 0

    @property
    def adapted(self) -> list[Piece]:
        return [each for each in self.pieces if each.rank]

    @property
    def left_out(self) -> list[Piece]:
        return [each for each in self.pieces if not each.rank]


def extract(
    base: Checkpoint, model: Checkpoint, into: Path, *, rank: int | None = None,
    energy: float | None = None, say: Callable[[int, int], None] = lambda done, of: None,
) -> Extraction:  # fmt: skip
    """Writes the adapter that makes `model` of `base`, as near as its ranks allow.

    `rank` is that of every matrix (less where a matrix is smaller); `energy` in (0, 1] takes for
    each the least rank that has this share of the squares of its singular values. Factors are
    float32. Raises InputError where the models do not fit (E2240), do not differ (E2241), or `into`
    is taken (E2242).
    """
    _check(base, model, into)
    partial = into.with_name(f"{into.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        found, entries = _decompose(base, model, partial / "data", rank, energy, say)
        if not found.adapted:
            raise InputError("E2241", model=model.reference.text, base=base.reference.text)
        _assemble(partial / "data", entries, partial / WEIGHTS)
        config = _config(base, found, _in_memory(base), _turned(base))
        (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        if into.exists():
            into.rmdir()
        os.replace(partial, into)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return found


def _check(base: Checkpoint, model: Checkpoint, into: Path) -> None:
    texts = {"model": model.reference.text, "base": base.reference.text}
    for one, other, owner in ((base, model, "base"), (model, base, "model")):
        lost = [name for name in one.extents if name not in other.extents]
        if lost:
            raise InputError(
                "E2240", **texts, why=f"only `{texts[owner]}` has {lost[0]}",
                more=f" and {len(lost) - 1} more" if len(lost) > 1 else "",
            )  # fmt: skip
    for name, extent in base.extents.items():
        kind = model.extents[name].type
        if kind.shape != extent.type.shape:
            why = f"{name} is {list(kind.shape)} and {list(extent.type.shape)}"
            raise InputError("E2240", **texts, why=why, more="")
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise InputError("E2242", path=str(into))
    for checkpoint in (base, model):
        for path in checkpoint.files if checkpoint.origin else ():
            fetch(checkpoint.origin, path.name, checkpoint.reference.text, lambda have: None)


def _decompose(
    base: Checkpoint, model: Checkpoint, data: Path, rank: int | None, energy: float | None,
    say: Callable[[int, int], None],
) -> tuple[Extraction, dict[str, tuple[int, ...]]]:  # fmt: skip
    """Writes all factors one after the other; gives what was found, and names and shapes."""
    import torch

    found, entries = Extraction(), {}
    turned, inside = _turned(base), _in_memory(base)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with open(data, "wb") as out:
            for done, (name, extent) in enumerate(base.extents.items()):
                other = model.extents[name]
                say(done, len(base.extents))
                if not {extent.type.dtype, other.type.dtype} <= MERGEABLE:
                    continue
                delta = _read(other) - _read(extent)
                if not delta.any():
                    found.equal += 1
                    continue
                piece, factors = _factors(name, delta, base, rank, energy, turned)
                found.pieces.append(piece)
                module = inside[name].removesuffix(".weight")
                for key, factor in factors.items():
                    entries[f"{PREFIX}{module}.{key}"] = tuple(factor.shape)
                    out.write(factor.contiguous().numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    return found, entries


def _factors(
    name: str, delta: "torch.Tensor", base: Checkpoint, rank: int | None, energy: float | None,
    turned: bool,
) -> tuple[Piece, Mapping[str, "torch.Tensor"]]:  # fmt: skip
    """The two factors of a matrix by their names in its module, and how near they come."""
    import torch

    shape = tuple(delta.shape)
    _, dot, word = name.rpartition(".")
    if not dot or word != "weight" or len(shape) != 2:
        return Piece(name, shape, 0, 0.0, 1.0), {}
    embedding = "embed" in base.inventory.roles.get(name, ())
    matrix = delta.T if embedding or turned else delta
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    squares = s.double().square()
    total = float(squares.sum())
    if energy is not None:
        kept = torch.cumsum(squares, 0) / total
        rank = int((kept < energy * (1 - 1e-12)).sum()) + 1
    rank = min(rank, len(s))
    roots = s[:rank].sqrt()
    b, a = u[:, :rank] * roots, roots[:, None] * v[:rank]
    error = math.sqrt(float((matrix - b @ a).double().square().sum()) / total)
    share = float(squares[:rank].sum()) / total
    names = ("lora_embedding_A", "lora_embedding_B") if embedding else (
        "lora_A.weight", "lora_B.weight"
    )  # fmt: skip
    return Piece(name, shape, rank, share, error), {names[0]: a, names[1]: b}


def _read(extent: Extent) -> "torch.Tensor":
    """A stored tensor in float32."""
    import torch

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
             "BF16": torch.bfloat16}  # fmt: skip
    with open(extent.path, "rb") as file:
        file.seek(extent.offset)
        raw = bytearray(file.read(extent.type.nbytes))
    if not raw:
        return torch.empty(extent.type.shape)
    flat = torch.frombuffer(raw, dtype=kinds[extent.type.dtype])
    return flat.reshape(extent.type.shape).float()


def _turned(base: Checkpoint) -> bool:
    """Whether the linear layers of this architecture lie transposed in their files."""
    return base.architecture in TRANSPOSED


def _assemble(data: Path, entries: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """The safetensors file of factors that lie one after the other."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in entries.items():
        size = 4 * math.prod(shape)
        table[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out, open(data, "rb") as stored:
        out.write(len(text).to_bytes(8, "little") + text)
        _copy(stored, out)
        out.flush()
        os.fsync(out.fileno())
    data.unlink()


def _copy(stored: BinaryIO, out: BinaryIO) -> None:
    shutil.copyfileobj(stored, out, 1 << 22)


def _in_memory(base: Checkpoint) -> Mapping[str, str]:
    """What peft calls the tensors of the base."""
    return names_in_memory(base.extents, base.config or {})


def _config(
    base: Checkpoint, found: Extraction, inside: Mapping[str, str], turned: bool
) -> dict[str, Any]:
    """The adapter's config: every module by its whole name, scaled by one."""
    ranks = {inside[each.name].removesuffix(".weight"): each.rank for each in found.adapted}
    usual = max(sorted(set(ranks.values())), key=list(ranks.values()).count)
    others = {_pattern(module): rank for module, rank in ranks.items() if rank != usual}
    return {
        "peft_type": "LORA",
        "task_type": next(_task(base), None),
        "base_model_name_or_path": base.reference.text.removeprefix("hf:"),
        "r": usual,
        "lora_alpha": usual,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": turned,
        "target_modules": list(ranks),
        "rank_pattern": others,
        "alpha_pattern": others,
        "inference_mode": True,
    }


def _pattern(module: str) -> str:
    """A module's whole name as PEFT takes it: an expression for the end of a name."""
    return "^" + module.replace(".", r"\.")


def _task(base: Checkpoint) -> Iterator[str]:
    """What PEFT calls the task of an architecture."""
    tasks = {
        "ForCausalLM": "CAUSAL_LM", "LMHeadModel": "CAUSAL_LM",
        "ForConditionalGeneration": "SEQ_2_SEQ_LM", "ForSequenceClassification": "SEQ_CLS",
        "ForTokenClassification": "TOKEN_CLS", "ForQuestionAnswering": "QUESTION_ANS",
    }  # fmt: skip
    for architecture in (base.config or {}).get("architectures") or ():
        for ending, task in tasks.items():
            if str(architecture).endswith(ending):
                yield task
