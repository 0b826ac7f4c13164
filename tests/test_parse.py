"""Text to tree: every construct of the language, and what text may look like around it."""

import re
from fractions import Fraction

import pytest
from lark import Lark

from mergelang.lang import ast, parse, parser
from mergelang.source import Source


def tree(text):
    recipe, problems = parse(Source("x.merge", text))
    assert [str(each) for each in problems] == []
    return recipe.statements


def codes(text):
    return [each.code for each in parse(Source("x.merge", text))[1]]


def sketch(node):
    """A tree as one line: `(+ a (* 1/2 b))`."""
    match node:
        case None:
            return ""
        case tuple():
            return " ".join(map(sketch, node))
        case ast.Number(value, unit):
            return f"{value}{unit and ' '}{unit}"
        case ast.String(value) | ast.Glob(value):
            return f'"{value}"'
        case ast.Bool(value):
            return str(value)
        case ast.Name(value) | ast.Word(value):
            return value
        case ast.Role(value):
            return f"@{value}"
        case ast.Anything():
            return "_"
        case ast.Range(low, high):
            return f"{'' if low is None else low}..{'' if high is None else high}"
        case ast.Layers(cut, module):
            return f"layers{f'({module})' if module else ''} {sketch(cut)}"
        case ast.Entry(key, value):
            return f"{sketch(key)}: {sketch(value)}"
        case ast.Record(entries):
            return f"{{{sketch(entries)}}}"
        case ast.Map(entries):
            return f"map{{{sketch(entries)}}}"
        case ast.List(items):
            return f"[{sketch(items)}]"
        case ast.Argument(name, value, record):
            named = f"{name.id}: " if name else ""
            return named + sketch(value) + sketch(record)
        case ast.Arm(pattern, value):
            return f"({sketch(pattern)} => {sketch(value)})"
    head = {
        ast.Attribute: ".", ast.Slice: "slice", ast.Call: "call", ast.Match: "match",
        ast.Not: "!", ast.And: "&", ast.Or: "|",
    }.get(type(node))  # fmt: skip
    parts = [value for key, value in vars(node).items() if key not in ("span", "op")]
    head = head or getattr(node, "op", None) or type(node).__name__.lower()
    parts = [str(part) if isinstance(part, int) else sketch(part) for part in parts]
    return f"({' '.join([head, *filter(None, parts)])})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mergelang 1", "(edition 1)"),
        ("seed 42", "(seed 42)"),
        ('use "other.merge" as house', '(use "other.merge" house)'),
        ("param t = 0.4", "(param t 2/5)"),
        ("param t = 0.4 { min: 0, max: 1 }", "(param t 2/5 {min: 0 max: 1})"),
        ('model a = "hf:org/name@24c0bea"', '(model a "hf:org/name@24c0bea")'),
        ("let x = a", "(let x a)"),
        ('output "out" = a', '(output "out" a)'),
        ('output "out" = a { dtype: bf16 }', '(output "out" a {dtype: bf16})'),
        ('output "out" = mean(a) {}', '(output "out" (call mean a) {})'),
    ],
)
def test_statements(text, expected):
    assert sketch(tree(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Literals
        ("3", "3"),
        ("0.50", "1/2"),
        ("1e-3 + 1E2 + 2.5e+1", "(+ (+ 1/1000 100) 25)"),
        ("90%", "9/10 %"),
        ("5GB", "5000000000 GB"),
        ("1.5kB", "1500 kB"),
        ("2KiB", "2048 KiB"),
        ("2kiB", "2048 kiB"),
        ("3MiB", "3145728 MiB"),
        ("7B", "7 B"),
        ('"a\\"b\\\\c"', '"a"b\\c"'),
        ('"a # b"', '"a # b"'),
        ('"(["', '"(["'),
        ("true", "True"),
        ("false", "False"),
        ("[]", "[]"),
        ('["a", "b",]', '["a" "b"]'),
        ('{ "<pad>": zero, "b": 1 }', 'map{"<pad>": zero "b": 1}'),
        ("{}", "map{}"),
        ("0..8", "0..8"),
        ("8 ..", "8.."),
        ("..8", "..8"),
        # Algebra
        ("a + b * c", "(+ a (* b c))"),
        ("(a + b) * c", "(* (+ a b) c)"),
        ("a - b - c", "(- (- a b) c)"),
        ("a - (b - c)", "(- a (- b c))"),
        ("a / b * c", "(* (/ a b) c)"),
        ("-a * -b", "(* (- a) (- b))"),
        ("--a", "(- (- a))"),
        ("-a[1..2]", "(- (slice a 1..2))"),
        ("(\n a\n + b\n)", "(+ a b)"),
        # Calls and what stands behind a value
        ("f()", "(call f)"),
        ("f(a, b,)", "(call f a b)"),
        ("f(a { w: 0.5 }, b {}, t: -1)", "(call f a{w: 1/2} b{} t: (- 1))"),
        ("f(a + b { w: 1, }, base: base)", "(call f (+ a b){w: 1} base: base)"),
        ("f(t: { \"a\": 1 })", '(call f t: map{"a": 1})'),
        ("house.blend", "(. house blend)"),
        ("house.inner.blend[..4]", "(slice (. (. house inner) blend) ..4)"),
        ("house.ties(a)", "(call (. house ties) a)"),
        ("f(a)[8..][..4]", "(slice (slice (call f a) 8..) ..4)"),
        ("f(missing: skip, config: from(a))", "(call f missing: skip config: (call from a))"),
        ("curve(0, 0.5)", "(call curve 0 1/2)"),
    ],
)  # fmt: skip
def test_expressions(text, expected):
    assert sketch(tree(f"let x = {text}")) == f"(let x {expected})"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("mlp", "mlp"),
        ("layers", "layers"),
        ("let", "let"),
        ('"*.q_proj.*"', '"*.q_proj.*"'),
        ("layers 0..8", "layers 0..8"),
        ("layers 8..", "layers 8.."),
        ("layers ..8", "layers ..8"),
        ("@attn", "@attn"),
        ("_", "_"),
        ("!mlp", "(! mlp)"),
        ("!!mlp", "(! (! mlp))"),
        ("a & b & c", "(& (& a b) c)"),
        ("a | b & !c", "(| a (& b (! c)))"),
        ("!(a | b) & c", "(& (! (| a b)) c)"),
        ("layers 0..8 & !@norm | @head", "(| (& layers 0..8 (! @norm)) @head)"),
    ],
)
def test_patterns(pattern, expected):
    text = f"let x = match {{ {pattern} => 1, _ => curve(0, 1), }}"
    assert sketch(tree(text)) == f"(let x (match ({expected} => 1) (_ => (call curve 0 1))))"


