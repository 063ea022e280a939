# Rille's build. `make run` and `make test` need nothing but make itself: what is missing is
# installed first. All output goes to $(BUILD).

BUILD  ?= build
CC     ?= cc
CFLAGS ?= -O2 -g
WERROR ?= -Werror
PREFIX ?= /usr/local

# Both are looked up when used, because .ci/setup may install Lua in the first line of a recipe.
LUA        ?= $$(command -v lua5.4 || echo lua)
LUA_INCDIR ?= $(shell .ci/lua-incdir)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion $(WERROR)
BASE     := -std=c11 -D_GNU_SOURCE -fPIC -pthread -fvisibility=hidden -MMD -MP -Icsrc
COMPILE   = $(CC) $(BASE) $(WARNINGS) $(CFLAGS) $(SANITIZE)

CORE_SRC := $(wildcard csrc/core/*.c)
LUA_SRC  := $(wildcard csrc/lua/*.c)
TEST_SRC := $(wildcard spec/core/*_test.c)
MODULES  := $(shell find lua -name '*.lua' 2>/dev/null)

MODULE   := $(BUILD)/rille/core.so
CORE_OBJ := $(CORE_SRC:%.c=$(BUILD)/%.o)
LUA_OBJ  := $(LUA_SRC:%.c=$(BUILD)/%.o)
PROGRAMS := $(TEST_SRC:%.c=$(BUILD)/%)

# Specs to run, and options for busted, such as --exclude-tags=slow.
SPEC      ?= $(sort $(wildcard spec/*_spec.lua))
SPECFLAGS ?=

# The module of this tree comes first, for every program started from here; rocks that .ci/setup
# installed into the home come last.
ROCKS := $(HOME)/.luarocks
export LUA_PATH  := $(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(subst ;;,;,$(or $(LUA_PATH_5_4),$(LUA_PATH)));;$(ROCKS)/share/lua/5.4/?.lua;$(ROCKS)/share/lua/5.4/?/init.lua
export LUA_CPATH := $(abspath $(BUILD))/?.so;$(subst ;;,;,$(or $(LUA_CPATH_5_4),$(LUA_CPATH)));;$(ROCKS)/lib/lua/5.4/?.so
unexport LUA_PATH_5_4 LUA_CPATH_5_4
export PATH := $(PATH):$(ROCKS)/bin

.PHONY: all build programs setup run test coretest spec stress bench bench-quick bench-curves lint asan tsan docs install clean
.DELETE_ON_ERROR:

all: build
build: $(MODULE) ; @:
programs: $(PROGRAMS) ; @:

$(MODULE): $(CORE_OBJ) $(LUA_OBJ)
	@mkdir -p $(@D)
	$(CC) -shared -pthread $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $^

$(BUILD)/csrc/core/%.o: csrc/core/%.c Makefile
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

$(BUILD)/csrc/lua/%.o: csrc/lua/%.c Makefile
	@mkdir -p $(@D)
	$(COMPILE) -I$(LUA_INCDIR) -c -o $@ $<

# A program for the core links the core and no Lua.
$(BUILD)/spec/core/%: spec/core/%.c $(CORE_OBJ)
	@mkdir -p $(@D)
	$(COMPILE) -Ispec -MF $@.d -o $@ $< $(CORE_OBJ) $(LDFLAGS) -lm

-include $(CORE_OBJ:.o=.d) $(LUA_OBJ:.o=.d) $(PROGRAMS:=.d)

# Builds use all cores, unless make was told a number.
SUBMAKE = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

setup:
	@.ci/setup run test

# Without ARGS the example fetches from a server of its own, which also fails and hangs on purpose:
# its exit code 1, "not all were fetched", is then as it should be.
run:
	@.ci/setup run
	+@$(SUBMAKE) build
	@$(LUA) examples/fetch.lua $(ARGS) || { [ $$? = 1 ] && [ -z "$(ARGS)" ]; }

test:
	@.ci/setup run test
	+@$(SUBMAKE) build programs
	@$(LUA) spec/run.lua $(SPECFLAGS) $(PROGRAMS) $(SPEC)

coretest: programs
	@$(LUA) spec/run.lua $(PROGRAMS)

spec: build
	@$(LUA) spec/run.lua $(SPECFLAGS) $(SPEC)

# Ten minutes unless SECONDS says otherwise.
stress: SECONDS ?= 600
stress: build programs
	@RILLE_STRESS=$(SECONDS) RILLE_SPEC_TIMEOUT=$$(($(SECONDS) * 2 + 60)) $(LUA) spec/run.lua \
	  $(filter %stress_test,$(PROGRAMS)) $(wildcard spec/*stress*_spec.lua)

# All workloads beside Go; a shorter run of under two minutes; and costs as sizes grow.
bench bench-quick bench-curves:
	@.ci/setup run bench
	+@$(SUBMAKE) build
	@$(LUA) bench/$(if $(filter %-curves,$@),curves,run).lua $(if $(filter %-quick,$@),--quick) $(ARGS)

# Style, static analysis, and all of it once more by the other compiler. The null pointer checks
# are off because cppcheck takes luaL_error and its kin for functions that return.
lint:
	@.ci/setup run lint
	luacheck --quiet $(wildcard lua lua/bin/rille docs spec examples bench .busted .luacheckrc rockspec/*.rockspec)
	clang-format --dry-run -Werror $(wildcard csrc/*/*.[ch] spec/core/*.[ch])
	cppcheck --quiet --error-exitcode=1 --std=c11 --language=c --inline-suppr \
	  --enable=warning,performance,portability \
	  --suppress=nullPointerRedundantCheck --suppress=ctunullpointer \
	  -Icsrc csrc $(wildcard spec/core)
	+$(SUBMAKE) BUILD=$(BUILD)/clang CC=clang build programs

# Rewrites the C sources in the project's style.
.PHONY: format
format:
	clang-format -i $(wildcard csrc/*/*.[ch] spec/core/*.[ch])

asan:
	@.ci/setup run test asan
	+@$(SUBMAKE) sanitized BUILD=$(BUILD)/asan-$(notdir $(CC)) \
	  SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" NOT=notasan

tsan:
	@.ci/setup run test tsan
	+@$(SUBMAKE) sanitized BUILD=$(BUILD)/tsan-$(notdir $(CC)) SANITIZE=-fsanitize=thread NOT=nottsan

# All tests in processes that are sanitized as a whole, Lua included; the slow ones are left out, and
# those that look at the size of the process, which a sanitizer makes its own.
.PHONY: sanitized
sanitized: export RILLE_LUA = $(abspath $(BUILD))/lua
sanitized: export RILLE_SPEC_TIMEOUT ?= 600
sanitized: export ASAN_OPTIONS ?= detect_leaks=1:handle_abort=1
sanitized: export UBSAN_OPTIONS ?= print_stacktrace=1
sanitized: export TSAN_OPTIONS ?= second_deadlock_stack=1:history_size=4:atexit_sleep_ms=100
sanitized: CFLAGS = -O1 -g -fno-omit-frame-pointer
sanitized: SPECFLAGS = --exclude-tags=slow,memory,$(NOT)
sanitized: $(BUILD)/lua build programs
	@$(LUA) spec/run.lua $(SPECFLAGS) $(PROGRAMS) $(SPEC)

$(BUILD)/lua: .ci/lua-sanitized
	@mkdir -p $(@D)
	.ci/lua-sanitized $@ $(CC) $(CFLAGS) $(SANITIZE)

# Writes the reference from the comments in the sources, and checks that it is complete.
docs:
	@.ci/setup run test
	.ci/ldoc --filter docs.reference.write csrc/lua
	.ci/ldoc --filter docs.reference.write lua/rille
	+@$(SUBMAKE) spec SPEC=spec/docs_spec.lua

install: build
	install -d "$(DESTDIR)$(PREFIX)/lib/lua/5.4/rille"
	install -m 755 $(MODULE) "$(DESTDIR)$(PREFIX)/lib/lua/5.4/rille"
	set -e; for file in $(MODULES:lua/%=%); do \
	  install -D -m 644 lua/$$file "$(DESTDIR)$(PREFIX)/share/lua/5.4/$$file"; \
	done
	install -D -m 755 lua/bin/rille "$(DESTDIR)$(PREFIX)/bin/rille"

clean:
	rm -rf $(BUILD)
