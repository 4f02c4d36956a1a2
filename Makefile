# SPDX-License-Identifier: MIT
# Makefile - the only one.  `make help` lists what it can do.

CC ?= cc
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

PKGS := libssl libcrypto libcurl libcjson libseccomp fuse3
# pkg-config is only asked when something is compiled: `make demo` installs it first
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
LIBS = -Wl,--as-needed $(shell pkg-config --libs $(PKGS)) -lxxhash

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CPPFLAGS += -I. -I$(BUILD) -D_GNU_SOURCE -DMSHIM_VERSION='"$(VERSION)"' -DPREFIX='"$(PREFIX)"'
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu11 $(WARN) -fvisibility=hidden -fstack-protector-strong -fno-strict-aliasing
DEPFLAGS = -MMD -MP

ifeq ($(SANITIZE),1)
BUILD := build-san
CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
endif

PROGRAMS := mproxy mmigrate mrestore mdeputy
COMMON_SRC := $(wildcard common/*.c)
LIB_SRC := $(COMMON_SRC) $(filter-out $(PROGRAMS:%=proxy/%.c) proxy/deputy/%,$(wildcard proxy/*.c proxy/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/o/%.o)
# The deputy stands alone inside other people's processes: static, no sanitizer, common/ and its own files only
DEPUTY_SRC := $(COMMON_SRC) $(wildcard proxy/twin/*.c proxy/deputy/*.c) proxy/mdeputy.c
DEPUTY_OBJ := $(DEPUTY_SRC:%.c=$(BUILD)/static/%.o)
SHIM_OBJ := $(patsubst %.c,$(BUILD)/pic/%.o,$(wildcard shim/*.c) common/call.c)

.PHONY: all
all: $(PROGRAMS:%=$(BUILD)/%) $(BUILD)/libmshim.so

$(BUILD)/libproxy.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/mproxy $(BUILD)/mmigrate $(BUILD)/mrestore: $(BUILD)/%: $(BUILD)/o/proxy/%.o $(BUILD)/libproxy.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/mdeputy: $(DEPUTY_OBJ)
	$(CC) -static -O2 -g -o $@ $^

# Neither does the shim take a sanitizer into a stranger's process.  Two segments instead of four and no start
# files: the loader maps it with two calls less than other libraries, and looks up no weak names
SHIM_CFLAGS = $(filter-out -fsanitize% -fno-sanitize% -fstack-protector%,$(CFLAGS)) -fPIC -fno-stack-protector \
	-mno-red-zone -ffunction-sections -fdata-sections
SHIM_LDFLAGS := -shared -nostartfiles -Wl,-z,now,-z,relro,-z,noseparate-code,-z,defs,--hash-style=gnu,--gc-sections

$(BUILD)/libmshim.so: $(SHIM_OBJ) preload.map
	$(CC) $(SHIM_CFLAGS) $(SHIM_LDFLAGS) -Wl,--version-script=preload.map -o $@ $(SHIM_OBJ)

$(BUILD)/o/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(DEPFLAGS) -c -o $@ $<

$(BUILD)/static/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -O2 -g -std=gnu11 $(WARN) -fno-strict-aliasing $(DEPFLAGS) -c -o $@ $<

$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(SHIM_CFLAGS) $(DEPFLAGS) -c -o $@ $<

# ---- man pages and completion --------------------------------------------------
# What a table of the sources says is not written down again: a page's template has a line @NAME@
# where the part NAME is put in, and the parts are printed by the programs and awk
PAGES := mproxy.8 mmigrate.1 mproxy-policy.5 mproxy-protocol.7
MAN := $(BUILD)/man
MAN_PARTS := $(MAN)/parts
COMPLETED := mproxy mmigrate
COMPLETION := $(COMPLETED:%=$(BUILD)/completion/%) $(COMPLETED:%=$(BUILD)/completion/_%)
ASSEMBLE = awk -v parts=$(MAN_PARTS) -v version=$(VERSION) -v prefix='$(PREFIX)' -f conf/assemble.awk
PARTS := $(addprefix $(MAN_PARTS)/,mproxy-usage mproxy-options mproxy-words \
	mmigrate-usage mmigrate-commands mmigrate-options mmigrate-words \
	policy-top policy-rule policy-peer policy-defaults messages codes)
# Is asked when something is built: `make demo` installs it first
HAS_SCDOC = $(shell command -v scdoc)

#	PART(command): whole or not at all
PART = mkdir -p $(@D) && $(1) >$@.new && mv $@.new $@

$(MAN_PARTS)/mproxy-%: $(BUILD)/mproxy
	@$(call PART,$< --help-as $*)

$(MAN_PARTS)/mmigrate-%: $(BUILD)/mmigrate
	@$(call PART,$< --help-as $*)

$(MAN_PARTS)/policy-%: $(BUILD)/policy_keys conf/policy.schema.json
	@$(call PART,$^ $*)

$(MAN_PARTS)/messages: common/wire.def conf/man/table.awk
	@$(call PART,awk -f conf/man/table.awk $<)

$(MAN_PARTS)/codes: proxy/image/reasons.def conf/man/table.awk
	@$(call PART,awk -f conf/man/table.awk $<)

$(BUILD)/policy_keys: $(BUILD)/o/conf/man/policy_keys.o $(BUILD)/libproxy.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(PAGES:%=$(MAN)/%): $(MAN)/%: conf/man/%.scd $(PARTS) conf/assemble.awk $(BUILD)/prefix
	@echo scdoc $@; $(ASSEMBLE) $< >$@.scd && scdoc <$@.scd >$@.new && mv $@.new $@

$(COMPLETED:%=$(BUILD)/completion/%): $(BUILD)/completion/%: conf/completion/bash.in $(MAN_PARTS)/%-words conf/assemble.awk
	@mkdir -p $(@D)
	@$(ASSEMBLE) -v program=$* $< >$@.new && mv $@.new $@

$(COMPLETED:%=$(BUILD)/completion/_%): $(BUILD)/completion/_%: conf/completion/zsh.in $(MAN_PARTS)/%-words conf/assemble.awk
	@mkdir -p $(@D)
	@$(ASSEMBLE) -v program=$* $< >$@.new && mv $@.new $@

$(BUILD)/no-scdoc:
	@echo 'no scdoc: the man pages are left out'; mkdir -p $(@D); touch $@

.PHONY: man completion
man: $(PAGES:%=$(MAN)/%)
completion: $(COMPLETION)
all: completion $(if $(HAS_SCDOC),man,$(BUILD)/no-scdoc)

# What knows PREFIX is compiled again when it changes
$(BUILD)/o/proxy/daemon/places.o: $(BUILD)/prefix
$(BUILD)/prefix: FORCE
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' >$@
.PHONY: FORCE

# ---- everything that checks --------------------------------------------------
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/tests/replay_%)
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(BUILD)/fuzz/%)
FUZZ_SECONDS ?= 30
TEST_SECONDS ?= 120

.SECONDARY: $(UNIT_SRC:%.c=$(BUILD)/o/%.o) $(FUZZ_SRC:%.c=$(BUILD)/o/%.o) $(FUZZ_SRC:%.c=$(BUILD)/fuzz/o/%.o)

$(BUILD)/tests/test_%: $(BUILD)/o/tests/unit/test_%.o $(BUILD)/libproxy.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(BUILD)/tests/replay_fuzz_%: $(BUILD)/o/tests/fuzz/fuzz_%.o $(BUILD)/o/tests/fuzz/replay.o $(BUILD)/libproxy.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# The fuzzers have objects of their own: everything in them must be instrumented
FUZZ_FLAGS := -O1 -g -std=gnu11 -fno-strict-aliasing -fsanitize=address,undefined -fno-sanitize-recover=undefined

$(BUILD)/fuzz/o/%.o: %.c
	@mkdir -p $(@D)
	clang $(CPPFLAGS) $(PKG_CFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(DEPFLAGS) -c -o $@ $<

$(BUILD)/fuzz/libproxy.a: $(LIB_SRC:%.c=$(BUILD)/fuzz/o/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/o/tests/fuzz/fuzz_%.o $(BUILD)/fuzz/libproxy.a
	clang $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# Programs and libraries that meet libmshim.so in one process
SHIM_TEST_SRC := $(wildcard tests/shim/*.c)
SHIM_TESTS := $(patsubst tests/shim/%.c,$(BUILD)/shim/%,$(filter-out tests/shim/lib%,$(SHIM_TEST_SRC))) \
	$(patsubst tests/shim/%.c,$(BUILD)/shim/%.so,$(filter tests/shim/lib%,$(SHIM_TEST_SRC)))
# -z now: a handler on a tiny stack has no room for the loader
SHIM_TEST_CC = $(CC) -Wl,-z,now -O2 -g -std=gnu11 -D_GNU_SOURCE $(WARN) -I. -pthread

$(BUILD)/shim/%: tests/shim/%.c $(wildcard tests/shim/*.h common/*.h)
	@mkdir -p $(@D)
	$(SHIM_TEST_CC) -o $@ $<

$(BUILD)/shim/lib%.so: tests/shim/lib%.c
	@mkdir -p $(@D)
	$(SHIM_TEST_CC) -shared -fPIC -o $@ $<

# Every unit test, then every fuzzer's corpus.  All are run; what failed is shown whole, at the end its name
.PHONY: check-unit
check-unit: $(UNIT_BIN) $(REPLAY_BIN) $(SHIM_TESTS) all
	@tests/check_shim.sh $(BUILD)/libmshim.so $(BUILD)/shim
	@tests/check_shim_programs.sh $(BUILD)
	@tests/check_commands.sh $(BUILD)
	@MAKE='$(MAKE)' tests/check_docs.sh $(BUILD)
	@tests/run-unit.sh $(TEST_SECONDS) $(UNIT_BIN) $(REPLAY_BIN)

# The system tests' programs: process 1 of a host, and what is moved.  A victim is built three ways:
# NAME with the shared glibc, NAME-static, and NAME-musl where musl-gcc can; and one in Go, where go is
VICTIM_SRC := $(wildcard tests/victims/v_*.c)
VICTIMS := $(VICTIM_SRC:tests/victims/%.c=$(BUILD)/victims/%)
VICTIM_CC = -O2 -g -std=gnu11 -D_GNU_SOURCE $(WARN) -I. -pthread
VICTIM_DEPS := $(wildcard tests/victims/*.h)

$(BUILD)/tests/hostinit: tests/system/hostinit.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

.PHONY: victims
victims: $(VICTIMS) $(VICTIMS:%=%-static) $(VICTIMS:%=%-musl) $(BUILD)/victims/goloop

$(VICTIMS): $(BUILD)/victims/%: tests/victims/%.c $(VICTIM_DEPS)
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CC) -o $@ $<

$(BUILD)/victims/%-static: tests/victims/%.c $(VICTIM_DEPS)
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CC) -static -o $@ $<

$(BUILD)/victims/%-musl: tests/victims/%.c $(VICTIM_DEPS)
	@mkdir -p $(@D)
	@if command -v musl-gcc >/dev/null; then echo musl-gcc -static -o $@ $<; \
		musl-gcc $(VICTIM_CC) -static -o $@ $<; else echo "no musl-gcc: $@ is left out"; fi

$(BUILD)/victims/goloop: tests/victims/goloop.go
	@mkdir -p $(@D)
	@if command -v go >/dev/null; then echo go build -o $@ $<; \
		GOFLAGS=-mod=mod CGO_ENABLED=0 go build -o $@ $<; else echo "no go: $@ is left out"; fi

.PHONY: check-victims
check-victims: victims
	@tests/run-victims.sh $(BUILD)/victims

# The test bed, as root
.PHONY: check-hosts
check-hosts: $(BUILD)/tests/hostinit
	bats tests/system/hosts.bats

# All the tests, after installing what they need.  Ends with one line: N passed, N failed
.PHONY: check check-ready soak
ifeq ($(SANITIZE),1)
check:
	@tests/setup.sh build check
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/check.sh unit
else
check: check-ready
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/check.sh
endif

# The long form: every combination, many times; leaves its result in tests/soak.last
soak: check-ready
	@BUILD=$(BUILD) MAKE='$(MAKE)' tests/soak.sh

# A make of its own, once there is a compiler.  Products are built before anything is run
check-ready:
	@tests/setup.sh build check
	@mkdir -p $(BUILD)
	@$(MAKE) --no-print-directory -j$$(nproc) all victims unit-programs $(BUILD)/tests/hostinit >$(BUILD)/make.log 2>&1 || \
		{ tail -n 40 $(BUILD)/make.log; echo "0 passed, 1 failed"; exit 1; }

.PHONY: unit-programs
unit-programs: $(UNIT_BIN) $(REPLAY_BIN) $(SHIM_TESTS)

# A program goes to another host and comes home, before your eyes
.PHONY: demo
demo:
	@tests/setup.sh build check
	@echo "building (make all)..."
	@$(MAKE) --no-print-directory -s -j$$(nproc) all $(BUILD)/tests/hostinit >/dev/null
	@BUILD=$(BUILD) tests/demo.sh

LINT_SRC := $(wildcard common/*.c shim/*.c proxy/*.c proxy/*/*.c)

