"""Makes contrib.tar.gz: the com.microsoft operators on random data, with the outputs of ONNX Runtime (optimisation off).

Run: python3 contrib.py   (made with onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6)
"""
import os
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from golden import Pack  # noqa: E402

MS = "com.microsoft"
KINDS = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int32"): TensorProto.INT32, np.dtype("int64"): TensorProto.INT64}
rng = np.random.default_rng(7)
pack = Pack(os.path.join(os.path.dirname(os.path.abspath(__file__)), "contrib.tar.gz"))


def f(*shape):
    return (rng.standard_normal(shape) * 0.7).astype(np.float32)


def case(name, op, inputs, outputs=1, domain=MS, want=None, **attrs):
    """inputs: arrays, None where left out. outputs: how many; want: which of them are compared (default all)."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(inputs)]
    want = list(range(outputs)) if want is None else want
    outs = [f"y{i}" if i in want else "" for i in range(outputs)]
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    given = {n: x for n, x in zip(names, inputs) if n}
    graph = helper.make_graph(
        [node], name,
        [helper.make_tensor_value_info(n, KINDS[x.dtype], x.shape) for n, x in given.items()],
        [helper.make_empty_tensor_value_info(o) for o in outs if o])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, given)
    for o, r in zip(model.graph.output, results):
        o.CopyFrom(helper.make_tensor_value_info(o.name, KINDS[r.dtype], r.shape))
    pack.add(name, model, [numpy_helper.from_array(x) for x in given.values()], [numpy_helper.from_array(r) for r in results])


B, T, H, D = 2, 3, 2, 4
N = H * D
x, w, b = f(B, T, N), f(N, 3 * N), f(3 * N)
mask = np.array([[1, 1, 1], [1, 1, 0]], np.int32)
case("attention", "Attention", [x, w, b], num_heads=H)
case("attention_no_bias", "Attention", [x, w], num_heads=H)
case("attention_causal", "Attention", [x, w, b], num_heads=H, unidirectional=1)
case("attention_scale", "Attention", [x, w, b], num_heads=H, scale=0.25)
case("attention_mask", "Attention", [x, w, b, mask], num_heads=H)
case("attention_mask_filter", "Attention", [x, w, b, mask], num_heads=H, mask_filter_value=-50.0)
case("attention_mask_ends", "Attention", [x, w, b, np.array([3, 2], np.int32)], num_heads=H)
case("attention_mask_ends_starts", "Attention", [x, w, b, np.array([3, 3, 0, 1], np.int32)], num_heads=H)
case("attention_mask_3d", "Attention", [x, w, b, np.tril(np.ones((B, T, T), np.int32))], num_heads=H)
case("attention_bias", "Attention", [x, w, b, None, None, f(B, H, T, T)], num_heads=H)
case("attention_sizes", "Attention", [x, f(N, 2 * N + 4), f(2 * N + 4)], num_heads=H, qkv_hidden_sizes=[N, N, 4])
case("attention_past", "Attention", [x, w, b, np.ones((B, T + 2), np.int32), f(2, B, H, 2, D)], outputs=2, num_heads=H, unidirectional=1)
case("attention_past_masked", "Attention", [x, w, b, np.array([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1]], np.int32), f(2, B, H, 2, D)],
     outputs=2, num_heads=H, unidirectional=1)

q, k, v = f(B, T, N), f(B, 5, N), f(B, 5, N)
case("mha", "MultiHeadAttention", [q, k, v], num_heads=H)
case("mha_bias", "MultiHeadAttention", [q, k, v, b], num_heads=H)
case("mha_padding", "MultiHeadAttention", [q, k, v, None, np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]], np.int32)], num_heads=H)
case("mha_attention_bias", "MultiHeadAttention", [q, k, v, None, None, f(1, H, T, 5)], num_heads=H)
case("mha_causal", "MultiHeadAttention", [q, f(B, T, N), f(B, T, N)], num_heads=H, unidirectional=1)
case("mha_value_size", "MultiHeadAttention", [q, k, f(B, 5, H * 6)], num_heads=H, scale=0.3)
case("mha_past", "MultiHeadAttention", [q, f(B, T, N), f(B, T, N), None, None, None, f(B, H, 2, D), f(B, H, 2, D)], outputs=3, num_heads=H)
case("mha_cross", "MultiHeadAttention", [q, f(B, H, 5, D), f(B, H, 5, D)], num_heads=H)

G, S = 1, 16  # heads of keys and values, head size
kq, vq = f(B, T, G * S), f(B, T, G * S)
qq = f(B, T, H * S)
angles = np.outer(np.arange(16), 10000.0 ** (-np.arange(S // 2) / (S // 2))).astype(np.float32)
cos, sin = np.cos(angles), np.sin(angles)
full, total = np.array([T - 1] * B, np.int32), np.array(T, np.int32)
case("gqa_prompt", "GroupQueryAttention", [qq, kq, vq, None, None, full, total], outputs=3, num_heads=H, kv_num_heads=G)
case("gqa_prompt_rotary", "GroupQueryAttention", [qq, kq, vq, None, None, full, total, cos, sin], outputs=3, num_heads=H, kv_num_heads=G, do_rotary=1)
case("gqa_prompt_interleaved", "GroupQueryAttention", [qq, kq, vq, None, None, full, total, cos, sin], outputs=3, num_heads=H, kv_num_heads=G,
     do_rotary=1, rotary_interleaved=1)
case("gqa_softcap", "GroupQueryAttention", [qq, kq, vq, None, None, full, total], outputs=3, num_heads=H, kv_num_heads=G, softcap=2.0, scale=0.7)
case("gqa_window", "GroupQueryAttention", [qq, kq, vq, None, None, full, total], outputs=3, num_heads=H, kv_num_heads=G, local_window_size=2)
case("gqa_packed", "GroupQueryAttention", [f(B, T, (H + 2 * G) * S), None, None, None, None, full, total, cos, sin], outputs=3, num_heads=H,
     kv_num_heads=G, do_rotary=1)
case("gqa_decode", "GroupQueryAttention",
     [f(B, 1, H * S), f(B, 1, G * S), f(B, 1, G * S), f(B, G, 4, S), f(B, G, 4, S), np.array([4, 4], np.int32), np.array(5, np.int32), cos, sin],
     outputs=3, num_heads=H, kv_num_heads=G, do_rotary=1)

g, be = f(N), f(N)
case("skip_norm", "SkipLayerNormalization", [x, f(B, T, N), g, be], epsilon=1e-5)
case("skip_norm_all", "SkipLayerNormalization", [x, f(B, T, N), g, be, f(N)], outputs=4, want=[0, 3], epsilon=1e-5)
case("skip_norm_broadcast", "SkipLayerNormalization", [x, f(T, N), g, None, f(N)], epsilon=1e-3)
case("skip_simplified", "SkipSimplifiedLayerNormalization", [x, f(B, T, N), g], outputs=4, want=[0, 3], epsilon=1e-5)
case("skip_simplified_bias", "SkipSimplifiedLayerNormalization", [x, f(B, T, N), g, f(N)], epsilon=1e-5)
case("simplified", "SimplifiedLayerNormalization", [x, g], domain="", axis=-1, epsilon=1e-5, stash_type=1)
ids = rng.integers(0, 9, (B, T)).astype(np.int32)
seg = rng.integers(0, 2, (B, T)).astype(np.int32)
case("embed_norm", "EmbedLayerNormalization", [ids, seg, f(9, N), f(6, N), f(2, N), g, be], outputs=2, epsilon=1e-5)
case("embed_norm_mask", "EmbedLayerNormalization", [ids, seg, f(9, N), f(6, N), f(2, N), g, be, mask], outputs=3, epsilon=1e-5)
case("embed_norm_positions", "EmbedLayerNormalization",
     [ids, None, f(9, N), f(6, N), None, g, be, None, np.array([[2, 1, 0], [3, 4, 5]], np.int32)], outputs=3, epsilon=1e-5)
case("bias_gelu", "BiasGelu", [x * 3, g])
case("fast_gelu", "FastGelu", [x * 3])
case("fast_gelu_bias", "FastGelu", [x * 3, g])
case("gelu", "Gelu", [x * 3])
case("quick_gelu", "QuickGelu", [x * 3], alpha=1.702)
case("fused_matmul", "FusedMatMul", [f(B, 3, 4), f(B, 4, 5)], alpha=0.125)
case("fused_matmul_transposed", "FusedMatMul", [f(B, 4, 3), f(B, 5, 4)], transA=1, transB=1, alpha=2.0)
case("fused_matmul_broadcast", "FusedMatMul", [f(B, 2, 3, 4), f(5, 4)], transB=1)
pos = np.array([[0, 1, 2], [4, 5, 6]], np.int64)
xr = f(B, T, H * S)
case("rotary", "RotaryEmbedding", [xr, pos, cos, sin])
case("rotary_offset", "RotaryEmbedding", [xr, np.array([3], np.int64), cos, sin])
case("rotary_interleaved", "RotaryEmbedding", [xr, pos, cos, sin], interleaved=1)
case("rotary_4d", "RotaryEmbedding", [f(B, H, T, S), pos, cos, sin])
case("rotary_partial", "RotaryEmbedding", [xr, pos, cos[:, :2].copy(), sin[:, :2].copy()], num_heads=H, rotary_embedding_dim=4)
case("rotary_packed", "RotaryEmbedding", [f(1, 6, H * S), np.array([[0, 1, 2, 0, 1, 2]], np.int64), cos, sin], is_packed_batching=1)
case("rotary_4d_partial", "RotaryEmbedding", [f(B, H, T, S), pos, cos[:, :2].copy(), sin[:, :2].copy()], num_heads=H, rotary_embedding_dim=4)
for side in "AB":
    shapes = {"A": (f(3, B, 4), f(B, 4, 5)), "B": (f(B, 3, 4), f(4, B, 5))}[side]
    case(f"fused_matmul_batch_{side}", "FusedMatMul", shapes, **{f"transBatch{side}": 1})
case("fused_matmul_batch_both", "FusedMatMul", [f(4, B, 3), f(5, B, 4)], transBatchA=1, transA=1, transBatchB=1, transB=1, alpha=0.5)
case("fused_matmul_batch_4d", "FusedMatMul", [f(3, B, 6, 4), f(B, 6, 4, 5)], transBatchA=1)
short = np.array([T - 1, T - 2], np.int32)
case("gqa_short_rotary", "GroupQueryAttention", [qq, kq, vq, None, None, short, total, cos, sin], outputs=3, want=[0], num_heads=H, kv_num_heads=G, do_rotary=1)
case("gqa_positions", "GroupQueryAttention", [qq, kq, vq, None, None, full, total, cos, sin, np.array([[1, 2, 3], [3, 4, 5]], np.int64)], outputs=3,
     num_heads=H, kv_num_heads=G, do_rotary=1)
case("gqa_bias", "GroupQueryAttention", [qq, kq, vq, None, None, full, total, None, None, None, f(B, 1, T, T)], outputs=3, num_heads=H, kv_num_heads=G)
case("gqa_decode_window", "GroupQueryAttention",
     [f(B, 1, H * S), f(B, 1, G * S), f(B, 1, G * S), f(B, G, 4, S), f(B, G, 4, S), np.array([4, 4], np.int32), np.array(5, np.int32), cos, sin],
     outputs=3, num_heads=H, kv_num_heads=G, do_rotary=1, local_window_size=2)
case("gqa_chunk", "GroupQueryAttention",
     [f(1, 2, H * S), f(1, 2, G * S), f(1, 2, G * S), f(1, G, 4, S), f(1, G, 4, S), np.array([5], np.int32), np.array(6, np.int32), cos, sin],
     outputs=3, num_heads=H, kv_num_heads=G, do_rotary=1)
case("mha_padding_ends", "MultiHeadAttention", [q, k, v, None, np.array([5, 3], np.int32)], num_heads=H)
case("mha_past_bias", "MultiHeadAttention", [q, f(B, T, N), f(B, T, N), f(3 * N), None, f(B, H, T, T + 2), f(B, H, 2, D), f(B, H, 2, D)], outputs=3,
     num_heads=H)
case("skip_norm_flat", "SkipLayerNormalization", [f(6, N), f(6, N), g, be], epsilon=1e-5)
case("skip_simplified_broadcast", "SkipSimplifiedLayerNormalization", [x, f(T, N), g], epsilon=1e-5)
case("quick_gelu_default", "QuickGelu", [x * 3])
case("fused_gemm", "FusedGemm", [f(3, 4), f(4, 5), f(5)], activation="Relu")
for i, (equation, shapes) in enumerate((("...ij,...jk->...ik", ((B, 1, 3, 4), (1, 5, 4, 6))), ("biji,j", ((2, 3, 4, 3), (4,))), ("bhqk,bkhd->bqhd", ((B, 3, 4, 5), (B, 5, 3, 8))),
                                        ("ij,jk,kl->li", ((3, 4), (4, 5), (5, 6))), ("i...,...i", ((3, 2, 4), (2, 4, 3))))):
    case(f"einsum_{i}", "Einsum", [f(*s) for s in shapes], domain="", equation=equation)
pack.close()
