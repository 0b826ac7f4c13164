"""E22..: adapters, models on the Hub, pickles."""

from mergelang.wording.kind import Kind

SOURCES: dict[str, Kind] = {
    "E2200": Kind(
        "`lora` takes the source of one adapter, a string, and perhaps its `base:`",
        label="not that",
        help=('write `lora("./adapter")`, or `lora("./adapter", base: base)`',),
        explain="""\
An adapter is named where it is used, by its folder or by its name on the Hub. How much it counts
stands in front of it.

wrong:  let x = base + lora("./adapter", weight: 0.8)

right:  let x = base + 0.8 * lora("./adapter")
""",
    ),
    "E2201": Kind(
        "there is no adapter at `{path}`: it {what}",
        label="no adapter",
        help=(
            "an adapter of PEFT is a folder with adapter_config.json and adapter_model.safetensors",
        ),
        explain="""\
`lora` reads adapters as PEFT saves them: a folder with a config and the weights in safetensors.

wrong:  let x = base + lora("./math")      # a whole model

right:  model math = "./math"
        let x = base + (math - base)
""",
    ),
    "E2202": Kind(
        "the adapter `{path}` {what}, which cannot be merged here",
        label="not a plain LoRA",
        help=("merge it with peft (`merge_and_unload`), save the model, and name its folder",),
        explain="""\
Adapters of the type LORA are read: with ranks and alphas by module, rsLoRA, DoRA, fan_in_fan_out,
embeddings, biases and modules that were saved whole. This one holds something else. peft can merge
some of these; what it saves is a model like any other.
""",
    ),
    "E2203": Kind(
        "the adapter `{path}` was trained on a base that its start (`{start}`) had changed",
        label="fits no base that is stored",
        help=(
            "save it again with `path_initial_model_for_weight_conversion` of peft, which makes "
            "it a plain LoRA",
        ),
        explain="""\
PiSSA, OLoRA, CorDA, LoftQ and others begin by taking something out of the base's weights and
putting it into the adapter. What the adapter adds is right only for the base less that. peft can
turn such an adapter into a plain LoRA when it saves it.
""",
    ),
    "E2204": Kind(
        "the adapter `{path}` does not fit together at {tensor}: {why}",
        label="damaged",
        help=("fetch or save the adapter again, config and weights of one training",),
        explain="""\
For each module that it changes, an adapter has two factors, of the rank that its config states, and
scales their product by the config's alpha.
""",
    ),
    "E2205": Kind(
        "`{path}` is no task vector without its base: {why} ({tensor})",
        label="needs its base",
        help=('name the base: `lora("{path}", base: {base})`',),
        explain="""\
What a LoRA adds is the same whatever it is added to. A DoRA scales the base's own weights, and
modules that were saved whole replace those of the base: what they add can only be said together
with the base. `lora("./dora", base: base)` is what the adapter makes of `base`, less `base`.

wrong:  let x = base + 0.8 * lora("./dora")

right:  let x = base + 0.8 * lora("./dora", base: base)
""",
    ),
    "E2206": Kind(
        "{tensors} of `{text}` fit nothing in `{other}`: {names}",
        label="an adapter for another model",
        related=("has no such tensor",),
        help=(
            "the nearest name there is {like}",
            "the other {part} fit: is it for a larger model, of which this one is a part?",
            "use the model that it was trained on",
        ),
        explain="""\
An adapter names the modules of the model that it was trained on. Where the other model lacks one of
them, part of the adapter would be lost, so this is an error. Most likely the adapter belongs to a
model of another architecture or with more layers.
""",
    ),
    "E2207": Kind(
        "the layers of `{text}` are not known: an adapter lists only what it changes",
        label="made of adapters alone",
        help=('name its base: `lora("./a", base: base)`, or add it first and take layers then',),
        explain="""\
Slices and stacks number layers anew, and an adapter does not say how many there are: those that it
does not change are not in it.

wrong:  let x = base + lora("./adapter")[..2]

right:  let x = (base + lora("./adapter"))[..2]
""",
    ),
    "E2208": Kind(
        "`{text}` is made of adapters alone: there is no model in it",
        label="no whole model",
        help=("add it to its base: `base + lora(...)`",),
        explain="""\
An adapter holds differences of some tensors. An output is a whole model, with all its tensors, a
config and a tokenizer, and those come from the base.

wrong:  output "x" = as_model(lora("./adapter"))

right:  output "x" = base + lora("./adapter")
""",
    ),
    "E2209": Kind(
        "the adapter `{text}` has a head that was trained by itself ({name}), and that of `{base}` "
        "is its embedding",
        label="two tables, of which the base has one",
        related=("has no head of its own",),
        help=(
            "give the base one, in transformers: `model.lm_head.weight = torch.nn.Parameter(model."
            "lm_head.weight.clone())` and `model.config.tie_word_embeddings = False`; save it with "
            "its tokenizer, and name that folder",
        ),
        explain="""\
In many small models the head is the embedding once more (`tie_word_embeddings`), so their files
have one table. An adapter with the head among its `modules_to_save` was trained on two that went
apart, and one table cannot be both.
""",
    ),
    "E2220": Kind(
        "the Hub cannot be reached for `{text}`: {reason}",
        label="cannot be reached",
        help=("fetch it where there is a connection: `{command}`",),
        explain="""\
A model on the Hub is read as far as a plan needs it (config, tokenizer, headers of the weights),
and its weights are fetched by a run, into the ordinary cache of the Hub. Neither is there, and the
Hub does not answer or offline mode is on. In `check` this is a warning (W2220): the model's tensors
are not known then, and what only they can tell is not checked. `check --no-sources` asks nobody.
""",
    ),
    "W2220": Kind(
        "the Hub cannot be reached for `{text}`, so its tensors are not checked: {reason}",
        label="cannot be reached",
        help=("`plan` and `run` need it; where there is a connection: `{command}`",),
        explain="""\
The recipe is checked as far as its text tells. `plan` and `run` cannot go on without the model.
""",
    ),
    "W2221": Kind(
        "the Hub could not be asked whether `{text}` has moved: {reason}",
        label="taken from this machine, commit {commit}",
        help=("name that commit, `{pinned}`, and nobody has to be asked",),
        explain="""\
A branch or a tag may have moved since the model was fetched. The copy on this machine is used, as
the Hub's own tools do when there is no connection.
""",
    ),
    "E2221": Kind(
        "`{text}` is gated: its owner lets in those who have accepted its terms",
        label="gated",
        help=("accept them at {page}, then log in on this machine: `hf auth login`",),
        explain="""\
The list of files of a gated repository is open, the files themselves are not. Access depends on an
account: accept the terms in a browser, and give this machine a token of that account, with
`hf auth login` or in HF_TOKEN.
""",
    ),
    "E2222": Kind(
        "there is no model `{repo}` on the Hub, or it is private",
        label="not found",
        help=("is the name right? If it is private, log in: `hf auth login`",),
        explain="""\
To one who may not see it, a private repository looks as if it were not there.
""",
    ),
    "E2223": Kind(
        "`{repo}` on the Hub has no revision `{revision}`",
        label="no such revision",
        help=(
            "a revision is a branch, a tag or a commit (all 40 digits) of the repository{written}",
            "if a lock keeps it, `mergelang lock RECIPE --update {text}` takes what is there now",
        ),
        explain="""\
What stands after the `@` is the name of a branch or a tag, or a whole commit. Its owner may have
deleted it. A lock keeps the commit of a branch, which may be gone when the branch was written anew.
""",
    ),
    "E2224": Kind(
        "`{repo}` on the Hub has no folder `{subfolder}` with files in it",
        label="no such folder",
        help=("its folders: {known}",),
        explain="""\
What follows the name of the repository after a slash is a folder in it. A slash in the name of a
branch is written `%2F`: `hf:org/name@feature%2Fone`.
""",
    ),
    "E2225": Kind(
        "cannot fetch {file} of `{text}`: {reason}",
        help=("run again: it goes on where it stopped",),
        explain="""\
A run fetches the weights that are not on this machine yet before it begins. What has arrived of a
file is kept beside the Hub's cache of it, and the next run asks for the rest.
""",
    ),
    "E2226": Kind(
        "{file} of `{text}` has arrived broken: its sha256 is not what the Hub says",
        help=("run again: it is fetched anew",),
        explain="""\
The Hub states a digest of each large file. What arrived has another one, so it was thrown away.
Something between the Hub and this machine changes data, or the disk does.
""",
    ),
    "E2231": Kind(
        "`{path}` holds more than weights, or is damaged: {reason}",
        label="not read",
        help=("save its tensors alone: `torch.save(model.state_dict(), ...)`",),
        explain="""\
Files of torch are read in its mode for weights alone: tensors in plain tables. Whatever else is in
one (a whole model with its classes, the state of a training) would have to run code to be read, and
code of a file is never run.
""",
    ),
    "E2232": Kind(
        "the tensors of `{path}` cannot be read in place: {why}",
        label="not as torch writes it today",
        help=(
            "write it anew: `python -c \"import torch; f = '{path}'; torch.save({{k: v.contiguous()"
            ".clone() for k, v in torch.load(f, weights_only=True).items()}}, f)\"`",
        ),
        explain="""\
A merge reads weights in pieces from where they lie in the file. Files of a torch older than 1.6,
and transposed views, have no such place. The command reads the whole file once and writes it as
torch does today.
""",
    ),
    "E2233": Kind(
        "the weights of `{path}` are pickles, which cannot be looked at before they are fetched",
        label="not on this machine",
        help=("fetch it: `{command}`",),
        explain="""\
Of a safetensors file on the Hub the header tells all that a plan needs. A pickle has none: only the
whole file tells what is in it. Fetched once, it is found in the cache of the Hub's own tools.
""",
    ),
    "E2234": Kind(
        "the adapter `{path}` has its weights in {file}, a pickle",
        label="not safetensors",
        help=(
            "allow it to be read, as tensors alone: `--allow-pickle`",
            "or convert it once: `{fetch}python -c \"import torch; from safetensors.torch import "
            "save_file; "
            "save_file(torch.load('{place}/adapter_model.bin', weights_only=True), "
            "'{place}/adapter_model.safetensors')\"`",
        ),
        explain="""\
Reading a Python pickle can run any code that somebody put into it. With `--allow-pickle` torch
reads it in its mode for weights alone, which builds tensors and nothing else.
""",
    ),
    "E2240": Kind(
        "`{model}` is no fine-tune of `{base}`: {why}{more}",
        help=("name the model that it was tuned from with `--base`",),
        explain="""\
An adapter is extracted from the difference of two models, so both have the same tensors in the same
shapes. A fine-tune with more tokens than its base has other embeddings: bring them to one
vocabulary first.
""",
    ),
    "E2241": Kind(
        "`{model}` and `{base}` differ in no matrix of a layer",
        help=("are they the models that you meant?",),
        explain="""\
There is nothing that an adapter could hold: the models are equal, or only norms and biases differ,
which have no low-rank form.
""",
    ),
    "E2242": Kind(
        "there is something at `{path}` already",
        help=("name a new folder with `-o`",),
        explain="An adapter is written to a new or an empty folder; nothing is ever overwritten.\n",
    ),
}