LINT_TIDY := $(LINT_SRC:%=tidy-%)

.PHONY: lint $(LINT_TIDY)
$(LINT_TIDY): tidy-%:
	@echo clang-tidy $*; clang-tidy --quiet $* -- -std=gnu11 $(CPPFLAGS) $(PKG_CFLAGS) 2>/dev/null

# cppcheck doesn't know __attribute__((cleanup)) and what wire_get_*() fill, and shellcheck not what bats and the files that read each other set
lint:
	@tests/setup.sh build lint
	@$(MAKE) --no-print-directory -k -j$$(nproc) $(LINT_TIDY)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=nullPointerOutOfMemory --suppress=memleak --suppress=preprocessorErrorDirective --suppress=ctuuninitvar \
		-D_GNU_SOURCE -DMSHIM_VERSION='"0"' -DPREFIX='""' -I. $(LINT_SRC)
	shellcheck -x -S warning -e SC2034,SC2154 tests/*.sh tests/system/*.sh tests/system/*.bash .ci/run

# New inputs stay in $(BUILD)/fuzz; one that should stay found is copied to tests/fuzz/corpus
.PHONY: fuzz
fuzz: $(FUZZ_BIN)
	@tests/run-fuzz.sh $(BUILD) $(FUZZ_SECONDS) $(FUZZ_BIN)

# Ratios, no tests: what a pause costs, next to what copying costs; the table stays in tests/bench/last.txt (root)
BENCH_BIN := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))
BENCH_VICTIMS := $(addprefix $(BUILD)/victims/v_,hello threads64 maps500)

.PHONY: bench
bench: all $(BENCH_BIN) $(BUILD)/bench/moved-static $(BENCH_VICTIMS) $(BUILD)/shim/libempty.so
	@BUILD=$(BUILD) tests/bench/bench.sh

$(BENCH_BIN): $(BUILD)/bench/%: $(BUILD)/o/tests/bench/%.o $(BUILD)/libproxy.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/bench/moved-static: tests/bench/moved.c
	@mkdir -p $(@D)
	$(CC) $(VICTIM_CC) -static -o $@ $<

# ---- installation --------------------------------------------------------------
#	INSTALL_AT(mode, file, where below PREFIX)
INSTALL_AT = install -D -m $(1) $(2) '$(DESTDIR)$(PREFIX)/$(3)'
UNIT_AT = install -d '$(DESTDIR)$(PREFIX)/$(dir $(2))' && \
	sed 's|@PREFIX@|$(PREFIX)|g' $(1) >'$(DESTDIR)$(PREFIX)/$(2)' && chmod 644 '$(DESTDIR)$(PREFIX)/$(2)'
PAGE_PLACES := $(foreach page,$(PAGES),share/man/man$(subst .,,$(suffix $(page)))/$(page))
INSTALLED := bin/mproxy bin/mmigrate libexec/mproxy/mrestore libexec/mproxy/mdeputy lib/libmshim.so \
	share/mproxy/policy.json share/mproxy/policy.schema.json \
	lib/systemd/system/mproxy.service lib/systemd/user/mproxy.service \
	$(COMPLETED:%=share/bash-completion/completions/%) $(COMPLETED:%=share/zsh/site-functions/_%) $(PAGE_PLACES)

.PHONY: install
install: all
	$(call INSTALL_AT,755,$(BUILD)/mproxy,bin/mproxy)
	$(call INSTALL_AT,755,$(BUILD)/mmigrate,bin/mmigrate)
	$(call INSTALL_AT,755,$(BUILD)/mrestore,libexec/mproxy/mrestore)
	$(call INSTALL_AT,755,$(BUILD)/mdeputy,libexec/mproxy/mdeputy)
	$(call INSTALL_AT,755,$(BUILD)/libmshim.so,lib/libmshim.so)
	$(call INSTALL_AT,644,conf/policy.json,share/mproxy/policy.json)
	$(call INSTALL_AT,644,conf/policy.schema.json,share/mproxy/policy.schema.json)
	$(call UNIT_AT,conf/mproxy.service,lib/systemd/system/mproxy.service)
	$(call UNIT_AT,conf/mproxy.user.service,lib/systemd/user/mproxy.service)
	@set -ex; for name in $(COMPLETED); do \
		$(call INSTALL_AT,644,$(BUILD)/completion/$$name,share/bash-completion/completions/'$$name'); \
		$(call INSTALL_AT,644,$(BUILD)/completion/_$$name,share/zsh/site-functions/_'$$name'); done
	@set -ex; for page in $(if $(HAS_SCDOC),$(PAGE_PLACES)); do \
		$(call INSTALL_AT,644,$(MAN)/$${page##*/},'$$page'); done

