#!/bin/bash
# SPDX-License-Identifier: MIT
# check-layers.sh - Who may include what: the layers, and one door for each library
#
#	common/		no library, nothing of the layers above
#	shim/		common only
#	proxy/		common only, and the libraries, each through its door
#	tests/		sees all, is seen by none
#
# What the shim's library takes from others is check_shim.sh's matter.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
fail() {
	echo "FAIL  layers: $*"
	status=1
}

# library's headers      its door: the files, and no others, that may include them
doors='
cjson/                   proxy/json/json.c
curl/                    proxy/link/tls_connect.c
xxhash.h                 proxy/link/checksum.c
openssl/                 proxy/link/identity.c proxy/link/tls_accept.c proxy/link/sha256.c
seccomp.h                proxy/target/filter.c
sys/capability.h         -
fuse                     proxy/target/originfs_parts.h
microhttpd.h             -
zstd.h                   -
'
sources=$(git ls-files 'common/*.[ch]' 'shim/*.[ch]' 'proxy/*.[ch]' 'proxy/**/*.[ch]' | sort -u)
[ -n "$sources" ] || fail "there are no sources"

while read -r header files; do
	[ -n "$header" ] || continue
	# shellcheck disable=SC2086	# a list of files
	for file in $(grep -lE "#[[:space:]]*include <$header" $sources); do
		case " $files " in
		*" $file "*) ;;
		*) fail "$file includes <$header...>; the door is: $files" ;;
		esac
	done
	for file in $files; do
		[ "$file" = - ] || grep -qE "#[[:space:]]*include <$header" "$file" || fail "$file is no door of <$header...>"
	done
done <<<"$doors"

# no library that isn't in the table: whatever isn't libc's or the kernel's
known=$(sed -n 's/^\([a-z/.]\{1,\}\) .*/\1/p' <<<"$doors" | paste -sd '|')
# shellcheck disable=SC2086
for header in $(grep -ohE '#[[:space:]]*include <[^>]*>' $sources | sed 's/.*<\(.*\)>/\1/' | sort -u); do
	[[ $header =~ ^($known) ]] && continue
	case $header in linux/* | sys/* | asm/* | netinet/* | arpa/* | net/*) continue ;; esac
	# shellcheck disable=SC2076
	[[ " assert.h cpuid.h ctype.h dirent.h dlfcn.h elf.h endian.h errno.h fcntl.h getopt.h grp.h inttypes.h limits.h link.h math.h netdb.h poll.h pthread.h pwd.h sched.h signal.h stdarg.h stdbool.h stddef.h stdint.h stdio.h stdlib.h stdnoreturn.h string.h strings.h syscall.h syslog.h termios.h time.h unistd.h wait.h immintrin.h x86intrin.h " == *" $header "* ]] ||
		fail "<$header> has no row in tests/check-layers.sh"
done

# within the tree
forbidden='
common	(shim|proxy|tests)/
shim	(proxy|tests)/
proxy	(shim|tests)/
'
while read -r layer above; do
	[ -n "$layer" ] || continue
	found=$(git ls-files "$layer/*.[ch]" "$layer/**/*.[ch]" | sort -u | xargs -r grep -nE "#[[:space:]]*include \"$above" /dev/null)
	[ -z "$found" ] || fail "$layer stands below: $found"
done <<<"$forbidden"

# what the shim uses of common/ calls no malloc, no stdio and no locks
used=$(git ls-files 'shim/*.[ch]' | xargs -r grep -hoE '#include "common/[a-z_]+\.h"' | sed 's/.*"\(.*\)\.h"/\1/' | sort -u)
for file in $used; do
	for part in "$file.h" "$file.c"; do
		[ -e "$part" ] || continue
		# a macro that only names free() is no call of the shim's: headers may have them
		[ "${part%.h}" = "$part" ] || continue
		if grep -nE '\b(malloc|calloc|realloc|strdup|free|fopen|fprintf|printf|pthread_mutex_lock)\(' "$part"; then
			fail "$part is used by the shim and allocates, prints or locks"
		fi
	done
done

# one header for each source, of the same name; the programs' main files have none
for file in $(git ls-files 'common/*.c' 'shim/*.c' 'proxy/*/*.c'); do
	grep -q 'SPDX-License-Identifier: MIT' "$file" || fail "$file has no SPDX line"
done
[ $status = 0 ] && echo "ok    layers"
exit $status
