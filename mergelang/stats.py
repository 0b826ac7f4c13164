"""Statistics of data on a model, for `fisher` and `regmean`: what `mergelang stats` computes.

The model is run by transformers (the optional extra) in float32. Knows nothing of recipes.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mergelang.errors import InputError

KINDS = ("fisher", "gram")


def collect(
    model: Path, data: Path, kind: str, out: Path, *, length: int = 512, limit: int | None = None,
    say: Callable[[int, int], None] = lambda done, of: None,
) -> int:  # fmt: skip
    """Writes the statistics of a causal language model on texts; gives the number of texts used.

    `data` is a text file, one text a line, or .jsonl of objects with `text`, or with `prompt` and
    `completion`, of which the completion alone is learnt. Of each text the first `length` tokens
    count, of the file the first `limit` texts. `fisher`: for each parameter the mean over texts of
    the squared gradient of their log-likelihood (the empirical Fisher information). `gram`: for
    each linear layer the mean over tokens of x x', x its input. float32, under the names of the
    parameters. Raises InputError where model or data cannot be used.
    """
    if out.suffix != ".safetensors" or not out.parent.is_dir():
        raise InputError(
            "E1035", path=str(out), folder=None if out.parent.is_dir() else str(out.parent),
            name=None if out.suffix == ".safetensors" else f"{out}.safetensors",
        )  # fmt: skip
    texts = list(_texts(data))[:limit]
    if not texts:
        raise InputError("E1031", path=str(data))
    try:
        import torch
        from safetensors.torch import save_file
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise InputError("E1032", module=error.name) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(
            model, dtype=torch.float32, local_files_only=True
        ).eval()
    except (OSError, ValueError) as error:
        raise InputError("E1033", path=str(model), reason=str(error).split("\n")[0]) from error
    gather = {"fisher": _Fisher, "gram": _Gram}[kind](network)
    for done, (prompt, completion) in enumerate(texts):
        start = tokenizer(prompt)["input_ids"] if prompt else []
        rest = tokenizer(completion, add_special_tokens=not start)["input_ids"]
        tokens = (start + rest)[:length]
        if len(tokens) > max(1, len(start)):
            gather.add(torch.tensor([tokens]), len(start))
        say(done + 1, len(texts))
    if not gather.count:
        raise InputError("E1031", path=str(data))
    facts = {"mergelang.stats": kind, "texts": str(len(texts)), "length": str(length)}
    tensors = {name: each.float().contiguous() for name, each in gather.result().items()}
    partial = out.with_name(out.name + ".partial")
    save_file(tensors, partial, metadata=facts)
    partial.replace(out)
    return len(texts)


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    """Prompts (empty where there is none) and what follows them."""
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a UTF-8 text"
        raise InputError("E0604", path=str(path), reason=reason.lower()) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if path.suffix != ".jsonl":
            yield "", line
            continue
        try:
            entry = json.loads(line)
            found = ("", entry["text"]) if "text" in entry else (
                entry["prompt"], entry["completion"]
            )  # fmt: skip
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("E1034", path=str(path), line=number) from error
        if not all(isinstance(each, str) for each in found):
            raise InputError("E1034", path=str(path), line=number)
        yield found


class _Fisher:
    """Squared gradients of the log-likelihood of each text, added up in float64."""

    def __init__(self, network: Any):
        import torch

        self._network, self.count = network, 0
        named = network.named_parameters()
        self._sums = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in named}

    def add(self, tokens: Any, learnt_from: int) -> None:
        labels = tokens.clone()
        labels[:, :learnt_from] = -100
        counted = int((labels[:, 1:] != -100).sum())
        self._network.zero_grad(set_to_none=True)
        # The loss of transformers is the mean over tokens; the log-likelihood is their sum.
        (self._network(input_ids=tokens, labels=labels).loss * counted).backward()
        for name, parameter in self._network.named_parameters():
            if parameter.grad is not None:
                self._sums[name] += parameter.grad.double() ** 2
        self.count += 1

    def result(self) -> dict[str, Any]:
        return {name: each / self.count for name, each in self._sums.items()}


class _Gram:
    """Products of the inputs of each linear layer, added up over tokens in float64."""

    def __init__(self, network: Any):
        import torch

        self._network, self.count = network, 0
        self._sums: dict[str, Any] = {}
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(self._hook(f"{name}.weight"))

    def _hook(self, name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def take(module: Any, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            product = (x.T @ x).double()
            self._sums[name] = self._sums[name] + product if name in self._sums else product

        return take

    def add(self, tokens: Any, learnt_from: int) -> None:
        import torch

        with torch.inference_mode():
            self._network(input_ids=tokens)
        self.count += tokens.numel()

    def result(self) -> dict[str, Any]:
        return {name: each / self.count for name, each in self._sums.items()}
