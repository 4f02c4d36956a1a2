#!/bin/bash
# SPDX-License-Identifier: MIT
# check_docs.sh - Man pages, --help and completion say what the sources do
#
#	check_docs.sh BUILD
#
# What must be there is read from the sources once more, in another way than the pages are made.
# A true mproxy serves completion; no program is moved.
set -u
build=$1
cd "$(dirname "$0")/.." || exit 1
case $build in /*) ;; *) build=$PWD/$build ;; esac
make=${MAKE:-make}
dir=$(mktemp -d) || exit 1
daemon=
status=0
export LC_ALL=C.UTF-8 HOME=$dir XDG_RUNTIME_DIR=$dir
unset XDG_STATE_HOME
trap '[ -n "$daemon" ] && kill "$daemon" 2>/dev/null; rm -rf "$dir"' EXIT

bad=0
fail() {
	echo "check_docs: $*" >&2
	bad=$((bad + 1)) status=1
}

# part NAME - what was checked since the last one
part() {
	if [ $bad = 0 ]; then echo "ok    $1"; else echo "FAIL  $1"; fi
	bad=0
}

# some LEAST WORD... - a list that was read from the sources has so many; else its reader is broken
some() {
	[ $(($# - 1)) -ge "$1" ] || fail "only $(($# - 1)) where $1 were expected: ${*:2}"
}

# ---- what the sources have -------------------------------------------------------

options_of() {
	sed -nE "s/.*\{ \"([a-z-]+)\", ('.'|0),.*/\1/p" "proxy/$1.c"
	printf '%s\n' help version
}
mapfile -t mproxy_options < <(options_of mproxy)
mapfile -t mmigrate_options < <(options_of mmigrate)
mapfile -t commands < <(sed -nE 's/^\t\{ "([a-z]+)", "[a-z]+", "[^"]*",.*/\1/p' proxy/mmigrate.c | sort -u)
mapfile -t reasons < <(sed -nE 's/^REASON\(([A-Z0-9_]+),.*/E_\1/p' proxy/image/reasons.def)
mapfile -t log_codes < <(grep -rhoE '"[EI]_[A-Z_]*[A-Z]\b' --include='*.c' proxy common shim | tr -d '"' | sort -u)
mapfile -t messages < <(sed -nE 's/^WIRE_MSG\(([0-9]+), *([A-Z_]+),.*/\1 \2/p' common/wire.def)
mapfile -t keys < <(sed -nE 's/.*\{ \.name = "([^"]+)", \.read = .*/\1/p' proxy/daemon/policy_read.c)
mapfile -t variables < <(sed -nE 's/.*\{ "([A-Z_]+)", "\/.*/\1/p' proxy/daemon/places.c | sort -u)
some 11 "${mproxy_options[@]}"
some 5 "${mmigrate_options[@]}"
some 7 "${commands[@]}"
some 50 "${reasons[@]}"
some 20 "${log_codes[@]}"
some 50 "${messages[@]}"
some 15 "${keys[@]}"
some 3 "${variables[@]}"

# ---- --help ------------------------------------------------------------------------

for program in mproxy mmigrate; do
	declare -n options=${program}_options
	"$build/$program" --help >"$dir/$program.help" || fail "$program --help fails"
	for option in "${options[@]}"; do
		grep -qE -- "^  (-., |    )--$option( |\$)" "$dir/$program.help" || fail "$program --help doesn't have --$option"
		"$build/$program" --help-as words | grep -q "^option|--$option|" || fail "$program --help-as words doesn't have --$option"
	done
	! grep help-as "$dir/$program.help" || fail "$program --help shows what is hidden"
done
for command in "${commands[@]}"; do
	grep -qE "^[Um].*mmigrate \[OPTION\]\.\.\. $command( |\$)|^  .*mmigrate \[OPTION\]\.\.\. $command( |\$)" "$dir/mmigrate.help" ||
		fail "the usage of mmigrate doesn't have $command"
	grep -qE "^$command +[A-Z]" "$dir/mmigrate.help" || fail "mmigrate --help doesn't say what $command is"
