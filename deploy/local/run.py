"""`make run`: the main job on the local stack, from one YAML to a proven connection, then stays until Ctrl-C.

Whatever the environment holds, no real AWS account is used, and no real cluster but the one named by --cluster.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from stack import ROOT, TARGET, Build, Failure, Stack, build, clean_environment, say, stop_on_signals

EXAMPLE = ROOT / "examples" / "illumina-ica.yaml"
NAME, NAMESPACE = "genomics", "default"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cluster", metavar="KUBECONFIG", help="use this cluster instead of starting one; AWS stays the emulator")
    parser.add_argument("--dir", metavar="DIR", type=pathlib.Path, default=TARGET / "run", help="where it keeps its state")
    options = parser.parse_args()
    cluster = options.cluster and pathlib.Path(options.cluster).resolve()
    if cluster and not cluster.is_file():
        raise Failure(f"CLUSTER={options.cluster}: no such file; name a kubeconfig")
    stop_on_signals()
    build(first_build)
    if subprocess.run(["cargo", "build"], cwd=ROOT).returncode:
        raise Failure("building the operator failed; see above")
    stack, operator = Stack(options.dir.resolve(), cluster=cluster), None
    try:
        say("starting" + ("" if cluster else " etcd, kube-apiserver, controllers and") + " the AWS emulator")
        stack.start()
        if cluster:
            stack.install()
        operator = start_operator(stack)
        connect(stack, operator)
        show(stack)
        wait_for_end(stack, operator)
    finally:
        end(stack, operator)


def first_build():
    """The build of an operator that was never built: it runs next to that of Kubernetes, and takes minutes."""
    if (target_directory() / "debug" / "bucketconnection").exists():
        return None
    if not shutil.which("cargo"):
        raise Failure("Rust is needed to build the operator (https://rustup.rs)")
    say("building the operator from source, the first time only; all builds together take about 8 minutes on 2 cores")
    return Build("crates", ["cargo", "build"], "building the operator failed:", lambda: None, mark="Compiling", cwd=ROOT)


def start_operator(stack):
    log = open(stack.directory / "operator.log", "w")
    binary = target_directory() / "debug" / "bucketconnection"
    environment = clean_environment(**stack.environment(operator=True))
    command = [str(binary), "run", "--log-format", "human", "--no-lease", "--metrics-address", "127.0.0.1:0"]
    return stack.spawn("operator", command, stdout=log, env=environment)


def target_directory():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def connect(stack, operator):
    say(f"applying {EXAMPLE.relative_to(ROOT)} and waiting for Ready")
    began = time.monotonic()
    stack.kubectl("apply", "--namespace", NAMESPACE, "-f", EXAMPLE)
    while True:
        if operator.poll() is not None:
            raise Failure(f"the operator ended:\n{stack.log_tail('operator')}")
        try:
            stack.kubectl("wait", "--namespace", NAMESPACE, "--for=condition=Ready", f"bc/{NAME}", "--timeout=2s")
            break
        except Failure:
            if time.monotonic() - began > 120:
                raise Failure(f"not Ready:\n{stack.log_tail('operator')}") from None
    say(f"Ready after {time.monotonic() - began:.1f} s")


def show(stack):
    """What a person wants to see, and the lines to play with it."""

    def kubectl(*arguments):
        return stack.kubectl(*arguments, "--namespace", NAMESPACE)

    def section(title, text):
        print(f"\n\033[1m{title}\033[0m\n{text.rstrip()}" if sys.stdout.isatty() else f"\n## {title}\n{text.rstrip()}")

    section("kubectl get bucketconnection", kubectl("get", "bc"))
    status = json.loads(kubectl("get", "bc", NAME, "-o", "json"))["status"]
    rows = [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    section("Conditions", "\n".join("  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]) for row in rows))
    secret = json.loads(kubectl("get", "secret", status["credentials"]["secretName"], "-o", "json"))
    section(f"Secret {secret['metadata']['name']} (keys only)", "\n".join(sorted(secret["data"])))
    section("In AWS", in_aws(stack))
    section("To play with it, in another terminal", lines_to_paste(stack))
    print("\nCtrl-C ends it, and leaves nothing running.", flush=True)


AWS_SIDE = """
import boto3, sys
bucket, user = sys.argv[1:]
s3, iam = boto3.client("s3"), boto3.client("iam")
rules = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
print(f"bucket  {bucket}")
for rule in rules:
    print(f"CORS    {', '.join(rule['AllowedMethods'])} from {', '.join(rule['AllowedOrigins'])}")
print("tags   ", ", ".join(f"{t['Key']}={t['Value']}" for t in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]))
print("user   ", iam.get_user(UserName=user)["User"]["Arn"])
for policy in iam.list_attached_user_policies(UserName=user)["AttachedPolicies"]:
    print("policy ", policy["PolicyArn"])
for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
    print("key    ", key["AccessKeyId"], key["Status"])
"""


def in_aws(stack):
    status = json.loads(stack.kubectl("get", "bc", NAME, "--namespace", NAMESPACE, "-o", "json"))
    bucket, user = status["spec"]["bucket"]["name"], status["status"]["user"]["name"]
    environment = clean_environment(**stack.environment())
    command = [str(TARGET / "venv" / "bin" / "python"), "-c", AWS_SIDE, bucket, user]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"could not look at the AWS side:\n{done.stderr}")
    return done.stdout


def lines_to_paste(stack):
    env = pathlib.Path(os.path.relpath(stack.directory / "env", ROOT))
    delete_cors = "import boto3; boto3.client('s3').delete_bucket_cors(Bucket='lab-a-genomics')"
    venv = pathlib.Path(os.path.relpath(TARGET / "venv" / "bin" / "python", ROOT))
    return f"""source {env}          # KUBECONFIG, AWS_ENDPOINT_URL and keys of the emulator
kubectl get bc -w &
{venv} -c "{delete_cors}"      # delete the CORS ...
kubectl annotate bc {NAME} reconcile.bucketconnection.dev/requestedAt="$(date)" --overwrite   # ... ask for a check now ...
kubectl get bc {NAME} -o jsonpath='{{.status.drift}}'       # ... and see what the operator reverted
kubectl describe bc {NAME}
kubectl delete bc {NAME}          # everything in AWS stays (deletionPolicy: Retain); apply it again to pick it up
tail -f {pathlib.Path(os.path.relpath(stack.directory / "operator.log", ROOT))}"""


def wait_for_end(stack, operator):
    status = operator.wait()
    raise Failure(f"the operator ended with {status}; see {stack.directory / 'operator.log'}")


def end(stack, operator):
    # In somebody's own cluster the object must not be left waiting for an operator that has gone.
    if stack.cluster and operator and operator.poll() is None:
        say("deleting the example from your cluster (the CRDs stay)")
        try:
            stack.kubectl("delete", "--namespace", NAMESPACE, "-f", EXAMPLE, "--ignore-not-found", "--timeout=30s")
            stack.kubectl("delete", "secret", "--namespace", NAMESPACE, "genomics-s3", "--ignore-not-found")
            if stack.made_account:
                stack.kubectl("delete", "awsaccount", "default", "--ignore-not-found", "--timeout=30s")
        except Failure as failure:
            say(failure)
    if stack.processes:
        say("stopping")
    stack.stop()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"local stack: {failure}")
    except KeyboardInterrupt:
        sys.exit(0)
