#!/usr/bin/python3
"""The journal's message catalog and the code: whatever one names, the other has.

Every identifier of helper/common/events.h is used by a log line, and has one entry in
packaging/systemd/tpmgate.catalog; the catalog has no others. What an entry quotes is a field that
lines have. journalctl takes the file.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENTS = "helper/common/events.h"
CATALOG = "packaging/systemd/tpmgate.catalog"
SKIPPED = 77


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def sources():
    """All code but the identifiers themselves."""
    paths = glob.glob("helper/**/*.[ch]", root_dir=SOURCE, recursive=True)
    return "\n".join(read(path) for path in paths if path != EVENTS)


def entries(text):
    """Identifier -> (header lines, paragraphs) of the catalog TEXT."""
    found = {}
    for part in re.split(r"^-- ", text, flags=re.MULTILINE)[1:]:
        identifier, rest = part.split("\n", 1)
        header, _, body = rest.partition("\n\n")
        if identifier in found:
            raise SystemExit(f"{CATALOG} has {identifier} twice")
        found[identifier] = header.split("\n"), body.rstrip("\n")
    return found


def problems(events, catalog, code):
    """What is wrong, as lines."""
    by_identifier = {identifier: name for name, identifier in events}
    if len(by_identifier) != len(events) or not events:
        yield f"{EVENTS}: an identifier is there twice, or there is none"
    for name, identifier in events:
        if not re.fullmatch("[0-9a-f]{32}", identifier):
            yield f"{EVENTS}: {name} is no identifier"
        if identifier not in catalog:
            yield f"{CATALOG} has nothing about {name} ({identifier})"
        if not re.search(rf"\b{name}\b", code):
            yield f"{name} is never logged"
    fields = set(re.findall(r'(?<![A-Z_])(TPMGATE_[A-Z]+)(?=[="])', code))
    for identifier, (header, body) in catalog.items():
        name = by_identifier.get(identifier)
        if not name:
            yield f"{CATALOG}: {identifier} is not in {EVENTS}"
        for line in ("Subject: ", "Defined-By: tpmgate", "Documentation: man:"):
            if not any(entry.startswith(line) for entry in header):
                yield f"{CATALOG}: {name} has no '{line.strip()}'"
        if not body.strip():
            yield f"{CATALOG}: {name} explains nothing"
        for field in sorted(set(re.findall("@([^@\n]*)@", body))):
            if field not in fields:
                yield f"{CATALOG}: {name} quotes {field}, which no line has"


def accepted(catalog):
    """Whether journalctl compiles the catalog, and shows of it what is in it; None: no journalctl."""
    with tempfile.TemporaryDirectory() as root:
        for directory in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
            os.makedirs(f"{root}/{directory}")
        with open(f"{root}/usr/lib/systemd/catalog/tpmgate.catalog", "w", encoding="utf-8") as file:
            file.write(read(CATALOG))
        try:
            update = subprocess.run(["journalctl", f"--root={root}", "--update-catalog"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except FileNotFoundError:
            return None
        shown = subprocess.run(["journalctl", f"--root={root}", "--dump-catalog"],
                               stdout=subprocess.PIPE, text=True).stdout
    print(update.stdout, end="")
    # systemd only warns of a line that it does not understand
    return update.returncode == 0 and not update.stdout and entries(shown) == catalog


def main():
    events = re.findall(r'^#define (EVENT_\w+)\s+"(.*)"$', read(EVENTS), flags=re.MULTILINE)
    catalog = entries(read(CATALOG))
    wrong = list(problems(events, catalog, sources()))
    for line in wrong:
        print(line)
    if wrong:
        return 1
    shown = accepted(catalog)
    if shown is None:
        print("no journalctl here: it was not asked whether it takes the catalog")
        return 1 if os.environ.get("MUST_WORK") == "1" else SKIPPED
    return 0 if shown else 1


if __name__ == "__main__":
    sys.exit(main())
