"""Measures the commands about data against s5cmd, with an S3 server on loopback, and prints a table for docs/data.md.

    data.py [ROUNDS]        `make bench-data`; needs 13 GB of disk, and builds s5cmd and the S3 server (versitygw) once

Both programs do the same work on the same server, in turn, ROUNDS times (default 3); each round begins with the other
program. The server and the programs share the machine, so the time of a transfer is that of both; the processor time is the
program's own.
"""

import atexit
import filecmp
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "deploy" / "local"))
sys.dont_write_bytecode = True

import stack  # noqa: E402

TOOLS = ROOT / "tests" / "tools" / "bench"
BIN = stack.TARGET / "bench"
WORK = ROOT / "target" / "bench-data"
PROGRAM = ROOT / "target" / "release" / "bucketconnection"
BUCKET, KEY, SECRET = "bench", "BENCH", "bench-secret-of-this-machine-only"
LARGE, SMALL, COUNT = 4 << 30, 4 << 10, 10_000
OBJECTS = f"""
apiVersion: bucketconnection.dev/v1alpha1
kind: BucketConnection
metadata: {{name: bench, namespace: default}}
spec: {{preset: ReadWrite, region: us-east-1, bucket: {{name: {BUCKET}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench-s3, namespace: default}}
stringData: {{AWS_ACCESS_KEY_ID: {KEY}, AWS_SECRET_ACCESS_KEY: {SECRET}}}
"""


def build():
    BIN.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    subprocess.run(["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", f"{BIN}/", "tool"], cwd=TOOLS, env=environment, check=True)
    # Optimization across crates takes minutes, and changes little here.
    subprocess.run(["cargo", "build", "--release"], cwd=ROOT, env={**os.environ, "CARGO_PROFILE_RELEASE_LTO": "off"}, check=True)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(command, **options):
    """A server that ends with this script."""
    process = subprocess.Popen(command, **options)
    atexit.register(lambda: (process.terminate(), process.wait()))
    return process


def serve():
    """The S3 server, and a cluster with the connection. Returns the environment of the commands."""
    port = free_port()
    (WORK / "server" / BUCKET).mkdir(parents=True)
    (WORK / "metadata").mkdir()
    options = ["--access", KEY, "--secret", SECRET, "--keep-alive", "--quiet", "--port", f"127.0.0.1:{port}"]
    place = ["posix", "--sidecar", WORK / "metadata", WORK / "server"]
    start([BIN / "versitygw", *options, *place], stdout=subprocess.DEVNULL)
    cluster = start(
        [sys.executable, ROOT / "deploy" / "local" / "stack.py", "serve", "--no-aws", "--dir", WORK / "cluster"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    facts = json.loads(cluster.stdout.readline())
    environment = stack.clean_environment(
        KUBECONFIG=facts["kubeconfig"], AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="us-east-1",
        HOME=str(WORK), S3_URL=f"http://127.0.0.1:{port}",
    )
    subprocess.run([facts["kubectl"], "apply", "-f", "-"], input=OBJECTS, env=environment, text=True, check=True, stdout=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.05)
    return environment


def run(command, environment):
    """Seconds, processor seconds and MiB of memory; not less than this script has itself, since that counts until the command starts."""
    os.sync()
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: {error.decode()}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def commands(url):
    """For each program and work: what to run."""
    data, got = WORK / "data", WORK / "got"
    s5cmd = [BIN / "s5cmd", "--endpoint-url", url, "cp"]
    own = [PROGRAM, "cp", "--quiet", "--endpoint-url", url]
    return {
        "s5cmd": {
            "up, 1 × 4 GiB": [*s5cmd, data / "large", f"s3://{BUCKET}/large"],
            "down, 1 × 4 GiB": [*s5cmd, f"s3://{BUCKET}/large", got / "large"],
            "up, 10,000 × 4 KiB": [*s5cmd, f"{data / 'small'}/", f"s3://{BUCKET}/small/"],
            "down, 10,000 × 4 KiB": [*s5cmd, f"s3://{BUCKET}/small/*", f"{got / 'small'}/"],
        },
        "bucketconnection": {
            "up, 1 × 4 GiB": [*own, data / "large", "bench:large"],
            "down, 1 × 4 GiB": [*own, "bench:large", got / "large"],
            "up, 10,000 × 4 KiB": [*own, "-r", data / "small", "bench:small"],
            "down, 10,000 × 4 KiB": [*own, "-r", "bench:small", got / "small"],
        },
    }


def data():
    """Files of random bytes."""
    (WORK / "data").mkdir()
    with open(WORK / "data" / "large", "wb") as file:
        for _ in range(LARGE >> 24):
            file.write(os.urandom(1 << 24))
    for number in range(COUNT):
        path = WORK / "data" / "small" / f"{number // 100:02}" / f"{number % 100:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SMALL))


def empty(*folders):
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    build()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    atexit.register(shutil.rmtree, WORK, ignore_errors=True)
    data()
    environment = serve()
    measured = {}
    for number in range(rounds):
        turns = list(commands(environment["S3_URL"]).items())
        for program, works in turns if number % 2 else reversed(turns):
            empty(WORK / "got", WORK / "server" / BUCKET, WORK / "metadata")
            for work, command in works.items():
                measured.setdefault(work, {}).setdefault(program, []).append(run(command, environment))
                print(f"round {number + 1}: {program}: {work}: {measured[work][program][-1]}", file=sys.stderr, flush=True)
            if not filecmp.cmp(WORK / "data" / "large", WORK / "got" / "large", shallow=False):
                sys.exit(f"{program} changed the data")
            if len(list((WORK / "got" / "small").rglob("*/*"))) != COUNT:
                sys.exit(f"{program} lost files")
    print("| work | program | seconds | processor seconds | memory, MiB |\n|---|---|---|---|---|")
    for work, programs in measured.items():
        for program, runs in programs.items():
            seconds, processor, memory = ([one[index] for one in runs] for index in range(3))
            times = f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
            print(f"| {work} | {program} | {times} | {statistics.median(processor):.1f} | {max(memory):.0f} |")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
