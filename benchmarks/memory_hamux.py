"""Retrieval steps of a three-layer memory: hopmix beside HAMUX, the same weights, precision and threads, alternating in one run.

    python benchmarks/memory_hamux.py           # a quarter of an hour on an idle machine; writes memory_hamux.md beside this file

HAMUX is installed into an environment of its own, _build/bench-hamux. Each side runs in a process of its own environment, bound to one
core for the rows with one thread; while one works the other waits. Before anything is timed, one step of both must agree to rounding.
The step is x - h dE/dg, the leaky Euler step, of two networks: "eliminated", with a state of the visible layer alone, and "three layers", with a
state for each. HAMUX differentiates the energy by itself, as its tutorials do; its synapses for Kronecker weights are written in its own way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / "_build" / "bench-hamux"
SIZES = ((64, 128, 256, 512), (196, 512, 256, 2048))  # tokens, channels, token hidden, channel hidden
STEP, EPS = 0.1, 1e-6
NETWORKS = ("eliminated", "three layers")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
WAYS = {"hopmix": ("step", "advance"), "hamux": ("jitted step", "jitted loop")}


class Hopmix:
    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch

    def prepare(self, arrays: dict, network: str) -> None:
        from hopmix.memory import HierarchicalMemory, Kronecker, Layer, Synapse
        from hopmix.memory.lagrangian import LayerNorm, ReLU

        w, v, x = (self.torch.from_numpy(arrays[name]) for name in ("w", "v", "x"))
        tau = 0.0 if network == "eliminated" else 1.0
        tokens, channels = x.shape[1:]
        layers = [Layer("v", (tokens, channels), LayerNorm(eps=EPS)), Layer("s", (len(w), channels), ReLU(), tau), Layer("c", (tokens, len(v)), ReLU(), tau)]
        self.memory = HierarchicalMemory(layers, [Synapse("v", "s", Kronecker(w)), Synapse("v", "c", Kronecker(channel=v))])
        self.state = x if tau == 0 else {name: self.torch.from_numpy(arrays[key]) for name, key in (("v", "x"), ("s", "s"), ("c", "c"))}

    def run(self, way: str, steps: int):
        if way == "advance":
            return self.memory.advance(self.state, [STEP] * steps, leak=True)
        state = self.state
        for _ in range(steps):
            state = self.memory.step(state, STEP, leak=True)
        return state

    def result(self) -> dict:
        state = self.run("step", 1)
        return {"v": state.numpy()} if self.torch.is_tensor(state) else {name: x.numpy() for name, x in state.items()}

    def versions(self) -> dict:
        from hopmix.provenance import provenance

        return {key: value for key, value in provenance().items() if isinstance(value, (str, int)) and key != "commit"}


class Hamux:
    def __init__(self, threads: int):
        if threads == 1:
            os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax = jax

    def prepare(self, arrays: dict, network: str) -> None:
        import equinox as eqx
        import hamux
        import jax.numpy as jnp
        from hamux import lagrangians

        class Token(eqx.Module):
            W: self.jax.Array

            def __call__(self, g, hidden=None):
                drive = self.W @ g
                return -lagrangians.lagr_relu(drive) if hidden is None else -(hidden * drive).sum()

        class Channel(eqx.Module):
            V: self.jax.Array

            def __call__(self, g, hidden=None):
                drive = g @ self.V.T
                return -lagrangians.lagr_relu(drive) if hidden is None else -(hidden * drive).sum()

        w, v, x = (jnp.asarray(arrays[name]) for name in ("w", "v", "x"))
        tokens, channels = x.shape[1:]

        def layer_norm(x):
            return lagrangians.lagr_layernorm(x, axis=None, eps=EPS)

        neurons = {"v": hamux.NeuronLayer(layer_norm, (tokens, channels))}
        ends = {"token": ("v",), "channel": ("v",)}
        self.state = {"v": x}
        if network != "eliminated":
            neurons |= {"s": hamux.NeuronLayer(lagrangians.lagr_relu, (len(w), channels)), "c": hamux.NeuronLayer(lagrangians.lagr_relu, (tokens, len(v)))}
            ends = {"token": ("v", "s"), "channel": ("v", "c")}
            self.state |= {"s": jnp.asarray(arrays["s"]), "c": jnp.asarray(arrays["c"])}
        model = hamux.HAM(neurons, {"token": Token(w), "channel": Channel(v)}, [(ends[name], name) for name in ("token", "channel")]).vectorize()
        self.weights, static = eqx.partition(model, eqx.is_array)

        def step(state, weights):
            ham = eqx.combine(weights, static)
            slope = ham.dEdact(ham.activations(state), state)
            return {name: x - STEP * slope[name] for name, x in state.items()}

        self.step = self.jax.jit(step)
        self.loop = self.jax.jit(lambda state, weights, steps: self.jax.lax.fori_loop(0, steps, lambda _, x: step(x, weights), state))

    def run(self, way: str, steps: int):
        if way == "jitted loop":
            return self.jax.block_until_ready(self.loop(self.state, self.weights, steps))
        state = self.state
        for _ in range(steps):
            state = self.step(state, self.weights)
        return self.jax.block_until_ready(state)

    def result(self) -> dict:
        import numpy as np

        return {name: np.asarray(x) for name, x in self.run("jitted step", 1).items()}

    def versions(self) -> dict:
        from importlib.metadata import version

        return {name: version(name) for name in ("hamux", "jax", "jaxlib", "equinox")}


def work(side: str, threads: int, clock) -> None:
    """Serve one side: a line of JSON asks, a line answers. What libraries print goes to the error stream."""
    answers, sys.stdout = sys.stdout, sys.stderr
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np

    contestant = {"hopmix": Hopmix, "hamux": Hamux}[side](threads)
    for line in sys.stdin:
        task = json.loads(line)
        if task["do"] == "prepare":
            with np.load(task["arrays"]) as arrays:
                contestant.prepare({name: arrays[name] for name in arrays}, task["network"])
            np.savez(task["result"], **contestant.result())
            answer = {}
        elif task["do"] == "versions":
            answer = contestant.versions()
        else:
            start = clock()
            contestant.run(task["way"], task["steps"])
            answer = {"seconds": clock() - start}
        print(json.dumps(answer), file=answers, flush=True)


class Side:
    """One contestant's process."""

    def __init__(self, name: str, python: Path | str, threads: int, clock: str):
        settings = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        command = [str(python), __file__, "--side", name, "--threads", str(threads), "--clock", clock]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | settings)

    def ask(self, **task) -> dict:
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended with {self.process.wait()} when asked for {task}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def environment() -> Path:
    """The python of HAMUX's environment, made on first use."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        # fastcore is imported by hamux and not among the packages it asks for.
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "hamux", "jax", "fastcore"], check=True)
        (ENVIRONMENT / ".ready").touch()
    return python


def draw(size: tuple[int, ...], batch: int, dtype: str) -> dict:
    import numpy as np

    tokens, channels, token_hidden, channel_hidden = size
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(token_hidden, tokens)) / tokens**0.5,
        "v": rng.normal(size=(channel_hidden, channels)) / channels**0.5,
        "x": rng.normal(size=(batch, tokens, channels)),
        "s": rng.normal(size=(batch, token_hidden, channels)),
        "c": rng.normal(size=(batch, tokens, channel_hidden)),
    }
    return {name: array.astype(dtype) for name, array in arrays.items()}


def agreement(folder: Path) -> float:
    """The largest relative difference between the steps of both sides."""
    import numpy as np

    with np.load(folder / "hopmix.npz") as ours, np.load(folder / "hamux.npz") as theirs:
        return max(float(np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max()) for name in theirs)


def case(sides: dict, folder: Path, size: tuple, batch: int, dtype: str, network: str, rounds: int, seconds: float) -> tuple[float, dict]:
    """How well the sides agree, and the seconds of a step in each round for each way."""
    import numpy as np

    np.savez(folder / "arrays.npz", **draw(size, batch, dtype))
    for name, side in sides.items():
        side.ask(do="prepare", arrays=str(folder / "arrays.npz"), network=network, result=str(folder / f"{name}.npz"))
    difference = agreement(folder)
    if not difference < (1e-4 if dtype == "float32" else 1e-12):
        raise RuntimeError(f"the sides disagree by {difference:g}, for {size}, batch {batch}, {dtype}, {network}")
    contestants = [(name, way) for name in sides for way in WAYS[name]]
    steps = {}
    for name, way in contestants:
        sides[name].ask(do="run", way=way, steps=2)
        once = sides[name].ask(do="run", way=way, steps=2)["seconds"] / 2
        steps[name, way] = max(2, min(500, round(seconds / once)))
    times = {contestant: [] for contestant in contestants}
    for turn in range(rounds):
        for name, way in contestants[:: 1 if turn % 2 == 0 else -1]:
            taken = sides[name].ask(do="run", way=way, steps=steps[name, way])["seconds"]
            times[name, way].append(taken / steps[name, way])
    return difference, times


def row(size: tuple, batch: int, dtype: str, network: str, threads: int, difference: float, times: dict) -> str:
    tokens, channels, token_hidden, channel_hidden = size
    operations = 4 * batch * tokens * channels * (token_hidden + channel_hidden)
    cells = [network, f"{tokens} × {channels}", batch, dtype, threads]
    for values in times.values():
        median = statistics.median(values)
        cells.append(f"{1 / median:.4g} ({operations / median / 1e9:.0f})")
    for way in WAYS["hamux"]:
        ratios = sorted(theirs / ours for theirs, ours in zip(times["hamux", way], times["hopmix", "advance"], strict=True))
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
    cells.append(f"{difference:.0e}")
    return "| " + " | ".join(map(str, cells)) + " |"


HEAD = ["network", "S × C", "batch", "dtype", "threads", "hopmix `step`", "hopmix `advance`", "HAMUX jitted step", "HAMUX jitted loop", "`advance` / jitted step", "`advance` / jitted loop", "largest difference"]
TEXT = """# Retrieval steps, beside HAMUX

Steps per second, in brackets billions of operations per second of the bare products. Ratios above 1 mean that hopmix is faster: medians over the rounds, with
the least and the greatest. "jitted step" is called from Python once a step, "jitted loop" is one call of a `fori_loop` over all steps.
Last column: the largest relative difference between one step of both. "all" threads are {cores}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="per contestant and round")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, os.cpu_count()}))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "float64"), default=("float32", "float64"))
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 64))
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall", help="cpu: the process's own time, for one thread on a machine that is not idle")
    parser.add_argument("--side", choices=tuple(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return work(options.side, options.threads[0], CLOCKS[options.clock])
    if options.clock == "cpu" and options.threads != [1]:
        parser.error("--clock cpu adds up the times of all threads: use it with --threads 1")
    python = environment()
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    print("\n".join(lines))
    versions = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            sides = {"hopmix": Side("hopmix", sys.executable, threads, options.clock), "hamux": Side("hamux", python, threads, options.clock)}
            for network in options.networks:
                for size in SIZES:
                    for batch in options.batches:
                        for dtype in options.dtypes:
                            difference, times = case(sides, Path(folder), size, batch, dtype, network, options.rounds, options.seconds)
                            lines.append(row(size, batch, dtype, network, threads, difference, times))
                            print(lines[-1], flush=True)
            for name, side in sides.items():
                versions |= {key: value for key, value in side.ask(do="versions").items() if name == "hopmix" or key not in versions}
                side.close()
    from hopmix.provenance import write_atomically

    origin = ", ".join(f"{key} {value}" for key, value in versions.items())
    text = TEXT.format(cores=os.cpu_count()) + "\n" + "\n".join(lines)
    write_atomically(Path(__file__).with_suffix(".md"), f"{text}\n\nMade by `{Path(__file__).name}` with {origin}, {options.rounds} rounds, {options.clock} time.\n")


if __name__ == "__main__":
    main()
