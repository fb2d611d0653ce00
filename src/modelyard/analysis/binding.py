"""Binding: every name of a query is resolved to a column of a table, and written so that it can mean nothing else.

After it each source has a name that is unique in the whole text, each column is written with its source, stars and
USING are spelled out, aliases are replaced, and for each output column it is known which columns of which tables it
derives from. A name with two meanings is refused.

The account of origins errs on the side of the owner: an expression derives from every column in it, a subquery inside
an expression also from those it filters by, an intersection from both sides, and a constant that is joined on a
condition from the columns of that condition.
"""

from collections.abc import Mapping, Sequence

from sqlglot import exp

from modelyard.analysis.model import Refused, Table
from modelyard.analysis.scopes import NOTHING, Bound, Field, Origins, Scope, Source

MAX_COPIES = 20_000


def bind(tree: exp.Query, tables: Mapping[str, Table]) -> Bound:
    """Resolves all names of a query. Refused: UNKNOWN_TABLE, UNKNOWN_COLUMN, AMBIGUOUS_NAME, NOT_UNDERSTOOD."""
    binder = _Binder(tables)
    fields, _ = binder.query(tree, None, {})
    return Bound(tree, fields, binder.sources)


class _Binder:
    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.sources: dict[str, Source] = {}
        self._columns: dict[int, tuple[exp.Expr, Source, Field]] = {}  # the node too: an id must stay its own
        self._tables: dict[str, Table] = {}
        for name, table in tables.items():
            if name.lower() in self._tables:
                raise Refused("AMBIGUOUS_NAME", f"Two tables are called {name}. One of their owners must rename it.")
            self._tables[name.lower()] = table
        self._count = 0
        self._copies = 0

    def query(self, node: exp.Expr, outer: Scope | None, ctes: Mapping[str, Source]) -> tuple[Sequence[Field], Origins]:
        """The output columns of a query, and every column that is read in it."""
        if isinstance(node, exp.Subquery):
            if node.args.get("alias"):
                raise _not_understood("A query in parentheses with an alias")
            return self.query(node.this, outer, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, outer, ctes)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, outer, ctes)
        raise _not_understood("What stands in place of a SELECT")

    def _set_operation(
        self, node: exp.SetOperation, outer: Scope | None, ctes: Mapping[str, Source]
    ) -> tuple[Sequence[Field], Origins]:
        ctes, read = self._with(node, ctes)
        left, read_left = self.query(node.this, outer, ctes)
        right, read_right = self.query(node.expression, outer, ctes)
        if len(left) != len(right):
            reason = f"The sides of a set operation have {len(left)} and {len(right)} columns. Give them as many."
            raise Refused("SYNTAX", reason)
        fields = [Field(one.name, one.origins | two.origins) for one, two in zip(left, right, strict=True)]
        for ordered in _items(node, "order"):
            names = [one.name.lower() for one in fields]
            if _bare(ordered.this) and names.count(ordered.this.name.lower()) == 1:
                ordered.this.replace(exp.Literal.number(1 + names.index(ordered.this.name.lower())))
            _check_ordinal(ordered.this, len(fields), f"ORDER BY after {type(node).__name__.upper()}")
        _check_limits(node)
        return fields, read | read_left | read_right

    def _with(self, node: exp.Query, ctes: Mapping[str, Source]) -> tuple[Mapping[str, Source], Origins]:
        read = NOTHING
        known = dict(ctes)
        here: set[str] = set()
        for cte in node.args["with_"].expressions if node.args.get("with_") else []:
            fields, within = self.query(cte.this, None, known)
            name = cte.alias.lower()
            if name in here:
                raise Refused("AMBIGUOUS_NAME", f"WITH names {cte.alias} twice. Rename one.")
            here.add(name)
            known[name] = self._derived(cte, fields)
            read |= within
        return known, read

    def _derived(self, node: exp.CTE | exp.Subquery, fields: Sequence[Field]) -> Source:
        names = [one.name for one in fields]
        alias = node.args.get("alias")
        given = [column.name for column in alias.columns] if alias else []
        if len(given) > len(names):
            raise Refused("SYNTAX", f"{node.alias} names {len(given)} columns, but its query has {len(names)}.")
        unique = _unique([*given, *names[len(given) :]])
        source = Source(self._name(), [Field(name, one.origins) for name, one in zip(unique, fields, strict=True)])
        node.set(
            "alias", exp.TableAlias(this=_identifier(source.alias), columns=[_identifier(name) for name in unique])
        )
        return source

    def _name(self) -> str:
        while True:
            self._count += 1
            if (name := f"_{self._count}") not in self._tables:
                return name

    def _select(
        self, node: exp.Select, outer: Scope | None, ctes: Mapping[str, Source]
    ) -> tuple[Sequence[Field], Origins]:
        ctes, read = self._with(node, ctes)
        scope = Scope(self._name(), outer, ctes)
        read |= self._from(node, scope)
        if where := node.args.get("where"):
            scope.conditions |= self._expression(where.this, scope)
        fields = self._projections(node, scope)
        read |= self._group(node, scope)
        for clause in ("having", "qualify"):
            if part := node.args.get(clause):
                scope.conditions |= self._expression(part.this, scope, aliases=True)
        read |= self._order(node, scope)
        _check_limits(node)
        scope.conditions -= scope.constants
        fields = [Field(one.name, scope.settled(one.origins)) for one in fields]
        return fields, scope.settled(read).union(scope.conditions, *(one.origins for one in fields))

    def _from(self, node: exp.Select, scope: Scope) -> Origins:
        if node.args.get("from_") is None:
            if node.args.get("joins"):
                raise _not_understood("A JOIN without FROM")
            return NOTHING
        read = self._source(node.args["from_"].this, scope)[1]
        for join in node.args.get("joins") or []:
            read |= self._join(join, scope)
        return read

    def _source(self, node: exp.Expr, scope: Scope) -> tuple[str, Origins]:
        if isinstance(node, exp.Table):
            name, source, read = node.alias_or_name, self._table(node, scope), NOTHING
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select | exp.SetOperation):
            name = node.alias
            fields, read = self.query(node.this, scope.outer, scope.ctes)
            source = self._derived(node, fields)
        else:
            raise _not_understood(f"{type(node).__name__.upper()} in FROM")
        name = name.lower() or source.alias
        if name in scope.sources:
            raise Refused("AMBIGUOUS_NAME", f"FROM names {name} twice. Give one an alias.")
        scope.sources[name] = self.sources[source.alias] = source
        return name, read

    def _table(self, node: exp.Table, scope: Scope) -> Source:
        if not isinstance(node.this, exp.Identifier):
            raise Refused("FUNCTION_NOT_ALLOWED", "FROM calls a function. Only tables can be queried.")
        if node.args.get("alias") and node.args["alias"].columns:
            raise _not_understood("A table with new names for its columns")
        name = node.name
        if cte := scope.ctes.get(name.lower()):
            source, text = Source(self._name(), cte.fields), cte.alias
        elif table := self._tables.get(name.lower()):
            fields = [Field(column, frozenset({(table.name, column)})) for column in table.columns]
            source, text = Source(self._name(), fields, table), table.name
        else:
            raise Refused(
                "UNKNOWN_TABLE", f"No table {name} is in this collaboration. Name one that ListSchemas shows."
            )
        node.set("this", _identifier(text))
        node.set("alias", exp.TableAlias(this=_identifier(source.alias)))
        return source

    def _join(self, join: exp.Join, scope: Scope) -> Origins:
        left = dict(scope.sources)
        name, read = self._source(join.this, scope)
        kind, side = (join.kind or "").upper(), (join.side or "").upper()
        if kind not in ("", "INNER", "CROSS", "OUTER", "SEMI", "ANTI") or side not in ("", "LEFT", "RIGHT", "FULL"):
            raise _not_understood(f"The join {side} {kind}")
        if using := join.args.get("using"):
            self._using(join, [column.name for column in using], left, scope.sources[name], scope, side)
        if on := join.args.get("on"):
            scope.conditions |= self._expression(on, scope)
        if kind in ("SEMI", "ANTI"):
            del scope.sources[name]
        return read

    def _using(
        self, join: exp.Join, names: Sequence[str], left: Mapping[str, Source], right: Source, scope: Scope, side: str
    ) -> None:
        conditions = []
        for name in names:
            one = scope.merged.get(name.lower()) or self._only(name, left)
            found = right.find(name)
            if found is None:
                raise Refused("UNKNOWN_COLUMN", f"USING names {name}, which the joined table does not offer.")
            other = self._resolved(right, found)
            conditions.append(exp.EQ(this=self._copied(one), expression=self._copied(other)))
            both = exp.Coalesce(this=self._copied(one), expressions=[self._copied(other)])
            scope.merged[name.lower()] = {"RIGHT": other, "FULL": both}.get(side, one)
        join.set("using", None)
        join.set("on", exp.and_(*conditions, copy=False))

    def _only(self, name: str, sources: Mapping[str, Source]) -> exp.Expr:
        found = [(source, one) for source in sources.values() if (one := source.find(name))]
        if len(found) != 1:
            code, word = ("AMBIGUOUS_NAME", "more than once") if found else ("UNKNOWN_COLUMN", "nowhere")
            raise Refused(code, f"The column {name} of USING is {word} before the join. Write ON instead.")
        return self._resolved(*found[0])

    def _resolved(self, source: Source, found: Field) -> exp.Column:
        node = exp.Column(this=_identifier(found.name), table=_identifier(source.alias))
        self._columns[id(node)] = (node, source, found)
        return node

    def _copied(self, value: exp.Expr) -> exp.Expr:
        """A copy of a bound expression, bound to the same columns."""
        copy = value.copy()
        self._spend(sum(1 for _ in copy.walk()))
        for old, new in zip(value.find_all(exp.Column), copy.find_all(exp.Column), strict=True):
            self._columns[id(new)] = (new, *self._columns[id(old)][1:])
        return copy

    def _spend(self, nodes: int) -> None:
        """Counts what names and stars stand for: a short text may stand for one without end."""
        self._copies += nodes
        if self._copies > MAX_COPIES:
            raise Refused(
                "TOO_LONG", "The query's stars and aliases stand for too much. Name the columns, fewer times."
            )

    def _projections(self, node: exp.Select, scope: Scope) -> Sequence[Field]:
        items = [expanded for item in node.expressions for expanded in self._expanded(item, scope)]
        names = _unique([_output_name(item, position) for position, item in enumerate(items, 1)])
        fields, holders = [], []
        for item, name in zip(items, names, strict=True):
            holder = exp.Alias(this=_unnamed(item), alias=_identifier(name))
            fields.append(Field(name, self._expression(holder.this, scope)))
            scope.projections.setdefault(item.alias_or_name.lower(), holder)
            scope.projections[name.lower()] = holder
            holders.append(holder)
        node.set("expressions", holders)
        return fields

    def _expanded(self, item: exp.Expr, scope: Scope) -> Sequence[exp.Expr]:
        star = item.this if isinstance(item, exp.Column) else item
        if not isinstance(star, exp.Star):
            return [item]
        sources = list(scope.sources.values())
        if isinstance(item, exp.Column):
            if item.table.lower() not in scope.sources:
                raise Refused("UNKNOWN_TABLE", f"{item.table}.* names no table of FROM.")
            sources = [scope.sources[item.table.lower()]]
        left_out = {one.name.lower() for one in star.args.get("except_") or []}
        expanded: dict[tuple[str, str], exp.Expr] = {}
        for source in sources:
            for one in source.fields:
                name = one.name.lower()
                merged = scope.merged.get(name) if item is star else None
                if name not in left_out and ("" if merged else source.alias, name) not in expanded:
                    self._spend(1)
                    value = self._copied(merged) if merged else self._resolved(source, one)
                    expanded["" if merged else source.alias, name] = exp.alias_(value, one.name, copy=False)
        if not expanded:
            raise Refused("UNKNOWN_COLUMN", "A star in the query stands for no column.")
        return list(expanded.values())

    def _group(self, node: exp.Select, scope: Scope) -> Origins:
        read = NOTHING
        for item in _items(node, "group"):
            if isinstance(item, exp.Literal):
                _check_ordinal(item, len(node.expressions), "GROUP BY")
            elif _bare(item) and not self._candidates(item, scope) and item.name.lower() in scope.projections:
                item.replace(_position(node, scope, item.name))
            else:
                read |= self._expression(item, scope)
        return read

    def _order(self, node: exp.Select, scope: Scope) -> Origins:
        read = NOTHING
        for ordered in _items(node, "order"):
            item = ordered.this
            if isinstance(item, exp.Literal):
                _check_ordinal(item, len(node.expressions), "ORDER BY")
            elif _bare(item) and item.name.lower() in scope.projections:
                item.replace(_position(node, scope, item.name))
            else:
                read |= self._expression(item, scope, aliases=True)
        return read

    def _expression(self, node: exp.Expr, scope: Scope, aliases: bool = False) -> Origins:
        """The columns that an expression derives from; its own columns are rewritten."""
        if isinstance(node, exp.Column):
            return self._column(node, scope, aliases)
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            raise _not_understood("A star inside an expression")
        if isinstance(node, exp.Select | exp.SetOperation):
            fields, read = self.query(node, scope, scope.ctes)
            return read.union(*(one.origins for one in fields))
        if isinstance(node, exp.Alias):
            raise _not_understood("An alias inside an expression")
        return NOTHING.union(*(self._expression(child, scope, aliases) for child in list(node.iter_expressions())))

    def _column(self, node: exp.Column, scope: Scope, aliases: bool) -> Origins:
        if id(node) in self._columns:
            return self._origins(*self._columns[id(node)][1:], scope)
        name = node.name.lower()
        within: Scope | None = scope
        while within is not None:
            if node.table:
                if source := within.sources.get(node.table.lower()):
                    return self._rewrite(node, [source], within)
            elif name in within.merged:
                return self._replace(node, within.merged[name], within)
            elif candidates := self._candidates(node, within):
                return self._rewrite(node, candidates, within)
            elif aliases and within is scope and name in scope.projections:
                return self._replace(node, scope.projections[name].this, scope)
            within = within.outer
        place = f"the table {node.table}, which FROM does not name" if node.table else "any table of FROM"
        hint = "Name an allowed column that GetSchema shows; an alias of SELECT is not visible in SELECT and WHERE."
        raise Refused("UNKNOWN_COLUMN", f"No column {node.name} is in {place}. {hint}")

    def _candidates(self, node: exp.Expr, scope: Scope) -> Sequence[Source]:
        return [source for source in scope.sources.values() if source.find(node.name)]

    def _rewrite(self, node: exp.Column, sources: Sequence[Source], scope: Scope) -> Origins:
        if len(sources) > 1:
            reason = f"The column {node.name} is in {len(sources)} tables of FROM. Write the table before it."
            raise Refused("AMBIGUOUS_NAME", reason)
        source, found = sources[0], sources[0].find(node.name)
        if found is None:
            reason = (
                f"The table {node.table} offers no column {node.name}. Name an allowed column that GetSchema shows."
            )
            raise Refused("UNKNOWN_COLUMN", reason, source.table.name if source.table else None)
        node.set("this", _identifier(found.name))
        node.set("table", _identifier(source.alias))
        self._columns[id(node)] = (node, source, found)
        return self._origins(source, found, scope)

    def _replace(self, node: exp.Column, value: exp.Expr, scope: Scope) -> Origins:
        """Puts a bound expression in place of a name."""
        if any(True for _ in value.find_all(exp.Select, exp.SetOperation)):
            raise _not_understood("An alias of a subquery in another expression")
        copy = self._copied(value)
        node.replace(copy if isinstance(value, exp.Column | exp.Literal) else exp.Paren(this=copy))
        return self._expression(copy, scope)

    def _origins(self, source: Source, found: Field, scope: Scope) -> Origins:
        return found.origins if found.origins or source.table else scope.constants


