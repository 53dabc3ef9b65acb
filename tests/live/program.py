"""Builds the test program of tests/live and prints its path. `make live` runs it without cargo, which would end at Ctrl-C
before the program has deleted what it created.
"""

import json
import subprocess
import sys

COMMAND = ["cargo", "test", "--no-run", "--test", "live", "--message-format", "json-render-diagnostics"]


def main():
    process = subprocess.run(COMMAND, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        return process.returncode
    messages = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    built = [m["executable"] for m in messages if m.get("reason") == "compiler-artifact" and m["target"]["name"] == "live"]
    print(next(place for place in built if place))
    return 0


if __name__ == "__main__":
    sys.exit(main())
