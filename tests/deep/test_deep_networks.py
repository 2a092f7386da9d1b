"""Pathways: shapes, attention, weights from elsewhere, and what they refuse."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from sklearn_cmh.deep import _networks as networks  # noqa: E402


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def spec(network, shape, **options):
    return {"network": network, "input_shape": shape, "n_bits": 7, **options}


@pytest.mark.parametrize(
    "network, shape, options",
    [
        ("mlp", (5,), {"hidden": ()}),
        ("mlp", (5,), {"hidden": (8, 6), "activation": "tanh", "batch_norm": False}),
        ("resnet34", (32, 40, 3), {"width": 2}),
        ("resnet34", (32, 32, 1), {"width": 2, "attention": False, "cross_level": False}),
        ("multiscale", (60,), {"width": 2}),
        ("multiscale", (3,), {"width": 2, "attention": False}),
        (lambda shape, n_bits: torch.nn.Linear(*shape, n_bits), (5,), {}),
    ],
)
def test_every_pathway_maps_a_batch_to_bits(network, shape, options):
    x = torch.rand(4, *shape) * 255
    module = networks.build_network(spec(network, shape, **options))
    out = module(x)
    assert out.shape == (4, 7) and torch.isfinite(out).all()
    module.eval()
    torch.testing.assert_close(module(x)[:2], module(x[:2]), atol=1e-4, rtol=1e-4)


def test_shapes_without_memory():
    # The meta device runs the full ResNet-34 without computing anything.
    with torch.device("meta"):
        module = networks.build_network(spec("resnet34", (224, 224, 3)))
        assert module(torch.empty(2, 224, 224, 3)).shape == (2, 7)
    n_parameters = sum(p.numel() for p in module.resnet.parameters())
    backbone = sum(
        p.numel()
        for name, p in module.resnet.named_parameters()
        if name.startswith(("conv1", "bn1", "layer"))
    )
    assert backbone == 21_797_672 - 513_000  # ResNet-34 without its classifier
    assert n_parameters > backbone


def test_flattened_pictures_are_the_same_pictures():
    module = networks.build_network(spec("resnet34", (32, 32, 3), width=2)).eval()
    x = torch.rand(2, 32, 32, 3) * 255
    torch.testing.assert_close(module(x), module(x.flatten(1)))


def test_attention_is_a_gate_and_its_gradient_is_right():
    cbam = networks.CBAM(3, reduction=2, kernel_size=3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    channel = cbam.channel_attention(x)
    assert channel.shape == (2, 3, 1, 1)
    # The channel gate: one bottleneck on averages and on maxima, summed.
    by_hand = cbam.channel(x.mean((2, 3))) + cbam.channel(x.flatten(2).max(2).values)
    torch.testing.assert_close(channel[:, :, 0, 0], 1 / (1 + torch.exp(-by_hand)))
    spatial = cbam.spatial_attention(x * channel)
    assert spatial.shape == (2, 1, 4, 4)
    torch.testing.assert_close(cbam(x), x * channel * spatial)
    assert torch.autograd.gradcheck(cbam, x)


def test_stages_are_weighted_bit_by_bit():
    resnet = networks.HashResNet(5, width=2, blocks=(1, 1, 1, 1)).eval()
    x = torch.rand(3, 3, 32, 32)
    whole = resnet(x)
    parts = []
    for stage in range(4):
        with torch.no_grad():
            resnet.stage_weights.zero_()
            resnet.stage_weights[stage] = 0.25
        parts.append(resnet(x))
    torch.testing.assert_close(sum(parts), whole)


def test_multiscale_text_averages_neighbouring_words():
    module = networks.MultiScaleText(6, 4, width=2)
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    matrix = module.text_matrix(x)[0]
    assert module.scales == [1, 2, 3, 5]
    torch.testing.assert_close(matrix[0], x[0])
    torch.testing.assert_close(matrix[1], torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0, 1.0]))


def test_standardise_ignores_units():
    rng = np.random.RandomState(0)
    X = rng.randn(50, 3) * [1, 2, 0] + 5
    outputs = []
    for factor in [1.0, 1000.0]:
        module = networks.Standardise(3)
        module.set_statistics(factor * X.mean(0), (factor * X).var(0))
        outputs.append(module(torch.tensor(factor * X, dtype=torch.float32)))
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    assert outputs[0].mean(0).abs().max() < 1e-5
    constant = networks.Standardise(1)
    constant.set_statistics(np.array([2.0]), np.array([0.0]))
    assert constant(torch.tensor([[2.0]])).item() == 0


def test_flips_and_shifts_move_whole_pictures():
    columns = torch.arange(16.0).expand(8, 1, 16, 16)
    moved = networks.flip_and_shift(columns)
    assert moved.shape == columns.shape
    # Each row of a picture is moved alike, by two at most, or mirrored.
    assert (moved == moved[:, :, :1]).all()
    assert ((moved - columns).abs().amax((1, 2, 3)) <= 2).any()
    assert ((moved - columns.flip(3)).abs().amax((1, 2, 3)) <= 2).any()


def test_pretrained_weights(tmp_path):
    source = networks.HashResNet(3)
    state = source.state_dict()
    file = tmp_path / "resnet34.pt"
    torch.save({**state, "fc.weight": torch.zeros(1000, 512)}, file)
    target = networks.HashResNet(5)
    networks.load_backbone(target, networks.read_pretrained(file))
    torch.testing.assert_close(target.layer3[2].conv1.weight, source.layer3[2].conv1.weight)
    with pytest.raises(ValueError, match="width=64"):
        networks.load_backbone(networks.HashResNet(5, width=8), state)
    with pytest.raises(ValueError, match="lacks"):
        networks.load_backbone(target, {"conv1.weight": state["conv1.weight"]})


def test_pickles_that_could_run_code_are_refused(tmp_path):
    file = tmp_path / "evil.pt"
    torch.save({"conv1.weight": print}, file)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        networks.read_pretrained(file)


def test_too_small_pictures_and_wrong_factories():
    with pytest.raises(ValueError, match="at least 32 x 32"):
        networks.build_network(spec("resnet34", (16, 64, 3)))
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        networks.build_network(spec(lambda shape, n_bits: "no network", (4,)))
