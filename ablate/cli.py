"""The `ablate` command. Results go to standard output, words about the work to standard error.

Exit codes: 0 all done · 1 some trials failed for good · 2 wrong input · 130 interrupted, resumable.
Everything is imported inside the commands, so that `--help`, `status`, `report` and `table` load no torch.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(
    help="Ablation studies of the crammed BERT under a fixed budget.",
    epilog="Exit codes: 0 all done · 1 some trials failed for good · 2 wrong input · 130 interrupted.",
    context_settings={"max_content_width": 120},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Prepare the text that trials train on.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")
bench_app = typer.Typer(help="How fast this machine is.", rich_markup_mode=None)
app.add_typer(bench_app, name="bench")


class Shape(StrEnum):
    """How a listing is printed."""

    text = "text"
    json = "json"


class KnobShape(StrEnum):
    """How the knobs are printed."""

    table = "table"
    json = "json"
    markdown = "markdown"
    page = "page"


class TableShape(StrEnum):
    """How the ablation table is written."""

    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    html = "html"


class Described(StrEnum):
    """What a schema is printed of."""

    study = "study"
    findings = "findings"


class Direction(StrEnum):
    """Which way an outcome is good."""

    maximize = "maximize"
    minimize = "minimize"


class Preset(StrEnum):
    """Which columns a table has."""

    full = "full"
    compact = "compact"
    cramming = "cramming"
    narang = "narang"


class Venue(StrEnum):
    """Whose checklist."""

    acl = "acl"
    neurips = "neurips"


StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY", help="a study file, such as studies/quickstart.yaml")
]
StudyOrDir = Annotated[Path, typer.Argument(metavar="STUDY_OR_DIR", help="a study file or a run folder")]
Runs = Annotated[Path, typer.Option(help="the folder that holds one folder per study")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="trials at once; default: the study's, else one per GPU")
]

Format = Annotated[Shape, typer.Option("--format", help="json prints JSON alone on standard output")]
RUNS = Path("runs")


def _version(wanted: bool) -> None:
    if wanted:
        from ablate import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    pass


@app.command()
def knobs(
    form: Annotated[KnobShape, typer.Option("--format", help="page: docs/knobs.md")] = KnobShape.table,
    findings: Annotated[
        Path | None, typer.Option(help="for the page: a folder with findings.json files of studies")
    ] = None,
) -> None:
    """Every knob, its domain, its crammed and its BERT value, and what the paper says of it."""
    from ablate.scheduling import listing

    rows = listing.rows()
    if form is KnobShape.json:
        _json(rows)
    elif form is KnobShape.markdown:
        print(listing.markdown(rows))
    elif form is KnobShape.page:
        command = "ablate knobs --format page" + (f" --findings {findings}" if findings else "")
        print(listing.page(rows, listing.read_findings(findings) if findings else [], command))
    else:
        _show(listing.table(rows), width=180)


@app.command()
def schema(
    what: Annotated[
        Described, typer.Argument(help="study files, or findings.json of a report")
    ] = Described.study,
) -> None:
    """The JSON Schema of study files, for editors, or of findings.json, for programs that read it."""
    if what is Described.findings:
        from ablate.analysis.schema import schema as findings_schema

        _json(findings_schema())
        return
    from ablate.study import schema as study_schema

    _json(study_schema())


@app.command()
def plan(
    study: StudyFile,
    runs: Runs = RUNS,
    workers: Workers = None,
    spread: Annotated[
        float | None, typer.Option(min=0, help="standard deviation of within-block differences, if known")
    ] = None,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="first run the baseline against itself, which measures the spread")
    ] = False,
    pilot_blocks: Annotated[int, typer.Option(min=5, max=100, help="blocks of the pilot")] = 5,
    form: Format = Shape.text,
) -> None:
    """Arms, trials, hours, energy, money and what the design can resolve; starts nothing but a pilot."""
    from ablate.scheduling import planning
    from ablate.scheduling.plantext import text

    if pilot:
        code = planning.run_pilot(study, runs, pilot_blocks, workers)
        if code:
            raise typer.Exit(code)
    made = planning.plan_study(study, runs, workers, spread=spread)
    _json(made.to_dict()) if form is Shape.json else print(text(made))


@app.command()
def run(
    study: StudyFile,
    runs: Runs = RUNS,
    workers: Workers = None,
    retry_failed: Annotated[
        bool, typer.Option(help="try again what failed for good (divergence aside)")
    ] = False,
) -> None:
    """Run a study, or resume it; ends with the ablation table and the path of the report."""
    from ablate.scheduling.run import run_study

    raise typer.Exit(run_study(study, runs, workers, again=retry_failed))


@app.command()
def status(study: StudyOrDir, runs: Runs = RUNS, form: Format = Shape.text) -> None:
    """Where every trial stands, from files alone; also while the study runs."""
    from ablate.scheduling.find import run_folder
    from ablate.scheduling.show import render
    from ablate.scheduling.status import status as read_status

    found = read_status(run_folder(study, runs))
    _json(found.to_dict()) if form is Shape.json else _show(render(found), width=200)


@app.command()
def report(study: StudyOrDir, runs: Runs = RUNS) -> None:
    """Write findings, tables and pages again from the records; prints the path of the page."""
    from ablate.processes import reporting

    reporting()  # half a second of imports there, while this process has its own
    from ablate.report import write_report
    from ablate.scheduling.find import run_folder

    print(write_report(run_folder(study, runs)))


@app.command()
def table(
    study: StudyOrDir,
    form: Annotated[TableShape, typer.Option("--format")] = TableShape.markdown,
    preset: Annotated[
        Preset, typer.Option(help="columns: everything, one paper column, or those of a well-known table")
    ] = Preset.full,
    runs: Runs = RUNS,
) -> None:
    """The ablation table on standard output."""
    from ablate.report import render_table
    from ablate.scheduling.find import run_folder

    print(render_table(run_folder(study, runs), form.value, preset.value).rstrip("\n"))


@app.command()
def verify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="a .tex, .md, .csv or .html with exported tables")
    ],
    study: StudyOrDir,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="a column that you added, by its heading; may be repeated"),
    ] = None,
    runs: Runs = RUNS,
) -> None:
    """Check that the tables in a file still say what the records say; exit code 1 where one does not."""
    from ablate.report.verify import verify as check
    from ablate.scheduling.find import run_folder

    found = check(file, run_folder(study, runs), ignore or ())
    print(found.text())
    raise typer.Exit(0 if found.holds else 1)


@app.command()
def checklist(
    study: StudyOrDir,
    venue: Annotated[Venue | None, typer.Option(help="default: both")] = None,
    runs: Runs = RUNS,
    form: Format = Shape.text,
) -> None:
    """The items of the ACL and NeurIPS reproducibility checklists that the records can answer."""
    from ablate.report import render_checklist
    from ablate.scheduling.find import run_folder

    text, items = render_checklist(run_folder(study, runs), venue.value if venue else "")
    _json(items) if form is Shape.json else print(text.rstrip("\n"))


@app.command()
def doctor(runs: Runs = RUNS, form: Format = Shape.text) -> None:
    """What this machine can do: devices, precisions, storage, login, disk."""
    from ablate.doctor import doctor as examine

    found = examine(runs)
    _json(found.to_dict()) if form is Shape.json else _show(found, width=160)
    raise typer.Exit(0 if found.healthy else 1)


@app.command()
def dashboard(
    study: StudyOrDir,
    runs: Runs = RUNS,
    browse: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
    push: Annotated[bool, typer.Option("--push", help="save W&B workspace and report, tag the runs")] = False,
    static: Annotated[
        bool, typer.Option("--static", help="write a file of this moment, serve nothing")
    ] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="default: 8765, or a free one")] = None,
) -> None:
    """A live page of a study on this machine's loopback, until Ctrl-C; or its W&B counterpart."""
    from ablate.scheduling.find import run_folder
    from ablate.scheduling.steps import show_dashboard

    show_dashboard(run_folder(study, runs), browse=browse, push=push, static=static, port=port)


