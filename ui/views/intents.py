"""Intents: what the operator wants and expects; a sentence to say more, and buttons to confirm and withdraw."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from edgewise.domain.errors import EdgewiseError
from serving.control_api.schema import IntentList, IntentView, RunState
from ui.api import ControlApi
from ui.shell import api, problem, show

COLOURS = {"draft": "orange", "coming": "blue", "active": "green", "over": "gray"}
EXAMPLE = "image captions matter most at edge-3 tonight from 19:00; never let one kind wait more than 2 min"


def load(control: ControlApi) -> tuple[RunState, IntentList]:
    return control.state(), control.intents()


def draw(state: RunState, found: IntentList) -> None:
    drafts = [i for i in found.items if i.status == "draft"]
    if drafts:
        st.subheader("Understood as; confirm to put it in force", anchor=False)
    for item in drafts:
        _card(item, state)
    st.subheader("In force and to come", anchor=False)
    rest = [i for i in found.items if i.status != "draft"]
    if not rest:
        st.caption("None.")
    for item in rest:
        _card(item, state)


def _card(item: IntentView, state: RunState) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(item.status, color=COLOURS[item.status])  # type: ignore[arg-type]
            left = "" if item.expires_s is None else f" · forgotten in {max(0.0, item.expires_s - state.at_s):.0f} s"
            st.caption(f"`{item.id}`{left}", width="content")
        st.text(item.words)
        if item.intent.text:
            st.caption("said as")
            st.text(item.intent.text)
        for note in item.notes:
            st.text(f"note: {note}")
        if state.read_only or state.finished:
            return
        with st.container(horizontal=True, gap="small"):
            if item.status == "draft":
                st.button(
                    "Confirm", key=f"confirm-{item.id}", type="primary", on_click=_try, args=("confirm", item.id)
                )
            word = "Drop" if item.status == "draft" else "Withdraw"
            st.button(word, key=f"withdraw-{item.id}", on_click=_try, args=("withdraw", item.id))


def _try(what: str, intent_id: str) -> None:
    control = api()
    calls: dict[str, Callable[[str], object]] = {"confirm": control.confirm, "withdraw": control.withdraw}
    _kept(lambda: calls[what](intent_id))


def _say() -> None:
    if sentence := st.session_state.get("sentence", "").strip():
        _kept(lambda: api().say(sentence))


def _kept(call: Callable[[], object]) -> None:
    """Calls, and keeps what went wrong for the next drawing of the page."""
    try:
        call()
        st.session_state.pop("intent-problem", None)
    except EdgewiseError as error:
        st.session_state["intent-problem"] = error


with st.form("say", border=True):
    st.text_input("Say what matters, or what is going to come", placeholder=EXAMPLE, key="sentence", max_chars=1000)
    st.form_submit_button("Show how it is understood", on_click=_say)
if (wrong := st.session_state.get("intent-problem")) is not None:
    problem(wrong)
show(load, draw)
