"""E071., E231., E232., W231.: mixtures of experts, and their gates."""

from mergelang.wording.kind import Kind

MIXTURES: dict[str, Kind] = {
    "E0711": Kind(
        "`gate: {gate}` has no use for the `{option}` of `{text}`",
        label="has `{option}`",
        help=("leave `{option}` out, or write `gate: hidden`",),
        explain="""\
`prompts` and `avoid` say what an expert is for, and gates are made from them. Gates of random
numbers are made from nothing.

wrong:  let x = moe(a { prompts: ["solve"] }, b, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0712": Kind(
        "`top_k` is {top_k}, and the mixture has {experts} experts",
        label="more than there are",
        help=("write `top_k: {experts}` or less",),
        explain="""\
`top_k` of the experts work on each token, so it is at most their number; a shared expert works on
all tokens, and does not count. It is 2 unless said otherwise.

wrong:  let x = moe(a, b, gate: random, top_k: 3)

right:  let x = moe(a, b, gate: random, top_k: 2)
""",
    ),
    "E0713": Kind(
        "a mixture is made of Llama, Mistral, Qwen2 or Qwen3 models, all of one architecture, and "
        "that of `{text}` is {architecture}",
        label="cannot be an expert",
        help=("the architecture is the `model_type` of the model's config.json",),
        explain="""\
The experts of a mixture become a Mixtral or a DeepSeek-MoE (of Llamas and Mistrals), a Qwen2-MoE or
a Qwen3-MoE, whose layers are those of the dense models but for the experts. A bare .safetensors
file has no config.json, so its architecture is unknown: name the model's folder.

wrong:  model flat = "flat.safetensors"
        let x = moe(a, flat, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0714": Kind(
        "`{text}` has the tensor {name}, and a mixture of the architecture {family} has no place "
        "for it",
        label="does not fit",
        help=("leave this model out: without that tensor it would not be the same model",),
        explain="""\
The layers of a mixture have the tensors that its architecture knows: those of a Mixtral no biases
and no norms of queries. A model that has more cannot be put into it without a loss.
""",
    ),
    "E0715": Kind(
        "`{text}` lacks the tensor {name} of the base",
        label="does not have it",
        help=(
            "take models of one family; the base is what `base:` says, else the first input",
        ),
        explain="""\
The layers of the models of a mixture have the same tensors, of the same shapes. Outside of the
layers they may differ: there all comes from the base.

wrong:  let x = moe(a, gappy, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E0716": Kind(
        "{name} is {got} in `{text}` and {wanted} in the base",
        label="{got}",
        help=(
            "take models of one shape; the base is what `base:` says, else the first input",
        ),
        explain="""\
The layers of the models of a mixture have the same tensors, of the same shapes.

wrong:  let x = moe(a, thin, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E2310": Kind(
        "`{text}` has no `prompts`, which `gate: {gate}` makes its gates from",
        label="what is it for?",
        help=(
            'say what it is for: `{text} {{ prompts: ["...", "..."] }}`',
            "or write `gate: random`, and train the mixture",
        ),
        explain="""\
A gate sends a token to the experts whose prompts it resembles, so each expert needs some: texts of
the kind that it is good at. `avoid` takes texts that it is not for.

wrong:  let x = moe(a { prompts: ["solve"] }, b, gate: hidden)

right:  let x = moe(a { prompts: ["solve"] }, b { prompts: ["tell"] }, gate: hidden)
""",
    ),
    "E2311": Kind(
        "two experts have the same prompts, so the gates could not tell them apart",
        label="the same prompts",
        related=("as these",),
        help=(
            "give each expert texts of the kind that it is good at",
            "if it is to be trained anyway, `allow_identical: true` lets it be",
        ),
        explain="""\
Gates are made from prompts. Equal prompts make equal gates, so no token would ever go to one of the
two rather than to the other, whatever it is; of experts that are all alike in this the first ones
would get every token.

wrong:  let x = moe(a { prompts: ["solve"] }, b { prompts: ["solve"] }, gate: hidden)

right:  let x = moe(a { prompts: ["solve"] }, b { prompts: ["tell"] }, gate: hidden)
""",
    ),
    "E2312": Kind(
        "all {count} inputs of `{operator}`{but} are one and the same model",
        label="the same again",
        related=("this one",),
        help=(
            "take different models",
            "if it is to be trained afterwards, `{option}: true` lets it be",
        ),
        explain="""\
A mixture of equal experts gives what one of them gives, at many times the cost. As the start of a
training, where the experts grow apart, it has its use: `allow_identical: true` says so. Experts of
one model with different `noise` or `residual_scale` are not equal.

wrong:  let x = moe(a, a, gate: random)

right:  let x = moe(a, a, gate: random, allow_identical: true)
""",
    ),
    "E2313": Kind(
        "a mixture of the architecture {family} is made of {dense} models, and the base is "
        "{architecture}",
        label="does not go together",
        help=(
            "leave `architecture` out: it is found from the models{found}",
            "one of {architecture} models is {own}, which needs a shared expert: leave "
            "`architecture` out, and add one that works on every token: `x {{ shared: true }}`",
        ),
        explain="""\
A mixture keeps everything but the feed-forward layers of its dense models, so its architecture has
to know their attention and norms.

wrong:  let x = moe(a, b, gate: random, architecture: qwen3_moe)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E2314": Kind(
        "a mixture of the architecture {family} has no shared expert, and `{text}` is to be one",
        label="shared",
        help=("leave `shared: true` out", "or take `architecture: deepseek`, of Llamas"),
        explain="""\
A shared expert works on every token. Qwen2-MoE and DeepSeek-MoE have one; a Mixtral and a Qwen3-MoE
do not.

wrong:  let x = moe(a, b, c { shared: true }, gate: random, architecture: mixtral)

right:  let x = moe(a, b, c { shared: true }, gate: random)
""",
    ),
    "E2315": Kind(
        "`{text}` is a second shared expert",
        label="there can be one",
        help=("merge them first: `mean(x, y) {{ shared: true }}`",),
        explain="""\
A mixture has at most one expert that works on every token.

wrong:  let x = moe(a, b, c { shared: true }, a { shared: true }, gate: random)

right:  let x = moe(a, b, mean(a, c) { shared: true }, gate: random)
""",
    ),
    "E2316": Kind(
        "a mixture of the architecture {family} needs a shared expert",
        label="none is shared",
        help=("add one that works on every token: `x {{ shared: true }}`",),
        explain="""\
In a Qwen2-MoE one expert works on every token beside those that the gates choose.

wrong:  let x = moe(a, b, gate: random, architecture: qwen2_moe)

right:  let x = moe(a, b, c { shared: true }, gate: random, architecture: qwen2_moe)
""",
    ),
    "E2317": Kind(
        "the shared expert of the architecture {family} has no gate, and `{text}` has `prompts`",
        label="has `prompts`",
        help=("leave its `prompts` out", "or take `architecture: qwen2_moe`"),
        explain="""\
The shared expert of a DeepSeek-MoE counts the same for every token; that of a Qwen2-MoE is weighed
by a gate of its own, which is made from its prompts.

wrong:  let x = moe(
          a { prompts: ["solve"] }, b { prompts: ["tell"] }, c { shared: true, prompts: ["do"] },
          gate: hidden, architecture: deepseek
        )

right:  let x = moe(
          a { prompts: ["solve"] }, b { prompts: ["tell"] }, c { shared: true },
          gate: hidden, architecture: deepseek
        )
""",
    ),
    "E2318": Kind(
        "two inputs of `{operator}` are one and the same model, with the same options",
        label="the same again",
        related=("this one",),
        help=(
            "leave one out",
            "if it is to be trained afterwards, `{option}: true` lets it be",
        ),
        explain="""\
Two experts between which nothing makes a difference say the same, at the cost of two. One model may
well be two experts of several with prompts of different kinds. As the start of a training, where
the experts grow apart, equal ones have their use: `allow_identical: true` says so.

wrong:  let x = moe(a, a, b, gate: random)

right:  let x = moe(a, a, b, gate: random, allow_identical: true)
""",
    ),
    "E2319": Kind(
        "`{text}` has {got} layers, and the base has {wanted}",
        label="{got} layers",
        help=(
            "take models of one shape; the base is what `base:` says, else the first input",
        ),
        explain="""\
The models of a mixture have the same layers, of the same shapes.

wrong:  let x = moe(a, small, gate: random)

right:  let x = moe(a, b, gate: random)
""",
    ),
    "E2320": Kind(
        "gates from prompts need the transformers library, which is not installed",
        help=("install it: `pip install 'mergelang[transformers]'`",),
        explain="""\
`gate: hidden` runs the base of a mixture over prompts, and `gate: cheap_embed` needs its tokenizer.
Both come from the transformers library.
""",
    ),
    "E2321": Kind(
        "the tokenizer of `{folder}`, the base of the mixture, cannot be used: {reason}",
        help=("gates are made from prompts, so the base needs its tokenizer beside its weights",),
        explain="""\
Prompts are turned into tokens with the tokenizer in the folder of the base, of which the mixture
takes everything but its experts. It lacks, or transformers cannot read it.
""",
    ),
    "E2322": Kind(
        "transformers cannot build the base of the mixture from the config of `{folder}`: {reason}",
        explain="""\
For `gate: hidden` the base is built without its weights, which are then put in layer by layer.
""",
    ),
    "E2323": Kind(
        "the base of the mixture makes no numbers of the prompts: {name} would not be finite",
        help=("look for the layer where it goes wrong: `mergelang inspect {folder}`",),
        explain="""\
The states of the base over the prompts are infinite or not a number. A gate of that would break the
mixture.
""",
    ),
    "E2324": Kind(
        "the gates of the mixture cannot be kept at {path}: {reason}",
        help=(
            "`MERGELANG_CACHE=DIR` keeps what is made between runs elsewhere",
            "`--cache-limit SIZE` gives the store more room",
        ),
        explain="""\
Gates are made before the run and kept in the cache, where the run reads them, and later runs of the
same recipe.
""",
    ),
    "E2325": Kind(
        "the tokenizer of `{folder}` knows token {token}, and the base has embeddings of {rows}",
        help=("the tokenizer and the weights in the folder are not of one model",),
        explain="""\
A prompt was turned into a token for which the base of the mixture has no row in its embedding.
""",
    ),
    "E2326": Kind(
        "gates cannot be made from prompts with the vocabulary that `{text}` gets here: {why}",
        help=(
            "name the base first in `union(...)`, so that its tokens keep their ids",
            "or write the changed base as an output first, and name that as the base",
        ),
        explain="""\
Prompts are turned into tokens with the tokenizer that lies beside the base. Where its embeddings
are put in another order, or a prompt has a token that the base does not know yet, those are not the
tokens of the output, whose tokenizer is not written yet.
""",
    ),
    "E2327": Kind(
        "some layers of `{text}` attend to near tokens only, and in a mixture of the architecture "
        "{family} all do or none",
        label="its layers differ",
        help=("take a base whose layers all attend alike",),
        explain="""\
A Qwen3 may have a window of attention in its later layers (`use_sliding_window` and
`max_window_layers` in its config). In a Qwen3-MoE all layers have it, or none, so the mixture would
read long texts otherwise than its models do.
""",
    ),
    "W2312": Kind(
        "the layers of `{text}` attend to near tokens only, those of a mixture of the architecture "
        "{family} to all",
        label="reads longer texts otherwise",
        help=(
            "`architecture: {other}` keeps to its window",
            "texts of up to {window} tokens are read as they were",
        ),
        explain="""\
The base of the mixture has a window of attention, as the first Mistrals do (`sliding_window` in
their config). The code for a DeepSeek-MoE knows none. Texts no longer than the window are read as
they were; in longer ones tokens see more than the model was trained with.
""",
    ),
    "W2310": Kind(
        "the gates of `{name}` hardly tell its experts apart in {layers}",
        label="its prompts are too much alike",
        help=("give prompts that differ more, or name what an expert is not for with `avoid`",),
        explain="""\
Where the rows of a gate point nearly the same way, tokens go to experts by accident, and some
experts are hardly used. (The condition number of the gate is above 5, as mergekit-moe measures it.)
""",
    ),
    "W2311": Kind(
        "transformers has no code of its own for the architecture {family} of this mixture",
        label="loads with code from the Hub alone",
        help=(
            "`architecture: {same}` makes a model that does the same and loads as it is",
            "`architecture: {like}` makes a model much like it, which loads as it is",
            "`trust_remote_code=True` loads it, and runs the code of {repo}",
        ),
        explain="""\
The first DeepSeek-MoE is a Llama with experts and a shared expert that counts the same for every
token. Its config names code on the Hub, which has to be fetched and run to load the model; whether
that code goes with a version of transformers is for its authors. A Qwen2-MoE has a shared expert,
too, weighed by a gate of its own, and transformers knows it. With a gate of zeros, which halves
what the expert adds to any token, and the expert's last matrices doubled, it does the same; gates
from prompts are made so, random ones are random for the shared expert, too. A Mixtral does the same
where no expert is shared. With `top_k: 1` none does.
""",
    ),
    "W2314": Kind(
        "with `top_k: 1` a mixture of the architecture {family} counts an expert by its "
        "probability alone",
        label="most of the feed-forward layers is lost",
        help=(
            "`architecture: {other}` counts it whole, and loads as it is",
            "or let two work on each token: `top_k: 2`",
        ),
        explain="""\
The gate gives each expert a probability, and what the chosen experts say is weighed by theirs. The
other architectures make the weights of those that are chosen sum to one, so that a mixture of equal
experts is the model itself. The code of DeepSeek-MoE does so for two experts a token and more: of
one alone it takes, say, the half that its probability is. Such a mixture has to be trained.
""",
    ),
}
