# SPDX-License-Identifier: MIT
# Makefile - the only one.  `make help` lists what it can do.

CC ?= cc
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

PKGS := libssl libcrypto libcurl libcjson libseccomp libcap
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
LIB_SRC := $(COMMON_SRC) $(filter-out $(PROGRAMS:%=proxy/%.c),$(wildcard proxy/*.c proxy/*/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/o/%.o)
# The deputy stands alone inside other people's processes: static, no sanitizer, common/ and its own files only
DEPUTY_SRC := $(COMMON_SRC) $(wildcard proxy/twin/*.c) proxy/mdeputy.c
DEPUTY_OBJ := $(DEPUTY_SRC:%.c=$(BUILD)/static/%.o)
SHIM_OBJ := $(patsubst %.c,$(BUILD)/pic/%.o,$(wildcard shim/*.c))

.PHONY: all
all: $(PROGRAMS:%=$(BUILD)/%) $(BUILD)/libmshim.so

$(BUILD)/libproxy.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/mproxy $(BUILD)/mmigrate $(BUILD)/mrestore: $(BUILD)/%: $(BUILD)/o/proxy/%.o $(BUILD)/libproxy.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/mdeputy: $(DEPUTY_OBJ)
	$(CC) -static -O2 -g -o $@ $^

$(BUILD)/libmshim.so: $(SHIM_OBJ) preload.map
	$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-z,now -Wl,--version-script=preload.map -o $@ $(SHIM_OBJ)

$(BUILD)/o/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) $(DEPFLAGS) -c -o $@ $<

$(BUILD)/static/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -O2 -g -std=gnu11 $(WARN) -fno-strict-aliasing $(DEPFLAGS) -c -o $@ $<

$(BUILD)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -fno-stack-protector $(DEPFLAGS) -c -o $@ $<

# ---- everything that checks --------------------------------------------------
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/%)

$(BUILD)/tests/test_%: $(BUILD)/o/tests/unit/test_%.o $(BUILD)/libproxy.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

.PHONY: check-unit
check-unit: $(UNIT_BIN)
	@for t in $(UNIT_BIN); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build build-san


-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
