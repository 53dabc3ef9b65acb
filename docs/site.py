"""Builds the pages as a site, with mdBook: target/book/index.html.

docs/SUMMARY.md is the table of contents; it also names pages outside docs/. mdBook reads one folder only, so this copies
the pages, and the files that they link, to target/site/src in the layout of the repository. Links then work unchanged, both
on a code host and in the site.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
SITE = ROOT / "target" / "site"
LINK = re.compile(r"\]\(([^)#\s]+)")
sys.path.insert(0, str(ROOT / "tests" / "tools"))
sys.dont_write_bytecode = True

import build  # noqa: E402


def linked(page):
    """The files of the repository that a page links."""
    for target in LINK.findall(page.read_text()):
        file = (page.parent / target).resolve()
        if file.is_file() and file.is_relative_to(ROOT):
            yield file


def stage():
    """Copies what belongs to the site."""
    shutil.rmtree(SITE, ignore_errors=True)
    source = SITE / "src"
    summary = DOCS / "SUMMARY.md"
    pages = set(linked(summary))
    for file in pages.union(*map(linked, pages)):
        place = source / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    from_root = LINK.sub(lambda link: "](" + os.path.normpath(f"docs/{link[1]}"), summary.read_text())
    (source / "SUMMARY.md").write_text(from_root)
    for name in ("book.toml", "site.css"):
        shutil.copyfile(DOCS / name, SITE / name)


if __name__ == "__main__":
    try:
        mdbook = build.mdbook()
    except build.stack.Failure as failure:
        sys.exit(f"mdBook: {failure}")
    stage()
    sys.exit(subprocess.run([mdbook, "build", SITE], env={**os.environ, "MDBOOK_LOG": "warn"}).returncode)
