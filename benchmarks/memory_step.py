"""A step of the three-layer memory, its energy and its exact rate, against torch's own layers and against the bare matrix products.

    python benchmarks/memory_step.py            # about a minute; prints the table and writes memory_step.md beside this file

All contestants have the same weights and run in one process, one after the other in each round, so that a change of the machine's speed
meets all of them. A ratio is the median over the rounds of the time divided by that of the bare products in the same round.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from hopmix.memory import three_layer_memory, to_mixer_block
from hopmix.provenance import provenance, write_atomically

SIZES = ((64, 128, 256, 512), (196, 512, 256, 2048))  # tokens, channels, token hidden, channel hidden


def contestants(tokens: int, channels: int, token_hidden: int, channel_hidden: int, batch: int, dtype: torch.dtype) -> dict:
    memory = three_layer_memory(tokens, channels, token_hidden, channel_hidden, dtype=dtype).requires_grad_(False)
    asymmetric = three_layer_memory(tokens, channels, token_hidden, channel_hidden, asymmetry=1.0, dtype=dtype).requires_grad_(False)
    block = to_mixer_block(memory)
    x = memory.random_state(batch)
    w, v = (synapse.operator.token if synapse.operator.channel is None else synapse.operator.channel for synapse in memory.synapses)
    hidden_s, hidden_c = w @ x, x @ v.T

    def products():
        return w @ x, w.T @ hidden_s, x @ v.T, hidden_c @ v

    return {
        "bare products": products,
        "block (torch layers)": lambda: block(x),
        "memory.step": lambda: memory.step(x),
        "memory.energy": lambda: memory.energy(x),
        "memory.velocity": lambda: memory.velocity(x),
        "memory.energy_rate": lambda: memory.energy_rate(x),
        "velocity, asymmetric": lambda: asymmetric.velocity(x),
        "energy_rate, asymmetric": lambda: asymmetric.energy_rate(x),
    }


# What a check of dE/dt costs, in velocities of the same memory.
RATIOS = {"energy_rate / velocity": ("memory.energy_rate", "memory.velocity"), "the same, asymmetric": ("energy_rate, asymmetric", "velocity, asymmetric")}


def measure(functions: dict, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Seconds per call in each round; a contestant's calls in a round take about `seconds`."""
    calls = {}
    for name, function in functions.items():
        function()
        start = time.perf_counter()
        function()
        calls[name] = max(1, round(seconds / (time.perf_counter() - start)))
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                function()
            times[name].append((time.perf_counter() - start) / calls[name])
    return times


def ratio(above: list[float], below: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


def rows(threads: int, rounds: int, seconds: float):
    torch.set_num_threads(threads)
    for size in SIZES:
        for batch in (1, 64):
            for dtype in (torch.float32, torch.float64):
                times = measure(contestants(*size, batch, dtype), rounds, seconds)
                tokens, channels, token_hidden, channel_hidden = size
                operations = 4 * batch * tokens * channels * (token_hidden + channel_hidden)
                rate = operations / statistics.median(times["bare products"]) / 1e9
                cells = [f"{tokens} × {channels}", batch, str(dtype).removeprefix("torch."), threads, f"{rate:.0f}"]
                for name, values in times.items():
                    if name != "bare products":
                        cells.append(ratio(values, times["bare products"]))
                cells += [ratio(times[a], times[b]) for a, b in RATIOS.values()]
                yield "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.15, help="per contestant and round")
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    options = parser.parse_args()
    names = [name for name in contestants(2, 2, 2, 2, 1, torch.float32) if name != "bare products"]
    head = ["S × C", "batch", "dtype", "threads", "GFLOP/s of the products", *names, *RATIOS]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    with torch.no_grad():
        for threads in options.threads:
            for row in rows(threads, options.rounds, options.seconds):
                lines.append(row)
                print(row, flush=True)
    origin = ", ".join(f"{key} {value}" for key, value in provenance().items() if isinstance(value, (str, int)) and key != "commit")
    text = "# Steps of the memory, in units of their bare matrix products\n\nMedian ratio over the rounds (least–greatest). The bare products are torch's `@`; the memory takes large float32 products by oneDNN and large batches in parts, so it can need less than them.\n\n" + "\n".join(lines)
    write_atomically(Path(__file__).with_suffix(".md"), f"{text}\n\nMade by `{Path(__file__).name}` with {origin}.\n")


if __name__ == "__main__":
    main()
