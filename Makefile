# SPDX-License-Identifier: MIT
#
# "make help" lists the targets. The module's own build file is Kbuild.

GO	?= go
PREFIX	?= /usr/local
KDIR	?= /lib/modules/$(shell uname -r)/build
kernel	:= $(shell uname -r)
version	:= $(shell cat VERSION)
source	:= $(DESTDIR)/usr/src/nlpeer-$(version)

bin	:= build/bin
FUZZTIME ?= 60s
FUZZKERNEL ?= debug
nlvm	:= $(bin)/nlvm
commands := ./cmd/nlecho ./cmd/nlsub ./cmd/nlctl ./cmd/nlbench ./vm-test/cmd/nlvm ./labs/cmd/nllab

# The suites run inside the VM, against the module; all others on the host.
KERNEL	?= default
elsewhere := -e /vm-test/suites -e /labs/src/

# Go's own cache of results knows nothing of what nlvm makes and starts.
fresh	:= -count=1

export CGO_ENABLED := 0

.DELETE_ON_ERROR:
.PHONY: all module commands contenders bench breakdown demo test test-host test-vm \
	labs-check test-matrix test-debug test-long coverage fuzz vm lint generate install uninstall clean help

## make			the module for the running kernel, and the commands
all: module commands

module:
	@test -e $(KDIR)/Makefile || { echo "make: no kernel headers in $(KDIR); try: sudo apt-get install linux-headers-$(kernel), or without the module: make commands" >&2; exit 1; }
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

# Without the commit in them, so that equal sources make equal programs: results are
# kept by the content of nlvm.
## make commands		only the commands, in build/bin
commands:
	@mkdir -p $(bin)
	$(GO) build -trimpath -buildvcs=false -o $(bin)/ $(commands)

## make demo		see it work, in a virtual machine
demo: commands
	@tools/deps vm
	$(nlvm) run --put share/demo.sh -- sh demo.sh

## make test		all tests, on this machine and in the virtual machine
test: test-host test-vm

test-host: commands contenders
	@tools/deps vm
	@tools/deps host
	all=$$($(GO) list ./...) && NLPEER_CI=1 $(GO) test $(fresh) -timeout 30m $$(echo "$$all" | grep -v $(elsewhere))

test-vm: commands
	@tools/deps vm
	$(nlvm) matrix --kernel $(KERNEL) $(if $(FRESH),--fresh) --out build/vm

## make test-matrix	the suites on all kernels that a change must not break; ALL=1: on all of Debian's; SUITES="echo …": these
test-matrix: commands
	@tools/deps $(if $(ALL),matrix-all,matrix)
	NLPEER_CI=1 NLPEER_MATRIX=$(if $(ALL),all,6.1-s390x) $(GO) test $(fresh) -timeout 30m -run Elsewhere ./vm-test/cmd/nlvm
	$(nlvm) matrix $(if $(FRESH),--fresh) $(if $(ALL),--all $(if $(SUITES),,--docs docs/testing.md)) $(SUITES)
	$(if $(ALL),$(if $(SUITES),,$(MAKE) --no-print-directory test-long))

## make breakdown		where the instructions of an operation go, for docs/performance.md
breakdown: commands
	@tools/deps vm
	$(GO) run ./tools/breakdown

## make labs-check	prove of all labs: stages, solutions, texts; ALL=1: on all kernels
labs-check: commands
	@tools/deps $(if $(ALL),matrix-all,matrix)
	$(bin)/nllab prove $(if $(ALL),--all-kernels) $(if $(FRESH),--fresh)
	NLPEER_LABS=1 NLPEER_CI=1 $(GO) test $(fresh) -run TestAccidents ./labs/nllab

## make test-debug		the suites on a kernel with detectors, built once (20 minutes); ALL=1: on one for races, too; FRESH=1: all again
test-debug: commands
	@tools/deps vm
	@tools/deps debug
	tools/test-debug

## make test-long		all of what is promised in numbers, see docs/testing.md (4 minutes)
test-long: commands
	@tools/deps vm
	NLVM_FLAGS="$$NLVM_FLAGS --env NLPEER_LONG=1" $(nlvm) matrix --kernel $(KERNEL) $(if $(FRESH),--fresh) --out build/long \
		beacon bounds connector lifecycle netns storm

## make coverage		which lines the tests reach, by the suites on that kernel
coverage: commands
	@tools/deps vm
	@tools/deps debug
	@tools/deps coverage
	tools/coverage

## make fuzz FUZZTIME=10m	attack the module and the parsers for that long (60s)
fuzz: commands
	@tools/deps vm
	@[ $(FUZZKERNEL) != debug ] || tools/deps debug
	$(GO) build -trimpath -buildvcs=false -o $(bin)/ ./vm-test/cmd/nlfuzz
	$(nlvm) run --kernel $(FUZZKERNEL) --timeout 10m -- nlecho hello
	$(bin)/nlfuzz drive --time $(FUZZTIME) --kernel $(FUZZKERNEL)

## make vm			a shell in the virtual machine, the module loaded
vm: commands
	@tools/deps vm
	$(nlvm) shell

## make bench		what an echo costs, by all ways and libraries; QUICK=1 for less
bench: commands contenders
	@tools/deps vm
	$(bin)/nlbench $(if $(QUICK),--quick) --write build/bench/results.json --charts build/bench

## make contenders	the programs in C that nlbench compares with
contenders:
	@tools/deps bench
	tools/bench-c $(bin)/contenders

## make lint		style of everything, and are generated files current
lint:
	@tools/deps lint
	tools/lint

## make generate		write again what is made from spec/ and from the commands
generate:
	@tools/deps lint
	tools/generate

## make install		module source for dkms, commands, man pages, completion
install: commands
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions \
		$(source)/kmod $(source)/include/uapi/linux
	install $(bin)/nlecho $(bin)/nlsub $(bin)/nlctl $(bin)/nlbench $(bin)/nlvm $(bin)/nllab $(DESTDIR)$(PREFIX)/bin
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/nlpeer/wireshark share/wireshark/*.lua
	for c in nlecho nlsub nlctl nlbench nlvm nllab; do \
		$(bin)/$$c completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$c || exit 1; done
	install -m 644 -t $(source) Kbuild VERSION dkms.conf
	install -m 644 -t $(source)/kmod kmod/*.[ch]
	install -m 644 -t $(source)/include/uapi/linux include/uapi/linux/*.h
	@echo "the module's source is in $(source); with dkms: dkms install nlpeer/$(version)"

## make uninstall		take it all away again
uninstall:
	for c in nlecho nlsub nlctl nlbench nlvm nllab; do \
		rm -f $(DESTDIR)$(PREFIX)/bin/$$c $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$c \
			$(DESTDIR)$(PREFIX)/share/man/man1/$$c.1 $(DESTDIR)$(PREFIX)/share/man/man1/$$c-*.1; done
	rm -rf $(source) $(DESTDIR)$(PREFIX)/share/nlpeer

## make clean		remove what was built in the tree
clean:
	rm -rf build nlpeer.ko nlpeer.o nlpeer.mod nlpeer.mod.c nlpeer.mod.o Module.symvers modules.order
	find . -name '*.o' -o -name '.*.cmd' | xargs rm -f

help:
	@sed -n 's/^## //p' Makefile