done
part "--help has every option and command"

# ---- the pages -----------------------------------------------------------------------

pages=(mproxy.8 mmigrate.1 mproxy-policy.5 mproxy-protocol.7)

# section PAGE NAME - as text
section() {
	awk -v name="$2" '/^[A-Z]/ { on = $0 == name } on' "$dir/$1"
}

# has_entry PAGE REGEX - a heading of a definition, and its text, which must be there
has_entry() {
	awk -v what="^ +$2" '
		$0 ~ what { on = found = 1; next }
		on && /^$/ { on = 0 }
		on { text = text $0 }
		END { print text; exit !found || text == "" }' "$dir/$1"
}

render() {
	for page in "${pages[@]}"; do
		[ -s "$build/man/$page" ] || { fail "there is no $page"; continue; }
		groff -man -ww -z -Tutf8 "$build/man/$page" >"$dir/said" 2>&1
		! command -v man >/dev/null || man --warnings -E UTF-8 -l "$build/man/$page" 2>>"$dir/said" >/dev/null
		[ ! -s "$dir/said" ] || fail "$page: $(head -n 3 "$dir/said")"
		! command -v lexgrog >/dev/null || lexgrog "$build/man/$page" >/dev/null || fail "$page: its NAME can't be indexed"
		groff -man -Tutf8 -rLL=400n -P-c -P-b -P-o -P-u "$build/man/$page" >"$dir/$page"
		for name in NAME SYNOPSIS DESCRIPTION 'SEE ALSO'; do
			[ "$page $name" = "mproxy-protocol.7 SYNOPSIS" ] || [ -n "$(section "$page" "$name")" ] || fail "$page has no $name"
		done
		! grep -nE '@[A-Za-z-]+@|\\_|^ *\*' "$dir/$page" || fail "$page: that is no text for people"
	done
	# what one of ours refers to
	for other in $(cat "${pages[@]/#/$dir/}" conf/*.service | grep -oE '\b(mproxy|mmigrate)[a-z-]*\([0-9]\)' | sort -u); do
		page=${other%)}
		[ -s "$build/man/${page/(/.}" ] || fail "there is no page $other"
	done
}

check_pages() {
	for program in mproxy.8 mmigrate.1; do
		declare -n options=${program%.*}_options
		for option in "${options[@]}"; do
			section $program OPTIONS | grep -qE -- "^ {7}(-., )?--$option( |\$)" || fail "$program doesn't have --$option"
		done
	done
	for command in "${commands[@]}"; do
		section mmigrate.1 COMMANDS | grep -qE "^ {7}$command( |\$)" || fail "mmigrate.1 doesn't have $command"
		section mmigrate.1 SYNOPSIS | grep -qE "\.\.\. $command( |\$)" || fail "mmigrate.1's SYNOPSIS doesn't have $command"
	done
	for variable in "${variables[@]}"; do
		section mproxy.8 ENVIRONMENT | grep -qw "$variable" || fail "mproxy.8 doesn't have $variable"
	done
	part "mproxy(8) and mmigrate(1) have every option, command and variable"

	for code in "${reasons[@]}"; do
		text=$(has_entry mmigrate.1 "$code( |\$)") || fail "mmigrate.1 doesn't explain $code"
		advice=$(sed -nE "s/^REASON\(${code#E_},[^\"]*\"(.*)\"\).*/\1/p" proxy/image/reasons.def)
		[[ ${text//[‐’]/} == *"${advice//\\/}"* ]] || fail "mmigrate.1 doesn't give the advice of $code: $advice"
	done
	for code in "${log_codes[@]}"; do
		[[ " ${reasons[*]} " == *" $code "* ]] || has_entry mproxy.8 "$code\$" >/dev/null || fail "mproxy.8 doesn't explain $code"
	done
	part "every code is explained"

	for message in "${messages[@]}"; do
		read -r id name <<<"$message"
		text=$(has_entry mproxy-protocol.7 "$name \($id, [A-Z]+\)\$") || fail "mproxy-protocol.7 doesn't have $name"
		while read -r type field; do
			[[ $text == *" $type $field"* ]] || fail "mproxy-protocol.7: $name has no $type $field"
		done < <(awk -v name="$name," '/^WIRE_MSG/ { on = $0 ~ "^WIRE_MSG[(][0-9]+, *" name } on' common/wire.def |
			grep -oE 'FIELD\([a-z0-9]+, [a-z_]+\)' | sed -E 's/FIELD\(|,|\)//g')
	done
	part "mproxy-protocol(7) has every message and field"

	for key in "${keys[@]}"; do
		has_entry mproxy-policy.5 "${key/\$/\\$}: " >/dev/null || fail "mproxy-policy.5 doesn't explain $key"
	done
	part "mproxy-policy(5) has every key"
}

if command -v scdoc >/dev/null && command -v groff >/dev/null; then
	render
	part "man pages render without a warning"
	check_pages
elif [ "${MUST_WORK:-0}" = 1 ]; then
	fail "scdoc or groff is missing"
	part "man pages"
else
	echo "ok    man pages # skip scdoc or groff is missing"
fi

# ---- examples of a policy are policies ----------------------------------------------

i=0
while IFS= read -r line; do
	case $line in
	'{') i=$((i + 1)) && echo '{' >"$dir/example$i" ;;
	'}') echo '}' >>"$dir/example$i" ;;
	*) [ $i = 0 ] || [[ $line != ' '* ]] || echo "$line" >>"$dir/example$i" ;;
	esac
done < <(sed -n '/^# EXAMPLES/,/^# LIMITS/p' conf/man/mproxy-policy.5.scd)
[ $i -ge 2 ] || fail "mproxy-policy(5) has only $i examples"
for ((k = 1; k <= i; k++)); do
	# one that is good leads to the next thing that is wrong: its directory isn't there
	text=$("$build/mproxy" --policy "$dir/example$k" --state "$dir/state" --libexec "$build" --control "$dir/none/sock" 2>&1)
	[[ $text == *none/sock* ]] || fail "mproxy-policy(5), example $k: $text"
done
part "the examples of mproxy-policy(5) are policies"

# ---- completion --------------------------------------------------------------------------

"$build/mproxy" --listen 127.0.0.1:0 --state "$dir/state" --libexec "$build" --control "$dir/sock" \
	--policy conf/policy.json 2>"$dir/log" &
daemon=$!
for _ in {1..50}; do
	[ -S "$dir/sock" ] && break
	sleep 0.1
done
for name in bee beta gamma; do
	pin=$(printf '%s' $name | sha256sum)
	"$build/mmigrate" -q --control "$dir/sock" trust $name 192.0.2.1 "${pin%% *}" || fail "$name can't be trusted"
done
mkdir -p "$dir/files/deep"
touch "$dir/files/one.json" "$dir/files/two words"

# completed "LINE" - what bash makes of LINE, a word a line.  '=' and ':' are words by themselves, as they are there
completed() {
	bash -c '
		. "$1" && . "$2" || exit 1
		line=${3//=/ = }
		[[ $3 != *= ]] || line=${line% }
		read -ra COMP_WORDS <<<"${line//:/ : }"
		[[ $3 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		function=$(complete -p "${COMP_WORDS[0]##*/}") || exit 1
		COMP_WORDS[0]=$4/${COMP_WORDS[0]}
		function=${function#*-F }
		"${function%% *}" 2>&1
		[ ${#COMPREPLY[@]} = 0 ] || printf "%s\n" "${COMPREPLY[@]}"
	' bash "$build/completion/mproxy" "$build/completion/mmigrate" "$1" "$build"
}

# completes "LINE" WORD... - just these
completes() {
	local got want
	got=$(completed "$1" | sort)
	want=$([ $# = 1 ] || printf '%s\n' "${@:2}" | sort)
	[ "$got" = "$want" ] || fail "\"$1\" is completed by: ${got//$'\n'/ }; wanted: ${want//$'\n'/ }"
}

# offers "LINE" WORD... - these among others
offers() {
	local got word
	got=$(completed "$1")
	for word in "${@:2}"; do
		grep -qxF -- "$word" <<<"$got" || fail "\"$1\" isn't completed by $word but by: ${got//$'\n'/ }"
	done
}

at="--control $dir/sock"
offers "mproxy --" "${mproxy_options[@]/#/--}"
offers "mmigrate --" "${mmigrate_options[@]/#/--}"
offers "mmigrate " "${commands[@]}" $$
completes "mmigrate --js" --json
completes "mmigrate -q wh" why
completes "mproxy --adv" --advertise
completes "mproxy --listen --adv" --advertise
completes "mproxy --advertise "
completes "mmigrate $at 1 " bee beta gamma
completes "mmigrate $at 1 be" bee beta
completes "mmigrate --control=$dir/sock why 1 g" gamma
completes "mmigrate -c $dir/sock untrust b" bee beta
completes "mmigrate $at 1 bee "
completes "mmigrate --control $dir/nothing 1 "
offers "mmigrate why " $$ $daemon
offers "mmigrate home $$" $$
completes "mmigrate home 99999999"
completes "mmigrate home $$ "
completes "mmigrate $at peers "
completes "mmigrate policy $dir/files/" "$dir/files/one.json" "$dir/files/two words" "$dir/files/deep"
completes "mproxy --policy $dir/files/o" "$dir/files/one.json"
completes "mproxy --policy=$dir/files/o" "$dir/files/one.json"
completes "mproxy -s $dir/files/" "$dir/files/deep"
completes "mproxy --state=$dir/files/" "$dir/files/deep"
offers "mproxy --state=" proxy common
completes "mmigrate -- --"
part "bash completes options, commands, hosts, processes and files"

if command -v zsh >/dev/null; then
	for name in mproxy mmigrate; do
		zsh -n "$build/completion/_$name" || fail "zsh can't read _$name"
	done
	part "zsh reads its completion"
fi

# ---- installation --------------------------------------------------------------------------

# As it was built: another PREFIX would build it anew
prefix=$(cat "$build/prefix")
make_it() {
	"$make" --no-print-directory "$@" DESTDIR="$dir/root" PREFIX="$prefix" BUILD="${build#"$PWD/"}" >"$dir/said" 2>&1 ||
		fail "make $*: $(tail -n 3 "$dir/said")"
}

# installed VARIABLE... - with it, what is installed goes to $dir/installed; uninstall leaves nothing
installed() {
	make_it install "$@"
	(cd "$dir/root$prefix" && find share/man share/bash-completion share/zsh -type f | sort) >"$dir/installed" 2>/dev/null
	make_it uninstall
	[ -z "$(find "$dir/root" -type f)" ] || fail "make uninstall leaves $(find "$dir/root" -type f)"
}
installed
for file in share/bash-completion/completions/m{proxy,migrate} share/zsh/site-functions/_m{proxy,migrate} \
	$(! command -v scdoc >/dev/null || printf 'share/man/man%s\n' 8/mproxy.8 1/mmigrate.1 5/mproxy-policy.5 7/mproxy-protocol.7); do
	grep -qx "$file" "$dir/installed" || fail "make install doesn't install $file"
done
installed HAS_SCDOC=
! grep share/man "$dir/installed" || fail "without scdoc, man pages are installed"
part "pages and completion are installed, and removed"

exit $status
