"""Runs prepare tasks: what the tensors of an output are made of, and no formula on tensors gives.

The gates of a mixture are states of its base over prompts. The base, which may be an expression, is
built without weights, and gets those of one layer at a time, made by the executor; no model is
written and none is whole in memory. Runs on one thread, in float32; the result is tied to the
arithmetic of the machine. transformers, which knows the architectures, is imported here alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch

from mergelang.errors import Diagnostic, RunError
from mergelang.graph.node import Node
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.plan.lower import Lowering
from mergelang.plan.prepare import STATES, Preparation, read_by
from mergelang.run.evaluate import Memory, as_array
from mergelang.run.job import Job, Sink
from mergelang.run.machine import Files, Machine
from mergelang.run.resume import refuse_changed
from mergelang.run.workers import finish
from mergelang.store.blobs import Blobs
from mergelang.tensors import TensorType

APART = 5.0
"""The condition number of a layer's gates from which on they hardly tell experts apart; as in
mergekit-moe."""

GATES = "gates"
"""What has made the value of such a task, as the store tells it."""

BLOCK = 1 << 16
"""Elements of a block."""

FEWEST = 1e-8
"""The length below which a row of a gate is left as it is."""

Checkpoints = Mapping[Reference, Checkpoint]
Tokens = Sequence[Sequence[int]]


def prepare(
    task: Preparation, checkpoints: Checkpoints, blobs: Blobs, files: Files
) -> list[Diagnostic]:
    """Makes the value of a task, unless it is there, and opens it: `files` has it from then on,
    whoever removes it from the store. Gives warnings about what is in it.

    Raises RunError: E2001 where a file was changed while it was read, E2320 without transformers,
    E2321 without a tokenizer, E2322 for a config that it cannot use, E2323 for gates that are no
    numbers.
    """
    there, warnings = blobs.find(task.key), []
    if blobs.checked(task.key) is None:  # one that is damaged is dropped
        if there is not None:
            warnings.append(Diagnostic("W2004", None, {"what": task.what}))
        began = time.monotonic()
        with _one_thread():
            gates = _gates(task, checkpoints)
        data = memoryview(b"".join(gates[name].tobytes() for name in task.tensors))
        refuse_changed(read_by(task, checkpoints))  # else the key is that of other bytes
        try:
            seconds = time.monotonic() - began
            blobs.write(task.key, task.value.type, data, GATES, seconds)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise RunError("E2324", path=task.value.path, reason=reason) from error
    files.descriptor(task.value.path)
    return [*warnings, *_alike(task, files)]


def _read(task: Preparation, files: Files) -> dict[str, np.ndarray]:
    """The gates of a task that is ready, float32 [experts, width], by their names."""
    found = {}
    for name, (path, offset, kind) in task.tensors.items():
        data = bytearray(kind.nbytes)
        files.read(path, offset, memoryview(data))
        found[name] = np.frombuffer(data, "<f4").reshape(kind.shape)
    return found


def _gates(task: Preparation, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    groups = [tuple(_tokens(task, texts) for texts in pair) for pair in task.gates.prompts]
    make = _embedded if task.gates.mode == "cheap_embed" else _states
    vectors = make(task, checkpoints, groups)
    found = {}
    for name, layer, first, count in task.gates.routers:
        rows = vectors[min(layer, len(vectors) - 1)][first : first + count]
        if not np.isfinite(rows).all():
            raise RunError("E2323", name=name, folder=task.folder.name)
        found[name] = np.ascontiguousarray(rows, dtype="<f4")
    return found


def _tokens(task: Preparation, texts: Sequence[str]) -> Tokens:
    """The tokens of prompts, each with the token that begins a text where there is one."""
    if not texts:
        return ()
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise RunError("E2320") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            task.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunError("E2321", folder=task.folder.name, reason=reason) from error
    begin = tokenizer.bos_token or ""
    return [tokenizer(begin + text, add_special_tokens=False)["input_ids"] for text in texts]


# Embeddings


def _embedded(
    task: Preparation, checkpoints: Checkpoints, groups: Sequence[tuple[Tokens, Tokens]]
) -> list[np.ndarray]:
    """For all layers alike: the sum of the embeddings of the tokens towards, of length 1, less that
    of those away, likewise, of length 1."""
    rows = _rows(task, checkpoints, groups)
    vectors = []
    for good, bad in groups:
        total = _unit(_sum(rows, good))
        if bad:
            total = total - _unit(_sum(rows, bad))
        vectors.append(_unit(total))
    return [np.stack(vectors)]


def _sum(rows: Mapping[int, np.ndarray], texts: Tokens) -> np.ndarray:
    return np.sum([rows[token] for text in texts for token in text], axis=0, dtype=np.float64)


def _unit(vector: np.ndarray) -> np.ndarray:
    if not np.isfinite(vector).all():
        return vector  # told where the gate is put together
    return vector / max(float(np.linalg.norm(vector)), FEWEST)


def _rows(
    task: Preparation, checkpoints: Checkpoints, groups: Sequence[tuple[Tokens, Tokens]]
) -> dict[int, np.ndarray]:
    """The rows of the embedding that tokens need, float32; the rest of it is not kept."""
    wanted = {token for pair in groups for texts in pair for text in texts for token in text}
    inventory = task.base.term.inventory
    name = next(
        name for name in inventory
        if "embed" in inventory.roles.get(name, ()) and len(inventory[name].shape) == 2
    )  # fmt: skip
    kind = inventory[name]
    if wanted and max(wanted) >= kind.shape[0]:
        raise RunError("E2325", token=max(wanted), rows=kind.shape[0], folder=task.folder.name)
    sink = _Rows(sorted(wanted), kind.nbytes // max(1, kind.shape[0]))
    _evaluate(task.base, name, checkpoints, sink)
    row = TensorType(kind.dtype, kind.shape[1:])
    return {token: as_array(bytes(data), row) for token, data in sink.rows.items()}


def _evaluate(node: Node, name: str, checkpoints: Checkpoints, sink: Sink) -> None:
    """Makes a tensor of an expression, in this thread."""
    files = Files()
    try:
        root = Lowering(checkpoints).value(node, name).expr
        job = Job(name, root, node.term.inventory[name], sink, block=BLOCK, files=files)
        finish(0, job, Machine(max(BLOCK, job.block), files), lambda: None)
    finally:
        files.close()


class _Rows:
    """A sink that keeps some rows of a tensor."""

    digest = ""

    def __init__(self, numbers: Sequence[int], nbytes: int):
        self.nbytes = nbytes
        self.rows = {number: bytearray(nbytes) for number in numbers}

    def open_span(self, first_byte: int) -> Callable[[memoryview], None]:
        at = first_byte

        def write(data: memoryview) -> None:
            nonlocal at
            for number in range(at // self.nbytes, (at + len(data) - 1) // self.nbytes + 1):
                if number in self.rows:
                    start = number * self.nbytes - at
                    low, high = max(start, 0), min(start + self.nbytes, len(data))
                    self.rows[number][low - start : high - start] = data[low:high]
            at += len(data)

        return write


# States


def _states(
    task: Preparation, checkpoints: Checkpoints, groups: Sequence[tuple[Tokens, Tokens]]
) -> list[np.ndarray]:
    """For each layer the rows of its gates: the mean state that enters it over the texts towards,
    less that over those away, of length 1."""
    rows = _rows(task, checkpoints, groups)
    texts = [text for pair in groups for texts in pair for text in texts]
    chunks = [
        _pooled(task, checkpoints, [texts[index] for index in chunk], rows)
        for chunk in _chunks([len(text) for text in texts])
    ]
    layers = []
    for layer in range(len(chunks[0])):
        states = iter(np.concatenate([chunk[layer] for chunk in chunks]).astype(np.float64))
        vectors = []
        for good, bad in groups:
            vector = np.mean([next(states) for _ in good], axis=0)
            if bad:
                vector = vector - np.mean([next(states) for _ in bad], axis=0)
            vectors.append(_unit(vector))
        layers.append(np.stack(vectors))
    return layers


def _chunks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Texts in their order, few enough at a time that their states fit."""
    chunk: list[int] = []
    for index, length in enumerate(lengths):
        longest = max([length, *(lengths[each] for each in chunk)])
        if chunk and longest * (len(chunk) + 1) > STATES:
            yield chunk
            chunk = []
        chunk.append(index)
    yield chunk


