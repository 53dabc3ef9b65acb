"""Prints the operator's software bill of materials (SBOM): every crate that it is built from, as CycloneDX 1.6.

    sbom.py [TARGET]        for this machine's target, or another target such as aarch64-unknown-linux-gnu

It reads only Cargo.lock and the crates' metadata, so it needs no tool other than cargo, and its output is reproducible.
"""

import json
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
    # Includes build dependencies, because they could put anything into the program. Excludes dependencies of tests.
    command = ["cargo", "tree", "--locked", "--edges", "normal,build", "--prefix", "depth", "--format", "|{p}|{l}"]
    edges, components, above = {}, {}, []
    for line in run(*command, *(["--target", sys.argv[1]] if len(sys.argv) > 1 else [])).splitlines():
        depth, package, license = line.split("|")
        name, version = package.split(" ")[:2]
        found = component(name, version.removeprefix("v"), license, checksums)
        del above[int(depth) :]
        if above:
            edges[above[-1]].add(found["bom-ref"])
        above.append(found["bom-ref"])
        edges.setdefault(found["bom-ref"], set())
        components[found["bom-ref"]] = found
    application = {**components.pop(next(iter(components))), "type": "application"}
    print(
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "version": 1,
                "metadata": {"component": application},
                "components": [components[ref] for ref in sorted(components)],
                "dependencies": [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)],
            },
            indent=2,
        )
    )


def component(name, version, license, checksums):
    purl = f"pkg:cargo/{name}@{version}"
    described = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    described["licenses"] = [{"expression": license.removesuffix(" (*)").replace(" / ", " OR ").replace("/", " OR ")}]
    checksum = checksums.get((name, version))
    return {**described, "hashes": [{"alg": "SHA-256", "content": checksum}]} if checksum else described


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
