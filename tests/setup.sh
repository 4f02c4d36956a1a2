#!/bin/sh
# SPDX-License-Identifier: MIT
# setup.sh - Install what building and testing need, on Debian or Ubuntu
#
#	setup.sh [build|check|lint]...		all of them when none is named
#	setup.sh -n ...				only say what is missing; exit status 1: something is
#
# Looks first, without network and without root: what is there already isn't installed again,
# and when everything is there nothing is done.  A row says how to see that a package is there:
# by a program, a header or a file; so it doesn't matter where it came from.
set -eu

# set      package                how to see it
rows='
build      gcc                    program gcc
build      make                   program make
build      libc6-dev              header stdio.h
build      pkg-config             program pkg-config
build      libcurl4-openssl-dev   header curl/curl.h
build      libcjson-dev           header cjson/cJSON.h
build      libssl-dev             header openssl/ssl.h
build      libxxhash-dev          header xxhash.h
build      libseccomp-dev         header seccomp.h
build      libfuse3-dev           header fuse3/fuse_lowlevel.h
build      libcmocka-dev          header cmocka.h
build      scdoc                  program scdoc
check      bats                   program bats
check      iproute2               program ip
check      util-linux             program nsenter
check      bsdutils               program script
check      passwd                 program useradd
check      procps                 program pgrep
check      psmisc                 program pstree
check      python3                program python3
check      perl                   program perl
check      gzip                   program gzip
check      groff-base             program groff
check      man-db                 program man
check      sqlite3                program sqlite3
check      busybox-static         program busybox
check      musl-tools             program musl-gcc
check      golang-go              program go
check      nodejs                 program node
check      strace                 program strace
check      nano                   program nano
check      less                   program less
check      vim                    program vim
check      expect                 program expect
check      git                    program git
check      rsync                  program rsync
check      socat                  program socat
check      openssl                program openssl
check      curl                   program curl
check      uidmap                 program newuidmap
check      libcap2-bin            program capsh
check      default-jdk-headless   program javac
check      clang                  program clang
check      libclang-rt-14-dev     runtime fuzzer
lint       clang-tidy             program clang-tidy
lint       cppcheck               program cppcheck
lint       shellcheck             program shellcheck
'

PATH=$PATH:/usr/sbin:/sbin

# is_there KIND NAME
is_there() {
	case $1 in
	program) command -v "$2" >/dev/null ;;
	header)
		# asks the compiler, which knows where to look; without one everything is missing anyway
		for cc in cc gcc clang; do
			command -v "$cc" >/dev/null || continue
			echo "#include <$2>" | "$cc" -E -I/usr/include/cjson -x c - >/dev/null 2>&1 && return 0
		done
		# cmocka.h wants other headers first
		[ -e "/usr/include/$2" ]
		;;
	runtime)
		command -v clang >/dev/null &&
			[ -e "$(clang "-print-file-name=libclang_rt.$2-$(uname -m).a")" ]
		;;
	esac
}

only_say=
[ "${1:-}" = -n ] && only_say=1 && shift
sets=" ${*:-build check lint} "
for set in $sets; do
	case $set in
	build | check | lint) ;;
	*)
		echo "usage: setup.sh [-n] [build|check|lint]..." >&2
		exit 2
		;;
	esac
done

missing=$(echo "$rows" | while read -r set package kind name; do
	case $sets in *" $set "*) ;; *) continue ;; esac
	is_there "$kind" "$name" || echo "$package"
done)
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086	# a list of packages
set -- $missing
if [ -n "$only_say" ]; then
	echo "missing: $*"
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "setup.sh: root must install these: $*" >&2
	exit 1
fi
# the number in this one's name is that of the clang that comes with the system
available() { apt-cache show "$1" >/dev/null 2>&1; }
apt-get update -q
for package; do
	shift
	if ! available "$package"; then
		case $package in
		libclang-rt-*-dev) package=libclang-rt-dev ;;
		pkg-config) package=pkgconf ;;
		esac
	fi
	set -- "$@" "$package"
done
echo "setup.sh: installing $*"
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
