"""Builds the tools that tests/install uses: the real helm, Flux, Prometheus and others, from the Go module proxy, and mdBook.

    build.py        builds the local stack and the tools, if something of them changed; the tools are in target/local/tools

go.mod lists the tools and pins their versions. The folders next to it are small programs that use a library.
"""

import functools
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "deploy" / "local"))
sys.dont_write_bytecode = True

import stack  # noqa: E402

BIN = stack.TARGET / "tools"
RUNC = "github.com/opencontainers/runc"
# The site of docs/ (docs/site.py).
MDBOOK = "0.5.4"


def packages():
    """The tools of go.mod, and the programs in the folders."""
    listed = subprocess.run(["go", "list", "tool"], cwd=HERE, env=environment(), capture_output=True, text=True)
    if listed.returncode:
        raise stack.Failure(f"could not download the Go modules of the tools:\n{listed.stderr[-2000:]}")
    # runc sets up namespaces in C.
    tools = [name for name in listed.stdout.split() if name != RUNC]
    return tools + [f"./{place.parent.name}" for place in sorted(HERE.glob("*/main.go"))]


def environment():
    # The same flags as for the control plane: packages that both use are compiled once.
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOGC": "400"}


def tools_build():
    sources = [HERE / "go.mod", HERE / "go.sum", *sorted(HERE.glob("*/*.go"))]
    stamp = stack.stamp_of(*sources)
    if stack.stamped(BIN / "stamp", stamp):
        return None
    if not shutil.which("go"):
        raise stack.Failure("Go 1.26 or later is needed to build the tools of tests/install")
    stack.say("building helm, Flux, Prometheus and the other tools of the tests from source, the first time only")
    BIN.mkdir(parents=True, exist_ok=True)
    # Prometheus without its clients for clouds: the tests name their targets.
    command = ["go", "build", "-v", "-trimpath", "-tags", "remove_all_sd", "-gcflags=all=-dwarf=false", "-ldflags", "-s -w"]
    command += ["-o", f"{BIN}/", *packages()]
    finish = functools.partial((BIN / "stamp").write_text, stamp)
    return stack.Build("tools' packages", command, "building the tools failed:", finish, cwd=HERE, env=environment())


def runc_build():
    stamp = stack.stamp_of(HERE / "go.mod")
    if stack.stamped(BIN / "runc.stamp", stamp):
        return None
    BIN.mkdir(parents=True, exist_ok=True)
    command = ["go", "build", "-v", "-trimpath", "-ldflags", "-s -w", "-o", f"{BIN}/runc", RUNC]
    finish = functools.partial((BIN / "runc.stamp").write_text, stamp)
    options = {"cwd": HERE, "env": {**environment(), "CGO_ENABLED": "1"}}
    return stack.Build("runc's packages", command, "building runc failed; it needs a C compiler:", finish, **options)


def mdbook_build():
    place = stack.TARGET / "mdbook"
    stamp = stack.stamp_of(extra=MDBOOK)
    if stack.stamped(place / "stamp", stamp):
        return None
    stack.say("building mdBook from source, the first time only")
    place.mkdir(parents=True, exist_ok=True)
    # Without its web server, and without optimization: it builds this site in seconds.
    command = ["cargo", "install", "mdbook", "--version", MDBOOK, "--locked", "--no-default-features", "--features", "search"]
    command += ["--debug", "--root", place]
    finish = functools.partial((place / "stamp").write_text, stamp)
    options = {"mark": "Compiling", "total": 123, "cwd": place, "env": {**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0"}}
    return stack.Build("mdBook's crates", command, "building mdBook failed:", finish, **options)


def mdbook():
    """Where mdBook is. Builds nothing else."""
    build = mdbook_build()
    if build:
        try:
            stack.watch([build])
        finally:
            build.stop()
        build.finish()
    return stack.TARGET / "mdbook" / "bin" / "mdbook"


if __name__ == "__main__":
    try:
        stack.build(runc_build, mdbook_build)
        # After the control plane, with which the tools have many packages in common: each is compiled once.
        stack.build(tools_build)
    except stack.Failure as failure:
        sys.exit(f"local stack: {failure}")