# Keys, peers and sessions stay, in the state directory
.PHONY: uninstall
uninstall:
	rm -f $(INSTALLED:%='$(DESTDIR)$(PREFIX)/%')
	rmdir '$(DESTDIR)$(PREFIX)/libexec/mproxy' '$(DESTDIR)$(PREFIX)/share/mproxy' 2>/dev/null || true

.PHONY: help
help:
	@echo 'make                 build everything into $(BUILD)/'
	@echo 'make man             man pages, in $(MAN)/; part of make where scdoc is'
	@echo 'make demo            two hosts on this machine; a program goes there and comes home (root)'
	@echo 'make check           all the tests, in the end "N passed, N failed"'
	@echo 'make check-unit      unit tests and the corpora of the fuzzers; no root, some seconds'
	@echo 'make check SANITIZE=1   unit tests with ASan and UBSan, in build-san/'
	@echo 'make check-victims   the programs that the tests move, without moving them'
	@echo 'make check-hosts     the test bed itself (root)'
	@echo 'make soak            every combination, hundreds of moves; result in tests/soak.last (root)'
	@echo 'make fuzz            the fuzzers, FUZZ_SECONDS=$(FUZZ_SECONDS) each (clang)'
	@echo 'make bench           pauses, as ratios to what plain copying costs'
	@echo 'make lint            clang-tidy, cppcheck, shellcheck'
	@echo 'make install         into PREFIX=$(PREFIX), below DESTDIR; make uninstall'
	@echo 'make clean'

.PHONY: clean
clean:
	rm -rf build build-san


-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
