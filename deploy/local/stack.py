"""The local stack: a real etcd and kube-apiserver, the two controllers that connections need, and an AWS emulator.

    stack.py build              builds what is not built yet, showing progress
    stack.py up | down          starts it in the background and writes target/local/env | stops it
    stack.py serve --dir DIR    runs it in the foreground until its standard input closes or it is told to stop

`make run`, `make up` and the end-to-end tests all start it here. Everything listens on 127.0.0.1 only, on free ports, and
every process ends with the one that started it, however that one ends. Nothing is read from the caller's kubeconfig or AWS
environment.
"""

import argparse
import base64
import ctypes
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

from credentials import kubeconfig, make_signing_key, write_private

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "local"
TARGET = ROOT / "target" / "local"
KUBERNETES = "v1.37.2"
SERVERS = ("etcd", "kube-apiserver", "kubectl")
TOOLS = (*SERVERS, "controllers")
# The CRDs have selectable fields, which Kubernetes has since 1.32; that needs etcd 3.5. kubectl follows Kubernetes.
OLDEST = {"etcd": (3, 5), "kube-apiserver": (1, 32), "kubectl": (1, 32)}
OPERATOR = "system:serviceaccount:bucketconnection-system:bucketconnection"


class Failure(Exception):
    """Something the person at the terminal can act on; shown without a traceback."""


