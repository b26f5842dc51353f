"""Reports of comparisons, made by hand."""

from minipeft.methods import KINDS, METHODS


def score(mean, std=0.01, seeds=3):
    return {"mean": mean, "std": std, "runs": [mean] * seeds}


def result(name, i=0, tests=("test", "ood"), metric="accuracy", steps=40):
    """Return the result of a method, which is better the greater i is; a probe is solved."""
    mean, solved = 0.7 + 0.01 * i, name == "probe"
    of_seeds = lambda mean: score(mean, 0.0, 1) if solved else score(mean)
    end = score(mean)
    trained = {
        "lr": 0.005,
        "dev": {"half": score(mean - 0.02), "end": end},
        "converged": i % 3 > 0,
        "forgets": score(0.1 * i),
        "losses": [[1 / (step + i + 1) for step in range(steps)] for _ in range(3)],
    }
    probe = {"lr": None, "dev": {"half": end, "end": end}, "converged": True, "l2": 0.001}
    probe |= {"forgets": None, "losses": [[]], "peak_bytes": None}
    return {
        "method": name,
        "trained_params": 256 * 2**i,
        "trained_share": 2**i / 4096,
        "seconds_per_run": 1.5 * i,
        "peak_bytes": 2**20 * i,
        **(probe if solved else trained),
        **{test: {metric: of_seeds(mean - 0.05 * (test == "ood"))} for test in tests},
    }


def make_report(methods=KINDS, tests=("test", "ood"), metric="accuracy", **changes):
    """Return the report of a finished comparison."""
    same = lambda value: {test: {metric: value} for test in tests}
    baselines = {"majority class": same(0.5), "untrained base": same(0.54)}
    return {
        "task": "sentiment",
        "metric": metric,
        "tests": [*tests],
        "base_params": 1_048_576,
        "examples": {"train": 2000, "dev": 500} | dict.fromkeys(tests, 1000),
        "truncated": 0,
        "methods": [*methods],
        "plan": {"steps": 40, "pilot_steps": 10, "batch_size": 8, "lrs": [], "seeds": 3},
        "pool": "mean",
        "pools": {"last": 0.712, "mean": 0.734},
        "baselines": baselines,
        "ceiling": dict.fromkeys(tests, 1.0),
        "seconds": 171.4,
        "results": [result(name, i, tests, metric) for i, name in enumerate(methods)],
    } | changes


ALL = [*METHODS]
