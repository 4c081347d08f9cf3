"""Makes small tokenizers of every supported form and the ids that Hugging Face's tokenizers gives for some texts.

    pip install tokenizers==0.22.1 && python make.py

writes cases.json.gz beside this file. The training text is the licence of this repository."""
import gzip
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
corpus = (here / "../../../LICENSE").read_text() + "It's we'll they've I'm you'd don't 2024 3.14 100,000 café naïve Ünïcödé 日本語 🙂\n" * 3

TEXTS = [
    "", " ", "a", "Apache License", "The Work, and such Derivative Works in Source or Object form.\n\nAll:\nSpeak, speak.",
    "  two  spaces   and\ttabs \n", "\n\n\n  indented\n    more\r\nend   ", "It's what they'd say: I'll, we've, you're, I'm, 'tis DON'T 100,000 times 3.14!",
    "Résumé naïve café — “quoted” … Ünïcödé", "日本語 and emoji 🙂🚀 done", "UPPER lower MiXeD İstanbul ẞ", "unaffable antidisestablishmentarianism",
    "a" * 120, "e\u0301 combining n\u0303", "<|endoftext|>after", "before <|endoftext|> after<|endoftext|>", "[MASK] in the [SEP] middle", "the [MASK]  .",
    "x\u00a0y\u200bz\u2003w", "don't stop", "1234567 and ½ ² ٣ Ⅷ", "tab\tnew\nline\x00null\x07bell", "under_score-dash/slash\\back", "▁mark ▁▁ two",
    "license licenses License LICENSE", "word keyword keywords key word", "é".upper() + " ÀÉÎ", "ﬁ ligature ① ㎏", "한국어 텍스트",
]

# Characters of many scripts and kinds in any order, among words that the tokenizers know.
BLOCKS = [(0x20, 0x7F), (0x00, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0x980), (0x2000, 0x2070), (0x20A0, 0x2200), (0x3000, 0x3100),
          (0x4E00, 0x4E80), (0xAC00, 0xAC40), (0x1F600, 0x1F640), (0xE000, 0xE010), (0xFF00, 0xFF60), (0x2150, 0x2190), (0x24B0, 0x24F0)]
WORDS = ["the", "'s", "'LL", "license", " Work", "[MASK]", "<|endoftext|>", "LICENSE", "123", "  ", "\n\n", "\r\n", "key", "▁", "\ufeff", "\u0130", "\u200d", "\u0085"]
rng = random.Random(1)
for _ in range(120):
    parts = []
    for _ in range(rng.randint(1, 25)):
        if rng.random() < 0.35:
            parts.append(rng.choice(WORDS))
        else:
            parts.append(chr(rng.randrange(*rng.choice(BLOCKS if rng.random() < 0.5 else BLOCKS[:2]))))
    TEXTS.append("".join(parts))


def trained(tok, trainer):
    tok.train_from_iterator([corpus], trainer)
    return tok


def bpe(**kw):
    return trainers.BpeTrainer(vocab_size=kw.pop("size", 420), show_progress=False, **kw)


def gpt2(prefix=False):
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return trained(tok, bpe(special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def roberta():
    tok = gpt2(prefix=True)
    tok.add_special_tokens([AddedToken("[MASK]", lstrip=True), AddedToken("[SEP]", rstrip=True)])
    tok.post_processor = processors.RobertaProcessing(sep=("[SEP]", tok.token_to_id("[SEP]")), cls=("<|endoftext|>", 0))
    return tok


def llama3():
    tok = Tokenizer(models.BPE(ignore_merges=True))
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return trained(tok, bpe(special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def llama2():
    tok = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok = trained(tok, bpe(size=500, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=60, max_token_length=12))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return tok


def unknowns(fuse):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, continuing_subword_prefix="@@", end_of_word_suffix="</w>"))
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(tok, bpe(special_tokens=["<unk>"], limit_alphabet=40, continuing_subword_prefix="@@", end_of_word_suffix="</w>"))


def metaspace(scheme):
    tok = Tokenizer(models.BPE(unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tok = trained(tok, bpe(special_tokens=["<unk>"]))
    tok.add_tokens([AddedToken("license", single_word=True), AddedToken("Work", normalized=False)])
    return tok


def bert(lowercase, accents=None):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok = trained(tok, trainers.WordPieceTrainer(vocab_size=420, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    if lowercase:
        tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    else:
        tok.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tok


def words():
    tok = Tokenizer(models.WordLevel(unk_token="?"))
    tok.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"), pre_tokenizers.Digits(True)])
    tok = trained(tok, trainers.WordLevelTrainer(vocab_size=300, special_tokens=["?"], show_progress=False))
    tok.add_tokens(["key", AddedToken("LICENSE", normalized=True)])
    return tok


def parts(behavior, invert):
    tok = Tokenizer(models.BPE(unk_token="?"))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"[aeiou]+|\d"), behavior, invert), pre_tokenizers.Digits(False)])
    return trained(tok, bpe(size=200, special_tokens=["?"]))


CASES = {
    "gpt2": gpt2(), "roberta": roberta(), "llama3": llama3(), "llama2": llama2(), "unknowns": unknowns(False), "unknowns fused": unknowns(True),
    "metaspace always": metaspace("always"), "metaspace first": metaspace("first"), "metaspace never": metaspace("never"),
    "bert uncased": bert(True), "bert cased": bert(False), "bert lower with accents": bert(True, False), "words": words(),
}
for b in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
    for invert in [False, True]:
        CASES[f"split {b}{' inverted' if invert else ''}"] = parts(b, invert)

out = []
for name, tok in CASES.items():
    out.append({"name": name, "tokenizer": json.loads(tok.to_str()), "texts": [
        {"text": t, "plain": tok.encode(t, add_special_tokens=False).ids, "ids": tok.encode(t).ids} for t in TEXTS]})
(here / "cases.json.gz").write_bytes(gzip.compress(json.dumps(out, separators=(",", ":")).encode(), mtime=0))
