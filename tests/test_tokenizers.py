"""Vocabularies read from files, and union tokenizers as transformers loads them."""

import json
from pathlib import Path

import pytest

from mergelang.models.target import target_of
from mergelang.models.tokenizer import Tokenizer, pieces, tokenizer_of
from mergelang.models.union import tokenizer_files
from mergelang.models.vocabulary import Vocabulary

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

TEXTS = [
    "the quick brown fox jumps over the lazy dog", "hello world, this is a small text",
    "numbers like 12 and 345 and words like internationalisation",
]  # fmt: skip
MORE = ["merging models of mixed vocabularies", "a vocabulary grows by words of its own"]
SPECIAL = ["<s>", "</s>", "<unk>"]


def trained(kind: str, size: int, texts=TEXTS, added=(), plain=()):
    """A small tokenizer of a kind, with added tokens: special ones, and others."""
    models, trainers = tokenizers.models, tokenizers.trainers
    if kind == "bpe":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet)
        )
    elif kind == "wordpiece":
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
        made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        made.decoder = tokenizers.decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=SPECIAL)
    else:
        made = tokenizers.Tokenizer(models.Unigram())
        made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
        made.decoder = tokenizers.decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=SPECIAL, unk_token="<unk>"
        )
    made.train_from_iterator(texts, trainer)
    made.add_special_tokens([tokenizers.AddedToken(text, special=True) for text in added])
    made.add_tokens([tokenizers.AddedToken(text, lstrip=True) for text in plain])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def vocabulary(folder: Path, tokenizer, rows: int | None = None) -> Vocabulary:
    tokenizer.save_pretrained(folder)
    found = tokenizer_of(sorted(folder.iterdir()), folder.name)
    return Vocabulary(rows or len(tokenizer), (), (), found, folder.name)


def written(folder: Path, target):
    """The tokenizer of a target as transformers loads it."""
    folder.mkdir()
    made, copied = tokenizer_files(target)
    for path in copied:
        (folder / path.name).write_bytes(path.read_bytes())
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_the_vocabulary_is_that_which_transformers_reads(tmp_path, kind):
    tokenizer = trained(kind, 300, added=["<|x|>"], plain=["<|y|>"])
    found = vocabulary(tmp_path / "a", tokenizer)
    assert found.tokenizer.tokens == tokenizer.get_vocab()
    assert list(found.tokenizer.tokens.values()) == list(range(len(tokenizer)))


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_a_union_loads_with_the_ids_of_the_target_and_cuts_text_as_before(tmp_path, kind):
    first = trained(kind, 300, added=["<|im_start|>"])
    second = trained(kind, 330, [*TEXTS, *MORE], added=["<|user|>", "<|end|>"], plain=["<|y|>"])
    names = [vocabulary(tmp_path / name, each) for name, each in (("a", first), ("b", second))]
    target = target_of(names, extra=["<|mine|>"])
    union = written(tmp_path / "union", target)
    assert union.get_vocab() == target.tokens
    assert target.tokens.keys() == {*first.get_vocab(), *second.get_vocab(), "<|mine|>"}
    assert {t: target.tokens[t] for t in first.get_vocab()} == first.get_vocab()
    assert len(union) == target.size == target.rows
    for text in (*TEXTS, *MORE):
        encoded = union(text, add_special_tokens=False)["input_ids"]
        assert union.decode(encoded).replace(" ", "") == text.replace(" ", "")
    for token in ("<|im_start|>", "<|user|>", "<|end|>", "<|y|>", "<|mine|>"):
        assert union(token, add_special_tokens=False)["input_ids"] == [target.tokens[token]]
    said = union("<|user|>hello<|end|>", add_special_tokens=False)["input_ids"]
    assert union.decode(said, skip_special_tokens=True).strip() == "hello"


def test_text_that_needs_no_new_word_is_cut_as_the_first_tokenizer_cuts_it(tmp_path):
    first = trained("bpe", 300)
    second = trained("bpe", 300, added=["<|user|>"])
    target = target_of([vocabulary(tmp_path / "a", first), vocabulary(tmp_path / "b", second)])
    union = written(tmp_path / "union", target)
    for text in (*TEXTS, *MORE):
        assert union(text)["input_ids"] == first(text)["input_ids"]


