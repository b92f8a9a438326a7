"""What a step leaves to torch: hooks, profilers, compilers, copies; and the memory that it holds."""

import copy
import io
import pickle
import weakref

import pytest
import torch
from torch import nn

from hpsearch.optim import SharpnessAware

METHODS = {
    "base": {"rho": 0.0},
    "sam": {"rho": 0.1},
    "asam": {"rho": 0.5, "adaptive": True},
    "fsam": {"rho": 0.1, "sigma": 0.5, "ema_decay": 0.5},
    "fmsam": {"rho": 0.1, "sigma": 0.5, "num_shards": 3},
    "gsam": {"rho": 0.1, "combine": "gsam"},
    "absolute_eta": {"rho": 0.1, "metric": "absolute_eta"},
    "sam_on": {"rho": 0.5, "perturb": "normalization"},
}


def network(norm=nn.LayerNorm):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), norm(8), nn.Tanh(), nn.Linear(8, 3))


def batch(seed, rows=12):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=draws), torch.randint(0, 3, (rows,), generator=draws)


def closure_of(model, kind=None):
    def closure(inputs, targets):
        loss = nn.functional.cross_entropy(model(inputs if kind is None else inputs.to(kind)), targets)
        loss.backward()
        return loss

    return closure


def optimizer_of(model, **settings):
    base = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=True)
    return SharpnessAware(base, model, **settings)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# Hooks and the profiler ---------------------------------------------------------------------------------------------


def test_hooks_of_the_wrapper_run_though_step_is_not_wrapped():
    model, calls = network(), []
    optimizer = optimizer_of(model, rho=0.1)
    optimizer.step(closure_of(model), *batch(0))
    before = weights_of(model)

    def pre(each, arguments, more):
        calls.append(("pre", each is optimizer, torch.equal(weights_of(model), before), len(arguments)))

    def post(each, arguments, more):
        calls.append(("post", each is optimizer, torch.equal(weights_of(model), before), len(arguments)))

    handles = [optimizer.register_step_pre_hook(pre), optimizer.register_step_post_hook(post)]
    loss = optimizer.step(closure_of(model), *batch(1))
    assert [(name, right, same) for name, right, same, _ in calls] == [("pre", True, True), ("post", True, False)]
    assert torch.is_tensor(loss)
    for handle in handles:
        handle.remove()
    optimizer.step(closure_of(model), *batch(2))
    assert len(calls) == 2


def test_hooks_run_with_every_kind_of_step():
    model, calls = network(), []
    optimizer = optimizer_of(model, rho=0.1, num_shards=2)
    optimizer.register_step_pre_hook(lambda *_: calls.append("pre"))
    optimizer.register_step_post_hook(lambda *_: calls.append("post"))
    optimizer.step_accumulated(closure_of(model), [batch(0), batch(1)], micro_batches_are="shards")
    optimizer.step_vectorized(lambda model, x, y: nn.functional.cross_entropy(model(x), y), *batch(0))
    optimizer.step_vectorized(lambda model, x, y: nn.functional.cross_entropy(model(x), y), *(x[:5] for x in batch(0)))
    assert calls == ["pre", "post"] * 3


def test_loading_into_the_base_alone_keeps_the_groups_shared():
    model = network()
    optimizer = optimizer_of(model, rho=0.1)
    optimizer.step(closure_of(model), *batch(0))
    optimizer.base.load_state_dict(optimizer.base.state_dict())
    optimizer.step(closure_of(model), *batch(1))
    assert optimizer.param_groups is optimizer.base.param_groups


def test_hooks_do_not_change_the_training():
    def run(hooked):
        model = network()
        optimizer = optimizer_of(model, rho=0.1, num_shards=2)
        if hooked:
            optimizer.register_step_pre_hook(lambda *_: None)
        for step in range(3):
            optimizer.step(closure_of(model), *batch(step), weights=[1, 3])
        return weights_of(model)

    assert torch.equal(run(True), run(False))


def test_global_hooks_run_for_the_wrapper_and_its_base():
    from torch.optim.optimizer import register_optimizer_step_post_hook

    model, seen = network(), []
    optimizer = optimizer_of(model, rho=0.1)
    handle = register_optimizer_step_post_hook(lambda each, *_: seen.append(each))
    try:
        optimizer.step(closure_of(model), *batch(0))
    finally:
        handle.remove()
    assert len(seen) == 2 and seen[0] is optimizer.base and seen[1] is optimizer


def test_a_profiler_records_the_step():
    model = network()
    optimizer = optimizer_of(model, rho=0.1)
    optimizer.step(closure_of(model), *batch(0))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        optimizer.step(closure_of(model), *batch(1))
    names = [event.key for event in profile.key_averages()]
    assert "Optimizer.step#SharpnessAware.step" in names and "Optimizer.step#SGD.step" in names


