"""A LoRA adapter of PEFT on disk: which tensors it changes, from which factors, scaled by what.

Reads its `adapter_config.json` and headers, no weight. Knows no base: names are those of the base
model's tensors, and whether it has them is for others to see.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mergelang.errors import InputError
from mergelang.models.checkpoint import Checkpoint, sound_extents
from mergelang.models.hub import Hub
from mergelang.models.reference import Reference
from mergelang.models.roles import roles_of
from mergelang.models.sidecars import sidecars_of
from mergelang.models.tokenizer import tokenizer_of
from mergelang.models.vocabulary import Vocabulary, is_embedding, is_head
from mergelang.models.weights import fetched, folder_extents, open_folder
from mergelang.tensors import MERGEABLE, Extent, Inventory, Layering, TensorType

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
PREFIX = "base_model.model."

BASE_CHANGED = ("pissa", "corda", "olora", "loftq", "orthogonal", "lora_ga")
"""Initialisations after which an adapter fits a base that they changed, not the one they found."""

BEYOND = {
    "target_parameters": "adapts parameters that are no modules (`target_parameters`)",
    "trainable_token_indices": "has rows of single tokens (`trainable_token_indices`)",
    "layer_replication": "is for a model with repeated layers (`layer_replication`)",
    "alora_invocation_tokens": "acts from an invocation on only (`alora_invocation_tokens`)",
    "use_qalora": "is a QA-LoRA (`use_qalora`)",
    "use_bdlora": "is a BD-LoRA (`use_bdlora`)",
    "arrow_config": "is a router of adapters (`arrow_config`)",
    "kasa_config": "is a KaSA adapter (`kasa_config`)",
    "monteclora_config": "is a MonteCLoRA adapter (`monteclora_config`)",
    "megatron_config": "is for Megatron (`megatron_config`)",
}
"""Settings of PEFT whose adapters are more than low-rank products, and what to say of each."""


@dataclass(frozen=True)
class LowRank:
    """`scale * left @ right` of the shape `type`: `left` [rows, r], `right` [r, columns].

    With `turned` both lie transposed in their files. `magnitude` (DoRA): the sum of base and
    product is scaled so that each row (with `turned` each column) has this norm. `base`: the weight
    that was saved beside the factors and takes the place of the base's.
    """

    left: Extent
    right: Extent
    turned: bool
    scale: float
    type: TensorType
    magnitude: Extent | None = None
    base: Extent | None = None

    @property
    def needs_base(self) -> str | None:
        return "DoRA scales the base's own weights" if self.magnitude else None


@dataclass(frozen=True)
class Offset:
    """`scale * offset`, which is added to a bias."""

    offset: Extent
    scale: float

    @property
    def type(self) -> TensorType:
        return self.offset.type

    needs_base = None


@dataclass(frozen=True)
class Saved:
    """A whole tensor that takes the place of the base's (`modules_to_save`, trained biases)."""

    saved: Extent

    @property
    def type(self) -> TensorType:
        return self.saved.type

    needs_base = "it holds whole tensors that replace the base's"


Part = LowRank | Offset | Saved


