#!/bin/bash
# SPDX-License-Identifier: MIT
# run-victims.sh - Run every victim where it is, without moving it: does it say ok?
#
#	run-victims.sh DIRECTORY	where they were built
#
# A victim that fails here says nothing about a move.
set -u
VICTIM_SECONDS=${VICTIM_SECONDS:-1}
export VICTIM_SECONDS
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed="" passed=0
for program in "$1"/*; do
	case ${program##*/} in
	v_counter*) set -- "$1" "$scratch/counter" ;;
	v_fds*) set -- "$1" "$scratch" ;;
	v_sleep*) set -- "$1" 1 child ;;
	*) set -- "$1" ;;
	esac
	# its input ends at once, which is not a line: it goes on for its time
	said=$(timeout 60 "$program" "${@:2}" </dev/null 2>&1 | tail -n 1)
	if [ "$said" = ok ]; then
		passed=$((passed + 1))
		echo "ok    ${program##*/}"
	else
		failed="$failed ${program##*/}"
		echo "FAIL  ${program##*/}: $said"
	fi
done
[ -z "$failed" ] || exit 1
echo "all $passed victims say ok"
