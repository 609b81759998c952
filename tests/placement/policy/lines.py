"""Good and bad lines of the policy language, as tables: each good one with its printed form, each bad one with what is
said and the text that the caret stands under."""

from __future__ import annotations

from itertools import product

from placement.policy.values import OPERATORS
from placement.policy.variables import VARIABLES, Kind

#: A value that fits each type.
FITTING = {
    Kind.COUNT: "3",
    Kind.BYTES: "2 TB",
    Kind.FRACTION: "90 %",
    Kind.TIME: "90 days ago",
}
#: Values that fit no variable of the type.
UNFIT = {
    Kind.COUNT: ["many", "3 TB", "1 2", "0x10", "nan", "50 %"],
    Kind.BYTES: ["big", "2 XB", "90 %"],
    Kind.FRACTION: ["full", "1 TB"],
    Kind.TIME: ["soon", "2018-02-30", "3 moons ago", "February 29", "2018-13-01", "2018-01-01 25:00", "1800-01-01"],
    Kind.WORD: ["Nonsense", "ready", ""],
    Kind.TEXT: [],
}


def good_conditions() -> list[tuple[str, str]]:
    """Conditions with their printed forms: every variable with every operator of its type, and forms of each value."""
    found = [(f"{name}", f"{name}") for name, each in VARIABLES.items() if each.kind is Kind.BOOLEAN]
    found += [(f"not {name}", f"not {name}") for name, _ in found]
    found += [(f"{name} not", f"not {name}") for name, each in VARIABLES.items() if each.kind is Kind.BOOLEAN]
    for name, each in VARIABLES.items():
        value = each.words[0] if each.words else FITTING.get(each.kind, "/A/B*/C")
        for sign in OPERATORS[each.kind]:
            if sign in ("in", "notin"):
                listed = f'["{value}" "{value}"]' if " " in value else f"[{value} {value}]"
                found.append((f"{name} {sign} {listed}", ""))
            else:
                found.append((f"{name} {sign} {value}", ""))
    return [*found, *SPECIAL]


SPECIAL = [
    ("dataset.name == /A/B/C", "dataset.name == /A/B/C"),
    ("dataset.name == /*/*/RAW", "dataset.name == /*/*/RAW"),
    ("dataset.name == /A[0-9]*/B/C", "dataset.name == /A[0-9]*/B/C"),
    ("dataset.name==/A/B/C", "dataset.name == /A/B/C"),
    ("blockreplica.owner == IB RelVal", "blockreplica.owner == IB RelVal"),
    ("blockreplica.owner  ==  IB   RelVal", "blockreplica.owner == IB RelVal"),
    ("blockreplica.owner == IB RelVal and site.name == X", "blockreplica.owner == IB RelVal and site.name == X"),
    ('blockreplica.owner == "IB RelVal"', "blockreplica.owner == IB RelVal"),
    ('blockreplica.owner == "Search and Rescue"', 'blockreplica.owner == "Search and Rescue"'),
    ('blockreplica.owner == "a  b"', 'blockreplica.owner == "a  b"'),
    (r'blockreplica.owner == "say \"x\" \\"', r'blockreplica.owner == "say \"x\" \\"'),
    ('blockreplica.owner in ["IB RelVal" DataOps]', 'blockreplica.owner in ["IB RelVal" DataOps]'),
    ("site.name in [*]", "site.name in [*]"),
    ("site.name in [ T1_* T2_[A-C]* ]", 'site.name in [T1_* "T2_[A-C]*"]'),
    ("site.name notin[X]", "site.name notin [X]"),
    ("dataset.name =~ /[^/]+/.*(?:-RECO|)$", 'dataset.name =~ "/[^/]+/.*(?:-RECO|)$"'),
    (r"dataset.name =~ /A\d+/", r'dataset.name =~ "/A\\d+/"'),
    ("(dataset.name =~ /(A|B)/ or site.name == X)", 'dataset.name =~ "/(A|B)/" or site.name == X'),
    ("site.name == X and site.name == Y or site.name == Z", "site.name == X and site.name == Y or site.name == Z"),
    ("site.name == X and (site.name == Y or always)", "site.name == X and (site.name == Y or always)"),
    ("((always))", "always"),
    ("any(blockreplica.on_tape and replica.full)", "any(blockreplica.on_tape and replica.full)"),
    ("all(blockreplica.complete)", "all(blockreplica.complete)"),
    ("site.occupancy > 90%", "site.occupancy > 0.9"),
    ("site.occupancy > .5", "site.occupancy > 0.5"),
    ("dataset.size > 1.5TB", "dataset.size > 1500000000000"),
    ("dataset.size >= 10", "dataset.size >= 10"),
    ("dataset.usage_rank > -1e2", "dataset.usage_rank > -100"),
    ("dataset.last_update older_than 1 week ago", "dataset.last_update older_than 1 week ago"),
    ("dataset.last_update newer_than January 1", "dataset.last_update newer_than January 1"),
    ("dataset.last_update < 2018-03-01", "dataset.last_update < 2018-03-01"),
    ("dataset.last_update < 2018-03-01T12:30", "dataset.last_update < 2018-03-01T12:30"),
    ("dataset.last_update > 1 Jan 2018", "dataset.last_update > 1 Jan 2018"),
    ("dataset.last_update in [yesterday 2018-01-01]", "dataset.last_update in [yesterday 2018-01-01]"),
    ("blockreplica.name == /A/B/C#7", 'blockreplica.name == "/A/B/C#7"'),
    ("dataset.on_tape == FULL # a comment", "dataset.on_tape == FULL"),
    ('site.name == "# no comment"', 'site.name == "# no comment"'),
    ("dataset.on_tape \\\n   == FULL", "dataset.on_tape == FULL"),
]  # fmt: skip


