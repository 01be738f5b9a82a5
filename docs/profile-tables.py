#!/usr/bin/python3
"""Writes the tables of docs/profiles.md, between its marks, from what the program is made of.

Without arguments the document is brought up to date. With --check it only says whether it is.
"""

import csv
import difflib
import os
import re
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOCUMENT = os.path.join(SOURCE, "docs/profiles.md")
PROFILES = ("basic", "keys", "unseal", "attest", "persist", "admin", "owner")
KEYS = ("Groups", "Capabilities", "Hierarchies", "PolicySecret", "PCRs", "StorageRootKey",
        "UnsealForeign", "Once", "UseKey", "Evict", "NvRead", "NvWrite", "NvDefine", "NvAuthorize")
# One C string, perhaps of several literals.
TEXT = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return file.read()


def text(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace("|", "\\|")


def commands():
    lines = [line for line in read("helper/relay/tpm-commands.csv").splitlines()
             if not line.startswith("#")]
    return list(csv.DictReader(lines))


def handles(command):
    """(name, use) of each handle of the command."""
    fields = [command[f"handle{i}"] for i in (1, 2, 3)]
    return [(field.split(":")[0], field.split(":")[3]) for field in fields if field]


def profile(name):
    """The keys of a profile's file."""
    lines = read(f"packaging/profiles.d/{name}.profile").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Za-z]+=", line))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def expect(found, there, what):
    if found != there or not found:
        sys.exit(f"profile-tables.py: read {found} of {there} {what}: the source looks different")


def table_grants():
    files = {name: profile(name) for name in PROFILES}
    unknown = {key for keys in files.values() for key in keys} - set(KEYS) - {"Summary", "Commands"}
    if unknown:
        sys.exit(f"profile-tables.py: no row for {', '.join(sorted(unknown))}")
    rows = []
    for key in KEYS:
        if any(key in keys for keys in files.values()):
            rows.append([f"`{key}=`"] + [files[name].get(key, "").replace(";", ", ")
                                         for name in PROFILES])
    return table(["", *PROFILES], rows)


def table_commands():
    named = {name: profile(name)["Commands"].split(";") for name in PROFILES}
    rows = []
    for command in sorted(commands(), key=lambda row: row["name"]):
        if command["scope"] == "profile":
            uses = ", ".join(f"{name}: {use}" for name, use in handles(command))
            rows.append([command["name"], command["code"][-3:]] +
                        ["x" if command["name"] in named[name] else "" for name in PROFILES] +
                        [uses])
    return table(["command", "code", *PROFILES, "handles: uses"], rows)


def table_never():
    rows = [command["name"] for command in commands() if command["scope"] == "never"]
    return [", ".join(sorted(rows)) + "."]


def table_uses():
    entries = re.findall(r"\[TPM_USE_(\w+)\]\s*=\s*\{\s*" + TEXT + r",\s*" + TEXT,
                         read("helper/cli/explain.c"))
    expect(len(entries), read("helper/relay/tpm-table.h").count("\tTPM_USE_"), "uses")
    return table(["use", "what the handle has to be", "refused by"],
                 [[use.lower(), text(demand), text(rules).replace(" ", ", ")]
                  for use, demand, rules in entries])


def table_parameters():
    header = read("helper/relay/tpm.h")
    defines = dict(re.findall(r"#define (TPM_CC_\w+)\s+0x([0-9a-f]{8})u", header))
    names = {command["code"].lower(): command["name"] for command in commands()}
    entries = re.findall(r"\{(TPM_CC_\w+),\s*\{\s*" + TEXT + r",\s*" + TEXT,
                         read("helper/cli/explain.c"))
    expect(len(entries), read("helper/cli/explain.c").count("{TPM_CC_"), "parameters")
    return table(["command", "what the parameter has to be", "refused by"],
                 [[names["0x" + defines[code]], text(demand), text(rules).replace(" ", ", ")]
                  for code, demand, rules in entries])


def table_rules():
    entries = re.findall(r"\{" + TEXT + r",\s*" + TEXT + r",\s*" + TEXT + r"\}",
                         read("helper/common/rules.c"))
    expect(len(entries), len(re.findall(r"^\t\{", read("helper/common/rules.c"), re.M)), "rules")
    return table(["rule", "means", "what to do"], [[f"`{text(name)}`", text(reason), text(advice)]
                                                   for name, reason, advice in entries])


def generate(document):
    def replace(match):
        rows = globals()["table_" + match[1]]()
        return f"<!-- table: {match[1]} -->\n" + "\n".join(rows) + "\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", replace, document, flags=re.DOTALL)


def main():
    before = read("docs/profiles.md")
    after = generate(before)
    if sys.argv[1:] == ["--check"]:
        if before != after:
            sys.stdout.writelines(difflib.unified_diff(
                before.splitlines(True), after.splitlines(True), "docs/profiles.md", "up to date"))
            sys.exit("docs/profiles.md is out of date: run docs/profile-tables.py")
    elif sys.argv[1:]:
        sys.exit("usage: profile-tables.py [--check]")
    else:
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(after)


if __name__ == "__main__":
    main()