@pytest.mark.parametrize("name", ["sam", "fsam", "fmsam", "gsam"])
@pytest.mark.parametrize("nonfinite", ["allow", "skip"])
def test_clipping_in_the_bases_hook_clips_the_final_gradients_and_not_the_ema(name, nonfinite):
    clipped, plain, norms = network(), network(), []

    def clip(base, *_):
        norms.append(nn.utils.clip_grad_norm_(clipped.parameters(), 1e-3).item())

    one, other = (optimizer_of(m, **METHODS[name], nonfinite=nonfinite) for m in (clipped, plain))
    one.base.register_step_pre_hook(clip)
    one.step(closure_of(clipped), *batch(0))
    other.step(closure_of(plain), *batch(0))
    expected = nn.utils.get_total_norm([p.grad for p in plain.parameters()]).item()
    assert norms == [pytest.approx(expected)] and norms[0] > 0.1
    moved = weights_of(clipped) - weights_of(network())
    assert moved.norm().item() == pytest.approx(0.1 * 1e-3, rel=1e-2)
    for p, q in zip(clipped.parameters(), plain.parameters(), strict=True):
        if "sigma" in METHODS[name]:
            assert torch.equal(one.state[p]["ema"], other.state[q]["ema"])
    # Nor later on, when the EMA is updated in place.
    plain.load_state_dict(clipped.state_dict())
    one.step(closure_of(clipped), *batch(1))
    other.step(closure_of(plain), *batch(1))
    for p, q in zip(clipped.parameters(), plain.parameters(), strict=True):
        if "sigma" in METHODS[name]:
            assert torch.equal(one.state[p]["ema"], other.state[q]["ema"])


# torch.compile, copies, moves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sam", "fmsam"])
@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.BatchNorm1d])
def test_a_compiled_model_trains_as_the_eager_one_and_compiles_a_few_times_only(name, norm):
    """BatchNorm's switch between the passes makes two graphs, not one a step."""
    torch.compiler.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    eager, model = network(norm), network(norm)
    compiled = torch.compile(model, backend=backend)
    one, other = optimizer_of(eager, **METHODS[name]), optimizer_of(compiled, **METHODS[name])
    counts = []
    for step in range(6):
        one.step(closure_of(eager), *batch(step))
        other.step(closure_of(compiled), *batch(step))
        counts.append(len(graphs))
    torch.testing.assert_close(weights_of(eager), weights_of(model), rtol=1e-6, atol=1e-7)
    for (key, a), b in zip(eager.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, msg=key)
    assert 1 <= counts[-1] <= 4 and counts[1] == counts[-1]
    torch.compiler.reset()


def through_pickle(pair):
    return pickle.loads(pickle.dumps(pair))


def through_torch(pair):
    file = io.BytesIO()
    torch.save(pair, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("travel", [copy.deepcopy, through_pickle, through_torch])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_copy_goes_on_as_the_original_and_shares_nothing(name, travel, steps):
    model = network()
    optimizer = optimizer_of(model, **METHODS[name])
    for step in range(steps):
        optimizer.step(closure_of(model), *batch(step))
    other_model, other = travel((model, optimizer))
    before = weights_of(model)
    for step in range(3, 6):
        other.step(closure_of(other_model), *batch(step))
    assert torch.equal(weights_of(model), before)
    for step in range(3, 6):
        optimizer.step(closure_of(model), *batch(step))
    assert torch.equal(weights_of(model), weights_of(other_model))
    assert other.param_groups is other.base.param_groups and other.steps == optimizer.steps


@pytest.mark.parametrize("name", METHODS)
def test_a_model_may_change_its_precision_between_steps(name):
    """Without momentum or EMA, whose state keeps its own precision, the run in float64 is one from the start there."""
    settings = {**METHODS[name], "sigma": 0.0}
    model, twin = network(), network()
    base = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer = SharpnessAware(base, model, **settings)
    optimizer.step(closure_of(model), *batch(0))
    model.double()
    twin.double().load_state_dict(model.state_dict())
    for step in range(1, 4):
        optimizer.step(closure_of(model, torch.float64), *batch(step))
    fresh = SharpnessAware(torch.optim.SGD(twin.parameters(), lr=0.1), twin, **settings)
    for step in range(1, 4):
        fresh.step(closure_of(twin, torch.float64), *batch(step))
    assert all(p.dtype == torch.float64 for p in model.parameters())
    assert torch.equal(weights_of(model), weights_of(twin))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("nonfinite", ["allow", "skip"])
def test_a_model_may_change_its_precision_with_an_ema(fused, nonfinite):
    """Either it goes on, as torch's momentum does, or an error says so: never weights that are not finite."""
    model = network()
    base = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    optimizer = SharpnessAware(base, model, rho=0.1, sigma=0.5, nonfinite=nonfinite)
    optimizer.step(closure_of(model), *batch(0))
    optimizer.step(closure_of(model), *batch(1))
    model.double()
    before = weights_of(model)
    for step in range(2, 5):
        optimizer.step(closure_of(model, torch.float64), *batch(step))
    assert torch.isfinite(weights_of(model)).all() and not torch.equal(weights_of(model), before)


# Memory -------------------------------------------------------------------------------------------------------------


def big(optimizer_settings, steps=3, fused=None):
    """How many gradients of the clean passes are alive in the perturbed passes, step by step."""
    weight = nn.Parameter(torch.linspace(-1, 1, 1000))
    base = torch.optim.SGD([weight], lr=0.1, fused=fused)
    optimizer = SharpnessAware(base, **optimizer_settings)
    clean, alive = [], []

    def closure(*part):
        if torch.equal(weight, kept):
            clean.append(None)
        else:
            alive.append(sum(ref is not None and ref() is not None for ref in clean))
        loss = (weight.square() * (1 + part[0].mean())).sum()
        loss.backward()
        if clean and clean[-1] is None:
            clean[-1] = weakref.ref(weight.grad)
        return loss

    seen, memory = [], []
    for _ in range(steps):
        kept = weight.detach().clone()
        optimizer.step(closure, torch.arange(6.0))
        seen.append(tuple(alive))
        memory.append(optimizer._layout._saved[0].data_ptr())
        clean.clear(), alive.clear()
    assert len(set(memory)) == 1  # made once
    return seen


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (0,)),
        ({"adaptive": True}, (0,)),
        ({"num_shards": 3}, (0, 0, 0)),
        ({"nonfinite": "skip"}, (0,)),
        ({"sigma": 1.0}, (0,)),  # the EMA has it by then
        ({"sigma": 1.0, "nonfinite": "skip"}, (1,)),
        ({"combine": "gsam"}, (1,)),
        ({"sigma": 0.5, "num_shards": 3}, (0, 0, 0)),  # their mean is kept, a copy
    ],
    ids=str,
)
@pytest.mark.parametrize("fused", [None, True])
def test_clean_gradients_are_dead_in_the_perturbed_pass_unless_needed(settings, expected, fused):
    """Of all that SAM adds to a step, one gradient more or less is what decides if a model fits."""
    assert big({"rho": 0.1, **settings}, fused=fused)[1:] == [expected] * 2