def clean_environment(**extra):
    """The caller's environment without anything that could lead to a real account or cluster, or through a proxy."""
    private = ("AWS_", "KUBE", "MOTO_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(private)}
    nothing = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    return {**kept, **nothing, **extra}


# --- building -------------------------------------------------------------------------------------------------------------


def build(*more):
    """Makes the emulator's virtual environment and the control plane's binaries, unless they exist. All builds run in
    parallel, because each has stretches that use one core only. `more` are functions that start other builds; each of
    them returns a `Build`, or None if there is nothing to build."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with open(TARGET / "build.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once build once
        builds = []
        try:
            for start in (*more, emulator_build, control_plane_build):
                builds += filter(None, [start()])
            watch(builds)
        finally:
            for build in builds:
                build.stop()
        for build in builds:
            build.finish()


class Build:
    """A command that builds something. Its progress is the number of lines of standard error that begin with `mark`."""

    def __init__(self, name, command, hint, finish, mark="", total=None, **options):
        self.name, self.hint, self.finish, self.mark, self.total = name, hint, finish, mark, total
        self.done, self.output = 0, []
        command = [str(part) for part in command]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.done += line.lstrip().startswith(self.mark)
            self.output = [*self.output[-40:], line]

    def state(self):
        return f"{self.name}: {self.done} of about {self.total}" if self.total else f"{self.name}: {self.done}"

    def check(self):
        """Whether it has ended; fails if it failed."""
        if self.process.poll() is None:
            return False
        self.reader.join()
        if self.process.returncode:
            raise Failure(f"{self.hint}\n{''.join(self.output)}")
        return True

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def watch(builds):
    """Shows the progress of all builds until they have ended."""
    began, told = time.monotonic(), 0
    while builds:
        builds = [build for build in builds if not build.check()]
        counted = [build.state() for build in builds if build.done]
        elapsed = int(time.monotonic() - began)
        if counted:
            line = f"{elapsed // 60}:{elapsed % 60:02}  compiled " + ", ".join(counted)
            if sys.stderr.isatty():
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            elif elapsed >= told + 60:
                told = elapsed
                say(line)
        time.sleep(0.2)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def stamp_of(*files, extra=""):
    digest = hashlib.sha256(extra.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def stamped(place, stamp):
    return place.is_file() and place.read_text() == stamp


def emulator_build():
    lock, venv = HERE / "requirements.txt", TARGET / "venv"
    stamp = stamp_of(lock, extra=sys.version)
    if stamped(venv / "stamp", stamp):
        return None
    say(f"installing the AWS emulator (moto) into {venv.relative_to(ROOT)}, about 20 s")
    shutil.rmtree(venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", venv], "Python's venv module is needed (Debian: python3-venv)")
    pip = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    hint = "could not install the emulator from the Python package index"
    command = [*pip, "--require-hashes", "-r", lock]
    return Build("emulator", command, hint, finish=functools.partial((venv / "stamp").write_text, stamp))


def control_plane_build():
    chosen = tools()
    source, bin_dir = HERE / "controlplane", TARGET / "bin"
    files = [source / name for name in ("main.go", "controllers.go", "go.mod", "go.sum")]
    ours = [name for name, path in chosen.items() if path.parent == bin_dir]
    stamp = stamp_of(*files, extra=KUBERNETES)
    if not ours or stamped(bin_dir / "stamp", stamp):
        return None
    if not shutil.which("go"):
        raise Failure("Go 1.26 or later is needed to build the control plane, or KUBEBUILDER_ASSETS with its binaries")
    # More memory for the compiler's heap, and no debug information: a third less time.
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOGC": "400"}
    say(f"building etcd and Kubernetes {KUBERNETES} from source, the first time only")
    listed = subprocess.run(["go", "list", "-deps", "."], cwd=source, env=environment, capture_output=True, text=True)
    if listed.returncode:
        raise Failure(f"could not download the control plane's Go modules:\n{listed.stderr[-2000:]}")
    version, (major, minor) = KUBERNETES, KUBERNETES[1:].split(".")[:2]
    names = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in names.items())
    bin_dir.mkdir(parents=True, exist_ok=True)
    command = ["go", "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {flags}"]

    def finish():
        for name in TOOLS:
            link = bin_dir / name
            link.unlink(missing_ok=True)
            link.symlink_to("controlplane")
        (bin_dir / "stamp").write_text(stamp)

    options = {"cwd": source, "env": environment, "total": len(listed.stdout.split())}
    command = [*command, "-o", bin_dir / "controlplane", "."]
    # `go build -v` writes a line for each package.
    return Build("Kubernetes packages", command, "building the control plane failed:", finish, **options)


@functools.cache
def tools():
    """Where each tool is: in KUBEBUILDER_ASSETS if that is set, else on the PATH if the versions there fit, else where
    build() puts its own. The first two may have kube-controller-manager; the last has `controllers` instead."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        place = pathlib.Path(assets).resolve()
        found = {name: place / name for name in (*SERVERS, "kube-controller-manager") if os.access(place / name, os.X_OK)}
        missing = [name for name in SERVERS if name not in found]
        if missing:
            raise Failure(f"KUBEBUILDER_ASSETS={assets} has no {', '.join(missing)}; correct it, or unset it to build them")
        outdated = [text for name in SERVERS if (text := unfit(name, found[name]))]
        if outdated:
            raise Failure(f"KUBEBUILDER_ASSETS={assets}: {'; '.join(outdated)}; correct it, or unset it to build them")
        return found
    found = {name: pathlib.Path(path) for name in (*SERVERS, "kube-controller-manager") if (path := shutil.which(name))}
    if all(name in found and not unfit(name, found[name]) for name in SERVERS):
        say("using " + ", ".join(str(path) for path in found.values()))
        return found
    return {name: TARGET / "bin" / name for name in TOOLS}


def unfit(name, path):
    """Why this tool cannot be used; None if it can."""
    command = [path, "version", "--client"] if name == "kubectl" else [path, "--version"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, env=clean_environment()).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name} does not run ({error})"
    found, oldest = re.search(r"v?(\d+)\.(\d+)\.\d+", text), ".".join(map(str, OLDEST[name]))
    if not found:
        return f"{name} does not say its version"
    fits = tuple(map(int, found.groups())) >= OLDEST[name]
    return None if fits else f"{name} is {found.group(0)}, and the CRDs need {oldest} or later"


# --- running --------------------------------------------------------------------------------------------------------------


