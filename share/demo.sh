#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What nlpeer does, in one screen. Runs in the VM: nlvm run -- sh demo.sh
# and also on a machine where the module is loaded.
set -eu

run() {
	printf '\n$ %s\n' "$*"
	"$@"
}

echo "Linux $(uname -r), nlpeer $(cat /sys/module/nlpeer/version)"
run nlecho -c 3 -i 0.2 hello
run nlecho --via genl -c 3 -i 0.2 hello
run nlctl beacon set --interval 200ms --size 8
run nlsub -c 3 --fail-on-gap
run nlsub --via genl -c 3 --fail-on-gap
run nlctl stats
