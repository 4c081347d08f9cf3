package onnxio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ExternalMode decides whether weights are written into the model file or beside it.
type ExternalMode int

const (
	// ExternalAuto uses an external data file where the model had one or has grown too large for a message.
	ExternalAuto ExternalMode = iota
	// ExternalAlways uses an external data file for every initializer of 1 KiB and more.
	ExternalAlways
	// ExternalNever keeps everything in the model file; a model of more than 2 GiB is refused.
	ExternalNever
)

// WriteOptions are the choices in writing a model.
type WriteOptions struct {
	// Force lets the model replace a file that exists.
	Force bool
	// External is where weights go.
	External ExternalMode
	// ExternalThreshold is how many bytes of tensors ExternalAuto leaves in the message; 0 means 1.9e9.
	ExternalThreshold int64
	// Digest computes the model file's digest from the bytes on their way to it, so that Pending.Open need not read all of them for
	// it.
	Digest bool
}

const defaultThreshold = 1_900_000_000

// Pending is a model that has been written completely, but not yet under its name. Commit or Abort must be called.
type Pending struct {
	target   string
	force    bool
	model    string // the temporary model file
	data     string // the temporary data file; empty if there is none
	dataName string // the name it will have
	journal  string // the list of data files, while Commit works
	lock     *fileLock
	sum      string // the digest of the model file, if it was wanted
	done     bool
}

// Write writes a model to a file, which is complete or, after an error, as it was before.
func Write(ctx context.Context, m *Model, path string, o WriteOptions) error {
	p, err := Create(ctx, m, path, o)
	if err != nil {
		return err
	}
	return p.Commit()
}

// Create writes a model to temporary files in the target's folder and syncs them. After an error or a cancelled context nothing is
// left behind.
func Create(ctx context.Context, m *Model, path string, o WriteOptions) (_ *Pending, err error) {
	if err := checkExisting(path, "", o.Force); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	lock, err := acquire(path, filepath.Join(dir, strings.TrimSuffix(tempPrefix(base), "-")+".lock"))
	if err != nil {
		return nil, err
	}
	p := &Pending{target: path, force: o.Force, lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Abort())
		}
	}()
	// Again, now that nobody else can be writing it.
	if err := checkExisting(path, "", o.Force); err != nil {
		return nil, err
	}
	if err := sweep(dir, base); err != nil {
		return nil, fmt.Errorf("write %s: clearing up after an earlier run: %w", path, err)
	}
	if p.dataName, err = dataFileName(dir, base); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	e, err := encode(m, o, p.dataName)
	if err != nil {
		return nil, inFile(err, path)
	}
	need := e.size
	if e.external != nil {
		need += e.external.size
	}
	if err := p.fill(ctx, dir, base, e, o.Digest); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("write %s: %w", path, context.Cause(ctx))
		}
		return nil, fmt.Errorf("write %s: %w (the output needs %d bytes)", path, err, need)
	}
	return p, nil
}

// fill writes the temporary files.
func (p *Pending) fill(ctx context.Context, dir, base string, e *encoded, digest bool) error {
	name, err := tempName(dir, base)
	if err != nil {
		return err
	}
	if e.external != nil {
		p.data = name + dataSuffix
		err := writeFile(p.data, func(f *os.File) error { return e.external.writeTo(&output{ctx: ctx, f: f}) })
		if err != nil {
			return err
		}
	}
	p.model = name + tempSuffix
	return writeFile(p.model, func(f *os.File) error {
		out := &output{ctx: ctx, f: f}
		if digest {
			out.sum = sha256.New()
		}
		if err := e.writeTo(out); err != nil {
			return err
		}
		if digest {
			p.sum = hex.EncodeToString(out.sum.Sum(nil))
		}
		return nil
	})
}

// output checks for cancellation on every write; tensor data comes in pieces of at most a few megabytes.
type output struct {
	ctx   context.Context
	f     *os.File
	sum   hash.Hash // of what was written; may be nil
	n     int64     // bytes written
	begun int64     // bytes that are on their way to the disk
}

// flushEvery is how many bytes are written before the system is told to begin with the disk. Otherwise it would begin when the file is
// synced, and the disk be idle while weights are computed.
const flushEvery = 16 << 20