WORDS = ("mergelang", "seed", "use", "as", "param", "model", "let", "output", "layers", "from",
         "curve", "skip", "matches", "trues", "_a", "é", "模型")  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_every_word_but_the_reserved_may_be_a_name(word):
    text = "let w = w + f(w { w: w }, w: w.w)"
    expected = "(let w (+ w (call f w{w: w} w: (. w w))))"
    both = (re.sub(r"\bw\b", word, each) for each in (text, expected))
    assert sketch(tree(next(both))) == next(both)
    assert sketch(tree(f'use "x" as {word}')) == f'(use "x" {word})'


@pytest.mark.parametrize("word", ["match", "true", "false", "_"])
def test_reserved_words_are_no_names(word):
    assert codes(f"let {word} = 1") == ["E0109"]


@pytest.mark.parametrize(
    "text", ["lett = x", "letx = 1", 'modelx = "a"', "paramt = 1", "seed42", 'outputs "a" = x']
)
def test_a_statement_word_ends_where_a_word_ends(text):
    assert codes(text) == ["E0102"]


def test_what_follows_a_statement_word_may_follow_it_closely():
    assert sketch(tree('output"out"=a{dtype:bf16}')) == '(output "out" a {dtype: bf16})'
    assert sketch(tree('use"a"as b')) == '(use "a" b)'


EXPECTED = '(model a "ü") (let x (call f a (+ a 1)))'
LINES = ['model a = "ü"', "let x = f(", "  a,", "  a + 1", ")"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n".join(LINES), id="no newline at the end"),
        pytest.param("\r\n".join([*LINES, ""]), id="line ends of Windows"),
        pytest.param("\ufeff" + "\n".join(LINES), id="byte order mark"),
        pytest.param("\n\n  \n" + "\n\n\n".join(LINES) + "\n\n", id="blank lines"),
        pytest.param("\n".join(LINES).replace(" ", "\t"), id="tabs"),
        pytest.param("\n".join(LINES).replace(" ", "\u00a0"), id="blanks that do not break"),
        pytest.param("\n".join(f"{line}# ) \" }}" for line in LINES), id="comments behind"),
        pytest.param("# (\n" + "\n# [\n".join(LINES) + "\n#", id="comments between"),
        pytest.param("  " + "\n  ".join(LINES), id="indented"),
    ],
)
def test_the_same_recipe_written_otherwise(text):
    assert sketch(tree(text)) == EXPECTED


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", "# nothing", "\t \r\n"])
def test_a_file_may_hold_nothing(text):
    assert tree(text) == ()


def test_comments_are_kept_beside_the_tree():
    text = '# one\nlet x = f( # two\n a) # "three"\r\nlet y = "# no"\n#'
    recipe, _ = parse(Source("x.merge", text))
    assert [each.text for each in recipe.comments] == ["# one", "# two", '# "three"', "#"]
    assert all(each.span.text == each.text for each in recipe.comments)


def test_spans_hold_what_was_written():
    source = Source("x.merge", '\nlet x = a + f( b { w: "ü" } )[..2]  # c\n')
    (statement,) = parse(source)[0].statements
    assert statement.span.text == 'let x = a + f( b { w: "ü" } )[..2]'
    slice = statement.value.right
    assert slice.span.text == 'f( b { w: "ü" } )[..2]'
    argument = slice.value.arguments[0]
    assert (argument.span.text, argument.record.span.text) == ('b { w: "ü" }', '{ w: "ü" }')
    assert source.position(argument.record.entries[0].value.span.start) == (2, 23)