@dataclass(frozen=True, eq=False)
class Adapter(Checkpoint):
    """An opened adapter: for each tensor of the base that it changes, how. `config` is its own."""

    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def architecture(self) -> str:
        return ""

    @cached_property
    def inventory(self) -> Inventory:
        """What is not zero in it. Layers are counted up to the last one that it touches."""
        types = {name: part.type for name, part in self.parts.items()}
        roles = {name: roles_of(name) for name in types}
        return Inventory(types, _layering(types), roles, sparse=True)

    @cached_property
    def tables(self) -> Mapping[str, Extent]:
        """The whole tables it holds that have a row for each token, by names as in `parts`."""
        found = {
            name: part.saved if isinstance(part, Saved) else getattr(part, "base", None)
            for name, part in self.parts.items() if is_embedding(name) or is_head(name)
        }  # fmt: skip
        return {name: extent for name, extent in found.items() if extent is not None}

    @cached_property
    def copied(self) -> frozenset[str]:
        """Those of them that PEFT put beside the factors as it found them: nothing trained them."""
        trained = self.config.get("modules_to_save") or ()
        if any(is_embedding(each) or is_head(each) for each in trained):
            return frozenset()
        return frozenset(name for name in self.tables if isinstance(self.parts[name], Saved))

    def table(self, name: str) -> Extent:
        return self.tables[name]

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What the rows of its whole tables stand for; None where it has none."""
        if not self.tables:
            return None
        rows = next(iter(self.tables.values())).type.shape[0]
        shown = self.reference.text
        tokenizer = tokenizer_of(self.sidecars, shown)
        return Vocabulary(rows, tuple(self.tables), (), tokenizer, shown)

    @property
    def needs_base(self) -> tuple[str, str] | None:
        """A tensor that is no difference without its base, and why; None where all are."""
        found = ((name, part.needs_base) for name, part in self.parts.items() if part.needs_base)
        return next(found, None)


def open_adapter(
    reference: Reference, hub: Hub | None = None, allow_pickle: bool = False
) -> Adapter:
    """Reads config and headers. Raises InputError (E22.., E06..) where it cannot be used."""
    path, shown = reference.path, reference.text
    if path is not None and not path.is_dir():
        what = "is a file" if path.exists() else "is not there"
        raise InputError("E2201", path=shown, what=what)
    folder = open_folder(reference, hub or Hub())
    config = _config(folder.path, shown)
    weights = WEIGHTS
    if WEIGHTS not in folder and PICKLED in folder:
        weights = PICKLED
        if not allow_pickle:
            fetch, place = fetched(shown, folder.snapshot)
            raise InputError("E2234", path=shown, file=PICKLED, fetch=fetch, place=place)
        if not (folder.path / PICKLED).exists():
            raise InputError("E2233", path=shown, command=folder.snapshot.command)
    elif WEIGHTS not in folder:
        lost = InputError("E2201", path=shown, what=f"has no {WEIGHTS}")
        raise folder.lacking(f"{WEIGHTS} is", lost)
    path = folder.path
    extents = sound_extents(folder_extents(folder, (weights,)), shown)
    parts = dict(_parts(extents, config, shown))
    if not parts:
        raise InputError("E2201", path=shown, what=f"has no tensor in its {weights}")
    files, beside = (path / weights,), sidecars_of(path)
    return Adapter(reference, path, files, extents, config, beside, folder.snapshot, parts)


def _config(folder: Path, shown: str) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError as error:
        raise InputError("E2201", path=shown, what=f"has no {CONFIG}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("E0615", path=shown, file=CONFIG) from error
    if not isinstance(config, dict):
        raise InputError("E0615", path=shown, file=CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise InputError("E2202", path=shown, what=f"is of the type {kind}, not LORA")
    for setting, what in BEYOND.items():
        if config.get(setting):
            raise InputError("E2202", path=shown, what=what)
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(BASE_CHANGED):
        raise InputError("E2203", path=shown, start=start)
    return config


def _parts(
    extents: Mapping[str, Extent], config: Mapping[str, Any], shown: str
) -> Iterator[tuple[str, Part]]:
    """The tensors of the base that change, in the order of the file."""
    modules: dict[str, dict[str, tuple[str, Extent]]] = {}
    whole: dict[str, Extent] = {}
    for stored, extent in extents.items():
        name = stored.removeprefix(PREFIX)
        found = _FACTOR.fullmatch(name)
        if found:
            module, kind = found["module"], found["kind"] or found["other"]
            modules.setdefault(module, {})[kind] = (stored, extent)
        elif ".original_module." in name:
            # Saved beside it: what the module was before training.
            continue
        elif "token_adapter." in name:
            raise InputError("E2202", path=shown, what=BEYOND["trainable_token_indices"])
        else:
            whole[_SAVED.sub(".", name)] = extent
    for module, factors in modules.items():
        base = whole.pop(f"{module}.weight", None)
        yield from _module(module, factors, base, config, shown)
    for name, extent in whole.items():
        yield name, Saved(extent)


_FACTOR = re.compile(
    r"(?P<module>.+?)\.(?:"
    r"(?P<kind>lora_[AB]|lora_embedding_[AB])(?:\.default)?(?:\.weight)?"
    r"|(?P<other>lora_B(?:\.default)?\.bias|lora_magnitude_vector)(?:\.default)?(?:\.weight)?)"
)
_SAVED = re.compile(r"\.(?:modules_to_save(?:\.default)?|base_layer)\.")


def _module(
    module: str, factors: Mapping[str, tuple[str, Extent]], base: Extent | None,
    config: Mapping[str, Any], shown: str,
) -> Iterator[tuple[str, Part]]:  # fmt: skip
    """What the factors of one module of the base say about its weight and bias."""
    embedding = "lora_embedding_A" in factors or "lora_embedding_B" in factors
    words = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    stored, _ = next(iter(factors.values()))
    for word in words:
        if word not in factors:
            raise InputError("E2204", path=shown, tensor=stored, why=f"its {word} is missing")
    (_, a), (_, b) = (factors[word] for word in words)
    for stored, extent in factors.values():
        if extent.type.dtype not in MERGEABLE:
            raise InputError("E2204", path=shown, tensor=stored, why=f"it is {extent.type.dtype}")
    rank = _matching(config.get("rank_pattern"), module, config.get("r"))
    sound = len(a.type.shape) > 1 and len(b.type.shape) > 1 and a.type.count and b.type.count
    across = len(a.type.shape) == 2
    if not sound or a.type.shape[0] != rank or b.type.shape[1] != rank:
        why = f"its factors {a.type} and {b.type} are not of the config's rank {rank}"
        raise InputError("E2204", path=shown, tensor=stored, why=why)
    if math.prod(b.type.shape[2:]) != 1:
        why = f"lora_B {b.type} is not one number for each row and rank"
        raise InputError("E2204", path=shown, tensor=stored, why=why)
    alpha = _matching(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    try:
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except TypeError as error:
        why = f"its config has the alpha {alpha}"
        raise InputError("E2204", path=shown, tensor=stored, why=why) from error
    turned = embedding or (across and bool(config.get("fan_in_fan_out")))
    shape = (b.type.shape[0], *a.type.shape[1:])
    kind = TensorType(a.type.dtype, shape[::-1] if turned else shape)
    left, right = (a, b) if turned else (b, a)
    magnitude = factors.get("lora_magnitude_vector")
    if magnitude and (not across or magnitude[1].type.count != shape[0]):
        what = "has a DoRA on a convolution" if not across else "has a DoRA of another shape"
        raise InputError("E2202", path=shown, what=f"{what} ({magnitude[0]})")
    yield f"{module}.weight", LowRank(
        left, right, turned, float(scale), kind, magnitude and magnitude[1], base
    )
    bias = next((each for word, each in factors.items() if word.endswith("bias")), None)
    if bias:
        yield f"{module}.bias", Offset(bias[1], float(scale))


def _matching(patterns: Any, module: str, otherwise: Any) -> Any:
    """The value of the first pattern that a module's name ends with, as PEFT matches them."""
    for pattern, value in (patterns or {}).items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return value
        except re.error:
            continue
    return otherwise


def _layering(names: Iterable[str]) -> Layering:
    numbers: dict[str, list[int]] = {}
    for name in names:
        found = re.search(r"\.(\d+)\.", name)
        if found:
            numbers.setdefault(name[: found.start() + 1], []).append(int(found[1]))
    if not numbers:
        return Layering()
    prefix = max(numbers, key=lambda each: len(numbers[each]))
    return Layering(prefix, max(numbers[prefix]) + 1)