def extended(tokenizer, merges):
    """A byte-pair tokenizer with further merges behind its own, and words for them."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = content["model"]["vocab"]
    for left, right in merges:
        content["model"]["merges"].append([left, right])
        vocab[left + right] = len(tokenizer) + len(vocab) - len(tokenizer)
    made = tokenizers.Tokenizer.from_str(json.dumps(content))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def test_the_union_with_an_extended_vocabulary_cuts_text_as_the_extended_one(tmp_path):
    first = trained("bpe", 300)
    second = extended(first, [("v", "o"), ("vo", "c"), ("m", "o")])
    target = target_of([vocabulary(tmp_path / "a", first), vocabulary(tmp_path / "b", second)])
    union = written(tmp_path / "union", target)
    for text in (*TEXTS, *MORE):
        assert union(text)["input_ids"] == second(text)["input_ids"]


@pytest.mark.parametrize("name", ["Qwen2Tokenizer", "LlamaTokenizer", "GPT2Tokenizer"])
def test_a_union_of_tokenizers_of_a_class_of_its_own_loads_as_that_class(tmp_path, name):
    """transformers 5 builds these anew out of vocabulary and merges."""
    found = []
    for folder, size, added in (("a", 300, ["<|a|>"]), ("b", 320, ["<|b|>"])):
        base = trained("bpe", size, TEXTS + MORE if folder == "b" else TEXTS, added)
        content = json.loads(base.backend_tokenizer.to_str())
        merges = [tuple(each) for each in content["model"]["merges"]]
        made = getattr(transformers, name)(
            vocab=content["model"]["vocab"], merges=merges, unk_token="<unk>", bos_token="<s>",
            eos_token="</s>",
        )  # fmt: skip
        made.add_special_tokens({"additional_special_tokens": added})
        found.append(vocabulary(tmp_path / folder, made))
    target = target_of(found)
    union = written(tmp_path / "union", target)
    assert type(union).__name__ == name
    assert union.get_vocab() == target.tokens


def test_a_vocabulary_of_words_and_merges_takes_added_tokens(tmp_path):
    """vocab.json and merges.txt, without tokenizer.json: what is new becomes an added token."""
    fast = trained("bpe", 300)
    content = json.loads(fast.backend_tokenizer.to_str())
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    merges = [" ".join(each) for each in content["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    settings = {"tokenizer_class": "GPT2Tokenizer", "unk_token": "<unk>", "bos_token": "<s>",
                "eos_token": "</s>"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    first = Vocabulary(300, (), (), tokenizer_of(sorted(folder.iterdir()), "a"), "a")
    second = vocabulary(tmp_path / "b", trained("bpe", 300, added=["<|user|>"]))
    target = target_of([first, second])
    union = written(tmp_path / "union", target)
    assert union.get_vocab() == target.tokens
    assert union("<|user|>")["input_ids"] == [target.tokens["<|user|>"]]


def test_a_list_of_words_is_a_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n##s\n")
    found = tokenizer_of(sorted(tmp_path.iterdir()), "x")
    assert found.tokens == {"[PAD]": 0, "[UNK]": 1, "the": 2, "##s": 3}


def test_the_pieces_of_sentencepiece_are_read_without_it(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("\n".join(TEXTS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "tokenizer"), vocab_size=40,
        minloglevel=2,
    )  # fmt: skip
    loaded = sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer.model"))
    wanted = [loaded.id_to_piece(i) for i in range(loaded.get_piece_size())]
    assert list(pieces((tmp_path / "tokenizer.model").read_bytes())) == wanted
    found = tokenizer_of([tmp_path / "tokenizer.model"], "x")
    assert list(found.tokens) == wanted


def test_tokenizers_of_the_same_files_are_not_parsed(tmp_path, monkeypatch):
    first = vocabulary(tmp_path / "a", trained("bpe", 300)).tokenizer
    second = vocabulary(tmp_path / "b", trained("bpe", 300)).tokenizer
    with monkeypatch.context() as patch:
        patch.setattr(Tokenizer, "content", lambda self: pytest.fail("was parsed"))
        assert first.same(second)
    (tmp_path / "b" / "tokenizer.json").write_bytes(
        (tmp_path / "a" / "tokenizer.json").read_bytes() + b"\n"
    )
    second = tokenizer_of(sorted((tmp_path / "b").iterdir()), "b")
    assert second.digest != first.digest and first.same(second)
