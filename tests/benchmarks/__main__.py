"""`make bench`: ratios to a floor or a peer measured in the same run; nothing here is a test. It takes long."""

from tests.benchmarks import (
    analysis,
    engine,
    memory,
    packs,
    peer,
    planning,
    ranks,
    report,
    samplers,
    scale,
    shards,
    step,
    throughput,
    two_stage,
)

if __name__ == "__main__":
    for part in (
        step,
        shards,
        memory,
        ranks,
        planning,
        scale,
        samplers,
        engine,
        packs,
        throughput,
        peer,
        analysis,
        report,
        two_stage,
    ):
        part.main()
