#!/usr/bin/env -S node --max-semi-space-size=32
/**
 * The command line's entry. The young generation is larger than V8's default: chunks of a megabyte fill that several times a second, and
 * each time it is full they are all looked at.
 */
import { runCommandLine } from "./cli/program.ts";

process.exitCode = await runCommandLine(process.argv.slice(2));
