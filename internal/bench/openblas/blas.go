package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef void (*sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static sgemm_fn sgemm;
static void (*set_threads)(int);
static char *(*core_name)(void);
static char *(*config)(void);

// load opens the library when the program runs, so that it builds, and can say what is missing, where there is none.
static int load(const char *path) {
	void *lib = dlopen(path, RTLD_NOW);
	if (!lib) return 0;
	sgemm = (sgemm_fn)dlsym(lib, "cblas_sgemm");
	set_threads = (void (*)(int))dlsym(lib, "openblas_set_num_threads");
	core_name = (char *(*)(void))dlsym(lib, "openblas_get_corename");
	config = (char *(*)(void))dlsym(lib, "openblas_get_config");
	return sgemm && set_threads && core_name && config;
}
static void prefer(int wide) {
	if (wide == 64) setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
	if (wide == 32) setenv("OPENBLAS_CORETYPE", "Haswell", 1);
}
static void threads(int n) { set_threads(n); }
static const char *describe_config(void) { return config(); }
static const char *describe_core(void) { return core_name(); }
static void call(int ta, int tb, int m, int n, int k, const float *a, int lda, const float *b, int ldb, float *c, int ldc,
	int count, long sa, long sb, long sc) {
	for (int i = 0; i < count; i++)
		sgemm(101, ta ? 112 : 111, tb ? 112 : 111, m, n, k, 1, a + i * sa, lda, b + i * sb, ldb, 0, c + i * sc, ldc);
}

// fmas makes n multiply-adds in each of 12 independent chains of vectors of so many bytes, and returns how many operations
// that is; 0 for vectors that are not known here.
#if defined(__x86_64__)
#define CHAIN(r, i) "vfmadd231ps %%" r "15, %%" r "15, %%" r #i "\n"
#define CHAINS(r) CHAIN(r, 0) CHAIN(r, 1) CHAIN(r, 2) CHAIN(r, 3) CHAIN(r, 4) CHAIN(r, 5) \
	CHAIN(r, 6) CHAIN(r, 7) CHAIN(r, 8) CHAIN(r, 9) CHAIN(r, 10) CHAIN(r, 11)
#define LOOP(r) __asm__ volatile("vzeroall\n1:\n" CHAINS(r) "dec %0\njnz 1b\nvzeroupper" : "+r"(i) : : "cc", "memory", \
	"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
static double fmas(int wide, long n) {
	long i = n;
	if (wide == 64) {
		LOOP("zmm");
		return 2.0 * 12 * 16 * n;
	}
	if (wide == 32) {
		LOOP("ymm");
		return 2.0 * 12 * 8 * n;
	}
	return 0;
}
#else
static double fmas(int wide, long n) { return 0; }
#endif
// cpu_seconds is the time that the calling thread has run for.
static double cpu_seconds(void) {
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// vectors is the width in bytes of what the engine's tiles use; GODEBUG=cpu.avx512f=off makes that AVX2.
func vectors() C.int {
	switch {
	case cpu.X86.HasAVX512F:
		return 64
	case cpu.X86.HasAVX2 && cpu.X86.HasFMA:
		return 32
	default:
		return 0
	}
}

// openBLAS loads the library and describes it. Releases older than a processor take the kernels of a decade before for it, and an
// environment may ask for some that all its machines have; those for the widest vectors of this one are what is to be beaten.
func openBLAS() (string, error) {
	C.prefer(vectors())
	for _, path := range []string{os.Getenv("OPENBLAS_LIBRARY"), "libopenblas.so.0", "libopenblas.so"} {
		if path == "" {
			continue
		}
		p := C.CString(path)
		ok := C.load(p)
		C.free(unsafe.Pointer(p))
		if ok != 0 {
			return fmt.Sprintf("%s, kernels %s", C.GoString(C.describe_config()), C.GoString(C.describe_core())), nil
		}
	}
	return "", errors.New("no libopenblas.so.0 (Debian: apt-get install libopenblas0; or set OPENBLAS_LIBRARY)")
}

func openBLASThreads(n int) { C.threads(C.int(n)) }

// sgemm is OpenBLAS' product for every matrix of a stack.
func (p product) sgemm(a, b, c []float32) {
	lda, ldb := p.leading()
	flag := map[bool]C.int{true: 1}
	C.call(flag[p.transA], flag[p.transB], C.int(p.m), C.int(p.n), C.int(p.k), (*C.float)(&a[0]), C.int(lda), (*C.float)(&b[0]), C.int(ldb),
		(*C.float)(&c[0]), C.int(p.n), C.int(p.count), C.long(p.m*p.k), C.long(p.k*p.n), C.long(p.m*p.n))
}

// peak is the operations per second that the calling thread makes when it does nothing but multiply and add.
func peak() float64 {
	start := cpuSeconds()
	return float64(C.fmas(vectors(), 200_000)) / (cpuSeconds() - start)
}

func cpuSeconds() float64 { return float64(C.cpu_seconds()) }
