"""`make bench`: ratios to a floor measured in the same run; nothing here is a test."""

from tests.benchmarks import run, step

if __name__ == "__main__":
    step.main()
    run.main()
