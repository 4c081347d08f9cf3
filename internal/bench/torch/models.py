"""The models of the benchmark: the plain modules of fixtures/export as they are exported, and written the way PyTorch runs them
fastest. Both share their parameters' names and compute the same function; the benchmark takes the faster one."""
import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "fixtures", "export"))
import plain_models  # noqa: E402

IGNORED = -100  # F.cross_entropy's default


class FastBertLayer(plain_models.BertLayer):
    def forward(self, x, bias):
        q, k, v = (self.split(f(x)) for f in (self.query, self.key, self.value))
        c = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)
        x = self.ln1(self.attn_out(c) + x)
        return self.ln2(self.out(F.gelu(self.inter(x))) + x)


class FastGPTBlock(plain_models.GPTBlock):
    def forward(self, x):
        q, k, v = (self.heads(y) for y in self.c_attn(self.ln_1(x)).split(self.D, dim=2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.c_proj(a)
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


def build(family, layers, hidden, vocabulary, length, fast=False):
    """The model with weights that depend on the arguments alone."""
    block = {"gpt2": "GPTBlock", "bert": "BertLayer"}[family]
    plain = getattr(plain_models, block)
    if fast:
        setattr(plain_models, block, {"gpt2": FastGPTBlock, "bert": FastBertLayer}[family])
    try:
        heads = hidden // 64
        if family == "gpt2":
            model = plain_models.GPT2LM(layers, hidden, heads, vocabulary, length)
        else:
            model = plain_models.BertMLM(layers, hidden, heads, 4 * hidden, vocabulary, length)
    finally:
        setattr(plain_models, block, plain)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            gain = p.dim() == 1 and name.endswith("weight")
            p.normal_(1.0 if gain else 0.0, 0.02, generator=generator)
    return model


def inputs(family, ids):
    if family == "gpt2":
        return (ids,)
    return ids, torch.ones_like(ids), torch.zeros_like(ids)


def names(family):
    return ["input_ids"] if family == "gpt2" else ["input_ids", "attention_mask", "token_type_ids"]


def loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def export(model, family, ids, path):
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(model.eval(), inputs(family, ids), path, opset_version=17, input_names=names(family), output_names=["logits"],
                      dynamic_axes={n: axes for n in [*names(family), "logits"]}, dynamo=False)
