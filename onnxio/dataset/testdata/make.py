"""Makes numpy.npz: what NumPy writes of every kind of array the reader takes. Run in this folder."""
import numpy as np

grid = np.arange(6).reshape(2, 3)
np.savez_compressed(
    "numpy.npz",
    float16=(grid / 2).astype("<f2"), float32=(grid / 4).astype("<f4"), float64=(grid / 8).astype("<f8"),
    int8=(grid - 3).astype("i1"), int16=(grid - 3).astype("<i2"), int32=(grid - 3).astype("<i4"), int64=(grid - 3).astype("<i8"),
    uint8=grid.astype("u1"), uint16=grid.astype("<u2"), uint32=grid.astype("<u4"), uint64=grid.astype("<u8"),
    bool=grid % 2 == 1, fortran=np.asfortranarray(grid.astype("<i4")), big=grid.astype(">f4"),
    cube=np.asfortranarray(np.arange(24).reshape(2, 3, 4).astype("<i8")),
    scalar=np.float32(1.5), empty=np.zeros((0, 3), "<f4"), complex=(grid + 1j).astype(">c8"),
)
