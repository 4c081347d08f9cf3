"""Compares a training step of ligoonnx with PyTorch's, and a forward pass with ONNX Runtime's: make bench-torch.

Each side is a process of its own that has the same model, the same weights and the same batches. The processes take turns, a few steps
each, so that a machine that changes its speed changes it for both; what is reported are medians. PyTorch runs in the best of the ways it
has: the model as it was exported or written for scaled_dot_product_attention, AdamW fused or by foreach, and at most as many threads as
ligoonnx. MKL, with which PyTorch multiplies, leaves its AVX-512 kernels out on processors of other makers than its own; it is told that this
one is Intel's, which makes PyTorch twice as fast there (--stock does not). Peak memory is the kernel's figure for the whole process.
"""
import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = {"small": (4, 256), "large": (6, 512)}  # layers, hidden
BATCH, LENGTH, BATCHES = 8, 128, 8
LR, WEIGHT_DECAY = 1e-4, 0.01


class Worker:
    """A process that makes steps when it is asked to."""

    def __init__(self, *command, preload=None):
        env = dict(os.environ, LD_PRELOAD=preload) if preload else None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.command, self.seconds, self.cpu, self.values = command, [], [], []
        if self._line() != "ready":
            raise RuntimeError(f"{command}: not ready")

    def _line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)}: ended with code {self.process.wait()}")
        return line

    def steps(self, n, count=True):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        answer = json.loads(self._line())
        self.values += answer["values"]
        if count:
            self.seconds += answer["seconds"]
            self.cpu += answer["cpu"]
        time.sleep(0.25)  # until its threads have stopped spinning

    def median(self):
        return statistics.median(self.seconds)

    def work(self):
        """Processor time of a step: what a busy machine changes least. Threads that wait for each other count as working."""
        return statistics.median(self.cpu)

    def close(self):
        """Ends the process; returns its peak memory and what it took before the first step."""
        self.process.stdin.close()
        answer = json.loads(self._line())
        self.process.wait()
        return answer


def prepare(folder, family, size, vocabulary):
    """Writes case.json, data.bin and model.onnx in a process of its own: this one stays free of torch."""
    layers, hidden = SIZES[size]
    case = {"family": family, "layers": layers, "hidden": hidden, "vocabulary": vocabulary, "length": LENGTH, "batch": BATCH, "batches": BATCHES,
            "lr": LR, "weight_decay": WEIGHT_DECAY}
    with open(os.path.join(folder, "case.json"), "w") as f:
        json.dump(case, f)
    subprocess.run([sys.executable, os.path.join(HERE, "prepare.py"), folder], check=True)


def rounds(workers, warm, times, n):
    for w in workers:
        w.steps(warm, count=False)
    for _ in range(times):
        for w in workers:
            w.steps(n)


