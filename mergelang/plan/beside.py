"""The files of an output beside its weights: config, tokenizer, and what its donor brings along."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mergelang.check.program import Destination, Term
from mergelang.models import config as config_edits
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.config import with_vocabulary
from mergelang.models.reference import Reference
from mergelang.models.target import renumbered
from mergelang.models.tokenizer import is_tokenizer_file
from mergelang.models.union import tokenizer_files

GENERATION = "generation_config.json"


def beside(
    target: Destination, config: Mapping[str, Any] | None, source: Term,
    checkpoints: Mapping[Reference, Checkpoint],
) -> tuple[dict[str, bytes], dict[str, Path]]:  # fmt: skip
    """Files to write and files to copy, by their names in the output.

    `config` is that of the output but for its dtype, `source` the model at the end of the chain of
    its donors.
    """
    checkpoint = checkpoints[source.options["reference"]]
    written: dict[str, bytes] = {}
    copied = {each.relative_to(checkpoint.folder).as_posix(): each for each in checkpoint.sidecars}
    words = target.vocabulary
    mine = checkpoint.vocabulary
    known = mine is not None and mine.tokenizer is not None
    if config is not None:
        if words is not None and known and not _aligned(target.term):
            config = with_vocabulary(config, **renumbered(mine, words))
        if target.options["dtype"]:
            config = config_edits.with_dtype(config, target.options["dtype"])
        written["config.json"] = _encoded(config)
    if words is not None:
        copied = {name: path for name, path in copied.items() if not is_tokenizer_file(name)}
        made, files = tokenizer_files(words)
        copied |= {path.name: path for path in files}
        written |= made
        if GENERATION in copied and known:
            settings = json.loads(copied[GENERATION].read_bytes())
            written[GENERATION] = _encoded(with_vocabulary(settings, **renumbered(mine, words)))
    template = target.template
    if template is not None:
        copied = {name: path for name, path in copied.items() if name != "chat_template.json"}
        written |= _templated(written, copied, template)
    return written, {name: path for name, path in copied.items() if name not in written}


def _templated(
    written: Mapping[str, bytes], copied: Mapping[str, Path], template: str
) -> dict[str, bytes]:
    """The template's own file, and the tokenizer's config without another one."""
    found = {"chat_template.jinja": template.encode()}
    name = "tokenizer_config.json"
    if name in written or name in copied:
        config = json.loads(written[name] if name in written else copied[name].read_bytes())
        if config.pop("chat_template", None) is not None:
            found[name] = _encoded(config)
    return found


def _aligned(term: Term | None) -> bool:
    """Whether the config is that of an aligned model, which has its changes already."""
    while term is not None and term.op != "retokenize":
        term = term.donor or (term.inputs[0] if term.inputs else None)
    return term is not None


def _encoded(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
