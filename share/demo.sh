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
run nlctl object replace port/1 up 10G
run nlctl object append port/1 full-duplex
run nlctl object list --prefix port/

# A watcher that is stopped while much changes: its receive buffer overruns, and
# what it missed comes from the kernel's history, in order and without a loss.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkfifo "$tmp/watcher"
printf '\n$ %s\n' 'nlctl object watch --prefix load/ --rcvbuf 4K -c 400 --idle-timeout 5s'
nlctl object watch --prefix load/ --rcvbuf 4K -c 400 --idle-timeout 5s --list-first >"$tmp/watcher" &
exec 3<"$tmp/watcher"
read -r _ <&3 # of a table without rows: it listens
kill -STOP $!
seq -w 200 | sed 's|.*|add load/& up|' | nlctl object batch
nlctl object del --prefix load/
kill -CONT $!
cat <&3 >"$tmp/seen"
sed '4,398d; 3s/.*/.../' "$tmp/seen"

for sign in + -; do seq -w 200 | sed "s|.*|$sign load/&|"; done >"$tmp/made"
head -n 400 "$tmp/seen" | cut -d' ' -f1,2 | cmp - "$tmp/made"
wait $! # 1 if a change was lost
grep -q '^[0-9]* received, [1-9][0-9]* recovered, 0 lost, 1 overrun$' "$tmp/seen"