def bad_lines() -> list[tuple[str, str, str]]:
    """(line, a part of what is said, the text under the caret; empty where it is not held)."""
    found = []
    for name, each in VARIABLES.items():
        fits = set(OPERATORS[each.kind])
        for sign in sorted({"==", "<", "<=", ">", "=~", "older_than", "in"} - fits):
            value = "[X]" if sign == "in" else "X"
            found.append((f"Protect {name} {sign} {value}", f"`{sign}` does not fit {name}", sign))
        if each.kind is not Kind.BOOLEAN:
            found.append((f"Protect {name}", "not a boolean", ""))
            found.append((f"Protect not {name}", "not a boolean", ""))
        for value, sign in product(UNFIT.get(each.kind, []), sorted(fits)[:1]):
            said = "the value is missing" if not value else ""
            found.append((f"Protect {name} {'==' if sign == '!=' else sign} {value}", said, value))
    return found + BAD


BAD = [
    ("Protekt always", "unknown word 'Protekt' (did you mean 'Protect'?)", "Protekt"),
    ("protect always", "unknown word 'protect'", "protect"),
    ("IgnoreBlock always", "unknown word 'IgnoreBlock'", "IgnoreBlock"),
    ("== X", "unknown word '=='", "=="),
    ("Protect dataset.stauts == VALID", "(did you mean 'dataset.status'?)", "dataset.stauts"),
    ("Protect dataset.frobnicated", "unknown variable", "dataset.frobnicated"),
    ("Protect site.active", "site.status == READY", "site.active"),
    ("Protect replica.has_locked_block", "blockreplica.is_locked", "replica.has_locked_block"),
    ("Protect dataset.status == VALIDE", "(did you mean 'VALID'?)", "VALIDE"),
    ("Protect dataset.status == valid", "(did you mean 'VALID'?)", "valid"),
    ("Protect site.name in []", "the list is empty", "in"),
    ("Protect site.name in [A B", "the list has no end", ""),
    ("Protect site.name in A", "`in` needs a list", "A"),
    ("Protect site.name in [A, B]", "separated by blanks", "A,"),
    ("Protect site.name in [A B] C", "text behind the condition", "C"),
    ("Protect site.name in [A B]]", "text behind the condition", "]"),
    ("Protect dataset.is_open dataset.is_open", "text behind the condition", "dataset.is_open"),
    ("Protect dataset.is_open == True", "`==` does not fit dataset.is_open", "=="),
    ("Protect not dataset.is_open not", "before and behind", "dataset.is_open"),
    ("Protect not dataset.size > 5", "`not` stands before a comparison", "dataset.size"),
    ("Protect not (always)", "there is no variable here", "(always)"),
    ("Protect not", "there is no variable here", ""),
    ("Protect always and", "there is no variable here", ""),
    ("Protect always or or never", "there is no variable here", "or"),
    ("Protect and always", "there is no variable here", "and"),
    ("Protect (always", "a parenthesis has no end", ""),
    ("Protect always)", "a parenthesis ends that has not begun", ")"),
    ("Protect " + "(" * 60 + "always" + ")" * 60, "more than 50 parentheses", ""),
    ("Protect any blockreplica.is_locked", "`any` needs parentheses", "any"),
    ("Protect all()", "there is no variable here", ")"),
    ("Protect dataset.size >", "the value is missing", ""),
    ("Protect dataset.size > and always", "the value is missing", "and"),
    ("Protect dataset.size", "not a boolean", "dataset.size"),
    ("Protect dataset.size = 5", "unknown sign '=' (did you mean '=='?)", "="),
    ("Protect dataset.size => 5", "unknown sign '=>' (did you mean '>='?)", "=>"),
    ("Protect dataset.size <> 5", "unknown sign '<>' (did you mean '!='?)", "<>"),
    ("Protect dataset.name === /a", "unknown sign '===' (did you mean '=='?)", "==="),
    ("Protect dataset.name !~ /a", "unknown sign '!~' (did you mean '!=~'?)", "!~"),
    ("Protect dataset.is_open && always", "unknown sign '&&' (did you mean 'and'?)", "&&"),
    ("Protect dataset.is_open || always", "unknown sign '||' (did you mean 'or'?)", "||"),
    ("Protect dataset.size <<= 5", "unknown sign '<<='; expected one of == !=", "<<="),
    ("Protect dataset.size bigger 5", "dataset.size is a size, not a boolean", "bigger"),
    ("Protect size > 5", "(did you mean 'dataset.size' or 'replica.size' or 'blockreplica.size'?)", "size"),
    ("Protect dataset.size in [1 GB 2 GB]", "expected the unit at its number, such as `1GB`", "GB"),
    ('Protect dataset.name == "x', "the quoted text has no end", '"x'),
    ('Protect dataset.name == "x" y', "text behind the condition", "y"),
    ("Protect dataset.name =~ (", "is no pattern", "("),
    ("Protect dataset.name =~ [a", "is no pattern", "[a"),
    ("Protect always until tomorrowish", "is no time", "tomorrowish"),
    ("Protect always until 2018-02-30", "'2018-02-30' is no day of that year", "2018-02-30"),
    ("Protect always until February 30", "'February 30' is no day of every year", "February 30"),
    ("Protect always until 1969-12-31", "'1969-12-31' lies before 1970", "1969-12-31"),
    ("Protect always from", "the day behind `from` is missing", ""),
    ("Protect site.name in [A] until 2018-01-01 and always", "is no time", "2018-01-01 and always"),
    ("On dataset.name == X", "dataset.name is about a dataset", "dataset.name"),
    ("When replica.size > 5", "replica.size is about a replica", "replica.size"),
    ("Until blockreplica.is_locked", "about a blockreplica", "blockreplica.is_locked"),
    ("When any(always)", "a site has no blocks", "any"),
    ("On always until 2018-01-01", "text behind the condition", "until"),
    ("On", "there is no variable here", ""),
    ("Partition", "Partition has no name", ""),
    ("Order", "Order has no keys", ""),
    ("Order dataset.size", "this is no way to order", "dataset.size"),
    ("Order increasing", "there is no variable here; expected a number or time", ""),
    ("Order increasing dataset.name", "dataset.name is a text of a dataset", "dataset.name"),
    ("Order increasing blockreplica.size", "is a size of a blockreplica", "blockreplica.size"),
    ("Order decreasing dataset.sice", "(did you mean 'dataset.size'?)", "dataset.sice"),
    ("Order none increasing dataset.size", "text behind `none`", "increasing"),
    ("Order increasing dataset.size replica.size", "this is no way to order", "replica.size"),
    ("Algo Fast", "unknown algorithm 'Fast'", "Fast"),
    ("Algo", "Algo names no algorithm", ""),
]  # fmt: skip