class Stack:
    """The running processes. `start()` returns when everything answers; `stop()` ends them, last started first."""

    def __init__(self, directory, cluster=None, control_plane=True, emulator=True, plain=False, bare=False):
        self.directory = pathlib.Path(directory).resolve()
        self.cluster, self.plain, self.bare = cluster, plain, bare
        self.control_plane, self.emulator = control_plane and not cluster, emulator
        self.processes, self.facts, self.made_account = [], {}, False

    def start(self):
        os.umask(0o077)  # the files have keys of the emulator and tokens of the cluster, and the logs may
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.control_plane:
            for attempt in (1, 2, 3):
                try:
                    self.start_control_plane()
                    break
                except PortTaken:  # another program took a port between our look and the server's start
                    self.stop()
                    if attempt == 3:
                        raise
        elif self.cluster:
            self.facts["kubeconfig"] = self.facts["operator_kubeconfig"] = str(self.cluster)
        if self.emulator:
            self.start_emulator()
        write_private(self.directory / "env", self.environment_file())
        return self

    def start_control_plane(self):
        tool, data = tools(), self.directory / "cluster"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        client, peer, secure = free_ports(3)
        etcd, api = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{secure}"
        tokens = {name: secrets.token_hex(16) for name in ("admin", "manager")}
        write_private(data / "tokens", "".join(f'{token},{name},{name},"system:masters"\n' for name, token in tokens.items()))
        make_signing_key(data / "sa.key", TARGET / "venv" / "bin" / "python")
        (data / "audit.yaml").write_text(AUDIT_POLICY)
        self.spawn(
            "etcd",
            [tool["etcd"], "--data-dir", data / "etcd", "--unsafe-no-fsync", "--log-level", "warn"]
            + ["--listen-client-urls", etcd, "--advertise-client-urls", etcd]
            + ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"]
            + ["--initial-cluster", f"default=http://127.0.0.1:{peer}"],
        )
        self.spawn(
            "kube-apiserver",
            [tool["kube-apiserver"], f"--etcd-servers={etcd}", f"--cert-dir={data}", f"--secure-port={secure}"]
            + ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--service-cluster-ip-range=10.0.0.0/24"]
            + [f"--token-auth-file={data / 'tokens'}", "--authorization-mode=RBAC", "--anonymous-auth=false"]
            + ["--service-account-issuer=https://kubernetes.default.svc", "--disable-admission-plugins=ServiceAccount"]
            + [f"--service-account-key-file={data / 'sa.key'}", f"--service-account-signing-key-file={data / 'sa.key'}"]
            + [f"--audit-policy-file={data / 'audit.yaml'}", f"--audit-log-path={data / 'audit.log'}"]
            + ["--audit-log-mode=blocking", "--endpoint-reconciler-type=none"],
        )
        self.wait(f"{api}/readyz", 60, token=tokens["admin"])
        authority = base64.b64encode((data / "apiserver.crt").read_bytes()).decode()
        for name, token in tokens.items():
            write_private(data / f"{name}.kubeconfig", kubeconfig(api, authority, name, token))
        if "kube-controller-manager" in tool:
            self.spawn(
                "kube-controller-manager",
                [tool["kube-controller-manager"], f"--kubeconfig={data / 'manager.kubeconfig'}", "--leader-elect=false"]
                + ["--controllers=garbage-collector-controller,namespace-controller", "--secure-port=0"],
            )
        elif "controllers" in tool:
            self.spawn("controllers", [tool["controllers"], f"--kubeconfig={data / 'manager.kubeconfig'}"])
        else:
            say("no kube-controller-manager next to kube-apiserver: nothing deletes what a deleted object owned")
        self.facts["kubeconfig"] = str(data / "admin.kubeconfig")
        self.facts["audit_log"] = str(data / "audit.log")
        self.facts["kubectl"] = str(tool["kubectl"])
        if self.bare:
            return
        self.install()
        # A process takes the place of the pods, which nothing starts here: it signs in with a token of their ServiceAccount.
        token = self.kubectl("create", "token", "bucketconnection", "--namespace=bucketconnection-system", "--duration=8760h")
        write_private(data / "operator.kubeconfig", kubeconfig(api, authority, "operator", token.strip()))
        self.facts["operator_kubeconfig"] = str(data / "operator.kubeconfig")

    def install(self):
        """Everything that ships. In a cluster of the caller only what a process needs there: no Deployment would find its image."""
        base = ROOT / "deploy" / "kubernetes" / "base"
        what = ["-f", ROOT / "crds", "-f", base / "namespace.yaml"] if self.cluster else ["-k", base]
        self.kubectl("apply", "--server-side", *what)
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", ROOT / "crds")
        # In somebody's own cluster an account of that name is theirs.
        if not (self.cluster and self.kubectl("get", "awsaccount", "default", "--ignore-not-found", "-o", "name")):
            self.kubectl("apply", "-f", HERE / "account.yaml")
            self.made_account = True

    def start_emulator(self):
        command = [TARGET / "venv" / "bin" / "python", HERE / "aws.py", "--policy", ROOT / "deploy/iam/operator-policy.json"]
        process = self.spawn("aws", command + (["--plain"] if self.plain else []), stdout=subprocess.PIPE)
        line = process.stdout.readline()
        if not line:
            raise Failure(f"the AWS emulator did not start:\n{self.log_tail('aws')}")
        self.facts["aws"] = json.loads(line)

    def kubectl(self, *arguments):
        kubectl = tools().get("kubectl") if not self.cluster else shutil.which("kubectl") or TARGET / "bin" / "kubectl"
        environment = clean_environment(KUBECONFIG=self.facts["kubeconfig"])
        done = subprocess.run([kubectl, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise Failure(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def environment(self, operator=False):
        """What a program needs to work on this stack: as the administrator, or as the operator with its least privilege."""
        user = "operator" if operator else "administrator"
        values = {"PATH": f"{tools()['kubectl'].parent}:{os.environ['PATH']}"}
        kubeconfig = self.facts.get("operator_kubeconfig" if operator else "kubeconfig")
        if kubeconfig:
            values["KUBECONFIG"] = kubeconfig
        if "aws" in self.facts:
            aws = self.facts["aws"]
            values["AWS_ENDPOINT_URL"] = aws["url"]
            values["AWS_REGION"] = values["AWS_DEFAULT_REGION"] = "us-east-1"  # the second is what Python's SDK reads
            values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"] = aws[user]["id"], aws[user]["secret"]
        return values

    def environment_file(self):
        """The `env` file: to be sourced by a shell, or read by a program that unquotes it like one."""
        operator = self.environment(operator=True)
        lines = {k: shlex.quote(v) for k, v in self.environment().items()}
        lines["PATH"] = shlex.quote(str(tools()["kubectl"].parent)) + ':"$PATH"'
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG"):
            if name in operator:
                lines[f"OPERATOR_{name}"] = shlex.quote(operator[name])
        # Whatever the caller's shell has: no profile or token of theirs is used.
        lines.update(AWS_PROFILE="default", AWS_SESSION_TOKEN="''")
        config = self.directory / "aws-config"
        config.write_text("[default]\n")
        lines.update(AWS_CONFIG_FILE=shlex.quote(str(config)), AWS_SHARED_CREDENTIALS_FILE=os.devnull)
        if "audit_log" in self.facts:
            lines["AUDIT_LOG"] = shlex.quote(self.facts["audit_log"])
        return "".join(f"export {name}={value}\n" for name, value in lines.items())

    def spawn(self, name, command, **options):
        log = open(self.directory / f"{name}.log", "w")
        options.setdefault("stdout", log)
        options.setdefault("env", clean_environment())
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this program only, which then ends the others in order
            preexec_fn=end_with_parent,
            **options,
        )
        self.processes.append((name, process))
        return process

    def wait(self, url, seconds, token):
        """Waits until `url` answers 200, or until a process has ended."""
        context = ssl._create_unverified_context()  # the certificate is made by the server that starts here
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, process in self.processes:
                if process.poll() is not None:
                    tail = self.log_tail(name)
                    raise PortTaken(tail) if "address already in use" in tail else Failure(f"{name} ended:\n{tail}")
            try:
                with opener.open(request, timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise Failure(f"{url} did not answer within {seconds} s:\n{self.log_tail(self.processes[-1][0])}")

    def log_tail(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")[-2000:]

    def stop(self):
        """Ends every process by its id, last started first; one that does not end in 10 s is killed."""
        for _, process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


class PortTaken(Failure):
    pass


# What the operator writes, and what it gets. A request is logged when it arrives, so whoever sees its effect finds it in the log.
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted, ResponseComplete, Panic]
rules:
  - {level: Metadata, verbs: [create, update, patch, delete, deletecollection], users: ["%s"]}
  - {level: Metadata, verbs: [get], users: ["%s"]}
  - {level: None}
""" % (OPERATOR, OPERATOR)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def end_with_parent():
    """Runs in a child before its program: Linux ends it with its parent, so that even kill -9 leaves nothing running."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


# --- commands -------------------------------------------------------------------------------------------------------------


def serve(options):
    """Foreground; prints its facts as one line of JSON when ready. The tests hold its standard input."""
    held = hold_pid_file() if options.background else None
    parts = {"control_plane": not options.no_cluster, "emulator": not options.no_aws}
    stack = Stack(options.dir, plain=options.plain, bare=options.bare, **parts)
    stop_on_signals()
    try:
        stack.start()
        if options.background:
            while True:
                signal.pause()
        print(json.dumps({**stack.facts, "pid": os.getpid()}), flush=True)
        sys.stdin.read()
    finally:
        stack.stop()
        if options.temporary and not (stack.directory / "keep").exists():
            shutil.rmtree(stack.directory, ignore_errors=True)
        if held:
            held.close()


def up():
    """Background: `serve` in a session of its own, which holds target/local/pid locked while it lives."""
    if running_pid():
        say("already running; `make down` stops it")
        return
    (TARGET / "env").unlink(missing_ok=True)
    with open(TARGET / "serve.log", "w") as log:
        command = [sys.executable, __file__, "serve", "--background", "--dir", str(TARGET)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    while not (TARGET / "env").exists():
        if server.poll() is not None:
            raise Failure((TARGET / "serve.log").read_text()[-2000:])
        time.sleep(0.1)
    say(f"running; to work with it: source {(TARGET / 'env').relative_to(ROOT)}; to stop it: make down")


def down():
    pid = running_pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
        while running_pid():
            time.sleep(0.1)
    for name in ("pid", "env"):
        (TARGET / name).unlink(missing_ok=True)
    say("stopped" if pid else "not running")


def hold_pid_file():
    """Writes our process id and locks the file: the lock goes with the process, however it ends. Keep what this returns."""
    held = open(TARGET / "pid", "a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Failure("another one is running in the background; `make down` stops it") from None
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def running_pid():
    """The background server's process id; None when nobody holds the lock."""
    try:
        with open(TARGET / "pid") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(held.read())
    except (OSError, ValueError):
        pass
    return None


def stop_on_signals():
    def stop(*_):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)


def run(command, hint):
    done = subprocess.run([str(part) for part in command])
    if done.returncode:
        raise Failure(f"{hint}\n(failed: {' '.join(map(str, command))})")


def say(text):
    print(f"local stack: {text}", file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "up", "down"):
        commands.add_parser(name)
    server = commands.add_parser("serve")
    server.add_argument("--dir", required=True, help="folder for data, logs and the env file")
    server.add_argument("--no-cluster", action="store_true", help="the AWS emulator only")
    server.add_argument("--no-aws", action="store_true", help="the control plane only")
    server.add_argument("--plain", action="store_true", help="the emulator uncorrected")
    server.add_argument("--bare", action="store_true", help="the control plane without CRDs and the operator's objects")
    server.add_argument("--temporary", action="store_true", help="remove the folder at the end, unless it has a file `keep`")
    server.add_argument("--background", action="store_true", help="until SIGTERM, not until standard input closes")
    options = parser.parse_args()
    if options.command == "down":
        return down()
    build()
    if options.command == "up":
        up()
    elif options.command == "serve":
        serve(options)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"local stack: {failure}")
    except KeyboardInterrupt:
        sys.exit(0)
