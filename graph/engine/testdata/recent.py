"""Makes recent.tar.gz: ONNX's own tests of operators that are newer than the test data which distributions package.

Run: python3 recent.py   (made with onnx 1.23.2, numpy 2.4.6)
"""
import os
import sys

import numpy as np
import onnx.backend.test.case.node as node
from onnx import TensorProto, numpy_helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from golden import Pack  # noqa: E402

WANTED = ("test_attention_", "test_rotary_embedding", "test_rms_normalization", "test_tensorscatter", "test_tensor_scatter", "test_group_normalization",
          "test_gelu_", "test_split_1d_uneven", "test_split_2d_uneven", "test_split_variable_parts_1d_opset18", "test_constant_pad_axes",
          "test_wrap_pad", "test_swish", "test_reduce_max_bool", "test_averagepool_2d_ceil_last", "test_scatternd_m", "test_scatter_elements_with_reduction")
pack = Pack(os.path.join(os.path.dirname(os.path.abspath(__file__)), "recent.tar.gz"))


def tensor(x, name):
    return x if isinstance(x, TensorProto) else numpy_helper.from_array(np.asarray(x), name)


for c in sorted(node.collect_testcases(None), key=lambda c: c.name):
    if not c.name.startswith(WANTED) or c.name.endswith("_expanded") or any(x in c.name for x in ("bf16", "_2d_axis", "_3d_axis", "fp16", "qk_matmul_bias", "diff_heads_sizes")):
        continue
    inputs, outputs = c.data_sets[0]
    if sum(np.asarray(x).nbytes for x in [*inputs, *outputs] if not isinstance(x, TensorProto)) > 2500:
        continue  # keeps the file small; the larger tests exercise nothing else
    pack.add(c.name, c.model, [tensor(x, i.name) for x, i in zip(inputs, c.model.graph.input)],
             [tensor(x, o.name) for x, o in zip(outputs, c.model.graph.output)])
pack.close()
