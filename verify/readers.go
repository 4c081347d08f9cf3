package verify

import "context"

func (c *comparison) secondReader(ctx context.Context) error { return ctx.Err() }
