"""Builds the container image, without a daemon: `make image`.

    build.py [--arch amd64|arm64] [--profile release|dev]     the default is this machine's architecture, and release

It writes to target/image/ARCH, or ARCH-dev without optimization: `oci/`, an OCI image layout; `image.tar`, for `docker load` and `crane push`; and the
software bill of materials. The image holds the static binary and the CA certificates, and nothing else: no shell, no
libraries. The same sources, toolchain and lock files give the same image; its labels name the commit. Needs Go for crane.
"""

import argparse
import datetime
import io
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import sys
import tarfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "image"
TRIPLES = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
NAME = "bucketconnection"
USER = "65532:65532"  # nonroot, as in distroless images
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"


class Failure(Exception):
    """Something the person at the terminal can act on; shown without a traceback."""


def run(command, **options):
    command = [str(part) for part in command]
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout.strip()
    except FileNotFoundError:
        raise Failure(f"{command[0]} is needed to build the image, and is not on the PATH") from None
    except subprocess.CalledProcessError as error:
        raise Failure(f"{' '.join(command)} failed with code {error.returncode}") from None


def binary(arch, profile):
    """The static binary. Paths of this machine are not in it, so it is the same wherever it is built."""
    triple = TRIPLES[arch]
    cargo_home = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
    flags = ["-Ctarget-feature=+crt-static", f"--remap-path-prefix={ROOT}=/src", f"--remap-path-prefix={cargo_home}=/cargo"]
    environment = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags), "CARGO_TARGET_DIR": str(TARGET / "cargo")}
    if arch != HERE:
        environment[f"CARGO_TARGET_{triple.upper().replace('-', '_')}_LINKER"] = triple.replace("-unknown", "") + "-gcc"
    command = ["cargo", "build", "--profile", profile, "--locked", "--target", triple, "--bin", NAME]
    run(command, cwd=ROOT, env=environment)
    return TARGET / "cargo" / triple / {"dev": "debug"}.get(profile, profile) / NAME


def certificates():
    """Mozilla's root certificates: the package certifi, pinned in the lock file of the local stack."""
    venv = ROOT / "target" / "local" / "venv" / "bin" / "python"
    run([sys.executable, ROOT / "deploy" / "local" / "stack.py", "build"])
    return pathlib.Path(run([venv, "-c", "import certifi; print(certifi.where())"]))


def layer(place, files, epoch):
    """Writes a tar file that depends on nothing but these files: (name, contents, mode)."""
    with tarfile.open(place, "w", format=tarfile.GNU_FORMAT) as archive:
        folders = sorted({str(parent) for name, _, _ in files for parent in pathlib.PurePath(name).parents} - {"."})
        for name, contents, mode in [(folder, None, 0o755) for folder in folders] + files:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.mtime = mode, epoch
            entry.type = tarfile.DIRTYPE if contents is None else tarfile.REGTYPE
            entry.size = len(contents or b"")
            archive.addfile(entry, io.BytesIO(contents or b""))


class Registry:
    """crane, and the registry in memory that it can serve: crane assembles images in a registry."""

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = self.command("registry", "serve", "--address", self.address)
        # In a group of its own: `go tool` starts crane as its child.
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        for line in self.process.stderr:
            if "serving on port" in line:
                return self
        raise Failure("crane's registry did not start")

    def __exit__(self, *_):
        os.killpg(self.process.pid, 15)
        self.process.wait()

    def command(self, *arguments):
        return ["go", "-C", ROOT / "tests" / "tools", "tool", "crane", *arguments]

    def crane(self, *arguments):
        return run(self.command(*arguments), stderr=subprocess.DEVNULL)


def commit():
    """The commit, and its time in seconds; `unknown` and 0 if these files are not a Git repository."""
    try:
        dirty = run(["git", "status", "--porcelain"], cwd=ROOT)
        revision, epoch = run(["git", "log", "-1", "--format=%H %ct"], cwd=ROOT).split()
    except Failure:
        dirty, revision, epoch = "", "unknown", "0"
    return revision + ("-dirty" if dirty else ""), int(os.environ.get("SOURCE_DATE_EPOCH") or epoch)


def labels(version, revision, epoch):
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = {
        "title": NAME,
        "description": "Connects S3 buckets to the platforms that work on them, and keeps them connected",
        "version": version,
        "revision": revision,
        "created": created,
        "licenses": "Apache-2.0",
    }
    return [part for name, value in facts.items() for part in ("--label", f"org.opencontainers.image.{name}={value}")]


def build(arch, profile):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    revision, epoch = commit()
    place = TARGET / (arch if profile == "release" else f"{arch}-{profile}")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    program = binary(arch, profile)
    files = [(CERTIFICATES, certificates().read_bytes(), 0o644), (NAME, program.read_bytes(), 0o755)]
    layer(place / "layer.tar", files, epoch)
    (place / f"{NAME}.cdx.json").write_text(run([sys.executable, ROOT / "deploy" / "sbom.py", TRIPLES[arch]]) + "\n")
    with Registry() as registry:
        image = f"{registry.address}/{NAME}:{version}"
        registry.crane("append", "--oci-empty-base", "--new_layer", place / "layer.tar", "--new_tag", image)
        settings = ["--entrypoint", f"/{NAME}", "--cmd", "run", "--user", USER, "--set-platform", f"linux/{arch}"]
        registry.crane("mutate", image, *settings, *labels(version, revision, epoch), "--tag", image)
        registry.crane("pull", "--format=oci", image, place / "oci")
        # Named as it will be loaded, and not after the registry in memory.
        registry.crane("pull", "--format=tarball", image, place / "image.tar")
        manifest = json.loads(registry.crane("manifest", image))
        digest = registry.crane("digest", image)
    (place / "layer.tar").unlink()
    size = sum(part["size"] for part in [manifest["config"], *manifest["layers"]])
    binary_size = program.stat().st_size
    print(f"{place.relative_to(ROOT)}: {digest}, {size / 1e6:.1f} MB compressed, of a binary of {binary_size / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", choices=TRIPLES, default=HERE)
    parser.add_argument("--profile", choices=["release", "dev"], default="release")
    options = parser.parse_args()
    arch = options.arch
    if not arch:
        raise Failure(f"there is no image for {platform.machine()}; choose one with --arch")
    build(arch, options.profile)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"image: {failure}")
