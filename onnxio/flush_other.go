//go:build !linux

package onnxio

import "os"

func beginFlush(*os.File, int64, int64) {}