class _Done(Exception):
    """The last layer has been reached; what it would do is not needed."""


def _pooled(
    task: Preparation, checkpoints: Checkpoints, texts: Tokens, rows: Mapping[int, np.ndarray]
) -> list[np.ndarray]:
    """For each layer the states that enter it, [texts, width], pooled over the tokens of each.

    Texts are padded on the right, where no token of theirs looks.
    """
    model, layers = _skeleton(task)
    lengths = torch.tensor([len(text) for text in texts])
    longest, width = int(lengths.max()), len(next(iter(rows.values())))
    embedded = torch.zeros(len(texts), longest, width)
    for index, text in enumerate(texts):
        stacked = np.stack([rows[token] for token in text]).astype(np.float32)
        embedded[index, : len(text)] = torch.from_numpy(stacked)
    found: list[np.ndarray] = []

    def enter(number: int, layer: torch.nn.Module, given: tuple, named: dict) -> None:
        states = given[0] if given else named["hidden_states"]
        found.append(_pool(states, lengths, task.gates.pool).numpy())
        if number + 1 == len(layers):
            raise _Done
        _fill(task.base, number, layer, checkpoints)

    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(
            lambda layer, given, named, number=number: enter(number, layer, given, named),
            with_kwargs=True,
        )
        layer.register_forward_hook(lambda layer, *_: layer.to("meta") and None)
    with torch.no_grad(), suppress(_Done):
        model(inputs_embeds=embedded, use_cache=False)
    return found