def intel_library(folder):
    """A library whose answer to MKL's question for the processor's maker is Intel; None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        print("no C compiler: MKL, and so PyTorch, may be slower than it could be on a processor that is not Intel's", file=sys.stderr)
        return None
    source, library = os.path.join(folder, "intel.c"), os.path.join(folder, "intel.so")
    with open(source, "w") as f:
        f.write("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def best_torch(options, folder, threads, mode):
    """The arguments under which PyTorch is fastest, the two best: which is the better one, the comparison itself has to say."""
    ways = [("--threads", str(t), *fast, *adamw) for t, fast, adamw in itertools.product(
        range(1, threads + 1), ([], ["--fast"]), (["--adamw", "fused"], ["--adamw", "foreach"]) if mode == "train" else ([],))]
    fastest = {}
    for way in ways:
        w = torch_worker(options, folder, mode, way)
        rounds([w], 2, 1, 5)
        fastest[way] = min(w.seconds)
        w.close()
    return sorted(fastest, key=fastest.get)[:2]


def torch_worker(options, folder, mode, way):
    return Worker(sys.executable, os.path.join(HERE, "worker.py"), "--case", folder, "--mode", mode, *way, preload=options.preload)


def check(ours, theirs, what):
    """Both have computed the same numbers: a comparison of times means nothing otherwise."""
    for i, (a, b) in enumerate(zip(ours.values, theirs.values)):
        if abs(a - b) > 1e-3 * max(1, abs(b)):
            raise SystemExit(f"{what}: step {i} gives {a}, the other side {b}")


def compare(options, binary, folder, name, threads):
    row = {"case": name, "threads": threads}
    ours_at = [binary, "-case", folder, "-threads", str(threads)]
    if "train" in options.modes:
        ways = best_torch(options, folder, threads, "train")
        profile = ["-cpuprofile", f"{options.profile}_{name}_{threads}.pprof"] if options.profile else []
        ours, others = Worker(*ours_at, "-mode", "train", *profile), [torch_worker(options, folder, "train", way) for way in ways]
        rounds([ours, *others], 3, options.rounds, 3)
        for w in others:
            check(ours, w, f"{name}, training")
        theirs = min(others, key=Worker.median)
        a, b = ours.close(), [w.close() for w in others][others.index(theirs)]
        row |= {"torch_way": " ".join(ways[others.index(theirs)]), "step_ms": 1e3 * ours.median(), "torch_step_ms": 1e3 * theirs.median(), "step_ratio": ours.median() / theirs.median(),
                "cpu_ms": 1e3 * ours.work(), "torch_cpu_ms": 1e3 * theirs.work(), "cpu_ratio": ours.work() / theirs.work(),
                "peak_mib": a["peak"] / 2**20, "torch_peak_mib": b["peak"] / 2**20, "torch_base_mib": b["base"] / 2**20, "peak_ratio": a["peak"] / b["peak"]}
    if "forward" in options.modes:
        ours = Worker(*ours_at, "-mode", "forward")
        runtime = torch_worker(options, folder, "forward", ("--by", "onnxruntime", "--threads", str(threads)))
        rounds([ours, runtime], 3, options.rounds, 3)
        check(ours, runtime, f"{name}, forward")
        ours.close(), runtime.close()
        row |= {"forward_ms": 1e3 * ours.median(), "ort_forward_ms": 1e3 * runtime.median(), "forward_ratio": ours.median() / runtime.median(),
                "forward_cpu_ratio": ours.work() / runtime.work()}
    return row


HEADINGS = [("case", "case", "s"), ("threads", "thr", "d"), ("step_ms", "step ms", ".1f"), ("torch_step_ms", "torch ms", ".1f"), ("step_ratio", "ratio", ".2f"), ("cpu_ratio", "CPU", ".2f"),
            ("peak_mib", "peak MiB", ".0f"), ("torch_peak_mib", "torch MiB", ".0f"), ("torch_base_mib", "(before)", ".0f"), ("peak_ratio", "ratio", ".2f"),
            ("forward_ms", "forward ms", ".1f"), ("ort_forward_ms", "ORT ms", ".1f"), ("forward_ratio", "ratio", ".2f"), ("forward_cpu_ratio", "CPU", ".2f"), ("torch_way", "PyTorch's best way", "s")]


def cells(row):
    out = []
    for key, title, form in HEADINGS:
        text = format(row[key], form) if key in row else "-"
        out.append(text.ljust(20) if form == "s" else text.rjust(max(len(title), 7)))
    return "  ".join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", nargs="*", help="of those named family-size-vocabulary, such as gpt2-small-8192")
    p.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    p.add_argument("--modes", nargs="*", choices=["train", "forward"], default=["train", "forward"])
    p.add_argument("--rounds", type=int, default=7, help="turns of each side, of three steps each")
    p.add_argument("--stock", action="store_true", help="let MKL choose its kernels by the processor's maker")
    p.add_argument("--json", help="write the rows to this file")
    p.add_argument("--profile", help="beginning of the names of ligoonnx's CPU profiles")
    options = p.parse_args()
    names = options.cases or [f"{f}-{s}-{v}" for s in SIZES for f in ("gpt2", "bert") for v in (8192, 65)]
    rows = []
    with tempfile.TemporaryDirectory() as top:
        binary = os.path.join(top, "ligoonnx-bench")
        options.preload = None if options.stock else intel_library(top)
        subprocess.run([os.environ.get("GO", "go"), "build", "-o", binary, "."], cwd=HERE, check=True)
        print("  ".join(t.ljust(20) if f == "s" else t.rjust(max(len(t), 7)) for _, t, f in HEADINGS), flush=True)
        for name in names:
            family, size, vocabulary = name.split("-")
            folder = os.path.join(top, name)
            os.mkdir(folder)
            prepare(folder, family, size, int(vocabulary))
            for threads in options.threads:
                rows.append(compare(options, binary, folder, name, threads))
                print(cells(rows[-1]), flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=1)


main()