@app.command("import")
def import_runs(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUNS.CSV|wandb:ENTITY/PROJECT", help="columns arm, block, metrics; or a project"
        ),
    ],
    baseline: Annotated[str, typer.Option(help="the arm that the others are held against")],
    outcome: Annotated[str, typer.Option(help="the metric to decide on, such as glue/average")],
    margin: Annotated[float, typer.Option(help="the largest difference that would not matter")],
    direction: Annotated[
        Direction | None, typer.Option(help="default: by the metric's name where that tells (loss, acc)")
    ] = None,
    runs: Runs = RUNS,
    name: Annotated[
        str | None, typer.Option(help="of the study; default: the file's or the project's")
    ] = None,
    question: Annotated[str, typer.Option(help="what the study asks")] = "",
    alpha: Annotated[float, typer.Option(min=0.001, max=0.5)] = 0.05,
    arm: Annotated[
        str | None,
        typer.Option(help="the column, or W&B's setting, of the arm; default: column arm, W&B's job type"),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="the column or setting of the block, such as seed; none: unpaired"),
    ] = None,
    group: Annotated[str | None, typer.Option(help="W&B: runs of this group alone")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="of the table, such as cp1252; default: UTF-8, or its byte order mark")
    ] = None,
) -> None:
    """Runs made by other programs as a study directory, for report, table, verify and negative results.

    A table has a row per run: arm, block (what a run of each arm shares, such as the seed of data order and
    masks; without it arms are compared unpaired), then metrics by name, an empty cell for what was not
    measured; if known, state (complete, diverged, failed), reason, seconds, occupied, tokens, steps. No other
    text.
    """
    from ablate.elsewhere.bring import bring
    from ablate.records import read_study

    way = direction.value if direction else None
    root = bring(source, runs, baseline=baseline, outcome=outcome, margin=margin, direction=way, name=name,
                 question=question, alpha=alpha, arm=arm, block=block, group=group,
                 encoding=encoding)  # fmt: skip
    for note in read_study(root).notes[1:]:  # the first says that the runs are imported
        print(f"note: {note}", file=sys.stderr)
    print(root)


