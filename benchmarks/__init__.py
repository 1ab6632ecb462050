"""Side-by-side runs whose figures the documentation quotes; each prints its table.

`python -m benchmarks --list` names the benchmarks, `python -m benchmarks NAME` runs one: ours, the
baselines and the limit in one process, interleaved, after a check that all compute the same. A
benchmark is a module of this package with a docstring whose first line says what is compared, and
one function:

    def benchmark(settings: Settings) -> Iterator[Report]:
        x = torch.randn(settings.scaled(10_000_000, quick=1_000))
        yield compare(
            "Sum of 10M numbers",
            [
                Variant("ours", lambda: lambda: x.sum()),
                Variant("NumPy", lambda: lambda array=x.numpy(): array.sum()),
            ],
            settings,
            limits=[bandwidth_limit(x.nbytes, settings)],
        )

A variant's first call prepares (untimed) and returns what is timed. The first variant is ours;
ratios are times over its time. Nothing else is needed: `--list`, `all` and the smoke test find the
module by its function. `python -m benchmarks.ablations` trains instead of timing.
"""
