"""Runs cargo commands one after the other, and prints how long each test program took.

    timed.py "cargo test --lib" "cargo test"

With TIMES=1 in the environment, it also writes the times into docs/benchmarks.md. It exits with the code of the first
command that fails.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- times: written by TIMES=1 make test -->\n", "<!-- end of times -->\n"
PROGRAM = re.compile(r"^\s+(?:Running|Doc-tests) (\S+)(?: (\S+))?")
RESULT = re.compile(r"^test result: .* (\d+) passed; (\d+) failed; .* finished in ([\d.]+)s")


def run(command, parts):
    """Runs one command, prints its output, and adds its parts to `parts`; returns its exit code."""
    # Cargo prints the running program to standard error, and the programs print their results to standard output.
    process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    program, began, quiet = command, time.monotonic(), 0.0
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := PROGRAM.match(line):
            program = found[2] if found[1] == "unittests" else found[1]
        if found := RESULT.match(line):
            tests, seconds = int(found[1]) + int(found[2]), float(found[3])
            quiet += seconds
            if tests:
                parts.append((f"`{command}`", program, tests, seconds))
    parts.append((f"`{command}`", "compilation", None, time.monotonic() - began - quiet))
    return process.wait()


def table(parts):
    rows = ["| command | part | tests | seconds |", "|---|---|---|---|"]
    for command, part, tests, seconds in parts:
        rows.append(f"| {command} | {part} | {'' if tests is None else tests} | {seconds:.0f} |")
    rows.append(f"| | all | | {sum(part[3] for part in parts):.0f} |")
    return "\n".join(rows).replace("|  |", "| |") + "\n"


def main(commands):
    parts, code = [], 0
    for command in commands:
        code = run(command, parts)
        if code:
            break
    print("\n" + table(parts), flush=True)
    if os.environ.get("TIMES") and not code:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(parts)}\n{END}{rest.split(END)[1]}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
