"""Every small wrong version of a module: one changed operator, constant, condition or statement at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_CALLS = {"min": "max", "max": "min", "sorted": "list", "any": "all", "all": "any"}
_MEMBERS = {
    "OK": "SLOW",
    "SLOW": "OK",
    "FAIL": "UNKNOWN",
    "UNKNOWN": "FAIL",
    "BLOCKED": "FAIL",
    "PROVEN": "OBSERVED",
    "OBSERVED": "INFERRED",
    "INFERRED": "PROVEN",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong version. `name` is the same as long as the line it stands in is."""

    name: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """All wrong versions of a module's source, in the order of its lines, each name once."""
    tree = ast.parse(source)
    names: dict[str, int] = {}
    ignored = set(_annotations(tree))
    for place, node in enumerate(ast.walk(tree)):
        if node in ignored:
            continue
        for choice in range(len(_changes(node))):
            wrong = copy.deepcopy(tree)
            parents = {child: parent for parent in ast.walk(wrong) for child in ast.iter_child_nodes(parent)}
            target = list(ast.walk(wrong))[place]
            changed = _changes(target)[choice]
            _put(parents[target], target, changed)
            before, after = _shown(node), "nothing" if changed is None else _shown(changed)
            name = f"{_home(tree, node)}: {before} => {after}"
            names[name] = names.get(name, 0) + 1
            suffix = f" (no. {names[name]})" if names[name] > 1 else ""
            yield Mutant(name + suffix, ast.unparse(ast.fix_missing_locations(wrong)))


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    """Everything that only type checkers read."""
    for node in ast.walk(tree):
        for told in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(told, ast.AST):
                yield from ast.walk(told)


def _changes(node: ast.AST) -> Sequence[ast.AST | None]:
    """What a node may be replaced by; None: nothing at all."""
    match node:
        case ast.Compare(ops=[operator]):
            others = _COMPARE[type(operator)]
            return [*[_with(node, ops=[other()]) for other in others], ast.Constant(True), ast.Constant(False)]
        case ast.BoolOp():
            flipped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return [_with(node, op=flipped), *[_less(node, at) for at in range(len(node.values))]]
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return [_with(node, op=ast.Sub())] if isinstance(right, ast.Constant) else [left, right]
        case ast.Constant(value=bool() as value):
            return [ast.Constant(not value)]
        case ast.Constant(value=int() as value):
            return [ast.Constant(value + 1), ast.Constant(value - 1)]
        case ast.Constant(value=None):
            return []
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.comprehension() if node.ifs:
            return [_with(node, ifs=[])]
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            return [_with(node, func=ast.Name(_CALLS[name], ast.Load()), keywords=_kept(name, node))]
        case ast.Call() if len(node.keywords) > 1:
            return [
                _with(node, keywords=node.keywords[:at] + node.keywords[at + 1 :]) for at in range(len(node.keywords))
            ]
        case ast.Attribute(value=ast.Name(id="State" | "Confidence"), attr=member):
            return [_with(node, attr=_MEMBERS[member])]
        case ast.Tuple(elts=elements, ctx=ast.Load()) if len(elements) > 1:
            return [_with(node, elts=elements[:at] + elements[at + 1 :]) for at in range(len(elements))]
        case ast.If():
            return [None]
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            return [ast.Return(ast.Constant(None))]
        case ast.Assign() | ast.AugAssign():
            return [None]
        case ast.Continue():
            return [ast.Break()]
        case ast.Expr(value=ast.Call()):
            return [None]
        case _:
            return []


def _kept(name: str, node: ast.Call) -> list[ast.keyword]:
    return [] if _CALLS[name] == "list" else node.keywords


def _less(node: ast.BoolOp, at: int) -> ast.AST:
    rest = node.values[:at] + node.values[at + 1 :]
    return rest[0] if len(rest) == 1 else _with(node, values=rest)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _put(parent: ast.AST, old: ast.AST, new: ast.AST | None) -> None:
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list) and any(item is old for item in value):
            at = next(index for index, item in enumerate(value) if item is old)
            value[at] = ast.Pass() if new is None else new


def _shown(node: ast.AST) -> str:
    if isinstance(node, ast.comprehension):
        tests = "".join(f" if {ast.unparse(test)}" for test in node.ifs)
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}{tests}"
    return " ".join(ast.unparse(node).split())


def _home(tree: ast.Module, node: ast.AST) -> str:
    """The function or class that a node stands in."""
    for top in tree.body:
        if any(inner is node for inner in ast.walk(top)) and isinstance(top, ast.FunctionDef | ast.ClassDef):
            return top.name
    return "module"
