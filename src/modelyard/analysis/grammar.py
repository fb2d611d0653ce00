"""The closed grammar of queries: every node of a tree must be named here, with the arguments that are understood.

What a new version of sqlglot learns to parse is refused until somebody has thought about it.
"""

from collections.abc import Iterator

from sqlglot import exp

from modelyard.analysis.model import Refused

MAX_NAME = 127

_TAIL = ("order", "limit", "offset")
_SET_OPERATION = frozenset(("with_", "this", "expression", "distinct", *_TAIL))
_STRUCTURE: dict[type[exp.Expr], frozenset[str]] = {
    exp.Select: frozenset(
        ("with_", "expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify", *_TAIL)
    ),
    exp.Union: _SET_OPERATION,
    exp.Intersect: _SET_OPERATION,
    exp.Except: _SET_OPERATION,
    exp.Subquery: frozenset(("this", "alias")),
    exp.With: frozenset(("expressions",)),
    exp.CTE: frozenset(("this", "alias")),
    exp.TableAlias: frozenset(("this", "columns")),
    exp.From: frozenset(("this",)),
    exp.Join: frozenset(("this", "on", "using", "side", "kind")),
    exp.Table: frozenset(("this", "alias")),
    exp.Where: frozenset(("this",)),
    exp.Group: frozenset(("expressions",)),
    exp.Having: frozenset(("this",)),
    exp.Qualify: frozenset(("this",)),
    exp.Order: frozenset(("this", "expressions")),
    exp.Ordered: frozenset(("this", "desc", "nulls_first")),
    exp.Limit: frozenset(("expression",)),
    exp.Offset: frozenset(("expression",)),
    exp.Distinct: frozenset(("expressions",)),
    exp.Column: frozenset(("this", "table")),
    exp.Star: frozenset(("except_",)),
    exp.Alias: frozenset(("this", "alias")),
    exp.Identifier: frozenset(("this", "quoted")),
    exp.Literal: frozenset(("this", "is_string")),
    exp.Placeholder: frozenset(("this",)),
    exp.Window: frozenset(("this", "partition_by", "order", "spec", "over")),
    exp.WindowSpec: frozenset(("kind", "start", "start_side", "end", "end_side")),
    exp.Filter: frozenset(("this", "expression")),
    exp.In: frozenset(("this", "expressions", "query")),
    exp.Exists: frozenset(("this",)),
    exp.Cast: frozenset(("this", "to")),
    exp.TryCast: frozenset(("this", "to", "safe", "requires_string")),
    exp.DataType: frozenset(("this", "expressions", "nested")),
    exp.DataTypeParam: frozenset(("this",)),
    exp.Interval: frozenset(("this", "unit")),
}

_OPERATORS = frozenset(
    (
        exp.Boolean, exp.Null, exp.Paren, exp.Tuple, exp.Var, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT,
        exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Between, exp.Like, exp.ILike,
        exp.SimilarTo, exp.Escape, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe,
        exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor, exp.Case, exp.If, exp.Any, exp.All, exp.IgnoreNulls,
        exp.RespectNulls,
    )
)  # fmt: skip

AGGREGATES = frozenset(
    (
        exp.Count, exp.CountIf, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Median, exp.Mode, exp.Stddev, exp.StddevPop,
        exp.StddevSamp, exp.Variance, exp.VariancePop, exp.Corr, exp.CovarPop, exp.CovarSamp, exp.Skewness,
        exp.Kurtosis, exp.ApproxDistinct, exp.ApproxQuantile, exp.PercentileCont, exp.PercentileDisc, exp.Quantile,
        exp.LogicalAnd, exp.LogicalOr, exp.GroupConcat, exp.AnyValue, exp.First, exp.Last, exp.ArgMax, exp.ArgMin,
    )
)  # fmt: skip

_SCALARS = frozenset(
    (
        exp.Abs, exp.Acos, exp.Asin, exp.Atan, exp.Atan2, exp.Cbrt, exp.Ceil, exp.Cos, exp.Cot, exp.Degrees, exp.Exp,
        exp.Floor, exp.Greatest, exp.IsInf, exp.IsNan, exp.Least, exp.Ln, exp.Log, exp.Nullif, exp.Pi, exp.Pow,
        exp.Radians, exp.Rand, exp.Round, exp.Sign, exp.Sin, exp.Sqrt, exp.Tan, exp.Trunc, exp.Coalesce,
        exp.Ascii, exp.Chr, exp.Concat, exp.ConcatWs, exp.Contains, exp.EndsWith, exp.Initcap, exp.Left, exp.Length,
        exp.Levenshtein, exp.Lower, exp.Pad, exp.RegexpExtract, exp.RegexpFullMatch, exp.RegexpLike, exp.RegexpReplace,
        exp.Replace, exp.Reverse, exp.Right, exp.SplitPart, exp.StartsWith, exp.StrPosition, exp.Substring,
        exp.Translate, exp.Trim, exp.Unicode, exp.Upper, exp.MD5, exp.SHA2, exp.Uuid,
        exp.CurrentDate, exp.CurrentTimestamp, exp.Date, exp.DateDiff, exp.DateFromParts, exp.DateTrunc, exp.Day,
        exp.DayOfMonth, exp.DayOfWeek, exp.DayOfWeekIso, exp.DayOfYear, exp.Dayname, exp.Extract, exp.Hour,
        exp.LastDay, exp.Minute, exp.Month, exp.Monthname, exp.Quarter, exp.Second, exp.StrToTime, exp.TimeToStr,
        exp.TimestampTrunc, exp.UnixToTime, exp.Week, exp.WeekOfYear, exp.Year,
    )
)  # fmt: skip

