// Package cli is the command line: commands, flags, configuration files, progress and the rendering of results. It is the only
// package that prints, reads flags or knows of a terminal; Run can be called by tests as main calls it.
//
// What a command is asked for goes to standard output and nothing else does, so that output can be piped; progress, notes and errors
// go to standard error. Errors are one line each, and the exit code tells scripts what kind of error it was (errors.go).
package cli
