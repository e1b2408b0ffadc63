#!/usr/bin/env -S node --max-semi-space-size=2 --no-incremental-marking --single-threaded-gc --heap-growing-percent=50
/**
 * The command line's entry. V8's flags keep what a transfer's buffers cost low: docs/decisions/0007-bin.md.
 */
import { runCommandLine } from "./cli/program.ts";

process.exitCode = await runCommandLine(process.argv.slice(2));
