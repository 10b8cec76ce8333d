#!/bin/sh
# cargo calls this in place of rustc for the crates of this workspace only, so that dependencies are not built again.
# Counters are kept in the mapped profile file: a process that is killed leaves what it has counted.
exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation
