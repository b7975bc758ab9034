"""One word for one thing: words that the second edition replaced by the field's stay out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Word or phrase -> what to write. Each pattern is a whole word, in code, comments, help and pages.
REPLACED = {
    r"lessons?|\w*Lesson": "training task",
    r"learners?|\w*Learner": "Trainer",
    r"Course|Standing|ONE_PROCESS": "TrainResult, EpochMetrics, SINGLE_PROCESS",
    r"teams?|Team|join_team|is_main_of_team": "DistributedContext, init_distributed",
    r"[Tt]aught|[Tt]each(?:er|es|ing)?": "fold model, fit function, train",
    r"add_gradients|part_ways|def agree|def collect": "all_reduce_gradients, seed_per_rank, ...",
    r"OrderReader|summary_logits|fit_summary|summary_penalties|Places": "TemporalHead, pooled head",
    r"[Rr]ivals?|[Rr]ivalry|\w*Rival\w*": "baselines",
    r"[Pp]itfalls?|find_pitfalls": "quality checks",
    r"Evidence|evidence_of|\w+_evidence|Answers|Parting|Case|Facts|\w+_facts|facts_of": (
        "report data, predictions, split, clip prediction, metadata"
    ),
    r"familiarity|Familiarity|[Nn]ovelty|\w+_novelty|unfamiliar": "out-of-distribution (OOD) score",
    r"[Ss]teadying|[Ss]teady|as[- ]filmed|[Uu]nsteady": "stabilisation",
    r"class Look|Painter|test[-_]views|at_test_time": "transform, test-time augmentation (tta)",
    r"[Rr]ehears\w*": "dry run",
    r"Budget|Grid|class Memory|Points|read_grid": "load shedding, resampling, timesteps",
    r"Reading(?= |\b\()(?=\()|made_with|GoingOn|RowShape|USUAL_\w+": (
        "DataConfig, provenance, RowSchema, REFERENCE_NUM_CLIPS"
    ),
    r"[Nn]amed wrongly|was named|taken for what|of the clips called|[Cc]alled unknown": (
        "most confident errors, confusion matrix, precision, reported as unknown"
    ),
    r"never made up|[Ll]ook twice|[Ff]igures flatter|mostly luck|could as well be": (
        "reported without a score, low confidence, overestimated, unreliable, 95% CI"
    ),
    r"what chance explains|difference that is sure|clips to learn from|memory does not do": (
        "not significant, no significant effect, training clips, out of memory"
    ),
    r"no number any more|is no number|says nothing|what is known|as dear as|so dear": (
        "became NaN, was dropped, known classes, costs as much as"
    ),
}
# Names in files that earlier versions wrote: they are read, and never shown.
STORED_NAMES = re.compile(
    r"\"(?:max_novelty|novelty|steady|familiar_sha256|made_with|familiar\.safetensors|unsteady)\""
)
WORDS = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in REPLACED))
PAGES = [
    *sorted((ROOT / "activity_cli").rglob("*.py")),
    *sorted((ROOT / "activity_cli").rglob("*.j2")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_replaced_word_is_used(page: Path) -> None:
    text = STORED_NAMES.sub('""', page.read_text(encoding="utf-8"))

    found = [
        f"line {number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in WORDS.finditer(line)
    ]

    assert not found, f"see REPLACED in {Path(__file__).name}: {found}"
