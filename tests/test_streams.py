"""Named random streams do not disturb one another."""

from ablate.streams import STREAMS, stream, streams


def test_streams_differ_by_name_seed_and_index_and_never_change():
    seeds = {stream(seed, name, i) for seed in range(20) for name in STREAMS for i in range(3)}
    assert len(seeds) == 20 * len(STREAMS) * 3
    assert all(0 <= s < 2**63 for s in seeds)
    # Written to records: a changed derivation would unpair old blocks from new ones.
    assert stream(0, "order") == 5231958647509549229 == streams(0)["order"]
    assert stream(1, "finetune", 2, 3) == 9016463456627616608
