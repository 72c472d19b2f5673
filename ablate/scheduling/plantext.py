"""A plan as text for people."""

from __future__ import annotations

from typing import Any

from ablate.knobs import show
from ablate.scheduling.plan import Part, Plan, PlannedArm
from ablate.words import each_once, roman

MOST_ARMS = 60  # shown one by one


def text(plan: Plan) -> str:
    """The plan for people."""
    parts = [
        f"{plan.name}: {plan.question}",
        "",
        *(_arm(arm) for arm in plan.arms[:MOST_ARMS]),
        *([f"  … and {len(plan.arms) - MOST_ARMS} more"] if len(plan.arms) > MOST_ARMS else []),
        "",
        *_trials(plan),
        f"outcome {plan.outcome['metric']}, margin {show(plan.outcome['margin'])}",
        *_fraction(plan),
        *_costs(plan),
        "",
        *_power(plan),
        *([str(plan.spared)] if plan.spared else []),
        *_unknown(plan),
        *plan.notes,
        *(f"warning: {warning}" for warning in plan.warnings),
    ]
    return "\n".join(parts)


def _arm(arm: PlannedArm) -> str:
    said = [f"{arm.parameters:,} parameters"] if arm.parameters else []
    said += [arm.budget, *_pace(arm)]
    lines = [f"  {arm.name}  [{', '.join(said)}]"]
    lines += [f"      {path}: {show(a)} → {show(b)}" for path, (a, b) in arm.changes.items()]
    return "\n".join(lines)


def _pace(arm: PlannedArm) -> list[str]:
    """Of a trial: the tokens where its budget is a time, else the hours."""
    if arm.tokens is None or arm.training_hours is None:
        return []
    found = _hours(arm.training_hours) if _untimed(arm) else f"{_many(arm.tokens)} tokens"
    return [f"{found} {'measured' if arm.observed else 'predicted'}"]


def _untimed(arm: PlannedArm) -> bool:
    """Whether its budget is in steps, tokens or FLOPs: `4000 steps`, where a time is `24h`."""
    return " " in arm.budget


def _many(count: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"


def _unknown(plan: Plan) -> list[str]:
    """Whence predictions are, and which arms have none."""
    sources = sorted({arm.pace for arm in plan.arms if arm.name in plan.predicted})
    found = [f"{source} (±{100 * (plan.predicted_within or 0):.0f} %)" for source in sources]
    told = [(arm.name, f"not predicted: {arm.pace}") for arm in plan.arms if arm.pace and arm.tokens is None]
    return found + each_once(told)


def _trials(plan: Plan) -> list[str]:
    done = f", {plan.done} of them done" if plan.done else ""
    if len(plan.parts) == 1 and plan.parts[0].least == plan.trials == len(plan.arms) * plan.blocks:
        return [f"{len(plan.arms)} arms × {plan.blocks} blocks = {plan.trials} trials{done}"]
    return [f"{_range(plan.parts)} trials{done}: " + ", ".join(map(_part, plan.parts))]


def _range(parts: list[Part]) -> str:
    least, most = sum(p.least for p in parts), sum(p.most for p in parts)
    return str(most) if least == most else f"{least} to {most}"


def _part(part: Part) -> str:
    return f"{_range([part])} {part.what}"


def _fraction(plan: Plan) -> list[str]:
    if not plan.fraction:
        return []
    lines = [f"resolution {roman(plan.fraction['resolution'])}; what these runs cannot tell apart:"]
    return lines + [f"  {chain}" for chain in plan.fraction["aliases"]]


def _costs(plan: Plan) -> list[str]:
    found = []
    at_most = "" if all(p.least == p.most for p in plan.parts) else " at most"
    if plan.training_hours is not None:
        hours = _hours(plan.training_hours)
        said = "predicted; " if any(_untimed(arm) and arm.name in plan.predicted for arm in plan.arms) else ""
        found.append(f"training: {hours}{at_most} ({said}start-up and evaluation come on top)")
    if plan.hours is not None:
        found.append(f"all trials: {_hours(plan.hours)}{at_most}, as measured on {plan.done} finished ones")
    if plan.wall_hours is not None:
        of = "" if plan.hours is not None else " of training"
        days = f" ({plan.wall_hours / 24:.1f} days)" if plan.wall_hours >= 48 else ""
        found.append(f"wall clock with {plan.workers} at once: {_hours(plan.wall_hours)}{days}{of}{at_most}")
    if plan.training_hours is None and plan.hours is None:
        found.append("hours: unknown until a trial has run (the budget is not a time)")
    if plan.energy_kwh is not None:
        found.append(f"energy: {plan.energy_kwh:,.3g} kWh{at_most}")
    if plan.cost is not None:
        found.append(f"cost: {plan.cost:,.2f}{at_most} at the stated rate")
    if plan.disk_bytes is not None:
        found.append(f"disk: {plan.disk_bytes / 2**30:.2f} GiB of checkpoints{at_most}")
    return found


def _hours(hours: float) -> str:
    return f"{hours:,.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _power(plan: Plan) -> list[str]:
    r, margin = plan.resolution, show(plan.outcome["margin"])
    if not plan.outcome or r.effect is None or r.largest_spread is None or r.equivalence_spread is None:
        return []
    found = [
        "smallest effect resolved (80 % power, Holm over the family): "
        f"{r.effect:.3g} × the spread of block differences",
        f"the margin of {margin} is resolved if that spread is at most {r.largest_spread:.3g}, "
        f"equivalence shown if at most {r.equivalence_spread:.3g}",
    ]
    if r.observed_spread is None:
        return [*found, "the spread is not known: `ablate plan --pilot` measures it, `--spread` states it"]
    blocks = f"{r.observed_blocks} blocks" if r.observed_blocks else "more than 1,000 blocks"
    cost = ""
    if r.hours_at_observed_blocks is not None:
        cost = f", {_hours(r.hours_at_observed_blocks)} of devices"
    return [
        *found,
        f"spread {r.observed_spread:.3g} ({r.spread_source}): the cheapest design that settles every arm "
        f"against the margin has {blocks}{cost}",
        *_contrasts(plan),
    ]


def _contrasts(plan: Plan) -> list[str]:
    """One line for all where they agree, else one each."""
    rows: dict[str, list[str]] = {}
    for c in plan.contrasts[:MOST_ARMS]:
        said = (
            f"sees {_digits(c.smallest_effect)} or more, equal within {_digits(c.smallest_margin)} "
            f"(spread {_digits(c.spread)}), {c.blocks_needed or 'over 1,000'} blocks would settle it"
        )
        rows.setdefault(said, []).append(c.arm)
    if len(rows) == 1:
        return [f"each contrast {said}" for said in rows]
    return [f"  {', '.join(names)}: {said}" for said, names in rows.items()]


def _digits(value: Any) -> str:
    return "–" if value is None else f"{value:.3g}"
