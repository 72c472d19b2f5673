import pytest

from ablate.analysis.metrics import label


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("glue/stsb", "STS-B"), ("glue/average", "GLUE"), ("eval/top_5", "top 5"), ("tokens/s", "tokens/s"),
        ("loss/val", "loss/val"), ("train/loss", "train/loss"), ("val/cola", "val/cola"), ("bleu", "bleu"),
    ],
)  # fmt: skip
def test_an_unknown_metric_keeps_its_family(metric, shown):
    assert label(metric) == shown
