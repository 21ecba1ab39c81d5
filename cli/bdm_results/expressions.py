"""What ``--where`` understands: comparisons of columns, joined by AND, OR, NOT and parentheses. Nothing else.

An expression is parsed here and becomes SQL whose texts and numbers are parameters, so that no other SQL can be in it::

    condition  = side {"OR" side};  side = test {"AND" test};  test = "NOT" test | "(" condition ")" | comparison
    comparison = operand ("=" | "!=" | "<" | "<=" | ">" | ">=") operand | operand "IS" ["NOT"] "NULL" | column
               | operand ["NOT"] ("IN" "(" value {"," value} ")" | "BETWEEN" value "AND" value | LIKE value)
    operand    = column | value;   value = 'text' | number | TRUE | FALSE

A column is a word, ``KIND:NAME.PARAMETER``, or anything between double quotes. A comparison with a column that has no
value is false, ``!=`` and NOT are its opposite.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from bdm_core.errors import UserError
from bdm_results.columns import Column, Columns

LONGEST = 4000
"""Characters that an expression may have."""
DEEPEST = 50
"""Parentheses within each other."""
TOKEN = re.compile(
    r"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|'(?P<text>(?:[^']|'')*)'|"(?P<name>[^"]+)"
    |(?P<word>[A-Za-z_]\w*(?::[\w-]+\.[\w.]+)?)|(?P<sign><=|>=|<>|!=|==|[=<>(),]))""",
    re.VERBOSE,
)
SIGNS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
KEYWORDS = {"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "ILIKE", "IS", "NULL", "TRUE", "FALSE"}


@dataclass
class Condition:
    """A parsed expression.

    Attributes:
        sql: a condition over the tables ``n`` and ``r``; "" for none.
        values: its parameters, in order.
    """

    sql: str = ""
    values: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Operand:
    """One side of a comparison: a column, or a value."""

    kind: str
    column: Column | None = None
    value: Any = None


def parse(text: str, columns: Columns) -> Condition:
    """Read an expression.

    Raises:
        UserError: it is none, names an unknown column, or compares a text with a number.
    """
    if len(text) > LONGEST:
        raise UserError(f"--where: at most {LONGEST} characters")
    parser = _Parser(text, columns)
    sql = parser.condition(0)
    if parser.place < len(parser.tokens):
        parser.fail(f"there is more after {parser.before()}")
    return Condition(sql, parser.values)


class _Parser:
    def __init__(self, text: str, columns: Columns) -> None:
        self.columns = columns
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0
        self.values: list[Any] = []

    def condition(self, depth: int) -> str:
        if depth > DEEPEST:
            raise UserError(f"--where: more than {DEEPEST} parentheses within each other")
        parts = [self._side(depth)]
        while self._accept("OR"):
            parts.append(self._side(depth))
        return f"({' OR '.join(parts)})"

    def _side(self, depth: int) -> str:
        parts = [self._test(depth)]
        while self._accept("AND"):
            parts.append(self._test(depth))
        return f"({' AND '.join(parts)})"

    def _test(self, depth: int) -> str:
        if depth > DEEPEST:
            raise UserError(f"--where: more than {DEEPEST} parentheses within each other")
        if self._accept("NOT"):
            return f"(NOT {self._test(depth + 1)})"
        if self._accept("("):
            inner = self.condition(depth + 1)
            self._demand(")")
            return inner
        return f"coalesce({self._comparison()}, false)"

    def _comparison(self) -> str:
        left, mark = self._operand(), len(self.values)
        sql = self._sql(left)
        kind, word = self._look()
        if kind == "sign" and word in SIGNS:
            self.place += 1
            right = self._operand()
            self._comparable(left, right)
            other = self._sql(right)
            return f"{sql} IS DISTINCT FROM {other}" if SIGNS[word] == "!=" else f"{sql} {SIGNS[word]} {other}"
        if self._accept("IS"):
            negated = "NOT " if self._accept("NOT") else ""
            self._demand("NULL")
            return f"{sql} IS {negated}NULL"
        negated = "NOT " if self._accept("NOT") else ""
        found = self._set(left, sql)
        if found:
            return f"{negated}coalesce({found}, false)"
        if left.kind == "boolean" and not negated:
            return sql
        del self.values[mark:]
        return self.fail(f"a comparison is missing after {self.before()}, e.g. attack = 'villan'")

    def _set(self, left: Operand, sql: str) -> str:
        """What may follow NOT; "" if nothing of it does."""
        if self._accept("IN"):
            self._demand("(")
            items = [self._value(left)]
            while self._accept(","):
                items.append(self._value(left))
            self._demand(")")
            return f"{sql} IN ({', '.join(items)})"
        if self._accept("BETWEEN"):
            low = self._value(left)
            self._demand("AND")
            return f"{sql} BETWEEN {low} AND {self._value(left)}"
        for word in ("LIKE", "ILIKE"):
            if self._accept(word):
                if left.kind != "text":
                    self.fail(f"{word} is for columns of text")
                return f"{sql} {word} {self._value(left)}"
        return ""

    def _value(self, left: Operand) -> str:
        right = self._operand()
        if right.column is not None:
            self.fail(f"a value is missing, not a column like {self.before()}: text stands in single quotes")
        self._comparable(left, right)
        return self._sql(right)

    def _operand(self) -> Operand:
        kind, word = self._look()
        self.place += 1
        if kind == "number":
            return Operand("number", value=float(word))
        if kind == "text":
            return Operand("text", value=word.replace("''", "'"))
        if kind == "word" and word.upper() in ("TRUE", "FALSE"):
            return Operand("boolean", value=word.upper() == "TRUE")
        if kind == "name" or (kind == "word" and word.upper() not in KEYWORDS):
            try:
                column = self.columns.find(word)
            except UserError as error:
                hint = f"; a text stands in single quotes: '{word}'" if self.place > 1 else ""
                raise UserError(f"--where: {error}{hint}") from None
            return Operand("number" if column.kind == "integer" else column.kind, column)
        self.place -= 1
        return self.fail(f"a column or a value is missing {f'before {word!r}' if word else 'at the end'}")

    def _sql(self, operand: Operand) -> str:
        if operand.column is not None:
            return operand.column.sql
        self.values.append(operand.value)
        return "?"

    def _comparable(self, left: Operand, right: Operand) -> None:
        if left.kind != right.kind:
            first, second = (left, right) if left.column else (right, left)
            named = f"{first.column.name} is a {first.kind}" if first.column else f"a {first.kind}"
            rule = "compare texts with 'text', numbers with numbers, booleans with TRUE or FALSE"
            self.fail(f"{named}, compared with a {second.kind}: {rule}")

    def _look(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("", "")

    def _accept(self, word: str) -> bool:
        kind, found = self._look()
        if kind in ("word", "sign") and found.upper() == word:
            self.place += 1
            return True
        return False

    def _demand(self, word: str) -> None:
        if not self._accept(word):
            self.fail(f"{word!r} is missing after {self.before()}")

    def before(self) -> str:
        """The last token that was read."""
        return repr(self.tokens[self.place - 1][1]) if self.place else "the beginning"

    def fail(self, reason: str) -> NoReturn:
        """Raise a UserError with this reason."""
        raise UserError(f"--where {self.text!r}: {reason}")


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if match is None:
            raise UserError(f"--where {text!r}: cannot read {text[place:].strip()[:20]!r}")
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        place = match.end()
    return found