def _not_understood(what: str) -> Refused:
    return Refused("NOT_UNDERSTOOD", f"{what} is not understood here. Write the query another way.")


def _identifier(name: str) -> exp.Identifier:
    return exp.Identifier(this=name, quoted=True)


def _items(node: exp.Query, clause: str) -> Sequence[exp.Expr]:
    part = node.args.get(clause)
    return list(part.expressions) if part else []


def _bare(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and not node.table


def _position(node: exp.Select, scope: Scope, name: str) -> exp.Expr:
    holder = scope.projections[name.lower()]
    return exp.Literal.number(1 + next(n for n, one in enumerate(node.expressions) if one is holder))


def _check_ordinal(node: exp.Expr, columns: int, place: str) -> None:
    if not (isinstance(node, exp.Literal) and node.is_int and 1 <= int(node.name) <= columns):
        raise Refused("NOT_UNDERSTOOD", f"{place} takes names of columns or positions from 1 to {columns}.")


def _check_limits(node: exp.Query) -> None:
    for clause in ("limit", "offset"):
        if part := node.args.get(clause):
            value = part.expression
            if not ((isinstance(value, exp.Literal) and value.is_int) or _is_parameter(value)):
                raise Refused("NOT_UNDERSTOOD", f"{clause.upper()} takes a whole number alone.")


def _is_parameter(node: exp.Expr) -> bool:
    return isinstance(node, exp.Cast) and isinstance(node.this, exp.Placeholder)


def _unique(names: Sequence[str]) -> Sequence[str]:
    taken: dict[str, int] = {}
    unique = []
    for name in names:
        candidate = name
        while candidate.lower() in taken:
            taken[name.lower()] += 1
            candidate = f"{name}_{taken[name.lower()]}"
        taken[candidate.lower()] = 0
        unique.append(candidate)
    return unique


def _output_name(item: exp.Expr, position: int) -> str:
    if item.alias:
        return item.alias
    inner = item.this if isinstance(item, exp.Cast) else item
    if isinstance(inner, exp.Column):
        return inner.name
    if isinstance(inner, exp.Func) and not isinstance(inner, exp.Anonymous | exp.And | exp.Or):
        return inner.sql_name().lower()
    return f"column_{position}"


def _unnamed(item: exp.Expr) -> exp.Expr:
    if isinstance(item, exp.Subquery):
        item.set("alias", None)
    return item.this if isinstance(item, exp.Alias) else item