@app.command()
def known(
    what: Annotated[
        str,
        typer.Argument(
            metavar="KNOB=LEVEL|KNOB|ARM",
            help="a knob's last word is enough: position=none, lr=4e-3; an arm by its name, or arm=NAME",
        ),
    ],
    place: Annotated[
        str, typer.Argument(metavar="PATH", help="a folder, a file or a git repository; default: runs")
    ] = "runs",
    form: Format = Shape.text,
) -> None:
    """Negative results that are already known: searches negative-results.json files before a day is spent.

    Levels are compared by value (4e-3 is 0.004); a variant's settings may stand in any order, or be left out.
    A name that is neither a knob nor in any of the files ends with exit code 2.
    """
    from dataclasses import asdict

    from ablate.elsewhere import known as looking

    found = looking.known(what, place)
    for problem in found.problems:
        print(f"not read: {problem}", file=sys.stderr)
    _json(asdict(found)) if form is Shape.json else print(looking.text(found))


@app.command()
def sync(study: StudyOrDir, runs: Runs = RUNS) -> None:
    """Bring the W&B runs that stayed on this disk online, in the order in which they began."""
    from ablate.scheduling.find import run_folder
    from ablate.scheduling.steps import sync_runs

    raise typer.Exit(sync_runs(run_folder(study, runs)))


@data_app.command("prepare")
def data_prepare(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE|STUDY", help="a preset, a recipe file or a study file")
    ],
    runs: Runs = RUNS,
    form: Format = Shape.text,
) -> None:
    """Build tokenizer and packed rows of a recipe, or of every arm of a study, ahead of the trials."""
    from ablate.scheduling.steps import prepare_data

    made = prepare_data(what, runs)
    for warning in dict.fromkeys(warning for one in made for warning in one["warnings"]):
        print(f"! {warning}", file=sys.stderr)
    _json(made) if form is Shape.json else print(
        "\n".join(f"{m['path']}  {m['tokens']:,} tokens" for m in made)
    )