def _pool(states: torch.Tensor, lengths: torch.Tensor, how: str) -> torch.Tensor:
    if how == "last":
        return states[torch.arange(len(states)), lengths - 1].clone()
    inside = torch.arange(states.shape[1])[None, :] < lengths[:, None]
    return (states * inside[..., None]).sum(1) / lengths[:, None]


def _skeleton(task: Preparation) -> tuple[torch.nn.Module, Sequence[torch.nn.Module]]:
    """The model without weights, and its layers."""
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        config = CONFIG_MAPPING[task.config["model_type"]].from_dict(dict(task.config))
        with torch.device("meta"):
            model = AutoModel.from_config(
                config, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False
            )
        # What it computes from the config alone has to be there.
        model.rotary_emb = type(model.rotary_emb)(config=config)
        return model.eval(), model.layers
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise RunError("E2322", folder=task.folder.name, reason=reason) from error


def _fill(base: Node, number: int, layer: torch.nn.Module, checkpoints: Checkpoints) -> None:
    """Gives a layer the weights that the base has there, each made by the executor."""
    layer.to_empty(device="cpu")
    inventory = base.term.inventory
    for inside, parameter in layer.named_parameters():
        name = inventory.layering.join(number, inside)
        kind = inventory[name]
        memory = Memory(kind.nbytes)
        _evaluate(base, name, checkpoints, memory)
        parameter.data.copy_(torch.from_numpy(as_array(memory.data, kind).astype(np.float32)))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of a matrix product run in an order that depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Warnings


def _alike(task: Preparation, files: Files) -> list[Diagnostic]:
    """W2310 where the gates of layers hardly tell the experts apart."""
    rows: dict[int, list[np.ndarray]] = {}
    gates = _read(task, files)
    for name, layer, _, _ in task.gates.routers:
        rows.setdefault(layer, []).append(gates[name])
    weak = [
        layer for layer, found in sorted(rows.items())
        if np.linalg.cond(np.concatenate(found).astype(np.float64)) > APART
    ]  # fmt: skip
    if not weak:
        return []
    every = len(weak) == len(rows)
    facts = {"layers": "all layers" if every else _numbers(weak), "text": task.node.term.span.text}
    name = task.node.term.name
    return [Diagnostic("W2310", task.node.term.span, {**facts, "name": name or "moe"})]


def _numbers(layers: Sequence[int]) -> str:
    """`layer 3`, `layers 0-2, 5`."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(texts)}"
