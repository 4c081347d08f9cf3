package cli

import (
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/ligoonnx/ligoonnx/ligo"
)

func (p *program) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version",
		Action: func(c *cli.Context) error {
			if _, err := operands(c); err != nil {
				return err
			}
			p.printf("ligoonnx %s (%s, %s/%s)\n", ligo.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