@data_app.command("stats")
def data_stats(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE|STUDY", help="a preset, a recipe file or a study file")
    ],
    runs: Runs = RUNS,
    form: Format = Shape.text,
) -> None:
    """Counts of prepared data, stage by stage: documents, characters, tokens, what went and why."""
    from ablate.data.stats import render
    from ablate.scheduling.steps import data_stats as read_stats

    made = read_stats(what, runs)
    _json(made) if form is Shape.json else _show(render(made), width=160)


@data_app.command("inspect")
def data_inspect(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE|STUDY", help="a preset, a recipe file or a study file")
    ],
    runs: Runs = RUNS,
    page: Annotated[Path | None, typer.Option(help="also write a page, with all examples")] = None,
    form: Format = Shape.text,
) -> None:
    """What became of the text: counts per stage, examples, lengths, packing, overlaps."""
    from ablate.data import inspection_views
    from ablate.scheduling.steps import inspect_data

    found = inspect_data(what, runs)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(inspection_views.page(found, Path(what).stem), encoding="utf-8")
        print(f"wrote {page}", file=sys.stderr)
    if form is Shape.json:
        _json([one.to_dict() for one in found])
    else:
        _show(inspection_views.terminal(found), width=180)


@app.command()
def pretrain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a preset or a recipe file")],
    budget: Annotated[str, typer.Option(help="90s, 24h, 2.5e9 tokens, 4000 steps, 1.3e19 flops")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    runs: Runs = RUNS,
) -> None:
    """Pretrain one recipe under a budget, without a study around it; run again to resume."""
    from ablate.scheduling.steps import pretrain_recipe

    raise typer.Exit(pretrain_recipe(recipe, budget, seed, runs))


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="a checkpoint, or the folder of a trial")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder")],
) -> None:
    """Write a checkpoint as a folder that AutoModel.from_pretrained of transformers loads."""
    from ablate.export import export as write

    print(write(checkpoint, folder))


# What the benches ask alike.
OfRecipe = Annotated[str, typer.Option(help="a preset or a recipe file")]


def _device(value: str | None) -> str | None:
    if value is not None and value.partition(":")[0] not in ("cpu", "cuda"):
        raise typer.BadParameter(f"a device is cpu or cuda; got '{value}'")
    return value


def _precision(value: str | None) -> str | None:
    if value is not None:
        from ablate.knobs import Variants, knobs
        from ablate.recipe import Recipe

        domain = next(info.domain for info in knobs(Recipe) if info.path == "train.precision")
        assert isinstance(domain, Variants)
        if value not in domain.levels:
            levels = ", ".join(map(str, domain.levels))
            raise typer.BadParameter(f"a precision is one of {levels}; got '{value}'")
    return value


OnDevice = Annotated[
    str | None, typer.Option(callback=_device, help="cpu or cuda; default: cuda where there is one")
]
InPrecision = Annotated[str | None, typer.Option(callback=_precision, help="instead of the recipe's")]
Rows = Annotated[int | None, typer.Option(min=1, help="rows; default: the recipe's")]
Length = Annotated[int | None, typer.Option(min=8, help="tokens of a row; default: the recipe's")]
Vocabulary = Annotated[int | None, typer.Option(min=64, help="default: the recipe's")]
Threads = Annotated[int, typer.Option(min=1, help="on a CPU")]