func (o *output) Write(b []byte) (int, error) {
	total := 0
	for {
		if err := o.ctx.Err(); err != nil {
			return total, err
		}
		part := b[:min(len(b), chunk)]
		n, err := o.f.Write(part)
		total += n
		if o.sum != nil {
			o.sum.Write(part[:n]) // never fails
		}
		if o.n += int64(n); o.n-o.begun >= flushEvery {
			beginFlush(o.f, o.begun, o.n-o.begun)
			o.begun = o.n
		}
		b = b[n:]
		if err != nil || len(b) == 0 {
			return total, err
		}
	}
}

// writeFile makes, fills and syncs a file that does not exist yet.
func writeFile(name string, fill func(*os.File) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// Path is the temporary model file. A model with external data can be read from it only by Open, because it already refers to its
// data by the final name.
func (p *Pending) Path() string { return p.model }

// Open reads the model that is pending.
func (p *Pending) Open(o ReadOptions) (*Model, error) {
	if p.data != "" {
		o.alias = map[string]string{p.dataName: filepath.Base(p.data)}
	}
	o.sum = p.sum
	return Read(p.model, o)
}

// Commit gives the model its name. The data file goes first, under a name that no model refers to yet, so that renaming the model
// is the one moment at which the old model becomes the new one.
func (p *Pending) Commit() (err error) {
	if p.done {
		return fmt.Errorf("write %s: already committed or aborted", p.target)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Abort())
		}
	}()
	if err := checkExisting(p.target, "", p.force); err != nil {
		return err
	}
	dir := filepath.Dir(p.target)
	names, err := p.writeJournal()
	if err != nil {
		return fmt.Errorf("write %s: %w", p.target, err)
	}
	if p.data != "" {
		final := filepath.Join(dir, p.dataName)
		if err := os.Rename(p.data, final); err != nil {
			return fmt.Errorf("write %s: %w", p.target, err)
		}
		p.data = final // what Abort has to remove from now on
		// Before the model's rename, or a power cut could keep that one and lose this.
		if err := syncDir(dir); err != nil {
			return fmt.Errorf("write %s: %w", p.target, err)
		}
	}
	if err := moveTo(p.model, p.target, p.force); err != nil {
		return err
	}
	p.done = true
	errs := []error{syncDir(dir)}
	for _, name := range names {
		if name != p.dataName {
			errs = append(errs, removeIfThere(filepath.Join(dir, name)))
		}
	}
	if p.journal != "" {
		errs = append(errs, removeIfThere(p.journal))
	}
	return errors.Join(append(errs, p.lock.release())...)
}

// writeJournal lists the data files that belong to either model, the old or the new. Whoever finds the list after a crash can tell from
// the model in place which of them are still wanted.
func (p *Pending) writeJournal() (names []string, err error) {
	base := filepath.Base(p.target)
	old, err := externalNames(p.target)
	if err != nil {
		old = nil // not a model, so it has no data
	}
	for name := range old {
		if ownData(base, name) {
			names = append(names, name)
		}
	}
	if p.data != "" {
		names = append(names, p.dataName)
	}
	if len(names) == 0 {
		return nil, nil
	}
	p.journal = strings.TrimSuffix(p.model, tempSuffix) + journalSuffix
	return names, writeFile(p.journal, func(f *os.File) error {
		_, err := f.WriteString(strings.Join(names, "\n") + "\n")
		return err
	})
}

// moveTo renames a file; without force only to a name that does not exist, even if it came into being a moment ago.
func moveTo(from, to string, force bool) error {
	if !force {
		switch err := os.Link(from, to); {
		case err == nil:
			return removeIfThere(from)
		case errors.Is(err, fs.ErrExist):
			return &ExistsError{Path: to}
		}
		// No hard links here; the check that Commit has just made has to do.
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return nil
}

// Abort removes the temporary files. After Commit it does nothing, so that it can be deferred.
func (p *Pending) Abort() error {
	if p.done {
		return nil
	}
	p.done = true
	var errs []error
	for _, name := range []string{p.model, p.data, p.journal} {
		if name != "" {
			errs = append(errs, removeIfThere(name))
		}
	}
	return errors.Join(append(errs, p.lock.release())...)
}
