"""The provenance of an output as an in-toto statement with SLSA's predicate, unsigned.

Formats: in-toto Statement v1 (https://in-toto.io/Statement/v1), SLSA provenance v1
(https://slsa.dev/provenance/v1). Facts only: the optional times and the invocation are left out, so
the same facts give the same bytes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mergelang import __version__
from mergelang.plan.origin import NOTHING, Parent, Seal
from mergelang.plan.plan import OutputPlan
from mergelang.record.facts import Name
from mergelang.record.record import digest

STATEMENT = "provenance.intoto.json"

WEIGHTS = "mergelang_v1"
"""The digest of a weight file: BLAKE3 of its header, which holds the digests of its tensors."""

LEAVES = "blake3_1mib"
"""The digest of a source on this machine: BLAKE3 of the BLAKE3 digests of its pieces of 1 MiB."""

BUILD_TYPE = "urn:mergelang:merge:1"
BUILDER = "urn:mergelang:run"


def statement(
    output: OutputPlan, seal: Seal, facts: Mapping[Name, str], folder: Path, names: Iterable[str],
    made: Mapping[str, bytes],
) -> bytes:  # fmt: skip
    """The statement about the files `names` of a folder, those in `made` not written yet.

    Subjects are all files but the record, which names this one. `facts` are those of the recipe.
    """
    origin = output.origin
    headers = {shard.file: shard.header(seal) for shard in output.shards}

    def subject(name: str) -> dict[str, Any]:
        if name in headers:
            kind, value = WEIGHTS, digest(headers[name]).partition(":")[2]
        else:
            data = made[name] if name in made else (folder / name).read_bytes()
            kind, value = "sha256", sha256(data).hexdigest()
        return {"name": name, "digest": {kind: value}}

    inner = {
        " ".join(name): value for name, value in facts.items()
        if name[0] in ("operator", "seed", "engine", "arith")
    }  # fmt: skip
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject(name) for name in sorted(names)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "output": origin.output,
                    "recipe": origin.recipe,
                    "used": dict(origin.used),
                    "settings": dict(origin.settings),
                },
                "internalParameters": inner,
                "resolvedDependencies": [
                    one for each in origin.parents for one in _dependencies(each, seal)
                ],
            },
            "runDetails": {"builder": {"id": BUILDER, "version": {"mergelang": __version__}}},
        },
    }
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()


def _dependencies(parent: Parent, seal: Seal) -> Iterator[dict[str, Any]]:
    """A source: its repository at its commit, if it has one, and its files."""
    if parent.commit:
        repo = parent.source.removeprefix("hf:").partition("@")[0]
        yield {
            "name": parent.source, "uri": f"pkg:huggingface/{repo}@{parent.commit}",
            "digest": {"gitCommit": parent.commit},
        }  # fmt: skip
    for file in parent.files:
        kind, _, value = (
            file.digest or seal.files.get(file.path, f"blake3:{NOTHING}")
        ).partition(":")
        yield {
            "name": f"{parent.source}/{file.name}",
            "digest": {LEAVES if kind == "blake3" else kind: value},
        }
