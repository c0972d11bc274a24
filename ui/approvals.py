"""Approvals on the dashboard: what waits for a person, with its two buttons, and what became of earlier ones."""

from __future__ import annotations

import streamlit as st

from edgewise.domain.decision import Approval, ApprovalState
from edgewise.domain.errors import EdgewiseError
from serving.control_api.approvals import ApprovalList
from ui.api import ControlApi
from ui.words import approval_line, clock, percent

SAID = "approval-said"
PAST = 8


def draw(api: ControlApi, found: ApprovalList) -> None:
    """Nothing at all where nobody was ever asked."""
    if (said := st.session_state.pop(SAID, None)) is not None:
        (st.success if said[0] else st.warning)(said[1])
    for item in found.items:
        if item.state is ApprovalState.WAITING:
            _request(api, item, found)
    ended = [a for a in found.items if a.state is not ApprovalState.WAITING][:PAST]
    if ended:
        with st.expander(f"Approvals asked for before ({len(ended)})"):
            st.markdown("\n".join(f"- {approval_line(a)}" for a in ended))


def _request(api: ControlApi, item: Approval, found: ApprovalList) -> None:
    with st.container(border=True):
        left_s = max(0.0, item.expires_s - found.at_s)
        st.markdown(f"##### :material/front_hand: {item.id} waits for you · {left_s:.0f} s left")
        st.caption(
            f"asked at {clock(item.asked_s)} by {item.decision}; the plan in force goes on meanwhile; "
            f"approval is for plan {item.plan}, hash {item.hash[:12]}…"
        )
        what, why = st.columns([2, 3], gap="medium")
        what.code("\n".join(item.changes), language=None, wrap_lines=True)
        why.markdown(f"**Why.** {item.reason}")
        why.markdown(
            f"**Runner-up.** {item.runner_up}. Margin {percent(item.margin)}, needed {percent(item.required)}."
        )
        scores = " · ".join(f"{source} {s.mean:.3f} ({s.low:.3f}–{s.high:.3f})" for source, _, s in item.scores)
        why.caption(f"predicted objective, lower is better: {scores}")
        if found.read_only:
            st.caption("This control API is read-only: nothing can be approved here.")
            return
        # Named by what it changes, not by its id: a newer request for the same takes the place of the older, and a
        # click in that moment must not be lost. It still carries the id and the hash of what was on screen.
        key = "/".join(item.changes)
        with st.container(horizontal=True, gap="small"):
            st.button("Approve", type="primary", icon=":material/check:", key=f"yes-{key}", on_click=_say,
                      args=(api, item, True))  # fmt: skip
            st.button("Reject", icon=":material/close:", key=f"no-{key}", on_click=_say, args=(api, item, False))


def _say(api: ControlApi, item: Approval, approve: bool) -> None:
    try:
        done = api.answer(item.id, approve, item.hash, "dashboard")
        st.session_state[SAID] = (True, f"{done.id} {done.state.value}.")
    except EdgewiseError as error:
        hint = f" {error.hint[0].upper()}{error.hint[1:]}." if error.hint else ""
        st.session_state[SAID] = (False, f"{error.message[0].upper()}{error.message[1:]}.{hint}")
