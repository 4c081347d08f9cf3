"""Packs small operator tests (model, inputs, expected outputs) into .tar.gz files that do not depend on when they were made."""
import gzip
import io
import tarfile


class Pack:
    def __init__(self, path):
        self.gz = gzip.GzipFile(path, "wb", compresslevel=9, mtime=0)
        self.tar = tarfile.TarFile(mode="w", fileobj=self.gz, format=tarfile.USTAR_FORMAT)

    def add(self, name, model, inputs, outputs):
        """inputs and outputs are TensorProtos in the order of the graph's."""
        self._write(f"{name}/model.onnx", model.SerializeToString(deterministic=True))
        for kind, tensors in (("input", inputs), ("output", outputs)):
            for i, t in enumerate(tensors):
                self._write(f"{name}/test_data_set_0/{kind}_{i}.pb", t.SerializeToString(deterministic=True))

    def _write(self, name, data):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))

    def close(self):
        self.tar.close()
        self.gz.close()
