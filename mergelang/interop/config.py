"""The shape of mergekit's configurations: merges, mixtures, many of them in one file.

YAML nodes to frozen records, every key checked. Knows which keys there are, not what becomes of
them. Matches mergekit 0.1.5: mergekit-yaml, mergekit-multi, mergekit-moe and mergekit-pytorch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from mergelang.interop.methods import METHODS, Method
from mergelang.interop.names import Model, read_model
from mergelang.interop.nodes import Entry, Node, Reader, listed, nearest
from mergelang.interop.settings import Settings, number_text, read_settings

DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}
"""Mergekit's names of dtypes, and ours."""

GATES = ("hidden", "hidden_avg", "hidden_last", "cheap_embed", "random", "uniform_random")
RANDOM = ("random", "uniform_random")
ARCHITECTURES = {
    "mixtral": "mixtral", "deepseek moe": "deepseek", "qwen moe": "qwen2_moe",
    "qwen3 moe": "qwen3_moe",
}  # fmt: skip
"""What mergekit-moe calls its output architectures, of which a file gives the beginning, and the
`model_type` of each."""

_COMMON = ("dtype", "name", "base_model")
_MERGE = (
    "merge_method", "models", "slices", "modules", "parameters", "out_dtype", "tokenizer_source",
    "tokenizer", "chat_template", "out_path", *_COMMON,
)  # fmt: skip
_MIXTURE = (
    "experts", "gate_mode", "experts_per_token", "shared_experts", "architecture", *_COMMON,
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """A model of a merge, whole or some of its layers, with its parameters."""

    model: Model
    node: Node
    settings: Settings
    layers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """What is merged into one piece: an item of `slices`, or all of `models`."""

    inputs: tuple[Input, ...]
    node: Node
    settings: Settings = field(default_factory=dict)
    base: Model | None = None


@dataclass(frozen=True)
class Module:
    """The parts of one module of the model, laid one upon another if there are several."""

    name: str
    parts: tuple[Part, ...]
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Token:
    """Where the embedding of a token comes from: a model, one of its tokens, or zero."""

    model: Model | None
    token: str | int | None = None
    zero: bool = False
    force: bool = False


@dataclass(frozen=True)
class Tokenizer:
    """`source` is "union", "base" or a model."""

    source: Model | str
    node: Node
    tokens: Mapping[str, Token] = field(default_factory=dict)
    pad: int | None = None


@dataclass(frozen=True)
class Merge:
    node: Node
    method: Method
    base: Model | None
    modules: tuple[Module, ...]
    settings: Settings
    dtype: str | None = None
    tokenizer: Tokenizer | None = None
    template: Entry | None = None
    name: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Expert:
    model: Model
    prompts: tuple[str, ...]
    avoid: tuple[str, ...]
    node: Node
    noise: str | None = None
    scale: str | None = None
    shared: bool = False


@dataclass(frozen=True)
class Mixture:
    node: Node
    base: Model
    experts: tuple[Expert, ...]
    gate: str
    top_k: int
    architecture: str | None = None
    dtype: str | None = None
    name: str | None = None
    path: str | None = None


Document: TypeAlias = Merge | Mixture


def read_document(reader: Reader, node: Node) -> Document | None:
    """One document of a file, as far as it can be read; what is wrong in it is reported."""
    keys = [key.value for key, _ in node.value] if reader.is_mapping(node) else []
    return _mixture(reader, node) if "experts" in keys else _merge(reader, node)


def _merge(reader: Reader, node: Node) -> Merge | None:
    entries = reader.mapping(node, "a merge", _MERGE, required=("merge_method",))
    if entries is None:
        return None
    method = _method(reader, entries["merge_method"].value)
    base = _model(reader, entries, "base_model")
    given = _given(reader, entries, ("models", "slices", "modules"))
    if len(given) != 1:
        others = [entries[name].key for name in given[1:]]
        reader.add(
            "E1108", entries[given[0]].key if given else node, *others,
            got=f"are {listed(given)}" if given else "is none of them",
        )  # fmt: skip
        return None
    settings = _parameters(reader, entries)
    modules = _modules(reader, given[0], entries[given[0]].value)
    tokenizer = _tokenizer(reader, entries)
    dtype = _dtype(reader, entries, "dtype")
    dtype = _dtype(reader, entries, "out_dtype") or dtype
    if method is None:
        return None
    return Merge(
        node, method, base, modules, settings, dtype, tokenizer, entries.get("chat_template"),
        _text(reader, entries, "name"), _text(reader, entries, "out_path"),
    )  # fmt: skip


def _method(reader: Reader, node: Node) -> Method | None:
    name = reader.scalar(node, "`merge_method`", str)
    if name is None or name in METHODS:
        return METHODS.get(name or "")
    near = nearest(name, METHODS)
    reader.add("E1106", node, name=name, suggestion=near, known=None if near else listed(METHODS))
    return None


def _modules(reader: Reader, kind: str, node: Node) -> tuple[Module, ...]:
    if kind == "models":
        return (Module("", _whole(reader, node)),)
    if kind == "slices":
        return (Module("", _slices(reader, node)),)
    found = []
    for name, entry in (reader.mapping(node, "`modules`", None) or {}).items():
        where = f"the module `{name}`"
        entries = reader.mapping(entry.value, where, ("models", "slices", "parameters"))
        given = _given(reader, entries or {}, ("models", "slices"))
        if entries is None:
            continue
        if len(given) != 1:
            got = f"are {listed(given)}" if given else "is none of them"
            reader.add("E1108", entry.key, *[entries[each].key for each in given], got=got)
            continue
        read = _whole if given == ["models"] else _slices
        parts = read(reader, entries[given[0]].value)
        found.append(Module(name, parts, _parameters(reader, entries)))
    return tuple(found)


def _given(reader: Reader, entries: Mapping[str, Entry], names: Sequence[str]) -> list[str]:
    """Those of the keys that hold something; where none does, those that are there."""
    found = [name for name in names if name in entries]
    return [name for name in found if not reader.is_empty(entries[name].value)] or found


def _whole(reader: Reader, node: Node) -> tuple[Part, ...]:
    inputs = []
    for item in reader.items(node, "`models`"):
        known = ("model", "parameters")
        entries = reader.mapping(item, "a model of `models`", known, required=("model",))
        model = _model(reader, entries or {}, "model")
        if model is not None and entries is not None:
            inputs.append(Input(model, item, _parameters(reader, entries)))
    return (Part(tuple(inputs), node),)


def _slices(reader: Reader, node: Node) -> tuple[Part, ...]:
    parts = []
    known = ("sources", "base_model", "residual_weight", "parameters")
    for item in reader.items(node, "`slices`"):
        entries = reader.mapping(item, "a slice", known, required=("sources",))
        if entries is None:
            continue
        if "residual_weight" in entries:
            key = entries["residual_weight"].key
            reader.add("W1103", key, what="`residual_weight`", why="mergekit makes no use of it")
        sources = reader.items(entries["sources"].value, "`sources`")
        inputs = tuple(filter(None, (_source(reader, each) for each in sources)))
        counts = {high - low for low, high in (each.layers or (0, 0) for each in inputs)}
        if len(counts) > 1:
            lengths = " and ".join(str(each) for each in sorted(counts))
            reader.add("E1114", entries["sources"].key, lengths=lengths)
        base = _model(reader, entries, "base_model")
        parts.append(Part(inputs, item, _parameters(reader, entries), base))
    return tuple(parts)


def _source(reader: Reader, node: Node) -> Input | None:
    known = ("model", "layer_range", "parameters")
    entries = reader.mapping(node, "a source", known, required=("model", "layer_range"))
    if entries is None:
        return None
    model = _model(reader, entries, "model")
    settings = _parameters(reader, entries)
    span = entries["layer_range"].value
    ends = [reader.whole(each) for each in span.value] if reader.is_list(span) else []
    if len(ends) != 2 or None in ends or not 0 <= ends[0] < ends[1]:
        reader.add("E1113", span)
        return None
    return None if model is None else Input(model, node, settings, (ends[0], ends[1]))


def _tokenizer(reader: Reader, entries: Mapping[str, Entry]) -> Tokenizer | None:
    old, new = entries.get("tokenizer_source"), entries.get("tokenizer")
    if old is not None and new is not None:
        reader.add("E1121", new.key, old.key)
    if old is not None:
        source = _vocabulary(reader, old.value)
        return None if source is None else Tokenizer(source, old.key)
    if new is None:
        return None
    known = ("source", "tokens", "pad_to_multiple_of")
    parts = reader.mapping(new.value, "`tokenizer`", known)
    if parts is None:
        return None
    source = _vocabulary(reader, parts["source"].value) if "source" in parts else "union"
    tokens = {}
    if "tokens" in parts:
        for name, entry in (reader.mapping(parts["tokens"].value, "`tokens`", None) or {}).items():
            token = _token(reader, name, entry.value)
            if token is not None:
                tokens[name] = token
    pad = None
    if "pad_to_multiple_of" in parts:
        pad = reader.scalar(parts["pad_to_multiple_of"].value, "`pad_to_multiple_of`", int)
    return None if source is None else Tokenizer(source, new.key, tokens, pad)


def _vocabulary(reader: Reader, node: Node) -> Model | str | None:
    if not reader.is_mapping(node) and node.value in ("union", "base"):
        return node.value
    return read_model(reader, node)


def _token(reader: Reader, name: str, node: Node) -> Token | None:
    entries = reader.mapping(node, f"the token `{name}`", ("source", "force"))
    if entries is None:
        return None
    force = bool(
        reader.scalar(entries["force"].value, "`force`", bool) if "force" in entries else False
    )
    if "source" not in entries:
        return Token(None, force=force)
    source = entries["source"].value
    if not reader.is_mapping(source) or "kind" not in [key.value for key, _ in source.value]:
        return Token(read_model(reader, source), force=force)
    known = ("kind", "model", "token", "token_id")
    parts = reader.mapping(source, "the source of a token", known)
    if parts is None:
        return None
    kind = parts["kind"].value
    if kind.value == "zero":
        return Token(None, zero=True, force=force)
    if kind.value != "model_token":
        reader.add(
            "E1104", kind, what="`kind`", wanted="`zero` or `model_token`",
            got=reader.describe(kind),
        )  # fmt: skip
        return None
    given = [each for each in ("token", "token_id") if each in parts]
    if len(given) != 1 or "model" not in parts:
        reader.add("E1105", source, where="the source of a token", name="model` and `token")
        return None
    wanted = str if given == ["token"] else int
    token = reader.scalar(parts[given[0]].value, f"`{given[0]}`", wanted)
    return Token(read_model(reader, parts["model"].value), token, force=force)


def _mixture(reader: Reader, node: Node) -> Mixture | None:
    needed = ("base_model", "experts")
    entries = reader.mapping(node, "a mixture of experts", _MIXTURE, required=needed)
    if entries is None:
        return None
    base = _model(reader, entries, "base_model")
    gate = _text(reader, entries, "gate_mode") or "hidden"
    if gate not in GATES:
        reader.add(
            "E1104", entries["gate_mode"].value, what="`gate_mode`",
            wanted=listed(GATES, last="or"), got=f"`{gate}`",
        )  # fmt: skip
    wanted = _text(reader, entries, "architecture")
    fitting = [each for each in ARCHITECTURES if each.startswith((wanted or "-").lower())]
    shared = _list(reader, entries, "shared_experts")
    # Of both mixtures of Qwens one has a shared expert.
    architecture = fitting[0 if shared else -1] if fitting else None
    if wanted and not fitting:
        reader.add(
            "E1104", entries["architecture"].value, what="`architecture`",
            wanted=listed(ARCHITECTURES, last="or"), got=f"`{wanted}`",
        )  # fmt: skip
    top_k = 2
    if "experts_per_token" in entries:
        top_k = reader.scalar(entries["experts_per_token"].value, "`experts_per_token`", int) or 2
    listed_experts = reader.items(entries["experts"].value, "`experts`")
    experts = [_expert(reader, each, gate) for each in listed_experts]
    experts += [_expert(reader, each, gate, shared=True) for each in shared]
    dtype, name = _dtype(reader, entries, "dtype"), _text(reader, entries, "name")
    if base is None or None in experts:
        return None
    found = architecture and ARCHITECTURES[architecture]
    return Mixture(node, base, tuple(experts), gate, top_k, found, dtype, name)


def _expert(reader: Reader, node: Node, gate: str, shared: bool = False) -> Expert | None:
    prompts = ("positive_prompts", "negative_prompts")
    known = ("source_model", *prompts, "noise_scale", "residual_scale")
    entries = reader.mapping(node, "an expert", known, required=("source_model",))
    if entries is None:
        return None
    model = _model(reader, entries, "source_model")
    noise, scale = (_amount(reader, entries, name) for name in ("noise_scale", "residual_scale"))
    good, bad = (_texts(reader, entries, name) for name in prompts)
    if gate in RANDOM:
        for name in (name for name, texts in zip(prompts, (good, bad), strict=True) if texts):
            why = f"a gate that is `{gate}` needs no prompts"
            reader.add("W1103", entries[name].key, what=f"`{name}`", why=why)
        good = bad = ()
    return None if model is None else Expert(model, good, bad, node, noise, scale, shared)


def _amount(reader: Reader, entries: Mapping[str, Entry], name: str) -> str | None:
    """A number as text; None where there is none."""
    if name not in entries:
        return None
    node = entries[name].value
    # The value of a list is its nodes.
    text = number_text(reader.plain(node), node.value if isinstance(node.value, str) else "")
    if text is None:
        reader.add("E1104", node, what=f"`{name}`", wanted="a number", got=reader.describe(node))
    return text


# Keys of any mapping


def _parameters(reader: Reader, entries: Mapping[str, Entry]) -> Settings:
    return read_settings(reader, entries["parameters"].value) if "parameters" in entries else {}


def _model(reader: Reader, entries: Mapping[str, Entry], name: str) -> Model | None:
    return read_model(reader, entries[name].value) if name in entries else None


def _text(reader: Reader, entries: Mapping[str, Entry], name: str) -> str | None:
    return reader.scalar(entries[name].value, f"`{name}`", str) if name in entries else None


def _list(reader: Reader, entries: Mapping[str, Entry], name: str) -> list[Node]:
    """The items of a list that may be empty or not be there."""
    if name not in entries or reader.is_empty(entries[name].value):
        return []
    return reader.items(entries[name].value, f"`{name}`")


def _texts(reader: Reader, entries: Mapping[str, Entry], name: str) -> tuple[str, ...]:
    nodes = _list(reader, entries, name)
    texts = [reader.scalar(each, f"an item of `{name}`", str) for each in nodes]
    return tuple(text for text in texts if text is not None)


def _dtype(reader: Reader, entries: Mapping[str, Entry], name: str) -> str | None:
    text = _text(reader, entries, name)
    known = (text or "").removeprefix("torch.")
    if text is not None and known not in DTYPES:
        near = nearest(text, DTYPES)
        reader.add("E1109", entries[name].value, text=text, suggestion=near, known=listed(DTYPES))
    return DTYPES.get(known)