@pytest.mark.parametrize("name", METHODS)
def test_the_memory_for_the_weights_is_made_once(name):
    model = network()
    optimizer = optimizer_of(model, **METHODS[name])
    seen = []
    for step in range(5):
        for group in optimizer.param_groups:
            group["rho"] *= 0.9  # a schedule
        optimizer.step(closure_of(model), *batch(step))
        seen.append([memory.data_ptr() for memory in optimizer._layout._saved.values()])
    assert all(each == seen[0] for each in seen) and bool(seen[0]) == (name != "base")


@pytest.mark.parametrize("kind", ["interval", "vectorized", "skip", "raises", "sam", "gsam"])
def test_nothing_holds_gradients_between_steps(kind):
    model = network()
    more = {"gsam": {"combine": "gsam"}, "interval": {"sigma": 1.0, "interval": 2}, "skip": {"nonfinite": "skip"}}
    shards = 2 if kind == "vectorized" else 1
    optimizer = optimizer_of(model, rho=0.1, num_shards=shards, **more.get(kind, {"combine": "gsam"}))
    optimizer.step(closure_of(model), *batch(0))
    if kind == "vectorized":
        optimizer.step_vectorized(lambda model, x, y: nn.functional.cross_entropy(model(x), y), *batch(1))
    elif kind == "raises":
        calls = []

        def fails(*batch):
            calls.append(closure_of(model)(*batch))
            if len(calls) == 2:
                raise ValueError
            return calls[-1]

        with pytest.raises(ValueError):
            optimizer.step(fails, *batch(1))
    else:
        inputs, targets = batch(1)
        optimizer.step(closure_of(model), inputs * (torch.inf if kind == "skip" else 1), targets)
    assert [bundle.gradients for bundle in optimizer._layout._full.bundles] == [[]]


def test_parameters_of_another_model_and_names_cannot_be_perturbed():
    model = network()
    for wrong in (network().parameters(), ["0.weight"]):
        with pytest.raises(ValueError, match="perturb must hold parameters of the optimizer, but its number 0 is none"):
            optimizer_of(model, perturb=wrong)


@pytest.mark.parametrize("policy", ["perturbed", "both", "none"])
def test_a_policy_for_batchnorm_needs_the_model(policy):
    with pytest.raises(ValueError, match=f"batchnorm='{policy}' needs model="):
        SharpnessAware(torch.optim.SGD(network().parameters(), lr=0.1), batchnorm=policy)


@pytest.mark.parametrize(
    "settings", [{"rho": None}, {"sigma": "0.1"}, {"num_shards": "4"}, {"interval": None}], ids=str
)
def test_settings_that_are_no_numbers_are_named(settings):
    ((name, value),) = settings.items()
    with pytest.raises(ValueError, match=f"{name} must be .*, but got {value!r}"):
        optimizer_of(network(), **settings)


def test_a_group_added_through_the_base_is_checked_at_the_next_step():
    model = network()
    optimizer = optimizer_of(model, rho=0.1)
    optimizer.base.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "rho": -1.0})
    before = weights_of(model)
    with pytest.raises(ValueError, match="rho must be a finite number >= 0, but got -1.0"):
        optimizer.step(closure_of(model), *batch(0))
    assert torch.equal(weights_of(model), before)
