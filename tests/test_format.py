"""The formatter: it keeps the meaning and all comments, and has one way to write a thing."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings

from mergelang.lang import format, parse
from mergelang.lang.format import WIDTH
from mergelang.source import Source
from tests.recipes import texts


def read(text):
    recipe, problems = parse(Source("x.merge", text))
    assert [str(each) for each in problems] == []
    return recipe


@given(texts())
@settings(max_examples=200, deadline=None)
def test_formatting_keeps_the_meaning_and_each_comment_in_its_order_and_is_done_once(text):
    before = read(text)
    once = format(before)
    after = read(once)
    assert after == before
    assert [each.text for each in after.comments] == [each.text for each in before.comments]
    assert format(after) == once
    assert once == "" or (once.endswith("\n") and not once.startswith("\n"))
    assert not re.search(r"[ \t]\n|\n\n\n", once)


OPENED = re.compile(r"[(\[{] ?[^ )\]}.\d]")


@given(texts())
@settings(max_examples=100, deadline=None)
def test_a_line_is_long_only_where_it_cannot_be_broken(text):
    for line in format(read(text)).splitlines():
        code = re.sub(r"  # \d.*", "", line)
        assert len(code) <= WIDTH or not OPENED.search(code), code


def formatted(text):
    return format(read(dedent(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mergelang   1\nseed\t7", "mergelang 1\nseed 7\n"),
        ('use"a.merge"as b', 'use "a.merge" as b\n'),
        ('model  a="x"', 'model a = "x"\n'),
        ("param t=.4{min:0,max:1,}".replace("=.", "=0."), "param t = 0.4 { min: 0, max: 1 }\n"),
        ('output "o"=f( a,b, ){dtype:bf16}', 'output "o" = f(a, b) { dtype: bf16 }\n'),
        ("let x=a+b*-c/(d-e)", "let x = a + b * -c / (d - e)\n"),
        ("let x=((a)+(b*c))-(d+e)", "let x = a + b * c - (d + e)\n"),
        ("let x=(a[ 1 .. 2 ])[..3]", "let x = a[1..2][..3]\n"),
        ("let x=(a+b)[ 8 .. ]", "let x = (a + b)[8..]\n"),
        ("let x=[1,2 ,]", "let x = [1, 2]\n"),
        ('let x={"a":1}', 'let x = { "a": 1 }\n'),
        ("let x=f( )", "let x = f()\n"),
        (
            "let x=match{a&(b|!c)=>1,((a)|b)=>2,(layers 1 .. 2)=>3,_=>4}",
            "let x = match { a & (b | !c) => 1, a | b => 2, layers 1..2 => 3, _ => 4 }\n",
        ),
        ("let x = 0.50 + 1E-3 + 90% + 5GB", "let x = 0.50 + 1E-3 + 90% + 5GB\n"),
        ('let x = "\t\\t\\"\\\\"', 'let x = "\\t\\t\\"\\\\"\n'),
        ("let x = a\n\n\n\nlet y = b\nlet z = c\n\n", "let x = a\n\nlet y = b\nlet z = c\n"),
        ("\ufefflet x = a\r\nlet y = b", "let x = a\nlet y = b\n"),
        ("\n\n# only a comment  \n\n", "# only a comment\n"),
        ("", ""),
    ],
)
def test_what_fits_stands_on_one_line(text, expected):
    assert format(read(text)) == expected


LONG = """\
    let blend = dare_ties(zephyr { weight: 0.5, density: 0.6 }, math { weight: 0.5 }, base: base)
    let soup = 0.4 * zephyr_of_the_east + 0.3 * mistral_of_the_south - 0.3 * tramontana_north
    let mixed = match { @attn => slerp(zephyr, math, t: 0.3), @embed | @head => base, _ => soup }
    let deep = linear(zephyr { weight: match { mlp => curve(0.1, 0.2), layers 0..8 & !@norm => 0.5, _ => 0.4 } }, math)
    output "out/blend_of_all_of_them" = slerp(blend, mixed, t: 0.5)[..24] { dtype: bf16, shards: 2GB }
    """  # noqa: E501

BROKEN = """\
let blend = dare_ties(
  zephyr { weight: 0.5, density: 0.6 },
  math { weight: 0.5 },
  base: base,
)
let soup = (
  0.4 * zephyr_of_the_east
  + 0.3 * mistral_of_the_south
  - 0.3 * tramontana_north
)
let mixed = match {
  @attn => slerp(zephyr, math, t: 0.3),
  @embed | @head => base,
  _ => soup,
}
let deep = linear(
  zephyr {
    weight: match { mlp => curve(0.1, 0.2), layers 0..8 & !@norm => 0.5, _ => 0.4 },
  },
  math,
)
output "out/blend_of_all_of_them" = slerp(
  blend,
  mixed,
  t: 0.5,
)[..24] { dtype: bf16, shards: 2GB }
"""


def test_what_does_not_fit_has_one_input_a_line_and_a_comma_behind_the_last():
    assert formatted(LONG) == BROKEN


def test_inputs_are_never_put_in_another_order():
    text = "let x = f(b { w: 1, a: 2 }, a, z: 1, c: 2)\nlet y = match { b => 1, a => 2, _ => 3 }\n"
    assert formatted(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            """\
            #one

              # two
            let x = a    # three
            # four


            # five
            let y = b""",
            """\
            #one

            # two
            let x = a  # three
            # four

            # five
            let y = b
            """,
            id="between statements",
        ),
        pytest.param(
            """\
            let x = f( # why
              a, # the first
              # about b
              b { w: 1, # heavy
                  d: 2 }, t: 0.5 # middle
              # no more
            ) # done""",
            """\
            let x = f(
              # why
              a,  # the first
              # about b
              b {
                w: 1,  # heavy
                d: 2,
              },
              t: 0.5,  # middle
              # no more
            )  # done
            """,
            id="in a call",
        ),
        pytest.param(
            """\
            let x = ( # both
              0.6 * a # the good one
              # the other
              + 0.4 * b # with less
              # that is all
            )""",
            """\
            let x = (
              # both
              0.6 * a  # the good one
              # the other
              + 0.4 * b  # with less
              # that is all
            )
            """,
            id="in a sum",
        ),
        pytest.param(
            """\
            let x = match { mlp # feed
                => 1, _ => [ # list
                2, 3], # rest
            }
            output "o" = x { # how
            }""",
            """\
            let x = match {
              # feed
              mlp => 1,
              _ => [
                # list
                2,
                3,
              ],  # rest
            }
            output "o" = x {
              # how
            }
            """,
            id="in a match, a list, a record",
        ),
        pytest.param(
            """\
            let x = f(
              a # one
              . # two
              b { # three
                w: - # four
                  c })""",
            """\
            let x = f(
              # one
              # two
              a.b {
                # three
                # four
                w: -c,
              },
            )
            """,
            id="where none is at home",
        ),
    ],
)
def test_comments_stay_where_they_were(text, expected):
    assert formatted(text) == dedent(expected)


EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.merge"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_our_own_recipes_are_formatted(path):
    text = path.read_text(encoding="utf-8")
    assert format(read(text)) == text