_WINDOWS = frozenset(
    (
        exp.RowNumber, exp.Rank, exp.DenseRank, exp.PercentRank, exp.CumeDist, exp.Ntile, exp.Lag, exp.Lead,
        exp.FirstValue, exp.LastValue, exp.NthValue,
    )
)  # fmt: skip

# DuckDB's functions that sqlglot has no class for: pure ones alone.
_BY_NAME = frozenset(("hash", "log2", "log10", "date_part", "sha256", "ln", "even", "gamma", "lgamma"))

_TYPES = frozenset(
    (
        exp.DType.BOOLEAN, exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT, exp.DType.INT128,
        exp.DType.UTINYINT, exp.DType.USMALLINT, exp.DType.UINT, exp.DType.UBIGINT, exp.DType.FLOAT, exp.DType.DOUBLE,
        exp.DType.DECIMAL, exp.DType.CHAR, exp.DType.VARCHAR, exp.DType.TEXT, exp.DType.NCHAR, exp.DType.NVARCHAR,
        exp.DType.DATE, exp.DType.TIME, exp.DType.TIMETZ, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ,
        exp.DType.TIMESTAMPNTZ, exp.DType.TIMESTAMPLTZ, exp.DType.TIMESTAMP_S, exp.DType.TIMESTAMP_MS,
        exp.DType.TIMESTAMP_NS, exp.DType.INTERVAL, exp.DType.UUID, exp.DType.BINARY, exp.DType.VARBINARY,
        exp.DType.BLOB,
    )
)  # fmt: skip
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ -")


def check_grammar(tree: exp.Expr) -> None:
    """Passes over every node; Refused (NOT_UNDERSTOOD, FUNCTION_NOT_ALLOWED, BAD_NAME) at the first unknown."""
    for node in tree.walk():
        kind = type(node)
        if kind in _STRUCTURE:
            _check_arguments(node, _STRUCTURE[kind])
        elif kind not in _OPERATORS:
            _check_function(node)
        elif kind is exp.Var and not (node.name.isascii() and node.name.isalpha()):
            raise Refused("NOT_UNDERSTOOD", "A unit in the query is not understood here. Use DAY, MONTH and the like.")


def check_names(tree: exp.Expr) -> None:
    """Passes over every name; Refused (BAD_NAME) at the first that sentences about it could not show."""
    for node in tree.find_all(exp.Identifier):
        _check_name(node.name)


def queries(tree: exp.Expr) -> Iterator[exp.Query]:
    """The queries inside a tree, the tree itself left out."""
    return (node for node in tree.find_all(exp.Select, exp.SetOperation) if node is not tree)


def is_count_of_rows(node: exp.Expr) -> bool:
    """Whether a star is the one of COUNT(*)."""
    return isinstance(node, exp.Star) and isinstance(node.parent, exp.Count)


def _check_arguments(node: exp.Expr, known: frozenset[str]) -> None:
    unknown = [name for name, value in node.args.items() if value and name not in known]
    if unknown:
        word = unknown[0].strip("_").replace("_", " ").upper()
        raise Refused(
            "NOT_UNDERSTOOD", f"{_kind(node)} with {word} is not understood here. Write the query without it."
        )
    if isinstance(node, exp.Identifier):
        _check_name(node.name)
    elif isinstance(node, exp.DataType) and node.this not in _TYPES:
        raise Refused("NOT_UNDERSTOOD", f"The type {_shown(node)} is not understood here. Use a plain type.")
    elif isinstance(node, exp.Distinct) and isinstance(node.parent, exp.Select) and node.expressions:
        raise Refused("NOT_UNDERSTOOD", "SELECT DISTINCT takes no list of its own here. Write SELECT DISTINCT alone.")


def _check_function(node: exp.Expr) -> None:
    if type(node) in AGGREGATES or type(node) in _SCALARS or type(node) in _WINDOWS:
        return
    if isinstance(node, exp.Anonymous):
        if isinstance(node.this, str) and node.this.lower() in _BY_NAME:
            return
        raise _not_allowed(str(node.name))
    if isinstance(node, exp.Func):
        raise _not_allowed(node.sql_name())
    raise Refused("NOT_UNDERSTOOD", f"{_kind(node)} is not understood here. Use plain SELECT expressions.")


def _not_allowed(name: str) -> Refused:
    shown = name if set(name) <= _NAME_CHARACTERS else "of this name"
    return Refused("FUNCTION_NOT_ALLOWED", f"The function {shown} is not among those that a query may call.")


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME or not set(name) <= _NAME_CHARACTERS:
        reason = f"A name has characters other than letters, digits, '_', '-' and spaces, or more than {MAX_NAME}."
        raise Refused("BAD_NAME", f"{reason} Name columns and tables with these alone.")


def _kind(node: exp.Expr) -> str:
    return type(node).__name__.upper()


def _shown(node: exp.Expr) -> str:
    return node.sql("duckdb")[:40]
