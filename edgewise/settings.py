"""Settings: each has a unit and a reason. Read from a YAML file (`--config`), then EDGEWISE_* variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from edgewise.domain.errors import BadInput


class Settings(BaseSettings):
    """What an operator may set. Defaults suit seven small nodes; durations are wall seconds."""

    model_config = SettingsConfigDict(env_prefix="EDGEWISE_", extra="forbid", frozen=True)

    # Cadence: a slot re-weights routes and shares, an epoch moves models. Loads take seconds to minutes, so an
    # epoch shorter than a few loads only thrashes.
    slot_s: float = Field(30.0, gt=0, description="Scheduler period, s.")
    epoch_slots: int = Field(10, ge=1, description="Planner period, slots.")
    lease_slots: int = Field(
        4,
        ge=1,
        description="Slots a plan stays valid without a new one; after that routers go on by it, and say so.",
    )

    # The objective: mean latency / mean ideal latency · (1 + α·(1 − J)) + β·churn + γ·energy.
    alpha: float = Field(
        0.3,
        ge=0,
        description="Weight of fairness between kinds. What it buys and costs: docs/reference/objective.md.",
    )
    beta: float = Field(0.02, ge=0, description="Cost of one load or unload per node-hour.")
    gamma: float = Field(0.0, ge=0, description="Cost of one joule per prompt.")

    # Search and gate budgets are counts, never seconds, so that a recorded decision replays identically.
    search_iterations: int = Field(60, ge=0, description="Local-search steps of the planner.")
    finalists: int = Field(8, ge=0, description="Neighbours of the search's result that rollouts compare it with.")
    select_draws: int = Field(6, ge=2, description="Demand draws on which rollouts select among finalists.")
    rollout_events: float = Field(
        1.5e6, ge=0, description="Events the rollouts of one plan may have; beyond it, draws are fewer."
    )
    gate_draws: int = Field(16, ge=2, description="Fresh demand draws the gate compares plans on.")
    gate_margin: float = Field(0.03, ge=0, description="Relative gain a new plan must show over the incumbent.")
    twin_error: tuple[tuple[float, float, float], ...] = Field(
        (),
        description="What `edgewise fidelity` measured: (load, error of the mean, half its interval) of each band. "
        "The gate asks for that much gain where it is more than gate_margin. A controller that is given none "
        "reads the measurement of its machine, if there is one.",
    )
    dwell_slots: int = Field(2, ge=0, description="Slots a fresh replica is left alone.")
    max_changes_per_epoch: int = Field(
        6, ge=0, description="Thrash budget: loads + unloads an epoch may ask for, in each cell of at most 50 nodes."
    )

    # The operator's intents: what is announced of demand may not come.
    announced_trust: float = Field(
        0.8, ge=0, le=1, description="Probability with which announced demand is expected to come."
    )

    # Telemetry: a figure older than this is not acted on; the last safe plan is held and the decision says so.
    scrape_s: float = Field(1.0, gt=0, description="Period of the embedded reader, s.")
    window_s: float = Field(20.0, gt=0, description="Window of demand and latency figures, s.")
    stale_after_s: float = Field(15.0, gt=0, description="Age beyond which a figure counts as stale, s.")

    # Data plane.
    reconcile_s: float = Field(0.5, gt=0, description="Period at which goal and fact are compared, s.")
    drain_deadline_s: float = Field(60.0, gt=0, description="Longest wait for prompts in flight on a drain, s.")
    node_poll_s: float = Field(0.25, gt=0, description="Period at which the gateway reads node state, s.")
    node_dead_after_s: float = Field(2.0, gt=0, description="Silence after which the gateway avoids a node, s.")
    max_body_mib: float = Field(32.0, gt=0, description="Largest request body, MiB.")
    spool_mib: float = Field(1.0, gt=0, description="Body size kept in memory; more goes to a spool file, MiB.")
    max_attempts: int = Field(5, ge=1, description="Times one prompt is sent to a node before it fails.")

    # Order of prompts on a node, and what each kind is sure of.
    yielding: float = Field(
        20.0,
        ge=0,
        description="Seconds a prompt lets later ones of its model pass per second of its own expected service; "
        "0: first come, first served.",
    )
    tenant_weights: dict[str, float] = Field(
        {}, description="Parts of a model's queue by tenant (`x-edgewise-tenant`), relative; those not named have 1."
    )
    floor_share: float = Field(
        0.02, ge=0, le=1, description="Least part of a node's time that each model with work there gets."
    )
    sticky_part: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Part of a prompt's service saved where its session (`x-edgewise-session`) was served last.",
    )

    # A person's word before something changes.
    approval: Literal["off", "placement", "all"] = Field(
        "off",
        description="What a person has to approve in mode active: nothing; other replicas than those in force (not "
        "the first placement, nor what restores lost service); or every change.",
    )
    approval_slots: int = Field(2, ge=1, description="Slots after which an approval asked for expires.")

    # The language model is optional; without one the graphs start at the optimiser rung.
    llm_url: str = Field("", description="OpenAI-compatible base URL ending in /v1; empty: none.")
    llm_model: str = Field("", description="Model id; empty: the first of /models.")
    llm_api_key: str = Field("none", description="Key sent to the endpoint.")
    llm_timeout_s: float = Field(
        10.0, gt=0, description="Deadline of one planner decision, all its calls and tools together, s."
    )
    llm_max_tokens: int = Field(1024, ge=16, description="Longest answer, tokens.")
    llm_temperature: float = Field(0.0, ge=0, le=2, description="Of the planner's answers.")
    llm_max_calls: int = Field(
        5, ge=1, description="Calls of one planner decision; 1: no tools, the answer is asked for at once."
    )
    llm_max_tool_calls: int = Field(8, ge=0, description="Tool calls answered in one planner decision.")
    llm_budget_tokens: int = Field(
        40_000, ge=1, description="Tokens of one planner decision after which only the final answer is asked for."
    )
    llm_lately_slots: int = Field(20, ge=0, description="Past slots the planner is told of, or may ask about.")
    llm_same_demand: float = Field(
        0.2, ge=0, description="Relative change of demand below which a situation counts as unchanged."
    )
    llm_unchanged_epochs: int = Field(
        0,
        ge=0,
        description="Epochs an unchanged situation goes without a planner call; 0: at least one call in each.",
    )
    llm_scheduler: bool = Field(
        True,
        description="Ask the language model beside the slots for a correction of routing weights and shares, at most "
        "once a slot and when something moved.",
    )
    llm_scheduler_model: str = Field("", description="Model id of the scheduler; empty: llm_model.")
    llm_scheduler_temperature: float = Field(0.0, ge=0, le=2, description="Of the scheduler's answers.")
    llm_scheduler_max_tokens: int = Field(512, ge=16, description="Longest answer of the scheduler, tokens.")
    llm_scheduler_timeout_s: float = Field(10.0, gt=0, description="Deadline of one scheduler decision, s.")
    llm_deployers: bool = Field(
        False,
        description="Ask the language model, for each node, in which order and when to change its replicas. It is in "
        "the path of a slot and may take a quarter of it.",
    )
    llm_deployer_model: str = Field("", description="Model id of the deployers, a cheap one; empty: llm_model.")
    llm_deployer_temperature: float = Field(0.0, ge=0, le=2, description="Of the deployers' answers.")
    llm_deployer_max_tokens: int = Field(256, ge=16, description="Longest answer of a deployer, tokens.")
    llm_price_in: float = Field(0.0, ge=0, description="Price of a million tokens sent, in any currency.")
    llm_price_out: float = Field(0.0, ge=0, description="Price of a million tokens answered, in the same currency.")
    llm_budget_tokens_per_run: int = Field(
        0, ge=0, description="Tokens a run may use; then the optimiser goes on alone. 0: no limit."
    )
    llm_budget_cost_per_day: float = Field(
        0.0,
        ge=0,
        description="Cost of any 24 hours, in the currency of the prices; then the optimiser goes on alone until "
        "enough of it is a day old. 0: no limit.",
    )
    recall_cases: int = Field(3, ge=0, description="Cases recalled from memory per decision.")
    memory_dir: str = Field(
        "",
        description="Folder of the case memory; empty: one in the user's data folder, shared by all runs; `run`: in "
        "each run's directory.",
    )
    hindsight: bool = Field(
        True,
        description="Re-run past decisions on the prompts that came; what they show moves the gate's margin, demotes "
        "who proposed failures, and offers the former placement again.",
    )
    reflect_slots: int = Field(2, ge=1, description="Slots after which a decision's outcome is measured.")


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Settings from an optional YAML file, the environment, and keyword overrides (None: not given).
    A key the file spells wrongly is an error with the nearest known key."""
    values: dict[str, Any] = {}
    if path is not None:
        values = _read_yaml(path)
    values.update({k: v for k, v in overrides.items() if v is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(p) for p in first["loc"])
        raise BadInput(f"setting {name}: {first['msg']}", where=str(path or "settings")) from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput(f"cannot read the settings file: {error.strerror}", where=str(path)) from error
    except yaml.YAMLError as error:
        raise BadInput(f"not valid YAML: {str(error).splitlines()[0]}", where=str(path)) from error
    if not isinstance(loaded, dict):
        raise BadInput("a settings file is a mapping of names to values", where=str(path))
    for key in loaded:
        if key not in Settings.model_fields:
            raise unknown_key(str(key), list(Settings.model_fields), str(path))
    return loaded


def unknown_key(key: str, known: list[str], where: str) -> BadInput:
    """The error for a misspelt key, with the nearest known one."""
    from difflib import get_close_matches

    near = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return BadInput(f"unknown key {key!r}", where=where, hint=hint)