def test_equal_trees_may_stand_in_different_places():
    assert tree("let x = a+b") == tree("\n\nlet x = (a) + b # c\n")
    assert tree("let x = a+b") != tree("let x = a-b")


# Recovery: each mistake is told once, and what stands after it is read


@pytest.mark.parametrize(
    ("text", "found", "read"),
    [
        ("let x = f(a\nlet y = g(b\nlet z = c", ["E0104", "E0104"], ["z"]),
        ("let x = [f({ a\nlet z = c", ["E0104"], ["z"]),
        ("let x = f(a\n  let = b\n)\nlet z = c", ["E0108"], ["z"]),
        ("let x = f(\nlet: b,\n)\nlet z = c", [], ["x", "z"]),
        ("let x = f(a]\nlet z = c", ["E0105"], ["z"]),
        ("let x = a)\n]\nlet z = c", ["E0105", "E0105"], ["z"]),
        ('let x = "a\nlet z = c', ["E0106"], ["z"]),
        ('let x = f("a\nlet z = c', ["E0106"], ["z"]),
        ("let x = = a\nlet y = a +\nlet z = c", ["E0101", "E0110"], ["z"]),
        ("let x = a\n+ b\nlet z = c", ["E0103"], ["z"]),
        ("x = f(\n a\n)\nlet z = c", ["E0102"], ["z"]),
    ],
)
def test_a_mistake_ends_with_its_statement(text, found, read):
    recipe, problems = parse(Source("x.merge", text))
    assert [each.code for each in problems] == found
    assert [each.name.id for each in recipe.statements] == read


def test_an_unclosed_bracket_is_told_where_it_was_opened_and_where_it_had_to_end():
    _, (problem,) = parse(Source("x.merge", "let x = mean(a, b\n\nlet y = a\n"))
    assert (problem.span.start, problem.span.text) == (12, "(")
    assert problem.related[0].text == "let"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("let x = " + "(" * 9000 + "a" + ")" * 9000, []),
        ("let x = f(" + ", ".join(["a"] * 5000) + ")", []),
        ("let x = f(" + "a, " * 5000, ["E0104"]),
        ("let x = " + "-" * 3000 + "a", ["E0124"]),
        ("let x = " + " + ".join(["a"] * 3000), ["E0124"]),
        ("let x = " + "f(" * 3000 + ")" * 3000, ["E0124"]),
        ("let x = " + "[" * 9000, ["E0104"]),
        ("let x = a" + "[..1]" * 3000, ["E0124"]),
        ("let x = match { " + "!" * 3000 + "a => 1 }", ["E0124"]),
        (")" * 9000, ["E0105"]),
        ("let x = " + "9" * 9000, ["E0127"]),
        ("let x = 1e999999999", ["E0127"]),
        ("let x = a[.." + "9" * 9000 + "]", ["E0127"]),
        ("seed " + "9" * 9000, ["E0127"]),
        ("let " + "x" * 99999 + " = a  #" + "#" * 99999, []),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_very_long_and_very_deep_text_is_read_or_told(text, found):
    assert codes(text) == found


# The grammar and its tables


def test_the_grammar_is_strictly_unambiguous():
    Lark(parser.grammar(), strict=True, **parser.OPTIONS)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A parser that is built anew, with its cache in an empty folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MERGELANG_CACHE", str(folder))
    parser.parser.cache_clear()
    yield folder
    parser.parser.cache_clear()


def test_the_tables_are_kept_in_our_cache_folder_only(fresh, monkeypatch, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert tree("let x = a")
    (file,) = fresh.iterdir()
    assert re.fullmatch(r"grammar-\w{16}\.tables", file.name)
    assert fresh.stat().st_mode & 0o077 == 0
    assert list(temporary.iterdir()) == []


def test_the_tables_are_read_from_the_cache(fresh, monkeypatch):
    tree("let x = a")
    parser.parser.cache_clear()
    monkeypatch.setattr("lark.lark.load_grammar", None)
    assert sketch(tree("let x = a + b")) == "(let x (+ a b))"


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x80\x04.", "half"])
def test_a_damaged_cache_is_made_anew(fresh, content, monkeypatch, capfd):
    tree("let x = a")
    (file,) = fresh.iterdir()
    sound = file.read_bytes()
    file.write_bytes(sound[: len(sound) // 2] if content == "half" else content)
    parser.parser.cache_clear()
    assert sketch(tree("let x = a + b")) == "(let x (+ a b))"
    parser.parser.cache_clear()
    monkeypatch.setattr("lark.lark.load_grammar", None)
    assert tree("let x = a")
    assert capfd.readouterr() == ("", "")


def test_parsing_needs_no_cache(fresh, monkeypatch, capfd):
    fresh.write_text("a file where the folder should be")
    assert tree("let x = a")
    parser.parser.cache_clear()
    fresh.unlink()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert tree("let x = a")
    assert list(fresh.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_numbers_are_exact():
    (statement,) = tree("let x = 0.1 + 0.2")
    assert statement.value.left.value + statement.value.right.value == Fraction(3, 10)