@bench_app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    recipe: OfRecipe = "crammed-small",
    device: OnDevice = None,
    precision: InPrecision = None,
    micro_batch: Rows = None,
    length: Length = None,
    vocabulary: Vocabulary = None,
    compiled: Annotated[bool | None, typer.Option(help="default: both are measured")] = None,
    peers: Annotated[bool, typer.Option(help="transformers' encoders of the same size beside it")] = False,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    steps: Annotated[int, typer.Option(min=1, help="per round")] = 2,
    out: Annotated[Path | None, typer.Option(help="a folder for bench.json, bench.md and bench.svg")] = None,
    form: Format = Shape.text,
) -> None:
    """Training speed of a recipe: tokens/s, share of the matrix product, where a step's time goes."""
    if context.invoked_subcommand is not None:
        return
    from ablate.bench import show, training
    from ablate.bench.subjects import changed
    from ablate.scheduling.steps import find_recipe

    report = training.bench(
        changed(find_recipe(recipe), length=length), recipe, device=device, rows=micro_batch,
        vocabulary=vocabulary, threads=threads, rounds=rounds, steps=steps, with_peers=peers,
        compiled=compiled, precision=precision, tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    if out is not None:
        show.write(report, out)
    _json(report.to_dict()) if form is Shape.json else _show(show.terminal(report), width=200)


@bench_app.command("profile")
def bench_profile(
    recipe: OfRecipe = "crammed-small",
    device: OnDevice = None,
    precision: InPrecision = None,
    micro_batch: Rows = None,
    length: Length = None,
    vocabulary: Vocabulary = None,
    compiled: Annotated[bool | None, typer.Option(help="instead of the recipe's")] = None,
    threads: Threads = 1,
    steps: Annotated[int, typer.Option(min=1)] = 5,
    top: Annotated[int, typer.Option(min=1, help="operations to show")] = 15,
    trace: Annotated[Path | None, typer.Option(help="a file for Perfetto or chrome://tracing")] = None,
    form: Format = Shape.text,
) -> None:
    """Where a training step's time goes: kinds of work, and the operations or kernels that take most."""
    from ablate.bench import profile
    from ablate.bench.subjects import changed
    from ablate.scheduling.steps import find_recipe

    found = profile.profile(
        changed(find_recipe(recipe), length=length), recipe, device=device, rows=micro_batch,
        vocabulary=vocabulary, threads=threads, steps=steps, precision=precision, compiled=compiled,
        trace=trace, tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(found.to_dict()) if form is Shape.json else _show(profile.terminal(found, top), width=140)


@bench_app.command("precision")
def bench_precision(
    recipe: OfRecipe = "crammed-small",
    micro_batch: Annotated[int, typer.Option(min=1, help="rows")] = 32,
    vocabulary: Annotated[int, typer.Option(min=64)] = 8192,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="after the first, per round")] = 3,
    form: Format = Shape.text,
) -> None:
    """First step, later steps and memory of every precision on one CPU thread, in turns."""
    from ablate.bench import precision
    from ablate.scheduling.steps import find_recipe

    table, without = precision.costs(
        find_recipe(recipe), rounds=rounds, steps=steps, rows=micro_batch, vocabulary=vocabulary,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    found = {"precisions": [cost.__dict__ for cost in table], "not_here": without}
    _json(found) if form is Shape.json else print(precision.markdown(table, without))


@bench_app.command("attention")
def bench_attention(
    recipe: OfRecipe = "crammed-small",
    device: OnDevice = None,
    precision: InPrecision = None,
    length: Annotated[
        list[int] | None,
        typer.Option(min=1, help="tokens of a row; may be repeated; default: 64, 128, 256 and 512"),
    ] = None,
    micro_batch: Annotated[int, typer.Option(min=1, help="rows of the first length")] = 32,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    form: Format = Shape.text,
) -> None:
    """One layer's attention by backend, row length and kind of bias, forward and backward, beside the
    model's choice.
    """
    from ablate.bench import attention
    from ablate.bench.subjects import changed
    from ablate.scheduling.steps import find_recipe

    found = attention.bench(
        changed(find_recipe(recipe), precision=precision), device=device, threads=threads,
        lengths=length or attention.LENGTHS, rows=micro_batch, rounds=rounds,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(found.to_dict()) if form is Shape.json else _show(attention.terminal(found), width=160)


@bench_app.command("levels")
def bench_levels(
    only: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KNOB]...", help="such as model.position, or train; default: all"),
    ] = None,
    recipe: OfRecipe = "crammed-small",
    device: OnDevice = None,
    micro_batch: Annotated[int, typer.Option(min=1, help="rows")] = 8,
    vocabulary: Vocabulary = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="per level and round, after the first")] = 2,
    below: Annotated[float, typer.Option(min=0, help="ratios below this are marked and explained")] = 0.7,
    compiled: Annotated[
        bool | None, typer.Option(help="default: the recipe's on a GPU, uncompiled on a CPU")
    ] = None,
    form: Format = Shape.text,
) -> None:
    """Tokens/s of every level of every knob that acts on a training step, relative to the default's."""
    from ablate.bench import levels
    from ablate.scheduling.steps import find_recipe

    report = levels.bench(
        find_recipe(recipe), recipe, only or (), device=device, rows=micro_batch, vocabulary=vocabulary,
        rounds=rounds, steps=steps, threshold=below, compiled=compiled,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(report.to_dict()) if form is Shape.json else print(levels.markdown(report))


@bench_app.command("scaling")
def bench_scaling(
    recipe: Annotated[str, typer.Option(help="what is varied: a preset or a recipe file")] = "crammed-small",
    device: OnDevice = None,
    precision: InPrecision = None,
    threads: Annotated[int, typer.Option(min=1, help="on a CPU; as a trial of yours has")] = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="micro-batches per round")] = 1,
    parallel: Annotated[bool, typer.Option(help="also two processes side by side, on a CPU")] = True,
    keep: Annotated[bool, typer.Option("--save/--no-save", help="keep the cost model for `plan`")] = True,
    out: Annotated[
        Path | None, typer.Option(help="a folder for bench.json, bench.md and scaling.svg")
    ] = None,
    form: Format = Shape.text,
) -> None:
    """Speed against micro-batch, length, depth, width, vocabulary; and the cost model of `plan`."""
    from ablate.bench import plumbing, scaling, showscaling
    from ablate.scheduling.steps import find_recipe
    from ablate.speed.saved import save

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    report = scaling.bench(
        find_recipe(recipe), recipe, device=device, precision=precision, threads=threads, rounds=rounds,
        steps=steps, side_by_side=parallel, loop=plumbing.loop_seconds, tell=tell,
    )  # fmt: skip
    if out is not None:
        showscaling.write(report, out)
    if keep:
        tell(f"`ablate plan` predicts with {save(report.model, recipe)}")
    _json(report.to_dict()) if form is Shape.json else _show(showscaling.terminal(report), width=200)


