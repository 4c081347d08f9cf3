// Command ligoonnx grows transformer models in ONNX files.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ligoonnx/ligoonnx/cli"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel() // the command ends as soon as it can do so cleanly
		<-signals
		os.Exit(130) // or at once, when somebody cannot wait: outputs are still complete or absent
	}()
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
