# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# forks.bash - The kinds of move.rows for programs that make processes after they have moved

# forks_there COMMAND... - says ready, is moved, and makes its processes there
forks_there() {
	start_program hosta "$@" && wait_for "$OUT" '^ready$' && move hostb && say go
}

# It judges itself, and ends there
row_forks() {
	is_built "$1" && forks_there "$@" && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}