@bench_app.command("plumbing")
def bench_plumbing(
    recipe: Annotated[str, typer.Option(help="whose step it is a share of")] = "crammed-small",
    precision: InPrecision = None,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    steps: Annotated[int, typer.Option(min=100, help="per round")] = 2000,
    form: Format = Shape.text,
) -> None:
    """What Lightning, callbacks and logging add to a step, against a loop written by hand."""
    from ablate.bench import plumbing
    from ablate.bench.subjects import changed
    from ablate.scheduling.steps import find_recipe

    found = plumbing.bench(
        changed(find_recipe(recipe), precision=precision), recipe, steps=steps, rounds=rounds,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(found.to_dict()) if form is Shape.json else print(found.text())


@bench_app.command("trial")
def bench_trial(
    recipe: OfRecipe = "crammed-small",
    device: OnDevice = None,
    precision: InPrecision = None,
    micro_batch: Rows = None,
    length: Length = None,
    source: Annotated[
        str | None, typer.Option(help="a glob of text files; default: the recipe's source")
    ] = None,
    compiled: Annotated[bool | None, typer.Option(help="default: the recipe's")] = None,
    accumulated: Annotated[int, typer.Option(min=1, help="micro-batches of an update")] = 1,
    micro_batches: Annotated[int, typer.Option(min=2, help="of the trial, per round")] = 1000,
    by_hand: Annotated[
        int | None, typer.Option(min=2, help="micro-batches of the loop; default: as many")
    ] = None,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    form: Format = Shape.text,
) -> None:
    """A recipe as its trials train it, Lightning and logging included, against a loop written by hand."""
    from ablate.bench import whole
    from ablate.bench.subjects import changed, size_of
    from ablate.scheduling.steps import find_recipe

    chosen = changed(
        find_recipe(recipe), compiled=compiled, precision=precision, length=length, source=source
    )
    found = whole.bench(
        chosen, recipe, device=device, threads=threads, rows=micro_batch or size_of(chosen)[0],
        accumulated=accumulated, micro_batches=micro_batches, by_hand=by_hand, rounds=rounds,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(found.to_dict()) if form is Shape.json else print(found.text())


@bench_app.command("gpu")
def bench_gpu(
    source: Annotated[str, typer.Option(help="a glob of text files to train on")],
    out: Annotated[Path, typer.Option(help="a folder for the JSON of every part")],
    minutes: Annotated[float, typer.Option(min=1, help="what does not fit is left out, and said")] = 10.0,
) -> None:
    """Everything a GPU is to be measured in, in one go: trials, peers, kernels, attention, fp8, levels."""
    from ablate.bench import suite

    found = suite.measure(source, out, minutes, tell=lambda text: print(text, file=sys.stderr))
    print(f"{out}: {sum(one.state == 'done' for one in found)} of {len(found)} parts done")
    raise typer.Exit(0 if all(one.state == "done" for one in found) else 1)


@bench_app.command("data")
def bench_data(
    source: Annotated[
        str | None, typer.Option(help="a glob of text files; default: the embedded grammar")
    ] = None,
    megabytes: Annotated[float, typer.Option(min=1, help="the source is repeated with edits")] = 64.0,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; default: one per core")] = None,
    form: Format = Shape.text,
) -> None:
    """Preparation against `encode_batch` alone, its peak memory, and the speed of the loader."""
    from ablate.bench.data import bench as measure

    report = measure(source, megabytes, workers)
    _json(report.to_dict()) if form is Shape.json else print(report.text())


@bench_app.command("glue")
def bench_glue(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="a checkpoint, or the folder of a trial")
    ],
    tasks: Annotated[
        str | None, typer.Option(help="such as cola,mrpc; default: all of GLUE's eight that are present")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="a study file whose `evaluate` section names the tasks instead")
    ] = None,
    max_train: Annotated[int | None, typer.Option(min=1, help="examples of each training set")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="for all, such as finetune.lr=1e-4; again for more")
    ] = None,
    grouped: Annotated[
        bool, typer.Option(help="also the peer with dynamic padding and lengths grouped")
    ] = True,
    device: OnDevice = None,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=1, help="each with a fine-tuning seed of its own")] = 3,
    form: Format = Shape.text,
) -> None:
    """Fine-tuning a checkpoint on its tasks, against transformers' Trainer with the same settings."""
    from ablate.bench import glue

    report = glue.bench(
        checkpoint, glue.section(tasks, study, max_train), changes=glue.assignments(set_ or []),
        device=device, threads=threads, rounds=rounds, grouped=grouped,
        tell=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    _json(report.to_dict()) if form is Shape.json else print(report.text())


def _json(value: Any) -> None:
    from pydantic_core import to_json

    # Not json.dumps, which is Python's own where it indents: 0.4 s more for the status of 10,000 trials.
    print(to_json(value, indent=1, inf_nan_mode="constants", fallback=str).decode())


def _show(renderable: RenderableType, *, width: int | None = None) -> None:
    """Print for people; a pipe is not a terminal of 80 columns, so nothing is cut for it."""
    from rich.console import Console

    console = Console()
    if width and not console.is_terminal:
        console = Console(width=width)
    console.print(renderable)


def main() -> None:
    """Entry point: wrong input is a message and exit code 2, never a traceback."""
    import ablate.collecting  # noqa: F401

    try:
        app()
    except (ValueError, ImportError) as error:
        # Error classes of this package say the rule, the fact and the way out; others are bugs.
        if not type(error).__module__.startswith("ablate."):
            raise
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> None:
    print(message if "\n" in message else f"error: {message}", file=sys.stderr)
    sys.exit(2)
