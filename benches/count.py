#!/usr/bin/env python3
"""Counts how many lines meet a rule, by Python's `re`: what the benches expect, from an implementation that shares nothing with the package.

    python3 benches/count.py RULES LINES [--by-rule] [--jobs N]

RULES has the layout of benches/data/rules.yaml: `name`, `priority` and `match: {pattern: '...'}`, each on a line of its own. Anything else is
an error, because it could change what matches. LINES holds one line of a log per line, in UTF-8, ended by a line feed only.

The first rule that matches wins, so the number of hits is the number of lines that any rule matches. Printed are `lines`, `bytes` (without
line feeds), `hits`, and with --by-rule the hits of each rule.

Every line is tried with every rule, so 2,000 rules take a millisecond or more for each line.

Where `re` differs from Rust's `regex`: `\\s` has U+001C to U+001F too, and `\\w` has other numbers (as a superscript two) but no combining
marks. The benches' lines have none of these. A pattern that `re` cannot read is an error.
"""

import argparse
import collections
import multiprocessing
import re
import sys

PATTERN = re.compile(r"    match: \{pattern: '((?:[^']|'')*)'\}")
NAME = re.compile(r"  - name: (\S+)")
OTHER = re.compile(r"    priority: P[1-4]|version: 1|rules:|\s*#.*|\s*")
RULES = []


def read_rules(path):
    rules, name = [], None
    with open(path, encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file.read().split("\n"), 1):
            if found := NAME.fullmatch(line):
                if name is not None:
                    sys.exit(f"{path}: line {number}: rule {name} has no pattern")
                name = found[1]
            elif found := PATTERN.fullmatch(line):
                if name is None:
                    sys.exit(f"{path}: line {number}: a pattern without a name before it")
                try:
                    rules.append((name, re.compile(found[1].replace("''", "'")).search))
                except re.error as error:
                    sys.exit(f"{path}: line {number}: rule {name}: Python cannot read the pattern ({error}); write it another way")
                name = None
            elif not OTHER.fullmatch(line):
                sys.exit(f"{path}: line {number}: not the layout of benches/data/rules.yaml: {line}")
    if name is not None or not rules:
        sys.exit(f"{path}: " + (f"rule {name} has no pattern" if name else "no rules"))
    return rules


def start(path):
    RULES.extend(read_rules(path))


def count(lines):
    """Hits of each rule in some lines."""
    hits = collections.Counter()
    for line in lines:
        for name, search in RULES:
            if search(line):
                hits[name] += 1
                break
    return hits


def main():
    parser = argparse.ArgumentParser(description="Counts the lines of a file that meet at least one rule.")
    parser.add_argument("rules")
    parser.add_argument("lines")
    parser.add_argument("--by-rule", action="store_true", help="print the hits of each rule, too")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    given = parser.parse_args()
    rules = read_rules(given.rules)  # Here as well, so that an error is told once.
    with open(given.lines, "rb") as file:
        data = file.read()
    lines = data.decode("utf-8").split("\n")
    if not lines[-1]:
        lines.pop()
    chunks = [lines[at : at + 2000] for at in range(0, len(lines), 2000)]
    hits = collections.Counter()
    with multiprocessing.Pool(given.jobs, start, (given.rules,)) as pool:
        for part in pool.imap_unordered(count, chunks):
            hits.update(part)
    print(f"lines {len(lines)}\nbytes {len(data) - data.count(10)}\nhits {hits.total()}")
    if given.by_rule:
        for name, _search in rules:
            print(f"{hits[name]:8} {name}")


if __name__ == "__main__":
    main()
