"""What the chapter claims, measured (page: book/memory/denoiser.md)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from hopmix.claim import Evidence, claim
from hopmix.memory.denoiser.filters import posterior_mean, wiener_filter
from hopmix.memory.denoiser.images import corrupted, cosine
from hopmix.memory.denoiser.measure import CONFIG, PIXELS, SEEDS, SHAPE, at_rest, cosine_with, digits, least_loss, relative, spread, stored_against_linear, study
from hopmix.memory.denoiser.model import Denoiser, denoiser_memory
from hopmix.memory.denoiser.training import restoration_loss, target_of
from hopmix.memory.hierarchical import Dense, HierarchicalMemory, Layer, Synapse
from hopmix.memory.lagrangian import Quadratic, Softmax


@claim(
    statement=r"With the standardised clean image as target, the loss is twice one minus the cosine.",
    source="this book",
    kind="identity",
)
def loss_is_the_cosine() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        clean = digits(seed)[2][:32]
        noisy = corrupted(clean, 1.0, seed)
        denoiser = Denoiser(denoiser_memory(SHAPE, 40, eps=0.0, seed=seed).requires_grad_(False))
        loss = restoration_loss(denoiser, 3 + 0.2 * clean, noisy)
        worst = max(worst, abs(float(loss) - 2 * (1 - float(cosine(denoiser(noisy), clean).mean()))))
    return Evidence.at_most("largest difference, on digits", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"With a target of norm 1 the smallest loss that any state reaches is $1+1/N-2s/\sqrt N$, not less than $(\sqrt N-1)^2/N$.",
    source="this book",
    kind="theorem",
)
def unit_target_bound() -> Evidence:
    worst = gap = 0.0
    for seed in SEEDS:
        target = target_of(3 + digits(seed)[2][:4], "unit")
        found = least_loss(target, seed)
        length = (target - target.mean((1, 2), keepdim=True)).flatten(1).norm(dim=1)
        worst = max(worst, float((found - (1 + 1 / PIXELS - 2 * length / PIXELS**0.5)).abs().max()))
        gap = max(gap, float(((PIXELS**0.5 - 1) ** 2 / PIXELS - found).max()))
    return Evidence.at_most(
        "largest difference between the smallest loss found by minimisation and the closed form, on digits",
        max(worst, gap),
        1e-9,
        seeds=SEEDS,
        detail=f"the bound is {(PIXELS**0.5 - 1) ** 2 / PIXELS:.4f} for {PIXELS} pixels and {(784**0.5 - 1) ** 2 / 784:.4f} for 784",
    )


@claim(
    statement="A constant added to all weights of a hidden unit changes no restoration, with fast hidden units and with slow ones.",
    source="this book",
    kind="identity",
)
def weight_mean_is_invisible() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        noisy = corrupted(digits(seed)[2][:8], 1.0, seed)
        for adiabatic in (True, False):
            memories = [denoiser_memory(SHAPE, 30, adiabatic, weight_mean=mean, eps=0.0, seed=seed).requires_grad_(False) for mean in (0.0, 0.2)]
            found, expected = (Denoiser(memory, steps=10, step_size=0.3)(noisy) for memory in memories)
            worst = max(worst, relative(found, expected))
    return Evidence.at_most("largest relative difference between restorations, weights with mean 0.2 and with mean 0", worst, 1e-11, seeds=SEEDS)


@claim(
    statement="The step of the public demonstration, each state less a multiple of the energy's derivative in its activation, is a leaky Euler step of all layers at once.",
    source="karakida2024hierarchical; this book",
    kind="identity",
)
def demo_step_is_euler() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        memory = denoiser_memory(SHAPE, 30, adiabatic=False, seed=seed).requires_grad_(False)
        state = memory.random_state(batch=4, seed=seed)
        g = {name: value.detach().requires_grad_(True) for name, value in memory.activations(state).items()}
        weight = memory.synapses[0].operator.weight
        # The energy with states and activations as independent arguments, written out.
        energy = sum((state[name] * g[name]).sum() for name in state) - torch.einsum("bh,hn,bn->", g["hidden"], weight, g["visible"].flatten(1))
        derivatives = dict(zip(g, torch.autograd.grad(energy, list(g.values())), strict=True))
        step = memory.step(state, 0.1, leak=True)
        worst = max(worst, max(relative(state[name] - 0.1 * derivatives[name], step[name]) for name in state))
    return Evidence.at_most("largest relative difference to autograd", worst, 1e-13, seeds=SEEDS)


@claim(
    statement=r"With the noisy image as an input the energy $E-\lambda\,y\cdot g$ changes at the rate $-\tau_v\,\dot x\cdot H\dot x$.",
    source="this book",
    kind="identity",
)
def driven_rate() -> Evidence:
    worst = 0.0
    for seed in SEEDS:
        clean = digits(seed)[2][:8]
        noisy = corrupted(clean, 1.0, seed)
        denoiser = Denoiser(denoiser_memory(SHAPE, 30, seed=seed).requires_grad_(False), drive=0.7).requires_grad_(False)
        x = corrupted(clean, 0.5, 100 + seed).requires_grad_(True)
        velocity = denoiser.memory.velocity(x.detach()) + 0.7 * noisy
        (gradient,) = torch.autograd.grad(denoiser.energy(x, noisy).sum(), x)
        curved = denoiser.memory.layer("visible").lagrangian.hessian_product(x.detach(), velocity)
        worst = max(worst, relative((gradient * velocity).sum((1, 2)), -(velocity * curved).sum((1, 2))))
    return Evidence.at_most("largest relative difference to autograd's rate, on digits", worst, 1e-12, seeds=SEEDS)


@claim(
    statement=r"Noise of standard deviation $\sigma$ takes a standardised image to the cosine $1/\sqrt{1+\sigma^2}$, up to terms of order $1/N$.",
    source="this book",
    kind="simulation",
)
def noisy_cosine() -> Evidence:
    differences = {noise: spread([float(cosine(corrupted(digits(seed)[2], noise, seed), digits(seed)[2]).mean()) - (1 + noise**2) ** -0.5 for seed in SEEDS]) for noise in (0.5, 1.0, 2.0)}
    noise = max(differences, key=lambda noise: abs(differences[noise][0]))
    mean, error = differences[noise]
    return Evidence.between("mean difference, on digits, the largest of three noises", mean, -1 / PIXELS, 1 / PIXELS, seeds=SEEDS, spread=error, detail=f"noise {noise:g}")


@claim(
    statement="In trained memories with fast ReLU units the energy never rises from step to step, also far beyond the steps they were trained for.",
    source="this book",
    kind="simulation",
)
def energy_falls() -> Evidence:
    rises = [study(seed)["paths"][name]["largest_rise"] for seed in SEEDS for name in ("driven", "start")]
    return Evidence.at_most(
        "largest change of an image's energy in a step, relative to its largest value",
        float(max(rises)),
        64 * float(torch.finfo(torch.float64).eps),
        seeds=SEEDS,
        detail=f"over {CONFIG.long} times the trained steps; a change below 0 is a fall",
    )


@claim(
    statement="The memory restores unseen digits better than the best linear filter, at noise as large as the image.",
    source="this book",
    kind="finding",
)
def better_than_linear() -> Evidence:
    differences = {name: spread([study(seed)["variants"][name]["cosine"] - study(seed)["cosine"]["linear"][0] for seed in SEEDS]) for name in CONFIG.variants}
    shown = "; ".join(f"{name} {mean:.4f} ± {error:.4f}" for name, (mean, error) in differences.items())
    # The filter is the best for the squared error, so that is shown too.
    squared = spread([study(seed)["variants"]["start"]["error"] - study(seed)["error"]["linear"][0] for seed in SEEDS])
    shown += f"; squared error, image as start: {squared[0]:.4f} ± {squared[1]:.4f}"
    mean, error = differences["start"]
    return Evidence.at_least("mean over seeds of the cosine less that of the Wiener filter, image as start", mean, 0.0, seeds=SEEDS, spread=error, detail=shown)


@claim(
    statement="A lower energy is not a better restoration: a memory that knows the image only from its start forgets it when retrieval goes on.",
    source="this book",
    kind="finding",
)
def retrieval_forgets() -> Evidence:
    changes = {}
    for name in ("start", "driven"):
        steps = study(0)["variants"][name]["steps"]
        changes[name] = spread([float(study(seed)["paths"][name]["cosine"][-1] - study(seed)["paths"][name]["cosine"][steps]) for seed in SEEDS])
    mean, error = changes["start"]
    return Evidence.at_most(
        "mean change of the cosine from the trained number of steps to eight times as many",
        mean,
        0.0,
        seeds=SEEDS,
        spread=error,
        detail=f"with the image as input {changes['driven'][0]:.4f} ± {changes['driven'][1]:.4f}",
    )


@claim(
    statement="The target's scale trains nothing: memories trained on digits as they are, with the image of norm 1 or the standardised image as target, restore alike.",
    source="this book",
    kind="finding",
)
def targets_train_alike() -> Evidence:
    mean, error = spread([cosine_with("unit", seed) - cosine_with("layernorm", seed) for seed in SEEDS])
    return Evidence.between("mean difference of the cosines", mean, -0.005, 0.005, seeds=SEEDS, spread=error, detail="three steps, 48 updates")


@claim(
    statement=r"The Wiener filter is where the expected squared error of linear filters is stationary, and no other filter tried does better.",
    source="this book",
    kind="theorem",
)
def wiener_is_best() -> Evidence:
    worst = 0.0
    for seed in SEEDS[:4]:
        clean = digits(seed)[0].flatten(1)
        mean = clean.mean(0)
        restore = wiener_filter(clean, 1.0)
        unit = torch.eye(PIXELS, dtype=torch.float64)
        matrix = (restore(unit + mean) - mean).T.contiguous().requires_grad_(True)

        def risk(a: Tensor, deviation=clean - mean) -> Tensor:
            return (deviation @ a.T - deviation).square().sum(1).mean() + a.square().sum()

        value = risk(matrix)
        (gradient,) = torch.autograd.grad(value, matrix)
        start = torch.zeros_like(matrix, requires_grad=True)
        (scale,) = torch.autograd.grad(risk(start), start)
        worst = max(worst, float(gradient.abs().max() / scale.abs().max()))
        stream = torch.Generator().manual_seed(seed)
        for size in (1e-1, 1e-2, 1e-3):
            other = matrix.detach() + size * torch.randn(matrix.shape, generator=stream, dtype=torch.float64)
            worst = max(worst, float(value.detach() - risk(other)))
    return Evidence.at_most("largest gradient, relative to that at filter 0, and largest gain by a random change", worst, 1e-12, seeds=SEEDS[:4])


@claim(
    statement=r"The posterior mean over stored images of one length is one step of a memory with softmax neurons at inverse temperature $1/\sigma^2$.",
    source="krotov2021large; this book",
    kind="identity",
)
def posterior_is_a_memory() -> Evidence:
    worst = 0.0
    for seed in SEEDS[:8]:
        train, _, test = digits(seed)
        stored = train[:20]
        for noise in (0.7, 1.5):
            noisy = corrupted(test[:6], noise, seed)
            layers = [Layer("visible", SHAPE, Quadratic()), Layer("hidden", (20,), Softmax(noise**-2), 0.0)]
            memory = HierarchicalMemory(layers, [Synapse("visible", "hidden", Dense(stored.flatten(1)))])
            densities = np.array([multivariate_normal(image.flatten().numpy(), noise**2).logpdf(noisy.flatten(1).numpy()) for image in stored]).T
            weights = np.exp(densities - densities.max(1, keepdims=True))
            bayes = torch.from_numpy(weights / weights.sum(1, keepdims=True)) @ stored.flatten(1)
            for found in (memory.step(noisy, 1.0, leak=True), posterior_mean(stored, noise)(noisy)):
                worst = max(worst, relative(found.flatten(1), bayes))
    return Evidence.at_most("largest relative difference to Bayes' rule with scipy's densities", worst, 1e-11, seeds=SEEDS[:8])


@claim(
    statement="Storing the training digits themselves restores unseen digits better than the best linear filter at large noise.",
    source="this book",
    kind="finding",
)
def stored_images_at_large_noise() -> Evidence:
    mean, error = stored_against_linear(2.0)
    return Evidence.at_least("mean cosine of the posterior mean less that of the Wiener filter, noise 2", mean, 0.0, seeds=SEEDS, spread=error)


@claim(
    statement="At small noise storing the training digits restores worse than the best linear filter: between the stored images there is nothing to say.",
    source="this book",
    kind="finding",
)
def stored_images_at_small_noise() -> Evidence:
    mean, error = stored_against_linear(0.5)
    return Evidence.at_most("mean cosine of the posterior mean less that of the Wiener filter, noise 1/2", mean, 0.0, seeds=SEEDS, spread=error)


@claim(
    statement="At the rest of a trained memory the implicit gradient is that of a long unrolled retrieval.",
    source="bai2019deep; this book",
    kind="identity",
)
def implicit_is_unrolled() -> Evidence:
    (found, _), (expected, _) = at_rest("implicit"), at_rest("unrolled")
    worst = max(relative(a, b) for a, b in zip(found, expected, strict=True))
    return Evidence.at_most("largest relative difference, weights and input, 600 unrolled steps", worst, 1e-8, seeds=(0,))


@claim(
    statement="Implicit differentiation keeps one step for the backward pass instead of all.",
    source="bai2019deep; this book",
    kind="simulation",
)
def implicit_keeps_one_step() -> Evidence:
    implicit, unrolled = at_rest("implicit")[1], at_rest("unrolled")[1]
    return Evidence.at_most(
        "bytes that autograd keeps beside the weights, implicit over 600 unrolled steps",
        implicit / unrolled,
        3 / 600,
        seeds=(0,),
        detail=f"{implicit / 1e3:.0f} kB against {unrolled / 1e3:.0f} kB for 16 digits, float64",
    )
