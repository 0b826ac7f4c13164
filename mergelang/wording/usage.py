"""E10: the command line."""

from mergelang.wording.kind import Kind

USAGE: dict[str, Kind] = {
    "E1001": Kind(
        "cannot read {path}: {reason}",
        help=("did you mean {near}?", "give the path of a .merge file"),
        explain="The recipe named on the command line is not there or may not be read.\n",
    ),
    "E1002": Kind(
        "{path} is not text: byte {offset} is no character of a text",
        help=("recipes are UTF-8 text files; did you name a model by mistake?",),
        explain="A recipe is a UTF-8 text file.\n",
    ),
    "E1003": Kind(
        "{path} is a file of mergekit: `{command}` takes recipes",
        help=("`mergelang import {path} -o {recipe}` makes a recipe of it",),
        explain="""\
`check`, `plan`, `graph`, `run` and `tui` take mergekit's YAML files as they are. What works on the
text of a recipe, such as `fmt`, takes recipes only.
""",
    ),
    "E1004": Kind(
        "`-o` redirects one output, and this run has {count}",
        help=("name the output to run: `mergelang run RECIPE OUTPUT -o DIR`",),
        explain="`-o DIR` takes the place of the path of the only output that is run.\n",
    ),
    "E1005": Kind(
        "the recipe has no output `{name}`",
        help=("its outputs: {known}",),
        explain="Outputs are named on the command line by their path, as the recipe writes it.\n",
    ),
    "E1006": Kind(
        "{recipe} has no output to run",
        help=('add one: `output "out/merged" = ...`',),
        explain="""\
A recipe says what to write with `output "folder" = expression`. One without outputs can be checked
and used by others, but there is nothing to plan or to run.
""",
    ),
    "E1007": Kind(
        "`{text}` is not a {what}",
        help=("write it like {example}",),
        explain="An option of the command line could not be read.\n",
    ),
    "E1008": Kind(
        "there is no code {name}",
        help=("did you mean {suggestion}?", "all codes: `mergelang explain`"),
        explain="`mergelang explain CODE` explains one code; without a code it lists them all.\n",
    ),
    "E1009": Kind(
        "there is no operator `{name}`",
        help=("did you mean `{suggestion}`?", "all operators: `mergelang ops`"),
        explain="`mergelang ops NAME` describes one operator; without a name it lists them all.\n",
    ),
    "E1010": Kind(
        "there is no command `{name}`",
        help=("did you mean `{suggestion}`?", "all commands: `mergelang --help`"),
        explain="The first word after `mergelang` is a command, such as check, plan or run.\n",
    ),
    "E1011": Kind(
        "`{command}` has no option `{option}`",
        help=("did you mean `{suggestion}`?", "its options: `{command} --help`"),
        explain="No option is ever accepted and ignored, so one that is not known is an error.\n",
    ),
    "E1012": Kind(
        "`{command}`: {message}",
        help=("`{command} --help` shows how it is called",),
        explain="An argument is missing, or an option has no value or one too many.\n",
    ),
    "E1013": Kind(
        "`{command}` has no use for `{text}`",
        help=("quote a path that holds spaces", "`{command} --help` shows how it is called"),
        explain="There are more arguments than the command takes.\n",
    ),
    "E1014": Kind(
        "`{one}` and `{other}` do not go together",
        help=("leave one of them out",),
        explain="Two options ask for different things.\n",
    ),
    "E1015": Kind(
        "the terminal view needs a terminal",
        help=("`mergelang graph RECIPE` prints the graph", "`mergelang run RECIPE` runs it"),
        explain="""\
`mergelang tui` draws on the whole terminal and reads keys, so its input and output cannot be a file
or a pipe.
""",
    ),
    "E1016": Kind(
        "cannot write {path}: {reason}",
        help=("check that the file and its folder may be written",),
        explain="The file could not be written; what was there is as it was before.\n",
    ),
    "E1017": Kind(
        "the recipe has {count} outputs, and one is exported at a time",
        help=("name it: `mergelang export RECIPE OUTPUT`; they are {known}",),
        explain="A file of mergekit makes one model.\n",
    ),
}
