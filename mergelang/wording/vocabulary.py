"""E24..: vocabularies, tokenizers and chat templates."""

from mergelang.wording.kind import Kind

VOCABULARY: dict[str, Kind] = {
    "E2401": Kind(
        "the vocabularies of `{first}` and `{other}` differ: {how}",
        label="counts its tokens otherwise",
        related=("than this",),
        help=(
            "let the output align them: `{{ tokenizer: union({models}) }}`",
        ),
        explain="""\
Row 17 of an embedding belongs to token 17 of its model's tokenizer. Where two models number their
tokens otherwise, merging row by row mixes embeddings of different words: the result loads and
speaks nonsense. With the option `tokenizer` every model's rows are first put in the order of one
vocabulary.

wrong:  output "out" = mean(base, chat)

right:  output "out" = mean(base, chat) { tokenizer: union(base, chat) }
""",
    ),
    "E2402": Kind(
        "`{text}` names no vocabulary",
        label="`union(...)` or `from(x)` is wanted",
        help=("for instance `union(base, chat)`, or `from(chat)` for that of one model",),
        explain="""\
A vocabulary is that of one model, `from(chat)`, or the union of several, `union(base, chat)`, whose
first model's tokens keep their ids. `union(base, chat, math, base: base)` says whose rows are taken
for a token that a model lacks, where that model has it.

wrong:  output "out" = x { tokenizer: "chat" }

right:  output "out" = x { tokenizer: from(chat) }
""",
    ),
    "E2403": Kind(
        "`tokens` maps texts of tokens to where their rows come from, not to {got}",
        label="no source of a row",
        help=(
            '`from(x)`, `zero`, or `token(x, "<|other|>")` with the text or the id of a token; '
            "each may have `force: true`",
        ),
        explain="""\
`tokens` says for single tokens where their row comes from, in models that lack them: from a model,
zeros, or from another token of a model. With `force: true` also in models that have the token.

wrong:  output "out" = x { tokenizer: union(a, b), tokens: { "<|im_start|>": b } }

right:  output "out" = x { tokenizer: union(a, b), tokens: { "<|im_start|>": from(b) } }
""",
    ),
    "E2404": Kind(
        "`pad_vocab` is a whole number of rows, not {got}",
        label="not a whole number from 1 on",
        help=("for instance `pad_vocab: 64`",),
        explain="""\
The tables of the output get a multiple of `pad_vocab` rows. 1 pads nothing.

wrong:  output "out" = x { tokenizer: from(a), pad_vocab: 0.5 }

right:  output "out" = x { tokenizer: from(a), pad_vocab: 64 }
""",
    ),
    "E2405": Kind(
        "`{text}` comes without a tokenizer, so nobody knows what its rows stand for",
        label="has to be aligned",
        related=("no tokenizer.json, vocab.json, vocab.txt or tokenizer.model beside it",),
        help=(
            "put the tokenizer files of the model that it was made from, or with which it was "
            "trained, into its folder",
        ),
        explain="""\
Rows are aligned by the tokens that they stand for, which the tokenizer of each model says:
tokenizer.json, vocab.json, vocab.txt or tokenizer.model. A fine-tune saved without its tokenizer
mostly has that of its base.

wrong:  output "out" = mean(base, bare) { tokenizer: from(base) }

right:  output "out" = mean(base, chat) { tokenizer: from(base) }
""",
    ),
    "E2406": Kind(
        "`{text}` is no model with rows of its own, but an expression",
        label="a merge, a piece or a sum",
        help=("name a model that a `model` statement names",),
        explain="""\
`from(x)` and `token(x, "...")` take a row of a stored model, before anything is merged.

wrong:  let soup = mean(base, chat)
        output "out" = soup { tokenizer: from(chat), tokens: { "<s>": from(soup) } }

right:  let soup = mean(base, chat)
        output "out" = soup { tokenizer: from(chat), tokens: { "<s>": from(chat) } }
""",
    ),
    "E2407": Kind(
        "`{text}` has no row for the token `{token}`",
        label="nothing to take",
        help=("its tables have {rows} rows",),
        explain="""\
The token is not in the tokenizer of that model, or has an id beyond the rows of its embedding.

wrong:  output "out" = base { tokenizer: from(base), tokens: { "<|x|>": from(base) } }

right:  output "out" = base { tokenizer: from(base), tokens: { "<|x|>": token(base, "<s>") } }
""",
    ),
    "E2408": Kind(
        "`{text}` has tensors with an axis of {rows}, as long as its vocabulary, and names that do "
        "not say whether it counts tokens: {names}",
        label="cannot be aligned",
        related=("this model",),
        help=(),
        explain="""\
Embeddings, heads and their biases are known by their names. A tensor outside the layers that has
exactly as many rows or columns as the vocabulary, under a name that is not known, may be one of
them or not; aligning the others and not this one would break the model, so it is not guessed.
""",
    ),
    "E2409": Kind(
        "`{text}` is to give the row of `{token}`, and has no table that fits {name}",
        label="of the rows that are wanted, one cannot be taken",
        help=("take the row from a model with rows of this width",),
        explain="""\
A row can be taken from a model that has a table of the same name, or of the same use, with rows of
the same width. Of a model with tied embeddings the embedding is the head, too.
""",
    ),
    "E2410": Kind(
        "a part of this is over a vocabulary of its own already",
        label="is put over another one",
        related=("here",),
        help=("leave out one of the two",),
        explain="""\
Rows are aligned once, from the stored tables. What `retokenize` made cannot be aligned again.

wrong:  let x = retokenize(chat, to: union(base, chat))
        output "out" = x { tokenizer: from(base) }

right:  output "out" = chat { tokenizer: from(base) }
""",
    ),
    "E2411": Kind(
        "`{name}(...)` has no value of its own",
        label="only where a vocabulary is chosen",
        help=(
            "`tokenizer: union(a, b)` in the record of an output, `to: union(a, b)` in "
            '`retokenize`; `token(a, "<s>")` in `tokens:`; `file("x.jinja")` in `chat_template:`',
        ),
        explain="""\
`union(...)` names a vocabulary and `token(...)` the row of a token; both stand only in the options
that ask for one.

wrong:  let x = union(base, chat)

right:  let x = retokenize(chat, to: union(base, chat))
""",
    ),
    "E2412": Kind(
        "`retokenize` takes one model and `to:`",
        label="not of that form",
        help=("`retokenize(x, to: union(a, b))`, or `to: a` for the vocabulary of one model",),
        explain="""\
`retokenize(x, to: ...)` is x with the rows of its embeddings and head in the order of another
vocabulary. Of a merge every model is aligned before it is merged.

wrong:  let x = retokenize(chat, base)

right:  let x = retokenize(chat, to: base)
""",
    ),
    "E2413": Kind(
        "`{name}` counts only with `tokenizer`",
        label="there is no vocabulary to apply it to",
        help=("say which vocabulary the output has: `tokenizer: union(a, b)`",),
        explain="""\
`tokens` and `pad_vocab` say how the tables of a vocabulary are made that the output asks for.

wrong:  output "out" = x { pad_vocab: 64 }

right:  output "out" = x { tokenizer: from(base), pad_vocab: 64 }
""",
    ),
    "E2414": Kind(
        "a chat template is wanted, not {got}",
        label="no template",
        help=('`"chatml"`, `from(chat)`, `auto` or `file("x.jinja")`',),
        explain="""\
A chat template is a format by its name, that of a model, the one that most models of the output
have (`auto`), a file, or the template itself as a string.

wrong:  output "out" = x { chat_template: 3 }

right:  output "out" = x { chat_template: from(chat) }
""",
    ),
    "E2415": Kind(
        "there is no chat template `{text}`",
        label="unknown format",
        help=("did you mean `{suggestion}`?", "known are {known}",
              'a file is written `file("{file}")`'),
        explain="""\
Formats are known by name: chatml, llama3, mistral and others. A text with braces in it is taken for
a template itself.

wrong:  output "out" = x { chat_template: "chatlm" }

right:  output "out" = x { chat_template: "chatml" }
""",
    ),
    "E2416": Kind(
        "`{text}` has no chat template",
        label="nothing to take",
        help=("take one by name, for instance `chat_template: \"chatml\"`",),
        explain="""\
A model's template stands in chat_template.jinja, or in tokenizer_config.json. Base models mostly
have none.

wrong:  output "out" = x { chat_template: from(base) }

right:  output "out" = x { chat_template: from(chat) }
""",
    ),
    "E2417": Kind(
        "the chat template `{path}` cannot be read: {reason}",
        label="cannot be read",
        help=("the path starts from the folder of the recipe",),
        explain="""\
`file("x.jinja")` is a text file of UTF-8 with a Jinja template in it.

wrong:  output "out" = x { chat_template: file("lost.jinja") }

right:  output "out" = x { chat_template: "chatml" }
""",
    ),
    "E2418": Kind(
        "a chat template belongs to a tokenizer, and the output has none",
        label="there is no tokenizer to use it",
        help=("put the tokenizer files beside the model that the output's config comes from",),
        explain="""\
The template is applied by the tokenizer of the output, which is that of the model that its config
comes from. That model has none in its folder.

wrong:  output "out" = bare { chat_template: "chatml" }

right:  output "out" = chat { chat_template: "chatml" }
""",
    ),
    "E2419": Kind(
        "{first} and {name} of this output count their tokens otherwise: {how}",
        label="its tables are of different vocabularies",
        help=(
            "let the output align them: `{{ tokenizer: union({models}) }}`",
            "put each model's tokenizer files beside it, so that an output can align them{untold}",
        ),
        explain="""\
The rows of the embedding and those of the head stand for the tokens of one tokenizer. Taken from
models whose tokenizers differ, they make a model that reads one language and writes another.

wrong:  output "out" = stack(base[..2], chat[2..])

right:  output "out" = stack(base[..2], chat[2..]) { tokenizer: union(base, chat) }
""",
    ),
    "E2420": Kind(
        "the adapter `{text}` changes {name}, whose rows are to be moved",
        label="aligns the tables of stored models",
        related=("this adapter",),
        help=(
            "add the adapter to its base in a recipe of its own, and use the result here",
            'it brings tokens: its output has the option `tokenizer: from(lora("{own}"))`',
        ),
        explain="""\
Rows are aligned as they are stored. Where an adapter has factors for the embedding or the head, its
rows come to be only when it is added to its base. Tables that it holds whole (`modules_to_save`)
are aligned like those of a model.

wrong:  output "out" = base + lora("head") { tokenizer: union(base, chat) }

right:  output "out" = base + lora("adapter") { tokenizer: union(base, chat) }
""",
    ),
    "E2421": Kind(
        "`{text}` says of no token where its row is: the adapter holds no table of them whole",
        label="no vocabulary of its own",
        help=("it has that of the model that it was trained on: `from(base)`",),
        explain="""\
An adapter that was trained with new tokens holds the embedding and the head whole, with a row for
each token of its tokenizer, and `from(lora("./a"))` is that vocabulary. Without them it changes a
model whose tokens stay as they are.

wrong:  output "out" = base { tokenizer: from(lora("adapter")) }

right:  output "out" = base + lora("grown", base: base) { tokenizer: from(lora("grown")) }
""",
    ),
    "W2401": Kind(
        "the chat template `{name}` uses tokens that the vocabulary does not have: {tokens}",
        label="they will be cut into pieces",
        help=(
            "take them from a model that has them, `tokenizer: union(...)`, or add them: "
            '`tokenizer: from(x), tokens: {{ "{first}": zero }}`',
        ),
        explain="""\
The format marks turns with tokens of its own. A vocabulary without them spells them out in pieces
that the model never saw in this place, and generation does not know where to stop.
""",
    ),
    "W2402": Kind(
        "none of the models has a chat template, so the output gets none",
        label="nothing to choose from",
        help=('name one: `chat_template: "chatml"`',),
        explain="""\
`chat_template: auto` takes the template that most models of the output have.

wrong:  output "out" = base { chat_template: auto }

right:  output "out" = chat { chat_template: auto }
""",
    ),
    "W2403": Kind(
        "no model has the token `{token}`, so it is added",
        label="a token of its own",
        help=("did you mean `{near}`?",),
        explain="""\
`tokens:` may name tokens that no model has: they are added to the vocabulary. This one is written
nearly as one that is there. If it is meant, nothing is wrong.

wrong:  output "out" = base { tokenizer: union(base, chat), tokens: { "<|im_ned|>": zero } }

right:  output "out" = base { tokenizer: union(base, chat), tokens: { "<|im_end|>": zero } }
""",
    ),
}  # fmt: skip
