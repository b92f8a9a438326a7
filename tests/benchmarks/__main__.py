"""`make bench`: ratios to a floor or a peer measured in the same run; nothing here is a test. 45 minutes on a CPU."""

from tests.benchmarks import analysis, engine, memory, planning, ranks, report, run, samplers, shards, step, two_stage

if __name__ == "__main__":
    for part in (step, shards, memory, ranks, run, planning, samplers, engine, analysis, report, two_stage):
        part.main()
