"""No equation can change unnoticed: each is broken by a sign or a factor, and the checks below must fail.

The mutants are made from the source itself, so that an equation added later is covered too: every assigned
value is negated and scaled by 1.01; every +, -, *, / and power is exchanged; every number is doubled; every
term that is added by a call is negated.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
from norm_agreement import Case, disagreement, library

from bnrepro.norm import functional, reference

# The bodies that hold an equation; the rest of the modules is input checks and bookkeeping.
EQUATIONS = {
    reference: ("forward", "backward", "variance_to_track", "batch_weight", "move_average"),
    functional: ("values_per_channel", "batch_statistics", "batch_norm_train", "batch_norm_inference"),
}
EXCHANGED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
ADDING_CALLS = ("add_", "addcmul", "lerp")
# Values that are no equation: shapes, types, and the context.
BOOKKEEPING = ("dims", "dtype", "before", "weight")


def check_layer(module: ModuleType) -> None:
    """A small deterministic form of the property tests, in float64."""
    layer = module.ReferenceBatchNorm
    for case in (
        Case((6, 3), eps=0.1, mean_over_std=2.0),
        Case((3, 4, 2), eps=0.1, momentum=None, bias=False),
        Case((3, 2, 2, 3), eps=0.1, affine=False, momentum=0.7),
        Case((5, 3), eps=0.1, training=False),
    ):
        errors = disagreement(case, layer, library)
        assert max(errors.values()) <= 1e-10, errors
    check_gradient_of_statistics(module)
    check_backward_at_any_mean(module)


def check_gradient_of_statistics(module: ModuleType) -> None:
    """A loss may depend on mu_B and sigma2_B as well as on y."""
    case = Case((4, 3, 2), mean_over_std=2.0)
    x = case.batch().requires_grad_()
    weights = torch.randn(3, 3, generator=case.generator(), dtype=torch.float64)
    gradients = []
    for transform in (module.BatchNormFunction.apply, functional.batch_norm_train):
        y, mean, var = transform(x, weights[0], weights[1], 0.1)
        loss = (y * case.output_gradient()).sum() + (mean * weights[2]).sum() + (var * weights[1]).sum()
        gradients.append(torch.autograd.grad(loss, x)[0])
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-10)


def check_backward_at_any_mean(module: ModuleType) -> None:
    """The paper's equations, the vanishing term among them, hold for a mean that is off by a constant."""
    case = Case((7, 3))
    x, grad_y = case.batch().requires_grad_(), case.output_gradient()
    gamma, beta, offset = torch.randn(3, 3, generator=case.generator(), dtype=torch.float64)
    mean = x.mean(0) + offset
    var = (x - mean).square().mean(0)
    y = gamma * (x - mean) / torch.sqrt(var + 0.1) + beta
    (expected,) = torch.autograd.grad(y, x, grad_y, retain_graph=True)
    saved = tuple(t.detach() for t in (x, gamma, beta, mean, var))
    zero = torch.zeros(3, dtype=torch.float64)
    context = SimpleNamespace(saved_tensors=saved, eps=0.1)
    gradient, *_ = module.BatchNormFunction.backward(context, grad_y, zero, zero)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-10)


def check_functions(module: ModuleType) -> None:
    """The functional form against the library's, outputs and statistics."""
    for shape in ((6, 3), (3, 4, 2), (3, 2, 2, 3)):
        x = Case(shape, mean_over_std=2.0).batch()
        per_feature = x.movedim(1, 0).flatten(1)
        assert module.values_per_channel(x) == per_feature.shape[1]
        rng = torch.Generator().manual_seed(0)
        mean, gamma, beta = torch.randn(3, shape[1], generator=rng, dtype=torch.float64)
        var = gamma.square() + 0.5
        for scale, shift in ((gamma, beta), (gamma, None), (None, None)):
            y, batch_mean, batch_var = module.batch_norm_train(x, scale, shift, 0.1)
            expected = torch.nn.functional.batch_norm(x, None, None, scale, shift, True, eps=0.1)
            assert torch.allclose(y, expected, rtol=1e-10, atol=1e-10)
            assert torch.allclose(batch_mean, per_feature.mean(1), rtol=1e-10, atol=1e-10)
            assert torch.allclose(batch_var, per_feature.var(1, correction=0), rtol=1e-10, atol=1e-10)
            y = module.batch_norm_inference(x, mean, var, scale, shift, 0.1)
            expected = torch.nn.functional.batch_norm(x, mean, var, scale, shift, False, eps=0.1)
            assert torch.allclose(y, expected, rtol=1e-10, atol=1e-10)


def scaled(value: ast.expr, factor: float) -> ast.expr:
    return ast.BinOp(ast.Constant(factor), ast.Mult(), value)


def branches(value: ast.expr) -> list[tuple[ast.AST, str]]:
    """Where to scale a value: in both arms of a conditional, except where an arm is None."""
    if not isinstance(value, ast.IfExp):
        return []
    arms = (("body", value.body), ("orelse", value.orelse))
    return [(value, name) for name, arm in arms if not isinstance(arm, ast.Constant)]


def edits(body: ast.AST) -> Iterator[tuple[ast.AST, str, object]]:
    """All single changes to one function, each as (node, field, new value)."""
    for node in ast.walk(body):
        if isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if isinstance(node.targets[0], ast.Tuple) or target in BOOKKEEPING:
                continue
            for place, name in branches(node.value) or [(node, "value")]:
                for factor in (-1.0, 1.01):
                    yield place, name, scaled(getattr(place, name), factor)
        elif isinstance(node, ast.BinOp) and type(node.op) in EXCHANGED:
            yield node, "op", EXCHANGED[type(node.op)]()
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, "op", ast.UAdd()
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node, "value", node.value * 2
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) in ADDING_CALLS:
            for i, argument in enumerate(node.args):
                yield node, "args", [*node.args[:i], scaled(argument, -1.0), *node.args[i + 1 :]]


def mutants(module: ModuleType) -> Iterator[tuple[str, ast.Module]]:
    """Every changed form of a module, with a name that shows the change."""
    tree = ast.parse(inspect.getsource(module))
    # The first function of a name: in the reference, the transform's forward rather than the layer's.
    functions: dict[str, ast.FunctionDef] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            functions.setdefault(node.name, node)
    for name in EQUATIONS[module]:
        function = functions[name]
        for statement in function.body:
            for node, field, value in list(edits(statement)):
                original, before = getattr(node, field), ast.unparse(statement)
                setattr(node, field, value)
                yield (
                    f"{name}: {before}  ->  {ast.unparse(statement)}",
                    ast.fix_missing_locations(copy.deepcopy(tree)),
                )
                setattr(node, field, original)


def load(tree: ast.Module, original: ModuleType) -> ModuleType:
    module = ModuleType("mutant")
    exec(compile(tree, f"<{original.__name__}, changed>", "exec"), module.__dict__)
    return module


CHECKS: dict[ModuleType, Callable[[ModuleType], None]] = {reference: check_layer, functional: check_functions}


@pytest.mark.parametrize("module", CHECKS, ids=lambda module: module.__name__)
def test_every_broken_equation_is_noticed(module: ModuleType) -> None:
    check = CHECKS[module]
    check(module)
    check(load(ast.parse(inspect.getsource(module)), module))
    unnoticed, total = [], 0
    for name, tree in mutants(module):
        total += 1
        try:
            check(load(tree, module))
        except AssertionError:
            continue
        unnoticed.append(name)
    assert total >= 20
    assert not unnoticed, "\n".join(unnoticed)
