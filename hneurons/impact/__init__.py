"""The α sweep (Figure 3): runs of the benchmarks, their verdicts, curves and what scaling costs."""
