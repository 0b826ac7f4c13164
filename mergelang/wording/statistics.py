"""Mistakes in what `mergelang stats` is given."""

from mergelang.wording.kind import Kind

STATISTICS: dict[str, Kind] = {
    "E1031": Kind(
        "{path} holds no text of more than one token",
        label="nothing to learn from",
        help=("write one text a line, or .jsonl objects with `text`",),
        explain="Statistics are made of texts: lines of a file, or objects of a .jsonl file.\n",
    ),
    "E1032": Kind(
        "`mergelang stats` runs the model with transformers, and {module} is not installed",
        label="not installed",
        help=("install the extra: `pip install 'mergelang[transformers]'`",),
        explain="""\
Statistics of data need the model to run, which transformers does. Merging itself does not need it.
""",
    ),
    "E1033": Kind(
        "transformers cannot open `{path}`: {reason}",
        label="cannot be opened",
        help=("name a folder with config.json, weights and tokenizer of a causal language model",),
        explain="""\
Statistics are those of a causal language model that transformers can load from a folder, together
with its tokenizer.
""",
    ),
    "E1034": Kind(
        "line {line} of {path} is no text",
        label="not as expected",
        help=(
            'each line is an object: {{"text": "..."}} or {{"prompt": "...", "completion": "..."}}',
        ),
        explain="""\
A .jsonl file holds one JSON object a line: with `text`, or with `prompt` and `completion`, of which
the completion alone counts as learnt.
""",
    ),
    "E1035": Kind(
        "the statistics cannot be written to {path}",
        label="cannot be written",
        help=(
            "there is no folder {folder}: make it first",
            "write a .safetensors file, which operators read: `-o {name}`",
        ),
        explain="""\
The file is looked at before the model is run, so that no work is lost: its folder has to be there,
and its name has to end with `.safetensors`.
""",
    ),
}
