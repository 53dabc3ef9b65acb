"""Files with keys and tokens of the local control plane, which only their owner can read."""

import json
import subprocess


def kubeconfig(server, authority, user, token):
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
            "current-context": "local",
        },
        indent=2,
    )


def make_signing_key(place, python):
    """kube-apiserver signs service-account tokens with it. `python` has the package `cryptography`, which comes with the emulator."""
    script = (
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat\n"
        "key = ec.generate_private_key(ec.SECP256R1())\n"
        "print(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode())\n"
    )
    made = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    write_private(place, made.stdout)


def write_private(place, text):
    new = place.with_name(f"{place.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(place)  # a reader that waits for the file finds all of it, and a file that others could read is gone
